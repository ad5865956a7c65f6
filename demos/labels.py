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


_NOT_FOR_TRAINING = ("exclude", "negative")


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


def usable(labels: Iterable[Label], start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return the parts of [start_ns, end_ns] that may be trained on, in order.

    Intervals that the label of kind `use` that holds marks `exclude` or `negative` are cut out,
    ends included: a step at either end of one is not in any part. A label without intervals
    speaks of the whole episode by its value.
    """
    label = current(labels, "use")
    spans = label.spans if label else ()
    if label is not None and not spans and label.value in _NOT_FOR_TRAINING:
        return []
    cut = sorted((s.start_ns, s.end_ns) for s in spans if s.value in _NOT_FOR_TRAINING)
    parts, at = [], start_ns
    for start, end in cut:
        if start - 1 >= at:
            parts.append((at, min(start - 1, end_ns)))
        at = max(at, end + 1)
    if at <= end_ns:
        parts.append((at, end_ns))
    return [(start, end) for start, end in parts if start <= end <= end_ns]
