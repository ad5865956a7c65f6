"""How the hands moved: straight or in bows, on or with rests."""

from __future__ import annotations

import numpy as np

from demos.metrics import Measurement, metric, not_assessable
from demos.model import Episode
from demos.signals import strokes as moving
from demos.signals.bodies import Motion, closures, motions
from demos.signals.conditioning import GRID_HZ, Flags, runs
from demos.signals.grasps import holds

_MOTION = ("joint_position", "pose.*_wrist")
_LEAST_PATH = {True: 0.05, False: 0.15}


@metric(unit="s", better="neither", owns="length", version=1)
def duration(episode: Episode) -> Measurement:
    """Time from the first to the last sample; stands beside every other score."""
    return Measurement(episode.duration_s)


@metric(unit="1", better="lower", owns="detours", needs=(_MOTION,), min_rate_hz=20.0)
def path_excess(episode: Episode) -> Measurement:
    """Way beyond the straight line, per metre of it, over the movement strokes of all hands.

    Sum of (path - chord) over sum of chords, for strokes longer than 5 cm (0.15 rad in joint
    space, where no kinematic model is there and the number only compares within one embodiment).
    0 is straight, pi/2 - 1 a half circle. Never the chord from the episode's start to its end: a
    hand that returns home has made no detour. Obstacles and lifts bow a way on purpose: compare
    within one task.
    """
    moved = motions(episode)
    if not moving.moves(moved):
        return not_assessable("nothing moves")
    reference = moving.reference_speed(moved)
    least = _LEAST_PATH[moved[0].in_metres]
    found = [
        stroke
        for motion in moved
        for stroke in moving.strokes(motion, reference, cuts_ns=_edges(episode, motion))
        if stroke.path > least
    ]
    chords = sum(stroke.chord for stroke in found)
    if chords < least:
        return not_assessable("no movement stroke is long enough")
    value = sum(stroke.path - stroke.chord for stroke in found) / chords
    spans = tuple(sorted((stroke.start_ns, stroke.end_ns) for stroke in found))
    return Measurement(value, spans, _said_of(moved))


def _edges(episode: Episode, motion: Motion) -> list[int]:
    own = [hold for hold in holds(episode) if hold.hand == motion.effector.name]
    return [edge for hold in own for edge in (hold.start_ns, hold.end_ns)]


@metric(unit="1", better="lower", owns="hesitation", needs=(_MOTION,), min_rate_hz=20.0)
def pause_fraction(episode: Episode) -> Measurement:
    """Share of the time between first and last movement in which no hand does anything.

    Both effectors slower than 0.08 of the reference speed (or 0.03 m/s) for 0.2 s; a hand that
    holds something rests on purpose and never counts (a support hand held still is skill, not
    hesitation), nor does the 0.35 s around a closing or opening hand or a contact that begins or
    ends.
    """
    moved = motions(episode)
    if not moving.moves(moved):
        return not_assessable("nothing moves")
    reference = moving.reference_speed(moved)
    time_ns = moved[0].time_ns
    whole = [stroke for motion in moved for stroke in moving.strokes(motion, reference)]
    if not whole:
        return not_assessable("no movement stroke was found")
    first, last = min(s.start for s in whole), max(s.end for s in whole)
    resting = moving.rests(moved, reference)
    resting &= ~_busy(episode, moved)
    resting[:first] = False
    resting[last:] = False
    paused = [(a, b) for a, b in runs(resting) if b - a >= 0.2 * GRID_HZ]
    counted = moved[0].whole[first:last].sum()
    value = sum(b - a for a, b in paused) / max(int(counted), 1)
    spans = tuple((int(time_ns[a]), int(time_ns[b - 1])) for a, b in paused)
    return Measurement(value, spans, _said_of(moved))


def _busy(episode: Episode, moved: tuple[Motion, ...]) -> Flags:
    """Return where a hand holds, closes, opens, touches or lets go."""
    time_ns = moved[0].time_ns
    acting = np.zeros(len(time_ns), bool)
    held = np.zeros(len(time_ns), bool)
    for closure in closures(episode).values():
        quick = moving.changes(closure.values[:, 0])
        inside = np.isin(time_ns, closure.time_ns[quick])
        acting |= inside
    for hold in holds(episode):
        held |= (time_ns >= hold.start_ns) & (time_ns <= hold.end_ns)
        for edge in (hold.start_ns, hold.end_ns):
            nearest = int(np.argmin(np.abs(time_ns - edge)))
            acting[nearest] = True
    return held | moving.around(acting, 0.35)


def _said_of(moved: tuple[Motion, ...]) -> str:
    if moved[0].in_metres:
        return ""
    return "in joint space (rad): this body has no kinematic model"
