"""robomimic's and robosuite's HDF5 becomes episodes. The files follow robomimic's documentation."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demos.formats.robomimic_example import CONTROL_HZ, ENVIRONMENT, MODEL, STEPS, write
from demos.importers import Found, Item, Options, Refused, Remark, import_source, open_source
from demos.model import Draft
from demos.store import EpisodeStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "image.hdf5")


def read(path: Path, **options: Any) -> list[Item]:
    return list(open_source(path, Options(**options)))


def drafts(path: Path, **options: Any) -> dict[str, Draft]:
    items = read(path, **options)
    assert not [item for item in items if isinstance(item, Refused)]
    return {item.name: item.draft for item in items if isinstance(item, Found)}


def change(path: Path, **values: Any) -> Path:
    """Replace datasets of demo_0, `__` standing for a slash; None deletes."""
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_0"]
        for key, value in values.items():
            place = key.replace("__", "/")
            if place in demo:
                del demo[place]
            if value is not None:
                demo[place] = value
    return path


def settings(path: Path, **changed: Any) -> Path:
    environment = {**ENVIRONMENT, "env_kwargs": {**ENVIRONMENT["env_kwargs"], **changed}}  # type: ignore[dict-item]
    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps(environment)
    return path


def outcomes(path: Path) -> list[tuple[str, str]]:
    return [
        (label.value, label.note)
        for draft in drafts(path).values()
        for label in draft.labels
        if label.of == "outcome"
    ]


def test_every_dataset_of_a_demo_comes_in_exactly(path: Path) -> None:
    draft = drafts(path)["demo_1"]

    with h5py.File(path) as file:
        demo = file["data/demo_1"]
        for name, place in {
            "simulation.state": "states",
            "action": "actions",
            "object": "obs/object",
            "joint_position": "obs/robot0_joint_pos",
        }.items():
            assert (draft.streams[name].values[:STEPS] == demo[place][:]).all()
        pose = draft.streams["pose.robot0_eef"]
        assert (pose.values[:STEPS, :3] == demo["obs/robot0_eef_pos"][:]).all()
        assert (pose.values[:STEPS, 3:] == demo["obs/robot0_eef_quat"][:]).all()
        assert (draft.streams["reward"].values[:, 0] == demo["rewards"][:]).all()
        assert (draft.streams["done"].values[:, 0] == demo["dones"][:]).all()
    assert pose.info.reference_frame == "world"
    assert draft.streams["joint_position"].channels[0] == "robot0_joint1"
    assert draft.streams["joint_position"].units == ("rad",) * 7
    assert draft.streams["simulation.state"].channels[:2] == ("time", "states_1")
    assert draft.streams["simulation.state"].units[:2] == ("s", "unknown")
    assert draft.streams["action"].units == ("1",) * 7
    assert "OSC_POSE" in str(draft.streams["action"].info.semantics)


def test_the_last_observation_is_taken_from_next_obs_which_is_checked(path: Path) -> None:
    draft = drafts(path)["demo_0"]

    with h5py.File(path) as file:
        last = file["data/demo_0/next_obs/object"][-1]
    assert len(draft.streams["object"]) == STEPS + 1
    assert (draft.streams["object"].values[-1] == last).all()
    assert len(draft.streams["action"]) == STEPS
    assert draft.streams["object"].time_ns[-1] == STEPS * 10**9 // CONTROL_HZ
    assert len(draft.videos["agentview"].time_ns) == STEPS + 1
    assert any("one step later (checked)" in text for text in draft.facts.provenance.assumed)


def test_a_next_obs_that_is_something_else_is_kept_too(path: Path) -> None:
    other = np.random.default_rng(0).normal(size=(STEPS, 10))
    change(path, next_obs__object=other)

    draft = drafts(path)["demo_0"]

    assert (draft.streams["next_obs.object"].values == other).all()
    assert len(draft.streams["object"]) == STEPS
    assert [f.check for f in draft.findings] == ["import.next_obs"]


def test_the_rate_is_the_environments_or_assumed_to_be_robosuites(path: Path) -> None:
    fast = drafts(settings(path, control_freq=50))["demo_0"]
    assumed = drafts(settings(path, control_freq=None))["demo_0"]

    assert fast.streams["action"].time_ns[1] == 20_000_000
    assert assumed.streams["action"].time_ns[1] == 50_000_000
    assert any("20 Hz, robosuite's default" in t for t in assumed.facts.provenance.assumed)


def test_demos_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    assert list(drafts(write(tmp_path / "x.hdf5", demos=12))) == [f"demo_{n}" for n in range(12)]


def test_success_is_told_by_a_sparse_reward_and_the_rule_is_said(path: Path) -> None:
    assert outcomes(path) == [
        ("success", "by the rule: a step has reward 1, which is the environment's own check"),
        ("failure", "by the rule: the reward is sparse and no step has any"),
    ]


def test_a_shaped_reward_tells_no_outcome(path: Path) -> None:
    change(path, rewards=np.linspace(0, 0.8, STEPS))

    assert [value for value, _ in outcomes(path)] == ["failure"]  # demo_1 alone
    assert outcomes(settings(path, reward_shaping=True)) == []


def test_no_reward_is_no_failure_where_nobody_says_that_it_is_sparse(path: Path) -> None:
    settings(path, reward_shaping=None)

    assert [value for value, _ in outcomes(path)] == ["success"]


def test_a_demos_own_word_for_its_outcome_holds(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["data/demo_0"].attrs["success"] = bool(0)

    assert outcomes(path)[0] == ("failure", "by the rule: the demonstration's attribute `success`")


def test_masks_become_splits_and_the_operators_skill_a_factor(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["mask/better"] = np.array(["demo_0"], "S")
        file["mask/worse"] = np.array(["demo_1"], "S")
        file["mask/worse_valid"] = np.array(["demo_1", "demo_7"], "S")

    items = read(path, factors={"lighting": "dim"})

    first, second = (item.draft for item in items if isinstance(item, Found))
    assert first.facts.provenance.parameters["split"] == "train"
    assert second.facts.provenance.parameters["split"] == "valid"
    assert second.facts.provenance.parameters["filter_keys"] == ["valid", "worse", "worse_valid"]
    assert first.facts.factors == {"lighting": "dim", "proficiency": "better"}
    assert second.facts.factors["proficiency"] == "worse"
    assert "verdict" not in {label.of for label in first.labels}
    [remark] = [item for item in items if isinstance(item, Remark)]
    assert remark.text == "mask/worse_valid names 1 demos that are not there: demo_7"


def test_the_model_and_the_environment_are_kept(path: Path) -> None:
    parameters = drafts(path)["demo_0"].facts.provenance.parameters

    assert parameters["model_file"] == MODEL
    assert parameters["model_sha256"] == hashlib.sha256(MODEL.encode()).hexdigest()
    assert parameters["env_args"] == ENVIRONMENT
    assert drafts(path)["demo_0"].session.hardware.software["environment"] == "Lift 1.4.1"


def test_a_model_too_large_for_a_manifest_leaves_its_hash(path: Path) -> None:
    large = "<!--" + "x" * 1_000_000 + "-->"
    with h5py.File(path, "r+") as file:
        del file["data/demo_0"].attrs["model_file"]
        file["data/demo_0"].attrs.create("model_file", large, dtype=h5py.string_dtype())

    draft = drafts(path)["demo_0"]

    digest = hashlib.sha256(large.encode()).hexdigest()
    assert draft.facts.provenance.parameters["model_sha256"] == digest
    assert "model_file" not in draft.facts.provenance.parameters
    assert any(text.startswith("model_file") for text in draft.facts.provenance.missing)


def test_robosuites_own_files_come_in_with_their_date(tmp_path: Path) -> None:
    path = tmp_path / "demo.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(
            {"date": "4-17-2021", "time": "9:5:7", "env": "Stack", "repository_version": "1.2.0"}
        )
        data.attrs["env_info"] = json.dumps({"robots": "Sawyer", "control_freq": 40})
        demo = data.create_group("demo_1")
        demo.attrs["model_file"] = MODEL
        demo["states"] = np.outer(np.arange(5), np.ones(4))
        demo["actions"] = np.zeros((5, 7))

    draft = drafts(path)["demo_1"]

    assert draft.session.started_at == datetime(2021, 4, 17, 9, 5, 7, tzinfo=UTC)
    assert any("taken as UTC" in text for text in draft.facts.provenance.assumed)
    assert (draft.facts.task, draft.session.embodiment) == ("stack", "Sawyer")
    assert draft.streams["action"].time_ns[1] == 25_000_000
    assert draft.labels == ()


def test_two_robots_keep_their_joints_apart(path: Path) -> None:
    settings(path, robots=["Panda", "Sawyer"])
    change(
        path, obs__robot1_joint_pos=np.ones((STEPS, 7)), obs__robot1_joint_vel=np.ones((STEPS, 7))
    )

    draft = drafts(path)["demo_0"]

    assert draft.session.embodiment == "Panda_and_Sawyer"
    assert draft.streams["joint_position.robot1"].channels[6] == "robot1_joint7"
    assert draft.streams["joint_velocity.robot1"].units == ("rad/s",) * 7
    assert len(draft.streams["joint_position.robot0"]) == STEPS + 1


@pytest.mark.parametrize(
    ("attribute", "content"),
    [
        ("ep_meta", {"lang": "put the box down"}),
        ("problem_info", {"language_instruction": '"put the box down"'}),
    ],
)
def test_words_come_from_where_robosuite_and_libero_put_them(
    attribute: str, content: dict[str, str], path: Path
) -> None:
    with h5py.File(path, "r+") as file:
        place = file["data/demo_0"] if attribute == "ep_meta" else file["data"]
        place.attrs[attribute] = json.dumps(content)

    assert drafts(path)["demo_0"].facts.instruction == "put the box down"


def test_images_are_seen_as_they_were_rendered(path: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(path, store)

    with h5py.File(path) as file:
        truth = file["data/demo_1/obs/agentview_image"][:].astype(float)
    episode = store.episode(dict(report.episodes)["demo_1"])
    assert np.abs(episode.images("agentview", range(STEPS)) - truth).mean() < 3
    assert any("H.264" in text for text in report.assumed)


def test_a_file_that_grew_brings_only_what_is_new(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    import_source(write(tmp_path / "x.hdf5", demos=2), store)

    report = import_source(write(tmp_path / "x.hdf5", demos=3), store)

    assert [name for name, _ in report.episodes] == ["demo_2"]


def test_a_model_that_changed_makes_another_episode(path: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    import_source(path, store)
    with h5py.File(path, "r+") as file:
        file["data/demo_1"].attrs["model_file"] = "<mujoco/>"

    report = import_source(path, store)

    assert [name for name, _ in report.episodes] == ["demo_1"]


def test_a_bad_demo_is_refused_and_the_rest_goes_in(path: Path) -> None:
    change(path, actions=np.zeros((0, 7)))

    refused, found = [item for item in read(path) if not isinstance(item, Remark)]

    assert isinstance(refused, Refused)
    assert isinstance(found, Found)
    assert "actions has shape (0, 7)" in refused.reason
    assert refused.hint


def test_what_does_not_fit_a_demo_is_named_and_the_rest_goes_in(path: Path) -> None:
    change(
        path,
        obs__object=np.zeros((STEPS + 3, 10)),
        next_obs__object=None,
        obs__odd_image=np.zeros((STEPS, 31, 33, 3), np.uint8),
        robot_states=np.ones((STEPS, 9)),
        actions=np.full((STEPS, 7), 3.0),
    )

    draft = drafts(path)["demo_0"]

    assert [m.split(":")[0] for m in draft.facts.provenance.missing] == [
        "obs/object",
        "obs/odd_image",
    ]
    assert draft.streams["robot_states"].values.shape == (STEPS, 9)
    assert draft.streams["action"].units == ("unknown",) * 7


def test_totals_that_do_not_add_up_are_contradictions(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["data"].attrs["total"] = 99
        file["data/demo_0"].attrs["num_samples"] = 5

    items = read(path)

    [remark] = [item for item in items if isinstance(item, Remark)]
    assert (remark.about, remark.text) == (
        "contradiction",
        "data says 99 samples, its demonstrations have 12",
    )
    first = next(item for item in items if isinstance(item, Found))
    assert "num_samples is 5" in first.draft.findings[0].message


def test_env_args_that_are_no_json_are_a_contradiction(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = "{"

    items = read(path)

    assert "env_args that is no JSON" in next(i.text for i in items if isinstance(i, Remark))
    assert len([item for item in items if isinstance(item, Found)]) == 2
