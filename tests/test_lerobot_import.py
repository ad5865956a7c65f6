"""LeRobot folders of every version, the odd ones included, become episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from demos import embodiment as embodiments
from demos.errors import ImportFailed
from demos.formats.lerobot_example import CAMERA as HEAD
from demos.formats.lerobot_example import STEPS, write_v21
from demos.importers import Found, Item, Options, Refused, Remark, open_source
from demos.model import Draft
from tests.lerobot_folders import column, edit_info, edit_table, write_v30

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
VIDEO = f"videos/chunk-000/{HEAD}/episode_000000.mp4"
DATA = "data/chunk-000/episode_000000.parquet"


@pytest.fixture
def v21(tmp_path: Path) -> Path:
    return write_v21(tmp_path / "v21")


def read(root: Path, **options: Any) -> list[Item]:
    return list(open_source(root, Options(**options)))


def only(root: Path, **options: Any) -> Draft:
    items = read(root, **options)
    [episode] = [item for item in items if isinstance(item, Found)]
    assert not [item for item in items if isinstance(item, Refused)]
    return episode.draft


def remarks(items: list[Item], about: str) -> list[str]:
    return [item.text for item in items if isinstance(item, Remark) and item.about == about]


def checks(draft: Draft) -> list[str]:
    return [finding.check for finding in draft.findings]


def test_a_folder_becomes_streams_and_a_camera(v21: Path) -> None:
    draft = only(v21)

    assert {name: s.channels for name, s in draft.streams.items()} == {
        "state": ("shoulder", "elbow"),
        "action": ("shoulder", "elbow"),
    }
    assert draft.streams["state"].units == ("unknown", "unknown")
    assert draft.streams["action"].info.semantics.startswith("opaque")  # type: ignore[union-attr]
    assert draft.videos["head"].path == v21 / VIDEO
    assert len(draft.videos["head"].time_ns) == STEPS
    assert draft.facts.instruction == "wave with the arm"
    assert draft.facts.task == "wave_with_the_arm"
    assert draft.session.embodiment == "two_joint_arm"
    assert draft.findings == ()


def test_the_clock_of_the_table_is_nominal_and_says_so(v21: Path) -> None:
    draft = only(v21)

    stream = draft.streams["state"]
    assert (stream.clock, stream.info.rate_hz) == ("nominal", 10.0)
    np.testing.assert_array_equal(stream.time_ns, np.arange(STEPS) * 100_000_000)
    np.testing.assert_array_equal(draft.videos["head"].time_ns, stream.time_ns)
    assert any("row / 10 Hz" in text for text in draft.facts.provenance.assumed)


def test_channels_find_the_joints_of_a_named_body(v21: Path) -> None:
    def rename(info: dict[str, Any]) -> None:
        for name in ("observation.state", "action"):
            info["features"][name]["names"] = {"motors": ["kLeftElbow", "kLeftHandIndex"]}

    body = embodiments.load("unitree_g1_inspire")

    draft = only(edit_info(v21, rename), embodiment=body)

    assert {name: s.channels for name, s in draft.streams.items()} == {
        "joint_position": ("left_elbow_joint",),
        "gripper.left_hand": ("left_hand_index",),
        "joint_command": ("left_elbow_joint",),
        "gripper_command.left_hand": ("left_hand_index",),
    }
    assert draft.session.embodiment == "unitree_g1_inspire"


def test_a_named_body_that_does_not_fit_is_refused_by_the_channels_names(v21: Path) -> None:
    body = embodiments.load("unitree_g1_inspire")

    [refused] = [item for item in read(v21, embodiment=body) if isinstance(item, Refused)]

    assert "2 channels are unknown to unitree_g1_inspire: shoulder, elbow" in refused.reason
    assert "--accept-mapping" in refused.hint


def test_an_accepted_mapping_keeps_unknown_channels_under_their_own_names(v21: Path) -> None:
    body = embodiments.load("unitree_g1_inspire")

    draft = only(v21, embodiment=body, accept_mapping=True)

    assert set(draft.streams) == {"state", "action"}
    assert "import.mapping" in checks(draft)


def test_a_name_that_stands_for_two_channels_is_refused_for_a_known_body(v21: Path) -> None:
    def rename(info: dict[str, Any]) -> None:
        for name in ("observation.state", "action"):
            info["features"][name]["names"] = ["kLeftElbow", "kLeftElbow"]

    body = embodiments.load("unitree_g1_inspire")
    source = edit_info(v21, rename)

    [refused] = [item for item in read(source, embodiment=body) if isinstance(item, Refused)]
    draft = only(source, embodiment=body, accept_mapping=True)

    assert "the name 'kLeftElbow' stands for two channels" in refused.reason
    assert "meta/info.json" in refused.hint
    assert draft.streams["state"].channels == ("state_0", "state_1")
    assert "import.mapping" in checks(draft)


def test_a_channel_ignored_on_purpose_is_written_down(v21: Path) -> None:
    def rename(info: dict[str, Any]) -> None:
        for name in ("observation.state", "action"):
            info["features"][name]["names"] = ["kLeftElbow", "battery"]

    body = embodiments.load("unitree_g1_inspire")

    draft = only(edit_info(v21, rename), embodiment=body, ignore=("battery",))

    assert set(draft.streams) == {"joint_position", "joint_command"}
    assert draft.facts.provenance.parameters["ignored"] == ["battery"]


def test_a_robot_that_is_known_by_name_is_recognised_and_that_is_said(v21: Path) -> None:
    draft = only(edit_info(v21, lambda info: info.update(robot_type="Unitree_G1_Inspire")))

    assert draft.session.embodiment == "unitree_g1_inspire"
    assert any("from the robot's name" in text for text in draft.facts.provenance.assumed)
    assert "import.mapping" in checks(draft)


def test_every_other_column_is_kept(v21: Path) -> None:
    def more(table: Any) -> Any:
        table = column(table, "next.done", [n == STEPS - 1 for n in range(STEPS)])
        table = column(table, "next.reward", np.linspace(0, 1, STEPS))
        table = column(table, "observation.tactile", np.ones((STEPS, 2, 3)).tolist())
        return column(table, "note", ["a"] * 3 + ["b"] * (STEPS - 3))

    draft = only(edit_table(v21, more))

    assert draft.streams["next.done"].values.dtype == np.uint8
    assert draft.streams["next.reward"].values[-1, 0] == 1.0
    assert draft.streams["tactile"].values.shape == (STEPS, 2, 3)
    assert draft.streams["tactile"].info.shape == (2, 3)
    assert [(e.name, e.time_ns, e.values) for e in draft.events] == [
        ("note", 0, {"value": "a"}),
        ("note", 300_000_000, {"value": "b"}),
    ]


def test_an_annotated_description_becomes_a_label_and_other_annotations_events(v21: Path) -> None:
    (v21 / "meta/tasks.jsonl").write_text(
        '{"task_index": 0, "task": "pick the pear"}\n{"task_index": 1, "task": "valid"}\n'
    )

    def annotate(table: Any) -> Any:
        table = column(table, "annotation.human.action.task_description", [0] * STEPS)
        return column(table, "annotation.human.validity", [1] * STEPS)

    draft = only(edit_table(v21, annotate))

    [label] = draft.labels
    assert (label.of, label.value, label.role) == ("instruction", "pick the pear", "reviewer")
    assert [(e.name, e.values) for e in draft.events] == [
        ("annotation.human.validity", {"value": "valid"})
    ]
    assert "annotation.human.validity" in draft.streams


def test_a_column_that_cannot_be_kept_is_named(v21: Path) -> None:
    ragged = [[1.0] * (1 + n % 2) for n in range(STEPS)]

    draft = only(edit_table(v21, lambda table: column(table, "odd", ragged)))

    assert any(text.startswith("column odd") for text in draft.facts.provenance.missing)
    assert "import.column" in checks(draft)


def test_lists_of_words_are_kept_as_events(v21: Path) -> None:
    said = [{"role": "user", "content": "go"}]
    spoken = [said if n < 4 else [*said, {"role": "robot", "content": "yes"}] for n in range(STEPS)]

    draft = only(edit_table(v21, lambda table: column(table, "language_persistent", spoken)))

    assert [(e.time_ns, len(e.values["value"])) for e in draft.events] == [(0, 1), (400_000_000, 2)]
    assert draft.events[0].values["value"] == said


def test_stamps_that_cannot_be_used_are_kept_as_a_stream(v21: Path) -> None:
    stamps = [float("nan"), *np.arange(1, STEPS) / 10]

    draft = only(edit_table(v21, lambda table: column(table, "timestamp", stamps)))

    assert checks(draft) == ["import.clock"]
    np.testing.assert_array_equal(draft.streams["timestamp"].values[:, 0], stamps)


def test_raw_bytes_are_named_as_not_kept(v21: Path) -> None:
    draft = only(edit_table(v21, lambda table: column(table, "blob", [b"\xff\x00"] * STEPS)))

    assert "raw bytes" in draft.facts.provenance.missing[0]


def test_rows_that_do_not_count_on_are_found(v21: Path) -> None:
    draft = only(edit_table(v21, lambda table: table.take([0, 1, 2, 5, 6, 7])))

    messages = [finding.message for finding in draft.findings]
    assert "the metadata says 8 rows, the file has 6" in messages
    assert any("frame_index does not count on in 1 places" in text for text in messages)
    assert "import.images" in checks(draft)
    assert draft.streams["frame_index"].values.tolist() == [[n] for n in (0, 1, 2, 5, 6, 7)]


def test_a_folder_without_frame_index_and_dates_reads_and_says_so(v21: Path) -> None:
    draft = only(edit_table(v21, lambda table: table.drop_columns(["frame_index", "timestamp"])))

    assumed = " ".join(draft.facts.provenance.assumed)
    assert "no column frame_index" in assumed
    assert "no timestamp column" in assumed
    assert "dates" in assumed


@pytest.mark.parametrize(
    ("content", "reason"),
    [(POINTER, "this is a Git LFS pointer, not data"), (b"PAR1", "not a whole parquet file")],
)
def test_a_bad_data_file_is_refused_and_the_rest_goes_in(
    v21: Path, content: bytes, reason: str
) -> None:
    (v21 / DATA.replace("00.parquet", "01.parquet")).write_bytes(content)

    items = read(v21)

    [refused] = [item for item in items if isinstance(item, Refused)]
    assert refused.name == "episode_000001"
    assert reason in refused.reason
    assert refused.hint
    assert len([item for item in items if isinstance(item, Found)]) == 1


def test_promised_episodes_without_a_file_are_named(v21: Path) -> None:
    edit_info(v21, lambda info: info.update(total_episodes=4))

    assert remarks(read(v21), "missing") == [f"episode_{n:06d}: no data file" for n in (1, 2, 3)]


def test_a_million_promised_episodes_do_not_fill_the_screen(v21: Path) -> None:
    edit_info(v21, lambda info: info.update(total_episodes=1_000_000))

    missing = remarks(read(v21), "missing")

    assert len(missing) == 1001
    assert missing[-1] == "998999 more episodes up to episode_999999: no data file"


def test_what_the_metadata_says_wrongly_is_told(v21: Path) -> None:
    def lie(info: dict[str, Any]) -> None:
        info["splits"] = {"train": "0:100"}
        info["total_videos"] = 0
        info["features"]["observation.images.absent"] = {"dtype": "video", "shape": [8, 8, 3]}
        info["features"]["action"]["names"] = ["just one"]

    said = " / ".join(remarks(read(edit_info(v21, lie)), "contradiction"))

    assert "split 'train' reaches episode 99" in said
    assert "says 0 videos, here are 1" in said
    assert "camera observation.images.absent, of which there is no file" in said
    assert "gives 1 names to the 2 values of action" in said


def test_names_in_a_list_in_a_list_are_names(v21: Path) -> None:
    def wrap(info: dict[str, Any]) -> None:
        info["features"]["action"]["names"] = [["shoulder", "elbow"]]

    assert only(edit_info(v21, wrap)).streams["action"].channels == ("shoulder", "elbow")


def test_groups_of_groot_stand_before_the_names(v21: Path) -> None:
    (v21 / "meta/modality.json").write_text(
        '{"state": {"arm": {"start": 0, "end": 1}, "hand": {"start": 1, "end": 2},'
        ' "odd": {"start": 5, "end": 1}}, "action": 3}'
    )

    draft = only(v21)

    assert draft.streams["state"].channels == ("arm.shoulder", "hand.elbow")
    assert draft.streams["action"].channels == ("shoulder", "elbow")


@pytest.mark.parametrize("version", ["v1.6", "v3.1", None, 3])
def test_another_version_is_refused_by_name(v21: Path, version: object) -> None:
    edit_info(v21, lambda info: info.update(codebase_version=version))

    with pytest.raises(ImportFailed, match="codebase_version") as caught:
        read(v21)

    assert "v2.0, v2.1, v3.0" in caught.value.hint


@pytest.mark.parametrize("fps", [0, -1, None, "30", float("nan"), True])
def test_a_rate_that_is_none_is_refused(v21: Path, fps: object) -> None:
    edit_info(v21, lambda info: info.update(fps=fps))

    with pytest.raises(ImportFailed, match="a positive number is needed"):
        read(v21)


@pytest.mark.parametrize(
    "template",
    [
        "../secret/episode_{episode_index:06d}.parquet",
        "/etc/{episode_index}",
        "data/{episode_index.__class__}.parquet",
        "data/{episode_index:0999999999d}.parquet",
        "data/{nothing}.parquet",
    ],
)
def test_a_path_that_leaves_the_folder_is_not_followed(v21: Path, template: str) -> None:
    edit_info(v21, lambda info: info.update(data_path=template))

    with pytest.raises(ImportFailed, match="a path we do not follow"):
        read(v21)


def test_a_column_name_cannot_leave_the_store(v21: Path) -> None:
    draft = only(edit_table(v21, lambda table: column(table, "../../x y", [1.0] * STEPS)))

    assert "_.._x_y" in draft.streams


def test_a_licence_in_the_dataset_card_is_read(v21: Path) -> None:
    (v21 / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# A\n")

    assert only(v21).session.consent.licence == "apache-2.0"


def test_v30_gives_each_episode_its_own_rows_and_words(tmp_path: Path) -> None:
    episodes = [i for i in read(write_v30(tmp_path / "v30")) if isinstance(i, Found)]

    assert [len(e.draft.streams["state"]) for e in episodes] == [6, 9, 5]
    assert [e.draft.streams["state"].values[0, 0] for e in episodes] == [0, 6, 15]
    assert [e.draft.facts.instruction for e in episodes] == ["lift it", "drop it", "lift it"]
    assert episodes[1].draft.streams["tactile"].values.shape == (9, 2, 3)
    assert [e.values["value"] for e in episodes[0].draft.events] == ["first", "later"]


def test_a_crashed_v30_recording_says_what_is_missing(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "v30")
    next((root / "meta/episodes").rglob("*.parquet")).unlink()

    with pytest.raises(ImportFailed, match="meta/episodes holds no parquet") as caught:
        read(root)

    assert "finalize" in caught.value.hint


def test_missing_values_are_nan_where_nan_can_say_it(v21: Path) -> None:
    def holes(table: Any) -> Any:
        table = column(table, "x", pa.array([1.0, None] * 4, pa.float64()))
        return column(table, "y", pa.array([1, None] * 4, pa.int64()))

    draft = only(edit_table(v21, holes))

    assert np.isnan(draft.streams["x"].values[1, 0])
    assert any(text.startswith("column y") for text in draft.facts.provenance.missing)
