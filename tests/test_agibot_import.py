"""AgiBot World against h5py, SciPy and hand-made numbers.

No original recording is at hand: files are laid out as the dataset cards and readers of real
files describe them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from demos.formats.agibot_example import EPISODE, START_NS, TASK, UNSENT
from demos.importers import Found, Item, Options, import_source, importers, locate
from demos.model import Draft, Embodiment, Joint
from demos.store import EpisodeStore
from tests.agibot_trees import ROWS, SIM_JOINTS, SIM_NAMES, Tables, digital_world, film, put, write
from tests.lerobot_folders import encoded, picture
from tests.own_hdf5 import opened_here  # noqa: F401 (a fixture for all tests here)

STEP_NS = 33_333_333


def items(path: Path, **options: Any) -> list[Item]:
    return list(importers["agibot"]().episodes(path, Options(**options)))


def draft(path: Path, **options: Any) -> Draft:
    [item] = items(path, **options)
    assert isinstance(item, Found), item
    return item.draft


def said(of: Draft, check: str) -> list[str]:
    return [f.message for f in of.findings if f.check == f"import.{check}"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("agibot") / "AgiBotWorld-Beta")


@pytest.fixture(scope="module")
def found(tree: Path) -> Draft:
    return draft(tree)


def original(tree: Path, place: str) -> Any:
    with h5py.File(tree / "proprio_stats" / TASK / EPISODE / "proprio_stats.h5") as file:
        return file[place][()]


def test_joints_are_arms_head_and_waist_with_the_cards_names(tree: Path, found: Draft) -> None:
    ours = found.streams["joint_position"]

    parts = [original(tree, f"state/{g}/position") for g in ("joint", "head", "waist")]
    np.testing.assert_array_equal(ours.values, np.hstack(parts))
    assert ours.channels[0] == "arm_l_j1"
    assert ours.channels[7] == "arm_r_j1"
    assert ours.channels[14:] == ("head_yaw", "head_pitch", "waist_pitch", "waist_lift")
    assert ours.units == ("rad",) * 17 + ("m",)


@pytest.mark.parametrize(
    ("stream", "place", "side", "unit"),
    [
        ("gripper.left_hand", "state/effector/position", 0, "mm"),
        ("gripper.right_hand", "state/effector/position", 1, "mm"),
        ("gripper_command.left_hand", "action/effector/position", 0, "norm01"),
        ("gripper_command.right_hand", "action/effector/position", 1, "norm01"),
    ],
)
def test_a_gripper_is_measured_in_mm_and_told_a_share(
    stream: str, place: str, side: int, unit: str, tree: Path, found: Draft
) -> None:
    ours = found.streams[stream]

    np.testing.assert_array_equal(ours.values[:, 0], original(tree, place)[:, side])
    assert ours.units == (unit,)


def test_the_current_keeps_numbers_whose_unit_nobody_says(tree: Path, found: Draft) -> None:
    ours = found.streams["joint_current"]

    np.testing.assert_array_equal(ours.values, original(tree, "state/joint/current_value"))
    assert set(ours.units) == {"unknown"}


def test_stamps_are_nanoseconds_from_the_first_row(tree: Path, found: Draft) -> None:
    stamps = original(tree, "timestamp")

    ours = found.streams["joint_position"]

    np.testing.assert_array_equal(ours.time_ns, stamps - stamps[0])
    np.testing.assert_array_equal(ours.source_time_ns, stamps)
    assert ours.clock == "measured"
    assert found.facts.recorded_at.isoformat() == "2025-02-21T03:44:44.562531+00:00"


def test_a_command_has_the_rows_that_were_sent_and_the_rest_stands_apart(
    tree: Path, found: Draft
) -> None:
    sent = original(tree, "action/joint/index")
    whole = original(tree, "action/joint/position")

    ours, rest = found.streams["joint_command"], found.streams["joint_command_unsent"]

    np.testing.assert_array_equal(ours.values, whole[sent])
    np.testing.assert_array_equal(ours.time_ns, sent * STEP_NS)
    np.testing.assert_array_equal(rest.values, whole[list(UNSENT)])
    assert rest.time_ns.tolist() == [row * STEP_NS for row in UNSENT]
    assert any(f"{ROWS - 2} of {ROWS} rows" in a for a in found.facts.provenance.assumed)
    assert len(found.streams["joint_command.head"]) == ROWS


def test_index_gaps_are_gaps_in_the_command(tmp_path: Path) -> None:
    rows = np.r_[5:40, 60:100]

    def gappy(content: Tables) -> None:
        content["action/joint/index"] = rows

    made = draft(write(tmp_path / "tree", gappy))

    ours, rest = made.streams["joint_command"], made.streams["joint_command_unsent"]
    assert ours.time_ns.tolist() == (rows * STEP_NS).tolist()
    assert int(np.diff(ours.time_ns).max()) == 21 * STEP_NS
    assert len(ours) + len(rest) == ROWS


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        ([3, 3, 2, 1], [1, 2, 3]),
        ([-1, 0, 5, 10**9], [0, 5]),
        (np.array([0.0, 1.0, 2.5, np.nan]), [0, 1]),
        (np.zeros(0, np.int64), []),
    ],
)
def test_an_index_counts_rows_of_the_episode_once(
    index: Any, rows: list[int], tmp_path: Path
) -> None:
    def replace(content: Tables) -> None:
        content["action/joint/index"] = np.asarray(index)

    made = draft(write(tmp_path / "tree", replace))

    sent = made.streams.get("joint_command")
    assert ([] if sent is None else (sent.time_ns // STEP_NS).tolist()) == rows
    assert len(made.streams["joint_command_unsent"]) == ROWS - len(rows)
    assert bool(said(made, "index")) == (len(rows) < len(index))


def test_poses_of_a_real_robot_are_xyzw_already(tree: Path, found: Draft) -> None:
    for number, side in enumerate(("left", "right")):
        ours = found.streams[f"pose.{side}_flange"]

        np.testing.assert_array_equal(
            ours.values[:, :3], original(tree, "state/end/position")[:, number]
        )
        np.testing.assert_array_equal(
            ours.values[:, 3:], original(tree, "state/end/orientation")[:, number]
        )
    assert ours.channels[3:] == ("qx", "qy", "qz", "qw")
    assert found.streams["pose.base_link"].info.reference_frame == "odom"


def test_the_bases_speed_is_a_command(tree: Path, found: Draft) -> None:
    ours = found.streams["base_command"]

    np.testing.assert_array_equal(ours.values, original(tree, "action/robot/velocity"))
    assert ours.units == ("m/s", "rad/s")


def test_placeholders_without_rows_are_passed_over(found: Draft) -> None:
    assert not any("wrench" in name or "force" in name for name in found.streams)
    assert not any("wrench" in text for text in found.facts.provenance.missing)


def test_annotated_actions_are_phases_of_the_source(found: Draft) -> None:
    [label] = [o for o in found.labels if o.of == "phases"]

    assert (label.annotator, label.role) == ("agibot (source)", "reviewer")
    first, second = label.spans
    assert (first.value, first.start_ns, first.end_ns) == ("Pick", STEP_NS, 4 * STEP_NS)
    assert first.notes["action_text"] == "Retrieve cucumber."
    assert (second.value, second.tier) == ("Place", "task")
    assert second.start_ns == first.end_ns


def test_the_words_of_the_task_are_kept(found: Draft) -> None:
    assert found.facts.instruction == "Pickup items in the supermarket"
    assert found.facts.task == "pickup_items_in_the_supermarket"
    assert found.facts.origin == "human"
    assert found.facts.provenance.parameters["init_scene_text"] == (
        "The robot is in front of the fruit stand."
    )


@pytest.mark.parametrize(
    ("action", "kept"),
    [
        ({"start_frame": 10, "end_frame": ROWS, "skill": "Pick"}, (10, ROWS - 1)),
        ({"start_frame": 10, "end_frame": ROWS + 500, "skill": "Pick"}, (10, ROWS - 1)),
        ({"start_frame": 10, "end_frame": 10, "skill": "Pick"}, (10, 10)),
        ({"start_frame": ROWS, "end_frame": ROWS + 5, "skill": "Pick"}, None),
        ({"start_frame": 20, "end_frame": 10, "skill": "Pick"}, None),
        ({"start_frame": -1, "end_frame": 10, "skill": "Pick"}, None),
        ({"start_frame": None, "end_frame": 10, "skill": "Pick"}, None),
        ("no action at all", None),
    ],
)
def test_actions_beyond_the_episode_are_cut_or_left_out(
    action: Any, kept: tuple[int, int] | None, tmp_path: Path
) -> None:
    words = [{"episode_id": int(EPISODE), "label_info": {"action_config": [action]}}]

    made = draft(write(tmp_path / "tree", words=words, videos={}))

    if kept is None:
        assert made.labels == ()
        assert said(made, "words")
    else:
        [span] = made.labels[0].spans
        assert (span.start_ns, span.end_ns) == (kept[0] * STEP_NS, kept[1] * STEP_NS)


@pytest.mark.parametrize(
    "words", ["not JSON", "{}", [], [{"episode_id": 1}], [7, None], [{"episode_id": int(EPISODE)}]]
)
def test_an_episode_without_words_goes_in_all_the_same(words: Any, tmp_path: Path) -> None:
    made = draft(write(tmp_path / "tree", words=words, videos={}))

    assert made.facts.instruction == ""
    assert made.labels == ()
    known = words == [{"episode_id": int(EPISODE)}]
    assert known != any("task_info" in text for text in made.facts.provenance.missing)


def test_actions_longer_than_states_lose_what_has_no_stamp(tmp_path: Path) -> None:
    def longer(content: Tables) -> None:
        content["action/joint/position"] = np.vstack([content["action/joint/position"]] * 2)
        del content["action/joint/index"]

    made = draft(write(tmp_path / "tree", longer))

    assert len(made.streams["joint_command"]) == ROWS
    assert f"{ROWS} rows more" in said(made, "rows")[0]


def test_a_table_with_too_few_rows_is_named_and_not_placed(tmp_path: Path) -> None:
    def shorter(content: Tables) -> None:
        content["state/head/position"] = content["state/head/position"][:-3]

    made = draft(write(tmp_path / "tree", shorter))

    assert made.streams["joint_position"].values.shape == (ROWS, 16)
    assert any("state/head/position" in text for text in made.facts.provenance.missing)


def test_a_file_with_arms_only_is_enough(tmp_path: Path) -> None:
    def arms(content: Tables) -> None:
        for place in [p for p in content if not p.startswith("state/joint/position")]:
            del content[place]

    made = draft(write(tmp_path / "tree", arms, words=[], videos={}))

    assert list(made.streams) == ["joint_position"]
    assert made.streams["joint_position"].clock == "nominal"
    assert said(made, "clock")


def test_hands_with_six_joints_each_are_in_rad(tmp_path: Path) -> None:
    fingers = np.random.default_rng(0).uniform(size=(ROWS, 12))

    def hands(content: Tables) -> None:
        content["state/effector/position"] = fingers
        content["action/effector/position"] = fingers

    made = draft(write(tmp_path / "tree", hands))

    np.testing.assert_array_equal(made.streams["gripper.right_hand"].values, fingers[:, 6:])
    assert made.streams["gripper_command.left_hand"].units == ("rad",) * 6


@pytest.mark.parametrize(
    "stamps",
    [
        np.zeros(ROWS, np.int64),
        np.arange(ROWS, dtype=np.int64),
        -START_NS + np.arange(ROWS),
        np.full(ROWS, np.nan),
        np.array([b"x"] * ROWS),
    ],
    ids=["zero", "counted", "negative", "nan", "text"],
)
def test_stamps_that_are_no_times_are_counted_instead_and_said(stamps: Any, tmp_path: Path) -> None:
    def replace(content: Tables) -> None:
        content["timestamp"] = stamps

    made = draft(write(tmp_path / "tree", replace))

    ours = made.streams["joint_position"]
    assert (ours.clock, ours.info.rate_hz) == ("nominal", 30.0)
    assert len(ours) == ROWS
    assert said(made, "clock")


def test_rows_without_a_stamp_are_left_out_and_said(tmp_path: Path) -> None:
    def shorter(content: Tables) -> None:
        content["timestamp"] = content["timestamp"][:-2]

    made = draft(write(tmp_path / "tree", shorter))

    assert len(made.streams["joint_position"]) == ROWS - 2
    assert "2 rows more" in said(made, "rows")[0]


def test_images_have_the_moments_of_their_rows_and_the_videos_bytes(
    tree: Path, tmp_path: Path
) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(tree, store)

    manifest = store.manifest(report.episodes[0][1])
    video = tree / "observations" / TASK / EPISODE / "videos" / "head_color.mp4"
    assert manifest.files["head.mp4"].sha256 == hashlib.sha256(video.read_bytes()).hexdigest()
    assert manifest.cameras["head"].images == ROWS
    assert manifest.cameras["head"].end_ns == (ROWS - 1) * STEP_NS
    assert import_source(tree, store).episodes == ()


def test_images_that_are_missing_at_the_end_are_said(tmp_path: Path) -> None:
    made = draft(write(tmp_path / "tree", videos={"hand_left_color": ROWS - 7}))

    assert made.videos["hand_left"].time_ns[-1] == (ROWS - 8) * STEP_NS
    assert f"{ROWS - 7} images" in said(made, "images")[0]


def test_a_damaged_video_is_named_and_the_episode_goes_in(tmp_path: Path) -> None:
    root = write(tmp_path / "tree")
    video = root / "observations" / TASK / EPISODE / "videos" / "head_color.mp4"
    video.write_bytes(b"corrupted mp4")

    made = draft(root)

    assert made.videos == {}
    assert said(made, "missing_video")


LENS = {"fx": 60.5, "fy": 60.0, "ppx": 31.0, "ppy": 23.0}


@pytest.mark.parametrize(
    ("lens", "model", "distortion"),
    [
        (LENS, "none", ()),
        (LENS | {"k1": 1, "k2": 2, "p1": 3, "p2": 4, "k3": 5}, "plumb_bob", (1, 2, 3, 4, 5)),
        (
            LENS | {"distortion_model": "fisheye", "k1": 1, "k2": 2, "k3": 3, "k4": 4},
            "fisheye",
            (1, 2, 3, 4),
        ),
        (LENS | {"distortion_model": "unheard_of", "k1": 1}, "none", ()),
    ],
)
@pytest.mark.parametrize("nested", [0, 1])
def test_lenses_are_read_in_opencvs_order(
    nested: int, lens: dict[str, Any], model: str, distortion: tuple[float, ...], tmp_path: Path
) -> None:
    plain = {"intrinsic": lens} if nested else lens

    made = draft(write(tmp_path / "tree", parameters={"head_intrinsic_params.json": plain}))

    ours = made.videos["head"].info.intrinsics
    assert ours is not None
    assert (ours.fx, ours.fy, ours.cx, ours.cy) == (60.5, 60.0, 31.0, 23.0)
    assert (ours.distortion_model, ours.distortion) == (model, distortion)


@pytest.mark.parametrize("lens", [LENS | {"ppx": 320.0}, LENS | {"fx": "wide"}, {"fx": 1e999}, {}])
def test_a_lens_that_cannot_be_this_videos_is_not_taken(
    lens: dict[str, Any], tmp_path: Path
) -> None:
    made = draft(write(tmp_path / "tree", parameters={"head_intrinsic_params.json": lens}))

    assert made.videos["head"].info.intrinsics is None


def test_a_camera_that_moves_is_a_stream_of_poses(tmp_path: Path) -> None:
    turns = Rotation.from_euler("xyz", np.random.default_rng(1).uniform(-3, 3, (ROWS, 3)))
    places = np.random.default_rng(2).uniform(size=(ROWS, 3))
    said = [
        {"extrinsic": {"rotation_matrix": m.tolist(), "translation_vector": p.tolist()}}
        for m, p in zip(turns.as_matrix(), places, strict=True)
    ]
    files = {
        "head_extrinsic_params_aligned.json": said,
        "head_extrinsic_params.json": said[0],
        "hand_left_extrinsic_params.json": said[1],
        "hand_right_extrinsic_params_aligned.json": said[:-2],
    }

    made = draft(
        write(
            tmp_path / "tree",
            parameters=files,
            videos={"head_color": ROWS, "hand_left_color": ROWS},
        )
    )

    ours = made.streams["pose.camera.head"]
    np.testing.assert_array_equal(ours.values[:, :3], places)
    np.testing.assert_allclose(
        Rotation.from_quat(ours.values[:, 3:]).as_matrix(), turns.as_matrix(), atol=1e-12
    )
    still = made.videos["hand_left"].info.pose
    assert still is not None
    assert still.position_m == tuple(places[1])
    assert made.videos["head"].info.pose is None
    assert any("hand_right" in text for text in made.facts.provenance.missing)


@pytest.mark.parametrize(
    "plain",
    [
        [],
        [{}],
        [7],
        [{"extrinsic": {"rotation_matrix": [[1e999] * 3] * 3, "translation_vector": [0] * 3}}],
        [{"extrinsic": {"rotation_matrix": [[1, 0], [0, 1]], "translation_vector": [0] * 3}}],
        [{"extrinsic": {"rotation_matrix": [["x"] * 3] * 3, "translation_vector": [0] * 3}}],
        {"extrinsic": 1},
    ],
)
def test_poses_of_cameras_that_are_none_are_named(plain: Any, tmp_path: Path) -> None:
    files = {"head_extrinsic_params_aligned.json": plain, "gripper_params.json": {"k": 1}}

    made = draft(write(tmp_path / "tree", parameters=files))

    assert said(made, "calibration")
    assert made.videos["head"].info.pose is None
    assert made.facts.provenance.parameters["camera_parameters"] == {
        "gripper_params.json": {"k": 1}
    }


def test_depth_images_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "tree")
    depth = root / "observations" / TASK / EPISODE / "depth"
    depth.mkdir()
    for row in range(3):
        (depth / f"head_depth_{row:06d}.png").write_bytes(b"PNG")

    made = draft(root)

    assert "depth: 3 PNG images stay in the source" in made.facts.provenance.missing


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    root = tmp_path_factory.mktemp("sim") / "AgiBotDigitalWorld"
    number = "000aa0b4-8fbe-432a-b6ae-559a7d7b3b96"
    folder = root / "meta_info" / "digitaltwin_3" / number
    put(folder / "proprio_states.h5", digital_world(), SIM_NAMES)
    words = {"episode_id": number, "task_name": "place_objects_into_handbag"}
    (folder / "task_info.json").write_text(json.dumps(words))
    film(root / "observations" / "digitaltwin_3" / number / "video" / "head.mp4", ROWS)
    return draft(root)


def test_a_simulated_file_names_its_joints(simulated: Draft) -> None:
    ours = simulated.streams["joint_position"]

    np.testing.assert_array_equal(ours.values, digital_world()["state/joint/position"])
    assert ours.channels == SIM_JOINTS
    assert ours.units == ("m",) + ("rad",) * 33
    assert ours.values.dtype == np.float32
    assert simulated.session.hardware.robot == "A2D_fixed"
    assert simulated.facts.origin == "simulated"
    assert simulated.facts.instruction == "place_objects_into_handbag"


def test_a_simulated_clock_that_ran_twice_as_fast_is_not_believed(simulated: Draft) -> None:
    ours = simulated.streams["joint_position"]

    assert (ours.clock, ours.info.rate_hz) == ("nominal", 30.0)
    assert ours.time_ns[3] == 100_000_000
    assert ours.source_time_ns is not None
    assert int(ours.source_time_ns[0]) == pytest.approx(208_333_300, abs=100)
    assert "60 Hz" in said(simulated, "clock")[0]
    assert len(simulated.videos["head"].time_ns) == ROWS


def test_simulated_quaternions_are_turned_from_wxyz(simulated: Draft) -> None:
    ours = simulated.streams["pose.left_flange"]

    expected = Rotation.from_quat([0.8, 0.6, 0.0, 0.0], scalar_first=True)
    turned = Rotation.from_quat(ours.values[:, 3:])
    assert float((expected.inv() * turned).magnitude().max()) < 1e-6
    assert ours.info.reference_frame == "world"


def test_a_simulated_gripper_is_told_a_width(simulated: Draft) -> None:
    assert simulated.streams["gripper_command.left_hand"].units == ("mm",)


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Write an episode of the 2025 challenge: JPEG files by row, the robot's number a folder."""
    root = tmp_path / "dataset"
    episode = root / "2810051" / "3026521" / "A2D0015AB00061" / "12030289"
    content = digital_world(8)
    left = content.pop("state/effector/position")
    content["state/left_effector/position"] = left[:, :1]
    content["state/right_effector/position"] = left[:, 1:]
    put(episode / "aligned_joints.h5", content, SIM_NAMES)
    for row in (0, 1, 2, 5, 6, 7, 9):
        for camera in ("head_color", "hand_left_color"):
            image = episode / "camera" / str(row) / f"{camera}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(encoded(picture(row), "jpeg"))
        (episode / "camera" / str(row) / "head_depth.png").write_bytes(b"PNG")
    action = {"start_frame": 0, "end_frame": 7, "skill": "Grasp", "english_action_text": "Grasp"}
    words = {"episode_id": 12030289, "task_name": "Open", "label_info": {"action_config": [action]}}
    (root / "task_1_train.json").write_text(json.dumps([{"episode_id": 1}, words]))
    return root


