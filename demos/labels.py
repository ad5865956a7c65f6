"""Which label holds when several people and machines have spoken."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from demos.model import Label, Role, Span
from demos.model.records import LabelKind

_RANK: dict[Role, int] = {
    "adjudicator": 4,
    "reviewer": 3,
    "operator": 2,
    "simulator": 1,
    "machine": 0,
}


def current(labels: Iterable[Label], of: LabelKind) -> Label | None:
    """Return the label of one kind that holds: adjudicated, then reviewers, operator,
    simulator, machine; of equals the newest. Superseded labels are passed over.
    """
    known = list(labels)
    gone = {label.supersedes for label in known if label.supersedes}
    alive = [label for label in known if label.of == of and label.id not in gone]
    return max(alive, key=lambda label: (_RANK[label.role], *_age(label)), default=None)


def phases(labels: Iterable[Label]) -> tuple[Span, ...]:
    """Return the phase intervals that hold, ordered by start."""
    label = current(labels, "phases")
    return tuple(sorted(label.spans, key=lambda s: (s.start_ns, s.tier))) if label else ()


def outcome(labels: Iterable[Label]) -> str:
    """Return the episode's outcome that holds, or an empty string."""
    label = current(labels, "outcome")
    return label.value if label else ""


def _age(label: Label) -> tuple[datetime, str]:
    return label.created_at, label.id
