"""ALOHA's HDF5 becomes episodes. The files follow the layout that its recorders document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demos.importers import Found, Item, Options, Refused, import_source, locate, open_source
from demos.model import Draft
from demos.store import EpisodeStore
from tests.lerobot_folders import decode, encoded, picture

T = 12
CAMERAS = ("cam_high", "cam_left_wrist")


def record(path: Path, *, compress: bool = False, mobile: bool = False, width: int = 14) -> Path:
    """Write what record_episodes.py writes: float32 tables, images raw or as padded JPEGs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = False
        for number, place in enumerate(("qpos", "qvel", "effort")):
            file[f"observations/{place}"] = tables(width)[number]
        file["action"] = tables(width)[3]
        if mobile:
            file["base_action"] = np.outer(np.arange(T), [0.1, -0.2]).astype(np.float32)
        images = [picture(n) for n in range(T)]
        if compress:
            file.attrs["compress"] = True
            jpegs = jpeg()
            lengths = [len(image) for image in jpegs]
            padded = np.zeros((T, max(lengths)), np.uint8)
            for row, image in zip(padded, jpegs, strict=True):
                row[: len(image)] = np.frombuffer(image, np.uint8)
            file["compress_len"] = np.array([lengths] * len(CAMERAS), np.float32)
        for camera in CAMERAS:
            held = padded if compress else np.stack(images)
            file.create_dataset(
                f"observations/images/{camera}", data=held, chunks=(1, *held.shape[1:])
            )
    return path


def tables(width: int = 14) -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(4, T, width))
    return rows.astype(np.float32)


def jpeg() -> list[bytes]:
    return [encoded(picture(n), "jpeg") for n in range(T)]


def read(path: Path, **options: Any) -> list[Item]:
    return list(open_source(path, Options(**options)))


def only(path: Path, **options: Any) -> Draft:
    [item] = read(path, **options)
    assert isinstance(item, Found), item
    return item.draft


def change(path: Path, place: str, values: Any) -> Path:
    with h5py.File(path, "r+") as file:
        if place in file:
            del file[place]
        if values is not None:
            file[place] = values
    return path


def said(draft: Draft, word: str) -> str:
    [text] = [text for text in draft.facts.provenance.assumed if word in text]
    return text


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """Read one episode of raw images; what it says is not changed by the tests."""
    return only(record(tmp_path_factory.mktemp("aloha") / "aloha_wipe/episode_0.hdf5", mobile=True))


def test_tables_come_in_with_their_numbers_names_and_units(raw: Draft) -> None:
    names = ("joint_position", "joint_velocity", "joint_effort", "joint_command")
    for name, values in zip(names, tables(), strict=True):
        stream = raw.streams[name]
        assert (stream.values == values).all()
        assert stream.values.dtype == np.float32
        assert stream.channels[0] == "left_waist"
        assert stream.channels[6:8] == ("left_gripper", "right_waist")
    assert raw.streams["joint_position"].units == (*["rad"] * 6, "1") * 2
    assert raw.streams["joint_velocity"].units == (*["rad/s"] * 6, "1/s") * 2
    assert set(raw.streams["joint_effort"].units) == {"unknown"}
    assert str(raw.streams["joint_command"].info.semantics).startswith("absolute")


def test_the_base_of_mobile_aloha_comes_in_with_its_own_units(raw: Draft) -> None:
    base = raw.streams["base_command"]

    assert (base.channels, base.units) == (("linear", "angular"), ("m/s", "rad/s"))
    assert base.values[10].tolist() == pytest.approx([1.0, -2.0])


def test_the_clock_is_50_hz_and_said_to_be_assumed(raw: Draft) -> None:
    stream = raw.streams["joint_position"]

    assert stream.time_ns.tolist() == [20_000_000 * n for n in range(T)]
    assert stream.clock == "nominal"
    assert "DT of 0.02 s" in said(raw, "rate: 50 Hz")
    assert "left arm first" in said(raw, "order of joints")


