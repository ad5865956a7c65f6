"""Anybody's HDF5 files are read as a mapping file says; each is written by h5py alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import numpy as np
import pytest
import yaml

from demos._content import content
from demos.cli import main
from demos.errors import DemosError, ImportFailed, SchemaMismatch, UnknownName
from demos.formats import hdf5
from demos.formats.lerobot_example import write_video
from demos.formats.mapped_group_example import BEGAN_NS, STEPS
from demos.importers import Found, Item, Options, Refused, Remark, import_source
from demos.importers.mapped import Mapped
from demos.mapping.conversion import ASSUMED
from demos.model import Draft, MappingFile
from demos.schema import read_yaml
from demos.store import EpisodeStore, verify
from tests.lerobot_folders import encoded, picture

LEAST: dict[str, Any] = {
    "kind": "mapping",
    "version": 1,
    "title": "x",
    "clock": {"rate_hz": 50},
    "streams": {"force": {"paths": ["f"], "units": ["N"]}},
}


pytestmark = pytest.mark.usefixtures("whole_files")


@pytest.fixture
def whole_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the process that looks through each file first: these were written just now."""
    monkeypatch.setattr(hdf5, "_looked_through", lambda path: frozenset())


def told(root: Path, **changes: Any) -> Path:
    """Write a mapping file: the least one, changed."""
    file = root / "rig.yaml"
    file.write_text(yaml.safe_dump({**LEAST, **changes}, allow_unicode=True))
    return file


def recorded(root: Path, name: str = "run_1.h5", **datasets: Any) -> Path:
    """Write an HDF5 file of datasets; `__` stands for a slash, attributes begin with `at_`."""
    with h5py.File(root / name, "w") as file:
        for key, value in {"f": np.arange(10.0), **datasets}.items():
            if key.startswith("at_"):
                file.attrs[key[3:]] = value
            else:
                file[key.replace("__", "/")] = value
    return root / name


def items(file: Path, **options: Any) -> list[Item]:
    return list(Mapped().episodes(file, Options(**options)))


def only(file: Path, **options: Any) -> Draft:
    [item] = items(file, **options)
    assert isinstance(item, Found), item
    return item.draft


def refused(file: Path, **options: Any) -> Refused:
    [item] = [item for item in items(file, **options) if not isinstance(item, Remark)]
    assert isinstance(item, Refused)
    assert item.hint
    return item


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Mapped().write_example(tmp_path / "rig")


def test_the_example_becomes_joints_in_radians_under_the_bodys_names(example: Path) -> None:
    draft = only(example)

    with h5py.File(example.parent / "runs/run_1.h5") as file:
        left, right = file["control/left_q"][()], file["control/right_q"][()]
        target = file["control/target"][()]
    position = draft.streams["joint_position"]
    assert position.units == ("rad",) * 14
    assert position.values.dtype == np.float32
    expected = np.hstack([left, right]).astype(np.float64) * np.pi / 180
    expected[:, 3] += 0.5
    expected[:, 7] *= -1
    np.testing.assert_allclose(position.values, expected, rtol=1e-6)
    assert position.channels[7] == "right_shoulder_pitch_joint"
    command = draft.streams["joint_command"]
    np.testing.assert_allclose(command.values[:, 10], target[:, 10] * np.pi / 180, rtol=1e-6)


def test_each_stream_has_its_own_stamps_on_one_clock(example: Path) -> None:
    draft = only(example)

    position, wrench = draft.streams["joint_position"], draft.streams["wrench.left_wrist"]
    np.testing.assert_array_equal(position.time_ns, np.arange(STEPS) * 10_000_000)
    np.testing.assert_array_equal(position.source_time_ns, BEGAN_NS + position.time_ns)
    np.testing.assert_array_equal(wrench.time_ns, np.arange(40) * 2_000_000)
    # float64 seconds since 1970 are good to 240 ns
    stamps = draft.videos["egocentric"].time_ns
    np.testing.assert_allclose(stamps, np.arange(4) * 20_000_000, atol=240)
    assert position.clock == "measured"
    assert any(f"{BEGAN_NS} ns" in text for text in draft.facts.provenance.assumed)


