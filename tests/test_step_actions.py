"""What an action says in each of its five ways, by arithmetic, by SciPy and by MuJoCo itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from demos import embodiment
from demos._content import content
from demos.alignment.actions import rotation_matrices, rotation_vectors
from demos.alignment.offers import Wanted
from demos.alignment.schemas import Survey, survey
from demos.alignment.tables import tables_of
from demos.exporters import Chosen
from demos.model import Episode, Stream
from tests.scripted import episode_of
from tests.table_store import clock, joints, stream, waves

MS = 1_000_000
POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
UNITS = ("m", "m", "m", "1", "1", "1", "1")


def surveyed(one: Episode, **wanted: Any) -> Survey:
    return survey([Chosen(one.manifest, lambda: one)], Wanted(**wanted))


def action(one: Episode, kind: str, **wanted: Any) -> tuple[np.ndarray, tuple[str, ...], Survey]:
    found = surveyed(one, action=kind, **wanted)
    assert found.schema is not None, found.refused
    [only] = tables_of(one, found.schema)
    return only.columns["action"], found.schema.column("action").channels, found


def ramp(more: Mapping[str, Stream] | None = None) -> Episode:
    """Return ten samples a second: state n at sample n, command 10 n."""
    time_ns = clock(10.0, 1.0)
    values = np.arange(10.0)[:, None]
    streams = {
        "joint_position": stream(time_ns, values, ("a",), rate_hz=10.0),
        "joint_command": stream(time_ns, 10 * values, ("a",), rate_hz=10.0),
    }
    return episode_of("ramp", streams | dict(more or {}))


def poses(seconds: float = 2.0, seed: int = 0, rate_hz: float = 50.0) -> tuple[Stream, np.ndarray]:
    """Return a pose that moves and turns, and its values."""
    time_ns = clock(rate_hz, seconds)
    place = waves(time_ns, 3, seed)
    turn = Rotation.from_rotvec(2.0 * waves(time_ns, 3, seed + 7)).as_quat()
    values = np.concatenate([place, turn], axis=1)
    return stream(time_ns, values, POSE, UNITS, rate_hz=rate_hz, reference_frame="world"), values


def test_target_joints_are_the_commands() -> None:
    values, channels, _ = action(ramp(), "joint", rate_hz=10.0)

    assert channels == ("a",)
    assert values[:, 0].tolist() == [10.0 * n for n in range(10)]


def test_without_commands_the_next_state_stands_in_and_says_so() -> None:
    one = ramp()
    only_state = episode_of("state", {"joint_position": one.streams["joint_position"]})

    values, _, found = action(only_state, "joint", rate_hz=10.0)
    changes, _, _ = action(only_state, "joint_delta", rate_hz=10.0)

    assert values[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert changes[:, 0].tolist() == [1] * 9 + [0]
    assert "no command was recorded" in found.notes[only_state.id][0]


def test_a_change_of_joints_counts_from_one_step_before() -> None:
    values, _, _ = action(ramp(), "joint_delta", rate_hz=5.0)

    # at 0, 0.2, 0.4, ... s; before the first command there is none, so nothing changes
    assert values[:, 0].tolist() == [0, 20, 20, 20, 20]


def test_changes_added_up_are_the_targets() -> None:
    one = episode_of("waves", joints())

    targets, _, _ = action(one, "joint", rate_hz=20.0)
    changes, _, _ = action(one, "joint_delta", rate_hz=20.0)

    np.testing.assert_allclose(targets[0] + np.cumsum(changes[1:], axis=0), targets[1:], atol=1e-5)


def test_end_effectors_of_a_body_with_a_model_are_where_mujoco_puts_them() -> None:
    import mujoco

    body = embodiment.load("g1_dex3")
    names = [joint.name for joint in body.joints]
    time_ns = clock(50.0, 0.4)
    command = 0.2 * waves(time_ns, len(names), 3)
    streams = {
        name: stream(time_ns, command, names, rate_hz=50.0)
        for name in ("joint_position", "joint_command")
    }
    one = episode_of("g1", streams, embodiment="g1_dex3")

    values, channels, found = action(one, "end_effector", rate_hz=10.0)

    fingers = len(body.effectors[0].hand)
    assert channels[:7] == tuple(f"left_hand.{axis}" for axis in POSE)
    assert channels[7 : 7 + fingers] == body.effectors[0].hand
    assert len(channels) == 2 * (7 + fingers)
    assert "forward kinematics" in found.notes[one.id][0]
    model = mujoco.MjModel.from_xml_path(str(content("sim") / "g1_dex3/body.xml"))
    data = mujoco.MjData(model)
    for row, moment in enumerate(range(0, 20, 5)):
        for name, angle in zip(names, command[moment], strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(model, data)
        site = data.site("right_grasp")
        pose = values[row, 7 + fingers : 14 + fingers]
        np.testing.assert_allclose(pose[:3], site.xpos, atol=1e-6)
        turned = Rotation.from_quat(pose[3:]).as_matrix().ravel()
        np.testing.assert_allclose(turned, site.xmat, atol=1e-6)
        np.testing.assert_array_equal(values[row, 7 : 7 + fingers], command[moment, 10:17])


def test_arms_without_a_model_of_their_own_borrow_one() -> None:
    body = embodiment.load("unitree_g1_inspire")
    info = body.streams["joint_position"]
    time_ns = clock(30.0, 0.5)
    arms = stream(time_ns, 0.1 * waves(time_ns, 14), info.channels, rate_hz=30.0)
    grip = stream(time_ns, waves(time_ns, 6), body.effectors[1].hand, "norm01", rate_hz=30.0)
    streams = {"joint_position": arms, "joint_command": arms, "gripper_command.right_hand": grip}
    one = episode_of("inspire", streams, embodiment="unitree_g1_inspire")

    _, channels, _ = action(one, "rotation_6d", rate_hz=10.0)

    assert channels[0] == "left_hand.x"
    assert channels[9:] == (
        *(f"right_hand.{name}" for name in ("x", "y", "z")),
        *(f"right_hand.r{row}{column}" for column in (1, 2) for row in (1, 2, 3)),
        *body.effectors[1].hand,
    )


def test_the_operators_poses_are_targets_held_until_the_next() -> None:
    told, values = poses()
    one = ramp({"teleop.right_wrist": told})

    found, channels, survey_ = action(one, "end_effector", rate_hz=10.0)

    assert channels == tuple(f"right_hand.{axis}" for axis in POSE)
    np.testing.assert_allclose(found, values[[0, 5, 10, 15, 20, 25, 30, 35, 40, 45]], atol=1e-6)
    assert "the operator's own, teleop.right_wrist" in survey_.notes[one.id][0]
    assert survey_.schema is not None
    assert all("teleop" not in column.name for column in survey_.schema.columns)


def test_measured_poses_stand_in_one_step_later() -> None:
    told, values = poses()
    one = ramp({"pose.right_wrist": told})

    found, _, survey_ = action(one, "end_effector", rate_hz=10.0)

    rows = [5, 10, 15, 20, 25, 30, 35, 40, 45, 45]
    np.testing.assert_allclose(found, values[rows], atol=1e-6)
    assert "measured ones, one step later" in survey_.notes[one.id][0]


def test_a_change_of_pose_leads_from_one_pose_to_the_next() -> None:
    told, values = poses()
    one = ramp({"teleop.right_wrist": told})

    found, channels, _ = action(one, "end_effector_delta", rate_hz=10.0)

    assert channels == tuple(f"right_hand.{name}" for name in ("dx", "dy", "dz", "rx", "ry", "rz"))
    rows = [0, 0, 5, 10, 15, 20, 25, 30, 35, 40, 45]
    np.testing.assert_allclose(found[:, :3], np.diff(values[rows, :3], axis=0), atol=1e-6)
    turns = Rotation.from_quat(values[rows, 3:])
    np.testing.assert_allclose(found[:, 3:], (turns[1:] * turns[:-1].inv()).as_rotvec(), atol=1e-5)


def test_six_numbers_are_the_first_two_columns_of_the_rotation() -> None:
    told, values = poses()
    one = ramp({"teleop.right_wrist": told})

    found, _, _ = action(one, "rotation_6d", rate_hz=10.0)

    matrices = Rotation.from_quat(values[range(0, 50, 5), 3:]).as_matrix()
    np.testing.assert_allclose(found[:, 3:6], matrices[:, :, 0], atol=1e-6)
    np.testing.assert_allclose(found[:, 6:9], matrices[:, :, 1], atol=1e-6)


def test_an_action_that_nothing_says_is_refused_with_a_way_out() -> None:
    one = ramp()

    found = surveyed(one, action="end_effector")

    assert found.schema is None
    assert "where the hands are to go" in str(found.refused[one.id])
    assert "--action joint" in found.refused[one.id].hint


@given(st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6))
def test_rotations_agree_with_scipy(numbers: list[float]) -> None:
    one, other = Rotation.from_rotvec(numbers[:3]), Rotation.from_rotvec(numbers[3:])
    before, after = one.as_quat()[None], -other.as_quat()[None]

    matrix, vector = rotation_matrices(before)[0], rotation_vectors(before, after)[0]

    np.testing.assert_allclose(matrix, one.as_matrix(), atol=1e-12)
    turned = Rotation.from_rotvec(vector) * one
    np.testing.assert_allclose(turned.as_matrix(), other.as_matrix(), atol=1e-7)
    assert np.linalg.norm(vector) <= np.pi + 1e-9


def test_no_turn_is_no_vector() -> None:
    still = np.array([[0.0, 0.0, 0.0, 1.0]])

    assert rotation_vectors(still, still).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", ["joint", "joint_delta"])
def test_channels_of_a_body_part_can_stand_side_by_side(kind: str) -> None:
    body = embodiment.load("g1_dex3")
    names = [joint.name for joint in body.joints]
    time_ns = clock(50.0, 0.4)
    streams = {
        name: stream(time_ns, waves(time_ns, len(names)), names, rate_hz=50.0)
        for name in ("joint_position", "joint_command")
    }
    one = episode_of("g1", streams, embodiment="g1_dex3")

    values, channels, found = action(one, kind, rate_hz=50.0, by_part=True)

    left, right = body.effectors
    waist = ("waist_yaw_joint", "waist_roll_joint", "waist_pitch_joint")
    assert channels == (*left.arm, *left.hand, *right.arm, *right.hand, *waist)
    assert found.schema is not None
    assert found.schema.state.channels == channels
    if kind == "joint":
        command = streams["joint_command"].values
        np.testing.assert_array_equal(values[:, -3:], command[:, :3])
