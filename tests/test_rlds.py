"""RLDS: framing, wire format and datasets, against protobuf, bytes made by hand and edited files.

Files here follow the documented layout of TFDS; a real one is read in `test_real_folders.py`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.errors import DemosError, ImportFailed
from demos.formats import rlds_example as example
from demos.formats.rlds import read_record
from demos.formats.tf_example import parse, serialise
from demos.formats.tfds import Field, survey
from demos.formats.tfrecord import Damage, records, write_records
from demos.importers import Found, ImportReport, Item, Options, Refused, Remark, open_source
from demos.importers import import_source as import_into
from demos.model import Draft
from demos.store import EpisodeStore
from tests.tf_messages import messages, values_of


def crc32c(content: bytes) -> int:
    """CRC-32C bit by bit (Castagnoli 1993; polynomial 0x1EDC6F41, reflected)."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def framed(content: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<Q", len(content) if length is None else length)

    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)

    return head + masked(head) + content + masked(content)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return example.write_dataset(tmp_path / "example_dataset" / "1.0.0")


def items(root: Path, **more: Any) -> list[Item]:
    return list(open_source(root, Options(**more), format="rlds"))


def drafts(root: Path, **more: Any) -> list[Draft]:
    return [item.draft for item in items(root, **more) if isinstance(item, Found)]


def edit(path: Path, change: Callable[[Any], object]) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def add_field(root: Path, name: str, node: dict[str, Any]) -> None:
    def change(tree: Any) -> None:
        steps = tree["featuresDict"]["features"]["steps"]["sequence"]["feature"]
        steps["featuresDict"]["features"][name] = node

    edit(root / "features.json", change)


def rewrite(root: Path, *episodes: dict[str, Any]) -> None:
    [path] = root.glob("*.tfrecord*")
    path.unlink()
    write_records(path, [serialise(each) for each in episodes])


# ------------------------------------------------------------------ framing


def test_the_checksum_of_this_test_is_the_published_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4, in the usual notation


def test_records_are_framed_as_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x"

    write_records(path, [b"one", b"", b"three"])

    assert path.read_bytes() == framed(b"one") + framed(b"") + framed(b"three")
    assert list(records(path)) == [b"one", b"", b"three"]


def test_a_record_whose_bytes_changed_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    content = bytearray(framed(b"one") + framed(b"two"))
    content[13] ^= 1
    path.write_bytes(content)

    damaged, good = records(path)

    assert isinstance(damaged, Damage)
    assert "byte 0 fails its checksum" in damaged.reason
    assert good == b"two"