def test_columns_are_scaled_picked_and_put_in_order(example: Path) -> None:
    draft = only(example)

    wrench = draft.streams["wrench.left_wrist"]
    np.testing.assert_allclose(wrench.values[3], [0.003, 0.006, 0.009, 0.012, 0.015, 0.018])
    assert wrench.values.dtype == np.float64
    assert wrench.info.reference_frame == "left_wrist_ft"
    pose = draft.streams["pose.left_wrist"]
    np.testing.assert_array_equal(pose.values[0], [0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 1.0])
    assert (pose.info.reference_frame, pose.info.of_frame) == ("pelvis", "left_wrist")


def test_words_come_from_the_file_and_from_the_mapping_file(example: Path) -> None:
    draft = only(example)

    assert draft.facts.instruction == "put the cup on the shelf"
    assert draft.facts.task == "pick_place"
    assert draft.facts.factors == {"object": "cup", "lighting": "bright"}
    assert draft.facts.origin == "human"
    assert draft.session.consent.licence == "CC-BY-4.0"
    [label] = draft.labels
    assert (label.of, label.value, label.role) == ("outcome", "success", "operator")


def test_raw_images_in_bgr_become_rgb(example: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(example, store)

    [(_, episode)] = report.episodes
    image = store.episode(episode).images("egocentric", [0])[0]
    # 200 stands in the first of the colours, which is blue
    assert image[..., 2].mean() == pytest.approx(200, abs=6)
    assert image[..., 0].mean() == pytest.approx(0, abs=6)
    assert any("encoded as H.264" in text for text in report.assumed)
    assert verify(store, deep=True) == []


def test_where_a_number_comes_from_is_written_down(example: Path) -> None:
    provenance = only(example).facts.provenance

    assert set(provenance.source_sha256) == {"two_arm_rig.yaml", "runs/run_1.h5"}
    said = " / ".join(provenance.assumed)
    assert "r0 in deg becomes right_shoulder_pitch_joint = -0.01745" in said
    assert "outcome: 'true' at /@success is success" in said


def test_the_published_example_fits_the_published_schema() -> None:
    folder = content("schemas")
    schema = json.loads((folder / "mapping.schema.json").read_text())

    for path in (folder / "mappings").glob("*.yaml"):
        plain = yaml.safe_load(path.read_text())
        jsonschema.validate(json.loads(json.dumps(plain)), schema)
        read_yaml(MappingFile, path.read_bytes(), where=path.name)


def test_the_least_mapping_file_reads_numbers_at_a_rate(tmp_path: Path) -> None:
    recorded(tmp_path)

    draft = only(told(tmp_path))

    force = draft.streams["force"]
    np.testing.assert_array_equal(force.values, np.arange(10.0)[:, None])
    np.testing.assert_array_equal(force.time_ns, np.arange(10) * 20_000_000)
    assert (force.channels, force.units, force.clock) == (("force",), ("N",), "nominal")
    assert draft.facts.task == "unknown"


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "uint64", ">f4", ">i2"])
def test_numbers_keep_their_dtype_and_every_bit(tmp_path: Path, dtype: str) -> None:
    raw = np.random.default_rng(0).integers(0, 250, (10, 3)).astype(dtype)
    recorded(tmp_path, f=raw)

    values = only(told(tmp_path)).streams["force"].values

    assert values.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(values, raw)


@pytest.mark.parametrize(
    ("unit", "stamps", "expected"),
    [
        ("s", [1.7e9, 1.7e9 + 0.25], [0, 250_000_000]),
        ("ms", [1_700_000_000_123, 1_700_000_000_124], [0, 1_000_000]),
        ("us", np.array([5, 8], np.uint32), [0, 3_000]),
        ("ns", [2**60, 2**60 + 7], [0, 7]),
        ("s", [3, 1], [2_000_000_000, 0]),
        ("ms", [0.5, 2.25], [0, 1_750_000]),
    ],
)
def test_stamps_count_from_the_earliest_in_their_unit(
    tmp_path: Path, unit: str, stamps: Any, expected: list[int]
) -> None:
    recorded(tmp_path, f=np.zeros(2), t=np.asarray(stamps))

    stream = only(told(tmp_path, clock={"path": "t", "unit": unit})).streams["force"]

    assert stream.time_ns.tolist() == expected


