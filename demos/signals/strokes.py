"""Movement strokes and rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from demos.signals.bodies import Motion
from demos.signals.conditioning import GRID_HZ, Flags, Floats, hysteresis, runs

STARTS, ENDS, RESTS = 0.12, 0.06, 0.08
"""Shares of the reference speed: above the first a stroke starts, below the second it ends;
below the third the hand rests."""

WANDERS = {True: 0.03, False: 0.06}
"""How fast a hand drifts that a person holds still in the air: m/s; rad/s in joint space."""

LEAST_SPEED = {True: 0.05, False: 0.1}
"""A reference speed below this (m/s; rad/s in joint space) is sensor noise, not motion."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """One movement between two rests: half-open indices, path and chord in m (or rad)."""

    start: int
    end: int
    start_ns: int
    end_ns: int
    path: float
    chord: float


def reference_speed(motions: tuple[Motion, ...]) -> float:
    """Return the 95th percentile of the speed of whichever effector moves fastest; NaN for none.

    One figure for all effectors: an arm that rests all the time would otherwise be measured
    against its own noise.
    """
    if not motions or not len(motions[0].time_ns):
        return float("nan")
    fastest = np.max([motion.speed for motion in motions], axis=0)
    return float(np.percentile(fastest[motions[0].whole], 95)) if motions[0].whole.any() else 0.0


def moves(motions: tuple[Motion, ...]) -> bool:
    """Say whether anything moved faster than noise."""
    return bool(motions) and reference_speed(motions) >= LEAST_SPEED[motions[0].in_metres]


def strokes(
    motion: Motion, reference: float, *, cuts_ns: Sequence[int] = (), least_s: float = 0.3
) -> list[Stroke]:
    """Cut the motion of one effector into strokes: speed above .12, until below .06 `reference`.

    Movements that pass into each other are cut at `cuts_ns` (where the hand takes and lets go) and
    where the speed sinks to a quarter: a person seldom stops between reaching and lifting, and one
    chord over both would call the task a detour. A stroke never reaches across a gap of the
    recording; strokes shorter than `least_s` are twitches and left out.
    """
    found = []
    quiet = np.where(motion.whole, motion.speed, 0.0)
    events = np.searchsorted(motion.time_ns, np.asarray(cuts_ns, np.int64))
    for first, last in hysteresis(quiet, STARTS * reference, ENDS * reference):
        inner = {int(event) for event in events if first < event < last}
        inner |= set(_valleys(quiet[first:last], first))
        for start, end in pairwise(sorted({first, *inner, last})):
            if end - start >= least_s * GRID_HZ:
                found.append(_stroke(motion, start, end))
    return found


def _valleys(pace: Floats, offset: int, *, depth: float = 0.25) -> list[int]:
    """Return where one movement passes into the next without a rest.

    That is a least speed below `depth` of the lower of the two greatest speeds around it.
    """
    found: list[int] = []
    low = peak = 0
    for i in range(1, len(pace)):
        if low > peak and pace[low] < depth * min(pace[peak], pace[i]):
            found.append(offset + low)
            peak = low = i
        elif pace[i] > pace[peak]:
            peak = low = i
        elif pace[i] < pace[low]:
            low = i
    return found


def _stroke(motion: Motion, start: int, end: int) -> Stroke:
    place = motion.position[start:end]
    return Stroke(
        start,
        end,
        int(motion.time_ns[start]),
        int(motion.time_ns[end - 1]),
        float(np.linalg.norm(np.diff(place, axis=0), axis=1).sum()),
        float(np.linalg.norm(place[-1] - place[0])),
    )


def rests(motions: tuple[Motion, ...], reference: float, *, least_s: float = 0.2) -> Flags:
    """Return where no effector moves (slower than .08 `reference`) for `least_s`: (n,) bool.

    A hand that is held still wanders: what is slower than `WANDERS` is rest even for people who
    are slow in all they do. A gap of the recording is not a rest.
    """
    slow = max(RESTS * reference, WANDERS[motions[0].in_metres])
    still = np.all([motion.speed < slow for motion in motions], axis=0)
    still &= motions[0].whole
    resting = np.zeros(len(still), bool)
    for start, end in runs(still):
        if end - start >= least_s * GRID_HZ:
            resting[start:end] = True
    return resting


def around(flags: Flags, seconds: float) -> Flags:
    """Widen the stretches of True by `seconds` on both sides."""
    width = round(seconds * GRID_HZ)
    wide = np.convolve(flags.astype(np.float64), np.ones(2 * width + 1))
    return np.asarray(wide[width : width + len(flags)] > 0.5)


def changes(values: Floats, *, least: float = 0.5) -> Flags:
    """Return where a closure (n,) changes faster than `least` per second."""
    if len(values) < 2:
        return np.zeros(len(values), bool)
    return np.asarray(np.abs(np.gradient(values, 1.0 / GRID_HZ)) > least)
