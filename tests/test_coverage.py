from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from demos.coverage import (
    MISSING,
    Fact,
    cells,
    counted,
    coverage,
    covered,
    fact,
    nothing,
    proposed,
)
from demos.model import Factor, Plan
from demos.model.records import Scalar
from demos.provenance import new_label
from demos.task import load_plan
from tests.examples import example

PLAN = Plan(
    id="p",
    task="pick_place",
    factors=(
        Factor(name="object", levels=("box", "cylinder")),
        Factor(name="tries", levels=(1, 2, 3)),
        Factor(name="dim", levels=(True, False)),
    ),
    forbidden=({"object": "cylinder", "dim": True},),
    target=2,
)


def success(number: int, **factors: Scalar) -> Fact:
    return Fact(f"e{number}", "pick_place", "success", factors)


BRIGHT_BOX: dict[str, Scalar] = {"object": "box", "tries": 1, "dim": False}


def many(seed: int, count: int = 200) -> list[Fact]:
    rng = np.random.default_rng(seed)
    return [
        Fact(
            f"e{i}",
            str(rng.choice(["pick_place", "carry"])),
            str(rng.choice(["success", "partial", "failure", ""])),
            {"object": str(rng.choice(["box", "cylinder", "cup"])), "tries": 1, "dim": False},
        )
        for i in range(count)
    ]


def test_the_cells_are_the_product_of_levels_less_what_is_forbidden() -> None:
    found = coverage(PLAN, [])

    assert len(found.cells) == 12
    assert len(found.possible) == 9
    assert len(found.holes) == 9
    assert found.share == 0.0


def test_only_successes_of_the_plans_task_count() -> None:
    facts = [
        success(1, **BRIGHT_BOX),
        Fact("e2", "carry", "success", BRIGHT_BOX),
        Fact("e3", "pick_place", "failure", BRIGHT_BOX),
        Fact("e4", "pick_place", "partial", BRIGHT_BOX),
        Fact("e5", "pick_place", "", BRIGHT_BOX),
    ]

    found = coverage(PLAN, facts)

    assert sum(cell.count for cell in found.cells) == 1
    assert found.other == (
        ("another task", 1),
        ("failure", 1),
        ("no outcome", 1),
        ("partial", 1),
    )


def test_a_cell_below_its_target_is_a_hole_that_says_what_it_lacks() -> None:
    once = coverage(PLAN, [success(1, **BRIGHT_BOX)])
    twice = coverage(PLAN, [success(1, **BRIGHT_BOX), success(2, **BRIGHT_BOX)])

    assert [c.lacks for c in once.cells if c.count] == [1]
    assert twice.filled == 1
    assert twice.share == pytest.approx(1 / 9)


def test_numbers_and_truths_are_the_levels_that_a_command_line_spells() -> None:
    found = coverage(PLAN, [success(1, object="box", tries="2", dim="false")])

    assert [c.levels for c in found.cells if c.count] == [("box", "2", "false")]


def test_what_the_plan_does_not_know_is_counted_by_name() -> None:
    facts = [success(1, object="cup", tries=1, dim=False), success(2, object="box", tries=1)]

    found = coverage(PLAN, facts)

    assert found.unknown == (("dim", MISSING, 1), ("object", "cup", 1))
    assert sum(cell.count for cell in found.cells) == 0


@pytest.mark.parametrize("parts", [1, 3, 7, 200])
def test_counting_in_partitions_is_counting_at_once(parts: int) -> None:
    facts = many(4)
    shuffled = [facts[i] for i in np.random.default_rng(5).permutation(len(facts))]

    pieces = [counted(PLAN, shuffled[i::parts]) for i in range(parts)]

    assert covered(PLAN, sum(pieces, nothing())) == coverage(PLAN, facts)


def test_the_next_cells_fill_all_holes_when_followed() -> None:
    empty = coverage(PLAN, [])

    asked = proposed(empty, 100)
    facts = [success(i, **factors) for i, factors in enumerate(asked)]

    assert len(asked) == 18
    assert coverage(PLAN, facts).holes == ()


def test_the_next_cells_reach_every_pair_of_levels_early() -> None:
    asked = proposed(coverage(PLAN, []), 7)

    # 2x3 + 2x2 + 3x2 pairs less the forbidden one; no six cells of three pairs can hold them all
    pairs = {(a, b) for cell in asked for a, b in combinations(sorted(cell.items()), 2)}
    assert len(pairs) == 15


def test_the_next_cell_fills_a_planted_hole() -> None:
    facts = [
        success(i, **factors)
        for i, factors in enumerate(proposed(coverage(PLAN, []), 100))
        if factors != {"object": "box", "tries": "3", "dim": "true"}
    ]

    asked = proposed(coverage(PLAN, facts), 5)

    assert asked == [{"object": "box", "tries": "3", "dim": "true"}] * 2


def test_nothing_is_proposed_when_nothing_lacks() -> None:
    full = [success(i, **f) for i, f in enumerate(proposed(coverage(PLAN, []), 100))]

    assert proposed(coverage(PLAN, full), 5) == []


def test_the_table_of_the_library_gives_the_same_counts() -> None:
    table = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "task": ["pick_place"] * 3,
            "outcome": ["success", "success", "failure"],
            "factor.object": ["box", "box", "box"],
            "factor.tries": [1, None, 1],
            "factor.dim": [False, False, False],
        }
    ).astype({"factor.tries": object})

    found = cells(PLAN, table)

    assert list(found.columns) == [
        "object", "tries", "dim", "count", "target", "lacks", "forbidden",
    ]  # fmt: skip
    assert found["count"].sum() == 1


def test_facts_come_from_the_manifest_and_the_label_that_holds() -> None:
    episode = example("all_fields")

    found = fact(episode.manifest, episode.labels)

    assert found.outcome == "success"
    assert found.factors == {"object": "cup", "lighting": "bright"}


@pytest.mark.parametrize(("confidence", "outcome"), [(0.9, "success"), (0.3, "unsure")])
def test_an_outcome_of_which_a_machine_is_unsure_does_not_count(
    confidence: float, outcome: str
) -> None:
    episode = example("clean_pick")
    label = new_label(
        episode.id, "outcome", annotator="m/1", role="machine", value="success",
        confidence=confidence,
    )  # fmt: skip

    assert fact(episode.manifest, [label]).outcome == outcome


def test_the_published_plan_can_be_counted() -> None:
    assert len(coverage(load_plan("pick_place_basic"), []).holes) == 16
