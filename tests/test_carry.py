"""The bimanual task: what physics makes of each way an attempt may go."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from demos import task
from demos.errors import ReplayFailed
from demos.simulate.operator import crew
from demos.simulate.rollout import Rollout, run
from demos.simulate.trial import Trial, tasks
from demos.simulate.truth import Truth, judge
from demos.simulate.world import build

HANDS = ("left_hand", "right_hand")


def attempt(variant: str, seed: int) -> tuple[Trial, Rollout, Truth]:
    operator = crew(4, seed)[seed % 4]
    trial = tasks["carry"].draw(variant, operator, np.random.default_rng([seed, 5]))
    world = build(trial.scene)
    rollout = run(world, trial.write(world))
    truth = judge(
        rollout,
        target=trial.target,
        holders=trial.holders,
        together=trial.together,
        parameters=task.load("carry").parameters,
    )
    return trial, rollout, truth


known = cache(attempt)


def outcomes(truth: Truth, tier: str) -> list[str]:
    return [each.outcome for each in truth.attempts if each.tier == tier]


def test_both_hands_hold_the_box_from_the_lift_until_it_stands_on_the_goal() -> None:
    trial, rollout, truth = known("success", 0)

    assert truth.outcome == "success"
    assert {tier: outcomes(truth, tier) for tier in ("task", *HANDS)} == {
        "task": ["held"],
        "left_hand": ["held"],
        "right_hand": ["held"],
    }
    assert truth.goal_distance_m <= 0.06
    assert truth.height_m >= 0.05
    assert rollout.object_pose(trial.target)[0, 2] == pytest.approx(0.86)


def test_the_squeeze_carries_the_box_and_hurts_nobody() -> None:
    trial, rollout, _ = known("success", 0)
    (prop,) = trial.scene.props
    assert prop.mass_kg is not None
    assert prop.friction is not None

    height = rollout.object_pose(trial.target)[:, 2]
    aloft = height > height.max() - 0.005
    push = {
        hand: np.abs(
            sum(rollout.touch[f"{geom}_on_wide_box"][:, 1] for geom in world_hand.touches)
        )[aloft]
        for hand, world_hand in rollout.world.hands.items()
    }

    # friction on two palms must bear the weight, with a margin
    least = prop.mass_kg * 9.81 / (2 * prop.friction)
    for each in push.values():
        assert np.median(each) > 1.5 * least
        assert np.median(each) < 40.0
    assert np.median(push["left_hand"]) == pytest.approx(np.median(push["right_hand"]), rel=0.15)


def test_every_finger_pad_that_pushes_feels_it() -> None:
    _, rollout, _ = known("success", 0)

    for side in ("left", "right"):
        for finger in ("index", "middle"):
            force = np.linalg.norm(rollout.touch[f"{side}_{finger}_pad_on_wide_box"], axis=1)
            assert force.max() > 1.0


def test_phases_come_on_all_three_tiers_in_their_usual_order() -> None:
    _, _, truth = known("success", 0)

    for tier in task.load("carry").tiers:
        seen = [span.value for span in truth.phases if span.tier == tier.name]
        places = [tier.order.index(value) for value in seen if value != "idle"]
        assert places == sorted(places)
        assert {"reach", "grasp", "lift", "transport", "place", "release"} <= set(seen)


@pytest.mark.parametrize(
    ("variant", "outcome", "attempts"),
    [
        ("missed", "failure", ["missed"]),
        ("dropped", "failure", ["dropped"]),
        ("recovery", "success", ["missed", "held"]),
        ("off_goal", "partial", ["held"]),
    ],
)
def test_what_goes_wrong_goes_wrong_physically(
    variant: str, outcome: str, attempts: list[str]
) -> None:
    _, _, truth = known(variant, 1)

    assert truth.outcome == outcome
    assert outcomes(truth, "task") == attempts


def test_a_drop_comes_after_a_real_lift() -> None:
    _, _, truth = known("dropped", 1)

    assert truth.height_m > 0.05


def test_a_slip_is_arrested_when_the_palms_push_again() -> None:
    _, _, truth = known("slip_held", 1)

    assert outcomes(truth, "task") == ["held"]
    assert truth.slid_m >= 0.003
    assert {span.tier for span in truth.slips} <= set(HANDS)
    assert truth.slips


def test_equal_seeds_give_equal_attempts() -> None:
    first = tasks["carry"].draw("success", crew(1, 3)[0], np.random.default_rng(3))
    second = tasks["carry"].draw("success", crew(1, 3)[0], np.random.default_rng(3))

    assert first.scene == second.scene
    assert first.factors == second.factors


def test_the_declared_cell_is_one_of_the_task() -> None:
    (cells,) = (f.levels for f in task.load("carry").factors if f.name == "start_cell")

    drawn = [
        tasks["carry"].draw("success", crew(1, 0)[0], np.random.default_rng(seed)).factors
        for seed in range(20)
    ]

    assert {factors["start_cell"] for factors in drawn} <= set(cells)


@pytest.mark.slow
@pytest.mark.parametrize("variant", list(tasks["carry"].variants))
def test_over_forty_seeds_a_variant_shows_what_it_is_called(variant: str) -> None:
    shown, seeds = 0, 40
    for seed in range(seeds):
        try:
            _, rollout, truth = attempt(variant, seed)
        except ReplayFailed:
            continue
        shown += tasks["carry"].intended(variant, rollout, truth)

    assert shown >= (0.95 if variant == "success" else 0.9) * seeds
