"""Every YAML contract and every JSON Schema that the project publishes."""

from __future__ import annotations

import json

import jsonschema
import pytest

from demos import embodiment, schema, task
from demos._content import content
from demos.errors import UnknownName
from demos.model import PhaseVocabulary, Task

SCHEMAS = content("schemas")
PLANS = sorted(path.stem for path in (SCHEMAS / "plans").glob("*.yaml"))


@pytest.mark.parametrize("name", schema.RECORDS)
def test_published_schema_is_the_one_of_the_records(name: str) -> None:
    published = json.loads((SCHEMAS / f"{name}.schema.json").read_text())

    assert published == schema.json_schema(name), "run `python -m demos.schema`"


@pytest.mark.parametrize("name", schema.RECORDS)
def test_published_schema_is_valid_draft_2020_12(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema.json_schema(name))


def test_no_schema_is_left_over() -> None:
    published = {path.name.split(".")[0] for path in SCHEMAS.glob("*.schema.json")}

    assert published == set(schema.RECORDS)


@pytest.fixture(params=task.names())
def any_task(request: pytest.FixtureRequest) -> Task:
    return task.load(request.param)


def vocabulary() -> PhaseVocabulary:
    return task.vocabulary()


def test_task_uses_only_phases_of_the_vocabulary(any_task: Task) -> None:
    known = {phase.id for phase in vocabulary().phases}

    for tier in any_task.tiers:
        assert set(tier.phases) <= known
        assert set(tier.order) <= set(tier.phases)


def test_task_says_how_to_decide_every_grasp_outcome_and_success(any_task: Task) -> None:
    ruled = {(rule.of, rule.category) for rule in any_task.rules}

    assert ("outcome", "success") in ruled
    assert {"success", "partial", "failure", "aborted"} == set(any_task.outcomes)
    assert {"held", "dropped", "missed"} == set(any_task.grasp_outcomes)
    for rule in any_task.rules:
        assert rule.examples, rule.category


def test_task_states_an_accuracy_it_must_reach(any_task: Task) -> None:
    tiers = {tier.name for tier in any_task.tiers}

    assert any_task.accuracy
    assert {target.tier for target in any_task.accuracy} <= tiers


@pytest.mark.parametrize("name", PLANS)
def test_plan_uses_levels_its_task_declares(name: str) -> None:
    plan = task.load_plan(name)
    declared = {factor.name: set(factor.levels) for factor in task.load(plan.task).factors}

    for factor in plan.factors:
        assert set(factor.levels) <= declared[factor.name]


@pytest.mark.parametrize("name", embodiment.names())
def test_embodiment_names_are_unique_and_limits_are_in_order(name: str) -> None:
    body = embodiment.load(name)
    spoken = [joint.name for joint in body.joints]
    spoken += [alias for joint in body.joints for alias in joint.aliases]

    assert len(spoken) == len(set(spoken))
    assert all(joint.lower < joint.upper for joint in body.joints)


@pytest.mark.parametrize("name", embodiment.names())
def test_embodiment_hands_consist_of_its_joints(name: str) -> None:
    body = embodiment.load(name)
    joints = {joint.name for joint in body.joints}

    for effector in body.effectors:
        assert set(effector.arm) | set(effector.hand) <= joints


def test_unknown_task_offers_the_close_one() -> None:
    with pytest.raises(UnknownName) as caught:
        task.load("pick_plce")

    assert "pick_place" in caught.value.hint
