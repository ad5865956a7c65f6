"""DROID's raw recordings against h5py, SciPy and hand-made numbers.

No original recording is at hand: files are laid out as the recorder's own source writes them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from demos import labels as labelling
from demos.errors import ImportFailed
from demos.formats.droid_example import EXTERIOR, START_MS, WRIST
from demos.importers import Found, Item, Options, Refused, Remark, import_source, importers, locate
from demos.model import Draft, Embodiment, Joint
from demos.store import EpisodeStore
from tests.droid_trees import STEPS, Tables, write
from tests.own_hdf5 import opened_here  # noqa: F401 (a fixture for all tests here)

NAME = "Fri_Jul__7_09:42:23_2023"
STATE = "observation/robot_state"
FIRST_MS = START_MS - 31
"""The wrist camera's first image was taken before the first step began."""


def items(path: Path, **options: Any) -> list[Item]:
    return list(importers["droid"]().episodes(path, Options(**options)))


def draft(path: Path, **options: Any) -> Draft:
    [item] = items(path, **options)
    assert isinstance(item, Found), item
    return item.draft


def said(of: Draft, check: str) -> list[str]:
    return [f.message for f in of.findings if f.check == f"import.{check}"]


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("droid") / "success" / "2023-07-07" / NAME)


@pytest.fixture(scope="module")
def found(trajectory: Path) -> Draft:
    return draft(trajectory)


@pytest.mark.parametrize(
    ("stream", "place", "unit"),
    [
        ("joint_position", f"{STATE}/joint_positions", "rad"),
        ("joint_velocity", f"{STATE}/joint_velocities", "rad/s"),
        ("joint_effort", f"{STATE}/motor_torques_measured", "N·m"),
        ("joint_torques_computed", f"{STATE}/joint_torques_computed", "N·m"),
        ("gripper", f"{STATE}/gripper_position", "norm01"),
        ("cartesian_position", f"{STATE}/cartesian_position", "m"),
        ("joint_command", "action/joint_position", "rad"),
        ("gripper_command", "action/gripper_position", "norm01"),
        ("action.joint_velocity", "action/joint_velocity", "1"),
        ("action.cartesian_velocity", "action/cartesian_velocity", "1"),
        ("action.robot_state.joint_positions", "action/robot_state/joint_positions", "rad"),
        ("teleop.target_cartesian_position", "action/target_cartesian_position", "m"),
    ],
)
def test_numbers_are_the_files_own(
    trajectory: Path, found: Draft, stream: str, place: str, unit: str
) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        original = file[place][()].reshape(STEPS, -1)

    ours = found.streams[stream]

    np.testing.assert_array_equal(ours.values, original)
    assert ours.values.dtype == original.dtype
    assert ours.units[0] == unit


def test_a_share_of_the_solvers_step_is_not_called_a_speed(found: Draft) -> None:
    assert "0.2 rad" in str(found.streams["action.joint_velocity"].info.semantics)
    assert found.streams["action.joint_velocity"].units == ("1",) * 7


def test_every_dataset_of_the_robot_has_a_stream(trajectory: Path, found: Draft) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        expected = [f"{STATE}/{n}" for n in file[STATE]] + [
            f"action/{n}" for n in file["action"] if n != "robot_state"
        ]

    notes = {stream.info.note for stream in found.streams.values()}

    assert {f"DROID {place}" for place in expected} <= notes


def test_states_are_placed_when_the_robot_was_asked(trajectory: Path, found: Draft) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        asked = file["observation/timestamp/robot_state/read_start"][()]
        came = file["observation/timestamp/robot_state/read_end"][()]

    ours = found.streams["joint_position"]

    np.testing.assert_array_equal(ours.time_ns, (asked - FIRST_MS) * 1_000_000)
    np.testing.assert_array_equal(ours.arrival_ns, (came - FIRST_MS) * 1_000_000)
    assert ours.clock == "measured"
    assert ours.info.rate_hz is None


def test_the_controllers_own_stamp_is_kept(trajectory: Path, found: Draft) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        group = file["observation/timestamp/robot_state"]
        seconds, nanos = (group[f"robot_timestamp_{n}"][()] for n in ("seconds", "nanos"))

    np.testing.assert_array_equal(
        found.streams["joint_position"].source_time_ns, seconds * 10**9 + nanos
    )


