"""What an embodiment says of a source: numbers become the joint's, absent joints are assumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from demos import embodiment as embodiments
from demos import mapping
from demos._content import content
from demos.errors import ImportFailed, SchemaMismatch
from demos.formats.joints import Columns, joint_streams
from demos.formats.options import Options
from demos.formats.sitting import Sitting, sitting
from demos.formats.steps import Ticks
from demos.importers import import_source
from demos.mapping.conversion import ASSUMED, source_for
from demos.model import Embodiment, SourceMapping, Stream
from demos.replay.plant import plant
from demos.replay.rollout import start
from demos.schema import read_yaml
from demos.signals.bodies import motions
from demos.store import EpisodeStore
from tests.lerobot_folders import write_v30
from tests.scripted import clock, episode_of, stream

JOINTS = """
kind: embodiment
id: ours
title: Ours
joints:
  - {name: elbow, group: arm, lower: -1.0, upper: 2.0}
  - {name: wrist, group: arm, lower: -0.5, upper: 1.5}
  - {name: finger, group: hand, unit: norm01, lower: 0.0, upper: 1.0}
effectors:
  - {name: right_hand, arm: [elbow, wrist], hand: [finger]}
"""


def body_with(sources: str) -> Embodiment:
    return read_yaml(Embodiment, f"version: 2\n{JOINTS}sources:\n{sources}".encode(), where="x")


def body_of(channel: str) -> Embodiment:
    return body_with(f"  rig:\n    channels:\n      - {channel}\n")


def converted(
    channel: str, values: npt.ArrayLike, role: mapping.Role = "state", name: str = "c"
) -> Stream:
    body = body_of(channel)
    numbers = np.asarray(values)[:, None]
    joined = mapping.connect([name], body, role=role, source=body.sources["rig"])
    time_ns = np.arange(len(numbers), dtype=np.int64)
    [made] = mapping.streams(numbers, joined, body, role, time_ns).values()
    return made


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "uint8"])
def test_numbers_that_need_no_conversion_keep_every_bit(dtype: str) -> None:
    raw = np.random.default_rng(0).integers(0, 250, 64).astype(dtype)

    made = converted("{source: c, joint: elbow}", raw)

    assert made.values.dtype == raw.dtype
    assert made.values[:, 0].tobytes() == raw.tobytes()
    assert made.channels == ("elbow",)


def test_a_turned_sign_is_exact() -> None:
    raw = np.array([0.1, -3.0, 0.0, 1e-40, np.nan], np.float32)

    made = converted("{source: c, joint: elbow, sign: -1}", raw)

    np.testing.assert_array_equal(made.values[:, 0], -raw)
    assert made.values.dtype == np.float32
    assert np.signbit(made.values[2, 0])


def test_degrees_become_radians() -> None:
    made = converted("{source: c, joint: elbow, unit: deg}", [0.0, 90.0, -180.0])

    np.testing.assert_allclose(made.values[:, 0], [0.0, 1.5707963267948966, -3.141592653589793])
    assert made.units == ("rad",)


def test_a_conversion_is_rounded_once_to_the_dtype_of_the_source() -> None:
    raw = np.linspace(-100, 100, 999, dtype=np.float32)

    made = converted("{source: c, joint: elbow, unit: deg, offset: 0.25}", raw)

    in_float64 = raw.astype(np.float64) * (np.pi / 180) + 0.25
    np.testing.assert_array_equal(made.values[:, 0], in_float64.astype(np.float32))


def test_counts_become_radians_by_their_scale_sign_and_offset() -> None:
    channel = "{source: c, joint: elbow, unit: counts, scale: 0.001, sign: -1, offset: 2.0}"

    made = converted(channel, np.array([0, 1000, 4095], np.int16))

    np.testing.assert_allclose(made.values[:, 0], [2.0, 1.0, -2.095])
    assert made.values.dtype == np.float64


@pytest.mark.parametrize(("sign", "expected"), [(1, [-1.0, 0.5, 2.0]), (-1, [2.0, 0.5, -1.0])])
def test_a_share_of_the_range_becomes_an_angle(sign: int, expected: list[float]) -> None:
    made = converted(f"{{source: c, joint: elbow, unit: norm01, sign: {sign}}}", [0.0, 0.5, 1.0])

    np.testing.assert_allclose(made.values[:, 0], expected)


def test_an_angle_becomes_a_share_only_by_a_declared_scale() -> None:
    by_scale = "{source: c, joint: finger, unit: rad, scale: 0.5, offset: 0.1}"

    made = converted(by_scale, [0.0, 1.6])

    np.testing.assert_allclose(made.values[:, 0], [0.1, 0.9])
    with pytest.raises(ImportFailed, match="c in rad cannot become finger in norm01") as caught:
        converted("{source: c, joint: finger, unit: rad}", [0.0])
    assert "scale" in caught.value.hint


def test_a_velocity_has_no_offset_and_an_effort_no_unit_of_position() -> None:
    channel = "{source: c, joint: elbow, unit: deg, sign: -1, offset: 0.5}"

    velocity = converted(channel, [180.0], "velocity")
    effort = converted(channel.replace(", offset: 0.5", ""), [3.0], "effort")

    np.testing.assert_allclose(velocity.values, [[-np.pi]])
    assert velocity.units == ("rad/s",)
    np.testing.assert_array_equal(effort.values, [[-3.0]])
    assert effort.units == ("N·m",)


def test_what_is_said_of_a_role_holds_before_what_is_said_of_all() -> None:
    body = body_with(
        "  rig:\n    channels:\n"
        "      - {source: c, joint: elbow, sign: -1}\n"
        "      - {source: c, joint: wrist, role: command}\n"
    )

    state, command = (
        mapping.connect(["c"], body, role=role, source=body.sources["rig"]).links[0]
        for role in mapping.STREAMS
        if role in ("state", "command")
    )

    assert (state.joint.name, state.how.slope) == ("elbow", -1.0)
    assert (command.joint.name, command.how.slope) == ("wrist", 1.0)


def test_a_channel_goes_where_its_role_says_whatever_stands_beside_it() -> None:
    body = body_of("{source: tau, joint: elbow, role: effort}")
    values = np.array([[0.1, 5.0], [0.2, 6.0]])

    joined = mapping.connect(["elbow", "tau"], body, source=body.sources["rig"])
    made = mapping.streams(values, joined, body, "state", np.arange(2))

    np.testing.assert_array_equal(made["joint_position"].values, [[0.1], [0.2]])
    np.testing.assert_array_equal(made["joint_effort"].values, [[5.0], [6.0]])


def test_names_of_a_source_are_compared_as_names_are_and_come_before_the_bodys() -> None:
    body = body_of("{source: Wrist, aliases: [joint_7], joint: elbow}")
    source = body.sources["rig"]

    for name in ("wrist", "JOINT-7", "Wrist"):
        assert mapping.connect([name], body, source=source).links[0].joint.name == "elbow"
    assert mapping.connect(["wrist"], body).links[0].joint.name == "wrist"


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ("{rig: {channels: [{source: c, joint: knee}]}}", "speaks of joints it has not: .*knee"),
        ("{rig: {absent: {knee: {hold: 0.0}}}}", "knee"),
        ("{rig: {absent: {wrist: {mimic: knee}}}}", "knee"),
        ("{rig: {absent: {wrist: {}}}}", "either hold or mimic"),
        ("{rig: {channels: [{source: c, joint: wrist, unit: counts}]}}", "counts need a scale"),
        ("{rig: {channels: [{source: c, joint: wrist, sign: 2}]}}", "sign"),
        ("{rig: {channels: [{source: c, joint: wrist, scale: -1.0}]}}", "scale"),
        ("{rig: {channels: [{source: c, joint: wrist, unit: grad}]}}", "unit"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_no_embodiment(sources: str, reason: str) -> None:
    text = f"version: 2\n{JOINTS}sources: {sources}\n"

    with pytest.raises(SchemaMismatch, match=reason):
        read_yaml(Embodiment, text.encode(), where="x")


def test_the_example_of_the_readme_holds_for_the_published_body() -> None:
    readme = (content("schemas") / "README.md").read_text()
    example = readme.partition("```yaml\n")[2].partition("```")[0]
    body = embodiments.file("unitree_g1_inspire").read_text().replace("version: 1\n", "")

    read = read_yaml(Embodiment, f"{body}\n{example}".encode(), where="README.md")

    assert set(read.sources["lerobot"].absent) == {"left_wrist_yaw_joint", "left_hand_middle"}


def test_an_embodiment_of_version_1_is_read_and_says_nothing_of_sources() -> None:
    old = read_yaml(Embodiment, f"version: 1\n{JOINTS}".encode(), where="x")

    assert (old.version, old.sources) == (2, {})


def test_the_robots_own_name_comes_before_the_format() -> None:
    body = body_with("  lerobot: {ignored: [a]}\n  Rig 7: {ignored: [b]}\n")

    assert source_for(body, "rig_7", "lerobot") == ("Rig 7", SourceMapping(ignored=("b",)))
    assert source_for(body, "rig_8", "lerobot") == ("lerobot", SourceMapping(ignored=("a",)))
    assert source_for(body, "", "aloha") is None


ABSENT = """  rig:
    channels: [{source: c, joint: elbow, unit: deg}]
    absent:
      wrist: {hold: 0.25}
      finger: {mimic: elbow, coefficient: -0.5, offset: 1.0}
