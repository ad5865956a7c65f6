"""LeRobot v3.0 datasets as they lie on the disk, read with pyarrow and PyAV.

The layout is that of a dataset which LeRobot 0.4.4 wrote; `tests/interop` shows the real lerobot
reading what is written here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import demos
from demos.exporters import export
from demos.formats import lerobot_v30
from demos.formats.lerobot_statistics import QUANTILES
from demos.store import containers, layout, verify
from tests import export_store
from tests.lerobot_reading import (
    CAMERA,
    back,
    episodes_of,
    images_of,
    info_of,
    rows_of,
    sent,
)
from tests.table_store import draft, joints, store_of

KEYS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("made") / "lab")


@pytest.fixture(scope="module")
def out(lab: demos.Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "out"
    lab.select("").export(path, to="lerobot")
    return path


def test_metadata_says_what_is_there(out: Path) -> None:
    info, rows, episodes = info_of(out), rows_of(out), episodes_of(out)

    assert info["codebase_version"] == "v3.0"
    assert info["robot_type"] == "g1_dex3"
    assert info["fps"] == 30
    assert isinstance(info["fps"], int)
    assert info["total_episodes"] == len(episodes) == 3
    assert info["total_frames"] == len(rows["index"]) == sum(row["length"] for row in episodes)
    assert info["splits"] == {"train": "0:3"}
    stored = [name for name, feature in info["features"].items() if feature["dtype"] != "video"]
    assert stored == list(rows)
    assert info["features"]["observation.state"]["names"][0] == "waist_yaw_joint"
    video = info["features"][CAMERA]
    assert video["shape"] == [48, 64, 3]
    assert (video["info"]["video.codec"], video["info"]["video.pix_fmt"]) == ("h264", "yuv420p")
    assert pq.read_table(out / "meta/tasks.parquet").to_pylist() == [
        {
            "task_index": 0,
            "__index_level_0__": "Pick up the object and set it upright on the green square.",
        }
    ]


def test_rows_count_on_within_and_across_episodes(out: Path) -> None:
    rows = rows_of(out)

    assert rows["index"].tolist() == list(range(len(rows["index"])))
    for row in episodes_of(out):
        own = slice(row["dataset_from_index"], row["dataset_to_index"])
        assert set(rows["episode_index"][own]) == {row["episode_index"]}
        assert rows["frame_index"][own].tolist() == list(range(row["length"]))
        exact = (np.arange(row["length"]) / 30).astype(np.float32)
        assert rows["timestamp"][own].astype(np.float32).tolist() == exact.tolist()
        assert rows["next.done"][own].tolist() == [False] * (row["length"] - 1) + [True]


def test_columns_have_the_types_that_lerobot_expects(out: Path) -> None:
    schema = pq.read_schema(out / "data/chunk-000/file-000.parquet")

    assert str(schema.field("observation.state").type) == "fixed_size_list<element: float>[31]"
    assert str(schema.field("timestamp").type) == "float"
    assert str(schema.field("next.done").type) == "bool"
    assert str(schema.field("annotation.phase.task").type) == "int64"
    said = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert said["observation.wrench.right_wrist"]["_type"] == "Array2D"
    assert said["action"] == {
        "feature": {"dtype": "float32", "_type": "Value"},
        "length": 31,
        "_type": "List",
    }


def test_values_are_those_of_the_streams_at_the_images(lab: demos.Store, out: Path) -> None:
    rows, episodes = rows_of(out), episodes_of(out)
    whole = lab[lab.select("outcome == 'success'").ids[0]]
    own = next(row for row in episodes if row["length"] == 60)
    chosen = slice(own["dataset_from_index"], own["dataset_to_index"])
    moments = whole.cameras["egocentric"].time_ns

    state, command = whole.streams["joint_position"], whole.streams["joint_command"]
    for channel in range(31):
        on_line = np.interp(moments, state.time_ns, state.values[:, channel])
        np.testing.assert_allclose(rows["observation.state"][chosen, channel], on_line, atol=1e-6)
    held = command.values[np.searchsorted(command.time_ns, moments, side="right") - 1]
    np.testing.assert_array_equal(rows["action"][chosen], held)
    force = whole.streams["wrench.right_wrist"]
    last = np.searchsorted(force.time_ns, moments[10], side="right")
    window = rows["observation.wrench.right_wrist"][chosen][10]
    np.testing.assert_array_equal(window, force.values[last - len(window) : last])


def test_images_are_the_recorded_ones_bit_for_bit(lab: demos.Store, out: Path) -> None:
    report = json.loads((out / "demos/report.json").read_text())

    for episode in report["episodes"]:
        camera = lab[episode["episode"]].cameras["egocentric"]
        for part in episode["parts"]:
            start = camera.time_ns.tolist().index(part["start_ns"])
            recorded = camera.images(range(start, start + part["steps"]))
            np.testing.assert_array_equal(images_of(out, part["episode_index"]), recorded)


def test_statistics_are_those_of_the_written_numbers(out: Path) -> None:
    stats, rows = json.loads((out / "meta/stats.json").read_text()), rows_of(out)

    assert set(stats) == {*rows, CAMERA}
    for name, values in rows.items():
        flat = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
        found = stats[name]
        np.testing.assert_allclose(found["mean"], flat.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(found["std"], flat.std(axis=0), atol=1e-9)
        np.testing.assert_array_equal(found["min"], flat.min(axis=0))
        for key, share in QUANTILES.items():
            np.testing.assert_allclose(found[key], np.quantile(flat, share, axis=0), atol=1e-12)
        assert found["count"] == [len(values)]


def test_each_episode_has_its_own_statistics(out: Path) -> None:
    rows = rows_of(out)

    for row in episodes_of(out):
        own = rows["action"][row["dataset_from_index"] : row["dataset_to_index"]].astype(np.float64)
        np.testing.assert_allclose(row["stats/action/std"], own.std(axis=0), atol=1e-9)
        np.testing.assert_allclose(row["stats/action/q90"], np.quantile(own, 0.9, axis=0))
        assert row["stats/action/count"] == [len(own)]
        assert np.shape(row[f"stats/{CAMERA}/mean"]) == (3, 1, 1)
        assert 0 < np.ravel(row[f"stats/{CAMERA}/mean"])[0] < 1


def test_what_lerobot_cannot_hold_lies_beside_it(lab: demos.Store, out: Path) -> None:
    report = json.loads((out / "demos/report.json").read_text())

    assert {each["episode"] for each in report["episodes"]} == set(
        lab.select("factor.object == 'box'").ids
    )
    assert report["left_out"][0]["reason"].startswith("it has no joint_position")
    for each in report["episodes"]:
        beside = out / "demos/episodes" / each["episode"]
        recorded = layout.episode_dir(lab.root, each["episode"])
        assert (beside / "manifest.json").read_bytes() == (recorded / "manifest.json").read_bytes()
        truth = containers.open(beside / "signals.zarr.zip", "zarr")
        known = lab[each["episode"]]
        for name, stream in known.streams.items():
            np.testing.assert_array_equal(truth.streams[name].values, stream.values)
        assert len(json.loads((beside / "labels.json").read_text())) == len(known.labels)
        joint = next(row for row in each["streams"] if row["stream"] == "joint_position")
        assert (joint["rate_in_hz"], joint["rate_out_hz"]) == (250.0, 30.0)
        assert joint["unit"] == "rad"
        assert 0 < joint["rms"] < joint["worst"] < 1e-3
    assert report["schema"]["words"]["annotation.outcome"] == [
        "success",
        "partial",
        "failure",
        "aborted",
    ]
    assert report["schema"]["columns"][0]["units"][0] == "rad"


def test_the_truth_of_a_store_of_hdf5_lies_beside_it_too(tmp_path: Path) -> None:
    lab = demos.open(tmp_path / "lab", container="hdf5")
    kept = lab.publish(draft(joints()))
    lab.refresh()

    sent(lab, tmp_path / "out")

    beside = tmp_path / "out/demos/episodes" / kept.id
    truth = containers.open(beside / "signals.h5", "hdf5")
    assert sorted(truth.streams) == ["joint_command", "joint_position"]


def test_a_recording_that_was_altered_on_the_disk_stays_behind(tmp_path: Path) -> None:
    lab = store_of(tmp_path / "lab", draft(joints()), draft(joints(seed=3)))
    hurt = lab.catalog.ids()[0]
    file = layout.episode_dir(lab.root, hurt) / "signals.zarr.zip"
    file.write_bytes(file.read_bytes() + b"\0")

    report = sent(lab, tmp_path / "out")

    assert [each.episode for each in report.left_out] == [hurt]
    assert "is not what was published" in report.left_out[0].reason
    assert [path.name for path in (tmp_path / "out/demos/episodes").iterdir()] == [
        report.written[0].episode
    ]


def test_an_interval_that_is_not_to_be_trained_on_cuts_an_episode_in_two(
    lab: demos.Store, out: Path
) -> None:
    report = json.loads((out / "demos/report.json").read_text())

    [cut] = [each for each in report["episodes"] if len(each["parts"]) == 2]

    first, second = cut["parts"]
    assert first["end_ns"] < 1_000_000_000 <= 1_300_000_000 < second["start_ns"]
    assert "is cut out" in cut["notes"][0]
    assert verify(lab) == []


def test_splits_are_ranges_and_episodes_stand_in_their_order(
    lab: demos.Store, tmp_path: Path
) -> None:
    chosen = lab.select("factor.object == 'box'").chosen()
    for split, each in zip(
        ("val", "train"), sorted(chosen, key=lambda c: c.manifest.id), strict=True
    ):
        chosen[chosen.index(each)] = replace(each, split=split)
    chosen.sort(key=lambda each: each.split)

    report = export(chosen, tmp_path / "out", "lerobot")

    assert [written.episode for written in report.written] == [each.manifest.id for each in chosen]
    assert info_of(tmp_path / "out")["splits"] == {"train": "0:2", "val": "2:3"}


def test_files_are_cut_where_they_are_full(
    lab: demos.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lerobot_v30, "VIDEO_MB", 0)
    monkeypatch.setattr(lerobot_v30, "DATA_MB", 0)
    monkeypatch.setattr(lerobot_v30, "CHUNKS_SIZE", 2)

    sent(lab, tmp_path / "out")

    rows = episodes_of(tmp_path / "out")
    assert [(r["data/chunk_index"], r["data/file_index"]) for r in rows] == [(0, 0), (0, 1), (1, 0)]
    assert [r[f"videos/{CAMERA}/file_index"] for r in rows] == [0, 1, 0]
    assert (tmp_path / "out/data/chunk-001/file-000.parquet").exists()
    assert (tmp_path / f"out/videos/{CAMERA}/chunk-001/file-000.mp4").exists()
    assert len(rows_of(tmp_path / "out")["index"]) == info_of(tmp_path / "out")["total_frames"]
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    assert stats["index"]["q50"] == [(info_of(tmp_path / "out")["total_frames"] - 1) / 2]


def test_what_went_out_comes_back_equal_at_the_steps(
    lab: demos.Store, out: Path, tmp_path: Path
) -> None:
    rows = rows_of(out)

    for name, episode in back(out, tmp_path / "again").items():
        row = episodes_of(out)[int(name[-6:])]
        own = slice(row["dataset_from_index"], row["dataset_to_index"])
        for stream, column in (
            ("joint_position", "observation.state"),
            ("joint_command", "action"),
            ("joint_velocity", "observation.joint_velocity"),
            ("pose.right_wrist", "observation.pose.right_wrist"),
            ("wrench.right_wrist", "observation.wrench.right_wrist"),
            ("tactile.right_hand", "observation.tactile.right_hand"),
        ):
            values = episode.streams[stream].values
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, rows[column][own].astype(np.float32))
        assert (
            episode.streams["joint_position"].channels
            == lab[lab.catalog.ids()[1]].streams["joint_position"].channels
        )
        np.testing.assert_array_equal(
            episode.images("egocentric", range(row["length"])), images_of(out, int(name[-6:]))
        )


def test_phases_and_outcome_come_back_as_labels(out: Path, tmp_path: Path) -> None:
    episodes = back(out, tmp_path / "again")

    whole = max(episodes.values(), key=lambda episode: episode.duration_s)
    assert whole.outcome == "success"
    found = [
        (s.tier, s.value, round(s.start_ns / 1e9, 2), round(s.end_ns / 1e9, 2))
        for s in whole.phases
    ]
    assert found == [
        ("task", "reach", 0.0, 1.03),
        ("right_hand", "reach", 0.53, 1.03),
        ("task", "grasp", 1.03, 1.97),
    ]


def test_an_imported_dataset_goes_out_and_comes_back_again(out: Path, tmp_path: Path) -> None:
    back(out, tmp_path / "again")
    again = demos.open(tmp_path / "again")

    report = sent(again, tmp_path / "twice")

    assert len(report.written) == 3
    first, second = rows_of(out), rows_of(tmp_path / "twice")
    for name in ("observation.state", "action", "annotation.phase.task", "next.success", *KEYS):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    for number in range(3):
        np.testing.assert_array_equal(images_of(out, number), images_of(tmp_path / "twice", number))
