"""Real bags come in with the values that rosbags reads, or are refused with a reason.

`DEMOS_REAL_DATA` names their folder; by default it is `../shared/data` beside the checkout.
Skipped where they are not at hand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

import demos
from demos.errors import DemosError, ImportFailed
from demos.importers import ImportReport, import_source
from demos.store import EpisodeStore, verify

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared/data"
)
PLOTJUGGLER = DATA / "ros_bags_plotjuggler/datasamples"
ROSBAG2 = DATA / "ros2_rosbag2_testbags"

pytestmark = pytest.mark.skipif(not PLOTJUGGLER.is_dir(), reason=f"no real bags in {PLOTJUGGLER}")


def put(source: Path, folder: Path) -> tuple[demos.Store, ImportReport]:
    store = demos.open(folder / "store", container="zarr")
    report = import_source(source, store)
    store.refresh()
    return store, report


def read(path: Path, topic: str) -> list[tuple[int, Any]]:
    """Read a topic with rosbags: when each message was recorded, and the message."""
    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_FOXY)) as bag:
        chosen = [c for c in bag.connections if c.topic == topic]
        return [(at, bag.deserialize(raw, c.msgtype)) for c, at, raw in bag.messages(chosen)]


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def test_the_joints_of_the_real_ros1_bag_are_what_rosbags_reads(tmp_path: Path) -> None:
    source = PLOTJUGGLER / "fake_joint_state.bag"
    truth = read(source, "/fake_joints_state")

    store, report = put(source, tmp_path)

    [(name, episode_id)] = report.episodes
    assert name == "fake_joint_state"
    episode = store[episode_id]
    stamps = np.array([stamp_ns(message) for _, message in truth])
    logged = np.array([at for at, _ in truth])
    assert len(truth) == 2725
    assert set(episode.streams) == {"joint_position", "joint_velocity", "joint_effort"}
    for field in ("position", "velocity", "effort"):
        stream = episode.streams[f"joint_{field}"]
        assert stream.channels == tuple(truth[0][1].name)
        assert stream.values.dtype == np.float64
        np.testing.assert_array_equal(stream.values, [getattr(m, field) for _, m in truth])
        np.testing.assert_array_equal(stream.time_ns, stamps - stamps.min())
        assert stream.arrival_ns is not None
        np.testing.assert_array_equal(stream.arrival_ns, logged - stamps.min())
    assert episode.manifest.provenance.parameters["start_ns"] == stamps.min()
    late_ms = np.median(logged - stamps) / 1e6
    assert any(f"{late_ms:.3g} ms later" in text for text in report.assumed)
    assert verify(store, deep=True) == []


@pytest.mark.parametrize("place", ["rosbag2_test", "rosbag2_test/rosbag2_test_0.db3"])
def test_the_real_db3_without_definitions_goes_in(place: str, tmp_path: Path) -> None:
    source = PLOTJUGGLER / place
    imu, pose = read(source, "/imu"), read(source, "/pose")

    store, report = put(source, tmp_path)

    streams = store[report.episodes[0][1]].streams
    turn = [[getattr(m.orientation, key) for key in "xyzw"] for _, m in imu]
    spin = [[getattr(m.angular_velocity, key) for key in "xyz"] for _, m in imu]
    pull = [[getattr(m.linear_acceleration, key) for key in "xyz"] for _, m in imu]
    expected = np.concatenate([turn, spin, pull], axis=1)
    np.testing.assert_array_equal(streams["imu.hello_world"].values, expected)
    where = [[getattr(m.pose.position, key) for key in "xyz"] for _, m in pose]
    np.testing.assert_array_equal(streams["pose"].values[:, :3], where)
    assert len(imu) == len(pose) == 1565
    assert any("the bag defines none, those of ROS 2 Foxy" in text for text in report.assumed)
    assert any("/battery (sensor_msgs/msg/BatteryState): 1565" in text for text in report.missing)


def test_the_messy_real_ros1_bag_goes_in_as_far_as_it_is_read(tmp_path: Path) -> None:
    source = PLOTJUGGLER / "example.bag"
    truth = read(source, "/turtle1/cmd_vel")
    moves = [m.transforms[0] for _, m in read(source, "/tf")]
    turtle = [m.transform.translation.x for m in moves if m.child_frame_id == "turtle1"]

    store, report = put(source, tmp_path)

    episode = store[report.episodes[0][1]]
    assert set(episode.streams) == {
        "pose.turtle1",
        "pose.turtle2",
        "twist_command.turtle1",
        "twist_command.turtle2",
    }
    twist = episode.streams["twist_command.turtle1"].values
    np.testing.assert_array_equal(twist[:, 0], [m.linear.x for _, m in truth])
    np.testing.assert_array_equal(episode.streams["pose.turtle1"].values[:, 0], turtle)
    assert [event.name for event in episode.manifest.events] == ["static_transform"]
    unread = "/turtle1/color_sensor (turtlesim/msg/Color): 1351 messages, a type that is not read"
    assert any(unread in text for text in report.missing)


def bags() -> list[Path]:
    found = [*ROSBAG2.rglob("*.mcap"), *ROSBAG2.rglob("*.db3")]
    found += [path.parent for path in ROSBAG2.rglob("metadata.yaml")]
    return sorted(found)


@pytest.mark.parametrize("source", bags(), ids=lambda path: path.name)
def test_bags_of_words_are_refused_by_name(source: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    with pytest.raises(ImportFailed, match="nothing that a robot would learn from") as caught:
        import_source(source, store)

    assert "/msg/" in str(caught.value)
    assert caught.value.hint
    assert store.episode_ids() == []


def test_no_real_bag_causes_anything_but_our_error(tmp_path: Path) -> None:
    places = [p for root in (PLOTJUGGLER, ROSBAG2) for p in (root, *root.rglob("*"))]
    hints = []

    for number, place in enumerate(places):
        try:
            put(place, tmp_path / str(number))
        except DemosError as error:
            hints.append(error.hint)

    assert len(places) > 20
    assert all(hints)