def test_commands_are_placed_when_they_were_sent(trajectory: Path, found: Draft) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        sent = file["observation/timestamp/control/control_start"][()]

    ours = found.streams["joint_command"]

    np.testing.assert_array_equal(ours.time_ns, (sent - FIRST_MS) * 1_000_000)
    np.testing.assert_array_equal(ours.source_time_ns, sent * 1_000_000)


def test_images_are_placed_at_their_capture_and_not_by_the_videos_rate(
    trajectory: Path, found: Draft
) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        stamps = file["observation/timestamp/cameras"]
        taken = {
            name: stamps[f"{serial}_estimated_capture"][()]
            for name, serial in (("wrist", WRIST), ("exterior_1", EXTERIOR))
        }

    for name, expected in taken.items():
        np.testing.assert_array_equal(found.videos[name].time_ns, (expected - FIRST_MS) * 1_000_000)
    # 67 ms a step; at 60 images a second it would be 17
    assert int(np.diff(found.videos["wrist"].time_ns)[0]) == 67_000_000
    assert found.facts.provenance.parameters["image_latency_ms"] == {WRIST: 41, EXTERIOR: 41}


def test_every_stamp_is_kept_raw(trajectory: Path, found: Draft) -> None:
    ours = found.streams["timestamp"]

    with h5py.File(trajectory / "trajectory.h5") as file:
        for column, place in enumerate(ours.channels):
            np.testing.assert_array_equal(
                ours.values[:, column], file[f"observation/timestamp/{place}"][()]
            )
    assert ours.values.dtype == np.int64
    assert ours.units[ours.channels.index("robot_state/robot_timestamp_seconds")] == "s"


def test_the_day_is_that_of_the_stamps(found: Draft) -> None:
    assert found.facts.recorded_at.isoformat() == "2023-07-07T09:42:22.969000+00:00"


def test_the_pose_is_the_angles_turned_by_scipy(trajectory: Path, found: Draft) -> None:
    with h5py.File(trajectory / "trajectory.h5") as file:
        raw = file[f"{STATE}/cartesian_position"][()]

    ours = found.streams["pose.flange"]

    np.testing.assert_array_equal(ours.values[:, :3], raw[:, :3])
    np.testing.assert_allclose(
        Rotation.from_quat(ours.values[:, 3:]).as_matrix(),
        Rotation.from_euler("xyz", raw[:, 3:]).as_matrix(),
        atol=1e-12,
    )
    assert (ours.info.reference_frame, ours.info.of_frame) == ("panda_link0", "panda_link8")
    assert {"pose_command.flange", "teleop.flange"} <= set(found.streams)


def test_a_camera_on_the_arm_is_where_its_offset_from_the_flange_says(tmp_path: Path) -> None:
    # as the recorder computes it (misc/transformations.py, change_pose_frame)
    offset = np.array([0.05, -0.02, 0.03, 0.1, -0.3, 1.2])

    def ride(content: Tables) -> None:
        flange = content[f"{STATE}/cartesian_position"]
        base = Rotation.from_euler("xyz", flange[:, 3:])
        turn = (base * Rotation.from_euler("xyz", offset[3:])).as_euler("xyz")
        place = base.apply(offset[:3]) + flange[:, :3]
        group = "observation/camera_extrinsics"
        content[f"{group}/{WRIST}_left"] = np.hstack([place, turn])
        content[f"{group}/{WRIST}_left_gripper_offset"] = np.tile(offset, (STEPS, 1))

    made = draft(write(tmp_path / NAME, ride))

    flange, camera = made.streams["pose.flange"], made.streams["pose.camera.wrist_left"]
    on_arm = made.videos["wrist"].info.pose
    assert on_arm is not None
    assert on_arm.reference_frame == "panda_link8"
    base = Rotation.from_quat(flange.values[:, 3:])
    composed = base * Rotation.from_quat(on_arm.quaternion_xyzw)
    recorded = Rotation.from_quat(camera.values[:, 3:])
    assert float((composed.inv() * recorded).magnitude().max()) < 1e-9
    np.testing.assert_allclose(
        base.apply(on_arm.position_m) + flange.values[:, :3], camera.values[:, :3], atol=1e-12
    )