"""


def seated(body: Embodiment, root: Path) -> Sitting:
    return sitting(root, "rig", None, Options(body, operator="op-1"))


def test_joints_that_a_source_lacks_are_held_or_mimic_in_a_stream_of_their_own(
    tmp_path: Path,
) -> None:
    columns = Columns(np.array([[0.0], [90.0]]), ("c",), ("deg",), "state", "state")
    ticks = Ticks(np.array([0, 10]), "measured", None)

    made = joint_streams(columns, ticks, seated(body_with(ABSENT), tmp_path))

    assert made["joint_position"].channels == ("elbow",)
    assumed = made[ASSUMED]
    assert assumed.channels == ("wrist", "finger")
    np.testing.assert_allclose(assumed.values, [[0.25, 1.0], [0.25, 1.0 - np.pi / 4]])
    np.testing.assert_array_equal(assumed.time_ns, [0, 10])
    assert "not measured" in str(assumed.info.semantics)
    assert assumed.info.note == "wrist held at 0.25; finger mimics -0.5 * elbow + 1"


def test_a_joint_that_was_recorded_after_all_is_not_assumed(tmp_path: Path) -> None:
    columns = Columns(np.ones((2, 2)), ("c", "wrist"), ("deg", "rad"), "state", "state")
    ticks = Ticks(np.array([0, 10]), "measured", None)

    made = joint_streams(columns, ticks, seated(body_with(ABSENT), tmp_path))

    assert made["joint_position"].channels == ("elbow", "wrist")
    assert made[ASSUMED].channels == ("finger",)


def test_a_sitting_says_what_is_converted_and_what_is_made_up(tmp_path: Path) -> None:
    said = seated(body_with(ABSENT), tmp_path).assumed

    assert "mapping rig: c in deg becomes elbow = 0.017453292519943295 * c + 0 rad" in said
    assert "mapping rig: the source lacks wrist, held at 0.25 in joint_position.assumed" in said


def test_with_a_mapping_every_channel_must_be_known_or_ignored(tmp_path: Path) -> None:
    body = body_with("  rig: {channels: [{source: c, joint: elbow}], ignored: [battery]}\n")
    recognised = replace(seated(body, tmp_path), chosen=False)
    ticks = Ticks(np.array([0, 10]), "measured", None)

    def made(*names: str, accept: bool = False) -> dict[str, Stream]:
        values = np.ones((2, len(names)))
        columns = Columns(values, names, ("1",) * len(names), "state", "state")
        return joint_streams(columns, ticks, recognised, accept_mapping=accept)

    assert set(made("c", "battery")) == {"joint_position"}
    with pytest.raises(ImportFailed, match="unknown to ours: fuel"):
        made("c", "fuel")
    assert made("c", "fuel", accept=True)["state"].channels == ("fuel",)


def test_a_joint_named_twice_is_refused_and_kept_apart_when_accepted(tmp_path: Path) -> None:
    body = body_with("  rig: {channels: [{source: c, joint: elbow}]}\n")
    columns = Columns(np.array([[1.0, 2.0]]), ("c", "elbow"), ("1", "1"), "state", "state")
    ticks = Ticks(np.array([0]), "measured", None)

    with pytest.raises(ImportFailed, match="'c' and 'elbow' both speak of elbow"):
        joint_streams(columns, ticks, seated(body, tmp_path))
    made = joint_streams(columns, ticks, seated(body, tmp_path), accept_mapping=True)

    assert made["joint_position"].values.tolist() == [[1.0]]
    assert (made["state"].channels, made["state"].values.tolist()) == (("elbow",), [[2.0]])


def test_an_imported_folder_is_converted_as_the_stores_embodiment_says(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    (store.root / "embodiments/ours.yaml").write_text(
        "kind: embodiment\nversion: 2\nid: ours\ntitle: Ours\njoints:\n"
        "  - {name: shoulder, group: arm, lower: -100, upper: 100}\n"
        "  - {name: elbow, group: arm, lower: -100, upper: 100}\n"
        "sources:\n  lerobot:\n    channels:\n"
        "      - {source: a, joint: elbow, unit: deg, sign: -1}\n"
        "      - {source: b, joint: shoulder}\n"
    )

    report = import_source(write_v30(tmp_path / "v30", (6,)), store, embodiment="ours")

    [(_, episode_id)] = report.episodes
    position = store.episode(episode_id).streams["joint_position"]
    assert position.channels == ("shoulder", "elbow")
    # the folder says a = row and b = row + 0.5
    rows = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(position.values[:, 0], rows + np.float32(0.5))
    np.testing.assert_array_equal(position.values[:, 1], np.float32(-np.pi / 180 * rows))
    assert any(
        text.startswith("mapping lerobot: a in deg becomes elbow = -0.01745")
        for text in report.assumed
    )


def test_where_a_hand_is_can_be_computed_with_an_assumed_joint() -> None:
    body = embodiments.load("g1_dex3")
    arms = [name for effector in body.effectors for name in effector.arm]
    lacking = "left_wrist_yaw_joint"
    time_ns = clock(100.0, 2.0)
    swing = np.outer(np.sin(time_ns / 1e9), np.full(len(arms) - 1, 0.2))
    recorded = stream(time_ns, swing, units="rad", channels=[a for a in arms if a != lacking])
    held = stream(time_ns, np.full((len(time_ns), 1), 0.3), units="rad", channels=[lacking])

    without = motions(episode_of("a", {"joint_position": recorded}, embodiment="g1_dex3"))
    with_it = motions(
        episode_of("b", {"joint_position": recorded, ASSUMED: held}, embodiment="g1_dex3")
    )

    assert {motion.space for motion in without} == {"joint space"}
    assert {motion.space for motion in with_it} == {"forward kinematics"}


def test_a_replay_begins_where_the_mapping_assumes_a_joint() -> None:
    time_ns = clock(100.0, 2.0)
    elbow = stream(time_ns, np.full((200, 1), 0.5), units="rad", channels=["left_elbow_joint"])
    waist = stream(time_ns, np.full((200, 1), 0.2), units="rad", channels=["waist_pitch_joint"])
    streams = {"joint_position": elbow, "joint_command": elbow, ASSUMED: waist}
    episode = episode_of("assumed", streams, embodiment="g1_dex3")

    world = plant(episode)
    begun = start(episode, world, 0)

    place = world.model.joint("waist_pitch_joint").qposadr[0]
    assert begun.qpos[place] == pytest.approx(0.2)
    assert begun.ctrl[world.model.actuator("waist_pitch_joint").id] == pytest.approx(0.2)
    assert any("begun where the mapping assumes it: waist_pitch" in r for r in world.remarks)
