"""What truly happened in a rollout: contacts, grasps, slips, phases, outcome.

Everything is read off contact forces, heights and displacements by the definitions in
`schemas/phases.yaml` and `schemas/tasks/*.yaml`; nothing here knows the script.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demos.model import Span
from demos.physics import Floats
from demos.simulate.observations import (
    Flags,
    Observations,
    either,
    first_row,
    observe,
    runs,
    steady,
)
from demos.simulate.rollout import LOG_HZ, Rollout

REST_S = 0.5
"""Touches without a lift that follow each other faster belong to one attempt."""
BRUSH_N = 0.3
"""A contact that never reaches this force is no attempt."""
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
    facts = observe(rollout, target)
    lift_m = parameters.get("lift_m", LIFT_M)
    tiers = {hand: either(facts.touch[hand].values()) for hand in rollout.world.hands}
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


def _attempts(
    facts: Observations, tier: str, touch: Flags, grip: Flags, tried: Flags, lift_m: float
) -> list[Attempt]:
    found: list[Attempt] = []
    bouts = runs(touch)
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


def _tried(facts: Observations, hands: Sequence[str]) -> Flags:
    """Where a hand presses on the object and closes, or closed just before: not a mere brush."""
    return either((facts.force[hand] >= BRUSH_N) & facts.closing[hand] for hand in hands)


def _attempt(
    facts: Observations, tier: str, start: int, end: int, grip: Flags, lift_m: float
) -> Attempt:
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


def _with_marginal(facts: Observations, attempt: Attempt, hands: Sequence[str]) -> Attempt:
    if attempt.outcome != "held" or attempt.lifted is None:
        close = attempt.outcome == "missed" and attempt.height_m > 0.5 * LIFT_M
        return replace(attempt, marginal=close)
    rows = slice(attempt.lifted, attempt.down or attempt.end)
    slid = max(_slid(facts.slip_m_s[hand][rows]) for hand in hands)
    tilt = float(facts.tilt_deg[rows].max())
    shaky = slid > MARGINAL_SLIP_M or tilt > MARGINAL_TILT_DEG or attempt.height_m < 1.5 * LIFT_M
    return replace(attempt, marginal=shaky)


def _phases(
    facts: Observations, tier: str, hands: Sequence[str], attempts: Sequence[Attempt]
) -> list[Span]:
    count = len(facts.time_s)
    speed = np.max([facts.speed[hand] for hand in hands], axis=0)
    moving = steady(speed > MOVING_M_S, gap_s=0.3)
    towards = np.max([facts.towards[hand] for hand in hands], axis=0)
    begin = first_row(moving, 0, count)
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
            leaves = first_row(moving, attempt.end, count)
            marks.append((attempt.end, "retract"))
            marks.append((first_row(~moving, leaves, count), "idle"))
    spans = [
        (start, end, what)
        for (start, what), (end, _) in zip(marks, [*marks[1:], (count, "")], strict=True)
        if end > start
    ]
    return _spans(facts, spans, tier)


def _holding(facts: Observations, attempt: Attempt) -> list[tuple[int, str]]:
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
    coming = steady(towards[start:end] > MOVING_M_S, gap_s=0.3)
    found = runs(coming)
    return start + found[-1][0] if found else end


def _slips(facts: Observations, hand: str, attempts: Sequence[Attempt]) -> list[Span]:
    spans = []
    for attempt in attempts:
        if attempt.tier != hand or attempt.lifted is None:
            continue
        stop = attempt.end if attempt.down is None else attempt.down
        sliding = steady(facts.slip_m_s[hand][attempt.lifted : stop] > SLIP_M_S, gap_s=0.06)
        for first, last in runs(sliding):
            rows = slice(attempt.lifted + first, attempt.lifted + last)
            slid = _slid(facts.slip_m_s[hand][rows])
            if slid >= SLIP_M:
                spans += _spans(
                    facts, [(rows.start, rows.stop, "slip")], hand, slid_m=round(slid, 5)
                )
    return spans


def _slid(speed: Floats) -> float:
    return float(speed[speed > SLIP_M_S].sum()) / LOG_HZ


def _contacts(facts: Observations) -> list[Span]:
    spans = []
    for hand, fingers in facts.touch.items():
        for start, end in runs(either(fingers.values())):
            spans += _spans(facts, [(start, end, "contact")], hand)
        for finger, touching in fingers.items():
            for start, end in runs(touching):
                spans += _spans(facts, [(start, end, "contact")], hand, finger=finger)
    return spans


def _grasp(facts: Observations, attempt: Attempt) -> Span:
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
    facts: Observations,
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
    facts: Observations,
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
    facts: Observations,
    rows: Sequence[tuple[int, int, str]],
    tier: str,
    **notes: str | float | bool,
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
