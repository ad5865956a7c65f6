"""Replay against calculus where motion is known, and against our own simulated episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from demos.errors import ReplayFailed
from demos.model import Episode, Stream
from demos.replay import replay, summary, table
from demos.replay.delay import delay
from demos.replay.gaps import matched
from tests.scripted import clock, episode_of, stream

Floats = npt.NDArray[np.float64]

# one joint with inertia 0.02 kg m2 on a servo of 20 N m/rad and 2 N m s/rad: overdamped
ONE_JOINT = """
<mujoco>
  <compiler angle="radian"/>
  <option timestep="0.0005" integrator="implicitfast" gravity="0 0 0"/>
  <worldbody>
    <body name="arm">
      <inertial pos="0 0 0" mass="1" diaginertia="0.02 0.02 0.02"/>
      <joint name="left_elbow_joint" axis="0 0 1" range="-2 2" limited="true" damping="{damping}"/>
    </body>
  </worldbody>
  <actuator>
    <position name="servo" joint="left_elbow_joint" kp="20" kv="2"/>
  </actuator>
</mujoco>
"""
STEP_RAD, STEP_S = 0.5, 0.5


def one_joint(folder: Path, *, damping: float = 0.0) -> Path:
    file = folder / "one_joint.xml"
    file.write_text(ONE_JOINT.format(damping=damping))
    return file


def step_response(t: Floats) -> Floats:
    """Second-order step response with real roots (any textbook on linear systems)."""
    fast, slow = (-2 - np.sqrt(2.4)) / 0.04, (-2 + np.sqrt(2.4)) / 0.04
    since = np.maximum(t - STEP_S, 0.0)
    ways = (fast * np.exp(slow * since) - slow * np.exp(fast * since)) / (fast - slow)
    return np.asarray(STEP_RAD * (1.0 - ways))


def stepped(departure: Floats | float = 0.0, *, late_s: float = 0.0, end_s: float = 3.0) -> Episode:
    """An episode of the one joint: told to step, recorded as calculus says, plus a departure."""
    stamps = clock(500.0, end_s)
    t = stamps / 1e9
    told = np.where(t >= STEP_S, STEP_RAD, 0.0)[:, None]
    moved = (step_response(t - late_s) + departure)[:, None]
    parts = {
        "joint_position": stream(stamps, moved, units="rad", channels=["left_elbow_joint"]),
        "joint_command": stream(stamps, told, units="rad", channels=["left_elbow_joint"]),
    }
    return episode_of("stepped", parts, {}, embodiment="g1_dex3")


def with_stream(episode: Episode, **parts: Stream) -> Episode:
    changed: Mapping[str, Stream] = {**episode.streams, **parts}
    return Episode(episode.manifest, changed, {}, episode.labels)


def test_a_servo_replays_as_calculus_says(tmp_path: Path) -> None:
    found = replay(stepped(), model_path=one_joint(tmp_path))

    assert found.joints == ("left_elbow_joint",)
    assert found.value("joint_rmse") == pytest.approx(0.0, abs=0.5)
    assert found.diverged_ns is None


def test_joint_error_is_the_root_mean_square_of_the_departure(tmp_path: Path) -> None:
    t = clock(500.0, 3.0) / 1e9
    bump = np.where((t >= 1.5) & (t < 2.5), 0.01 * np.sin(np.pi * (t - 1.5)), 0.0)

    found = replay(stepped(bump), model_path=one_joint(tmp_path))

    # half a sine of 10 mrad over one of three seconds
    assert found.value("joint_rmse") == pytest.approx(10.0 * np.sqrt(0.5 / 3.0), rel=0.05)
    assert found.value("joint_rmse.left_elbow_joint") == found.value("joint_rmse")


def test_a_robot_that_follows_late_is_found_late_and_not_blamed_twice(tmp_path: Path) -> None:
    found = replay(stepped(late_s=0.032), model_path=one_joint(tmp_path))

    assert found.value("latency") == pytest.approx(32.0, abs=1.0)
    assert found.latency_s == pytest.approx(0.032, abs=0.001)
    assert found.value("joint_rmse") == pytest.approx(0.0, abs=2.0)


def test_recorded_gains_replace_those_of_the_model(tmp_path: Path) -> None:
    episode = stepped()
    command = episode.streams["joint_command"]
    parts = {
        "joint_command.kp": replace(command, values=np.full_like(command.values, 40.0)),
        "joint_command.kd": replace(command, values=np.full_like(command.values, 2.0)),
    }

    stiff = replay(with_stream(episode, **parts), model_path=one_joint(tmp_path))

    assert any("recorded kp" in remark for remark in stiff.remarks)
    assert not any("recorded kd" in remark for remark in stiff.remarks)
    assert (stiff.value("joint_rmse") or 0.0) > 5.0


def test_joints_on_one_side_only_are_named(tmp_path: Path) -> None:
    episode = stepped()
    position = episode.streams["joint_position"]
    wider = stream(
        position.time_ns,
        np.hstack([position.values, np.zeros_like(position.values)]),
        units="rad",
        channels=["left_elbow_joint", "tail_joint"],
    )

    found = replay(with_stream(episode, joint_position=wider), model_path=one_joint(tmp_path))

    assert found.joints == ("left_elbow_joint",)
    assert any("tail_joint" in remark for remark in found.remarks)


def test_joints_are_matched_by_name_whatever_their_order(tmp_path: Path) -> None:
    episode = stepped()
    position = episode.streams["joint_position"]
    swapped = stream(
        position.time_ns,
        np.hstack([np.ones_like(position.values), position.values]),
        units="rad",
        channels=["tail_joint", "kLeftElbow"],
    )

    found = replay(with_stream(episode, joint_position=swapped), model_path=one_joint(tmp_path))

    assert found.value("joint_rmse") == pytest.approx(0.0, abs=0.5)


def test_positions_in_degrees_are_refused(tmp_path: Path) -> None:
    episode = stepped()
    position = episode.streams["joint_position"]
    degrees = replace(position, values=np.degrees(position.values))

    with pytest.raises(ReplayFailed, match="left_elbow_joint reads up to 28") as caught:
        replay(with_stream(episode, joint_position=degrees), model_path=one_joint(tmp_path))

    assert "degrees" in caught.value.hint


def test_a_body_without_a_model_says_why_it_cannot_be_replayed() -> None:
    episode = stepped()
    real = episode_of("real", episode.streams, {}, embodiment="unitree_g1_inspire")

    with pytest.raises(ReplayFailed, match=r"not replayable, because .* names no MJCF") as caught:
        replay(real)

    assert "--model" in caught.value.hint


def test_an_episode_without_commands_says_so(tmp_path: Path) -> None:
    episode = stepped()
    silent = Episode(episode.manifest, {"joint_position": episode.streams["joint_position"]}, {})

    with pytest.raises(ReplayFailed, match="joint_command was not recorded"):
        replay(silent, model_path=one_joint(tmp_path))


def test_a_file_that_is_no_model_is_our_error(tmp_path: Path) -> None:
    file = tmp_path / "broken.xml"
    file.write_text("<mujoco><nonsense/></mujoco>")

    with pytest.raises(ReplayFailed):
        replay(stepped(), model_path=file)


def test_physics_that_blows_up_is_a_result_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # friction that pushes: energy grows without bound
    wild = one_joint(tmp_path, damping=-40.0)

    found = replay(stepped(), model_path=wild)

    assert found.diverged_ns is not None
    errors = [gap for gap in found.gaps if gap.quantity.startswith("joint_rmse")]
    assert all(gap.value is None and "blew up at" in gap.reason for gap in errors)
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()


def test_rows_for_the_store_say_what_made_them(tmp_path: Path) -> None:
    found = replay(stepped(), model_path=one_joint(tmp_path))

    rows = table([found])

    assert len(rows) == len(found.gaps)
    assert rows["engine"].str.startswith("mujoco ").all()
    assert (rows["model_sha256"].str.len() == 64).all()


def test_the_summary_shows_every_quantity_but_single_joints(tmp_path: Path) -> None:
    found = replay(stepped(), model_path=one_joint(tmp_path))

    text = summary(found)

    assert "joint_rmse " in text
    assert "joint_rmse.left_elbow_joint" not in text
    assert "the model lacks" in text


def test_a_shift_between_two_motions_is_found_below_one_step() -> None:
    t = np.arange(4000) / 1000.0
    motion = np.stack([np.sin(3.0 * t) * t, np.cos(2.0 * t), np.zeros_like(t)], axis=1)
    late = np.stack([np.interp(t - 0.0123, t, column) for column in motion.T], axis=1)

    found = delay(motion, late, 0.001)

    assert found.joints == 2
    assert found.seconds == pytest.approx(0.0123, abs=0.0002)
    assert delay(late, motion, 0.001).seconds == pytest.approx(-0.0123, abs=0.0002)


def test_a_shift_between_two_rests_is_not_assessable() -> None:
    still = np.zeros((4000, 2))

    assert delay(still, still, 0.001).seconds is None


def test_contacts_are_paired_nearest_first_and_only_once() -> None:
    recorded = [100_000_000, 900_000_000]
    replayed = [110_000_000, 130_000_000, 2_000_000_000]

    pairs = matched(recorded, replayed)

    assert pairs == [(100_000_000, 110_000_000)]
