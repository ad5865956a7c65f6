"""How much later one motion is than another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demos.physics import Floats

LONGEST_S = 0.15
SMOOTHED_S = 0.02
LEAST_RANGE = 0.05


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds by which a motion follows another, and the correlation at that shift.

    `seconds` is None where nothing moved enough to tell, or where the peak lies at the end of
    what was searched.
    """

    seconds: float | None
    correlation: float
    joints: int


def delay(
    leader: Floats,
    follower: Floats,
    step_s: float,
    *,
    longest_s: float = LONGEST_S,
    least_range: float = LEAST_RANGE,
) -> Delay:
    """Estimate by how much `follower` is later than `leader`, both (n, J) on one even grid.

    The shift that maximises the normalised cross-correlation of velocities, summed over the
    joints that move by at least `least_range`, refined by a parabola through the peak and its
    neighbours (Knapp and Carter 1976; Jacovitti and Scarano 1993). Both motions are smoothed
    alike over 20 ms before they are differentiated, which shifts neither against the other.
    """
    moves = (np.ptp(leader, axis=0) > least_range) & (np.ptp(follower, axis=0) > least_range)
    most = int(longest_s / step_s)
    if not moves.any() or len(leader) < 4 * most:
        return Delay(None, 0.0, int(moves.sum()))
    a, b = (_velocity(signal[:, moves], step_s) for signal in (leader, follower))
    shifts = np.arange(-most, most + 1)
    height = np.array([_correlation(a, b, int(shift)) for shift in shifts])
    peak = int(height.argmax())
    if peak in (0, len(height) - 1):
        return Delay(None, float(height[peak]), int(moves.sum()))
    before, top, after = height[peak - 1 : peak + 2]
    refined = shifts[peak] + 0.5 * (before - after) / (before - 2.0 * top + after)
    return Delay(float(refined * step_s), float(top), int(moves.sum()))


def _velocity(position: Floats, step_s: float) -> Floats:
    width = max(round(SMOOTHED_S / step_s), 1)
    total = np.cumsum(np.vstack([np.zeros(position.shape[1]), position]), axis=0)
    smooth = (total[width:] - total[:-width]) / width
    return np.asarray(np.diff(smooth, axis=0))


def _correlation(a: Floats, b: Floats, shift: int) -> float:
    """Correlate a(t) with b(t + shift) over what overlaps."""
    n = len(a)
    x, y = a[max(0, -shift) : n - max(0, shift)], b[max(0, shift) : n - max(0, -shift)]
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + 1e-30))