@pytest.mark.parametrize("length", [2**63, 2**40, 100])
def test_a_length_beyond_the_file_is_not_believed(length: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(framed(b"one") + framed(b"two", length))

    good, damaged = records(tmp_path / "x")

    assert good == b"one"
    assert isinstance(damaged, Damage)
    assert damaged.last
    assert f"has {length} bytes" in damaged.reason


@pytest.mark.parametrize("cut", [1, 5, 13, 17])
def test_a_file_that_breaks_off_gives_what_came_before(cut: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(framed(b"one") + framed(b"two")[:-cut])

    good, damaged = records(tmp_path / "x")

    assert good == b"one"
    assert isinstance(damaged, Damage)
    assert "breaks off" in damaged.reason


# -------------------------------------------------------------- wire format

numbers = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=12)
floats = st.lists(st.floats(width=32, allow_nan=False), max_size=12)
texts = st.lists(st.binary(max_size=20), max_size=6)
named = st.dictionaries(
    st.text(max_size=12),
    st.tuples(st.just("int64_list"), numbers)
    | st.tuples(st.just("float_list"), floats)
    | st.tuples(st.just("bytes_list"), texts),
    max_size=5,
)


def plain(value: Any) -> list[Any]:
    return [bytes(part) for part in value] if isinstance(value, list) else value.tolist()


@settings(max_examples=150, deadline=None)
@given(named)
def test_an_example_of_protobufs_is_read_as_protobuf_wrote_it(drawn: dict[str, Any]) -> None:
    made = messages()["Example"]()
    for key, (kind, values) in drawn.items():
        getattr(made.features.feature[key], kind).value.extend(values)

    found = parse(made.SerializeToString())

    assert {key: plain(value) for key, value in found.features.items()} == {
        key: values for key, (_, values) in drawn.items()
    }


@settings(max_examples=100, deadline=None)
@given(named)
def test_protobuf_reads_what_we_write(drawn: dict[str, Any]) -> None:
    kinds = {"int64_list": np.int64, "float_list": np.float32}
    ours = {
        key: np.array(values, kinds[kind]) if kind in kinds else values
        for key, (kind, values) in drawn.items()
    }

    read = messages()["Example"].FromString(serialise(ours))

    assert {key: values_of(value) for key, value in read.features.feature.items()} == {
        key: values for key, (_, values) in drawn.items()
    }


def test_a_sequence_example_is_read_as_protobuf_wrote_it() -> None:
    made = messages()["SequenceExample"]()
    made.context.feature["name"].bytes_list.value.append(b"x")
    for row in range(3):
        step = made.feature_lists.feature_list["steps/state"].feature.add()
        step.float_list.value.extend([row, row + 0.5])

    found = parse(made.SerializeToString())

    assert plain(found.features["name"]) == [b"x"]
    assert [plain(part) for part in found.lists["steps/state"]] == [[0, 0.5], [1, 1.5], [2, 2.5]]


def test_unpacked_numbers_are_read_too() -> None:
    # proto2 writers repeat the field: Int64List {1: 3, 1: -1} and FloatList {1: 1.5}
    whole = b"\x08\x03\x08" + b"\xff" * 9 + b"\x01"
    single = b"\x0d" + struct.pack("<f", 1.5)
    features = b""
    for key, number, inner in ((b"a", 3, whole), (b"b", 2, single)):
        feature = bytes([number << 3 | 2, len(inner)]) + inner
        value = b"\x0a\x01" + key + b"\x12" + bytes([len(feature)]) + feature
        features += b"\x0a" + bytes([len(value)]) + value

    found = parse(b"\x0a" + bytes([len(features)]) + features)

    assert {key: plain(value) for key, value in found.features.items()} == {
        "a": [3, -1],
        "b": [1.5],
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x0a\xff\xff\xff\xff\x0f", "field of 4294967295 bytes"),
        (b"\x0a\x80", "number that breaks off"),
        (b"\x1a\x00", "a field 3"),
        (b"\x08\x01", "field 1 of wire type 0"),
        (b"\x0b", "wire type 3"),
        (b"\x80" * 11, "more than 64 bits"),
        (b"\x0a\x04\x0a\x02\x0a\x00" + b"\x0a\x05\x0a\x03\x0a\x01\xff", "a key that is no text"),
    ],
)
def test_what_is_no_example_is_refused_with_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(ImportFailed, match=why) as caught:
        parse(content)

    assert caught.value.hint


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_an_example_as_protobuf_reads_them_or_our_error(content: bytes) -> None:
    try:
        found = parse(content)
    except ImportFailed:
        return

    read = messages()["SequenceExample"].FromString(content)
    assert sorted(found.features) == sorted(read.context.feature)


# ----------------------------------------------------------------- datasets


def test_the_numbers_texts_and_images_of_a_dataset_come_in(dataset: Path) -> None:
    first, second = drafts(dataset)

    for number, draft in enumerate((first, second)):
        truth = example.episode(number)
        state = truth["steps/observation/state"].reshape(-1, 2)
        np.testing.assert_array_equal(draft.streams["state"].values, state)
        assert draft.streams["state"].values.dtype == np.float32
        np.testing.assert_array_equal(draft.streams["is_first"].values[:, 0], [1, 0, 0, 0, 0])
        assert draft.facts.instruction == "wave with the arm"
        assert draft.facts.task == "wave_with_the_arm"
        assert [(x.of, x.value) for x in draft.labels] == [("instruction", "wave with the arm")]
        assert draft.facts.provenance.parameters["metadata"] == {"episode_id": number}
        assert len(draft.videos["image"].time_ns) == 5
    assert "opaque" in (first.streams["action"].info.semantics or "")