def test_cameras_beside_the_robot_have_lens_and_place(found: Draft) -> None:
    info = found.videos["exterior_1"].info

    assert info.intrinsics is not None
    assert info.pose is not None
    assert (info.intrinsics.fx, info.intrinsics.cx, info.intrinsics.cy) == (52.0, 32.0, 24.0)
    assert info.pose.reference_frame == "panda_link0"
    np.testing.assert_allclose(
        Rotation.from_quat(info.pose.quaternion_xyzw).as_matrix(),
        Rotation.from_euler("xyz", [-2.0, 0.1, -0.8]).as_matrix(),
        atol=1e-12,
    )


def test_a_lens_of_another_resolution_is_not_taken(tmp_path: Path) -> None:
    def of_hd(content: Tables) -> None:
        content[f"observation/camera_intrinsics/{EXTERIOR}_left"][:, 0, 2] = 640.0

    made = draft(write(tmp_path / NAME, of_hd))

    assert made.videos["exterior_1"].info.intrinsics is None
    assert said(made, "calibration")


STOPPED = slice(20, 31)


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    def let_go(content: Tables) -> None:
        enabled = np.ones(STEPS, dtype=bool)
        enabled[STOPPED] = False
        enabled[-1] = False
        content["observation/controller_info/movement_enabled"] = enabled

    return draft(write(tmp_path_factory.mktemp("paused") / NAME, let_go))


def test_who_was_in_control_is_sampled_at_changes(paused: Draft) -> None:
    authority, states = paused.streams["control_authority"], paused.streams["joint_position"]

    assert authority.values[:, 0].tolist() == [1, 0, 1, 0]
    assert authority.time_ns.tolist() == states.time_ns[[0, 20, 31, STEPS - 1]].tolist()


def test_steps_without_movement_are_kept_and_not_for_training(paused: Draft) -> None:
    states, commands = paused.streams["joint_position"], paused.streams["joint_command"]
    end = int(max(states.time_ns.max(), commands.time_ns.max()))

    parts = labelling.usable(paused.labels, 0, end)

    assert len(states) == len(commands) == STEPS
    kept = np.ones(STEPS, dtype=bool)
    kept[STOPPED] = kept[-1] = False
    for stream in (states, commands):
        inside = [any(a <= t <= b for a, b in parts) for t in stream.time_ns.tolist()]
        assert inside == kept.tolist()


def test_a_trajectory_in_full_movement_has_no_interval_to_leave_out(tmp_path: Path) -> None:
    def all_enabled(content: Tables) -> None:
        content["observation/controller_info/movement_enabled"] = np.ones(STEPS, dtype=bool)

    made = draft(write(tmp_path / NAME, all_enabled))

    assert [label.of for label in made.labels] == ["outcome"]
    assert made.streams["control_authority"].values.tolist() == [[1]]


def test_where_the_grip_was_not_recorded_skipped_actions_say_it(tmp_path: Path) -> None:
    made = draft(write(tmp_path / NAME, without=["observation/controller_info"]))

    # the example skips steps 3 and 4
    assert made.streams["control_authority"].values[:, 0].tolist() == [1, 0, 1]


def test_where_nothing_says_who_was_in_control_that_is_said(tmp_path: Path) -> None:
    silent = ["observation/controller_info", "observation/timestamp/skip_action"]

    made = draft(write(tmp_path / NAME, without=silent))

    assert made.streams["control_authority"].values.tolist() == [[1]]
    assert any("movement_enabled is not there" in a for a in made.facts.provenance.assumed)


@pytest.mark.parametrize(
    ("folder", "attributes", "value", "doubt"),
    [
        ("success", {}, "success", 0),
        ("failure", {"success": False, "failure": True}, "failure", 0),
        ("failure", {"success": None, "failure": None}, "failure", 0),
        ("failure", {"success": True, "failure": False}, "success", 1),
        ("elsewhere", {"success": False, "failure": True}, "failure", 0),
        ("elsewhere", {"success": False, "failure": False}, "", 0),
    ],
)
def test_the_outcome_is_what_the_operator_pressed_else_where_it_lies(
    folder: str, attributes: dict[str, Any], value: str, doubt: int, tmp_path: Path
) -> None:
    place = tmp_path / folder / "2023-07-07" / NAME

    made = draft(write(place, steps=8, **attributes))

    assert [o.value for o in made.labels if o.of == "outcome"] == ([value] if value else [])
    assert len(said(made, "outcome")) == doubt
    if not value:
        assert any("outcome" in text for text in made.facts.provenance.missing)


