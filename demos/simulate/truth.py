"""What truly happened in a rollout: contacts, grasps, slips, phases, outcome.

Everything is read off contact forces, heights and displacements by the definitions in
`schemas/phases.yaml` and `schemas/tasks/*.yaml`; nothing here knows the script.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from demos.model import Span
from demos.physics import Floats
from demos.simulate.rollout import LOG_HZ, Rollout
from demos.simulate.world import FINGERS, TABLE_M

Flags = npt.NDArray[np.bool_]

TOUCH_N = 0.05
"""A pad touches the object from this force on."""
GAP_S = 0.05
"""Contact that is lost for less than this was not lost: rigid bodies chatter."""
REST_S = 0.5
"""Touches without a lift that follow each other faster belong to one attempt."""
BRUSH_N = 0.3
"""A contact that never reaches this force is no attempt."""
CLOSING_S = 0.2
"""Fingers told to flex faster than this share of their way per second are closing."""
LIFT_M = 0.02
SIDEWAYS_M = 0.02
NEAR_M = 0.03
LOW_M = 0.01
"""An object let go of this close to its support was placed, not dropped."""
MOVING_M_S = 0.05
SLIP_M = 0.003
SLIP_M_S = 0.008
MARGINAL_SLIP_M = 0.005
MARGINAL_TILT_DEG = 15.0
STILL_M_S = 0.01


@dataclass(frozen=True, slots=True)
class Attempt:
    """One grasp attempt on one tier; rows of the rollout, `end` exclusive.

    `lifted` and `down` are the rows where the object left its support and met it again, None
    where it did not. `outcome` is held, dropped or missed.
    """

    tier: str
    start: int
    end: int
    lifted: int | None
    down: int | None
    height_m: float
    outcome: str
    marginal: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The labels that physics gives, as spans, and the figures they rest on."""

    outcome: str
    intent: str
    phases: tuple[Span, ...]
    contacts: tuple[Span, ...]
    slips: tuple[Span, ...]
    grasps: tuple[Span, ...]
    failure_modes: tuple[Span, ...]
    attempts: tuple[Attempt, ...] = ()
    goal_distance_m: float = float("nan")
    height_m: float = 0.0
    slid_m: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """Per row: what the definitions speak of."""

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


def judge(
    rollout: Rollout,
    *,
    target: str,
    holders: Sequence[str],
    together: bool,
    parameters: Mapping[str, float],
) -> Truth:
    """Read off what happened to the object `target`.

    `together` says that only all `holders` at once hold it. `parameters` are the task's:
    goal_radius_m, partial_radius_m, upright_deg, lift_m.
    """
    facts = _facts(rollout, target)
    lift_m = parameters.get("lift_m", LIFT_M)
    tiers = {hand: _any(facts.touch[hand].values()) for hand in rollout.world.hands}
    held_by = [tiers[hand] for hand in holders]
    touch = np.logical_or.reduce(held_by)
    grip = np.logical_and.reduce(held_by) if together else touch

    attempts: list[Attempt] = []
    phases: list[Span] = []
    for tier, touched, gripped in (
        ("task", touch, grip),
        *((hand, tiers[hand], tiers[hand]) for hand in tiers),
    ):
        hands = [tier] if tier != "task" else list(holders)
        tried = grip if together else _tried(facts, hands)
        found = _attempts(facts, tier, touched, gripped, tried, lift_m)
        found = [_with_marginal(facts, attempt, hands) for attempt in found]
        attempts += found
        if tier == "task" or tier in holders:
            phases += _phases(facts, tier, hands, found)
        else:
            phases += _spans(facts, [(0, len(facts.time_s), "idle")], tier)
    own = [attempt for attempt in attempts if attempt.tier == "task"]
    outcome, distance = _outcome(rollout, facts, own, parameters)
    slips = [span for hand in holders for span in _slips(facts, hand, attempts)]
    return Truth(
        outcome=outcome,
        intent="recovery" if _recovered(own) else "nominal",
        phases=tuple(phases),
        contacts=tuple(_contacts(facts)),
        slips=tuple(slips),
        grasps=tuple(_grasp(facts, attempt) for attempt in attempts if attempt.tier != "task"),
        failure_modes=tuple(_failure_modes(facts, own, outcome, distance, parameters)),
        attempts=tuple(attempts),
        goal_distance_m=distance,
        height_m=max((attempt.height_m for attempt in own), default=0.0),
        slid_m=max((float(span.notes["slid_m"] or 0.0) for span in slips), default=0.0),
    )


