"""REASSEMBLE against h5py, SciPy and hand-made numbers.

No original recording is at hand: files are laid out as its README and its own reader describe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from demos.errors import ImportFailed
from demos.formats import reassemble_rows
from demos.formats.lerobot_example import write_video
from demos.formats.reassemble_example import NAME, START_S
from demos.importers import Found, Item, Options, Refused, import_source, importers, locate
from demos.model import Draft, Embodiment, Joint
from demos.store import EpisodeStore
from tests.own_hdf5 import opened_here  # noqa: F401 (a fixture for all tests here)

Tables = dict[str, Any]
FRAME_S = 1 / 30
IMAGES = 60
ROUNDING_NS = 240
"""Of seconds since 1970 in float64."""


def stream(content: Tables, name: str, values: Any, rate_hz: float, late_s: float = 0.0) -> None:
    content[f"robot_state/{name}"] = values
    content[f"timestamps/{name}"] = START_S + late_s + np.arange(len(values)) / rate_hz


def action(content: Tables, place: str, span: tuple[float, float], text: Any, done: bool) -> None:  # noqa: FBT001
    start, end = (START_S + part for part in span)
    parts = {"start": start, "end": end, "success": done, "text": text}
    content |= {f"segments_info/{place}/{key}": value for key, value in parts.items()}
    if "ow_level" not in place:
        content[f"segments_info/{place}/index"] = int(place)


def tables(seconds: float = 3.0) -> Tables:
    """Return what a recording of some seconds holds: 1 kHz, 500 Hz, 30 Hz, none of one length."""
    made: Tables = {}
    fast, half = np.arange(int(seconds * 1000)), np.arange(int(seconds * 500) - 3)
    joints = np.sin(0.001 * fast[:, None] + np.arange(7))
    stream(made, "joint_positions", joints, 1000)
    stream(made, "joint_velocities", np.gradient(joints, axis=0) * 1000, 1000)
    stream(made, "joint_efforts", 3 * joints[:-11], 1000, 0.0002)
    force = np.random.default_rng(0).normal(size=(len(fast), 6))
    stream(made, "measured_force", force[:, :3], 1000, 0.0101)
    stream(made, "measured_torque", 0.1 * force[:, 3:], 1000, 0.0101)
    stream(made, "compensated_base_force", force[: len(half), :3], 500, 0.03)
    stream(made, "compenseted_base_torque", force[: len(half), 3:], 500, 0.03)
    stream(made, "gripper_positions", np.full((90, 2), 0.04), 30)
    turns = Rotation.from_euler("xyz", np.random.default_rng(1).uniform(-3, 3, (len(half), 3)))
    place = np.random.default_rng(2).uniform(size=(len(half), 3))
    stream(made, "pose", np.hstack([place, turns.as_quat(scalar_first=True)]), 500, 0.001)
    stream(made, "velocity", np.zeros((len(half), 6)), 500, 0.001)
    for camera in ("hama1", "hand", "capture_node-camera-image"):
        made[f"timestamps/{camera}"] = START_S + 0.05 + FRAME_S * np.arange(IMAGES)
    made["events"] = np.arange(3000).reshape(1000, 3) % 260
    made["timestamps/events"] = START_S + np.sort(np.random.default_rng(3).uniform(0, 3, 1000))
    action(made, "0", (0.0, 0.5), "No action.", done=True)
    for index in range(1, 12):
        begin = 0.5 + 0.2 * (index - 1)
        action(made, str(index), (begin, begin + 0.2), f"Pick peg {index}.", done=True)
        for below in range(2):
            inside = (begin + 0.1 * below, begin + 0.1 * below + 0.1)
            place_below = f"{index}/low_level/{below}"
            action(made, place_below, inside, ("Approach", "Grasp")[below], done=True)
    return made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, [np.full((48, 64, 3), 4 * n, np.uint8) for n in range(IMAGES)], 30)
    return path.read_bytes()


def write(
    folder: Path,
    film: bytes,
    change: Callable[[Tables], object] | None = None,
    name: str = NAME,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = tables()
    blobs = {camera: np.void(film) for camera in ("hama1", "hand", "capture_node-camera-image")}
    content |= blobs | {"hand_audio": np.arange(200)}
    if change is not None:
        change(content)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        for place, values in content.items():
            file[place] = values
    return folder


def items(path: Path, **options: Any) -> list[Item]:
    return list(importers["reassemble"]().episodes(path, Options(**options)))


def draft(path: Path, **options: Any) -> Draft:
    [item] = items(path, **options)
    assert isinstance(item, Found), item
    return item.draft


def said(of: Draft, check: str) -> list[str]:
    return [f.message for f in of.findings if f.check == f"import.{check}"]


@pytest.fixture(scope="module")
def folder(film: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reassemble") / "data", film)


@pytest.fixture(scope="module")
def found(folder: Path) -> Draft:
    return draft(folder)


@pytest.mark.parametrize(
    ("name", "place", "unit"),
    [
        ("joint_position", "joint_positions", "rad"),
        ("joint_velocity", "joint_velocities", "rad/s"),
        ("joint_effort", "joint_efforts", "N·m"),
        ("gripper", "gripper_positions", "m"),
        ("velocity.end_effector", "velocity", "m/s"),
    ],
)
def test_every_stream_has_its_own_length_and_clock(
    name: str, place: str, unit: str, folder: Path, found: Draft
) -> None:
    with h5py.File(folder / f"{NAME}.h5") as file:
        values, stamps = file[f"robot_state/{place}"][()], file[f"timestamps/{place}"][()]

    ours = found.streams[name]

    np.testing.assert_array_equal(ours.values, values)
    assert np.abs(ours.time_ns - np.rint((stamps - START_S) * 1e9)).max() <= ROUNDING_NS
    assert np.abs(ours.source_time_ns - stamps * 1e9).max() <= 2 * ROUNDING_NS
    assert ours.clock == "measured"
    assert ours.units[0] == unit


def test_lengths_really_differ(found: Draft) -> None:
    assert len({len(stream) for stream in found.streams.values()}) >= 5
    assert min(int(stream.time_ns.min()) for stream in found.streams.values()) == 0
    assert found.facts.recorded_at.isoformat() == "2025-01-09T12:59:54.250000+00:00"


def test_force_and_torque_are_one_wrench_force_first(folder: Path, found: Draft) -> None:
    with h5py.File(folder / f"{NAME}.h5") as file:
        state = file["robot_state"]
        measured = np.hstack([state["measured_force"][()], state["measured_torque"][()]])
        base = np.hstack(
            [state["compensated_base_force"][()], state["compenseted_base_torque"][()]]
        )

    ours, compensated = found.streams["wrench.wrist"], found.streams["wrench.wrist_compensated"]

    np.testing.assert_array_equal(ours.values, measured)
    np.testing.assert_array_equal(compensated.values, base)
    assert ours.units == ("N", "N", "N", "N·m", "N·m", "N·m")
    assert (ours.info.reference_frame, compensated.info.reference_frame) == (
        "fr3_sensor",
        "fr3_link0",
    )
    assert any("wrench.wrist: in fr3_sensor" in a for a in found.facts.provenance.assumed)
    assert not any("measured_force" in name for name in found.streams)


def test_a_force_and_a_torque_of_other_moments_are_joined_where_they_meet(
    film: bytes, tmp_path: Path
) -> None:
    def torn(content: Tables) -> None:
        for kind in ("robot_state", "timestamps"):
            content[f"{kind}/measured_torque"] = content[f"{kind}/measured_torque"][5:]

    made = draft(write(tmp_path / "data", film, torn))

    assert len(made.streams["wrench.wrist"]) == 2995
    assert len(made.streams["robot_state.measured_force"]) == 3000
    assert len(made.streams["robot_state.measured_torque"]) == 2995
    np.testing.assert_array_equal(
        made.streams["wrench.wrist"].values[:, :3],
        made.streams["robot_state.measured_force"].values[5:],
    )
    assert "2995 at the same moments" in said(made, "wrench")[0]


def test_a_force_that_never_meets_its_torque_stays_apart(film: bytes, tmp_path: Path) -> None:
    def shifted(content: Tables) -> None:
        content["timestamps/measured_torque"] = content["timestamps/measured_torque"] + 0.0003

    made = draft(write(tmp_path / "data", film, shifted))

    assert "wrench.wrist" not in made.streams
    assert len(made.streams["robot_state.measured_force"]) == 3000
    assert said(made, "wrench")


def test_the_pose_is_turned_from_wxyz(folder: Path, found: Draft) -> None:
    with h5py.File(folder / f"{NAME}.h5") as file:
        raw = file["robot_state/pose"][()]

    ours = found.streams["pose.end_effector"]

    np.testing.assert_array_equal(ours.values[:, :3], raw[:, :3])
    np.testing.assert_allclose(
        Rotation.from_quat(ours.values[:, 3:]).as_matrix(),
        Rotation.from_quat(raw[:, 3:], scalar_first=True).as_matrix(),
        atol=1e-12,
    )
    assert any("wxyz" in text for text in found.facts.provenance.assumed)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0, 5e9])
def test_samples_without_a_time_are_left_out_and_said(
    bad: float, film: bytes, tmp_path: Path
) -> None:
    def spoil(content: Tables) -> None:
        content["timestamps/gripper_positions"][[3, 50]] = bad

    made = draft(write(tmp_path / "data", film, spoil))

    assert len(made.streams["gripper"]) == 88
    assert int(made.streams["gripper"].time_ns.max()) < 4e9
    assert "2 samples of gripper_positions" in said(made, "clock")[0]


@pytest.mark.parametrize("count", [80, 100])
def test_samples_and_stamps_of_different_number_are_paired_from_the_first(
    count: int, film: bytes, tmp_path: Path
) -> None:
    def other(content: Tables) -> None:
        content["timestamps/gripper_positions"] = START_S + np.arange(count) / 30

    made = draft(write(tmp_path / "data", film, other))

    assert len(made.streams["gripper"]) == min(count, 90)
    assert "paired from the first" in said(made, "rows")[0]


def test_a_stream_without_stamps_is_named(film: bytes, tmp_path: Path) -> None:
    def remove(content: Tables) -> None:
        del content["timestamps/joint_efforts"], content["timestamps/hand"]

    made = draft(write(tmp_path / "data", film, remove))

    assert "joint_effort" not in made.streams
    assert "hand" not in made.videos
    assert any("joint_efforts" in text for text in made.facts.provenance.missing)
    assert said(made, "missing_video")


def test_optional_groups_may_be_missing(film: bytes, tmp_path: Path) -> None:
    def bare(content: Tables) -> None:
        for place in [p for p in content if not p.endswith("joint_positions")]:
            del content[place]

    made = draft(write(tmp_path / "data", film, bare))

    assert list(made.streams) == ["joint_position"]
    assert made.labels == ()
    assert any("actions" in text for text in made.facts.provenance.missing)


def test_stamps_in_a_column_are_stamps(film: bytes, tmp_path: Path) -> None:
    def column(content: Tables) -> None:
        for place in [p for p in content if p.startswith("timestamps/")]:
            content[place] = content[place][:, None]

    made = draft(write(tmp_path / "data", film, column))

    assert len(made.streams["joint_position"]) == 3000
    assert len(made.videos["hand"].time_ns) == IMAGES


def test_what_the_readme_does_not_list_is_kept_with_unknown_units(
    film: bytes, tmp_path: Path
) -> None:
    def more(content: Tables) -> None:
        stream(content, "tool_temperature", np.full(7, 31.5), 1)

    made = draft(write(tmp_path / "data", film, more))

    ours = made.streams["robot_state.tool_temperature"]
    assert (ours.units, ours.values.shape) == (("unknown",), (7, 1))


def test_videos_come_out_byte_for_byte_at_their_stamps(
    folder: Path, film: bytes, tmp_path: Path
) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(folder, store)

    [(name, episode)] = report.episodes
    manifest = store.manifest(episode)
    assert name == NAME
    assert set(manifest.cameras) == {"hama1", "hand", "event_camera"}
    for camera in manifest.cameras.values():
        assert manifest.files[camera.file].sha256 == hashlib.sha256(film).hexdigest()
    index = store.episode(episode).cameras["hand"].time_ns
    expected = np.rint((0.05 + FRAME_S * np.arange(IMAGES)) * 1e9)
    assert np.abs(index - expected).max() <= ROUNDING_NS
    assert import_source(folder, store).episodes == ()


def test_images_without_a_time_are_not_shown(film: bytes, tmp_path: Path) -> None:
    def spoil(content: Tables) -> None:
        content["timestamps/hand"][[0, 9]] = np.nan

    made = draft(write(tmp_path / "data", film, spoil))

    video = made.videos["hand"]
    assert video.shown is not None
    assert video.shown.tolist() == [n for n in range(IMAGES) if n not in (0, 9)]
    assert len(video.time_ns) == IMAGES - 2
    assert "2 images of hand" in said(made, "clock")[0]


def test_sound_is_named_and_bytes_that_are_no_video_too(film: bytes, tmp_path: Path) -> None:
    def noise(content: Tables) -> None:
        content["hama1"] = np.void(b"no video at all")
        content["hama2"] = np.frombuffer(film, np.uint8)
        content["timestamps/hama2"] = content["timestamps/hama1"]

    made = draft(write(tmp_path / "data", film, noise))

    missing = made.facts.provenance.missing
    assert "hand_audio: sound is not taken in" in missing
    assert any(text.startswith("hama1:") for text in missing)
    assert len(made.videos["hama2"].time_ns) == IMAGES


def test_events_are_a_stream_of_pixels(folder: Path, found: Draft) -> None:
    with h5py.File(folder / f"{NAME}.h5") as file:
        events = file["events"][()]

    ours = found.streams["events.event_camera"]

    np.testing.assert_array_equal(ours.values, events)
    assert ours.channels == ("x", "y", "polarity")
    assert ours.units == ("px", "px", "1")


def test_more_events_than_fit_stay_in_the_source_and_are_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reassemble_rows, "MOST_EVENTS", 999)

    made = draft(folder)

    assert "events.event_camera" not in made.streams
    assert any("1000 of the event camera" in text for text in made.facts.provenance.missing)


def test_actions_of_both_levels_are_tiers_in_order(found: Draft) -> None:
    [label] = [o for o in found.labels if o.of == "phases"]

    tasks = [span for span in label.spans if span.tier == "task"]
    parts = [span for span in label.spans if span.tier == "low_level"]
    assert label.annotator == "reassemble (source)"
    assert [span.value for span in tasks] == ["No action."] + [
        f"Pick peg {n}." for n in range(1, 12)
    ]
    assert len(parts) == 22
    assert [span.value for span in parts[:2]] == ["Approach", "Grasp"]
    assert parts[0].notes == {"success": True, "index": 0, "parent": 1}
    assert abs(tasks[1].start_ns - 500_000_000) <= ROUNDING_NS
    assert abs(tasks[1].end_ns - 700_000_000) <= ROUNDING_NS


@pytest.mark.parametrize(
    ("failed", "outcome"), [((), "success"), ((3,), "partial"), (tuple(range(1, 12)), "failure")]
)
def test_the_outcome_is_what_the_actions_came_to(
    failed: tuple[int, ...], outcome: str, film: bytes, tmp_path: Path
) -> None:
    def fail(content: Tables) -> None:
        for index in failed:
            content[f"segments_info/{index}/success"] = False

    made = draft(write(tmp_path / "data", film, fail))

    [label] = [o for o in made.labels if o.of == "outcome"]
    assert label.value == outcome
    assert label.note == f"{11 - len(failed)} of 11 actions succeeded"
    spans = next(o.spans for o in made.labels if o.of == "phases")
    undone = [span.notes["index"] for span in spans if not span.notes["success"]]
    assert undone == list(failed)


def test_actions_that_are_damaged_are_left_out_and_said(film: bytes, tmp_path: Path) -> None:
    def damage(content: Tables) -> None:
        content["segments_info/2/end"] = np.nan
        content["segments_info/3/start"] = np.zeros(3)
        content["segments_info/4/text"] = 7
        del content["segments_info/5/success"]
        action(content, "30", (1e7, 1e7 + 1), "Of another year.", done=True)
        content["segments_info/6/text"] = np.bytes_(b"Pick peg 6.")
        action(content, "20", (2.9, 2.95), "Place peg 20.", done=True)
        for key in ("start", "end", "success", "text"):
            content[f"segments_info/7/Low_level/0/{key}"] = content.pop(
                f"segments_info/7/low_level/0/{key}"
            )
            del content[f"segments_info/7/low_level/1/{key}"]

    made = draft(write(tmp_path / "data", film, damage))

    spans = next(o.spans for o in made.labels if o.of == "phases")
    assert [s.value for s in spans if s.tier == "task"] == [
        "No action.",
        *(f"Pick peg {n}." for n in (1, 6, 7, 8, 9, 10, 11)),
        "Place peg 20.",
    ]
    assert len(said(made, "words")) == 5
    assert len([s for s in spans if s.notes.get("parent") == 7]) == 1


def test_the_texts_of_the_actions_are_the_instruction(found: Draft) -> None:
    assert found.facts.instruction.startswith("Pick peg 1. Pick peg 2.")
    assert "No action" not in found.facts.instruction
    assert found.facts.task == "nist_task_board_1"


def test_cameras_and_board_are_where_the_file_beside_says(film: bytes, tmp_path: Path) -> None:
    root = tmp_path / "REASSEMBLE"
    write(root / "data", film)
    (root / "poses").mkdir()
    poses = {
        "Hama1": [[1.0, 2.0, 3.0], [0.0, 0.6, 0.0, 0.8]],
        "DAVIS346": [[4.0, 5.0, 6.0], [0.0, 0.0, 0.0, 1.0]],
        "NIST_Board1": [[0.5, 0.0, 0.1], [0.0, 0.0, 0.6, 0.8]],
        "Hama2": "unknown",
    }
    (root / "poses" / f"{NAME}_poses.json").write_text(json.dumps(poses))

    made = draft(root)

    hama, event = made.videos["hama1"].info.pose, made.videos["event_camera"].info.pose
    assert hama is not None
    assert event is not None
    assert (hama.position_m, hama.quaternion_xyzw) == ((1.0, 2.0, 3.0), (0.0, 0.6, 0.0, 0.8))
    assert event.reference_frame == "world"
    assert made.facts.declared_start["NIST_Board1"].position_m == (0.5, 0.0, 0.1)
    assert "Hama2" in said(made, "calibration")[0]


def test_defects_the_readme_lists_become_findings(film: bytes, tmp_path: Path) -> None:
    made = draft(write(tmp_path / "data", film, name="2025-01-11-14-45-48"))

    assert said(made, "known") == [
        "the dataset's README says: force and torque are not valid in the last action"
    ]


def test_a_folder_is_read_by_date_and_a_damaged_file_refused(film: bytes, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("2025-01-13-09-43-29", "2025-01-09-13-59-54"):
        write(data, film, name=name)
    whole = (data / "2025-01-09-13-59-54.h5").read_bytes()
    (data / "2025-01-10-10-10-10.h5").write_bytes(whole[: len(whole) // 2])

    found = items(tmp_path)

    assert [type(item) for item in found] == [Found, Refused, Found]
    assert [item.name for item in found if isinstance(item, Found)] == [
        "2025-01-09-13-59-54",
        "2025-01-13-09-43-29",
    ]
    sessions = {item.draft.session.id for item in found if isinstance(item, Found)}
    assert len(sessions) == 1


def test_one_file_is_a_source_and_a_folder_of_them_below_too(folder: Path) -> None:
    importer = importers["reassemble"]()

    assert importer.sniff(folder / f"{NAME}.h5")
    assert len(items(folder / f"{NAME}.h5")) == 1
    assert locate(folder.parent)[:2] == ("reassemble", folder.parent)


def test_other_hdf5_is_not_claimed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((4, 7))

    assert not importers["reassemble"]().sniff(tmp_path)
    assert not importers["reassemble"]().sniff(tmp_path / "a.h5")


def test_a_folder_without_recordings_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"holds no \.h5 file") as caught:
        items(tmp_path)

    assert "data/" in caught.value.hint


def test_a_recording_without_a_single_time_is_refused(film: bytes, tmp_path: Path) -> None:
    def timeless(content: Tables) -> None:
        for place in [p for p in content if p.startswith("timestamps/")]:
            content[place] = np.full(len(content[place]), np.nan)

    [item] = items(write(tmp_path / "data", film, timeless))

    assert isinstance(item, Refused)
    assert "no stream has stamps" in item.reason


def test_a_body_gives_the_joints_its_own_names(folder: Path) -> None:
    body = Embodiment(
        id="arm",
        title="An arm",
        joints=tuple(
            Joint(name=f"a{n}", group="arm", lower=-2, upper=2, aliases=(f"fr3_joint{n}",))
            for n in range(1, 8)
        ),
    )

    made = draft(folder, embodiment=body)

    for name in ("joint_position", "joint_velocity", "joint_effort"):
        assert made.streams[name].channels == tuple(f"a{n}" for n in range(1, 8))