def test_the_operators_name_is_nowhere_in_the_store(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / NAME, steps=8)
    record = {"user": "Ada Lovelace", "user_id": "0d4edc83", "lab": "AUTOLab"}
    (source / "metadata_AUTOLab+0d4edc83+2023.json").write_text(json.dumps(record))
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(source, store)

    manifest = store.manifest(report.episodes[0][1])
    assert manifest.operator == "0d4edc83"
    assert manifest.provenance.parameters["attributes"]["lab"] == "AUTOLab"
    for path in (p for p in store.root.rglob("*") if p.is_file()):
        assert b"Lovelace" not in path.read_bytes(), path


def test_without_an_id_the_name_becomes_a_pseudonym_that_stays_the_same(tmp_path: Path) -> None:
    first = draft(write(tmp_path / "a" / NAME, steps=8)).session.operator
    second = draft(write(tmp_path / "b" / NAME, steps=8, user=" ada lovelace")).session.operator

    assert first == second == f"user-{hashlib.sha256(b'ada lovelace').hexdigest()[:8]}"


def test_a_step_that_was_not_written_whole_is_left_out_and_said(tmp_path: Path) -> None:
    def killed(content: Tables) -> None:
        for place in content:
            if place.startswith("action/"):
                content[place] = content[place][:-1]

    made = draft(write(tmp_path / NAME, killed))

    assert len(made.streams["joint_position"]) == len(made.streams["joint_command"]) == STEPS - 1
    assert len(said(made, "rows")) > 10


def test_rows_that_belong_to_no_known_step_are_named(tmp_path: Path) -> None:
    def late(content: Tables) -> None:
        content["action/target_cartesian_position"] = content["action/target_cartesian_position"][
            5:
        ]

    made = draft(write(tmp_path / NAME, late))

    assert "teleop.target_cartesian_position" not in made.streams
    assert any(
        "target_cartesian_position" in text and "85" in text and "90" in text
        for text in made.facts.provenance.missing
    )


def test_without_stamps_steps_are_counted_at_the_control_rate(tmp_path: Path) -> None:
    made = draft(write(tmp_path / NAME, without=["observation/timestamp"]))

    ours = made.streams["joint_position"]
    assert (ours.clock, ours.info.rate_hz) == ("nominal", 15.0)
    assert ours.time_ns[:4].tolist() == [0, 66_666_667, 133_333_333, 200_000_000]
    assert made.videos["wrist"].info.clock == "nominal"
    assert said(made, "clock")


@pytest.mark.parametrize("bad", [np.nan, 0, -5, 1e18])
def test_stamps_that_are_no_times_are_not_used_and_said(bad: float, tmp_path: Path) -> None:
    place = "observation/timestamp/robot_state/read_start"

    def spoil(content: Tables) -> None:
        spoiled = content[place].astype(np.float64)
        spoiled[7] = bad
        content[place] = spoiled

    made = draft(write(tmp_path / NAME, spoil))

    # the step's own start stands in: one millisecond before
    assert made.streams["joint_position"].time_ns[0] == 31_000_000
    assert "robot_state/read_start" in said(made, "clock")[0]


def test_a_camera_with_another_clock_is_placed_by_its_steps(tmp_path: Path) -> None:
    def since_boot(content: Tables) -> None:
        for end in ("estimated_capture", "frame_received", "read_end"):
            content[f"observation/timestamp/cameras/{WRIST}_{end}"] -= 1_600_000_000_000

    made = draft(write(tmp_path / NAME, since_boot))

    np.testing.assert_array_equal(
        made.videos["wrist"].time_ns, made.streams["joint_position"].time_ns
    )
    assert said(made, "clock")