def _facts(rollout: Rollout, target: str) -> _Facts:
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
            touch[name][finger] = _steady(size > TOUCH_N)
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
    return _Facts(
        time_s=rollout.time_s,
        centre=pose[:, :3],
        underside_m=_underside(world.model, target, pose, axes) - TABLE_M,
        tilt_deg=np.degrees(np.arccos(np.clip(axes[:, 2, 2], -1.0, 1.0))),
        supported=_steady(np.linalg.norm(rollout.touch[f"{target}_on_world"], axis=1) > TOUCH_N),
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


def _attempts(
    facts: _Facts, tier: str, touch: Flags, grip: Flags, tried: Flags, lift_m: float
) -> list[Attempt]:
    found: list[Attempt] = []
    bouts = _runs(touch)
    while bouts:
        start, end = bouts.pop(0)
        done = _attempt(facts, tier, start, end, grip, lift_m)
        while bouts and (bouts[0][0] - end) < REST_S * LOG_HZ:
            # brushing it while letting go, pushing it along, being hit by it as it falls: all
            # of that is still the same attempt
            end = bouts.pop(0)[1]
            if done.outcome == "missed":
                done = _attempt(facts, tier, start, end, grip, lift_m)
            elif done.outcome == "held":
                done = replace(done, end=end)
        if done.outcome != "missed" or tried[start:end].any():
            found.append(done)
    return found


def _tried(facts: _Facts, hands: Sequence[str]) -> Flags:
    """Where a hand presses on the object and closes, or closed just before: not a mere brush."""
    return _any((facts.force[hand] >= BRUSH_N) & facts.closing[hand] for hand in hands)


def _attempt(facts: _Facts, tier: str, start: int, end: int, grip: Flags, lift_m: float) -> Attempt:
    raised = np.where(grip[start:end], facts.underside_m[start:end], 0.0)
    height = max(0.0, float(raised.max()))
    if height < lift_m:
        return Attempt(tier, start, end, None, None, height, "missed")
    high = start + int(np.argmax(raised >= lift_m))
    standing = np.flatnonzero(facts.supported[:high])
    lifted = int(standing[-1]) + 1 if len(standing) else start
    lost = high + int(np.argmin(np.append(grip[high:end], False)))
    below = np.flatnonzero(facts.supported[high:])
    down = high + int(below[0]) if len(below) else None
    if down is not None and down <= lost:
        return Attempt(tier, start, end, max(lifted, start), down, height, "held")
    if facts.underside_m[min(lost, len(facts.underside_m) - 1)] <= LOW_M:
        return Attempt(tier, start, end, max(lifted, start), min(lost, end), height, "held")
    if lost >= len(facts.time_s) - 1:
        # still in the hand when the episode ends: kept, never set down
        return Attempt(tier, start, end, max(lifted, start), None, height, "held")
    return Attempt(tier, start, lost, max(lifted, start), None, height, "dropped")


def _with_marginal(facts: _Facts, attempt: Attempt, hands: Sequence[str]) -> Attempt:
    if attempt.outcome != "held" or attempt.lifted is None:
        close = attempt.outcome == "missed" and attempt.height_m > 0.5 * LIFT_M
        return replace(attempt, marginal=close)
    rows = slice(attempt.lifted, attempt.down or attempt.end)
    slid = max(_slid(facts.slip_m_s[hand][rows]) for hand in hands)
    tilt = float(facts.tilt_deg[rows].max())
    shaky = slid > MARGINAL_SLIP_M or tilt > MARGINAL_TILT_DEG or attempt.height_m < 1.5 * LIFT_M
    return replace(attempt, marginal=shaky)


def _phases(
    facts: _Facts, tier: str, hands: Sequence[str], attempts: Sequence[Attempt]
) -> list[Span]:
    count = len(facts.time_s)
    speed = np.max([facts.speed[hand] for hand in hands], axis=0)
    moving = _steady(speed > MOVING_M_S, gap_s=0.3)
    towards = np.max([facts.towards[hand] for hand in hands], axis=0)
    begin = _first(moving, 0, count)
    marks: list[tuple[int, str]] = [(0, "idle"), (begin, "reach")]
    for number, attempt in enumerate(attempts):
        marks.append((attempt.start, "grasp"))
        marks += _holding(facts, attempt)
        if number + 1 < len(attempts):
            again = attempts[number + 1].start
            marks.append((attempt.end, "recover"))
            marks.append((_turn(towards, attempt.end, again), "reach"))
        else:
            # the hand may stand still a moment before it leaves: that is not the end of leaving
            leaves = _first(moving, attempt.end, count)
            marks.append((attempt.end, "retract"))
            marks.append((_first(~moving, leaves, count), "idle"))
    spans = [
        (start, end, what)
        for (start, what), (end, _) in zip(marks, [*marks[1:], (count, "")], strict=True)
        if end > start
    ]
    return _spans(facts, spans, tier)


def _holding(facts: _Facts, attempt: Attempt) -> list[tuple[int, str]]:
    if attempt.lifted is None:
        return []
    marks = [(attempt.lifted, "lift")]
    end = attempt.end if attempt.down is None else attempt.down
    place = end
    if attempt.down is not None:
        high = np.flatnonzero(facts.underside_m[attempt.lifted : end] > NEAR_M)
        place = attempt.lifted + int(high[-1]) + 1 if len(high) else end
    start = facts.centre[attempt.lifted, :2]
    sideways = np.linalg.norm(facts.centre[attempt.lifted : end, :2] - start, axis=1) >= SIDEWAYS_M
    ready = sideways & (np.maximum.accumulate(facts.underside_m[attempt.lifted : end]) >= LIFT_M)
    if ready.any():
        carried = attempt.lifted + int(np.argmax(ready))
        if carried < place:
            marks.append((carried, "transport"))
    if attempt.down is not None:
        if place < end:
            marks.append((place, "place"))
        marks.append((attempt.down, "release"))
    return marks


def _turn(towards: Floats, start: int, end: int) -> int:
    """Where the hand turns back to the object: the first row from which it only comes closer."""
    coming = _steady(towards[start:end] > MOVING_M_S, gap_s=0.3)
    runs = _runs(coming)
    return start + runs[-1][0] if runs else end


def _slips(facts: _Facts, hand: str, attempts: Sequence[Attempt]) -> list[Span]:
    spans = []
    for attempt in attempts:
        if attempt.tier != hand or attempt.lifted is None:
            continue
        stop = attempt.end if attempt.down is None else attempt.down
        sliding = _steady(facts.slip_m_s[hand][attempt.lifted : stop] > SLIP_M_S, gap_s=0.06)
        for first, last in _runs(sliding):
            rows = slice(attempt.lifted + first, attempt.lifted + last)
            slid = _slid(facts.slip_m_s[hand][rows])
            if slid >= SLIP_M:
                spans += _spans(
                    facts, [(rows.start, rows.stop, "slip")], hand, slid_m=round(slid, 5)
                )
    return spans


def _slid(speed: Floats) -> float:
    return float(speed[speed > SLIP_M_S].sum()) / LOG_HZ


def _contacts(facts: _Facts) -> list[Span]:
    spans = []
    for hand, fingers in facts.touch.items():
        for start, end in _runs(_any(fingers.values())):
            spans += _spans(facts, [(start, end, "contact")], hand)
        for finger, touching in fingers.items():
            for start, end in _runs(touching):
                spans += _spans(facts, [(start, end, "contact")], hand, finger=finger)
    return spans


def _grasp(facts: _Facts, attempt: Attempt) -> Span:
    (span,) = _spans(
        facts,
        [(attempt.start, attempt.end, attempt.outcome)],
        attempt.tier,
        marginal=attempt.marginal,
        height_m=round(attempt.height_m, 4),
    )
    return span


def _outcome(
    rollout: Rollout,
    facts: _Facts,
    attempts: Sequence[Attempt],
    parameters: Mapping[str, float],
) -> tuple[str, float]:
    goal = np.array(rollout.world.scene.goal_m)
    distance = float(np.linalg.norm(facts.centre[-1, :2] - goal))
    if rollout.stopped_s is not None:
        return "aborted", distance
    rows = slice(-round(0.1 * LOG_HZ), None)
    untouched = not any(t[rows].any() for hand in facts.touch.values() for t in hand.values())
    speed = np.linalg.norm(facts.centre[-1] - facts.centre[rows.start]) / 0.1
    upright = facts.tilt_deg[-1] <= parameters["upright_deg"]
    on_table = abs(facts.underside_m[-1]) < 0.005
    lifted = any(attempt.outcome != "missed" for attempt in attempts)
    if not (untouched and speed < STILL_M_S and upright and on_table and lifted):
        return "failure", distance
    if distance <= parameters["goal_radius_m"]:
        return "success", distance
    return ("partial" if distance <= parameters["partial_radius_m"] else "failure"), distance


def _failure_modes(
    facts: _Facts,
    attempts: Sequence[Attempt],
    outcome: str,
    distance_m: float,
    parameters: Mapping[str, float],
) -> list[Span]:
    modes = [
        (attempt.start, attempt.end, {"missed": "missed_grasp", "dropped": "dropped"}[a_kind])
        for attempt in attempts
        if (a_kind := attempt.outcome) != "held"
    ]
    count = len(facts.time_s)
    if outcome in ("partial", "failure"):
        last = attempts[-1].end if attempts else 0
        after = (min(last, count - 1), count)
        if facts.tilt_deg[-1] > parameters["upright_deg"]:
            modes.append((*after, "tilted" if parameters.get("tilted") else "toppled"))
        elif any(a.outcome == "held" for a in attempts) and (
            distance_m > parameters["goal_radius_m"]
        ):
            modes.append((*after, "off_goal"))
        if not modes:
            modes.append((0, count, "timeout"))
    return _spans(facts, modes, "task")


def _recovered(attempts: Sequence[Attempt]) -> bool:
    return any(
        first.outcome != "held" and second.outcome == "held"
        for first, second in itertools.pairwise(attempts)
    )


def _spans(
    facts: _Facts, rows: Sequence[tuple[int, int, str]], tier: str, **notes: str | float | bool
) -> list[Span]:
    edges = np.append(facts.time_s, facts.time_s[-1])
    return [
        Span(
            start_ns=round(edges[start] * 1e9),
            end_ns=round(edges[end] * 1e9),
            tier=tier,
            value=value,
            notes=notes,
        )
        for start, end, value in rows
    ]


def _underside(model: object, target: str, pose: Floats, axes: Floats) -> Floats:
    """Height of the lowest point of the object's geoms (m, world): boxes and cylinders."""
    lowest = np.full(len(pose), np.inf)
    body = model.body(target)  # type: ignore[attr-defined]
    for number in range(int(body.geomadr[0]), int(body.geomadr[0]) + int(body.geomnum[0])):
        geom = model.geom(number)  # type: ignore[attr-defined]
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


def _any(flags: object) -> Flags:
    return np.asarray(np.logical_or.reduce(list(flags)))  # type: ignore[call-overload]


def _steady(flags: Flags, *, gap_s: float = GAP_S, blip_s: float = 0.006) -> Flags:
    """Close gaps shorter than `gap_s`, then drop runs shorter than `blip_s`."""
    out = flags.copy()
    for start, end in _runs(~flags):
        if start > 0 and end < len(flags) and end - start < gap_s * LOG_HZ:
            out[start:end] = True
    for start, end in _runs(out):
        if end - start < blip_s * LOG_HZ:
            out[start:end] = False
    return out


def _runs(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _first(flags: Flags, start: int, end: int) -> int:
    found = np.flatnonzero(flags[start:end])
    return start + int(found[0]) if len(found) else end
