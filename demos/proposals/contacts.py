"""Contact onset and offset, from touch."""

from __future__ import annotations

from demos.model import Episode, Span, Task
from demos.proposals import Proposed, proposal
from demos.signals.contacts import contacts, united
from demos.signals.grasps import holds


@proposal(of="contacts")
def contacts_by_touch(episode: Episode, task: Task) -> Proposed:
    """When each finger, and each hand as a whole, touches something.

    Hysteresis on the sum of each finger's taxels above its own baseline. A hand whose taxels feel
    nothing is judged by the force at its wrist, with less confidence.
    """
    felt = contacts(episode)
    spans = []
    for hand, found in felt.items():
        for contact in [*united(found), *found]:
            notes = {"peak_n": round(contact.peak_n, 2)}
            finger = {"finger": contact.finger} if contact.finger else {}
            spans.append(
                Span(
                    start_ns=contact.start_ns,
                    end_ns=contact.end_ns,
                    tier=hand,
                    value="contact",
                    confidence=0.95 if contact.peak_n > 1.0 else 0.7,
                    notes={**finger, **notes},
                )
            )
    for hold in holds(episode):
        if hold.evidence == "wrench":
            spans.append(
                Span(
                    start_ns=hold.start_ns,
                    end_ns=hold.end_ns,
                    tier=hold.hand,
                    value="contact",
                    confidence=0.5,
                    notes={"evidence": "force at the wrist"},
                )
            )
    spans.sort(key=lambda span: (span.start_ns, span.tier, str(span.notes.get("finger", ""))))
    if not spans and not felt:
        return Proposed(note="there is no touch stream", confidence=0.0)
    sure = min((span.confidence or 0.0 for span in spans), default=0.9)
    return Proposed(spans=spans, confidence=sure)
