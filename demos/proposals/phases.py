"""Phases by event rules."""

from __future__ import annotations

from demos.model import Episode, Span, Task
from demos.proposals import Proposed, proposal
from demos.signals.bodies import effectors
from demos.signals.grasps import attempts, together
from demos.signals.phases import phases_of


@proposal(of="phases")
def phases_by_rules(episode: Episode, task: Task) -> Proposed:
    """Idle, reach, grasp, lift, transport, place, release, retract, recover on every tier.

    By the rules of the phase vocabulary, from motion, contact and height; without touch and force
    from motion and closure alone, with low confidence.
    """
    end_ns = max((int(s.time_ns.max()) for s in episode.streams.values() if len(s)), default=0)
    every = attempts(episode)
    workers = sorted({attempt.hand for attempt in every})
    spans = []
    for tier in task.tiers:
        if tier.name == "task":
            found, hands = together(every), workers
        else:
            found, hands = [a for a in every if a.hand == tier.name], [tier.name]
        idle = tier.name != "task" and bool(workers) and tier.name not in workers
        for part in phases_of(episode, hands or _all(episode), found, end_ns, idle=idle):
            if part.phase in tier.phases:
                spans.append(
                    Span(
                        start_ns=part.start_ns,
                        end_ns=part.end_ns,
                        tier=tier.name,
                        value=part.phase,
                        confidence=part.confidence,
                    )
                )
    if not spans:
        return Proposed(note="nothing says how the hands moved", confidence=0.0)
    sure = min((attempt.confidence for attempt in every), default=0.3)
    return Proposed(spans=spans, confidence=round(sure, 3))


def _all(episode: Episode) -> list[str]:
    return [hand.name for hand in effectors(episode)]
