"""Cameras that a mapping file names: images in messages, pixels and packets, rows of HDF5."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest

from demos.importers import Found, Options
from demos.importers.mapped import Mapped
from demos.model import Draft
from demos.store import EpisodeStore
from tests import ros_bags
from tests.mapped_bags import JSON, Channel, RosType, items, only, told, write_mcap
from tests.ros_bags import MS, ROS2, Maker

IMAGE = RosType(
    "rig_msgs/msg/Eye", "uint8[] pixels\nuint32 number\n"
)  # fmt: skip


@contextmanager
def open_draft(
    root: Path, camera: dict[str, Any], channel: Channel, images: list[Any]
) -> Iterator[Draft]:
    """Import messages of the topic `/eye`, 40 ms apart, beside one number; its files stay open."""
    sent = [("/f", 0, {"v": 1}), *(("/eye", 40 * n, each) for n, each in enumerate(images))]
    write_mcap(root / "run_1.mcap", {"/f": JSON, "/eye": channel}, sent)
    source = told(root, files=["*.mcap"], cameras={"head": camera})
    for item in Mapped().episodes(source, Options()):
        assert isinstance(item, Found), item
        yield item.draft


def found_in(source: Path) -> Iterator[Found]:
    """Yield the episodes of a source, their files open until the next is asked for."""
    for item in Mapped().episodes(source, Options()):
        assert isinstance(item, Found), item
        yield item


def decoded(draft: Draft, root: Path) -> Any:
    """Return the images of the camera as a store decodes them: (n, height, width, 3)."""
    store = EpisodeStore.create(root / "store")
    count = len(draft.videos["head"].time_ns)
    return store.episode(store.publish(draft).id).images("head", range(count))


def _picture(shade: int) -> Any:
    return np.full((48, 64, 3), (shade, 0, 200), np.uint8)


def test_base64_is_what_json_has_for_bytes(tmp_path: Path) -> None:
    jpg = base64.b64encode(ros_bags.encoded(_picture(9))).decode()
    write_mcap(tmp_path / "a.mcap", {"/f": JSON}, [("/f", 0, {"v": 1, "jpg": jpg})])

    draft = only(told(tmp_path, cameras={"head": {"path": "/f.jpg"}}))

    assert draft.videos["head"].info.codec == "mjpeg"


@pytest.mark.parametrize("kind", ["image", "compressed", "video"])
def test_messages_that_are_images_need_no_more_than_their_topic(tmp_path: Path, kind: str) -> None:
    make, pictures = Maker(ROS2), [_picture(40 * n) for n in range(6)]
    made = {
        "image": [make.image(40 * n, p[:, :, ::-1], "bgr8") for n, p in enumerate(pictures)],
        "compressed": [
            make.compressed(40 * n, ros_bags.encoded(p)) for n, p in enumerate(pictures)
        ],
        "video": [make.video(40 * n, p) for n, p in enumerate(ros_bags.annex_b(pictures))],
    }[kind]
    name = made[0].__msgtype__
    channel = Channel("cdr", name, "ros2msg", ROS2.text(name).encode())
    stamp = "timestamp" if kind == "video" else "header.stamp"

    with open_draft(tmp_path, {"path": "/eye", "clock": {"path": stamp}}, channel,
                    [ROS2.encode(each) for each in made]) as draft:  # fmt: skip
        seen = decoded(draft, tmp_path)
        assert draft.videos["head"].time_ns.tolist() == [40 * n * MS for n in range(6)]

    np.testing.assert_allclose(seen.mean(axis=(1, 2)), [(40 * n, 0, 200) for n in range(6)], atol=6)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_raw_pixels_need_width_height_and_order(tmp_path: Path, order: str) -> None:
    pixels = [_picture(n * 40) for n in range(4)]
    if order == "bgr":
        pixels = [np.ascontiguousarray(each[:, :, ::-1]) for each in pixels]
    data = [IMAGE.data(IMAGE.make(pixels=each.ravel(), number=1)) for each in pixels]
    camera = {"path": "/eye.pixels", "width": 64, "height": 48, "order": order}

    with open_draft(tmp_path, camera, IMAGE.channel, data) as draft:
        seen = decoded(draft, tmp_path)
        assert any("encoded as H.264" in text for text in draft.facts.provenance.assumed)

    np.testing.assert_allclose(seen.mean(axis=(1, 2)), [(40 * n, 0, 200) for n in range(4)], atol=6)


def test_grey_pixels_are_one_byte_each(tmp_path: Path) -> None:
    grey = np.full(64 * 48, 130, np.uint8)
    data = [IMAGE.data(IMAGE.make(pixels=grey, number=1))] * 2

    with open_draft(tmp_path, {"path": "/eye.pixels", "width": 64, "height": 48}, IMAGE.channel,
                    data) as draft:  # fmt: skip
        assert decoded(draft, tmp_path).mean() == pytest.approx(130, abs=3)


def test_packets_of_a_video_need_their_codec(tmp_path: Path) -> None:
    packets = ros_bags.annex_b([_picture(20 * n) for n in range(8)])
    data = [IMAGE.data(IMAGE.make(pixels=np.frombuffer(each, np.uint8), number=n))
            for n, each in enumerate(packets)][1:]  # fmt: skip

    with open_draft(tmp_path, {"path": "/eye.pixels", "codec": "h264"}, IMAGE.channel,
                    data) as draft:  # fmt: skip
        # every fourth is a key image, and the first came too early
        assert draft.videos["head"].time_ns.tolist() == [40 * n * MS for n in range(3, 7)]
        assert "head: 3 images before the first key image" in draft.facts.provenance.missing
        assert len(decoded(draft, tmp_path)) == 4


@pytest.mark.parametrize(
    ("camera", "reason"),
    [
        ({"path": "/eye.pixels"}, "neither JPEG nor PNG"),
        ({"path": "/eye.pixels", "width": 63, "height": 48}, "not 1, 3 or 4 for 63x48"),
        ({"path": "/eye.pixels", "codec": "h264"}, "no image, 2 came before the first key"),
        ({"path": "/eye.number"}, "not bytes"),
        ({"path": "/eye"}, "it holds no image but the fields pixels, number"),
        ({"path": "/eye.other"}, "no field 'other'"),
        ({"path": "/ear"}, "no such topic; there are /eye, /f"),
        ({"file": "{stem}.mp4", "clock": {"time": "log"}}, "is not there"),
    ],
)
def test_a_camera_without_images_is_told_and_the_numbers_go_in(
    tmp_path: Path, camera: dict[str, Any], reason: str
) -> None:
    data = [IMAGE.data(IMAGE.make(pixels=_picture(3).ravel(), number=1))] * 2

    with open_draft(tmp_path, camera, IMAGE.channel, data) as draft:
        assert draft.videos == {}
        assert set(draft.streams) == {"force"}
        assert reason in " / ".join(finding.message for finding in draft.findings)


def test_depth_is_a_stream_without_loss(tmp_path: Path) -> None:
    make, rng = Maker(ROS2), np.random.default_rng(0)
    depth = [rng.integers(0, 4000, (4, 6)).astype(np.uint16) for _ in range(3)]
    made = [make.image(40 * n, each, "16UC1") for n, each in enumerate(depth)]
    channel = Channel(
        "cdr", made[0].__msgtype__, "ros2msg", ROS2.text(made[0].__msgtype__).encode()
    )
    sent = [("/d", 40 * n, ROS2.encode(each)) for n, each in enumerate(made)]
    write_mcap(tmp_path / "a.mcap", {"/d": channel}, sent)
    streams = {"depth.head": {"paths": ["/d"], "channels": ["depth"], "units": ["mm"]}}

    for item in items(told(tmp_path, streams=streams)):
        if isinstance(item, Found):
            stream = item.draft.streams["depth.head"]
            np.testing.assert_array_equal(stream.values, depth)
            assert stream.info.shape == (4, 6)
            assert stream.values.dtype == np.uint16


def rows(root: Path, camera: dict[str, Any], **datasets: Any) -> Draft:
    """Import an HDF5 file with a camera beside ten numbers at 50 Hz."""
    with h5py.File(root / "run_1.h5", "w") as file:
        file["f"] = np.arange(10.0)
        for name, value in datasets.items():
            file[name] = value
    source = told(
        root,
        files=["*.h5"],
        clock={"rate_hz": 50},
        streams={"force": {"paths": ["f"], "units": ["N"]}},
        cameras={"head": camera},
    )
    [item] = items(source)
    assert isinstance(item, Found)
    return item.draft


def ragged(images: list[bytes]) -> Any:
    """Make rows of bytes, each as long as it is."""
    made = np.empty(len(images), h5py.vlen_dtype(np.uint8))
    for n, each in enumerate(images):
        made[n] = np.frombuffer(each, np.uint8)
    return made


@pytest.mark.parametrize("kind", ["mjpeg", "png"])
def test_rows_of_hdf5_may_be_images_each_as_long_as_it_is(tmp_path: Path, kind: str) -> None:
    images = [ros_bags.encoded(_picture(20 * n), kind) for n in range(5)]
    assert len({len(each) for each in images}) > 1

    draft = rows(tmp_path, {"path": "jpg"}, jpg=ragged(images))

    assert draft.videos["head"].info.codec == kind
    assert draft.videos["head"].time_ns.tolist() == [20 * n * MS for n in range(5)]


def test_an_image_in_a_row_of_its_own_length_keeps_every_byte(tmp_path: Path) -> None:
    images = [ros_bags.encoded(_picture(n)) + b"\0" * 3 for n in range(3)]
    with h5py.File(tmp_path / "run_1.h5", "w") as file:
        file["f"], file["jpg"] = np.arange(10.0), ragged(images)
    source = told(
        tmp_path,
        files=["*.h5"],
        clock={"rate_hz": 50},
        streams={"force": {"paths": ["f"], "units": ["N"]}},
        cameras={"head": {"path": "jpg"}},
    )

    for item in found_in(source):
        with av.open(str(item.draft.videos["head"].path)) as video:
            kept = [bytes(packet) for packet in video.demux() if packet.size]
        assert kept == images


@pytest.mark.parametrize("shape", [(5, 48, 64), (5, 48, 64, 1)])
def test_grey_images_of_hdf5_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    grey = np.full(shape, 130, np.uint8)
    with h5py.File(tmp_path / "run_1.h5", "w") as file:
        file["f"], file["eye"] = np.arange(10.0), grey
    source = told(
        tmp_path,
        files=["*.h5"],
        clock={"rate_hz": 50},
        streams={"force": {"paths": ["f"], "units": ["N"]}},
        cameras={"head": {"path": "eye"}},
    )

    for item in found_in(source):
        seen = decoded(item.draft, tmp_path)
        assert seen.shape == (5, 48, 64, 3)
        assert seen.mean() == pytest.approx(130, abs=3)


def test_packets_in_rows_of_hdf5_need_their_codec(tmp_path: Path) -> None:
    packets = ros_bags.annex_b([_picture(20 * n) for n in range(8)])
    draft = rows(tmp_path, {"path": "h264", "codec": "h264"}, h264=ragged(packets[1:]))

    assert draft.videos["head"].info.codec == "h264"
    assert draft.videos["head"].time_ns.tolist() == [20 * n * MS for n in range(3, 7)]


def test_pixels_in_rows_of_hdf5_need_width_and_height(tmp_path: Path) -> None:
    flat = np.stack([_picture(9).ravel()] * 3)

    draft = rows(tmp_path, {"path": "eye", "width": 64, "height": 48}, eye=flat)

    info = draft.videos["head"].info
    assert (info.width, info.height, info.codec) == (64, 48, "h264")


@pytest.mark.parametrize("images", [[b"nothing", b"at all"], [b"\xff\xd8\xff", b""]])
def test_rows_that_are_no_images_are_told(tmp_path: Path, images: list[bytes]) -> None:
    draft = rows(tmp_path, {"path": "jpg"}, jpg=ragged(images))

    assert draft.videos == {}
    assert draft.findings[-1].check == "import.missing_video"
