"""A mapping that contradicts the numbers is named by its cause; a sound one is never doubted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from demos.mapping import connect as connected
from demos.mapping import following, streams
from demos.mapping.conversion import assumed_joints
from demos.mapping.trial import Trial
from demos.model import AbsentJoint, Effector, Embodiment, Joint, SourceMapping
from tests.planted_faults import (
    Fault,
    Recorded,
    doubled,
    exchanged,
    in_counts,
    in_degrees,
    missing,
    names_it,
    pairs,
    reaches,
    suspicions,
    tried,
    turned,
)

ARM = tuple(
    Joint(name=f"arm_{n}", group="arm", lower=low, upper=high)
    for n, (low, high) in enumerate([(-3.1, 2.6), (-1.6, 2.2), (-2.6, 2.6), (-1.0, 2.1), (-2, 2)])
)
HAND = tuple(
    Joint(name=f"finger_{n}", group="hand", unit="norm01", lower=0.0, upper=1.0) for n in range(4)
)
BODY = Embodiment(
    id="small",
    title="Small",
    joints=(*ARM, *HAND),
    effectors=(
        Effector(name="hand", arm=tuple(j.name for j in ARM), hand=tuple(j.name for j in HAND)),
    ),
)
JOINTS = [joint.name for joint in BODY.joints]
FAULTS: list[Fault] = [
    *(in_degrees(n) for n in range(5)),
    *(in_counts(n, 2 * np.pi / 4096, 2048) for n in range(5)),
    *(in_counts(n, 0.001, 0) for n in range(5, 9)),
    *(turned(n) for n in range(5)),
    *(turned(n, lambda values: 1 - values) for n in range(5, 9)),
    *(exchanged(i, j) for i, j in pairs(9)),
    exchanged(0, 1, 2),
    exchanged(5, 6, 7, 8),
    *(missing(n) for n in range(9)),
    *(doubled(n, (n + 1) % 9) for n in range(9)),
]


@pytest.mark.parametrize("seconds", [5.5, 12.0])
def test_a_sound_mapping_is_never_doubted(seconds: float) -> None:
    doubted = [
        seed for seed in range(60) if suspicions([reaches(BODY, seed, seconds=seconds)], BODY)
    ]

    assert doubted == []


@pytest.mark.parametrize("late_s", [0.0, 0.03, 0.2, 0.4])
def test_a_robot_that_answers_late_is_not_doubted(late_s: float) -> None:
    episodes = [reaches(BODY, seed, late_s=late_s) for seed in range(4)]

    assert suspicions(episodes, BODY) == []


@pytest.mark.parametrize("count", [1, 4])
def test_every_planted_fault_is_named_by_its_cause(count: int) -> None:
    sound = [reaches(BODY, seed) for seed in range(count)]

    unnamed = [
        (fault.cause, fault.columns)
        for fault in FAULTS
        if not names_it(suspicions([fault.harm(r) for r in sound], BODY), fault, JOINTS)
    ]

    assert unnamed == []


def test_two_faults_at_once_are_both_named() -> None:
    both = turned(1).harm(exchanged(3, 4).harm(reaches(BODY, 1)))

    found = suspicions([both], BODY)

    assert {each.cause for each in found} == {"order", "sign"}
    assert {j for each in found for j in each.joints} == {"arm_1", "arm_3", "arm_4"}


def test_a_fault_is_explained_with_its_evidence_and_what_to_do() -> None:
    [degrees] = suspicions([in_degrees(0).harm(reaches(BODY, 2))], BODY)[:1]
    [order] = suspicions([exchanged(5, 6).harm(reaches(BODY, 2))], BODY)

    assert "the state of arm_0 leaves the range: arm_0 goes from -1" in degrees.message
    assert "where it has -3.1 to 2.6 rad; divided by 57.3 they fit: degrees?" in degrees.message
    assert "`unit: deg`" in degrees.hint
    assert "finger_5" not in order.message
    assert "finger_0, finger_1 seem exchanged" in order.message
    assert (
        "finger_0 follows the command of finger_1 (correlation 1.00, with its own 0.40)"
        in order.message
    )
    assert "right joints" in order.hint


def test_a_share_of_the_range_where_angles_should_be_is_named() -> None:
    closing = Joint(name="closing", group="hand", lower=-1.5, upper=0.0)
    body = Embodiment(id="b", title="b", joints=(closing,))
    share = np.linspace(0, 1, 300, dtype=np.float32)[:, None]

    state, command = suspicions([Recorded(("closing",), share, share)], body)

    assert (state.cause, command.cause) == ("norm01", "norm01")
    assert "the state of closing leaves the range" in state.message
    assert "shares of the range?" in state.message


def test_numbers_that_fit_no_unit_are_another_joints_or_a_wrong_zero() -> None:
    recorded = reaches(BODY, 3)
    state = recorded.state.copy()
    state[:, 1] += 2.0

    [found] = suspicions([replace(recorded, state=state)], BODY)

    assert (found.cause, found.joints) == ("range", ("arm_1",))


def test_a_joint_that_moves_much_farther_than_it_is_told_is_in_another_unit() -> None:
    recorded = reaches(BODY, 4)
    command = recorded.command.copy()
    command[:, 2] *= np.float32(np.pi / 180)

    [found] = suspicions([replace(recorded, command=command)], BODY)

    assert (found.cause, found.joints) == ("scale", ("arm_2",))
    assert "moves 57" in found.message


def test_a_single_stray_reading_stops_nothing() -> None:
    recorded = reaches(BODY, 5)
    recorded.state[100, 0] = 999.0

    assert suspicions([recorded], BODY) == []


def test_a_joint_that_hardly_moves_is_not_judged_by_its_command() -> None:
    recorded = reaches(BODY, 6)
    state, command = recorded.state.copy(), recorded.command.copy()
    still = np.random.default_rng(0).normal(0.3, 1e-4, (2, len(state)))
    state[:, 1], command[:, 1] = still[0], -still[1] + 0.6
    trial = tried([replace(recorded, state=state, command=command)], BODY)

    assert trial.suspicions() == []
    assert "9 joints were held against their ranges, the 8 of them" in trial.summary()


def test_a_joint_that_moves_though_it_is_told_to_rest_is_not_exchanged() -> None:
    recorded = reaches(BODY, 7)
    command = recorded.command.copy()
    command[:, 2] = 0.1

    assert suspicions([replace(recorded, command=command)], BODY) == []


def test_relative_commands_are_not_taken_for_a_fault() -> None:
    found = []
    for seed in range(20):
        recorded = reaches(BODY, seed)
        steps = np.diff(recorded.command, axis=0, append=recorded.command[-1:])
        for command in (recorded.command - recorded.state, steps):
            found += suspicions([replace(recorded, command=command)], BODY)

    assert [each for each in found if each.cause in ("order", "sign")] == []


def test_a_wave_that_comes_back_half_a_period_later_has_no_sign() -> None:
    t = np.arange(1200) / 100.0
    wave = np.stack([0.5 * np.sin(2 * np.pi * (t + n / 9)) for n in range(9)], axis=1) + 0.5
    late = np.roll(wave, 45, axis=0)

    found = suspicions(
        [Recorded(tuple(JOINTS), late.astype(np.float32), wave.astype(np.float32), 100.0)], BODY
    )

    assert [each for each in found if each.cause == "sign"] == []


def test_fingers_that_are_told_the_same_may_hold_the_same() -> None:
    recorded = reaches(BODY, 8)
    state, command = recorded.state.copy(), recorded.command.copy()
    state[:, 6:], command[:, 6:] = state[:, 5:6], command[:, 5:6]

    assert suspicions([replace(recorded, state=state, command=command)], BODY) == []


def test_an_episode_in_which_neither_moves_does_not_clear_two_channels_that_are_one() -> None:
    moving, still = doubled(1, 2).harm(reaches(BODY, 8)), reaches(BODY, 9)
    still.state[:, 1:3] = 0.5
    apart = reaches(BODY, 10)

    assert [each.cause for each in suspicions([moving, still], BODY)] == ["twice"]
    assert "twice" not in {each.cause for each in suspicions([moving, apart], BODY)}


def test_less_than_five_seconds_say_nothing() -> None:
    short = in_degrees(0).harm(reaches(BODY, 9, seconds=4.9))

    assert suspicions([short], BODY) == []
    assert tried([short], BODY).summary() == "mapping: not assessed, 4.9 s are too short"


def test_commands_of_less_than_five_seconds_say_nothing() -> None:
    recorded = exchanged(7, 8).harm(reaches(BODY, 9))
    made = recorded.streams(BODY)
    for name, stream in made.items():
        if "command" in name:
            made[name] = replace(stream, time_ns=stream.time_ns // 4)
    trial = Trial(BODY)

    trial.add(made)

    assert trial.suspicions() == []
    assert "too short a time" in trial.summary()


def test_short_episodes_count_together() -> None:
    short = [in_degrees(0).harm(reaches(BODY, seed, seconds=2.0)) for seed in range(3)]

    assert {each.cause for each in suspicions(short, BODY)} == {"degrees"}


def test_a_whole_group_that_was_not_recorded_is_not_missing() -> None:
    recorded = reaches(BODY, 10)
    arm = replace(
        recorded, names=recorded.names[:5], state=recorded.state[:, :5],
        command=recorded.command[:, :5],
    )  # fmt: skip

    assert suspicions([arm], BODY) == []


def test_a_channel_that_is_nearly_the_missing_joints_is_offered() -> None:
    recorded = reaches(BODY, 11)
    odd = replace(recorded, names=(*recorded.names[:3], "arm3x", *recorded.names[4:]))
    made = odd.streams(BODY)
    made["state"] = replace(
        made["joint_position"],
        values=odd.state[:, 3:4],
        info=made["joint_position"].info.model_copy(
            update={"channels": ("arm3x",), "units": ("unknown",)}
        ),
    )
    trial = Trial(BODY)

    trial.add(made)

    [found] = trial.suspicions()
    assert found.cause == "missing"
    assert "no channel for arm_3, but for 4 others of the group arm" in found.message
    assert "is it 'arm3x', which the body does not know?" in found.message


def test_a_channel_left_out_on_purpose_is_not_missing() -> None:
    leaves_out = BODY.model_copy(update={"sources": {"rig": SourceMapping(ignored=("arm_3",))}})
    recorded = missing(3).harm(reaches(BODY, 12)).streams(BODY)

    for trial in (Trial(BODY, ignored=("arm_3",)), Trial(leaves_out, ignored=("arm_3",))):
        trial.add(recorded)
        assert trial.suspicions() == []


def test_a_joint_that_is_held_or_mimics_is_not_missing() -> None:
    recorded = missing(3).harm(reaches(BODY, 12)).streams(BODY)
    absent = SourceMapping(absent={"arm_3": AbsentJoint(hold=0.0)})
    trial = Trial(BODY)

    trial.add(recorded | assumed_joints(absent, BODY, recorded))

    assert trial.suspicions() == []


def test_a_velocity_is_a_second_reading_of_the_same_joints() -> None:
    recorded = reaches(BODY, 13)
    time_ns = np.arange(len(recorded.state), dtype=np.int64) * 10_000_000
    velocity = np.gradient(recorded.command, 0.01, axis=0)
    joined = connected(JOINTS, BODY)

    def found(columns: list[int], sign: float) -> list[tuple[str, tuple[str, ...]]]:
        trial = Trial(BODY)
        made = streams(recorded.state, joined, BODY, "state", time_ns)
        values = velocity[:, columns].copy()
        values[:, 4] *= sign
        trial.add(made | streams(values, joined, BODY, "velocity", time_ns))
        return [(each.cause, each.joints) for each in trial.suspicions()]

    assert found([*range(9)], 1.0) == []
    assert found([1, 0, *range(2, 9)], 1.0) == [("order", ("arm_0", "arm_1"))]
    assert found([*range(9)], -1.0) == [("sign", ("arm_4",))]


def test_without_scipy_the_order_is_said_not_to_be_assessed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "find_spec", lambda name: None)

    trial = tried([exchanged(0, 1).harm(reaches(BODY, 14))], BODY)

    assert "order not assessed, which needs SciPy" in trial.summary()
    assert "order" not in {each.cause for each in trial.suspicions()}
    assert suspicions([turned(2).harm(reaches(BODY, 14))], BODY)[0].cause == "sign"


def test_thresholds_can_be_moved() -> None:
    trial = tried([exchanged(7, 8).harm(reaches(BODY, 15))], BODY)

    assert [each.cause for each in trial.suspicions()] == ["order"]
    assert trial.suspicions(gain=1e9) == []


@pytest.mark.parametrize(
    "odd", [np.nan, np.inf, -np.inf, 1e300, 3e38], ids=["nan", "inf", "-inf", "1e300", "3e38"]
)
def test_odd_numbers_cause_no_error(odd: float) -> None:
    for column in range(9):
        recorded = reaches(BODY, column, seconds=6.0)
        state, command = recorded.state.astype(np.float64), recorded.command.astype(np.float64)
        state[::7, column], command[:, column] = odd, odd
        state[:, 0] = odd

        suspicions([Recorded(recorded.names, state, command)], BODY)  # type: ignore[arg-type]


def test_a_clock_that_leaps_by_years_takes_no_memory() -> None:
    made = reaches(BODY, 0, seconds=3.0).streams(BODY)
    far = {}
    for name, each in made.items():
        time_ns = each.time_ns.copy()
        time_ns[-1] = 2**60
        far[name] = replace(each, time_ns=time_ns)
    trial = Trial(BODY)

    trial.add(far)

    assert trial.suspicions() == []
