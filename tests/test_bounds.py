"""What a few bytes of a source may stand for is bounded before any memory is taken for it."""

from __future__ import annotations

import bz2
import gc
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demos.errors import ImportFailed, SchemaMismatch
from demos.formats import hdf5, held, parquet, ros_bags, tf_example
from demos.formats.files import MOST_JSON_BYTES, json_lines, json_value, plain_json
from demos.formats.hdf5_episode import rows_of
from demos.formats.notes import Notes
from demos.formats.pictures import write_pictures
from demos.model import MappingFile
from demos.model.bulk import give_back, in_a_file, slabs
from demos.schema import read_yaml


def test_tables_count_together_for_as_long_as_somebody_has_them() -> None:
    half = held.MOST_BYTES // 2
    first = held.room("first", (half,), np.uint8)
    view = first.reshape(2, -1)[:1]
    second = held.room("second", (half // 8,), np.int64)

    with pytest.raises(ImportFailed, match="third is too large: 200 MB") as caught:
        held.room("third", (1, 1), np.float64)
    del first, second
    gc.collect()
    held.room("third", (half,), np.uint8)

    assert caught.value.hint
    with pytest.raises(ImportFailed):
        held.room("a view still needs the first", (half + 1,), np.uint8)
    assert len(view) == 1


def test_what_is_kept_of_other_episodes_does_not_count() -> None:
    kept = []
    for _ in range(3):
        with held.episode():
            kept.append(held.room("table", (held.MOST_BYTES // 8 - 1,), np.float64))

    assert len(kept) == 3


def test_images_lie_in_a_file_and_are_no_less_true_when_their_memory_is_given_back() -> None:
    images = held.room("depth", (100, 200, 200), np.uint16)
    images[:] = np.arange(100, dtype=np.uint16)[:, None, None]

    give_back(images)

    assert isinstance(images, np.memmap)
    assert images[:, 7, 7].tolist() == list(range(100))


def test_slabs_are_all_rows_in_order() -> None:
    whole = np.arange(3_000_000, dtype=np.int64).reshape(-1, 3)
    mapped = in_a_file(whole.shape, np.int64)
    mapped[:] = whole

    for values in (whole, mapped, whole[:0]):
        parts = list(slabs(values))
        assert [first for first, _ in parts] == [
            sum(len(part) for _, part in parts[:n]) for n in range(len(parts))
        ]
        together = np.concatenate([whole[:0], *(part for _, part in parts)])
        np.testing.assert_array_equal(together, values)


def test_changes_that_were_never_in_the_file_are_not_given_back(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(8192))
    private = np.memmap(tmp_path / "x", np.uint8, "c")
    private[:] = 7

    give_back(private[10:])

    assert (private == 7).all()


@pytest.mark.parametrize("each", ["[],", "{},", "0,", '"",'])
def test_json_of_very_many_small_values_is_not_parsed(each: str, tmp_path: Path) -> None:
    crowd = "[" + each * (MOST_JSON_BYTES // 30) + "0]"

    with pytest.raises(ImportFailed, match="values that would take") as caught:
        json_value(crowd.encode(), "data.json")

    assert caught.value.hint
    (tmp_path / "x.jsonl").write_text(crowd)
    with pytest.raises(ImportFailed, match="values that would take"):
        json_lines(tmp_path, "x.jsonl")


def test_a_lone_surrogate_is_no_text_however_it_is_written() -> None:
    for content in (b'["\\ud800"]', b'["\xed\xa0\x80"]'):
        with pytest.raises(ImportFailed):
            json_value(content, "x")
    assert json_value('["ü\\u00fc"]'.encode(), "x") == ["üü"]


def test_json_that_is_nested_too_deep_for_python_is_kept_until_there() -> None:
    deep = json_value(b"[" * 900 + b"]" * 900, "x")

    assert json.dumps(plain_json(deep)).count("[") == 100


def test_yaml_whose_aliases_hold_one_another_is_refused() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    for text in ("\n".join(lines), "a: &a [*a]", "# " + "x" * 2_000_000):
        with pytest.raises(SchemaMismatch) as caught:
            read_yaml(MappingFile, text.encode(), where="rig.yaml")
        assert caught.value.hint


def test_rows_that_are_nothing_in_a_parquet_file_are_counted(tmp_path: Path) -> None:
    million = pa.array(np.zeros(1_000_000, np.int64))
    rows = held.MOST_BYTES // 8_000_000 + 1
    pq.write_table(pa.table({"x": pa.chunked_array([million] * rows)}), tmp_path / "long")
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), ["x" * 100_000])
    pq.write_table(pa.table({"x": text}), tmp_path / "texts")

    for name in ("long", "texts"):
        assert (tmp_path / name).stat().st_size < 1_000_000
        with pytest.raises(ImportFailed, match=f"{name} is too large") as caught:
            parquet.parquet_table(tmp_path, name)
        assert caught.value.hint


def test_one_episode_is_read_of_a_table_that_is_too_large_as_a_whole(tmp_path: Path) -> None:
    rows = held.MOST_BYTES // 16 + 1_000_000
    table = pa.table({"episode_index": np.arange(rows) // 1000, "x": np.arange(rows)})
    pq.write_table(table, tmp_path / "x", row_group_size=1_000_000)
    del table

    read = parquet.parquet_table(tmp_path, "x", 1500)

    assert read.column("x").to_pylist() == list(range(1_500_000, 1_501_000))


def test_a_chunk_of_a_bag_unpacks_to_so_much_and_no_more() -> None:
    packed = bz2.compress(b"one") + bz2.compress(b"two")
    bomb = bz2.compress(bytes(45_000_000))

    assert ros_bags._unpacked(bz2.BZ2Decompressor, packed) == b"onetwo"
    for content, why in ((bomb * 3, "more than"), (bomb[:-20], "breaks off")):
        with pytest.raises(ImportFailed, match=why):
            ros_bags._unpacked(bz2.BZ2Decompressor, content)


def test_a_chunk_of_very_many_records_is_refused() -> None:
    with pytest.raises(ImportFailed, match="more than 500,000 records"):
        ros_bags._refuse_crowded(bytes(9 * 500_001))
    ros_bags._refuse_crowded(bytes(9 * 500_000))


def test_a_picture_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20_000).to_bytes(4, "big") * 2

    with pytest.raises(ImportFailed, match="20000x20000") as caught:
        write_pictures([head + bytes(60)], 30.0, tmp_path / "x.mp4")

    assert caught.value.hint


def test_whole_numbers_are_decoded_across_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf_example, "_WINDOW", 16)
    numbers = np.array([0, 1, 127, 128, 2**31, 2**63 - 1, -1, -(2**63), 300] * 20)

    read = tf_example.parse(tf_example.serialise({"x": numbers})).features["x"]

    np.testing.assert_array_equal(np.asarray(read), numbers)


def test_a_record_of_very_many_empty_texts_is_refused() -> None:
    with pytest.raises(ImportFailed, match="more than 500,000 texts"):
        tf_example.parse(tf_example.serialise({"x": [b""] * 500_001}))


_PUBLISH = """
import json, sys
from pathlib import Path
import h5py
import numpy as np
from demos.model import Draft, Facts, Session, Stream, StreamInfo
from demos.provenance import made_by, new_id, now
from demos.store import EpisodeStore

folder, container, images = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
held = np.memmap(folder / "depth", "<u2", "r", shape=(images, 480, 640))
info = StreamInfo(units=("mm",), channels=("depth",), shape=(480, 640))
stream = Stream(np.arange(images, dtype=np.int64), held, info)
session = Session(id=new_id(), embodiment="nobody", operator="op-1", started_at=now())
facts = Facts(task="look", recorded_at=now(), provenance=made_by("test"))
store = EpisodeStore.create(folder / container, container)
store.publish(Draft(session, facts, {"depth.head": stream}))
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it asks Linux for the peak")
@pytest.mark.parametrize("container", ["zarr", "hdf5"])
def test_more_depth_than_memory_is_published(container: str, tmp_path: Path) -> None:
    images, picture = 1000, np.random.default_rng(0).integers(400, 500, (480, 640))
    with (tmp_path / "depth").open("wb") as file:
        for number in range(images):
            file.write(np.roll(picture, number).astype("<u2").tobytes())

    told = subprocess.run(
        [sys.executable, "-c", _PUBLISH, str(tmp_path), container, str(images)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(told.stdout) < 200


def test_a_table_is_wide_however_many_axes_it_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as made:
        made["wide"] = np.zeros((8, 30_000, 3), np.int8)
        made["usual"] = np.zeros((8, 2, 3), np.int8)
    notes = Notes()

    with hdf5.opened(tmp_path / "x.h5") as file:
        wide = rows_of(file, "wide", 8, "steps", notes)
        usual = rows_of(file, "usual", 8, "steps", notes)

    assert wide is None
    assert "90,000 columns" in notes.missing[0]
    assert usual is not None
    assert usual.shape == (8, 2, 3)
