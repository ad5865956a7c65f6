"""xr_teleoperate folders: files here follow the recorder's layout (episode_writer.py); a real
recording is read in `test_real_folders.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from demos.errors import ImportFailed
from demos.formats import xr_teleoperate_example as example
from demos.formats.xr_teleoperate import CANNED_GOAL, camera_names
from demos.importers import (
    Found,
    Item,
    Options,
    Refused,
    importers,
    locate,
    open_source,
)
from demos.model import Draft
from demos.store.video import index_file


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return example.write_task(tmp_path / "pour_water")


def edit(task: Path, change: Callable[[dict[str, Any]], object], episode: str = "0000") -> Path:
    path = task / f"episode_{episode}" / "data.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return task


def rows(task: Path, change: Callable[[int, dict[str, Any]], object]) -> Path:
    return edit(task, lambda plain: [change(n, row) for n, row in enumerate(plain["data"])])


def items(task: Path, **more: Any) -> list[Item]:
    return list(open_source(task, Options(**more)))


def draft(task: Path, **more: Any) -> Draft:
    [item] = items(task, **more)
    assert isinstance(item, Found), item
    return item.draft


def refusal(task: Path) -> Refused:
    [item] = items(task)
    assert isinstance(item, Refused), item
    assert item.hint
    return item


def set_at(row: dict[str, Any], path: str, value: Any) -> None:
    *inner, last = path.split("/")
    for key in inner:
        row = row[key]
    row[last] = value


def found(draft: Draft, check: str) -> list[str]:
    return [f.message for f in draft.findings if f.check == f"import.{check}"]


def said(draft: Draft) -> str:
    return " / ".join(draft.facts.provenance.assumed)


# --------------------------------------------------------------------- numbers


def test_arms_and_inspire_hands_are_under_their_names(task: Path) -> None:
    raw = json.loads((task / "episode_0000/data.json").read_text())["data"]

    streams = draft(task).streams

    assert sorted(streams) == [
        "gripper.left_hand", "gripper.right_hand", "gripper_command.left_hand",
        "gripper_command.right_hand", "joint_command", "joint_position",
    ]  # fmt: skip
    arms = streams["joint_position"]
    assert arms.channels[9] == "right_shoulder_yaw_joint"
    np.testing.assert_array_equal(
        arms.values[:, 9], [row["states"]["right_arm"]["qpos"][2] for row in raw]
    )
    hand = streams["gripper.right_hand"]
    assert hand.channels == (
        "right_hand_pinky", "right_hand_ring", "right_hand_middle",
        "right_hand_index", "right_hand_thumb_bend", "right_hand_thumb_rotation",
    )  # fmt: skip
    assert hand.units == ("norm01",) * 6
    np.testing.assert_array_equal(
        hand.values[:, 4], [row["states"]["right_ee"]["qpos"][4] for row in raw]
    )


def test_the_fingers_of_dex3_hands_are_sorted_by_name_not_by_place(task: Path) -> None:
    fingers = [0.1, 0.2, 0.3, -0.4, -0.5, -0.6, -0.7]

    def change(_: int, row: dict[str, Any]) -> None:
        for group in ("states", "actions"):
            row[group]["left_ee"]["qpos"] = fingers
            row[group]["right_ee"]["qpos"] = [abs(value) for value in fingers]

    made = draft(rows(task, change))

    assert made.session.embodiment == "g1_dex3"
    joints = made.streams["joint_position"]
    last = dict(zip(joints.channels, joints.values[0].tolist(), strict=True))
    # Unitree's order: left thumb, middle, index; right thumb, index, middle
    assert last["left_hand_middle_1_joint"] == -0.5
    assert last["left_hand_index_0_joint"] == -0.6
    assert last["right_hand_index_0_joint"] == 0.4
    assert last["right_hand_middle_1_joint"] == 0.7


@pytest.mark.parametrize(
    ("hand", "stream", "channels", "unit"),
    [
        ([3.0], "gripper.left_hand", ("kLeftGripper",), "unknown"),
        ([30.0] * 6, "gripper.left_hand", ("left_ee_0", "left_ee_1"), "unknown"),
        ([0.5] * 3, "gripper.left_hand", ("left_ee_0", "left_ee_1"), "unknown"),
    ],
)
def test_hands_that_no_body_here_has_keep_their_own_names(
    hand: list[float], stream: str, channels: tuple[str, ...], unit: str, task: Path
) -> None:
    def change(_: int, row: dict[str, Any]) -> None:
        for group in ("states", "actions"):
            for side in ("left", "right"):
                row[group][f"{side}_ee"]["qpos"] = hand

    made = draft(rows(task, change))

    assert made.streams[stream].channels[:2] == channels
    assert set(made.streams[stream].units) == {unit}
    assert made.streams["joint_position.left_arm"].channels[0] == "kLeftShoulderPitch"
    assert set(made.streams["joint_position.left_arm"].units) == {"rad"}
    assert "no known embodiment" in said(made)


def test_the_count_is_said_to_be_all_there_is_to_go_by(task: Path) -> None:
    assert "7 values per arm and Inspire by their count" in said(draft(task))


def test_names_in_the_file_are_not_believed(task: Path) -> None:
    wrong = [f"kRightShoulderPitch{n}" for n in range(7)]

    made = draft(edit(task, lambda plain: plain["info"]["joint_names"].update(left_arm=wrong)))

    assert made.streams["joint_position"].channels[0] == "left_shoulder_pitch_joint"


def test_a_named_body_that_does_not_fit_is_refused_with_the_channels(task: Path) -> None:
    [item] = items(task, embodiment=None)
    assert isinstance(item, Found)
    from demos.embodiment import load

    [item] = items(task, embodiment=load("g1_dex3"))

    assert isinstance(item, Refused)
    assert "kLeftHandPinky" in item.reason
    assert "--accept-mapping" in item.hint


def test_velocities_and_efforts_come_in_where_they_are_written(task: Path) -> None:
    def change(n: int, row: dict[str, Any]) -> None:
        for side in ("left", "right"):
            row["states"][f"{side}_arm"]["qvel"] = [n + 0.5] * 7
            row["states"][f"{side}_arm"]["torque"] = [float(n)] * 7

    made = draft(rows(task, change)).streams

    assert made["joint_velocity"].units == ("rad/s",) * 14
    assert made["joint_effort"].units == ("N·m",) * 14
    assert made["joint_velocity"].channels[13] == "right_wrist_yaw_joint"
    assert made["joint_effort"].values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_touch_and_other_parts_are_kept_under_their_own_names(task: Path) -> None:
    def change(n: int, row: dict[str, Any]) -> None:
        row["tactiles"] = {"left_ee": [float(n)] * 9}
        row["states"]["torso"] = {"height": 0.1 * n}
        row["actions"]["torso"] = {"qvel": [n]}

    made = draft(rows(task, change)).streams

    assert made["tactile.left_hand"].values.shape == (6, 9)
    assert made["torso.height"].values[:, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert made["action.torso.qvel"].values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_null_and_nan_are_gaps_and_counted(task: Path) -> None:
    path = task / "episode_0000/data.json"
    rows(task, lambda n, row: set_at(row, "states/left_arm/qpos", [n] * 6 + [7.25]))
    path.write_text(path.read_text().replace("7.25", "NaN", 1))

    made = draft(task)

    assert np.isnan(made.streams["joint_position"].values[0, 6])
    assert np.isfinite(made.streams["joint_position"].values[1:]).all()
    assert found(made, "numbers") == ["states/left_arm/qpos: 1 values are null or NaN"]


@pytest.mark.parametrize("value", ["words", [1.0, "x"], {"deep": {"er": []}}, [True], [10**400]])
def test_what_is_no_number_is_named_and_costs_that_part_only(value: Any, task: Path) -> None:
    rows(task, lambda n, row: set_at(row, "states/body", {"qpos": value} if n == 2 else {}))

    made = draft(task)

    assert "joint_position" in made.streams
    assert not any(name.startswith("body") for name in made.streams)


def test_rows_that_lack_a_hand_are_left_out_and_counted(task: Path) -> None:
    rows(task, lambda n, row: set_at(row, "states/left_ee/qpos", []) if n in (1, 4) else None)

    made = draft(task)

    arms = made.streams["joint_position"]
    assert (arms.time_ns / 1e9).tolist() == pytest.approx([0, 2 / 30, 3 / 30, 5 / 30], abs=1e-9)
    assert found(made, "rows") == ["2 rows lack an arm or a hand and were left out"]
    assert len(made.streams["joint_command"]) == 6


def test_numbers_beyond_the_joints_ranges_are_doubted(task: Path) -> None:
    rows(task, lambda n, row: set_at(row, "states/left_arm/qpos", [90.0 + n] * 7))

    assert any("reaches 95" in text for text in found(draft(task), "mapping"))


# ------------------------------------------------------------------------ time


def test_time_is_the_number_of_the_row_over_the_nominal_rate(task: Path) -> None:
    made = draft(edit(task, lambda plain: plain["info"]["image"].update(fps=25)))

    stream = made.streams["joint_position"]
    assert stream.time_ns.tolist() == [
        0,
        40_000_000,
        80_000_000,
        120_000_000,
        160_000_000,
        2 * 10**8,
    ]
    assert (stream.clock, stream.info.rate_hz) == ("nominal", 25.0)
    assert "idx / 25 Hz" in said(made)


def test_rows_that_the_recorder_dropped_leave_a_gap_that_is_told(task: Path) -> None:
    edit(
        task, lambda plain: plain.update(data=[r for r in plain["data"] if r["idx"] not in (2, 3)])
    )

    made = draft(task)

    times = made.streams["joint_position"].time_ns / 1e9
    assert times.tolist() == pytest.approx([0, 1 / 30, 4 / 30, 5 / 30], abs=1e-9)
    [finding] = [f for f in made.findings if f.check == "import.rows"]
    assert finding.measured == 2.0
    assert "2 rows are missing, the first after row 1" in finding.message


def test_without_a_rate_the_recorders_usual_one_is_assumed(task: Path) -> None:
    made = draft(edit(task, lambda plain: plain["info"].pop("image")))

    assert made.streams["joint_position"].info.rate_hz == 30.0
    assert "info.image.fps is missing" in said(made)


@pytest.mark.parametrize("fps", [0, -30, True, "30", 1e9, [30]])
def test_a_rate_that_is_none_is_refused(fps: Any, task: Path) -> None:
    edit(task, lambda plain: plain["info"]["image"].update(fps=fps))

    assert "which is no rate" in refusal(task).reason


@pytest.mark.parametrize("idx", [None, -1, 1.5, "3", 10**30, True])
def test_a_row_without_a_number_is_refused(idx: Any, task: Path) -> None:
    rows(task, lambda n, row: row.update(idx=idx) if n == 3 else None)

    assert "row 3 has idx" in refusal(task).reason


# ---------------------------------------------------------------------- images


def test_every_jpeg_is_a_packet_byte_for_byte(task: Path) -> None:
    files = sorted((task / "episode_0000/colors").iterdir())
    for item in importers["xr_teleoperate"]().episodes(task, Options()):
        assert isinstance(item, Found)
        video = item.draft.videos["egocentric"]
        with av.open(str(video.path)) as container:
            packets = [bytes(p) for p in container.demux(video=0) if p.size]
        codec = index_file(video.path).codec

    assert packets == [path.read_bytes() for path in files]
    assert codec == "mjpeg"


def test_images_that_are_missing_or_damaged_are_named_and_the_rest_keep_their_time(
    task: Path,
) -> None:
    colors = task / "episode_0000/colors"
    (colors / "000001_color_0.jpg").unlink()
    whole = (colors / "000004_color_0.jpg").read_bytes()
    (colors / "000004_color_0.jpg").write_bytes(whole[: len(whole) // 2])

    made = draft(task)

    times = made.videos["egocentric"].time_ns / 1e9
    assert times.tolist() == pytest.approx([0, 2 / 30, 3 / 30, 5 / 30], abs=1e-9)
    [finding] = [f for f in made.findings if f.check == "import.images"]
    assert finding.measured == 2.0
    assert "000001_color_0.jpg is not there" in finding.message
    assert made.facts.provenance.missing == ("2 images of egocentric",)


def test_an_episode_without_any_image_comes_in_without_a_camera(task: Path) -> None:
    for path in (task / "episode_0000/colors").iterdir():
        path.write_bytes(b"")

    made = draft(task)

    assert made.videos == {}
    assert "none can be read" in found(made, "missing_video")[0]


@pytest.mark.parametrize(
    "place",
    ["../../secret.jpg", "/etc/passwd", "colors/../../../secret.jpg", "\0", "x" * 5000, "."],
)
def test_a_file_outside_of_the_episode_is_never_read(place: str, task: Path) -> None:
    secret = task.parent / "secret.jpg"
    secret.write_bytes(example.jpeg(np.full((48, 64, 3), 255, np.uint8)))
    link = task / "episode_0000/colors/link.jpg"
    link.symlink_to(secret)
    rows(task, lambda n, row: row.update(colors={"color_0": place, "color_1": "colors/link.jpg"}))

    made = draft(task)

    assert made.videos == {}
    assert len(found(made, "missing_video")) == 2
    assert any("leads out of the folder" in text for text in found(made, "images"))


def test_two_eyes_and_wrists_are_told_apart_by_their_number() -> None:
    four = [f"color_{n}" for n in range(4)]

    assert camera_names(["color_0"]) == {"color_0": "egocentric"}
    assert camera_names(four[:2]) == {"color_0": "egocentric", "color_1": "color_1"}
    assert list(camera_names(four[:3]).values()) == ["egocentric", "left_wrist", "right_wrist"]
    assert list(camera_names(list(reversed(four))).values()) == [
        "egocentric", "egocentric_right", "left_wrist", "right_wrist",
    ]  # fmt: skip
    assert camera_names(["wrist_left"]) == {}


def test_halves_of_the_head_are_said(task: Path) -> None:
    def change(_: int, row: dict[str, Any]) -> None:
        row["colors"] = {f"color_{n}": row["colors"]["color_0"] for n in range(4)}

    made = draft(rows(task, change))

    assert sorted(made.videos) == ["egocentric", "egocentric_right", "left_wrist", "right_wrist"]
    assert "left and right half of the head's image" in said(made)


def test_both_eyes_in_one_image_are_said(task: Path) -> None:
    for path in (task / "episode_0000/colors").iterdir():
        path.write_bytes(example.jpeg(np.zeros((48, 128, 3), np.uint8)))

    assert "both eyes side by side" in said(draft(task))


def test_depth_as_jpeg_is_a_camera_that_says_what_was_lost(task: Path) -> None:
    depths = task / "episode_0000/depths"
    for path in (task / "episode_0000/colors").iterdir():
        (depths / path.name.replace("color", "depth")).write_bytes(path.read_bytes())
    rows(task, lambda n, row: row.update(depths={"depth_0": f"depths/{n:06d}_depth_0.jpg"}))

    made = draft(task)

    assert "lossy, and no longer metres" in made.videos["depth_0"].info.note
    assert "lossy, and no longer metres" in said(made)


# ----------------------------------------------------------------------- words


def test_the_recorders_own_text_is_no_instruction(task: Path) -> None:
    made = draft(edit(task, lambda plain: plain["text"].update(goal=CANNED_GOAL)))

    assert made.facts.instruction == ""
    assert made.facts.task == "pour_water"
    assert "counts as unlabelled" in said(made)


def test_a_goal_that_somebody_wrote_is_the_instruction(task: Path) -> None:
    made = draft(task)

    assert made.facts.instruction == "wave with the arm"
    assert made.facts.task == "wave_with_the_arm"


@pytest.mark.parametrize(("success", "outcomes"), [(True, []), (False, ["failure"]), (None, [])])
def test_only_a_failure_that_was_marked_is_an_outcome(
    success: Any, outcomes: list[str], task: Path
) -> None:
    made = draft(edit(task, lambda plain: plain.update(rewards={"success": success})))

    assert [label.value for label in made.labels if label.of == "outcome"] == outcomes


def test_sound_and_simulator_states_that_stay_out_are_named(task: Path) -> None:
    def change(n: int, row: dict[str, Any]) -> None:
        row.update(audios={"mic0": f"audios/audio_{n:06d}_mic0.npy"}, sim_state='{"x": 1}')

    made = draft(rows(task, change))

    assert found(made, "audio") == ["the sound of mic0 (6 pieces) was not kept"]
    assert found(made, "sim_state") == ["the simulator's state was not kept"]


# ----------------------------------------------------------------- whole files


def test_a_crashed_episode_is_refused_by_name_and_the_rest_goes_in(task: Path) -> None:
    (task / "episode_0001/colors").mkdir(parents=True)
    (task / "episode_0001/colors/000000_color_0.jpg").write_bytes(b"\xff\xd8\xff")

    good, crashed = items(task)

    assert isinstance(good, Found)
    assert isinstance(crashed, Refused)
    assert "episode_0001 has 1 images in colors/ but no data.json" in crashed.reason
    assert "record it again" in crashed.hint


@pytest.mark.parametrize("end", ["\n  ]", ",\n", ',\n{"idx": 6, "col'])
def test_a_file_that_was_never_closed_gives_the_rows_it_has(end: str, task: Path) -> None:
    path = task / "episode_0000/data.json"
    plain = json.loads(path.read_text())
    written = ",\n".join(json.dumps(row, indent=4) for row in plain["data"])
    head = f'{{\n"info": {json.dumps(plain["info"])},\n"text": {{}},\n"data": [\n{written}'
    path.write_text(head + end)

    made = draft(task)

    assert len(made.streams["joint_position"]) == 6
    assert found(made, "closed") == ["data.json was not closed: the recorder stopped after row 5"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"[]", "no list of rows"),
        (b'{"data": {}}', "no list of rows"),
        (b'{"data": []}', "has no rows"),
        (b'{"data": [1]}', "a row is no object"),
        (b'{"data": [{"idx": 0}]}', "no row has any number"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_the_reason(
    content: bytes, why: str, task: Path
) -> None:
    (task / "episode_0000/data.json").write_bytes(content)

    assert why in refusal(task).reason


def test_episodes_come_in_the_order_of_their_numbers(task: Path) -> None:
    for number in ("0010", "0002", "10000"):
        example.write_task(task / "more")
        (task / "more/episode_0000").rename(task / f"episode_{number}")

    assert [i.name for i in items(task) if isinstance(i, Found)] == [
        "episode_0000", "episode_0002", "episode_0010", "episode_10000",
    ]  # fmt: skip


def test_one_episode_may_be_named_and_two_tasks_may_not(task: Path) -> None:
    [item] = items(task / "episode_0000")
    assert isinstance(item, Found)
    assert locate(task.parent)[1] == task
    example.write_task(task.parent / "another")

    with pytest.raises(ImportFailed, match="holds 2 recordings"):
        items(task.parent)