def test_images_by_row_become_a_video_of_the_same_bytes(challenge: Path) -> None:
    source = importers["agibot"]().episodes(challenge, Options())
    item = next(source)
    assert isinstance(item, Found), item

    video = item.draft.videos["head"]

    with av.open(str(video.path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert packets == [encoded(picture(row), "jpeg") for row in (0, 1, 2, 5, 6, 7)]
    rows = np.rint(np.array([0, 1, 2, 5, 6, 7]) * 1e9 / 30).astype(np.int64)
    assert video.time_ns.tolist() == rows.tolist()
    assert "no image of 2 rows" in said(item.draft, "images")[0]
    source.close()  # type: ignore[attr-defined]


def test_a_challenges_episode_has_its_robots_number_and_its_words(challenge: Path) -> None:
    made = draft(challenge)

    assert made.session.hardware.serials == {"robot": "A2D0015AB00061"}
    assert made.facts.provenance.parameters["source_episode"] == "2810051/12030289"
    assert made.facts.instruction == "Open"
    assert [span.value for span in made.labels[0].spans] == ["Grasp"]
    assert made.streams["gripper.right_hand"].values.shape == (8, 1)
    assert "depth: 7 PNG images stay in the source" in made.facts.provenance.missing


def test_episodes_come_by_number_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for episode in ("1000", "9", "200"):
        write(root / "x", rows=8, episode=episode, videos={})
        (root / "x").rename(root / f"x{episode}")
    merged = root / "all"
    for number, episode in enumerate(("1000", "9", "200")):
        for path in sorted((root / f"x{episode}").rglob("*")):
            target = merged / path.relative_to(root / f"x{episode}")
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes()[: 500 if number == 2 else None])

    found = items(merged)

    assert [type(item).__name__ for item in found] == ["Found", "Refused", "Found"]
    assert [item.name for item in found if not hasattr(item, "about")] == [
        f"{TASK}/9",
        f"{TASK}/200",
        f"{TASK}/1000",
    ]


def test_an_unpacked_archive_without_the_kinds_is_read_too(tree: Path, tmp_path: Path) -> None:
    bare = tmp_path / "beta"
    place = bare / TASK / EPISODE
    place.mkdir(parents=True)
    whole = tree / "proprio_stats" / TASK / EPISODE / "proprio_stats.h5"
    (place / "proprio_stats.h5").write_bytes(whole.read_bytes())
    (bare / f"task_info_{TASK}.json").write_text(
        (tree / "task_info" / f"task_{TASK}.json").read_text()
    )

    made = draft(bare)

    assert made.facts.provenance.parameters["source_episode"] == f"{TASK}/{EPISODE}"
    assert made.facts.instruction == "Pickup items in the supermarket"


@pytest.mark.parametrize(
    "part",
    ["", "proprio_stats", f"proprio_stats/{TASK}", f"proprio_stats/{TASK}/{EPISODE}",
     f"proprio_stats/{TASK}/{EPISODE}/proprio_stats.h5"],
)  # fmt: skip
def test_any_part_of_the_tree_that_holds_episodes_is_a_source(part: str, tree: Path) -> None:
    made = draft(tree / part)

    assert importers["agibot"]().sniff(tree / part)
    assert made.facts.instruction == "Pickup items in the supermarket"
    assert set(made.videos) == {"head"}


def test_a_tree_below_the_folder_named_is_found_as_one(tree: Path) -> None:
    name, path, [remark] = locate(tree.parent)

    assert (name, path) == ("agibot", tree)
    assert "below the source" in remark.text


def test_the_licence_is_that_of_the_dataset_card(tmp_path: Path) -> None:
    root = write(tmp_path / "tree", rows=8, videos={})
    (root / "README.md").write_text("---\nlicense: cc-by-nc-sa-4.0\n---\n")

    assert draft(root).session.consent.licence == "cc-by-nc-sa-4.0"


def test_a_body_gives_arms_head_and_waist_its_own_names(tree: Path) -> None:
    aliases = [f"arm_{side}_j{n}" for side in "lr" for n in range(1, 8)] + ["head_yaw"]
    body = Embodiment(
        id="g1",
        title="A body",
        joints=tuple(
            Joint(name=f"j{n}", group="all", lower=-2.0, upper=2.0, aliases=(alias,))
            for n, alias in enumerate(aliases)
        ),
    )

    made = draft(tree, embodiment=body, accept_mapping=True)

    assert made.streams["joint_position"].channels == tuple(f"j{n}" for n in range(15))
    assert made.streams["joint_position.unmapped"].channels[-1] == "waist_lift"
    assert made.streams["joint_command"].channels == tuple(f"j{n}" for n in range(14))
    assert made.streams["joint_command.head"].channels == ("j14", "head_pitch")
