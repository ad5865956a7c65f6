"""Real recordings of xr_teleoperate and RLDS go in whole, held against other readers.

Found as in `test_real_data.py`; skipped with a reason where they are not at hand.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import demos
from demos import duplicates, embodiment, jobs
from demos.cli import main
from demos.importers import ImportReport, import_source
from demos.library import Store
from demos.store import verify
from tests.tf_messages import messages, values_of

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared/data"
)
XR = DATA / "unitree_xr_json_derived/pick_yellow_bottle"
BRIDGE = DATA / "bridge_rlds/tests/debug_dataset/bridge_dataset/1.0.0"
G1 = DATA / "unitree_g1_inspire_v21"

pytestmark = pytest.mark.skipif(
    not (XR.is_dir() and BRIDGE.is_dir()), reason=f"no real recordings in {DATA}"
)

Imported = tuple[Store, ImportReport]


@pytest.fixture(scope="module")
def xr(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    store = demos.open(tmp_path_factory.mktemp("xr") / "store", container="zarr")
    return store, import_source(XR, store)


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    store = demos.open(tmp_path_factory.mktemp("bridge") / "store", container="zarr")
    report = import_source(BRIDGE, store)
    store.refresh()
    return store, report


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


# ------------------------------------------------------------- xr_teleoperate


def test_every_number_of_the_real_json_is_under_its_joints_name(xr: Imported) -> None:
    store, report = xr
    rows = json.loads((XR / "episode_0000/data.json").read_bytes())["data"]
    arm = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll",
           "wrist_pitch", "wrist_yaw")  # fmt: skip
    hand = ("pinky", "ring", "middle", "index", "thumb_bend", "thumb_rotation")

    [(_, episode_id)] = report.episodes
    streams = store.episode(episode_id).streams

    for group, joints, fingers in (
        ("states", "joint_position", "gripper"),
        ("actions", "joint_command", "gripper_command"),
    ):
        for side in ("left", "right"):
            for part, name, channels in (
                ("arm", joints, [f"{side}_{joint}_joint" for joint in arm]),
                ("ee", f"{fingers}.{side}_hand", [f"{side}_hand_{finger}" for finger in hand]),
            ):
                stream = streams[name]
                at = [stream.channels.index(channel) for channel in channels]
                truth = [row[group][f"{side}_{part}"]["qpos"] for row in rows]
                np.testing.assert_array_equal(stream.values[:, at], truth)
    assert sum(len(s.channels) for s in streams.values()) == 2 * (14 + 12)


def test_the_real_rows_are_at_their_number_over_30_hz(xr: Imported) -> None:
    store, report = xr

    stream = store.episode(report.episodes[0][1]).streams["joint_position"]

    assert stream.clock == "nominal"
    np.testing.assert_allclose(stream.time_ns / 1e9, np.arange(221) / 30, atol=1e-9)


def test_every_real_jpeg_is_kept_byte_for_byte_and_decodes_as_pil_decodes_it(xr: Imported) -> None:
    store, report = xr
    files = sorted((XR / "episode_0000/colors").iterdir())
    episode = store.episode(report.episodes[0][1])
    [video] = store.root.rglob("egocentric.mp4")

    kept = packets(video)
    shown = episode.images("egocentric", [0, 110, 220])

    assert kept == [path.read_bytes() for path in files]
    for image, number in zip(shown, (0, 110, 220), strict=True):
        truth = np.asarray(Image.open(files[number]).convert("RGB"))
        # libjpeg smooths colour that was stored at half the size, FFmpeg repeats it
        assert np.abs(image.astype(int) - truth).mean() < 2.0


def test_the_real_joints_are_within_the_bodys_ranges_and_where_the_lerobot_copy_has_them(
    xr: Imported,
) -> None:
    store, report = xr
    streams = store.episode(report.episodes[0][1]).streams
    joints = {joint.name: joint for joint in embodiment.load("unitree_g1_inspire").joints}
    tables = [pq.read_table(path) for path in sorted(G1.rglob("*.parquet"))]
    recorded = np.concatenate([np.array(t["observation.state"].to_pylist()) for t in tables])
    order = [*streams["joint_position"].channels, *streams["gripper.left_hand"].channels,
             *streams["gripper.right_hand"].channels]  # fmt: skip

    values = np.hstack([streams[n].values for n in
                        ("joint_position", "gripper.left_hand", "gripper.right_hand")])  # fmt: skip

    for column, name in enumerate(order):
        assert values[:, column].min() >= joints[name].lower
        assert values[:, column].max() <= joints[name].upper
    # another episode of the same task on the same robot: the same joints in the same places, which
    # they are not where an arm or a hand is taken for the other
    low, high, middle = recorded.min(axis=0), recorded.max(axis=0), np.median(values, axis=0)
    swapped = np.r_[middle[7:14], middle[:7], middle[20:], middle[14:20]]
    assert ((middle >= low - 0.15) & (middle <= high + 0.15)).all()
    assert ((swapped < low - 0.15) | (swapped > high + 0.15)).sum() >= 3
    assert not [f for _, f in report.findings]


def test_the_real_recording_is_an_unlabelled_g1_with_inspire_hands(xr: Imported) -> None:
    store, report = xr

    manifest = store.manifest(report.episodes[0][1])

    assert manifest.embodiment == "unitree_g1_inspire"
    assert manifest.instruction == ""
    assert manifest.task == "pick_yellow_bottle"
    assert str(manifest.recorded_at.date()) == "2026-11-23"
    assert any("counts as unlabelled" in text for text in report.assumed)


def test_what_came_of_the_real_folders_verifies(xr: Imported, bridge: Imported) -> None:
    for store, _ in (xr, bridge):
        assert verify(store, deep=True) == []


# ------------------------------------------------------------------------ RLDS


def by_hand(split: str) -> Iterator[dict[str, Any]]:
    """Walk the framing with struct and read each record with the protobuf package."""
    content = (BRIDGE / f"bridge_dataset-{split}.tfrecord-00000-of-00001").read_bytes()
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        read = messages()["Example"].FromString(content[place + 12 : place + 12 + length])
        yield {key: values_of(value) for key, value in read.features.feature.items()}
        place += 16 + length


def test_every_number_and_word_of_the_real_records_is_what_protobuf_reads(bridge: Imported) -> None:
    store, report = bridge
    names = dict(report.episodes)

    assert len(names) == 50
    for split in ("train", "val"):
        records = list(by_hand(split))
        assert len(records) == 25
        for number, record in enumerate(records):
            episode = store.episode(names[f"{split}_{number:06d}"])
            for stream, key, width in (
                ("state", "steps/observation/state", 7),
                ("action", "steps/action", 7),
                ("language_embedding", "steps/language_embedding", 512),
                ("reward", "steps/reward", 1),
                ("is_first", "steps/is_first", 1),
                ("is_last", "steps/is_last", 1),
            ):
                truth = np.array(record[key], episode.streams[stream].values.dtype)
                np.testing.assert_array_equal(
                    episode.streams[stream].values, truth.reshape(-1, width)
                )
            assert episode.manifest.instruction == record["steps/language_instruction"][0].decode()
            metadata = episode.manifest.provenance.parameters["metadata"]
            assert metadata["episode_id"] == record["episode_metadata/episode_id"][0]
            assert [x.value for x in episode.labels if x.of == "instruction"] == [
                episode.manifest.instruction
            ]


def test_every_real_picture_is_kept_byte_for_byte(bridge: Imported) -> None:
    store, report = bridge
    names = dict(report.episodes)

    for number, record in enumerate(by_hand("train")):
        episode_id = names[f"train_{number:06d}"]
        for camera in range(4):
            [video] = store.root.rglob(f"{episode_id}/image_{camera}.mp4")
            assert packets(video) == record[f"steps/observation/image_{camera}"]


def test_the_real_pictures_decode_as_pil_decodes_them(bridge: Imported) -> None:
    store, report = bridge
    record = next(by_hand("train"))
    episode = store.episode(dict(report.episodes)["train_000000"])

    for camera in range(4):
        shown = episode.images(f"image_{camera}", range(10))
        for image, encoded in zip(shown, record[f"steps/observation/image_{camera}"], strict=True):
            truth = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
            assert np.abs(image.astype(int) - truth).mean() < 3.0


def test_what_the_real_dataset_does_not_say_or_says_wrongly_is_told(bridge: Imported) -> None:
    store, report = bridge
    checks = {check: [n for n, f in report.findings if f.check == f"import.{check}"]
              for check in ("camera", "steps", "repeated")}  # fmt: skip

    assert any("5 Hz, as Walke et al. 2023" in text for text in report.assumed)
    # cut to ten steps by its authors: no step is the last; has_image_0 is false beside images
    assert len(checks["steps"]) == 50
    assert len(checks["camera"]) == 50
    assert checks["repeated"] == [f"val_{n:06d}" for n in range(25)]
    splits = [store.manifest(i).provenance.parameters["split"] for _, i in report.episodes]
    assert (splits.count("train"), splits.count("val")) == (25, 25)


def test_the_real_leak_is_told_by_the_import_and_is_one(bridge: Imported) -> None:
    _, report = bridge
    train, val = list(by_hand("train")), list(by_hand("val"))

    [text] = report.contradictions

    assert text.startswith("split val repeats split train: 25 of 25 episodes are the same")
    assert "val_000003 is train_000000" in text
    assert val[3] == train[0]
    assert all(record in train for record in val)


# ------------------------------------------------------------------ duplicates


def test_duplicates_finds_the_25_pairs_and_nothing_else(
    bridge: Imported, capsys: pytest.CaptureFixture[str]
) -> None:
    store, report = bridge
    of = {i: name for name, i in report.episodes}

    code = main(["duplicates", str(store.root), "--format", "json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 1
    pairs = {frozenset((of[pair["a"]], of[pair["b"]])) for pair in result["pairs"]}
    assert len(result["pairs"]) == len(pairs) == 25
    assert {pair["kind"] for pair in result["pairs"]} == {"same"}
    assert all({name.split("_")[0] for name in pair} == {"train", "val"} for pair in pairs)
    assert frozenset(("train_000000", "val_000003")) in pairs


def test_pairs_across_the_splits_of_a_frozen_selection_are_leaks(
    bridge: Imported, capsys: pytest.CaptureFixture[str]
) -> None:
    store, report = bridge
    names = dict(report.episodes)
    store.select("").freeze("halves", split={"train": 0.5, "val": 0.5})
    record = store.selection("halves").record
    split = {item.episode: item.split for item in record.episodes}
    apart = sum(
        split[names[f"val_{n:06d}"]]
        != split[next(names[f"train_{m:06d}"] for m, r in enumerate(train) if r == record_)]
        for train in [list(by_hand("train"))]
        for n, record_ in enumerate(by_hand("val"))
    )

    code = main(["duplicates", str(store.root), "--selection", "halves"])

    text = capsys.readouterr().out
    assert code == 1
    assert 0 < apart < 25
    assert text.splitlines()[-1] == f"{apart} leaks between the splits of halves"
    assert text.count("leak: ") == apart


def test_no_two_real_episodes_of_one_task_are_near_and_the_limit_is_far_below(
    bridge: Imported,
) -> None:
    store, report = bridge
    train = [i for name, i in report.episodes if name.startswith("train")]

    jobs.fingerprint_store(store, train)
    prints = [duplicates.fingerprint(store.episode(i)) for i in train]
    motions = {i: duplicates.motion_of(store.episode(i)) for i in train}

    assert jobs.repeated(store, train) == []
    closest = nearest(prints, motions)
    assert closest > 2.5 * duplicates.LIMIT


@pytest.mark.slow
@pytest.mark.skipif(not G1.is_dir(), reason=f"no {G1}")
def test_20_real_episodes_of_one_task_are_far_beyond_the_limit(
    tmp_path: Path,
) -> None:
    store = demos.open(tmp_path / "store", container="zarr")
    ids = [episode_id for _, episode_id in import_source(G1, store).episodes]

    jobs.fingerprint_store(store, ids)
    prints = [duplicates.fingerprint(store.episode(i)) for i in ids]
    motions = {i: duplicates.motion_of(store.episode(i)) for i in ids}

    assert jobs.repeated(store, ids) == []
    assert nearest(prints, motions) > 3 * duplicates.LIMIT


def nearest(prints: list[duplicates.Fingerprint], motions: dict[str, Any]) -> float:
    """Return how far the two closest episodes are apart, every offset of 0.1 s tried."""
    spread, found = duplicates.spreads(prints), np.inf
    ids = [each.episode for each in prints]
    for n, one in enumerate(ids):
        for other in ids[n + 1 :]:
            a, b = motions[one], motions[other]
            half = 0.5 * min(np.ptp(a.time_s), np.ptp(b.time_s))
            reach = np.arange(half - np.ptp(a.time_s), np.ptp(b.time_s) - half + 1e-9, 0.1)
            pair = duplicates.compared(a, b, spread, (b.time_s[0] - a.time_s[0] + reach).tolist())
            if pair.overlap >= duplicates.OVERLAP:
                found = min(found, pair.distance)
    return float(found)
