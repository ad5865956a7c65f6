"""Bags of ROS 1 and ROS 2, written by rosbags as recorders lay them out, come in by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos import embodiment
from demos.errors import ImportFailed
from demos.importers import Found, Options, Refused, importers
from demos.model import Draft
from tests.ros_bags import MS, STORAGES, Sent, items, maker, read, write

NAN = np.nan


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assumed(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.assumed)


def missing(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.missing)


def test_joints_are_connected_by_name_in_every_message(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    sent: list[Sent] = [
        ("/joint_states", 0, make.joints(0, ["a", "b"], [1, 2])),
        ("/joint_states", 10, make.joints(10, ["b", "a"], [20, 10])),
        ("/joint_states", 20, make.joints(20, ["c", "a", "b"], [300, 100, 200])),
    ]

    draft = read(write(tmp_path, storage, sent))

    [stream] = draft.streams.values()
    assert stream.channels == ("a", "b", "c")
    np.testing.assert_array_equal(stream.values, [[1, 2, NAN], [10, 20, NAN], [100, 200, 300]])
    assert stream.time_ns.tolist() == [0, 10 * MS, 20 * MS]
    [finding] = draft.findings
    assert "c is not in 2 of the 3 messages" in finding.message


def test_each_of_position_velocity_and_effort_may_be_empty(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    sent: list[Sent] = [
        ("/joint_states", 0, make.joints(0, ["a"], [1], [0.1])),
        ("/joint_states", 10, make.joints(10, ["a"], [2])),
    ]

    streams = read(write(tmp_path, storage, sent)).streams

    assert set(streams) == {"joint_position", "joint_velocity"}
    np.testing.assert_array_equal(streams["joint_position"].values, [[1], [2]])
    np.testing.assert_array_equal(streams["joint_velocity"].values, [[0.1], [NAN]])
    assert streams["joint_velocity"].units == ("rad/s or m/s",)


def test_two_publishers_of_one_topic_keep_their_own_clocks(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    sent: list[Sent] = []
    for n in range(4):
        sent.append(("/joint_states", 10 * n, make.joints(10 * n, ["a", "b"], [n, -n])))
        if n % 2 == 0:
            sent.append(("/joint_states", 10 * n + 1, make.joints(10 * n + 1, ["finger"], [n])))

    streams = read(write(tmp_path, storage, sent)).streams

    assert {name: s.channels for name, s in streams.items()} == {
        "joint_position": ("a", "b"),
        "joint_position.finger": ("finger",),
    }
    assert streams["joint_position.finger"].time_ns.tolist() == [1 * MS, 21 * MS]


def test_a_message_that_contradicts_itself_is_left_out_and_counted(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        ("/joint_states", 0, make.joints(0, ["a", "b"], [1, 2])),
        ("/joint_states", 1, make.joints(1, ["a", "b"], [1, 2, 3])),
        ("/joint_states", 2, make.joints(2, ["a", "a"], [1, 2])),
    ]

    draft = read(write(tmp_path, "mcap", sent))

    assert draft.streams["joint_position"].values.tolist() == [[1, 2]]
    assert "2 messages of /joint_states contradict themselves" in draft.findings[0].message


def test_state_and_command_are_told_apart_by_the_topics_name(tmp_path: Path) -> None:
    make = maker("mcap")
    topics = ("/joint_states", "/joint_command", "/leader/joint_states")
    sent: list[Sent] = [(t, n, make.joints(n, ["a"], [n], [n])) for n, t in enumerate(topics)]

    draft = read(write(tmp_path, "mcap", sent))

    assert set(draft.streams) == {
        "joint_position",
        "joint_velocity",
        "joint_command",
        "joint_command.velocity",
        "joint_command.leader",
        "joint_command.velocity.leader",
    }
    assert "/joint_states: joint states, by the topic's name" in assumed(draft)
    assert "/leader/joint_states: joint commands, by the topic's name" in assumed(draft)


def test_a_known_body_gives_names_order_and_units(tmp_path: Path) -> None:
    make = maker("mcap")
    names = ["right_elbow_joint", "left_hand_ring", "left_elbow_joint"]
    sent: list[Sent] = [
        ("/joint_states", n, make.joints(n, names, [1, 0.5, -1], [0.1, 0.2, 0.3], [4, 5, 6]))
        for n in range(3)
    ]
    body = embodiment.load("unitree_g1_inspire")

    draft = read(write(tmp_path, "mcap", sent), embodiment=body)

    streams = draft.streams
    assert streams["joint_position"].channels == ("left_elbow_joint", "right_elbow_joint")
    assert streams["joint_position"].values[0].tolist() == [-1, 1]
    assert streams["gripper.left_hand"].values[0].tolist() == [0.5]
    assert streams["joint_velocity"].values[0].tolist() == [0.3, 0.1, 0.2]
    assert streams["joint_velocity"].units == ("rad/s", "rad/s", "norm01/s")
    assert streams["joint_effort"].units == ("N·m", "N·m", "unknown")
    assert streams["joint_position"].arrival_ns is None


def test_a_joint_that_a_named_body_does_not_know_is_refused_with_the_closest(
    tmp_path: Path,
) -> None:
    make = maker("mcap")
    path = write(tmp_path, "mcap", [("/joint_states", 0, make.joints(0, ["left_elbo"], [1]))])
    body = embodiment.load("unitree_g1_inspire")

    [refused] = items(path, embodiment=body)
    kept = read(path, embodiment=body, accept_mapping=True)

    assert isinstance(refused, Refused)
    assert "left_elbo" in refused.reason
    assert "left_elbow" in refused.hint
    assert kept.streams["joint_states"].channels == ("left_elbo",)


def test_the_robot_describes_itself(tmp_path: Path) -> None:
    make = maker("mcap")
    urdf = "<?xml version='1.0'?><robot name='g1_dex3'><link name='pelvis'/></robot>"
    sent: list[Sent] = [
        ("/robot_description", 0, make.plain("String", urdf)),
        ("/joint_states", 1, make.joints(1, ["waist_yaw_joint"], [0.1])),
    ]

    draft = read(write(tmp_path, "mcap", sent))

    assert draft.session.embodiment == "g1_dex3"
    assert draft.events == ()
    assert "only the robot's name" in missing(draft)


def test_a_wrench_says_its_place_and_reference_frame(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    sent: list[Sent] = [
        ("/left_wrist/wrench", 0, make.wrench(0, "left_wrist_ft", 1, 2, 3, 4, 5, 6)),
        ("/ft_sensor_2/wrench", 0, make.wrench(0, "right_wrist_ft_link", 6, 5, 4, 3, 2, 1)),
    ]

    draft = read(write(tmp_path, storage, sent))

    left, right = (draft.streams[f"wrench.{side}_wrist"] for side in ("left", "right"))
    assert left.values.tolist() == [[1, 2, 3, 4, 5, 6]]
    assert left.units == ("N", "N", "N", "N·m", "N·m", "N·m")
    assert (left.info.reference_frame, right.info.reference_frame) == (
        "left_wrist_ft",
        "right_wrist_ft_link",
    )
    assert "a wrench on the robot in left_wrist_ft" in assumed(draft)


def test_poses_transforms_and_twists_say_of_what_in_what(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    still = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    cup = ("world", "cup", (1.0, 2.0, 3.0, 0.0, 0.0, 0.6, 0.8))
    sent: list[Sent] = [
        ("/left_hand/pose", 0, make.pose(0, "pelvis", 1, 2, 3, 0, 0, 0.6, 0.8)),
        ("/tf_static", 0, make.transforms(0, ("head", "camera", still))),
        ("/tf", 5, make.transforms(5, cup, ("cup", "handle", still))),
        ("/tf", 15, make.transforms(15, cup)),
    ]

    draft = read(write(tmp_path, storage, sent))

    assert {name: len(stream) for name, stream in draft.streams.items()} == {
        "pose.left_hand": 1,
        "pose.cup": 2,
        "pose.handle": 1,
    }
    info = draft.streams["pose.cup"].info
    assert (info.reference_frame, info.of_frame) == ("world", "cup")
    assert draft.streams["pose.left_hand"].values.tolist() == [[1, 2, 3, 0, 0, 0.6, 0.8]]
    [event] = draft.events
    assert (event.name, event.time_ns) == ("static_transform", 0)
    assert (event.values["parent"], event.values["child"]) == ("head", "camera")
    assert event.values["quaternion_xyzw"] == [0.0, 0.0, 0.0, 1.0]


def test_an_imu_without_orientation_has_none(tmp_path: Path) -> None:
    make = maker("db3")
    sent: list[Sent] = [
        ("/pelvis/imu", 0, make.imu(0, "imu_link")),
        ("/torso/imu", 0, make.imu(0, "imu_link", oriented=False)),
    ]

    streams = read(write(tmp_path, "db3", sent)).streams

    assert streams["imu.pelvis"].values.tolist() == [[0, 0, 0.6, 0.8, 0.1, 0.2, 0.3, 0, 0, 9.81]]
    assert streams["imu.torso"].channels == ("wx", "wy", "wz", "ax", "ay", "az")
    assert streams["imu.torso"].units[-1] == "m/s²"


def test_arrays_and_scalars_are_plain_streams_in_their_own_dtype(
    storage: str, tmp_path: Path
) -> None:
    make = maker(storage)
    sent: list[Sent] = [
        (
            "/hand/commands",
            0,
            make.array("Float32", np.array([0.1, 0.2], np.float32), "thumb,index"),
        ),
        ("/counts", 0, make.array("Int64", np.array([2**60 + 1, 5], np.int64))),
        ("/battery", 0, make.plain("Float64", 48.5)),
        ("/counts", 1, make.array("Int64", np.array([7, 8], np.int64))),
        ("/counts", 2, make.array("Int64", np.array([7, 8, 9], np.int64))),
    ]

    draft = read(write(tmp_path, storage, sent))

    hand, counts = draft.streams["hand_commands"], draft.streams["counts"]
    assert hand.channels == ("thumb", "index")
    assert hand.values.dtype == np.float32
    assert counts.values.tolist() == [[2**60 + 1, 5], [7, 8]]
    assert "/counts: 1 messages of another length" in missing(draft)
    assert draft.streams["battery"].values.tolist() == [[48.5]]


def test_words_are_events_where_they_change(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    told = (True, True, False)
    sent: list[Sent] = [("/estop", 10 * n, make.plain("Bool", x)) for n, x in enumerate(told)]
    sent += [("/mode", 5, make.plain("String", "teleop"))]
    sent += [("/battery", 0, make.plain("Float32", 1.0))]

    draft = read(write(tmp_path, storage, sent))

    said = [(e.time_ns // MS, e.name, e.values["value"]) for e in draft.events]
    assert sorted(said) == [(0, "estop", True), (5, "mode", "teleop"), (20, "estop", False)]
    assert "/estop: an event wherever it changes" in assumed(draft)


def test_a_bag_that_teaches_nothing_is_refused_by_name(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    path = write(tmp_path, storage, [("/chatter", 0, make.plain("String", "hello"))])

    [refused] = items(path)

    assert isinstance(refused, Refused)
    assert "nothing that a robot would learn from" in refused.reason
    assert "/chatter (std_msgs/msg/String, 1 messages: words alone)" in refused.reason
    assert refused.hint


def test_an_unknown_type_is_counted_and_the_rest_goes_in(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    color = make.types.make("std_msgs/msg/ColorRGBA", 0.1, 0.2, 0.3, 1.0)
    sent: list[Sent] = [("/led", n, color) for n in range(3)]
    sent.append(("/joint_states", 0, make.joints(0, ["a"], [1])))

    draft = read(write(tmp_path, storage, sent))

    assert set(draft.streams) == {"joint_position"}
    assert "/led (std_msgs/msg/ColorRGBA): 3 messages, a type that is not read" in missing(draft)


def test_the_first_file_of_a_bag_is_claimed_by_one_importer(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    path = write(tmp_path, storage, [("/battery", 0, make.plain("Float32", 1.0))])
    file = path if path.is_file() else next(path.glob("take.*"))
    expected = ["mcap"] if storage == "mcap" else ["rosbag"]

    for place in (path, file):
        assert [name for name in importers if importers[name]().sniff(place)] == expected
        assert set(read(place).streams) == {"battery"}


def test_a_file_that_is_a_pointer_is_refused_as_one(storage: str, tmp_path: Path) -> None:
    path = tmp_path / f"take.{storage}"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")

    [refused] = items(path)

    assert isinstance(refused, Refused)
    assert "Git LFS pointer" in refused.reason


def test_what_the_person_says_about_a_bag_holds(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    path = write(tmp_path, storage, [("/joint_states", 0, make.joints(0, ["a", "b"], [1, 2]))])
    said: dict[str, Any] = {"task": "wave", "operator": "op-1", "ignore": ("b",)}

    draft = read(path, factors={"object": "cup"}, **said)

    assert (draft.facts.task, draft.session.operator) == ("wave", "op-1")
    assert draft.facts.factors == {"object": "cup"}
    assert draft.streams["joint_position"].channels == ("a",)
    assert draft.facts.provenance.parameters["ignored"] == ["b"]


def test_a_folder_without_its_database_is_refused(tmp_path: Path) -> None:
    make = maker("db3")
    path = write(tmp_path, "db3", [("/battery", 0, make.plain("Float32", 1.0))])
    (path / "take.db3").unlink()

    [refused] = items(path)

    assert isinstance(refused, Refused)
    assert "take.db3 is not there" in refused.reason


def test_a_ros1_bag_without_an_index_says_how_to_mend_it(tmp_path: Path) -> None:
    make = maker("bag")
    path = write(tmp_path, "bag", [("/battery", 0, make.plain("Float32", 1.0))])
    content = path.read_bytes()
    place = content.index(b"index_pos=") + len(b"index_pos=")
    path.write_bytes(content[:place] + bytes(8) + content[place + 8 :])

    [refused] = items(path)

    assert isinstance(refused, Refused)
    assert "not indexed" in refused.reason
    assert "rosbag reindex" in refused.hint


def test_a_bag_that_is_named_but_is_none_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "take.bag").write_bytes(b"?" * 100)

    for name in ("mcap", "rosbag"):
        with pytest.raises(ImportFailed) as caught:
            list(importers[name]().episodes(tmp_path / "take.bag", Options()))
        assert caught.value.hint


def test_found_says_how_many_there_are(tmp_path: Path) -> None:
    make = maker("mcap")
    path = write(tmp_path, "mcap", [("/battery", 0, make.plain("Float32", 1.0))])

    [found] = items(path)

    assert isinstance(found, Found)
    assert (found.name, found.of) == ("take", 1)
