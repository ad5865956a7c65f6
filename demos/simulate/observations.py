"""What can be seen of an object and the hands in a rollout, row by row.

Contact, support, height, tilt, speeds: the quantities that the definitions in
`schemas/phases.yaml` speak of. `demos.simulate.truth` applies the definitions to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.physics import Floats
from demos.simulate.rollout import LOG_HZ, Rollout
from demos.simulate.world import FINGERS, TABLE_M

Flags = npt.NDArray[np.bool_]

TOUCH_N = 0.05
"""A pad touches the object from this force on."""
GAP_S = 0.05
"""Contact that is lost for less than this was not lost: rigid bodies chatter."""
CLOSING_S = 0.2
"""Fingers told to flex faster than this share of their way per second are closing."""


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """Per row of a rollout, what the definitions speak of.

    centre (n, 3), m, world; underside_m above the table; tilt_deg from upright; supported: it
    stands on table or floor. Per hand: which finger or palm touches, the greatest force (N), speed
    and closing speed of the grasp point (m/s), whether the fingers close, and how fast the pads
    slide over the object (m/s).
    """

    time_s: Floats
    centre: Floats
    underside_m: Floats
    tilt_deg: Floats
    supported: Flags
    touch: Mapping[str, Mapping[str, Flags]]
    force: Mapping[str, Floats]
    speed: Mapping[str, Floats]
    towards: Mapping[str, Floats]
    closing: Mapping[str, Flags]
    slip_m_s: Mapping[str, Floats]


def observe(rollout: Rollout, target: str) -> Observations:
    """Read off everything about the object `target`."""
    world, pose = rollout.world, rollout.object_pose(target)
    axes = _matrices(pose[:, 3:])
    touch: dict[str, dict[str, Flags]] = {}
    force, speed, towards, slip, closing = {}, {}, {}, {}, {}
    for name, hand in world.hands.items():
        touch[name] = {}
        strength = np.zeros(len(pose))
        seen = []
        for geom in hand.touches:
            size = np.linalg.norm(rollout.touch[f"{geom}_on_{target}"], axis=1)
            finger = geom.removesuffix("_pad").split("_")[-1]
            touch[name][finger] = steady(size > TOUCH_N)
            strength = np.maximum(strength, size)
            if finger in FINGERS:
                seen.append(touch[name][finger])
        force[name] = strength
        path = _smooth(rollout.grasp[name], 0.05)
        velocity = np.gradient(path, 1.0 / LOG_HZ, axis=0)
        speed[name] = np.linalg.norm(velocity, axis=1)
        away = pose[:, :3] - path
        far = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
        towards[name] = (velocity * away / far).sum(axis=1)
        flexed = (rollout.command[:, hand.hand] - hand.opened) / _span(hand.closed - hand.opened)
        rate = np.gradient(_smooth(flexed.max(axis=1), 0.05), 1.0 / LOG_HZ)
        closing[name] = _held_on(rate > CLOSING_S, 0.3)
        tips = [i for i, tip in enumerate(world.tips) if tip.startswith(hand.side)]
        slip[name] = _sliding(rollout.tips[:, tips], pose[:, :3], axes, np.array(seen).T)
    return Observations(
        time_s=rollout.time_s,
        centre=pose[:, :3],
        underside_m=_underside(world.model, target, pose, axes) - TABLE_M,
        tilt_deg=np.degrees(np.arccos(np.clip(axes[:, 2, 2], -1.0, 1.0))),
        supported=steady(np.linalg.norm(rollout.touch[f"{target}_on_world"], axis=1) > TOUCH_N),
        touch=touch,
        force=force,
        speed=speed,
        towards=towards,
        closing=closing,
        slip_m_s=slip,
    )


def _sliding(tips: Floats, centre: Floats, axes: Floats, touching: Flags) -> Floats:
    """Speed of the pads over the object (m/s): the median of those that touch, 0 without any."""
    inside = np.einsum("nji,npj->npi", axes, tips - centre[:, None, :])
    velocity = np.gradient(_smooth(inside, 0.02), 1.0 / LOG_HZ, axis=0)
    speed = np.where(touching, np.linalg.norm(velocity, axis=2), np.nan)
    out = np.zeros(len(tips))
    some = touching.any(axis=1)
    out[some] = np.nanmedian(speed[some], axis=1)
    return out


def _underside(model: Any, target: str, pose: Floats, axes: Floats) -> Floats:
    """Height of the lowest point of the object's geoms (m, world): boxes and cylinders."""
    lowest = np.full(len(pose), np.inf)
    body = model.body(target)
    for number in range(int(body.geomadr[0]), int(body.geomadr[0]) + int(body.geomnum[0])):
        geom = model.geom(number)
        size, up = geom.size, axes[:, 2, :]
        centre = pose[:, 2] + axes[:, 2, :] @ geom.pos
        if int(geom.type[0]) == 5:  # mjGEOM_CYLINDER: radius, half length
            reach = np.abs(up[:, 2]) * size[1] + size[0] * np.sqrt(np.clip(1 - up[:, 2] ** 2, 0, 1))
        else:
            reach = np.abs(up) @ size
        lowest = np.minimum(lowest, centre - reach)
    return lowest


def _matrices(quaternions: Floats) -> Floats:
    """(n, 3, 3) rotation matrices of (n, 4) quaternions xyzw."""
    x, y, z, w = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _smooth(values: Floats, seconds: float) -> Floats:
    """Average over a centred window along the first axis."""
    width = max(1, round(seconds * LOG_HZ))
    before = width // 2
    padding = [(before, width - 1 - before), *[(0, 0)] * (values.ndim - 1)]
    total = np.cumsum(np.pad(values, padding, mode="edge"), axis=0)
    total[width:] -= total[:-width].copy()
    return np.asarray(total[width - 1 :] / width)


def _span(way: Floats) -> Floats:
    """Joints that do not move when the hand closes say nothing about how far it is closed."""
    return np.where(np.abs(way) > 0.1, way, np.inf)


def _held_on(flags: Flags, seconds: float) -> Flags:
    """Keep each flag up for some time after it falls."""
    width = round(seconds * LOG_HZ)
    return np.asarray(np.convolve(flags, np.ones(width), mode="full")[: len(flags)] > 0)


def either(flags: Iterable[Flags]) -> Flags:
    """Say where any of several flags is up."""
    return np.asarray(np.logical_or.reduce(list(flags)))


def steady(flags: Flags, *, gap_s: float = GAP_S, blip_s: float = 0.006) -> Flags:
    """Close gaps shorter than `gap_s`, then drop runs shorter than `blip_s`."""
    out = flags.copy()
    for start, end in runs(~flags):
        if start > 0 and end < len(flags) and end - start < gap_s * LOG_HZ:
            out[start:end] = True
    for start, end in runs(out):
        if end - start < blip_s * LOG_HZ:
            out[start:end] = False
    return out


def runs(flags: Flags) -> list[tuple[int, int]]:
    """List the runs of flags that are up: first row, and the row after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def first_row(flags: Flags, start: int, end: int) -> int:
    """Find the first row from `start` on where a flag is up, or `end`."""
    found = np.flatnonzero(flags[start:end])
    return start + int(found[0]) if len(found) else end