def test_a_rate_that_nobody_states_is_synthesised_and_said(dataset: Path) -> None:
    [draft, _] = drafts(dataset)

    assert draft.streams["state"].clock == "synthesised"
    assert draft.streams["state"].time_ns.tolist() == [n * 100_000_000 for n in range(5)]
    assert any("10 Hz, taken for want of anything better" in a
               for a in draft.facts.provenance.assumed)  # fmt: skip


def test_a_rate_that_a_paper_states_is_nominal_and_cited(dataset: Path) -> None:
    edit(dataset / "dataset_info.json", lambda info: info.update(name="droid_100"))

    [draft, _] = drafts(dataset)

    assert draft.streams["state"].clock == "nominal"
    assert draft.streams["state"].info.rate_hz == 15.0
    assert any("Khazatsky" in a for a in draft.facts.provenance.assumed)


def test_splits_that_repeat_each_other_are_told_whatever_the_order_of_keys(dataset: Path) -> None:
    again = dict(reversed(example.episode(1).items()))
    again["episode_metadata/episode_id"] = np.array([77])
    write_records(dataset / "example_dataset-val.tfrecord-00000-of-00001", [serialise(again)])
    edit(dataset / "dataset_info.json",
         lambda info: info.update(example.info({"train": [2], "val": [1]})))  # fmt: skip

    found = items(dataset)

    [leak] = [i.text for i in found if isinstance(i, Remark) and i.about == "contradiction"]
    assert leak.startswith("split val repeats split train: 1 of 1 episodes are the same")
    assert "val_000000 is train_000001" in leak
    [last] = [i.draft for i in found if isinstance(i, Found) and i.name == "val_000000"]
    assert [f.severity for f in last.findings if f.check == "import.repeated"] == ["warning"]
    assert last.facts.provenance.parameters["split"] == "val"


def test_one_pixel_makes_another_episode(dataset: Path) -> None:
    one, other = example.episode(0), example.episode(0)
    other["steps/observation/image"] = [*other["steps/observation/image"][:-1],
                                        other["steps/observation/image"][0]]  # fmt: skip
    rewrite(dataset, one, other)

    assert not [i for i in items(dataset) if isinstance(i, Remark) and "repeats" in i.text]


def test_a_damaged_record_is_refused_and_the_rest_goes_in(dataset: Path) -> None:
    [path] = dataset.glob("*.tfrecord*")
    content = bytearray(path.read_bytes())
    content[40] ^= 255
    path.write_bytes(content)

    refused, found, *rest = items(dataset)

    assert isinstance(refused, Refused)
    assert "fails its checksum" in refused.reason
    assert isinstance(found, Found)
    assert found.name == "train_000001"
    assert rest == []


def test_missing_files_and_wrong_counts_are_told(dataset: Path) -> None:
    [path] = dataset.glob("*.tfrecord*")
    path.rename(dataset / "example_dataset-train.tfrecord-00001-of-00003")
    edit(dataset / "dataset_info.json",
         lambda info: info.update(example.info({"train": [2, 2, 2], "test": [4]})))  # fmt: skip

    texts = [i.text for i in items(dataset) if isinstance(i, Remark)]

    assert "split train: 2 of 3 files, first 00000" in texts
    assert "split test: no file of it is here" in texts
    assert "split train should have 6 episodes, 2 were found" in texts


