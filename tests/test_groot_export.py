"""GR00T's datasets: LeRobot v2.1 by body part, as NVIDIA's documentation lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import demos
from demos.embodiment import load
from demos.importers import import_source
from demos.model import VideoFile
from tests import export_store
from tests.lerobot_folders import decode
from tests.lerobot_reading import CAMERA
from tests.table_store import clock, draft, joints, store_of, stream, video_file, waves

DATA = "data/chunk-000/episode_{:06d}.parquet"
VIDEO = "videos/chunk-000/{}/episode_{:06d}.mp4"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("made") / "lab")


@pytest.fixture(scope="module")
def out(lab: demos.Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "out"
    lab.select("").export(path, to="groot")
    return path


def read(root: Path, name: str) -> Any:
    text = (root / "meta" / name).read_text()
    return (
        [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    )


def rows_of(root: Path, episode: int) -> dict[str, np.ndarray]:
    table = pq.read_table(root / DATA.format(episode))
    return {name: np.array(table.column(name).to_pylist()) for name in table.column_names}


def test_each_episode_has_a_table_and_a_video_of_its_own(out: Path) -> None:
    info, lines = read(out, "info.json"), read(out, "episodes.jsonl")

    assert info["codebase_version"] == "v2.1"
    assert (info["total_episodes"], info["total_videos"], info["total_chunks"]) == (3, 3, 1)
    assert sum(line["length"] for line in lines) == info["total_frames"]
    total = 0
    for line in lines:
        number = line["episode_index"]
        rows = rows_of(out, number)
        assert len(rows["index"]) == line["length"]
        assert rows["index"].tolist() == list(range(total, total + line["length"]))
        assert len(decode(out / VIDEO.format(CAMERA, number))) == line["length"]
        total += line["length"]


def test_channels_stand_by_body_part_as_modality_json_says(lab: demos.Store, out: Path) -> None:
    body = load("g1_dex3")
    modality, info = read(out, "modality.json"), read(out, "info.json")

    left, right = body.effectors
    parts = {
        "left_arm": left.arm,
        "left_hand": left.hand,
        "right_arm": right.arm,
        "right_hand": right.hand,
        "waist": ("waist_yaw_joint", "waist_roll_joint", "waist_pitch_joint"),
    }
    for kind, column in (("state", "observation.state"), ("action", "action")):
        names = info["features"][column]["names"]
        spans = modality[kind].items()
        assert {part: tuple(names[s["start"] : s["end"]]) for part, s in spans} == parts
    assert modality["video"] == {"egocentric": {"original_key": CAMERA}}
    whole = lab[lab.select("outcome == 'success'").ids[0]]
    number = int(np.argmax([line["length"] for line in read(out, "episodes.jsonl")]))
    moments = whole.cameras["egocentric"].time_ns
    state = whole.streams["joint_position"]
    elbow = state.channels.index("right_elbow_joint")
    recorded = np.interp(moments, state.time_ns, state.values[:, elbow])
    column = info["features"]["observation.state"]["names"].index("right_elbow_joint")
    found = rows_of(out, number)["observation.state"][:, column]
    np.testing.assert_allclose(found, recorded, atol=1e-6)


def test_annotations_are_lines_of_the_list_of_tasks(out: Path) -> None:
    tasks = {row["task_index"]: row["task"] for row in read(out, "tasks.jsonl")}
    modality = read(out, "modality.json")["annotation"]

    number = int(np.argmax([line["length"] for line in read(out, "episodes.jsonl")]))
    rows = rows_of(out, number)

    assert set(modality) == {"human.task_description", "phase.task", "phase.right_hand", "outcome"}
    said = {name: [tasks[n] for n in rows[f"annotation.{name}"]] for name in modality}
    assert set(said["human.task_description"]) == {
        "Pick up the object and set it upright on the green square."
    }
    assert said["human.task_description"] == [tasks[n] for n in rows["task_index"]]
    assert said["phase.task"] == ["reach"] * 31 + ["grasp"] * 29
    assert said["phase.right_hand"] == ["none"] * 16 + ["reach"] * 15 + ["none"] * 29
    assert set(said["outcome"]) == {"success"}


def test_statistics_are_per_episode_and_of_all(out: Path) -> None:
    own, all_ = read(out, "episodes_stats.jsonl"), read(out, "stats.json")

    rows = [rows_of(out, row["episode_index"])["action"].astype(np.float64) for row in own]

    for row, values in zip(own, rows, strict=True):
        assert set(row["stats"]["action"]) == {"min", "max", "mean", "std", "count"}
        np.testing.assert_allclose(row["stats"]["action"]["mean"], values.mean(axis=0))
        assert np.shape(row["stats"][CAMERA]["std"]) == (3, 1, 1)
    together = np.concatenate(rows)
    np.testing.assert_allclose(all_["action"]["q01"], np.quantile(together, 0.01, axis=0))
    np.testing.assert_allclose(all_["action"]["std"], together.std(axis=0))


def test_it_comes_back_under_the_bodys_own_names(
    lab: demos.Store, out: Path, tmp_path: Path
) -> None:
    again = demos.open(tmp_path / "again", container="zarr")

    found = import_source(out, again)

    assert (found.skipped, found.missing, found.contradictions) == ((), (), ())
    names = read(out, "info.json")["features"]["observation.state"]["names"]
    for name, id_ in found.episodes:
        episode, rows = again[id_], rows_of(out, int(name[-6:]))
        for stream_name, column in (
            ("joint_position", "observation.state"),
            ("joint_command", "action"),
        ):
            part = episode.streams[stream_name]
            order = [names.index(channel) for channel in part.channels]
            np.testing.assert_array_equal(part.values, rows[column][:, order].astype(np.float32))
        shown = decode(out / VIDEO.format(CAMERA, int(name[-6:])))
        np.testing.assert_array_equal(episode.images("egocentric", range(len(shown))), shown)
        assert episode.outcome in ("success", "failure")
        assert {span.tier for span in episode.phases} <= {"task", "right_hand"}


def test_video_is_copied_where_it_begins_at_a_key_image_and_encoded_where_not(
    tmp_path: Path,
) -> None:
    whole = video_file(tmp_path / "long.mp4", 40, g="10", bf="2", sc_threshold="0")
    spans = {"aligned": np.arange(10, 30), "between": np.arange(13, 33)}
    lab = store_of(
        tmp_path / "lab",
        *(
            draft(
                joints(2.1), {"egocentric": VideoFile(whole.path, whole.info, clock(10.0, 2.0), s)}
            )
            for s in spans.values()
        ),
    )

    report = lab.select("").export(tmp_path / "out", to="groot")

    first, second = sorted(report.written, key=lambda written: written.names)
    assert first.notes == ()
    assert "it does not begin at a key image" in second.notes[0]
    recorded = decode(whole.path)
    shown = [decode(tmp_path / "out" / VIDEO.format(CAMERA, n)) for n in range(2)]
    np.testing.assert_array_equal(shown[0], recorded[10:30])
    assert np.abs(shown[1].astype(float) - recorded[13:33]).mean() < 4


def test_parts_of_a_body_that_nobody_described_come_from_its_names(tmp_path: Path) -> None:
    time_ns = clock(20.0, 1.0)
    names = ("left_arm.m0", "left_arm.m1", "neck.m0", "left_arm.m2")
    streams = {
        name: stream(time_ns, waves(time_ns, 4), names, "unknown", rate_hz=20.0)
        for name in ("state", "action")
    }
    lab = store_of(tmp_path / "lab", draft(streams))

    lab.select("").export(tmp_path / "out", to="groot")

    assert read(tmp_path / "out", "modality.json")["state"] == {
        "left_arm": {"start": 0, "end": 3},
        "neck": {"start": 3, "end": 4},
    }
    values = rows_of(tmp_path / "out", 0)["observation.state"].astype(np.float32)
    np.testing.assert_array_equal(values, streams["state"].values[:, [0, 1, 3, 2]])


def test_end_effectors_are_parts_of_their_own(lab: demos.Store, tmp_path: Path) -> None:
    lab.select("").export(tmp_path / "out", to="groot", action="rotation_6d")

    parts = read(tmp_path / "out", "modality.json")["action"]
    assert parts == {
        "left_end_effector": {"start": 0, "end": 9},
        "left_hand": {"start": 9, "end": 16},
        "right_end_effector": {"start": 16, "end": 25},
        "right_hand": {"start": 25, "end": 32},
    }
