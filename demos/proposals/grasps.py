"""Grasp attempts and their outcomes; the episode's outcome and what went wrong."""

from __future__ import annotations

from demos.model import Episode, Span, Task
from demos.proposals import Proposed, proposal
from demos.signals.bodies import closures
from demos.signals.contacts import contacts
from demos.signals.grasps import attempts
from demos.signals.outcomes import ending


@proposal(of="grasps")
def grasps_by_rules(episode: Episode, task: Task) -> Proposed:
    """Every grasp attempt of every hand: held, dropped or missed.

    Contact says when; the height of the object (of the wrist, where no object is tracked) says
    what came of it, by the guideline's 2 cm.
    """
    found = attempts(episode)
    spans = [
        Span(
            start_ns=attempt.start_ns,
            end_ns=attempt.end_ns,
            tier=attempt.hand,
            value=attempt.outcome,
            confidence=round(attempt.confidence, 3),
            notes={
                "marginal": attempt.marginal,
                "height_m": round(attempt.height_m, 4),
                "evidence": attempt.evidence,
                "object_tracked": attempt.tracked,
            },
        )
        for attempt in found
    ]
    if not found and not (contacts(episode) or closures(episode)):
        return Proposed(note="nothing tells what the hands touch", confidence=0.0)
    sure = min((attempt.confidence for attempt in found), default=0.7)
    note = "" if found else "no contact was found"
    return Proposed(spans=spans, confidence=round(sure, 3), note=note)


@proposal(of="outcome")
def outcome_by_rules(episode: Episode, task: Task) -> Proposed:
    """Success, partial, failure or aborted, by the task's rules, and why."""
    found = ending(episode, parameters_of(task))
    return Proposed(value=found.outcome, confidence=round(found.confidence, 3), note=found.reason)


@proposal(of="failure_modes")
def failures_by_rules(episode: Episode, task: Task) -> Proposed:
    """What went wrong, in the task's words."""
    found = ending(episode, parameters_of(task))
    known = [mode for mode in dict.fromkeys(found.modes) if mode in task.failure_modes]
    end_ns = episode.manifest.duration_ns
    spans = []
    for mode in known:
        own = [a for a in attempts(episode) if _MODES.get(a.outcome) == mode]
        where = [(a.start_ns, a.end_ns) for a in own] or [(0, end_ns)]
        spans += [
            Span(start_ns=a, end_ns=b, value=mode, confidence=round(found.confidence, 3))
            for a, b in where
        ]
    note = "" if spans else found.reason
    return Proposed(spans=spans, confidence=round(found.confidence, 3), note=note)


_MODES = {"missed": "missed_grasp", "dropped": "dropped"}


def parameters_of(task: Task) -> dict[str, float]:
    """Return the task's parameters, and which word it has for an object that lies turned."""
    words = {"tilted": 1.0} if "tilted" in task.failure_modes else {}
    return {**task.parameters, **words}
