"""Which opinion holds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from demos import labels
from demos.model import Label, Role
from demos.provenance import new_id, new_label, now

EPISODE = new_id()


def outcome(role: Role, value: str, minutes: int = 0, supersedes: str | None = None) -> Label:
    label = new_label(EPISODE, "outcome", annotator=f"{role}-1", role=role, value=value)
    return label.model_copy(
        update={"created_at": now() + timedelta(minutes=minutes), "supersedes": supersedes}
    )


@pytest.mark.parametrize(
    ("higher", "lower"),
    [
        ("adjudicator", "reviewer"),
        ("reviewer", "operator"),
        ("operator", "simulator"),
        ("simulator", "machine"),
    ],
)
def test_the_higher_role_holds_even_when_older(higher: Role, lower: Role) -> None:
    opinions = [outcome(higher, "success", minutes=-5), outcome(lower, "failure")]

    assert labels.outcome(opinions) == "success"


def test_of_two_reviewers_the_newest_holds() -> None:
    opinions = [outcome("reviewer", "success", 1), outcome("reviewer", "partial", 0)]

    assert labels.outcome(opinions) == "success"


def test_superseded_label_does_not_hold() -> None:
    first = outcome("reviewer", "failure", 5)
    second = outcome("reviewer", "success", 0, supersedes=first.id)

    assert labels.outcome([first, second]) == "success"


def test_nobody_has_spoken() -> None:
    assert labels.outcome([]) == ""
    assert labels.phases([]) == ()
