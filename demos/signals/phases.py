"""Phases of one effector by event rules: motion, contact, lift, placing.

The rules are those of `schemas/phases.yaml`, read off signals: a hand moves when its wrist is
faster than 0.05 m/s; it grasps from contact on; the object has left its support when the hand has
begun to rise with it. Where no object is tracked, its height is that of the wrist which carries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demos.model import Episode
from demos.signals.bodies import Motion, motions
from demos.signals.conditioning import GRID_HZ, Flags, Floats, runs, speed
from demos.signals.grasps import NEAR_M, SIDEWAYS_M, Attempt, object_path

MOVING = {True: 0.05, False: 0.15}
"""A hand moves above this speed: m/s; rad/s in joint space."""
_STILL_HELD_NS = 100_000_000
"""Contact that lasts until so shortly before the end was not let go."""


@dataclass(frozen=True, slots=True)
class Interval:
    """One phase, half-open, ns."""

    start_ns: int
    end_ns: int
    phase: str
    confidence: float


def phases_of(
    episode: Episode,
    hands: Sequence[str],
    found: Sequence[Attempt],
    end_ns: int,
    *,
    idle: bool = False,
) -> list[Interval]:
    """Return the phases of one tier: of a hand, or of all `hands` that work on the task.

    `found` are the tier's attempts, ordered by start. `idle` says that the tier takes no part.
    """
    own = [m for m in motions(episode) if m.effector.name in hands]
    if not own or not len(own[0].time_ns):
        return []
    time_ns = own[0].time_ns
    # the even grid begins up to a period after the first sample
    start = min(int(s.time_ns.min()) for s in episode.streams.values() if len(s))
    if idle:
        return [Interval(start, end_ns, "idle", 0.8)]
    fastest = np.max([_pace(motion) for motion in own], axis=0)
    moving = _steady(fastest > MOVING[own[0].in_metres], gap_s=0.3)
    first = _first(moving, 0)
    begin = int(time_ns[first]) if first is not None else end_ns
    if found:
        begin = min(begin, found[0].start_ns)
    marks: list[tuple[int, str, float]] = [(start, "idle", 0.9), (begin, "reach", 0.9)]
    for number, attempt in enumerate(found):
        sure = attempt.confidence
        marks.append((attempt.start_ns, "grasp", sure))
        marks += _holding(episode, attempt, own)
        if number + 1 < len(found):
            again = found[number + 1].start_ns
            marks.append((attempt.end_ns, "recover", sure))
            marks.append((_turn(own, attempt.end_ns, again), "reach", 0.6 * sure))
        elif attempt.end_ns < end_ns - _STILL_HELD_NS:
            marks.append((attempt.end_ns, "retract", sure))
            after = int(np.searchsorted(time_ns, attempt.end_ns))
            # a hand that lets go may wait a moment before it leaves: that is not the end of leaving
            leaving = _first(moving, after)
            rest = _first(~moving, leaving) if leaving is not None else after
            over = rest is None or rest >= len(time_ns)
            marks.append((end_ns if over else int(time_ns[rest]), "idle", 0.8))
    if not found and begin < end_ns:
        # without a contact nothing tells a reach from a retreat
        marks[-1] = (begin, "reach", 0.3)
    return _laid_out(marks, end_ns)


def _laid_out(marks: list[tuple[int, str, float]], end_ns: int) -> list[Interval]:
    found = []
    for (start, phase, sure), following in zip(marks, [*marks[1:], None], strict=True):
        stop = following[0] if following is not None else end_ns
        stop = min(stop, end_ns)
        if stop > start:
            found.append(Interval(start, stop, phase, round(sure, 3)))
    return found


def _pace(motion: Motion) -> Floats:
    # 6 Hz is what tells strokes apart; an onset wants less smoothing
    return speed(motion.position, cutoff_hz=10.0)


def _holding(
    episode: Episode, attempt: Attempt, own: Sequence[Motion]
) -> list[tuple[int, str, float]]:
    if attempt.lifted_ns is None or attempt.high_ns is None:
        return []
    sure = attempt.confidence
    marks = [(attempt.lifted_ns, "lift", sure)]
    path = object_path(episode, attempt.start_ns, attempt.end_ns) if attempt.tracked else None
    if path is None:
        carrier = next((m for m in own if m.effector.name == attempt.hand), own[0])
        if not carrier.in_metres:
            return marks
        path = carrier.time_ns, carrier.position
    stamps, place = path
    end_ns = attempt.down_ns or attempt.end_ns
    inside = (stamps >= attempt.lifted_ns) & (stamps <= end_ns)
    if inside.sum() < 3:
        return marks
    times, way = stamps[inside], place[inside]
    aside = np.linalg.norm(way[:, :2] - way[0, :2], axis=1) >= SIDEWAYS_M
    ready = aside & (times >= attempt.high_ns)
    place_ns = end_ns
    if attempt.down_ns is not None:
        above = np.flatnonzero(way[:, 2] > way[-1, 2] + NEAR_M)
        place_ns = int(times[min(int(above[-1]) + 1, len(times) - 1)]) if len(above) else end_ns
    if ready.any() and int(times[np.argmax(ready)]) < place_ns:
        marks.append((int(times[np.argmax(ready)]), "transport", sure))
    if attempt.down_ns is not None:
        if place_ns < end_ns:
            marks.append((place_ns, "place", 0.9 * sure))
        marks.append((attempt.down_ns, "release", 0.9 * sure))
    return marks


def _turn(own: Sequence[Motion], lost_ns: int, again_ns: int) -> int:
    """Return when the hand turns back: from then on it only comes nearer to the next touch."""
    turn = lost_ns
    for motion in own:
        inside = (motion.time_ns >= lost_ns) & (motion.time_ns <= again_ns)
        if inside.sum() < 3:
            continue
        goal = motion.position[inside][-1]
        nearer = -np.gradient(np.linalg.norm(motion.position[inside] - goal, axis=1), 1 / GRID_HZ)
        coming = runs(_steady(nearer > MOVING[motion.in_metres], gap_s=0.3))
        if coming:
            turn = max(turn, int(motion.time_ns[inside][coming[-1][0]]))
        else:
            turn = max(turn, again_ns)
    return turn


def _steady(flags: Flags, *, gap_s: float) -> Flags:
    """Close interruptions shorter than `gap_s`."""
    closed = flags.copy()
    for start, end in runs(~flags):
        if start > 0 and end < len(flags) and end - start < gap_s * GRID_HZ:
            closed[start:end] = True
    return closed


def _first(flags: Flags, after: int) -> int | None:
    found = np.flatnonzero(flags[after:])
    return after + int(found[0]) if len(found) else None
