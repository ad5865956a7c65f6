"""Take a reviewer's word: append-only labels, one track a kind, never over somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from pydantic import Field, ValidationError

from demos.errors import SchemaMismatch, StoreError
from demos.model import Episode, Label, Outcome, Record, Span, Verdict
from demos.model.records import Name, Scalar
from demos.provenance import new_label

Kind = Literal["phases", "outcome", "verdict"]
KINDS: tuple[Kind, ...] = ("phases", "outcome", "verdict")


class ReviewConflict(StoreError):
    """Somebody of the same name saved since the page was opened."""


class Labels(Protocol):
    """What saving needs of a store."""

    def labels(self, episode: str) -> list[Label]:
        """Read every label of an episode."""

    def add_label(self, label: Label) -> object:
        """Append a label."""


class EditedSpan(Record):
    """One phase as the player sends it; times in ms since the episode's start."""

    start: float
    end: float
    tier: Name
    value: Name
    confidence: float | None = None
    notes: dict[str, Scalar] = {}


class Review(Record):
    """What one press of Save sends. `base` names the reviewer's own labels the page was shown."""

    request: str
    episode: str
    base: dict[Kind, str | None]
    phases: tuple[EditedSpan, ...] | None = None
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    reviewer: Name = Field(max_length=80)


def read_review(sent: Mapping[str, Any], reviewer: str) -> Review:
    """Read what the browser sent. Raises SchemaMismatch."""
    try:
        return Review.model_validate({**sent, "reviewer": reviewer.strip()})
    except ValidationError as error:
        raise SchemaMismatch(f"the review could not be read: {error.errors()[0]['msg']}").with_hint(
            "write your name under Reviewer, reload the page and try again"
        ) from error


def save(store: Labels, episode: Episode, review: Review, guideline: str = "") -> list[Label]:
    """Append a label for each kind the review speaks of, superseding the reviewer's own last one.

    Raises ReviewConflict, and saves nothing, where the reviewer's own labels are not those the
    page was shown; SchemaMismatch for spans that end before they start.
    """
    known = store.labels(episode.id)
    said: dict[Kind, dict[str, Any]] = {}
    if review.phases is not None:
        said["phases"] = {"spans": _spans(review.phases)}
    for kind, value in (("outcome", review.outcome), ("verdict", review.verdict)):
        if value is not None:
            said[kind] = {"value": value}  # type: ignore[index]
    for kind in said:
        newest = own(known, kind, review.reviewer)
        if (newest.id if newest else None) != review.base.get(kind):
            when = f" at {newest.created_at:%H:%M:%S} UTC" if newest else ""
            raise ReviewConflict(
                f"not saved: {review.reviewer} saved other {kind}{when} since this page was opened"
            ).with_hint("your edit is kept here; save again to put it on top, or reload for theirs")
    made = []
    for kind, content in said.items():
        newest = own(known, kind, review.reviewer)
        label = new_label(
            episode.id,
            kind,
            annotator=review.reviewer,
            role="reviewer",
            guideline=guideline,
            supersedes=newest.id if newest else None,
            **content,
        )
        store.add_label(label)
        made.append(label)
    return made


def own(labels: Iterable[Label], kind: Kind, reviewer: str) -> Label | None:
    """Return the reviewer's newest label of one kind."""
    mine = [
        label
        for label in labels
        if label.of == kind and label.role == "reviewer" and label.annotator == reviewer
    ]
    return max(mine, key=lambda label: (label.created_at, label.id), default=None)


def _spans(edited: Sequence[EditedSpan]) -> tuple[Span, ...]:
    spans = []
    for span in sorted(edited, key=lambda span: (span.start, span.tier)):
        if span.end < span.start:
            raise SchemaMismatch(f"the phase {span.value!r} ends before it starts")
        spans.append(
            Span(
                start_ns=round(span.start * 1e6),
                end_ns=round(span.end * 1e6),
                tier=span.tier,
                value=span.value,
                confidence=span.confidence,
                notes=span.notes,
            )
        )
    return tuple(spans)