def test_a_rate_that_the_file_says_holds(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["fps"] = 25

    draft = only(path)

    assert draft.streams["joint_position"].time_ns[1] == 40_000_000
    assert draft.facts.provenance.parameters["fps"] == 25


def test_the_folder_names_the_task_and_what_nobody_says_is_assumed(raw: Draft) -> None:
    assert raw.facts.task == "aloha_wipe"
    assert raw.session.embodiment == "aloha"
    assert raw.facts.origin == "human"
    assert raw.labels == ()
    assert said(raw, "operator")


def test_images_are_seen_as_they_were_recorded(tmp_path: Path) -> None:
    record(tmp_path / "aloha/episode_0.hdf5")
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(tmp_path / "aloha", store)

    [(_, episode)] = report.episodes
    images = store.episode(episode).images("cam_high", range(T)).astype(float)
    truth = np.stack([picture(n) for n in range(T)]).astype(float)
    assert np.abs(images - truth).mean() < 6
    assert any("H.264" in text for text in report.assumed)


def test_jpegs_are_kept_byte_for_byte_without_their_padding(tmp_path: Path) -> None:
    record(tmp_path / "aloha/episode_0.hdf5", compress=True)
    items = open_source(tmp_path / "aloha")

    item = next(items)

    assert isinstance(item, Found)
    video = item.draft.videos["cam_left_wrist"]
    content = video.path.read_bytes()
    assert all(image in content for image in jpeg())
    assert (video.info.codec, video.info.width, video.info.height) == ("mjpeg", 64, 48)
    assert np.abs(decode(video.path)[5].astype(float) - picture(5)).mean() < 12
    assert "red and blue swapped" in said(item.draft, "cam_left_wrist")
    assert item.draft.findings == ()
    items.close()  # type: ignore[attr-defined]


def test_lengths_that_fit_no_camera_are_found(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5", compress=True)
    change(path, "compress_len", np.full((2, T), 7.0))

    draft = only(path)

    assert [f.check for f in draft.findings] == ["import.images"] * 2
    assert {f.severity for f in draft.findings} == {"info"}


def test_episodes_are_in_order_of_their_numbers_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        record(tmp_path / f"aloha/episode_{number}.hdf5")
    (tmp_path / "aloha/episode_9.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))

    first, second, third = read(tmp_path / "aloha")

    assert [first.name, second.name, third.name] == ["episode_2", "episode_9", "episode_10"]  # type: ignore[union-attr]
    assert isinstance(second, Refused)
    assert "cannot be read" in second.reason
    assert second.hint


def test_a_folder_of_episodes_is_one_source(tmp_path: Path) -> None:
    for number in range(3):
        record(tmp_path / f"data/aloha/episode_{number}.hdf5")

    name, place, _ = locate(tmp_path)

    assert (name, place) == ("aloha", tmp_path / "data/aloha")


def test_unitrees_flavour_has_words_and_no_velocities(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_3.hdf5", width=26)
    change(path, "observations/qvel", np.zeros((T, 26), np.float32))
    change(path, "observations/effort", None)
    change(path, "is_edited", np.array([1], np.uint8))
    change(path, "language_raw", "fold the shirt")
    change(path, "substep_reasonings", ["reach"] * 5 + ["fold"] * (T - 5))

    draft = only(path)

    assert draft.facts.instruction == "fold the shirt"
    assert draft.facts.task == "fold_the_shirt"
    [label] = draft.labels
    assert (label.of, label.role) == ("instruction", "machine")
    assert [(s.value, s.start_ns, s.end_ns) for s in label.spans] == [
        ("reach", 0, 100_000_000),
        ("fold", 100_000_000, 220_000_000),
    ]
    assert set(draft.streams) == {"joint_position", "joint_command"}
    assert draft.streams["joint_position"].channels[25] == "qpos_25"
    assert "placeholder" in said(draft, "qvel")
    assert draft.facts.provenance.parameters["is_edited"] == [1]
    assert [f.check for f in draft.findings] == ["import.edited"]
    assert draft.session.embodiment == "unknown"


def test_fourteen_columns_of_another_robot_are_not_called_alohas(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    change(path, "is_edited", np.array([0], np.uint8))

    draft = only(path)

    assert draft.streams["joint_position"].channels[0] == "qpos_0"
    assert set(draft.streams["joint_position"].units) == {"unknown"}
    assert draft.session.embodiment == "unknown"


def test_substeps_that_only_repeat_the_instruction_are_no_label(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    change(path, "language_raw", np.array([b"wipe"]))
    change(path, "substep_reasonings", ["wipe"] * T)

    assert only(path).labels == ()


def test_long_substeps_are_kept_whole(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    change(path, "substep_reasonings", ["x" * 300] * T)

    [label] = only(path).labels

    assert label.spans[0].value == "x" * 200
    assert label.spans[0].notes == {"text": "x" * 300}


def test_whatever_else_is_in_the_file_is_kept_or_named(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    depth = np.arange(T * 6, dtype=np.uint16).reshape(T, 2, 3)
    change(path, "observations/images_depth/cam_high", depth)
    change(path, "observations/force", np.ones((T, 6)))
    change(path, "gains", np.arange(3.0))
    change(path, "notes", "the left camera was loose")
    change(path, "lidar", np.zeros((T + 5, 100)))

    draft = only(path)

    assert (draft.streams["depth.cam_high"].values == depth).all()
    assert draft.streams["force"].info.note == "HDF5 dataset observations/force"
    assert draft.facts.provenance.parameters["gains"] == [0, 1, 2]
    assert draft.facts.provenance.parameters["notes"] == "the left camera was loose"
    assert [m.split(":")[0] for m in draft.facts.provenance.missing] == ["lidar"]


def test_simulated_episodes_say_so(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["sim"] = bool(1)

    draft = only(path)

    assert draft.facts.origin == "simulated"
    assert draft.session.embodiment == "aloha_simulated"


def test_images_that_do_not_fit_are_missing_and_the_rest_goes_in(tmp_path: Path) -> None:
    path = record(tmp_path / "episode_0.hdf5")
    change(path, "observations/images/cam_high", np.zeros((T - 1, 48, 64, 3), np.uint8))
    change(path, "observations/images/odd", np.zeros((T, 47, 63, 3), np.uint8))

    draft = only(path)

    assert list(draft.videos) == ["cam_left_wrist"]
    assert [f.check for f in draft.findings] == ["import.missing_video"] * 2
    assert all(f.hint for f in draft.findings)
    assert len(draft.facts.provenance.missing) == 2


@pytest.mark.parametrize(
    ("place", "values", "why"),
    [
        ("action", None, "action is not there"),
        ("observations/qpos", np.zeros((T - 2, 14)), "different numbers of steps"),
        ("observations/qpos", np.zeros((T, 2, 7)), "not steps and values"),
        ("observations/qpos", np.zeros((0, 14)), "not steps and values"),
        ("action", ["a"] * T, "not plain numbers"),
    ],
)
def test_what_is_no_episode_is_refused_by_name(
    place: str, values: Any, why: str, tmp_path: Path
) -> None:
    path = change(record(tmp_path / "episode_0.hdf5"), place, values)

    [item] = list(open_source(path, format="aloha"))

    assert isinstance(item, Refused)
    assert why in item.reason
    assert item.hint


def test_a_body_that_a_person_names_must_know_the_joints(tmp_path: Path) -> None:
    from demos import embodiment

    body = embodiment.load("g1_dex3")
    path = record(tmp_path / "episode_0.hdf5")

    [refused] = read(path, embodiment=body)
    kept = only(path, embodiment=body, accept_mapping=True)

    assert isinstance(refused, Refused)
    assert "unknown to g1_dex3" in refused.reason
    assert "left_waist" in kept.streams["joint_position"].channels


def test_channels_ignored_on_purpose_stay_out(tmp_path: Path) -> None:
    draft = only(record(tmp_path / "episode_0.hdf5"), ignore=("left_gripper",))

    assert all("left_gripper" not in stream.channels for stream in draft.streams.values())
    assert len(draft.streams["joint_velocity"].channels) == 13
