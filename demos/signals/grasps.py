"""Grasp attempts: what a hand took, whether it rose, and how the hand and the object parted.

An attempt is a stretch of contact of one hand. What it came to is read from height: of the object
where the episode tracks it (`pose.object.*`), else of the wrist while in contact, which assumes
that the object is set down at the height it was taken from. Contact comes from taxels; of hands
whose taxels feel nothing (palms, dead pads), from the wrench; of hands without either, from how
far the hand is closed, which is a guess and carries a low confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from demos import timeline
from demos.model import Effector, Episode, Nanoseconds
from demos.signals.bodies import Motion, closures, effectors, motions
from demos.signals.conditioning import (
    GRID_HZ,
    Floats,
    conditioned,
    hysteresis,
    once,
)
from demos.signals.contacts import contacts, external_force, touches, united

Evidence = Literal["touch", "wrench", "closure"]
GraspOutcome = Literal["held", "dropped", "missed"]

LIFT_M = 0.02
SIDEWAYS_M = 0.02
NEAR_M = 0.03
LOW_M = 0.01
"""The guideline's lengths: a lift, a transport, a placing, a letting go close to the support."""

BRUSH_N, CARRIES_N = 1.0, 5.0
"""A touch that never reaches the first is no attempt; a grip below the second lifts nothing."""

_TRUST: dict[Evidence, float] = {"touch": 0.9, "wrench": 0.75, "closure": 0.4}


