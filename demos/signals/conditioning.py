"""Make recorded signals comparable: in order, on one even grid, without noise that is no motion.

Raw formulas turn round on mixed data: they rank by rate, length and sensor noise before they rank
by quality. So every signal takes one way: stamps put in order, rows that are not finite left out,
a zero-phase Butterworth low-pass (Butterworth 1930; run forwards and backwards, order 4) that also
guards against aliasing, an even grid of 50 Hz. Filters run on an even grid at the source's own
rate. Where the recording has a gap the result says so instead of drawing a straight line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import require
from demos.model import Episode, Nanoseconds, Stream

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
T = TypeVar("T")

GRID_HZ = 50.0
POSITION_HZ = 10.0
SPEED_HZ = 6.0
LONGEST_GAP_S = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Conditioned:
    """A signal on an even grid: time_ns (n,), values (n, C) float64, whole (n,) bool.

    `whole` is False where the recording has a gap and the values are only a bridge over it.
    """

    time_ns: Nanoseconds
    values: Floats
    whole: Flags

    def __len__(self) -> int:
        return len(self.time_ns)


def lowpass(values: Floats, rate_hz: float, cutoff_hz: float, *, order: int = 4) -> Floats:
    """Low-pass along the first axis without shifting anything in time.

    Values come back as they are where they are too few (under half a period of the cutoff) or
    where the rate holds nothing above the cutoff.
    """
    if cutoff_hz >= 0.45 * rate_hz or len(values) < max(0.5 * rate_hz / cutoff_hz, 4):
        return values
    signal = require("scipy.signal", extra="score")
    sections = signal.butter(order, cutoff_hz, fs=rate_hz, output="sos")
    # the ends are continued by a period of the cutoff, point-symmetrically
    pad = min(len(values) - 1, int(rate_hz / cutoff_hz) + 1)
    return np.asarray(signal.sosfiltfilt(sections, values, axis=0, padlen=pad))


def conditioned(
    stream: Stream,
    *,
    columns: slice | npt.NDArray[np.intp] | None = None,
    rate_hz: float = GRID_HZ,
    cutoff_hz: float = POSITION_HZ,
    longest_gap_s: float = LONGEST_GAP_S,
) -> Conditioned:
    """Bring a stream onto an even grid at `rate_hz`, low-passed at `cutoff_hz`.

    The grid lies on whole multiples of its period, so that two streams share its stamps. A gap
    longer than `longest_gap_s` (and than three periods of the source) is marked, not filled.
    """
    ordered = timeline.repaired(stream)
    values = ordered.values if columns is None else ordered.values[:, columns]
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values).all(axis=1)
    time_ns, values = ordered.time_ns[finite], values[finite]
    if len(time_ns) < 2:
        none = np.zeros(0, np.int64)
        return Conditioned(none, np.zeros((0, values.shape[1])), np.zeros(0, bool))
    source_hz = timeline.rate_hz(time_ns)
    even_hz = max(source_hz, rate_hz)
    even_ns = timeline.grid_ns(int(time_ns[0]), int(time_ns[-1]), even_hz)
    smooth = lowpass(interpolated(time_ns, values, even_ns), even_hz, cutoff_hz)
    grid = shared_grid(int(time_ns[0]), int(time_ns[-1]), rate_hz)
    steps = np.diff(time_ns)
    wide = np.flatnonzero(steps > max(longest_gap_s * 1e9, 3e9 / source_hz))
    whole = np.ones(len(grid), bool)
    for gap in wide:
        whole[(grid > time_ns[gap]) & (grid < time_ns[gap + 1])] = False
    return Conditioned(grid, interpolated(even_ns, smooth, grid), whole)


def shared_grid(start_ns: int, end_ns: int, rate_hz: float) -> Nanoseconds:
    """Return the multiples of the period within [start_ns, end_ns]: (n,) int64."""
    period = 1e9 / rate_hz
    first, last = int(np.ceil(start_ns / period)), int(np.floor(end_ns / period))
    return np.asarray(np.rint(np.arange(first, last + 1) * period), np.int64)


def interpolated(time_ns: Nanoseconds, values: Floats, at_ns: Nanoseconds) -> Floats:
    """Read (n, C) values at other moments, linearly; the ends are held."""
    if not len(at_ns):
        return np.zeros((0, values.shape[1]))
    columns = [np.interp(at_ns, time_ns, column) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((len(at_ns), 0))


def speed(position: Floats, rate_hz: float = GRID_HZ, *, cutoff_hz: float = SPEED_HZ) -> Floats:
    """Return the length of the velocity vector, low-passed at `cutoff_hz`: (n,) per second."""
    if len(position) < 2:
        return np.zeros(len(position))
    velocity = np.gradient(lowpass(position, rate_hz, cutoff_hz), 1.0 / rate_hz, axis=0)
    return np.asarray(np.linalg.norm(velocity, axis=1))


def runs(flags: Flags) -> list[tuple[int, int]]:
    """Return the stretches of True as half-open index pairs, in order."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def hysteresis(values: Floats, on: float | Floats, off: float | Floats) -> list[tuple[int, int]]:
    """Return the stretches above `off` that anywhere exceed `on`, as half-open index pairs."""
    above = values > on
    return [(a, b) for a, b in runs(values > off) if above[a:b].any()]


def once(measure: Callable[[Episode], T]) -> Callable[[Episode], T]:
    """Remember the answer for an episode as long as the episode lives."""
    known: WeakKeyDictionary[Episode, T] = WeakKeyDictionary()

    @wraps(measure)
    def remembered(episode: Episode) -> T:
        if episode not in known:
            known[episode] = measure(episode)
        return known[episode]

    return remembered
