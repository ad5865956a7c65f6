"""Episodes as MCAP: read by the `mcap` package and rosbags, and back through our importer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

import demos
from demos import model
from demos.exporters import Choices, Chosen, ExportFailed, export
from demos.model import Event, Stream
from demos.store import EpisodeStore
from tests import export_store
from tests.examples import example
from tests.mcap_exports import back, episode_with, left_out, out, same, sent, stream, told

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("mcap") / "lab")


def test_joints_are_joint_states_with_the_episodes_stamps(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(e for e in lab if e.cameras)
    position = episode.streams["joint_position"]
    recorded = episode.manifest.recorded_at
    start_ns = int(recorded.timestamp()) * SECOND + recorded.microsecond * 1000

    path = out(episode, tmp_path)

    found = sent(path, "/joint_states")
    assert len(found) == len(position) == 500
    for row in (0, 1, 499):
        log_ns, publish_ns, message = found[row]
        stamp_ns = message.header.stamp.sec * SECOND + message.header.stamp.nanosec
        assert stamp_ns == log_ns == publish_ns == start_ns + position.time_ns[row]
        assert tuple(message.name) == position.channels
        np.testing.assert_array_equal(message.position, position.values[row].astype(np.float64))
        velocity = episode.streams["joint_velocity"].values[row]
        np.testing.assert_array_equal(message.velocity, velocity.astype(np.float64))
        assert len(message.effort) == 0
    command = sent(path, "/joint_command")[7][2]
    np.testing.assert_array_equal(
        command.position, episode.streams["joint_command"].values[7].astype(np.float64)
    )


def test_forces_poses_and_touch_have_their_usual_types(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(e for e in lab if e.cameras)

    path = out(episode, tmp_path)

    [_, _, wrench] = sent(path, "/wrench/right_wrist")[3]
    told_wrench = episode.streams["wrench.right_wrist"].values[3].tolist()
    force, torque = wrench.wrench.force, wrench.wrench.torque
    assert [force.x, force.y, force.z, torque.x, torque.y, torque.z] == told_wrench
    assert wrench.header.frame_id == "right_wrist_ft"
    [_, _, pose] = sent(path, "/pose/right_wrist")[3]
    place, turn = pose.pose.position, pose.pose.orientation
    expected = episode.streams["pose.right_wrist"].values[3].tolist()
    assert [place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w] == expected
    [_, _, touch] = sent(path, "/tactile/right_hand")[3]
    assert touch.layout.dim[0].label.split(",")[0] == "thumb.normal.r0c0"
    assert touch.layout.dim[0].size == 144
    np.testing.assert_array_equal(touch.data, episode.streams["tactile.right_hand"].values[3])


def test_rosbags_reads_the_file_as_a_bag(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(e for e in lab if e.cameras)
    path = out(episode, tmp_path)

    with Reader(path) as bag:
        counts = {c.topic: c.msgcount for c in bag.connections}

    assert counts["/wrench/right_wrist"] == 1000
    assert counts["/camera/egocentric/compressed_video"] == len(episode.cameras["egocentric"])


def test_the_episode_is_told_in_metadata_and_attachments(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(e for e in lab if e.cameras and e.outcome == "success")

    facts, attached = told(out(episode, tmp_path))

    assert facts["episode"] == episode.id
    assert (facts["task"], facts["outcome"]) == ("pick_place", "success")
    assert json.loads(attached["manifest.json"])["id"] == episode.id
    assert json.loads(attached["session.json"])["operator"] == "op-1"


def test_phases_are_words_over_time(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(e for e in lab if e.cameras)

    path = out(episode, tmp_path)

    task = sent(path, "/phases/task")
    start_ns = int(told(path)[0]["start_ns"])
    assert [(log - start_ns, m.data) for log, _, m in task] == [
        (0, "reach"),
        (SECOND, "grasp"),
        (2 * SECOND, ""),
    ]
    assert len(sent(path, "/demos/labels")) == len(episode.labels)


def test_a_whole_episode_comes_back_exactly(lab: demos.Store, tmp_path: Path) -> None:
    for number, episode in enumerate(lab):
        folder = tmp_path / str(number)
        again = back(out(episode, folder), folder)

        same(episode.streams, again.streams)
        assert set(again.cameras) == set(episode.cameras)
        for name, camera in episode.cameras.items():
            np.testing.assert_array_equal(again.cameras[name].time_ns, camera.time_ns)
            every = range(len(camera))
            np.testing.assert_array_equal(again.images(name, every), episode.images(name, every))
            assert again.cameras[name].info == camera.info
        assert [label.model_copy(update={"episode": episode.id}) for label in again.labels] == list(
            episode.labels
        )
        kept = {"id", "files", "provenance", "streams", "cameras"}
        assert again.manifest.model_dump(exclude=kept) == episode.manifest.model_dump(exclude=kept)
        store = EpisodeStore.open(folder / "back")
        assert store.session(again.manifest.session) == lab.session(episode.manifest.session)


NASTY = ("all_fields", "empty", "one_sample", "clock_jumps_back", "nan_wrench", "state_only")


@pytest.mark.parametrize("name", NASTY)
def test_every_nasty_example_comes_back_exactly(name: str, tmp_path: Path) -> None:
    episode = example(name)
    streams_alone = model.Episode(episode.manifest, episode.streams, {}, episode.labels)

    again = back(out(streams_alone, tmp_path), tmp_path)

    same(episode.streams, again.streams)
    assert again.manifest.events == episode.manifest.events
    for key in ("instruction", "factors", "declared_start", "trial_index", "recorded_at"):
        assert getattr(again.manifest, key) == getattr(episode.manifest, key)


def odd_streams() -> dict[str, Stream]:
    """Dtypes, widths, clocks and names that no ROS message has."""
    rng = np.random.default_rng(0)
    kinds = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
             "float16", "float32", "float64")  # fmt: skip
    made = {
        f"kind.{kind}": stream(rng.integers(0, 2, (5, 3)).astype(kind), [9, 3, 3, 7, 8])
        for kind in kinds
    }
    made["kind.int64"] = stream(np.array([[2**63 - 1], [-(2**63)]]))
    made["joint_position"] = stream(np.array([[1.0, np.nan], [np.inf, -0.0]]), channels=("a", "b"))
    made["joint_velocity"] = stream(np.full((2, 2), np.nan), channels=("a", "b"))
    made["joint_effort"] = stream(np.zeros((3, 2), np.float32), channels=("a", "b"))
    made["joint_command"] = stream(np.zeros((2, 2)), channels=("a", "a"))
    made["gripper.left"] = stream(np.array([[1], [2]]), channels=("g",))
    made["wrench.x"] = stream(
        np.zeros((2, 6)),
        [5, 6],
        ("fx", "fy", "fz", "tx", "ty", "tz"),
        source_time_ns=[-7, 2**62],
        arrival_ns=[20, 10],
        reference_frame="größe",
    )
    imu = ("qx", "qy", "qz", "qw", "wx", "wy", "wz", "ax", "ay", "az")
    made["imu.pelvis"] = stream(rng.normal(size=(2, 10)), channels=imu)
    made["twist.base"] = stream(
        rng.normal(size=(2, 6)).astype(np.float32), channels=("vx", "vy", "vz", "wx", "wy", "wz")
    )
    made["depth.head"] = stream(
        rng.integers(0, 2**16, (3, 4, 5)).astype(np.uint16), channels=("depth",), shape=(4, 5)
    )
    made["tactile.pad"] = stream(
        rng.normal(size=(3, 2, 2, 2)), channels=("normal",), shape=(2, 2, 2)
    )
    made["empty"] = stream(np.zeros((0, 2)))
    made["empty.depth"] = stream(np.zeros((0, 4, 5), np.uint16), channels=("d",), shape=(4, 5))
    made["a/b c.ü"] = stream(np.ones((1, 1)))
    made["a_b_c__"] = stream(np.ones((1, 1)) * 2)
    return made


def test_odd_streams_come_back_exactly(tmp_path: Path) -> None:
    streams = odd_streams()
    manifest = example("no_streams").manifest
    episode = model.Episode(manifest, streams, {})

    again = back(out(episode, tmp_path), tmp_path)

    same(streams, again.streams)


def test_events_and_labels_come_back(tmp_path: Path) -> None:
    event = Event(name="e_stop", time_ns=5, values={"by": "op"})
    episode = episode_with(tmp_path, {"x": stream(np.ones((2, 1)))}, events=(event,))

    path = out(episode, tmp_path)
    again = back(path, tmp_path)

    assert again.manifest.events == (event,)
    assert again.labels[0].value == "success"
    [(_, _, message)] = sent(path, "/events")
    assert json.loads(message.data)["name"] == "e_stop"


def test_only_the_streams_that_are_asked_for_go_out(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(e for e in lab if e.cameras)
    chosen = [Chosen(episode.manifest, lambda: episode)]
    wanted = Choices(streams=("wrench.right_wrist", "image.egocentric"))

    report = export(chosen, tmp_path / "out", "mcap", wanted)

    again = back(tmp_path / "out" / report.written[0].names[0], tmp_path)
    assert set(again.streams) == {"wrench.right_wrist"}
    assert set(again.cameras) == {"egocentric"}


def test_an_unknown_stream_is_answered_with_the_closest(lab: demos.Store, tmp_path: Path) -> None:
    episode = next(iter(lab))
    chosen = [Chosen(episode.manifest, lambda: episode)]

    with pytest.raises(ExportFailed, match="no stream called 'joint_positio'") as caught:
        export(chosen, tmp_path / "out", "mcap", Choices(streams=("joint_positio",)))

    assert "joint_position" in caught.value.hint


def test_stamps_that_ros_cannot_say_are_left_out(tmp_path: Path) -> None:
    episode = example("clean_pick")
    early = model.Episode(
        episode.manifest, {"x": stream(np.ones((1, 1)), [-4_000_000_000 * SECOND])}, {}
    )

    assert "before 1970" in left_out(early, tmp_path)