def test_stamps_that_begin_at_zero_are_the_episodes_own(tmp_path: Path) -> None:
    recorded(tmp_path, f=np.zeros(2), t=np.array([0.0, 0.5]))

    stream = only(told(tmp_path, clock={"path": "t"})).streams["force"]

    assert stream.source_time_ns is None


def test_groups_of_one_file_are_episodes_by_their_numbers(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for n in (10, 9, 2):
            file[f"data/demo_{n}/f"] = np.full(4, float(n))
            file[f"data/demo_{n}"].attrs["good"] = n != 9
        file["data/other/f"] = np.zeros(4)
    labels = [{"path": "@good", "values": {"true": "success", "false": "failure"}}]

    found = [
        item
        for item in items(told(tmp_path, episodes="data/demo_*", labels=labels))
        if isinstance(item, Found)
    ]

    assert [item.name for item in found] == [f"all/data/demo_{n}" for n in (2, 9, 10)]
    assert [item.draft.streams["force"].values[0, 0] for item in found] == [2.0, 9.0, 10.0]
    assert [item.draft.labels[0].value for item in found] == ["success", "failure", "success"]


def test_what_is_appended_to_a_file_of_many_is_imported_and_the_rest_known(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["e0/f"] = np.zeros(4)
    source = told(tmp_path, episodes="e*")
    store = EpisodeStore.create(tmp_path / "store")
    import_source(source, store)
    with h5py.File(tmp_path / "all.h5", "a") as file:
        file["e1/f"] = np.ones(4)

    report = import_source(source, store)

    assert [name for name, _ in report.episodes] == ["all/e1"]
    assert [name for name, _, _ in report.skipped] == ["all/e0"]


def test_a_changed_mapping_file_is_another_import(tmp_path: Path) -> None:
    recorded(tmp_path)
    store = EpisodeStore.create(tmp_path / "store")
    import_source(told(tmp_path), store)

    report = import_source(told(tmp_path, clock={"rate_hz": 100}), store)

    assert len(report.episodes) == 1


def test_files_are_found_by_patterns_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/run_10.h5", "a/run_9.h5", "a/b/run_1.h5", "a/note.txt"):
        recorded(tmp_path, name)

    found = items(told(tmp_path, files=["a/run_*.h5", "**/run_1.h5", "none/*.h5"]))

    assert [item.name for item in found if isinstance(item, Found)] == ["run_9", "run_10", "run_1"]
    assert [item.text for item in found if isinstance(item, Remark)] == ["no file fits 'none/*.h5'"]


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.h5", "a/../../*.h5", "", "\0"])
def test_a_pattern_that_leaves_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ImportFailed, match="no path below the mapping file's folder") as caught:
        items(told(tmp_path, files=[pattern]))

    assert caught.value.hint


def test_fields_of_a_compound_dataset_are_read_by_path(tmp_path: Path) -> None:
    log = np.zeros(3, [("stamp", "<f8"), ("q", "<f4", (2,)), ("word", "S3")])
    log["stamp"], log["q"] = [5.0, 5.5, 6.0], [[1, 2], [3, 4], [5, 6]]
    recorded(tmp_path, log=log)
    streams = {"force": {"paths": ["log/q"], "units": ["N"]}}

    made = only(told(tmp_path, clock={"path": "log/stamp"}, streams=streams)).streams["force"]

    np.testing.assert_array_equal(made.values, [[1, 2], [3, 4], [5, 6]])
    assert made.time_ns.tolist() == [0, 500_000_000, 1_000_000_000]
    words = told(tmp_path, streams={"force": {"paths": ["log/word"], "units": ["1"]}})
    assert "not plain numbers" in refused(words).reason


@pytest.mark.parametrize("path", ["n", "@names", "f@names"])
def test_columns_are_picked_by_the_names_that_the_file_gives_them(
    tmp_path: Path, path: str
) -> None:
    recorded(tmp_path, f=np.arange(6.0).reshape(2, 3), n=["a", "b", "c"], at_names=["a", "b", "c"])
    with h5py.File(tmp_path / "run_1.h5", "a") as file:
        file["f"].attrs["names"] = ["a", "b", "c"]
    stream = {"paths": ["f"], "names": path, "channels": ["c", "a"], "units": ["N"]}

    made = only(told(tmp_path, streams={"force": stream})).streams["force"]

    assert made.values.tolist() == [[2, 0], [5, 3]]
    assert made.channels == ("c", "a")


def test_numbers_of_three_axes_keep_their_shape(tmp_path: Path) -> None:
    depth = np.arange(2 * 4 * 5, dtype=np.uint16).reshape(2, 4, 5)
    recorded(tmp_path, f=depth)

    made = only(told(tmp_path)).streams["force"]

    np.testing.assert_array_equal(made.values, depth)
    assert made.info.shape == (4, 5)


def test_truth_values_are_kept_as_0_and_1(tmp_path: Path) -> None:
    recorded(tmp_path, f=np.array([True, False, True]))

    assert only(told(tmp_path)).streams["force"].values.ravel().tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("changes", "datasets", "reason"),
    [
        ({"streams": {"a": {"paths": ["no"], "units": ["N"]}}}, {}, "none of the streams"),
        ({"clock": {"path": "t"}}, {"t": np.zeros(3)}, "10 samples for 3 stamps at t"),
        ({"clock": {"path": "t"}}, {"t": np.full(10, np.nan)}, "no moments in s"),
        ({"clock": {"path": "t"}}, {"t": np.full(10, np.inf)}, "no moments in s"),
        ({"clock": {"path": "t"}}, {"t": np.full(10, 2**62)}, "no moments in s"),
        ({"clock": {"path": "t"}}, {"t": np.linspace(0, 1e9, 10)}, "three years apart"),
        ({"clock": {"path": "t"}}, {"t": np.zeros((10, 2))}, "no list of stamps"),
        ({"clock": {"path": "t"}}, {"t": np.array(["a"] * 10, "S1")}, "not plain numbers"),
        ({"clock": {"path": "t"}}, {}, "the stamps t of force are not there"),
        ({"clock": None}, {}, "force has no clock"),
        (
            {"streams": {"a": {"paths": ["f"], "units": ["N", "m"]}}},
            {},
            "a has 1 columns, the mapping file gives it 2 units",
        ),
        (
            {"streams": {"a": {"paths": ["f"], "units": ["N"], "channels": ["x", "y"]}}},
            {},
            "gives it 2 channels",
        ),
        (
            {"streams": {"a": {"paths": ["f"], "units": ["N"], "columns": [3]}}},
            {},
            "column 3 is asked for",
        ),
        (
            {"streams": {"a": {"paths": ["f", "g"], "units": ["N"]}}},
            {"g": np.zeros(3)},
            "other lengths: f 10, g 3",
        ),
        (
            {"streams": {"a": {"paths": ["f", "g"], "units": ["N"]}}},
            {"g": np.zeros((10, 2, 2))},
            "cannot be joined",
        ),
        (
            {"streams": {"a": {"paths": ["g"], "units": ["N"], "columns": [0]}}},
            {"g": np.zeros((10, 2, 2))},
            "not samples and columns",
        ),
        ({"streams": {"a": {"paths": ["g"], "units": ["N"]}}}, {"g": 3.0}, "one number"),
        (
            {"streams": {"a": {"paths": ["f"], "units": ["N"], "channels": ["x"], "names": "@n"}}},
            {"at_n": ["y"]},
            "nothing is called x; there are y",
        ),
        (
            {"streams": {"a": {"paths": ["g"], "units": ["N"]}}},
            {"g": np.zeros(3, complex)},
            "not plain numbers",
        ),
    ],
)
def test_an_episode_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], datasets: dict[str, Any], reason: str
) -> None:
    recorded(tmp_path, **datasets)

    assert reason in refused(told(tmp_path, **changes)).reason


def test_a_stream_that_one_file_lacks_is_missing_there_and_the_rest_goes_in(
    tmp_path: Path,
) -> None:
    recorded(tmp_path, "run_1.h5", g=np.zeros(4))
    recorded(tmp_path, "run_2.h5")
    both = {**LEAST["streams"], "touch": {"paths": ["g"], "units": ["N"]}}

    first, second = (item.draft for item in items(told(tmp_path, streams=both)))  # type: ignore[union-attr]

    assert set(first.streams) == {"force", "touch"}
    assert set(second.streams) == {"force"}
    assert second.facts.provenance.missing == ("stream touch: g",)
    assert [finding.check for finding in second.findings] == ["import.dataset"]


ARM = [
    {"name": "elbow", "group": "arm", "lower": -1.0, "upper": 2.0},
    {"name": "wrist", "group": "arm", "lower": -1.0, "upper": 1.0},
]


def with_body(tmp_path: Path, **more: Any) -> EpisodeStore:
    store = EpisodeStore.create(tmp_path / "store")
    body = {"kind": "embodiment", "version": 2, "id": "ours", "title": "Ours", "joints": ARM}
    (store.root / "embodiments/ours.yaml").write_text(yaml.safe_dump({**body, **more}))
    return store


JOINTS = {"q": {"paths": ["f"], "role": "state", "channels": ["e", "w"], "units": ["deg"]}}


def test_the_mapping_file_speaks_in_place_of_the_embodiment(tmp_path: Path) -> None:
    theirs = {"ours": {"channels": [{"source": "e", "joint": "elbow", "sign": -1}]}}
    store = with_body(tmp_path, sources=theirs)
    recorded(tmp_path, f=np.tile([90.0, 45.0], (4, 1)))
    mapping = {
        "channels": [{"source": "e", "joint": "elbow", "unit": "deg"}],
        "ignored": ["w"],
        "absent": {"wrist": {"mimic": "elbow", "coefficient": 0.5}},
    }
    file = told(tmp_path, embodiment="ours", streams=JOINTS, mapping=mapping)

    draft = only(file, store=store.root)

    np.testing.assert_allclose(draft.streams["joint_position"].values, np.pi / 2)
    np.testing.assert_allclose(draft.streams[ASSUMED].values, np.pi / 4)
    assert set(draft.streams) == {"joint_position", ASSUMED}


def test_a_channel_that_nobody_maps_is_refused(tmp_path: Path) -> None:
    store = with_body(tmp_path)
    recorded(tmp_path, f=np.zeros((4, 2)))
    mapping = {"channels": [{"source": "e", "joint": "elbow"}]}
    file = told(tmp_path, embodiment="ours", streams=JOINTS, mapping=mapping)

    assert "1 channels are unknown to ours: w" in refused(file, store=store.root).reason
    kept = only(file, store=store.root, accept_mapping=True).streams["q"]
    assert (kept.channels, kept.units) == (("w",), ("deg",))


def test_degrees_that_the_mapping_file_calls_radians_stop_the_import(tmp_path: Path) -> None:
    store = with_body(tmp_path)
    swing = 60 * np.sin(np.arange(300) / 20)
    recorded(tmp_path, f=np.stack([swing, swing / 2], axis=1))
    said = {
        "channels": [{"source": "e", "joint": "elbow"}, {"source": "w", "joint": "wrist"}],
    }
    file = told(tmp_path, embodiment="ours", streams=JOINTS, mapping=said)

    with pytest.raises(ImportFailed, match=r"divided by 57.3 they fit: degrees") as caught:
        import_source(file, store)

    assert "unit: deg" in caught.value.hint
    assert store.episode_ids() == []
    for channel in said["channels"]:
        channel["unit"] = "deg"
    told(tmp_path, embodiment="ours", streams=JOINTS, mapping=said)
    assert len(import_source(file, store).episodes) == 1


def test_a_joint_that_the_body_has_not_is_named_before_anything_is_read(tmp_path: Path) -> None:
    store = with_body(tmp_path)
    mapping = {"channels": [{"source": "e", "joint": "knee"}]}

    with pytest.raises(ImportFailed, match="joints that ours has not: knee"):
        items(told(tmp_path, embodiment="ours", mapping=mapping), store=store.root)


def test_an_unknown_embodiment_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no embodiment called 'unitree_g2'"):
        items(told(tmp_path, embodiment="unitree_g2"))


def test_two_streams_of_one_role_are_to_be_named_together(tmp_path: Path) -> None:
    store = with_body(tmp_path)
    recorded(tmp_path, f=np.zeros(4), g=np.zeros(4))
    apart = {
        "a": {"paths": ["f"], "role": "state", "channels": ["elbow"]},
        "b": {"paths": ["g"], "role": "state", "channels": ["wrist"]},
    }

    reason = refused(told(tmp_path, embodiment="ours", streams=apart), store=store.root)

    assert "two streams of the mapping file become joint_position" in reason.reason
    assert "paths: [left, right]" in reason.hint


def test_encoded_images_are_kept_byte_for_byte(tmp_path: Path) -> None:
    images = [encoded(picture(n), "png") for n in range(4)]
    padded = np.zeros((4, max(map(len, images)) + 9), np.uint8)
    for row, image in zip(padded, images, strict=True):
        row[: len(image)] = np.frombuffer(image, np.uint8)
    recorded(tmp_path, images=padded)
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(told(tmp_path, cameras={"ego": {"path": "images"}}), store)

    episode = store.episode(report.episodes[0][1])
    np.testing.assert_array_equal(episode.images("ego", [2])[0], picture(2))
    [video] = store.root.rglob("ego.mp4")
    assert all(image in video.read_bytes() for image in images)


def test_a_video_file_beside_is_copied_and_stamped(tmp_path: Path) -> None:
    recorded(tmp_path, "run_7.h5", t=np.array([0.0, 0.1, 0.4]))
    (tmp_path / "v").mkdir()
    write_video(tmp_path / "v/run_7.head.mp4", [picture(n) for n in range(3)], 10)
    cameras = {
        "head": {"file": "v/{stem}.head.mp4", "clock": {"path": "t"}},
        "own": {"file": "v/{stem}.head.mp4"},
        "gone": {"file": "v/{stem}.gone.mp4"},
    }

    draft = only(told(tmp_path, cameras=cameras))

    assert draft.videos["head"].time_ns.tolist() == [0, 100_000_000, 400_000_000]
    assert draft.videos["own"].time_ns.tolist() == [0, 100_000_000, 200_000_000]
    assert set(draft.videos) == {"head", "own"}
    assert draft.facts.provenance.missing == ("camera gone: v/{stem}.gone.mp4",)
    assert "v/run_7.head.mp4" in draft.facts.provenance.source_sha256


def test_images_without_a_stamp_each_are_left_out_with_a_finding(tmp_path: Path) -> None:
    recorded(tmp_path, images=np.zeros((3, 48, 64, 3), np.uint8), t=np.zeros(4))

    draft = only(told(tmp_path, cameras={"ego": {"path": "images", "clock": {"path": "t"}}}))

    assert draft.videos == {}
    [finding] = draft.findings
    assert "3 samples for 4 stamps" in finding.message


def test_a_word_without_a_meaning_is_no_label_and_is_found(tmp_path: Path) -> None:
    recorded(tmp_path, at_result="perhaps", at_code=np.int64(3))
    labels = [
        {"path": "@result", "values": {"yes": "success"}},
        {"path": "@gone"},
        {"path": "@code", "values": {3: "failure"}, "annotator": "op-2"},
    ]

    draft = only(told(tmp_path, labels=labels))

    assert [(label.value, label.annotator) for label in draft.labels] == [("failure", "op-2")]
    [finding] = draft.findings
    assert "'perhaps', which is no outcome" in finding.message
    assert draft.facts.provenance.missing == ("label outcome: @gone",)


def test_operators_of_their_own_have_sessions_of_their_own(tmp_path: Path) -> None:
    for n, who in enumerate(["op-1", "op-2", "op-1"]):
        recorded(tmp_path, f"run_{n}.h5", at_who=who)
    file = told(tmp_path, operator={"path": "@who"})

    drafts = [item.draft for item in items(file) if isinstance(item, Found)]

    assert [draft.session.operator for draft in drafts] == ["op-1", "op-2", "op-1"]
    assert drafts[0].session.id == drafts[2].session.id != drafts[1].session.id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"streams": {}}, "streams"),
        ({"streams": {"a": {"paths": ["f"]}}}, "units are missing"),
        ({"streams": {"a": {"paths": [], "units": ["N"]}}}, "paths"),
        ({"streams": {"a": {"paths": ["f"], "role": "state"}}}, "channels are missing"),
        ({"streams": {"a": {**JOINTS["q"], "scale": 2.0}}}, "converted by `mapping`"),
        ({"streams": {"a": {"paths": ["f"], "units": ["N"], "scale": 0}}}, "scale is 0"),
        ({"streams": {"a": {"paths": ["f"], "units": ["N"], "names": "n"}}}, "names go with one"),
        ({"streams": {"a": {"paths": ["f"], "units": ["N"], "columns": [-1]}}}, "from 0"),
        ({"clock": {"path": "t", "rate_hz": 3}}, "the path of the stamps, or time, or rate_hz"),
        ({"clock": {"rate_hz": -3}}, "rate_hz"),
        ({"cameras": {"a": {"path": "x", "file": "y"}}}, "either path or file"),
        ({"task": {}}, "either text or path"),
        ({"steams": {}}, "steams"),
        ({"version": 2}, "this release reads up to 1"),
    ],
)
def test_a_mapping_file_that_makes_no_sense_says_why(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DemosError, match=reason) as caught:
        items(told(tmp_path, **changes))

    assert caught.value.hint


def test_yaml_of_another_kind_is_not_claimed(tmp_path: Path) -> None:
    claims = {
        "a.yaml": "kind: mapping\n",
        "b.yml": "# rig\nkind: 'mapping'  # ours\n",
        "c.yaml": "kind: embodiment\n",
        "d.yaml": "x:\n  kind: mapping\n",
        "e.txt": "kind: mapping\n",
    }
    for name, text in claims.items():
        (tmp_path / name).write_text(text)

    assert [name for name in claims if Mapped().sniff(tmp_path / name)] == ["a.yaml", "b.yml"]


def test_the_file_is_the_source_on_the_command_line(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    code = main(["import", str(example), str(store.root), "--format", "json"])

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["format"] == "mapped"
    assert [each["source"] for each in report["episodes"]] == ["run_1"]


def test_a_schema_mismatch_is_an_import_that_failed(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: mapping\n")

    with pytest.raises(ImportFailed, match="title") as caught:
        items(file)

    assert isinstance(caught.value.__cause__, SchemaMismatch)
    assert "schemas/mappings" in caught.value.hint


def test_a_file_that_is_damaged_is_refused_and_the_rest_goes_in(tmp_path: Path) -> None:
    recorded(tmp_path, "run_1.h5")
    (tmp_path / "run_2.h5").write_bytes(b"\x89HDF\r\n\x1a\n not whole")
    (tmp_path / "run_3.h5").write_text("no HDF5")

    one, two, three = items(told(tmp_path))

    assert isinstance(one, Found)
    assert isinstance(two, Refused)
    assert isinstance(three, Refused)
    assert two.hint
    assert "no HDF5 file" in three.reason
