"""What a page is told, what a reviewer saves, and how a list is filtered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demos.errors import SchemaMismatch
from demos.library import Store
from demos.server.listing import UNSET, expression, facets, most_limiting
from demos.server.player import Place, moment, payload
from demos.server.reviews import ReviewConflict, own, read_review, save
from demos.server.signing import Signer
from tests.examples import EXAMPLES, example
from tests.viewer_store import ViewerStore, make


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerStore:
    return make(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def test_the_page_is_told_rows_opinions_and_addresses(lab: ViewerStore, signer: Signer) -> None:
    episode = Store.open(lab.root)[lab.picked]

    told = payload(episode, signer, place=Place(1, 4, lab.state_only), at_s=3.5)

    rows = [(row["kind"], row["tier"], row["machine"]) for row in told["rows"]]
    assert rows == [
        ("phases", "task", False),
        ("phases", "left_hand", False),
        ("phases", "right_hand", False),
        ("phases", "right_hand", True),
        ("contacts", "right_hand", False),
        ("slips", "right_hand", False),
        ("grasps", "right_hand", False),
    ]
    assert told["outcome"] == {"value": "success", "by": "simulator", "reason": ""}
    assert told["opinions"] == [{"value": "partial", "by": "outcome_rules/1.0", "machine": True}]
    assert told["t_ms"] == 3500
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_a_page(name: str, signer: Signer) -> None:
    told = payload(example(name), signer)

    assert told["end_ms"] >= told["start_ms"]
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("9.5", 9.5), ("", None), ("x", None), ("inf", None)]
)
def test_a_moment_in_an_address_is_a_finite_number(text: str, seconds: float | None) -> None:
    assert moment(text) == seconds


def sent(episode: str, **more: Any) -> dict[str, Any]:
    base = {"phases": None, "outcome": None, "verdict": None}
    return {"request": "r", "episode": episode, "base": base, **more}


@pytest.fixture
def own_lab(tmp_path: Path) -> ViewerStore:
    return make(tmp_path)


def test_a_review_becomes_labels_of_the_reviewer(own_lab: ViewerStore) -> None:
    store = Store.open(own_lab.root)
    spans = [{"start": 0.0, "end": 2000.25, "tier": "task", "value": "reach"}]

    review = read_review(sent(own_lab.picked, phases=spans, outcome="failure"), " ann ")
    made = save(store, store[own_lab.picked], review, "1.0.0")

    assert [(label.of, label.annotator, label.role) for label in made] == [
        ("phases", "ann", "reviewer"),
        ("outcome", "ann", "reviewer"),
    ]
    store.refresh()
    held = store[own_lab.picked]
    assert held.outcome == "failure"
    assert [(span.start_ns, span.end_ns) for span in held.phases] == [(0, 2_000_250_000)]
    assert len(held.labels) == 9


def test_saving_again_supersedes_only_ones_own_label(own_lab: ViewerStore) -> None:
    store = Store.open(own_lab.root)
    episode = store[own_lab.picked]
    first = save(store, episode, read_review(sent(episode.id, outcome="failure"), "ann"))[0]
    base = {"phases": None, "outcome": first.id, "verdict": None}

    second = save(
        store, episode, read_review(sent(episode.id, outcome="partial", base=base), "ann")
    )[0]
    other = save(store, episode, read_review(sent(episode.id, outcome="success"), "bob"))[0]

    assert second.supersedes == first.id
    assert other.supersedes is None
    assert own(store.labels(episode.id), "outcome", "ann") == second


def test_a_save_upon_an_old_page_is_refused_and_saves_nothing(own_lab: ViewerStore) -> None:
    store = Store.open(own_lab.root)
    episode = store[own_lab.picked]
    save(store, episode, read_review(sent(episode.id, outcome="failure"), "ann"))
    before = len(store.labels(episode.id))

    with pytest.raises(ReviewConflict, match="ann saved other outcome") as caught:
        save(
            store,
            episode,
            read_review(sent(episode.id, outcome="success", verdict="good"), "ann"),
        )

    assert "your edit is kept" in caught.value.hint
    assert len(store.labels(episode.id)) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "splendid"},
        {"phases": [{"start": "x", "end": 1, "tier": "task", "value": "reach"}]},
        {"phases": [{"start": 5.0, "end": 1.0, "tier": "task", "value": "reach"}]},
        {"surprise": 1},
    ],
)
def test_what_the_browser_sends_is_checked(lab: ViewerStore, wrong: dict[str, Any]) -> None:
    store = Store.open(lab.root)
    before = len(store.labels(lab.picked))

    with pytest.raises(SchemaMismatch):
        save(store, store[lab.picked], read_review(sent(lab.picked, **wrong), "ann"))

    assert len(store.labels(lab.picked)) == before


def test_a_review_needs_a_name(lab: ViewerStore) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        read_review(sent(lab.picked, outcome="success"), "  ")

    assert "Reviewer" in caught.value.hint


def test_filters_become_one_expression_that_select_takes(lab: ViewerStore) -> None:
    store = Store.open(lab.root)

    where = expression({"task": ["pick_place"], "outcome": ["success"]}, "duration_s > 5")

    assert store.select(where).ids == [lab.picked]
    assert facets(store)["outcome"] == [UNSET, "success"]
    assert len(store.select(expression({"outcome": [UNSET]}))) == 4


def test_a_quote_in_a_value_stays_a_value(lab: ViewerStore) -> None:
    where = expression({"operator": ["o'brien", 'a"b', "x' or 1 == 1 or '"]})

    assert Store.open(lab.root).select(where).ids == []


def test_the_filter_that_removes_most_is_named(lab: ViewerStore) -> None:
    store = Store.open(lab.root)

    name = most_limiting(store, {"task": ["pick_place"], "operator": ["nobody"]}, "")

    assert name == "operator"
