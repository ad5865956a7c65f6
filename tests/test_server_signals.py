"""Packed signals: every sample with its own stamp, grouped as people look at them."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.errors import StoreError
from demos.library import Store
from demos.model import Episode, Stream
from demos.server.signals import MAGIC, joint_groups, pack, pads, quantised, thinned
from tests.examples import EXAMPLES, example
from tests.viewer_store import ViewerStore, make


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerStore:
    return make(tmp_path_factory.mktemp("viewer"))


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float64]]]:
    """Decode a pack by its documented layout: header, and per stream (C, T) values."""
    assert content[:8] == MAGIC
    (length,) = struct.unpack_from("<I", content, 8)
    header = json.loads(content[12 : 12 + length])
    base = 12 + length + -(12 + length) % 8
    values = {}
    for name, stream in header["streams"].items():
        shape = len(stream["channels"]), header["clocks"][stream["clock"]]["count"]
        counts = np.frombuffer(content, "<i2", shape[0] * shape[1], base + stream["at"])
        low, scale = (np.array(stream[key])[:, None] for key in ("low", "scale"))
        read = (counts.reshape(shape).astype(np.float64) + 32767) * scale + low
        values[name] = np.where(counts.reshape(shape) == -32768, np.nan, read)
    header["base"] = base
    return header, values


def stamps(content: bytes, header: dict[str, Any], number: int) -> npt.NDArray[np.float64]:
    """Decode one clock to nanoseconds."""
    clock = header["clocks"][number]
    at = header["base"] + clock["at"]
    if clock["encoding"] == "ms_f64":
        return np.asarray(np.frombuffer(content, "<f8", clock["count"], at) * 1e6)
    steps = np.frombuffer(content, "<u4", max(clock["count"] - 1, 0), at).astype(np.float64)
    counted = np.concatenate([[0.0], np.cumsum(steps)])[: clock["count"]]
    return np.asarray(clock["first_ns"] + counted)


def test_every_sample_is_sent_with_its_own_stamp(lab: ViewerStore) -> None:
    episode = Store.open(lab.root).episode(lab.picked)

    content = gzip.decompress(pack(episode))

    header, values = unpacked(content)
    for name, stream in header["streams"].items():
        recorded = episode.streams[name]
        true = recorded.values.astype(np.float64).T
        step = (true.max(axis=1) - true.min(axis=1)) / 65534
        assert np.abs(values[name] - true).max(axis=1) == pytest.approx(0, abs=step.max())
        assert np.array_equal(stamps(content, header, stream["clock"]), recorded.time_ns)
    assert set(header["streams"]) == {
        name
        for name in episode.streams
        if name in ("joint_position", "joint_command")
        or name.startswith(("wrench.", "tactile.", "gripper."))
    }


def test_images_carry_their_stamps_and_their_place_in_the_file(lab: ViewerStore) -> None:
    content = gzip.decompress(pack(Store.open(lab.root).episode(lab.picked)))

    header, _ = unpacked(content)

    camera = header["cameras"]["egocentric"]
    assert np.array_equal(stamps(content, header, camera["clock"]), lab.stamps_ns)
    media = np.frombuffer(content, "<f8", len(lab.stamps_ns), header["base"] + camera["media_at"])
    assert media - media[0] == pytest.approx((lab.stamps_ns - lab.stamps_ns[0]) / 1e9, abs=2e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_packed(name: str) -> None:
    episode = example(name)

    header, values = unpacked(gzip.decompress(pack(episode)))

    assert header["problems"] == {}
    assert set(values) <= set(episode.streams)


def test_disordered_stamps_are_sent_in_order() -> None:
    content = gzip.decompress(pack(example("clock_jumps_back")))

    header, _ = unpacked(content)

    number = header["streams"]["joint_position"]["clock"]
    assert (np.diff(stamps(content, header, number)) > 0).all()


def test_a_stream_that_cannot_be_read_does_not_take_the_others_along() -> None:
    episode = example("clean_pick")

    class Broken(dict[str, Stream]):
        def __getitem__(self, name: str) -> Stream:
            if name == "joint_position":
                raise StoreError("the chunk fails its checksum")
            return super().__getitem__(name)

    broken = Episode(episode.manifest, Broken(episode.streams), {})

    header, values = unpacked(gzip.decompress(pack(broken)))

    assert header["problems"] == {"joint_position": "the chunk fails its checksum"}
    assert "wrench.right_wrist" in values


@given(
    st.lists(
        st.floats(width=32) | st.just(float("nan")) | st.just(float("inf")), min_size=1, max_size=40
    )
)
def test_quantising_keeps_values_within_a_step_and_marks_what_is_not_finite(
    numbers: list[float],
) -> None:
    true = np.array([numbers], np.float64)
    finite = np.isfinite(true)

    counts, low, scale = quantised(true)

    read = (counts.astype(np.float64) + 32767) * scale[0] + low[0]
    assert np.array_equal(counts == -32768, ~finite)
    assert np.abs(read - true)[finite] == pytest.approx(0, abs=scale[0] * 0.51 + 1e-30)


def test_thinning_keeps_the_peak() -> None:
    time_ns = np.arange(10_000, dtype=np.int64) * 1_000_000
    values = np.zeros((2, 10_000))
    values[1, 6_543] = 40.0

    moments, pairs = thinned(time_ns, values, 100)

    assert pairs.shape == (2, 200)
    assert pairs[1].max() == 40.0
    assert abs(int(moments[int(pairs[1].argmax())]) - 6_543_000_000) <= 100_000_000
    assert (np.diff(moments) > 0).all()


def test_a_long_episode_is_thinned_and_says_so() -> None:
    header, values = unpacked(gzip.decompress(pack(example("clean_pick"), most_values=3_000)))

    joints = header["streams"]["joint_position"]
    assert joints["thinned"] == joints["samples"] > values["joint_position"].shape[1]


def test_joints_are_grouped_by_arm_and_hand_without_an_embodiment() -> None:
    names = ["waist_yaw", "kLeftElbow", "kRightElbow", "left_thumb_0", "RightHandIndex", "grip"]

    groups = {group["name"]: group["channels"] for group in joint_groups(names, None)}

    assert groups == {
        "left arm": [1],
        "right arm": [2],
        "left hand": [3],
        "right hand": [4],
        "joints": [5],
        "waist": [0],
    }


def test_joints_of_a_known_body_are_grouped_by_its_effectors() -> None:
    from demos import embodiment

    body = embodiment.load("g1_dex3")

    groups = joint_groups([joint.name for joint in body.joints], body)

    sizes = {group["name"]: len(group["channels"]) for group in groups}
    assert [sizes[name] for name in ("left arm", "right arm", "left hand", "right hand")] == [7] * 4


def test_taxels_are_laid_out_by_their_names() -> None:
    names = [f"thumb.{c}.r{r}c{k}" for c in ("normal", "shear_u") for r in (0, 1) for k in (0, 1)]

    found = pads(names)

    assert found == [
        {"name": "thumb", "rows": 2, "columns": 2, "normal": [0, 1, 2, 3], "shear_u": [4, 5, 6, 7]}
    ]


def test_taxels_with_other_names_are_laid_out_in_order_and_say_so() -> None:
    (found,) = pads(["a", "b", "c", "d", "e"])

    assert found["assumed"]
    assert [cell for cell in found["normal"] if cell >= 0] == [0, 1, 2, 3, 4]
