"""Replay against calculus where motion is known, and against our own simulated episodes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from demos._content import content
from demos.errors import ReplayFailed
from demos.model import Episode, Stream
from demos.replay import Replay, replay, summary, table
from demos.replay.delay import delay
from demos.replay.gaps import matched
from demos.simulate import simulate
from demos.store import EpisodeStore
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


def test_a_robot_that_moves_before_it_is_told_is_a_question_about_clocks(tmp_path: Path) -> None:
    found = replay(stepped(late_s=-0.05), model_path=one_joint(tmp_path))

    (latency,) = (gap for gap in found.gaps if gap.quantity == "latency")
    assert latency.value == pytest.approx(-50.0, abs=1.0)
    assert "clocks" in latency.reason
    assert found.latency_s == 0.0


@pytest.mark.parametrize("lost", ["joint_velocity", "pose.object.cup", "joint_position"])
def test_samples_that_are_not_numbers_are_left_out(lost: str, tmp_path: Path) -> None:
    episode = stepped()
    position = episode.streams["joint_position"]
    bad = position.values.copy()
    bad[: 100 if lost == "joint_position" else None] = np.nan
    part = replace(position, values=bad)

    found = replay(with_stream(episode, **{lost: part}), model_path=one_joint(tmp_path))

    assert found.value("joint_rmse") == pytest.approx(0.0, abs=0.5)


def test_a_recording_of_nothing_but_gaps_says_so(tmp_path: Path) -> None:
    episode = stepped()
    command = episode.streams["joint_command"]
    silent = replace(command, values=np.full_like(command.values, np.nan))

    with pytest.raises(ReplayFailed, match="no joint or command sample is finite"):
        replay(with_stream(episode, joint_command=silent), model_path=one_joint(tmp_path))


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


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> list[Episode]:
    """Simulated episodes as they are read back from a store: one of each task."""
    store = EpisodeStore.create(tmp_path_factory.mktemp("replay") / "store")
    manifests = [
        manifest
        for name in ("pick_place", "carry")
        for manifest in simulate(store, episodes=1, operators=1, seed=4, tasks=[name], video=False)
    ]
    return [store.episode(manifest.id) for manifest in manifests]


@pytest.fixture(scope="module")
def replays(attempts: list[Episode]) -> list[Replay]:
    return [replay(episode) for episode in attempts]


def test_our_own_simulated_episodes_replay_within_what_sensors_can_tell(
    attempts: list[Episode], replays: list[Replay]
) -> None:
    for episode, found in zip(attempts, replays, strict=True):
        assert found.joints == episode.streams["joint_position"].channels
        assert (found.value("joint_rmse") or np.inf) < 2.0
        for hand in ("left_hand", "right_hand"):
            assert (found.value(f"ee_rmse.{hand}") or np.inf) < 1.0
            onset = found.value(f"contact_onset.{hand}")
            assert onset is None or abs(onset) <= 10.0
        latency = found.value("latency")
        assert latency is not None
        assert abs(latency) < 1.0
        assert found.value("outcome_agreement") == 1.0
        assert found.remarks == ()


def test_what_touched_in_the_recording_touches_in_the_replay(replays: list[Replay]) -> None:
    pick, carry = replays

    assert [pick.value(f"contact_f1.{hand}") for hand in ("left_hand", "right_hand")].count(1.0) > 0
    assert carry.value("contact_onset.left_hand") is not None
    assert carry.value("contact_onset.right_hand") is not None


def test_every_gap_of_a_simulated_episode_has_a_floor_beside_it(replays: list[Replay]) -> None:
    for gap in replays[0].gaps:
        if gap.value is not None and gap.quantity not in ("latency", "command_delay"):
            assert gap.floor is not None, gap.quantity


def test_equal_replays_give_equal_numbers(attempts: list[Episode], replays: list[Replay]) -> None:
    again = replay(attempts[0])

    assert again.gaps == replays[0].gaps


def test_a_late_robot_with_contacts_replays_as_well_once_latency_is_taken_out(
    attempts: list[Episode],
) -> None:
    episode = attempts[0]
    command = episode.streams["joint_command"]
    early = replace(command, time_ns=command.time_ns - 30_000_000)

    found = replay(with_stream(episode, joint_command=early), members=0)

    assert found.value("latency") == pytest.approx(30.0, abs=0.5)
    assert (found.value("joint_rmse") or np.inf) < 2.0


def test_softer_motors_stand_out_from_the_floor(
    attempts: list[Episode], replays: list[Replay], tmp_path: Path
) -> None:
    home = content("sim") / "g1_dex3"
    for file in home.glob("*.xml"):
        text = file.read_text().replace('<position kp="80" kv="3"', '<position kp="40" kv="3"')
        (tmp_path / file.name).write_text(text)
    shutil.copytree(home / "props", tmp_path / "props")
    gains = ("joint_command.kp", "joint_command.kd")
    silent = {name: part for name, part in attempts[0].streams.items() if name not in gains}
    episode = Episode(attempts[0].manifest, silent, {}, attempts[0].labels)

    found = replay(episode, model_path=tmp_path / "scene.xml", members=0)

    (overall,) = (gap for gap in replays[0].gaps if gap.quantity == "joint_rmse")
    assert overall.floor is not None
    assert (found.value("joint_rmse") or 0.0) > 3.0 * overall.floor
    assert found.model_sha256 != replays[0].model_sha256