@pytest.mark.parametrize("count", [STEPS - 4, STEPS + 6])
def test_images_are_paired_with_steps_from_the_first(count: int, tmp_path: Path) -> None:
    made = draft(write(tmp_path / NAME, images={WRIST: count}))

    video = made.videos["wrist"]
    paired = min(count, STEPS)
    assert len(video.time_ns) == paired
    assert video.shown is None or video.shown.tolist() == list(range(paired))
    assert (video.shown is None) == (count < STEPS)
    assert said(made, "images")


def test_stamps_beside_the_video_are_those_of_its_images(tmp_path: Path) -> None:
    source = write(tmp_path / NAME, images={WRIST: 12})
    received = [START_MS + 10 + 17 * n for n in range(12)]
    beside = source / "recordings" / "MP4" / f"{WRIST}_timestamps.json"
    beside.write_text(json.dumps(received))

    made = draft(source)

    expected = [(stamp - 41 - FIRST_MS) * 1_000_000 for stamp in received]
    assert made.videos["wrist"].time_ns.tolist() == expected


@pytest.mark.parametrize("beside", ["no JSON", "{}", "[[1], 2]", "[1, null]", "[1e30]", "[]"])
def test_stamps_beside_the_video_that_do_not_fit_are_passed_over(
    beside: str, tmp_path: Path
) -> None:
    source = write(tmp_path / NAME, images={WRIST: STEPS})
    (source / "recordings" / "MP4" / f"{WRIST}_timestamps.json").write_text(beside)

    made = draft(source)

    assert int(made.videos["wrist"].time_ns[0]) == 0
    assert "does not fit its video" in said(made, "clock")[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_calibrations_that_are_no_numbers_are_no_poses(bad: float, tmp_path: Path) -> None:
    def spoil(content: Tables) -> None:
        for place in content:
            if "camera_extrinsics" in place or "camera_intrinsics" in place:
                content[place] = np.full(content[place].shape, bad)

    made = draft(write(tmp_path / NAME, spoil))

    assert made.videos["wrist"].info.intrinsics is None
    assert len(made.streams["joint_position"]) == STEPS


def test_stereo_videos_stand_beside_the_single_view(tmp_path: Path) -> None:
    made = draft(write(tmp_path / NAME, images={WRIST: STEPS, f"{WRIST}-stereo": STEPS}))

    assert set(made.videos) == {"wrist", "wrist_stereo"}
    assert "side by side" in made.videos["wrist_stereo"].info.note
    assert made.videos["wrist_stereo"].info.intrinsics is None


def test_svo_files_are_named_and_missed_where_no_mp4_was_made(tmp_path: Path) -> None:
    source = write(tmp_path / NAME, images={WRIST: STEPS})
    (source / "recordings" / "SVO").mkdir()
    for serial in (WRIST, EXTERIOR):
        (source / "recordings" / "SVO" / f"{serial}.svo").write_bytes(b"SVO")

    made = draft(source)

    assert len([m for m in made.facts.provenance.missing if "SVO/" in m]) == 2
    [message] = said(made, "missing_video")
    assert EXTERIOR in message


def test_a_damaged_video_is_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    source = write(tmp_path / NAME)
    video = source / "recordings" / "MP4" / f"{WRIST}.mp4"
    video.write_bytes(video.read_bytes()[:-200])

    made = draft(source)

    assert set(made.videos) == {"exterior_1"}
    assert said(made, "missing_video")


def test_videos_reach_the_store_byte_for_byte(trajectory: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(trajectory, store)

    [(_, episode)] = report.episodes
    manifest = store.manifest(episode)
    original = (trajectory / "recordings" / "MP4" / f"{WRIST}.mp4").read_bytes()
    assert manifest.files["wrist.mp4"].sha256 == hashlib.sha256(original).hexdigest()
    assert manifest.provenance.source_sha256["trajectory.h5"] == (
        hashlib.sha256((trajectory / "trajectory.h5").read_bytes()).hexdigest()
    )
    assert import_source(trajectory, store).episodes == ()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("disk") / "data" / "droid_raw"
    for place in (
        "success/2023-07-08/Sat_Jul__8_08:00:00_2023",
        "success/2023-07-07/Fri_Jul__7_09:42:23_2023",
        "failure/2023-07-07/Fri_Jul__7_11:00:01_2023",
        "failure/2023-07-10/Mon_Jul_10_11:00:01_2023",
    ):
        write(root / place, steps=8, success="success" in place, failure="failure" in place)
    (root / "failure/2023-07-10/Mon_Jul_10_11:00:01_2023/trajectory.h5").write_bytes(b"cut")
    return root


def test_a_tree_is_one_import_in_the_order_of_recording(tree: Path) -> None:
    found = items(tree)

    assert [item.name for item in found if isinstance(item, Found)] == [
        "success/2023-07-07/Fri_Jul__7_09:42:23_2023",
        "failure/2023-07-07/Fri_Jul__7_11:00:01_2023",
        "success/2023-07-08/Sat_Jul__8_08:00:00_2023",
    ]
    [refused] = [item for item in found if isinstance(item, Refused)]
    assert refused.name == "failure/2023-07-10/Mon_Jul_10_11:00:01_2023"
    assert refused.hint


def test_a_tree_below_the_folder_named_is_found_as_one(tree: Path) -> None:
    name, path, [remark] = locate(tree.parent.parent)

    assert (name, path) == ("droid", tree.parent)
    assert "below the source" in remark.text
    assert len(items(path)) == 4


@pytest.mark.parametrize("part", ["success", "success/2023-07-07", "failure"])
def test_a_part_of_a_tree_is_a_source(part: str, tree: Path) -> None:
    assert importers["droid"]().sniff(tree / part)
    assert all(not isinstance(item, Remark) for item in items(tree / part))


def test_labs_of_a_release_are_one_tree(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "1.0.1").mkdir()
    (tmp_path / "1.0.1" / "AUTOLab").symlink_to(tree)

    assert importers["droid"]().sniff(tmp_path / "1.0.1")
    assert len(items(tmp_path / "1.0.1")) == 4


def test_operators_sit_apart_and_one_operator_once(tmp_path: Path) -> None:
    root = tmp_path / "droid_raw"
    for number, user in enumerate(("Ada Lovelace", "Alan Turing", "Ada Lovelace")):
        write(
            root / "success" / "2023-07-07" / f"Fri_Jul__7_09:42:2{number}_2023", steps=8, user=user
        )

    sessions = [item.draft.session.id for item in items(root) if isinstance(item, Found)]

    assert sessions[0] == sessions[2] != sessions[1]


def test_another_recorders_trajectory_is_not_claimed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "trajectory.h5", "w") as file:
        file["traj_0/actions"] = np.zeros((4, 7))

    assert not importers["droid"]().sniff(tmp_path)


def test_a_trajectory_without_a_step_is_refused(tmp_path: Path) -> None:
    [item] = items(write(tmp_path / NAME, without=["action", STATE]))

    assert isinstance(item, Refused)
    assert "no step" in item.reason


def test_a_folder_without_a_trajectory_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="holds no trajectory") as caught:
        items(tmp_path)

    assert "success/" in caught.value.hint


ARM = Embodiment(
    id="my_arm",
    title="An arm",
    joints=tuple(
        Joint(name=f"axis_{n}", group="arm", lower=-1.5, upper=1.5, aliases=(f"panda_joint{n}",))
        for n in range(1, 8)
    ),
)


def test_a_body_that_knows_the_joints_gives_them_its_names(trajectory: Path) -> None:
    made = draft(trajectory, embodiment=ARM)

    names = tuple(f"axis_{n}" for n in range(1, 8))
    for stream in ("joint_position", "joint_command", "joint_velocity", "joint_effort"):
        assert made.streams[stream].channels == names
    assert made.session.embodiment == "my_arm"


def test_a_body_that_does_not_know_a_joint_refuses_unless_told_otherwise(trajectory: Path) -> None:
    short = ARM.model_copy(update={"joints": ARM.joints[:6]})

    [refused] = items(trajectory, embodiment=short)
    kept = draft(trajectory, embodiment=short, accept_mapping=True)

    assert isinstance(refused, Refused)
    assert "panda_joint7" in refused.reason
    assert kept.streams["joint_position"].channels == tuple(f"axis_{n}" for n in range(1, 7))
    assert kept.streams["joint_position.unmapped"].channels == ("panda_joint7",)
