"""Open-TeleVision's HDF5 becomes episodes. The files follow the layout its programs write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demos.importers import Found, Item, Options, Refused, import_source, locate, open_source
from demos.model import Draft
from demos.store import EpisodeStore
from tests.lerobot_folders import encoded, picture

T = 10
EPOCH_S = 1_716_740_000.0


def numbers(width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, width))


def stamps() -> np.ndarray:
    """Stamps as a clock gives them: 16.7 ms apart, up to a millisecond off."""
    return EPOCH_S + np.arange(T) / 60 + 1e-3 * np.random.default_rng(1).random(T)


def raw(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["obs/timestamp"] = stamps()
        file["obs/qpos"] = numbers(26, 1)
        file["obs/qvel"] = numbers(14, 2)
        file["action/joint_pos"] = numbers(28, 3)
        file["action/cmd"] = numbers(198, 4)
    return path


def processed(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = np.stack([picture(n) for n in range(T)])
    with h5py.File(path, "w") as file:
        file["observation.image.left"] = images.transpose(0, 3, 1, 2)
        file["observation.image.right"] = images[::-1].transpose(0, 3, 1, 2)
        file["cmds"] = numbers(198, 4).astype(np.float32)
        file["observation.state"] = numbers(26, 1).astype(np.float32)
        file["qpos_action"] = numbers(28, 3).astype(np.float32)
        file["ee_action"] = numbers(26, 5).astype(np.float32)
        file.attrs["sim"] = False
        file.attrs["init_action"] = numbers(198, 4)[0].astype(np.float32)
    return path


def read(path: Path, **options: Any) -> list[Item]:
    return list(open_source(path, Options(**options)))


def only(path: Path, **options: Any) -> Draft:
    [item] = read(path, **options)
    assert isinstance(item, Found), item
    return item.draft


def test_raw_stamps_are_the_clock_and_are_kept_as_they_were(tmp_path: Path) -> None:
    draft = only(raw(tmp_path / "00-can-sorting/episode_0.hdf5"))

    stream = draft.streams["joint_command"]
    off = stream.time_ns - np.rint((stamps() - stamps()[0]) * 1e9)
    assert np.abs(off).max() < 300  # float64 seconds since 1970 resolve 0.24 us
    assert stream.clock == "measured"
    assert stream.source_time_ns is not None
    assert np.abs(stream.source_time_ns / 1e9 - stamps()).max() < 1e-6
    assert (stream.values == numbers(28, 3)).all()


def test_the_command_has_the_order_that_its_own_programs_read(tmp_path: Path) -> None:
    draft = only(raw(tmp_path / "00-can-sorting/episode_0.hdf5"))

    command = draft.streams["joint_command"]
    assert [command.channels[n] for n in (0, 7, 13, 20, 26)] == [
        "left_arm_0",
        "left_hand_0",
        "right_arm_0",
        "right_hand_0",
        "head_yaw",
    ]
    assert [command.units[n] for n in (6, 7, 27)] == ["rad", "unknown", "rad"]
    assert draft.streams["state"].units == ("unknown",) * 26
    teleop = draft.streams["teleop.command"]
    assert [teleop.channels[n] for n in (16, 19, 47, 48, 197)] == [
        "left_wrist_00",
        "left_wrist_03",
        "right_wrist_33",
        "left_0_x",
        "right_24_z",
    ]
    assert [teleop.units[n] for n in (16, 19, 47, 48)] == ["1", "m", "1", "m"]
    assert draft.facts.task == "00_can_sorting"


def test_the_stereo_video_of_a_raw_episode_is_named_as_missing(tmp_path: Path) -> None:
    path = raw(tmp_path / "00-can-sorting/episode_0.hdf5")
    path.with_suffix(".svo").write_bytes(b"?")

    draft = only(path)

    assert draft.videos == {}
    assert draft.facts.provenance.missing == ("stereo video episode_0.svo",)
    [finding] = draft.findings
    assert "is beside it" in finding.message
    assert "post_process.py" in finding.hint


def test_processed_images_stand_upright_and_the_rate_is_said(tmp_path: Path) -> None:
    processed(tmp_path / "00-can-sorting/processed/processed_episode_0.hdf5")
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(tmp_path / "00-can-sorting", store)

    [(name, episode_id)] = report.episodes
    episode = store.episode(episode_id)
    truth = np.stack([picture(n) for n in range(T)]).astype(float)
    assert np.abs(episode.images("left", range(T)) - truth).mean() < 6
    assert np.abs(episode.images("right", range(T)) - truth[::-1]).mean() < 6
    assert name == "processed_episode_0"
    assert episode.streams["joint_command"].time_ns[6] == 100_000_000
    assert episode.task == "00_can_sorting"
    assert any("60 Hz, the ZED camera's" in text for text in report.assumed)
    assert any("H.264" in text for text in report.assumed)


def test_processed_numbers_and_the_first_command_are_kept(tmp_path: Path) -> None:
    draft = only(processed(tmp_path / "processed_episode_0.hdf5"))

    assert (draft.streams["joint_command"].values == numbers(28, 3).astype(np.float32)).all()
    assert draft.streams["end_effector_command"].channels[3:6] == (
        "left_yaw",
        "left_pitch",
        "left_roll",
    )
    kept = draft.facts.provenance.parameters["init_action"]
    assert kept == numbers(198, 4)[0].astype(np.float32).tolist()
    assert draft.facts.origin == "human"


def test_human_recordings_of_the_same_layout_come_in_with_their_words(tmp_path: Path) -> None:
    path = tmp_path / "ph2d/processed_episode_0.hdf5"
    path.parent.mkdir()
    jpegs = [encoded(picture(n), "jpeg") for n in range(T)]
    padded = np.zeros((T, max(map(len, jpegs))), np.uint8)
    for row, image in zip(padded, jpegs, strict=True):
        row[: len(image)] = np.frombuffer(image, np.uint8)
    with h5py.File(path, "w") as file:
        file["observation.image.left"] = padded
        file["observation.image.right"] = padded
        file["action"] = numbers(128, 1).astype(np.float32)
        file["observation.state"] = numbers(128, 2).astype(np.float32)
        file.attrs.update({"sim": False, "description": "pour", "embodiment": "human_zed"})
    items = open_source(path)

    item = next(items)

    assert isinstance(item, Found)
    draft = item.draft
    assert jpegs[3] in draft.videos["left"].path.read_bytes()
    assert (draft.facts.instruction, draft.facts.task) == ("pour", "pour")
    assert draft.session.embodiment == "human_zed"
    assert draft.streams["state"].info.rate_hz == 30.0
    items.close()  # type: ignore[attr-defined]


def test_the_processed_folder_below_a_raw_one_is_a_source_of_its_own(tmp_path: Path) -> None:
    raw(tmp_path / "task/episode_0.hdf5")
    processed(tmp_path / "task/processed/processed_episode_0.hdf5")

    assert locate(tmp_path)[:2] == ("television", tmp_path / "task")
    assert [item.name for item in read(tmp_path / "task")] == ["episode_0"]  # type: ignore[union-attr]
    below = read(tmp_path / "task/processed")
    assert [item.name for item in below] == ["processed_episode_0"]  # type: ignore[union-attr]


def test_stamps_that_are_no_clock_are_found(tmp_path: Path) -> None:
    path = raw(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "r+") as file:
        file["obs/timestamp"][3] = np.nan

    draft = only(path)

    assert "import.clock" in [f.check for f in draft.findings]
    assert draft.streams["joint_command"].clock == "nominal"
    assert len(draft.streams["joint_command"]) == T


@pytest.mark.parametrize(
    ("place", "values", "why"),
    [
        ("action/joint_pos", None, "no state and command"),
        ("obs/timestamp", np.arange(T - 1.0), "different numbers of steps"),
        ("obs/qpos", np.zeros((T + 1, 26)), "different numbers of steps"),
        ("obs/timestamp", np.array(["a"] * T, "S1"), "not plain numbers"),
    ],
)
def test_what_is_no_episode_is_refused_by_name(
    place: str, values: Any, why: str, tmp_path: Path
) -> None:
    path = raw(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "r+") as file:
        del file[place]
        if values is not None:
            file[place] = values

    [item] = list(open_source(path, format="television"))

    assert isinstance(item, Refused)
    assert why in item.reason
    assert item.hint
