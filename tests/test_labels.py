"""Which opinion holds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos import labels
from demos.model import Label, Role, Span
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


def use(*spans: tuple[int, int, str], value: str = "") -> Label:
    marked = [Span(start_ns=start, end_ns=end, value=word) for start, end, word in spans]
    return new_label(EPISODE, "use", annotator="op-1", role="operator", value=value, spans=marked)


def test_excluded_and_negative_intervals_are_cut_out_with_their_ends() -> None:
    marked = use((100, 200, "exclude"), (150, 300, "negative"), (500, 600, "train"))

    assert labels.usable([marked], 0, 1000) == [(0, 99), (301, 1000)]


def test_intervals_over_the_edges_cut_what_is_inside() -> None:
    marked = use((-50, 10, "exclude"), (900, 2000, "exclude"))

    assert labels.usable([marked], 0, 1000) == [(11, 899)]


def test_an_episode_excluded_as_a_whole_has_no_usable_part() -> None:
    assert labels.usable([use(value="exclude")], 0, 1000) == []
    assert labels.usable([use((0, 1000, "negative"))], 0, 1000) == []
    assert labels.usable([use(value="train")], 0, 1000) == [(0, 1000)]
    assert labels.usable([], 0, 1000) == [(0, 1000)]


@given(
    st.lists(
        st.tuples(st.integers(-5, 30), st.integers(0, 12), st.sampled_from(("exclude", "train"))),
        max_size=5,
    )
)
def test_a_moment_is_usable_where_no_excluded_interval_holds_it(
    marks: list[tuple[int, int, str]],
) -> None:
    spans = [(start, start + length, word) for start, length, word in marks]
    gone = {t for start, end, word in spans if word == "exclude" for t in range(start, end + 1)}

    parts = labels.usable([use(*spans)] if spans else [], 0, 25)

    assert [t for start, end in parts for t in range(start, end + 1)] == sorted(
        set(range(26)) - gone
    )
