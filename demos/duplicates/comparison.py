"""Hold two motions against each other, aligned in time as well as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from demos.duplicates.fingerprints import Fingerprint, Floats, Motion, at

LIMIT = 0.03
"""Copies at another rate or speed, rounded to 5 mrad or cropped stay below 0.023; the closest two
of 20 real teleoperated episodes of one task are 0.10 apart, of 25 of BridgeData 0.088, and of
simulated ones, which follow one script, 0.035."""

OVERLAP = 0.5
"""The share of the shorter motion that must be in the other; less is a common way to begin."""

_FLOOR = 0.05
Kind = Literal["same", "near"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two episodes that are one: `a` is the older.

    distance: in spreads of the channels, 0 for the same. offset_s: how much later the motion is in
    `b`, speed: seconds of `b` per second of `a`. overlap: share of the shorter motion compared.
    """

    kind: Kind
    a: str
    b: str
    distance: float = 0.0
    offset_s: float = 0.0
    speed: float = 1.0
    overlap: float = 1.0


def compared(a: Motion, b: Motion, spread: Floats, offsets: Sequence[float]) -> Pair:
    """Align two motions in time as well as it goes and say how far they are apart.

    Tried are equal speed, `b` later by one of `offsets` (s) or by a little more or less, and the
    whole of one as the whole of the other at another speed.
    """
    two = _Two(a, b, spread, _amounts(a, spread), _amounts(b, spread))
    speed = (b.time_s[-1] - b.time_s[0]) / (a.time_s[-1] - a.time_s[0])
    starts = [(1.0, float(offset)) for offset in offsets]
    starts.append((float(speed), float(b.time_s[0] - speed * a.time_s[0])))
    best = min((two.apart(*start) for start in starts), key=_rank)
    for step in (0.1, 0.025, 0.005):
        around = best.offset_s + step * np.arange(-4, 5)
        finer = [two.apart(best.speed, float(offset)) for offset in around]
        best = min([best, *finer], key=_rank)
    return best


def spreads(prints: Sequence[Fingerprint]) -> Floats:
    """Return the spread of every channel over all episodes: (C,), from the 5th to the 95th part.

    A channel that hardly moves counts as one that moves by a twentieth of the widest of its unit,
    or its noise would be blown up to motion.
    """
    pooled = np.concatenate([each.path for each in prints]).astype(np.float64)
    low, high = np.percentile(pooled, [5, 95], axis=0)
    width, units = high - low, np.array(prints[0].units)
    for unit in set(prints[0].units):
        own = units == unit
        width[own] = np.maximum(width[own], _FLOOR * width[own].max())
    width[width <= 0] = np.inf
    return np.asarray(width, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Two:
    """Two motions to hold against each other, and how much each moves around each sample."""

    a: Motion
    b: Motion
    spread: Floats
    amount_a: Floats
    amount_b: Floats

    def apart(self, speed: float, offset: float) -> Pair:
        """Hold b(speed t + offset) against a(t) where both are, weighted by how much `a` moves.

        Standing still at the same place is nothing in common.
        """
        a, b, spread = self.a, self.b, self.spread
        moment = a.time_s * speed + offset
        inside = (moment >= b.time_s[0] - 1e-9) & (moment <= b.time_s[-1] + 1e-9)
        weight = self.amount_a[inside]
        if not weight.sum() > 0:
            return Pair("near", "", "", np.inf, offset, speed, 0.0)
        covered = (b.time_s >= moment[0] - 1e-9) & (b.time_s <= moment[-1] + 1e-9)
        total_a, total_b = self.amount_a.sum(), self.amount_b.sum()
        shared = (
            weight.sum() / total_a if total_a <= total_b else self.amount_b[covered].sum() / total_b
        )
        off = (a.values[inside] - at(b, moment[inside])) / spread
        square = (off**2).sum(axis=1) / max(int(np.isfinite(spread).sum()), 1)
        distance = float(np.sqrt((weight * square).sum() / weight.sum()))
        return Pair("near", "", "", distance, offset, speed, min(float(shared), 1.0))


def _amounts(motion: Motion, spread: Floats) -> Floats:
    """Return how far the body moves around each sample, in spreads: (n,)."""
    found: Floats = np.linalg.norm(np.gradient(motion.values, axis=0) / spread, axis=1)
    return found


def _rank(pair: Pair) -> tuple[bool, float]:
    return pair.overlap < OVERLAP, pair.distance
