"""How well one reading of a set of joints follows another: by velocity, over many episodes.

A joint that does what it is told has a velocity that is its command's, a little later. Which
command a joint follows best says whether its channel is its own, and with which sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.model import Stream

Floats = npt.NDArray[np.float64]

GRID_HZ = 30.0
SMOOTH = 8
"""Samples of the grid (0.27 s) over which positions are averaged, and differences taken: hands
answer in steps, and a velocity of one step is noise."""

LAGS = range(-3, 16)
"""How many samples of the grid (-0.1 to 0.5 s) the first reading may come after the second."""

RATE_LAGS = range(-3, 4)
"""The same for positions and velocities, which are measured at once."""

SHORTEST_S, LONGEST_S = 2.0, 600.0
"""An episode says nothing when shorter, and no more when longer."""

_MOST = 0.999
_CLIP = 1e9
_Sums = dict[int, tuple[Any, Any, Any]]
"""Per lag: products (J, J), squares of the first reading (J,) and of the second (J,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How joints of two readings go together, at the lag that suits each pair best.

    low, high: (J, J) least and greatest correlation over all lags, the first reading's joint in
    rows. ratio: (J,) how many times as far the first reading moves. moved: (2, J) greatest speed
    of each reading, in the joint's unit a second.
    """

    low: Floats
    high: Floats
    ratio: Floats
    moved: Floats

    @property
    def size(self) -> Floats:
        """Return (J, J): the greater of the two correlations, without its sign."""
        found: Floats = np.maximum(self.high, -self.low)
        return found

    @property
    def strength(self) -> Floats:
        """Return (J, J): that size, stretched so that 0.98 is far from 0.94 (Fisher, 1915)."""
        found: Floats = np.arctanh(np.clip(self.size, 0.0, _MOST))
        return found


@dataclass(slots=True)
class Coupling:
    """What is known so far of `joints` in two readings; `add` takes one episode after another.

    `rate`: the second reading is of velocities itself, not of positions.
    """

    joints: tuple[str, ...]
    rate: bool = False
    seconds: float = 0.0
    each: list[Agreement] = field(default_factory=list)
    _sums: _Sums = field(default_factory=dict)

    def add(self, first: Sequence[Stream], second: Sequence[Stream]) -> None:
        """Take in one episode; too short a time together is passed over."""
        grid = _shared_grid([*first, *second])
        if len(grid) < SHORTEST_S * GRID_HZ:
            return
        one = _velocity(_on_grid(first, self.joints, grid))
        told = _on_grid(second, self.joints, grid)
        other = _averaged(told)[SMOOTH // 2 :][: len(one)] if self.rate else _velocity(told)
        lags = RATE_LAGS if self.rate else LAGS
        own = {lag: _products(one, other, lag) for lag in lags}
        self.seconds += len(grid) / GRID_HZ
        for lag, parts in own.items():
            before = self._sums.get(lag, (0.0, 0.0, 0.0))
            self._sums[lag] = tuple(a + b for a, b in zip(before, parts, strict=True))
        moved = np.stack([np.abs(one).max(axis=0), np.abs(other).max(axis=0)])
        self.each.append(_agreement(own, moved))

    def pooled(self) -> Agreement:
        """Return what all episodes say together. Raises ValueError where there is none."""
        moved = np.max([each.moved for each in self.each], axis=0)
        return _agreement(self._sums, moved)


def _shared_grid(streams: Sequence[Stream]) -> Floats:
    """Return the moments (s) of a grid over the time that all streams have in common."""
    spans = [
        (float(s.time_ns.min()) / 1e9, float(s.time_ns.max()) / 1e9) for s in streams if len(s) > 1
    ]
    if len(spans) < len(streams) or not spans:
        return np.zeros(0)
    start, end = max(a for a, _ in spans), min(b for _, b in spans)
    return (
        np.arange(start, min(end, start + LONGEST_S), 1 / GRID_HZ) if end > start else np.zeros(0)
    )


def _on_grid(streams: Sequence[Stream], joints: tuple[str, ...], grid: Floats) -> Floats:
    """Read joints at the moments of a grid: (n, J); one that is not there stays zero."""
    found = np.zeros((len(grid), len(joints)))
    for stream in streams:
        seconds, kept = np.unique(stream.time_ns / 1e9, return_index=True)
        for column, channel in enumerate(stream.channels):
            if channel in joints:
                values = stream.values[kept, column].astype(np.float64)
                known = np.isfinite(values)
                if known.any():
                    found[:, joints.index(channel)] = np.interp(
                        grid, seconds[known], np.clip(values[known], -_CLIP, _CLIP)
                    )
    return found


def _averaged(values: Floats) -> Floats:
    sums = np.cumsum(np.vstack([np.zeros((1, values.shape[1])), values]), axis=0)
    averaged: Floats = (sums[SMOOTH:] - sums[:-SMOOTH]) / SMOOTH
    return averaged


def _velocity(values: Floats) -> Floats:
    smooth = _averaged(values)
    rise: Floats = (smooth[SMOOTH:] - smooth[:-SMOOTH]) * (GRID_HZ / SMOOTH)
    return rise


def _products(one: Floats, other: Floats, lag: int) -> tuple[Floats, Floats, Floats]:
    n = len(one)
    x, y = (one[lag:], other[: n - lag]) if lag >= 0 else (one[:lag], other[-lag:])
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return x.T @ y, (x * x).sum(axis=0), (y * y).sum(axis=0)


def _agreement(sums: _Sums, moved: Floats) -> Agreement:
    stack = np.stack([xy / np.sqrt(np.outer(xx, yy) + 1e-30) for xy, xx, yy in sums.values()])
    _, xx, yy = sums[0]
    ratio = np.sqrt((xx + 1e-30) / (yy + 1e-30))
    return Agreement(stack.min(axis=0), stack.max(axis=0), ratio, moved)
