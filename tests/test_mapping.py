"""Channels find their joints by name, and numbers that contradict the body are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from demos import embodiment as embodiments
from demos import mapping
from demos.errors import ImportFailed
from demos.model import Effector, Embodiment, Finding, Joint, Stream
from demos.provenance import new_id

BODY = Embodiment(
    id="small",
    title="Small",
    aliases=("Small Robot",),
    joints=(
        Joint(name="elbow_joint", group="arm", lower=-1.0, upper=2.0, aliases=("kElbow",)),
        Joint(name="wrist_joint", group="arm", lower=-1.0, upper=1.0, aliases=("kWristYaw",)),
        Joint(name="finger", group="hand", unit="norm01", lower=0.0, upper=1.0),
    ),
    effectors=(Effector(name="right_hand", arm=("elbow_joint",), hand=("finger",)),),
)
TIME_NS = np.arange(50, dtype=np.int64) * 10_000_000


def recorded(state: np.ndarray, command: np.ndarray | None = None) -> dict[str, Stream]:
    joined = mapping.connect(["elbow_joint", "wrist_joint", "finger"], BODY)
    found = mapping.streams(state, joined, BODY, "state", TIME_NS)
    if command is not None:
        found |= mapping.streams(command, joined, BODY, "command", TIME_NS)
    return found


def swing(amplitude: float) -> np.ndarray:
    wave = amplitude * np.sin(np.arange(50) / 5)
    return np.stack([wave, wave / 2, np.full(50, 0.5)], axis=1)


def doubts(streams: dict[str, Stream]) -> list[Finding]:
    return list(mapping.doubts(streams, BODY, episode=new_id()))


@pytest.mark.parametrize(
    "channel", ["elbow_joint", "Elbow", "kElbow", "kelbow.q", "elbow.pos", "ELBOW-JOINT"]
)
def test_a_joint_answers_to_its_name_and_its_aliases_in_any_spelling(channel: str) -> None:
    [link] = mapping.connect([channel], BODY).links

    assert link.joint.name == "elbow_joint"


def test_the_order_of_the_source_does_not_matter() -> None:
    values = np.arange(150.0).reshape(50, 3)
    there = mapping.connect(["elbow_joint", "wrist_joint", "finger"], BODY)
    back = mapping.connect(["finger", "wrist_joint", "elbow_joint"], BODY)

    one = mapping.streams(values, there, BODY, "state", TIME_NS)
    other = mapping.streams(values[:, ::-1], back, BODY, "state", TIME_NS)

    assert one["joint_position"].channels == ("elbow_joint", "wrist_joint")
    for name in one:
        np.testing.assert_array_equal(one[name].values, other[name].values)


def test_joints_and_normalised_fingers_go_to_streams_of_their_own_unit() -> None:
    found = recorded(swing(0.5), swing(0.5))

    assert {name: stream.units for name, stream in found.items()} == {
        "joint_position": ("rad", "rad"),
        "gripper.right_hand": ("norm01",),
        "joint_command": ("rad", "rad"),
        "gripper_command.right_hand": ("norm01",),
    }


def test_the_dtype_of_the_source_is_kept() -> None:
    found = recorded(swing(0.5).astype(np.float32))

    assert {stream.values.dtype for stream in found.values()} == {np.dtype(np.float32)}


def test_an_unknown_channel_stays_unconnected_and_is_offered_the_closest_name() -> None:
    joined = mapping.connect(["kElbow", "kWristYaww"], BODY)

    assert joined.unknown == ("kWristYaww",)
    assert not joined.complete
    assert "kWristYaw" in mapping.explain(joined, BODY).hint


def test_a_channel_ignored_on_purpose_is_not_unknown() -> None:
    joined = mapping.connect(["kElbow", "battery"], BODY, ignore=["battery"])

    assert joined.complete
    assert joined.ignored == ("battery",)


def test_two_channels_of_one_joint_are_refused() -> None:
    with pytest.raises(ImportFailed, match="both speak of elbow_joint"):
        mapping.connect(["kElbow", "elbow"], BODY)


def test_an_alias_of_two_joints_is_refused() -> None:
    twice = BODY.model_copy(
        update={
            "joints": (
                *BODY.joints,
                Joint(name="other", group="arm", lower=0, upper=1, aliases=("kElbow",)),
            )
        }
    )

    with pytest.raises(ImportFailed, match="names both elbow_joint and other"):
        mapping.connect(["kElbow"], twice)


def test_sound_numbers_raise_no_doubt() -> None:
    assert doubts(recorded(swing(0.9), swing(0.9))) == []


def test_degrees_are_noticed() -> None:
    [elbow, wrist] = doubts(recorded(swing(57.3)))

    assert "degrees or counts?" in elbow.message
    assert elbow.measured == pytest.approx(-57.3, abs=0.5)
    assert wrist.message.startswith("wrist_joint")


@pytest.mark.parametrize(("reach", "count"), [(1.15, 0), (1.25, 1)])
def test_the_range_is_stretched_by_a_tenth_before_a_value_is_doubted(
    reach: float, count: int
) -> None:
    state = np.zeros((50, 3))
    state[7, 1] = reach

    assert len(doubts(recorded(state))) == count


def test_nan_is_not_a_matter_of_units() -> None:
    state = swing(0.5)
    state[3] = np.nan

    assert doubts(recorded(state)) == []


def test_a_joint_that_runs_against_its_command_is_noticed() -> None:
    state = swing(0.9)
    state[:, 0] *= -1

    [finding] = doubts(recorded(state, swing(0.9)))

    assert "elbow_joint runs against its command" in finding.message


def test_a_joint_at_rest_has_no_sign() -> None:
    state = swing(0.01)

    assert doubts(recorded(state, -state + [0, 0, 1.0])) == []


@pytest.mark.parametrize("name", ["unitree_g1_inspire", "Unitree_G1_Inspire", "unitree g1 inspire"])
def test_a_body_is_recognised_by_the_name_a_source_gives_it(name: str) -> None:
    body = embodiments.recognise(name)

    assert body is not None
    assert body.id == "unitree_g1_inspire"


@pytest.mark.parametrize("name", ["", "unitree", "GR1ArmsOnly"])
def test_no_body_is_guessed(name: str) -> None:
    assert embodiments.recognise(name) is None


@pytest.mark.parametrize("name", embodiments.names())
def test_the_names_and_aliases_of_every_published_body_are_unambiguous(name: str) -> None:
    body = embodiments.load(name)
    channels = [joint.name for joint in body.joints]

    joined = mapping.connect(channels, body)

    assert [link.joint.name for link in joined.links] == channels
    for joint in body.joints:
        for alias in joint.aliases:
            assert mapping.connect([alias], body).links[0].joint.name == joint.name


def test_unitrees_own_misspelling_is_known() -> None:
    body = embodiments.load("unitree_g1_inspire")

    joined = mapping.connect(["kLeftWristYaw", "kRightWristyaw"], body)

    assert [link.joint.name for link in joined.links] == [
        "left_wrist_yaw_joint",
        "right_wrist_yaw_joint",
    ]
