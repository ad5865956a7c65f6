"""Zarr replay buffers: written by the zarr package as UMI and diffusion policy lay them out; no
real one is at hand. Rotations are held against SciPy, arrays against zarr."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from scipy.spatial.transform import Rotation

from demos.errors import ImportFailed
from demos.formats.codecs import jpeg_xl_size
from demos.formats.replay_buffer_example import write_buffer, write_umi
from demos.formats.rotations import quaternions
from demos.formats.zarr_v2 import Folder, open_array
from demos.importers import (
    Found,
    Item,
    Options,
    Refused,
    Remark,
    import_source,
    importers,
    open_source,
)
from demos.model import Draft
from demos.store import EpisodeStore


@pytest.fixture
def umi(tmp_path: Path) -> Path:
    return write_umi(tmp_path / "cup.zarr")


def items(path: Path, **more: Any) -> list[Item]:
    return list(open_source(path, Options(**more), format="umi"))


def drafts(path: Path, **more: Any) -> list[Draft]:
    return [item.draft for item in items(path, **more) if isinstance(item, Found)]


def zipped(root: Path, *, deflate: bool = False) -> Path:
    path = root.parent / f"{root.name}.zip"
    how = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        for each in sorted(root.rglob("*")):
            if each.is_file():
                archive.write(each, each.relative_to(root).as_posix())
    return path


def edit(root: Path, array: str, change: Callable[[dict[str, Any]], object]) -> Path:
    path = root / array / ".zarray"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return root


def raw(root: Path, array: str) -> Any:
    """Read a whole array with the zarr package."""
    opened: Any = zarr.open_array(root / array, mode="r", zarr_format=2)
    return opened[:]


def said(draft: Draft) -> str:
    return " / ".join(draft.facts.provenance.assumed)


# ------------------------------------------------------------------- meaning


def test_every_number_is_what_zarr_reads(umi: Path) -> None:
    position, width = raw(umi, "data/robot0_eef_pos"), raw(umi, "data/robot0_gripper_width")
    turn = raw(umi, "data/robot0_eef_rot_axis_angle")

    first, second = drafts(umi)

    for draft, rows in ((first, slice(0, 6)), (second, slice(6, 11))):
        streams = draft.streams
        np.testing.assert_array_equal(streams["pose.robot0_eef"].values[:, :3], position[rows])
        np.testing.assert_array_equal(streams["gripper.robot0"].values, width[rows])
        vectors = streams["robot0_eef_rot_axis_angle"]
        np.testing.assert_array_equal(vectors.values, turn[rows])
        assert vectors.values.dtype == np.float32
        assert vectors.units == ("rad",) * 3
    assert first.streams["gripper.robot0"].units == ("m",)
    assert first.facts.provenance.parameters["robot0_demo_start_pose"] == [0.1, 0.2, 0.3, 0, 0, 0.1]


def test_rotation_vectors_become_the_quaternions_of_scipy() -> None:
    rng = np.random.default_rng(0)
    axis = rng.normal(size=(400, 3))
    angle = np.r_[np.zeros(50), 10.0 ** rng.uniform(-12, -1, 150), rng.uniform(0, np.pi, 200)]
    vectors = axis / np.linalg.norm(axis, axis=1, keepdims=True) * angle[:, None]

    ours = quaternions(vectors)

    np.testing.assert_allclose(ours, Rotation.from_rotvec(vectors).as_quat(), atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1.0, atol=1e-15)


def test_a_quarter_turn_about_z_is_what_it_is_by_hand() -> None:
    half = np.sqrt(0.5)

    np.testing.assert_allclose(
        quaternions(np.array([[0, 0, np.pi / 2], [0, 0, 0]])), [[0, 0, half, half], [0, 0, 0, 1]],
        atol=1e-15,
    )  # fmt: skip


def test_the_pose_says_of_what_and_in_which_reference_frame(umi: Path) -> None:
    [draft, _] = drafts(umi)

    info = draft.streams["pose.robot0_eef"].info
    assert (info.reference_frame, info.of_frame) == ("table_tag", "robot0_eef_tcp")
    assert info.units == ("m", "m", "m", "1", "1", "1", "1")


def test_a_rate_that_is_not_stored_is_assumed_and_said(umi: Path) -> None:
    [draft, _] = drafts(umi)

    stream = draft.streams["gripper.robot0"]
    assert stream.clock == "nominal"
    assert stream.time_ns.tolist() == [round(n * 1001 / 60000 * 1e9) for n in range(6)]
    assert "row / 59.94 Hz, as UMI's GoPro cameras record" in said(draft)


def test_images_are_encoded_and_it_is_said_with_what_loss(umi: Path, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    truth = raw(umi, "data/camera0_rgb")

    report = import_source(umi, store)

    episode = store.episode(report.episodes[1][1])
    images = episode.images("camera0", range(5))
    assert np.abs(images.astype(int) - truth[6:]).max() <= 6
    assert any("encoded as H.264, with loss" in text for text in report.assumed)


def test_pusht_has_pixels_and_ten_steps_a_second(tmp_path: Path) -> None:
    # pusht_cchi_v7_replay.zarr: float32 throughout, images 96x96 with whole numbers
    rows = np.arange(9, dtype=np.float32)
    images = np.repeat(rows * 20, 96 * 96 * 3).reshape(9, 96, 96, 3)
    root = write_buffer(
        tmp_path / "pusht.zarr",
        {
            "action": np.stack([rows, rows], 1),
            "state": np.stack([rows] * 5, 1),
            "keypoint": np.zeros((9, 9, 2), np.float32) + rows[:, None, None],
            "n_contacts": rows[:, None],
            "img": images,
        },
        np.array([4, 9]),
    )

    _, draft = drafts(root)

    state = draft.streams["state"]
    assert state.channels == ("agent_x", "agent_y", "block_x", "block_y", "block_angle")
    assert state.units == ("px", "px", "px", "px", "rad")
    assert state.values[:, 0].tolist() == [4, 5, 6, 7, 8]
    assert state.time_ns.tolist() == [n * 100_000_000 for n in range(5)]
    assert draft.streams["keypoint"].values.shape == (5, 9, 2)
    assert draft.videos["img"].info.width == 96
    assert "10 Hz, as Push-T is controlled" in said(draft)


def test_stamps_of_a_real_robot_are_measured_and_kept_raw(tmp_path: Path) -> None:
    # diffusion policy's real robots: timestamp in seconds since 1970, poses as one array of six
    stamps = 1_700_000_000 + np.array([0.0, 0.1, 0.22, 0.3, 0.0, 0.1])
    pose = np.zeros((6, 6))
    pose[:, 5] = np.pi / 2
    root = write_buffer(
        tmp_path / "real.zarr",
        {"timestamp": stamps, "robot_eef_pose": pose, "action": pose},
        np.array([4, 6]),
    )

    first, _ = drafts(root)

    stream = first.streams["pose.robot_eef"]
    assert stream.clock == "measured"
    np.testing.assert_allclose(stream.time_ns / 1e9, [0, 0.1, 0.22, 0.3], atol=1e-6)
    assert stream.source_time_ns is not None
    np.testing.assert_allclose(stream.source_time_ns / 1e9, stamps[:4], atol=1e-6)
    np.testing.assert_allclose(stream.values[0, 3:], [0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    np.testing.assert_array_equal(first.streams["robot_eef_pose"].values, pose[:4])


def test_a_zip_is_read_like_the_folder(umi: Path) -> None:
    for path in (zipped(umi), zipped(umi, deflate=True)):
        for one, other in zip(drafts(umi), drafts(path), strict=True):
            assert list(one.streams) == list(other.streams)
            for name, stream in one.streams.items():
                np.testing.assert_array_equal(stream.values, other.streams[name].values)
        assert [n for n in importers if importers[n]().sniff(path)] == ["umi"]


# -------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "compressor",
    [
        None,
        numcodecs.Blosc("zstd", 5, 2),
        numcodecs.Blosc("lz4", 5, 1),
        numcodecs.Zstd(3),
        numcodecs.LZ4(),
        numcodecs.Zlib(5),
        numcodecs.GZip(5),
        numcodecs.BZ2(5),
        numcodecs.LZMA(),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_span_of_rows_is_what_zarr_reads(compressor: Any, order: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(23, 5, 2)).astype(np.float32)
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    made = group.create_array("a", shape=values.shape, chunks=(4, 3, 2), dtype="<f4",
                              compressors=compressor, order=order)  # fmt: skip
    made[:] = values
    array = open_array(Folder(tmp_path / "x.zarr"), "a")

    for start, end in ((0, 23), (0, 1), (3, 5), (4, 8), (7, 22), (23, 23), (5, 5)):
        np.testing.assert_array_equal(array.rows(start, end), values[start:end])
    np.testing.assert_array_equal(np.concatenate(list(array.batches(3, 22))), values[3:22])


def test_chunks_that_are_not_there_are_the_fill_value_and_are_told(umi: Path) -> None:
    (umi / "data/robot0_gripper_width/0.0").unlink()
    edit(umi, "data/robot0_gripper_width", lambda a: a.update(fill_value=0.5))

    [draft, _] = drafts(umi)

    width = draft.streams["gripper.robot0"].values[:, 0]
    assert width[:5].tolist() == [0.5] * 5
    assert width[5] == pytest.approx(0.055)
    [finding] = [f for f in draft.findings if f.check == "import.chunks"]
    assert "1 chunks are missing, 0.5 stands for them" in finding.message


def test_images_in_jpeg_xl_need_imagecodecs_and_the_rest_comes_in(umi: Path) -> None:
    edit(umi, "data/camera0_rgb", lambda a: a.update(compressor={"id": "imagecodecs_jpegxl"}))
    if find_spec("imagecodecs"):
        pytest.skip("imagecodecs is installed")

    [draft, _] = drafts(umi)

    assert draft.videos == {}
    assert "pose.robot0_eef" in draft.streams
    [finding] = draft.findings
    assert "no images of camera0: the images are JPEG XL" in finding.message
    assert "pip install imagecodecs" in finding.hint
    assert draft.facts.provenance.missing[0].startswith("video of camera0")


def test_images_in_jpeg_xl_are_decoded_where_imagecodecs_is(umi: Path) -> None:
    codecs = pytest.importorskip("imagecodecs")
    truth = raw(umi, "data/camera0_rgb")
    for number, image in enumerate(truth):
        chunk = umi / f"data/camera0_rgb/{number}.0.0.0"
        chunk.write_bytes(codecs.jpegxl_encode(image, lossless=True))
    edit(umi, "data/camera0_rgb", lambda a: a.update(compressor={"id": "imagecodecs_jpegxl"}))

    array = open_array(Folder(umi), "data/camera0_rgb")

    np.testing.assert_array_equal(array.rows(0, 11), truth)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        # heads of what libjxl 0.11 writes
        ("ff0a77402408", (224, 224)),
        ("ff0af83e1009", (480, 640)),
        ("ff0aba210591", (1080, 1920)),
        ("ff0a20016880", (37, 53)),
        ("ff0a38000e82", (8, 264)),
        ("ffd8ffe00010", (0, 0)),
    ],
)
def test_the_size_of_a_jpeg_xl_is_read_off_its_head(head: str, size: tuple[int, int]) -> None:
    assert jpeg_xl_size(bytes.fromhex(head) + bytes(8)) == size


# ------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a.update(compressor={"id": "pickle"}), "packed with pickle"),
        (lambda a: a.update(compressor="zlib"), "packed with zlib"),
        (lambda a: a.update(compressor=[5]), "packed with 5"),
        (lambda a: a.update(filters=3), "packed with 3"),
        (lambda a: a.update(filters=[{"id": "pickle"}]), "packed with pickle"),
        (lambda a: a.update(dtype="|O", filters=[{"id": "pickle"}]), "not numbers"),
        (lambda a: a.update(dtype=[["a", "<f4"]]), "not numbers"),
        (lambda a: a.update(dtype="<f16"), "not numbers"),
        (lambda a: a.update(zarr_format=3), "not of Zarr version 2"),
        (lambda a: a.update(shape=[-1, 1]), "no sensible shape"),
        (lambda a: a.update(shape=[11]), "no sensible shape"),
        (lambda a: a.update(chunks=[0, 1]), "no sensible shape"),
        (lambda a: a.update(chunks=[10**9, 1]), "at most 134,217,728"),
        (lambda a: a.update(fill_value="many"), "no sensible fill value"),
    ],
)
def test_an_array_that_is_not_read_is_named_and_the_rest_comes_in(
    change: Callable[[Any], object], why: str, umi: Path
) -> None:
    edit(umi, "data/robot0_gripper_width", change)

    found = items(umi)

    [remark] = [item for item in found if isinstance(item, Remark)]
    assert remark.about == "missing"
    assert why in remark.text
    [draft, _] = [item.draft for item in found if isinstance(item, Found)]
    assert "gripper.robot0" not in draft.streams
    assert "pose.robot0_eef" in draft.streams


@pytest.mark.parametrize(
    ("codec", "bomb"),
    [
        ({"id": "zlib"}, numcodecs.Zlib(9).encode(bytes(10**7))),
        ({"id": "gzip"}, numcodecs.GZip(9).encode(bytes(10**7))),
        ({"id": "bz2"}, numcodecs.BZ2(9).encode(bytes(10**7))),
        ({"id": "lzma"}, numcodecs.LZMA().encode(bytes(10**7))),
        ({"id": "zstd"}, numcodecs.Zstd(9).encode(bytes(10**7))),
        ({"id": "lz4"}, numcodecs.LZ4().encode(bytes(10**5))),
        ({"id": "blosc"}, numcodecs.Blosc().encode(bytes(10**7))),
        ({"id": "blosc"}, b"\x02\x01\x13\x04" + b"\xff" * 60),
        (None, bytes(10**6)),
    ],
    ids=["zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "blosc", "blosc head", "raw"],
)
def test_a_chunk_that_unpacks_to_more_than_its_array_says_is_not_unpacked(
    codec: Any, bomb: Any, umi: Path
) -> None:
    edit(umi, "data/robot0_gripper_width", lambda a: a.update(compressor=codec))
    (umi / "data/robot0_gripper_width/0.0").write_bytes(bytes(bomb))

    [draft, _] = drafts(umi)

    assert "gripper.robot0" not in draft.streams
    assert [f.check for f in draft.findings] == ["import.array"]


def test_rows_that_would_not_fit_into_memory_are_refused(umi: Path) -> None:
    shutil.rmtree(umi / "data")
    write_buffer(umi, {"a": np.zeros((4, 2), np.float32)}, np.array([2**36]))
    edit(umi, "data/a", lambda a: a.update(shape=[2**36, 2]))

    [item] = items(umi)

    assert isinstance(item, Refused)
    assert "has 68,719,476,736 rows" in item.reason


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        (np.array([6, 3]), "does not go up"),
        (np.array([-1, 11]), "does not go up"),
        (np.array([0.5, 11.0]), "not whole numbers"),
    ],
)
def test_ends_that_are_none_are_refused(ends: Any, why: str, tmp_path: Path) -> None:
    root = write_buffer(tmp_path / "x.zarr", {"a": np.zeros((11, 2), np.float32)}, ends)

    with pytest.raises(ImportFailed, match=why) as caught:
        items(root)

    assert caught.value.hint


def test_an_array_of_which_an_episode_would_not_fit_into_memory_is_named(umi: Path) -> None:
    for array in ("robot0_gripper_width", "camera0_rgb"):
        shutil.rmtree(umi / f"data/{array}")
    wide = {"id": None, "zarr_format": 2, "shape": [11, 10**8], "chunks": [1, 10**7],
            "dtype": "<f4", "fill_value": 0, "compressor": None}  # fmt: skip
    (umi / "data/wide").mkdir()
    (umi / "data/wide/.zarray").write_text(json.dumps(wide))

    [draft, _] = drafts(umi)

    assert "pose.robot0_eef" in draft.streams
    [finding] = draft.findings
    assert "100,000,000 columns" in finding.message


def test_an_array_in_crumbs_is_named_before_each_is_looked_for(umi: Path) -> None:
    edit(
        umi,
        "data/robot0_gripper_width",
        lambda a: a.update(shape=[11, 10**6, 10], chunks=[1, 1, 1]),
    )

    [draft, _] = drafts(umi)

    assert any("60,000,000 chunks" in f.message for f in draft.findings)


def test_an_episode_behind_the_end_of_the_arrays_is_refused_alone(tmp_path: Path) -> None:
    root = write_buffer(
        tmp_path / "x.zarr", {"a": np.zeros((11, 2), np.float32)}, np.array([6, 11, 20, 20])
    )

    first, second, beyond, empty = items(root)

    assert isinstance(first, Found)
    assert isinstance(second, Found)
    assert isinstance(beyond, Refused)
    assert isinstance(empty, Refused)
    assert "has no row" in empty.reason


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "..\\evil"])
def test_a_zip_that_names_files_outside_of_itself_is_refused(name: str, umi: Path) -> None:
    path = zipped(umi)
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"x")

    with pytest.raises(ImportFailed, match="outside of itself"):
        items(path)


def test_a_zip_bomb_is_not_unpacked(umi: Path) -> None:
    (umi / "data/robot0_gripper_width/0.0").write_bytes(bytes(3 * 10**7))
    path = zipped(umi, deflate=True)
    assert path.stat().st_size < 10**6

    [draft, _] = drafts(path)

    assert "gripper.robot0" not in draft.streams
    assert any("are read" in f.message for f in draft.findings)


def test_a_link_that_leads_out_of_the_folder_is_not_followed(umi: Path) -> None:
    secret = umi.parent / "secret"
    chunk = umi / "data/robot0_gripper_width/0.0"
    chunk.rename(secret)
    chunk.symlink_to(secret)

    [draft, _] = drafts(umi)

    assert "gripper.robot0" not in draft.streams
    assert any("leads out of the folder" in f.message for f in draft.findings)


def test_floats_that_are_no_pixels_are_not_guessed_at(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(size=(4, 16, 16, 3)).astype(np.float32)
    root = write_buffer(tmp_path / "x.zarr", {"img": images, "a": np.zeros((4, 2))}, np.array([4]))

    [draft] = drafts(root)

    assert draft.videos == {}
    assert "no whole numbers 0..255" in draft.findings[0].message
