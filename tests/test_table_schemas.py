"""One schema for many episodes: what most have in common, and what the others hear."""

from __future__ import annotations

import numpy as np
import pytest

from demos.errors import UnknownName
from demos.model import Stream
from tests.learning import camera, episode, refusal, surveyed, table
from tests.table_store import clock, joints, stream, waves


def test_state_and_action_are_joints_then_grippers_by_name() -> None:
    time_ns = clock(100.0, 2.0)
    pairs = {
        "gripper_command.right": ("f1", "f2"),
        "gripper.right": ("f1", "f2"),
        "gripper.left": ("g1",),
    }
    more = {
        name: stream(time_ns, waves(time_ns, len(names)), names, "norm01", rate_hz=100.0)
        for name, names in pairs.items()
    }

    found = surveyed(episode("grippers", joints() | more))

    assert found.schema is not None
    state, action = found.schema.column("observation.state"), found.schema.column("action")
    assert state.channels == ("a", "b", "g1", "f1", "f2")
    assert state.units == ("rad", "rad", "norm01", "norm01", "norm01")
    assert action.channels == ("a", "b", "f1", "f2")


def test_channels_of_one_name_get_their_streams_before_them() -> None:
    time_ns = clock(100.0, 2.0)
    grippers = {
        f"gripper.{side}": stream(time_ns, waves(time_ns, 1), ("width",), "m", rate_hz=100.0)
        for side in ("left", "right")
    }

    found = surveyed(episode("grippers", joints() | grippers))

    assert found.schema is not None
    assert found.schema.state.channels[2:] == ("gripper.left.width", "gripper.right.width")


def test_a_state_and_an_action_without_joints_are_taken_as_they_are() -> None:
    time_ns = clock(100.0, 2.0)
    opaque = {
        name: stream(time_ns, waves(time_ns, 3), units="unknown", rate_hz=100.0)
        for name in ("state", "action")
    }

    only = table(episode("opaque", opaque))

    assert only.columns["observation.state"].shape == (20, 3)
    assert only.columns["action"].shape == (20, 3)


def test_most_episodes_decide_and_the_others_hear_why() -> None:
    usual = [episode(f"usual {n}") for n in range(3)]
    longer = episode("longer", joints(channels=("a", "b", "c")))
    other = episode("other", embodiment="another_arm")
    nothing = episode("nothing", {"wrench.x": joints()["joint_position"]})

    found = surveyed(longer, *usual, other, nothing)

    assert found.fitting == tuple(one.id for one in usual)
    assert "state and action consist of differs from that of 3 of 5" in refusal(found, longer)
    assert "its body differs" in refusal(found, other)
    assert "no joint_position" in refusal(found, nothing)


def test_a_stream_that_one_episode_lacks_is_left_out_with_a_note() -> None:
    time_ns = clock(50.0, 2.0)
    force = stream(time_ns, waves(time_ns, 6), units="N", rate_hz=50.0)
    warm = stream(time_ns, waves(time_ns, 1), units="°C", rate_hz=50.0)
    with_both = episode("both", joints() | {"wrench.x": force, "temperature": warm})
    with_one = episode("one", joints() | {"wrench.x": force})

    found = surveyed(with_both, with_one)

    assert found.schema is not None
    assert [column.name for column in found.schema.columns[2:-1]] == ["observation.wrench.x"]
    assert found.notes[with_both.id] == (
        "temperature is left out: 1 of 2 episodes have it like this",
    )
    assert found.notes[with_one.id] == ()


def test_what_is_told_in_other_units_does_not_share_a_column() -> None:
    radians = [episode(f"radians {n}") for n in range(2)]
    parts = joints()
    turned = parts["joint_position"]
    info = turned.info.model_copy(update={"units": ("deg", "deg")})
    degrees = episode(
        "degrees", parts | {"joint_position": Stream(turned.time_ns, turned.values, info)}
    )

    found = surveyed(*radians, degrees)

    assert "differs from that of 2 of 3" in refusal(found, degrees)


def test_a_camera_of_most_episodes_stays_and_one_of_few_goes() -> None:
    both = {"egocentric": camera(), "wrist": camera()}
    usual = [episode(f"usual {n}") for n in range(2)]
    two = episode("two cameras", cameras=both)
    blind = episode("blind", cameras={})
    small = episode("small", cameras={"egocentric": camera(size=(12, 16))})

    found = surveyed(*usual, two, blind, small)

    assert found.schema is not None
    assert [column.camera for column in found.schema.cameras] == ["egocentric"]
    assert "no images of egocentric of 32x24, as 3 of 5" in refusal(found, blind)
    assert "no images of egocentric of 32x24" in refusal(found, small)
    assert found.notes[two.id] == ("image.wrist is left out: 1 of 5 episodes have it in 32x24",)


def test_two_cameras_of_one_column_are_told_apart() -> None:
    one = episode("alike", cameras={"cam 1": camera(), "cam/1": camera()})

    found = surveyed(one)

    assert found.schema is not None
    assert [column.name for column in found.schema.cameras] == ["observation.images.cam_1"]
    assert "image.cam/1 is left out" in found.notes[one.id][0]


def test_a_stream_asked_for_by_name_is_a_condition() -> None:
    both = {"egocentric": camera(), "wrist": camera()}
    two, one = episode("two cameras", cameras=both), episode("one camera")

    found = surveyed(two, one, streams=("image.wrist",))

    assert found.fitting == (two.id,)
    assert found.schema is not None
    assert [column.camera for column in found.schema.cameras] == ["wrist"]
    assert "it has no image.wrist" in refusal(found, one)
    with pytest.raises(UnknownName, match=r"image\.wrsit") as caught:
        surveyed(two, one, streams=("image.wrsit",))
    assert "image.wrist" in caught.value.hint


def test_the_slowest_camera_sets_the_rate_of_all() -> None:
    fast, slow = episode("fast", cameras={"egocentric": camera(30.0)}), episode("slow")

    found = surveyed(fast, slow)
    chosen = surveyed(fast, slow, rate_hz=5.0)

    assert found.schema is not None
    assert found.schema.rate_hz == 10.0
    assert chosen.schema is not None
    assert chosen.schema.rate_hz == 5.0


def test_what_a_row_cannot_hold_is_left_out_with_a_note() -> None:
    time_ns = clock(10.0, 2.0)
    depth = Stream(
        time_ns,
        np.zeros((20, 150, 150), np.uint16),
        stream(time_ns, np.zeros((20, 1)), ("depth",), "m").info.model_copy(
            update={"shape": (150, 150)}
        ),
    )
    counter = stream(time_ns, np.zeros((20, 1), np.uint64), units="1", rate_hz=10.0)

    found = surveyed(episode("deep", joints() | {"depth.head": depth, "counter": counter}))

    [notes] = found.notes.values()
    assert notes == (
        "counter is left out: a table has no uint64",
        "depth.head is left out: a sample has 22500 values, a step has from 1 to 20000",
    )