@pytest.mark.parametrize(
    ("node", "values", "truth"),
    [
        (example.tensor("uint8", ["2"]), np.arange(10), np.arange(10).reshape(5, 2)),
        (example.tensor("int32", []), np.arange(5) - 3, (np.arange(5) - 3).reshape(5, 1)),
        (example.tensor("uint64", []), np.array([-1] * 5), np.full((5, 1), 2**64 - 1, np.uint64)),
        (
            example.tensor("float64", []),
            np.arange(5, dtype=np.float32),
            np.arange(5, dtype=np.float32).reshape(5, 1),
        ),
        (
            example.tensor("float32", ["2", "2"], "zlib"),
            [zlib.compress(np.full((2, 2), n, "<f4").tobytes()) for n in range(5)],
            np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 2, 2), np.float32),
        ),
        (
            example.tensor("int16", ["3"], "bytes"),
            [np.full(3, n, "<i2").tobytes() for n in range(5)],
            np.arange(5, dtype=np.int16)[:, None] * np.ones((5, 3), np.int16),
        ),
    ],
)
def test_tensors_come_back_in_the_declared_dtype_where_the_record_keeps_it(
    node: dict[str, Any], values: Any, truth: Any, dataset: Path
) -> None:
    add_field(dataset, "extra", node)
    rewrite(dataset, {**example.episode(0), "steps/extra": values})

    [draft] = drafts(dataset)

    stream = draft.streams["extra"]
    np.testing.assert_array_equal(stream.values, truth)
    declared = np.dtype(node["tensor"]["dtype"])
    assert stream.values.dtype == (np.float32 if declared == np.float64 else declared)
    assert any("keeps float32" in a for a in draft.facts.provenance.assumed) == (
        declared == np.float64
    )


@pytest.mark.parametrize(
    ("node", "values", "why"),
    [
        (example.tensor("uint8", []), np.array([256] * 5), "no uint8"),
        (example.tensor("bool", []), np.array([2] * 5), "no bool"),
        (example.tensor("float32", ["2"]), np.zeros(9, np.float32), "no rows of 2"),
        (example.tensor("float32", []), np.zeros(4, np.float32), "4 values for 5 steps"),
        (example.tensor("int64", []), np.zeros(5, np.float32), "holds floats"),
        (example.tensor("complex64", []), np.zeros(5, np.float32), "declared as 'complex64'"),
        (example.tensor("float32", ["-1", "2"]), np.zeros(10, np.float32), "shape is open"),
        (example.tensor("float32", []), [b"x"] * 5, "bytes, not numbers"),
        (example.tensor("float32", ["2"], "zlib"), [zlib.compress(bytes(10**7))] * 5, "needs 8"),
        (example.tensor("float32", ["2"], "zlib"), [b"junk"] * 5, "cannot be unpacked"),
        ({"pythonClassName": "x.Audio", "audio": {}}, np.zeros(5, np.float32), "x.Audio is not"),
    ],
)
def test_a_field_that_is_not_what_it_is_declared_is_lost_alone_and_named(
    node: dict[str, Any], values: Any, why: str, dataset: Path
) -> None:
    add_field(dataset, "extra", node)
    rewrite(dataset, {**example.episode(0), "steps/extra": values})

    [draft] = drafts(dataset)

    assert "extra" not in draft.streams
    assert "state" in draft.streams
    [lost] = draft.facts.provenance.missing
    assert lost.startswith("extra: ")
    assert why in lost


def test_sequences_in_a_step_are_kept_where_they_are_of_one_length() -> None:
    field = Field("steps/points", "tensor", "float32", (2,), depth=2)
    flat, lengths = np.arange(12, dtype=np.float32), np.array([3, 3])
    base = {"steps/points/ragged_flat_values": flat}

    uneven = serialise({**base, "steps/points/ragged_row_lengths_0": np.array([2, 4])})

    even = read_record(serialise({**base, "steps/points/ragged_row_lengths_0": lengths}), [field])
    with pytest.raises(ImportFailed, match="no steps"):
        read_record(uneven, [field])

    np.testing.assert_array_equal(even.numbers["points"], flat.reshape(2, 3, 2))