@dataclass(frozen=True, slots=True)
class Hold:
    """One hand is in contact with something, or closed around it, as `evidence` says; ns.

    `peak_n` is the greatest force of one finger, infinite where no finger feels.
    """

    hand: str
    start_ns: int
    end_ns: int
    evidence: Evidence
    peak_n: float = float("inf")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One grasp attempt of one hand; moments in ns, None where they did not come.

    lifted: the object leaves its support. high: it has risen by 2 cm. down: it meets a support
    again. height_m is the greatest rise seen. `tracked` says that the object's own pose was used.
    """

    hand: str
    start_ns: int
    end_ns: int
    outcome: GraspOutcome
    lifted_ns: int | None
    high_ns: int | None
    down_ns: int | None
    height_m: float
    confidence: float
    evidence: Evidence
    tracked: bool
    marginal: bool = False


@once
def holds(episode: Episode) -> tuple[Hold, ...]:
    """Return the stretches of contact of every hand, ordered by start."""
    found: list[Hold] = []
    felt = contacts(episode)
    for hand in effectors(episode):
        touched = united(felt.get(hand.name, []))
        if any(contact.peak_n >= BRUSH_N for contact in touched):
            found += [Hold(hand.name, c.start_ns, c.end_ns, "touch", c.peak_n) for c in touched]
            continue
        pushed = _pushes(episode, hand)
        if pushed is not None:
            found += pushed
        elif hand.name not in felt:
            found += _closed(episode, hand)
    return tuple(sorted(found, key=lambda hold: (hold.start_ns, hold.hand)))


def _pushes(
    episode: Episode, hand: Effector, *, least_n: float = 1.5, noises: float = 8.0
) -> list[Hold] | None:
    """Find contact by the force at the wrist; None without a wrench."""
    push = external_force(episode, hand)
    if push is None:
        return None
    noise = 1.4826 * float(np.median(np.abs(push.force - np.median(push.force))))
    on = max(least_n, min(noises * noise, 4.0))
    spans: list[Hold] = []
    for start, end in hysteresis(push.force, on, 0.4 * on):
        begin, finish = int(push.time_ns[start]), int(push.time_ns[end - 1])
        if spans and begin - spans[-1].end_ns < 200_000_000:
            begin = spans.pop().start_ns
        spans.append(Hold(hand.name, begin, finish, "wrench"))
    return [span for span in spans if span.end_ns - span.start_ns >= 150_000_000]


def _closed(episode: Episode, hand: Effector, *, least: float = 0.2) -> list[Hold]:
    """Find stretches in which the hand is closed beyond the middle of what it did."""
    closure = closures(episode).get(hand.name)
    if closure is None:
        return []
    share = closure.values[:, 0]
    low, high = np.percentile(share, [3, 97])
    if high - low < least:
        return []
    part = (share - low) / (high - low)
    return [
        Hold(hand.name, int(closure.time_ns[a]), int(closure.time_ns[b - 1]), "closure")
        for a, b in hysteresis(part, 0.7, 0.55)
        if b - a >= 0.4 * GRID_HZ
    ]


def together(found: Sequence[Attempt]) -> list[Attempt]:
    """Return attempts that overlap in time, by whichever hands, as one: of what came of it best."""
    rank = {"missed": 0, "dropped": 1, "held": 2}
    joined: list[Attempt] = []
    for attempt in sorted(found, key=lambda a: a.start_ns):
        if not joined or attempt.start_ns > joined[-1].end_ns:
            joined.append(attempt)
            continue
        best = max(joined[-1], attempt, key=lambda a: (rank[a.outcome], a.height_m))
        joined[-1] = replace(
            best,
            start_ns=min(joined[-1].start_ns, attempt.start_ns),
            end_ns=max(joined[-1].end_ns, attempt.end_ns),
        )
    return joined


@once
def attempts(episode: Episode) -> tuple[Attempt, ...]:
    """Return every grasp attempt, ordered by start.

    Touches without a lift that follow each other within half a second are one attempt; touches
    that soon after a hold belong to letting go.
    """
    moved = {motion.effector.name: motion for motion in motions(episode) if motion.in_metres}
    found: list[Attempt] = []
    for hand in effectors(episode):
        own = [hold for hold in holds(episode) if hold.hand == hand.name]
        line: list[tuple[Attempt, float]] = []
        for hold in own:
            this, peak = _attempt(episode, hold, moved.get(hand.name)), hold.peak_n
            if line and hold.start_ns - line[-1][0].end_ns < 500_000_000:
                last, before = line[-1]
                if last.outcome == "missed":
                    both = replace(hold, start_ns=last.start_ns)
                    this, peak = _attempt(episode, both, moved.get(hand.name)), max(peak, before)
                    line.pop()
                elif this.outcome == "missed":
                    # brushing it while letting go, or as it falls
                    this = replace(last, end_ns=hold.end_ns) if last.outcome == "held" else last
                    peak = before
                    line.pop()
            line.append((this, peak))
        found += [one for one, peak in line if peak >= BRUSH_N]
    return tuple(sorted(found, key=lambda attempt: (attempt.start_ns, attempt.hand)))


def _attempt(episode: Episode, hold: Hold, motion: Motion | None) -> Attempt:
    seen = hold.evidence != "closure"
    path = object_path(episode, hold.start_ns, hold.end_ns) if seen else None
    tracked = path is not None
    trust = _TRUST[hold.evidence] * (1.0 if tracked else 0.85)
    if path is None and motion is not None:
        path = motion.time_ns, motion.position
    if path is None:
        # nothing says how high anything was: closing long enough counts as holding
        long = hold.end_ns - hold.start_ns > 1_000_000_000
        return Attempt(
            hold.hand,
            hold.start_ns,
            hold.end_ns,
            "held" if long else "missed",
            None,
            None,
            None,
            0.0,
            0.5 * trust,
            hold.evidence,
            tracked=False,
        )
    found = _judged(hold, *path, tracked=tracked, trust=trust, last_ns=_last_ns(episode))
    if tracked or found.outcome != "dropped" or found.lifted_ns is None:
        return found
    grip = _grip_n(episode, hold.hand, found.lifted_ns, hold.end_ns)
    if grip is None or grip >= CARRIES_N:
        return found
    # the fingers slid up along it: the hand rose, the object did not
    return replace(
        found,
        outcome="missed",
        lifted_ns=None,
        high_ns=None,
        confidence=0.7 * found.confidence,
    )


def _grip_n(episode: Episode, hand: str, start_ns: int, end_ns: int) -> float | None:
    """Return the median force of all fingers of a hand in [start, end], None without taxels."""
    stream = next((e.tactile for e in effectors(episode) if e.name == hand), "")
    felt = touches(episode.streams[stream]) if stream in episode.streams else []
    inside = [t.force[(t.time_ns >= start_ns) & (t.time_ns <= end_ns)] for t in felt]
    if not inside or not len(inside[0]):
        return None
    return float(np.median(np.sum(inside, axis=0)))


def _judged(
    hold: Hold, time_ns: Nanoseconds, place: Floats, *, tracked: bool, trust: float, last_ns: int
) -> Attempt:
    inside = np.flatnonzero((time_ns >= hold.start_ns) & (time_ns <= hold.end_ns))
    if not len(inside):
        return Attempt(
            hold.hand, hold.start_ns, hold.end_ns, "missed", None, None, None, 0.0,
            0.3 * trust, hold.evidence, tracked,
        )  # fmt: skip
    stamps, height = time_ns[inside], place[inside, 2]
    base = float(np.minimum.accumulate(height)[: max(len(height) // 4, 1)][-1])
    rise = height - np.minimum(np.minimum.accumulate(height), base + 0.005)
    top = float(rise.max())
    # the wrist goes up without the object when the object slides: the less it rose, the less sure
    near = 1.0 - 0.5 * np.exp(-(((top - LIFT_M) / (0.004 if tracked else 0.015)) ** 2))
    if top < LIFT_M:
        return Attempt(
            hold.hand, hold.start_ns, hold.end_ns, "missed", None, None, None, top,
            trust * float(near), hold.evidence, tracked, marginal=top > 0.5 * LIFT_M,
        )  # fmt: skip
    high = int(np.argmax(rise >= LIFT_M))
    standing = np.flatnonzero(rise[: high + 1] < (0.0025 if tracked else 0.0035))
    lifted = int(standing[-1]) if len(standing) else 0
    end_height = float(height[-1] - base)
    low = LOW_M if tracked else 0.025
    kept = end_height <= low or hold.end_ns >= last_ns - 60_000_000
    down = None
    if end_height <= low:
        slack = 0.007 if tracked else 0.006
        above = np.flatnonzero(height > height[-1] + slack)
        down = int(stamps[min(int(above[-1]) + 1, len(stamps) - 1)]) if len(above) else None
    sure = 1.0 - 0.5 * float(np.exp(-(((end_height - low) / (0.5 * low)) ** 2)))
    return Attempt(
        hold.hand,
        hold.start_ns,
        hold.end_ns,
        "held" if kept else "dropped",
        int(stamps[lifted]),
        int(stamps[high]),
        down,
        top,
        trust * float(near) * sure,
        hold.evidence,
        tracked,
        marginal=top < 1.5 * LIFT_M,
    )


def object_path(episode: Episode, start_ns: int, end_ns: int) -> tuple[Nanoseconds, Floats] | None:
    """Return stamps and positions of the tracked object that moved most in [start, end]."""
    best: tuple[float, Nanoseconds, Floats] | None = None
    for name, stream in episode.streams.items():
        if not name.startswith("pose.object.") or name == "pose.object.goal":
            continue
        if len(stream) < 2 or stream.values.shape[1:] != (7,):
            continue
        ordered = timeline.repaired(stream)
        inside = (ordered.time_ns >= start_ns) & (ordered.time_ns <= end_ns)
        if inside.sum() < 3:
            continue
        moved = float(np.linalg.norm(np.ptp(ordered.values[inside, :3], axis=0)))
        if best is None or moved > best[0]:
            signal = conditioned(stream, columns=slice(0, 3), rate_hz=100.0, cutoff_hz=20.0)
            best = (moved, signal.time_ns, signal.values)
    return None if best is None else (best[1], best[2])


def _last_ns(episode: Episode) -> int:
    return max((int(s.time_ns.max()) for s in episode.streams.values() if len(s)), default=0)