def test_images_the_metadata_denies_are_kept_and_the_dummy_is_named(dataset: Path) -> None:
    def change(tree: Any) -> None:
        top = tree["featuresDict"]["features"]["episode_metadata"]["featuresDict"]["features"]
        top["has_image"] = example.tensor("bool", [])

    edit(dataset / "features.json", change)
    same = [example.episode(0)["steps/observation/image"][0]] * 5
    rewrite(dataset, {**example.episode(0), "steps/observation/image": same,
                      "episode_metadata/has_image": np.array([0])})  # fmt: skip

    [draft] = drafts(dataset)

    assert "image" in draft.videos
    [finding] = [f for f in draft.findings if f.check == "import.camera"]
    assert "image (one picture in all steps)" in finding.message


def test_pictures_that_are_none_cost_the_camera_only(dataset: Path) -> None:
    rewrite(dataset, {**example.episode(0), "steps/observation/image": [b"\xff\xd8\xffno"] * 5})

    [draft] = drafts(dataset)

    assert draft.videos == {}
    assert "state" in draft.streams
    assert [f.check for f in draft.findings] == ["import.missing_video"]


def test_flags_that_say_the_record_is_no_whole_episode_are_told(dataset: Path) -> None:
    flags = np.array([1, 0, 1, 0, 0])
    rewrite(dataset, {**example.episode(0), "steps/is_first": flags})

    [draft] = drafts(dataset)

    [finding] = [f for f in draft.findings if f.check == "import.steps"]
    assert "is_first is true in steps [0, 2]" in finding.message


def test_an_instruction_that_changes_becomes_spans(dataset: Path) -> None:
    said = [b"reach"] * 2 + [b"grasp"] * 3
    rewrite(dataset, {**example.episode(0), "steps/language_instruction": said})

    [draft] = drafts(dataset)

    [label] = draft.labels
    assert [(s.start_ns, s.end_ns, s.value) for s in label.spans] == [
        (0, 200_000_000, "reach"), (200_000_000, 400_000_000, "grasp"),
    ]  # fmt: skip
    assert draft.facts.instruction == "reach"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tree: tree["featuresDict"]["features"].pop("steps"), "no steps"),
        (lambda tree: (tree.clear(), tree.update(type="x", content={})), "TFDS before 4.5"),
    ],
)
def test_another_kind_of_dataset_is_refused_by_name(
    change: Callable[[Any], object], why: str, dataset: Path
) -> None:
    edit(dataset / "features.json", change)

    with pytest.raises(DemosError, match=why) as caught:
        items(dataset)

    assert caught.value.hint


def test_episodes_in_another_container_are_refused_by_name(dataset: Path) -> None:
    edit(dataset / "dataset_info.json", lambda info: info.update(fileFormat="array_record"))

    with pytest.raises(ImportFailed, match="array_record"):
        items(dataset)


def test_a_second_import_finds_everything_there(dataset: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    first: ImportReport = import_into(dataset, store)

    second = import_into(dataset, store)

    assert len(first.episodes) == 2
    assert second.episodes == ()
    assert all("imported before" in reason for _, reason, _ in second.skipped)


def test_what_is_ignored_stays_out(dataset: Path) -> None:
    draft, _ = drafts(dataset, ignore=("reward", "image"))

    assert "reward" not in draft.streams
    assert draft.videos == {}


def test_a_survey_reads_shards_in_order_of_splits_and_numbers(dataset: Path) -> None:
    [path] = dataset.glob("*.tfrecord*")
    for name in ("val.tfrecord-00001-of-00002", "val.tfrecord-00000-of-00002"):
        (dataset / f"example_dataset-{name}").write_bytes(path.read_bytes())

    found = survey(dataset)

    assert [(s.split, s.number) for s in found.shards] == [("train", 0), ("val", 0), ("val", 1)]
