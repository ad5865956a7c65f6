"""Images of bags: what is encoded keeps its bytes, depth its numbers, the rest is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from demos.importers import Refused
from demos.model import Draft, VideoFile
from tests.lerobot_folders import decode, picture
from tests.ros_bags import MS, STORAGES, Sent, annex_b, encoded, items, maker, read, write

TOPIC = "/camera/head/color/image_raw/compressed"


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assumed(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.assumed)


def missing(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.missing)


def with_video(path: Path) -> tuple[Draft, dict[str, VideoFile], dict[str, Any]]:
    """Import a bag and look at its videos while they are there."""
    from demos.importers import Found, Options, open_source

    for item in open_source(path, Options()):
        assert isinstance(item, Found), item
        images = {name: decode(video.path) for name, video in item.draft.videos.items()}
        videos = dict(item.draft.videos)
        packets = {name: packets_of(video.path) for name, video in videos.items()}
        return item.draft, videos, {"images": images, "packets": packets}
    raise AssertionError("no episode")


def packets_of(path: Path) -> list[bytes]:
    import av

    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
def test_encoded_images_keep_their_bytes(storage: str, codec: str, tmp_path: Path) -> None:
    make = maker(storage)
    told = [encoded(picture(n), codec) for n in range(5)]
    form = {"mjpeg": "rgb8; jpeg compressed bgr8", "png": "png"}[codec]
    sent: list[Sent] = [
        (TOPIC, 33 * n + 4, make.compressed(33 * n, data, form)) for n, data in enumerate(told)
    ]

    draft, videos, seen = with_video(write(tmp_path, storage, sent))

    [(name, video)] = videos.items()
    assert name == "head"
    assert seen["packets"][name] == told
    assert video.time_ns.tolist() == [33 * n * MS for n in range(5)]
    assert (video.info.width, video.info.height, video.info.codec) == (64, 48, codec)
    assert "byte for byte" in assumed(draft)


def test_the_camera_of_a_topic_and_its_lens_are_found(storage: str, tmp_path: Path) -> None:
    make = maker(storage)
    sent: list[Sent] = [
        ("/camera/head/camera_info", 0, make.camera_info(64, 48, [50, 0, 32, 0, 51, 24, 0, 0, 1],
                                                         [0.1, 0.2, 0, 0, 0.3])),
        ("/camera/head/image_raw/compressed", 0, make.compressed(0, encoded(picture(0)))),
    ]  # fmt: skip

    _, videos, _ = with_video(write(tmp_path, storage, sent))

    lens = videos["head"].info.intrinsics
    assert lens is not None
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (50, 51, 32, 24)
    assert (lens.distortion_model, lens.distortion) == ("plumb_bob", (0.1, 0.2, 0, 0, 0.3))


def test_a_lens_of_another_size_is_not_used(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        ("/head/camera_info", 0, make.camera_info(640, 480, [50, 0, 32, 0, 51, 24, 0, 0, 1], [])),
        ("/head/image_raw/compressed", 0, make.compressed(0, encoded(picture(0)))),
    ]

    draft, videos, _ = with_video(write(tmp_path, "mcap", sent))

    assert videos["head"].info.intrinsics is None
    assert "is for 640x480" in draft.findings[0].message


@pytest.mark.parametrize(
    ("encoding", "channels"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])],
)
def test_raw_colour_is_encoded_with_loss_and_said(
    encoding: str, channels: list[int], tmp_path: Path
) -> None:
    make = maker("mcap")
    rgb = [flat(200, 40, 90), flat(30, 180, 60)]
    sent: list[Sent] = [
        ("/head/image_raw", 33 * n, make.image(33 * n, image[:, :, channels], encoding, padding=8))
        for n, image in enumerate(rgb)
    ]

    draft, videos, seen = with_video(write(tmp_path, "mcap", sent))

    assert videos["head"].info.codec == "h264"
    assert videos["head"].time_ns.tolist() == [0, 33 * MS]
    off = np.abs(seen["images"]["head"].astype(int) - np.stack(rgb).astype(int))
    assert off.max() <= 6
    assert "raw images, encoded as H.264 with loss" in assumed(draft)


def flat(*colour: int) -> npt.NDArray[np.uint8]:
    return np.full((48, 64, 3), colour, np.uint8)


def test_grey_images_are_grey(tmp_path: Path) -> None:
    make = maker("db3")
    grey = np.full((48, 64), 120, np.uint8)

    _, _, seen = with_video(
        write(tmp_path, "db3", [("/head/image_raw", 0, make.image(0, grey, "mono8"))])
    )

    assert np.abs(seen["images"]["head"].astype(int) - 120).max() <= 4


@pytest.mark.parametrize("bigendian", [False, True])
def test_depth_is_a_stream_without_loss(storage: str, bigendian: bool, tmp_path: Path) -> None:  # noqa: FBT001
    make = maker(storage)
    rng = np.random.default_rng(0)
    depth = rng.integers(0, 2**16, (3, 6, 8)).astype(np.uint16)
    sent: list[Sent] = [
        ("/camera/head/depth/image_rect_raw", 33 * n + 1,
         make.image(33 * n, image, "16UC1", padding=4, bigendian=bigendian))
        for n, image in enumerate(depth)
    ]  # fmt: skip

    draft, _, _ = with_video(write(tmp_path, storage, sent))

    stream = draft.streams["depth.head"]
    np.testing.assert_array_equal(stream.values, depth)
    assert stream.values.dtype == np.uint16
    assert stream.info.scale == 0.001
    assert stream.time_ns.tolist() == [0, 33 * MS, 66 * MS]
    assert "16UC1 is distance along the optical axis, 0.001 m a count" in assumed(draft)


def test_depth_in_metres_keeps_its_floats(tmp_path: Path) -> None:
    make = maker("mcap")
    depth = np.linspace(0.3, 4, 48, dtype=np.float32).reshape(6, 8)

    draft = read(write(tmp_path, "mcap", [("/depth/image_rect", 0, make.image(0, depth, "32FC1"))]))

    [stream] = draft.streams.values()
    np.testing.assert_array_equal(stream.values, depth[None])
    assert stream.units == ("m",)


def test_compressed_video_is_copied_and_begins_at_a_key_image(tmp_path: Path) -> None:
    make = maker("mcap")
    shown = [picture(n) for n in range(10)]
    packets = annex_b(shown, keys=4)
    sent: list[Sent] = [
        ("/head/video", 100 * n + 9, make.video(100 * n, data)) for n, data in enumerate(packets)
    ]

    draft, videos, seen = with_video(write(tmp_path, "mcap", sent[2:]))

    # images 2 and 3 lean on a key image that was not recorded
    assert videos["head"].time_ns.tolist() == [100 * n * MS for n in range(6)]
    assert draft.facts.provenance.parameters["start_ns"] % (1000 * MS) == 400 * MS
    off = np.abs(seen["images"]["head"].astype(int) - np.stack(shown[4:]).astype(int))
    assert off.mean() < 6
    assert "2 images before the first key image" in missing(draft)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("16UC1; compressedDepth png", b"\0" * 12 + b"\x89PNG\r\n\x1a\n"),
        ("webp", b"RIFF\0\0\0\0WEBP"),
        ("vp9", b"\x82\x49\x83\x42"),
    ],
)
def test_a_format_that_is_not_read_is_named(form: str, data: bytes, tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        (TOPIC, 0, make.compressed(0, data, form)),
        ("/joint_states", 0, make.joints(0, ["a"], [1])),
    ]

    draft = read(write(tmp_path, "mcap", sent))

    assert set(draft.streams) == {"joint_position"}
    assert f"{TOPIC}: " in missing(draft)
    assert f"{form!r}" in missing(draft)


def test_a_raw_encoding_that_is_not_read_is_named(tmp_path: Path) -> None:
    make = maker("mcap")
    bayer = np.zeros((4, 4), np.uint8)
    sent: list[Sent] = [
        ("/head/image_raw", 0, make.image(0, bayer, "bayer_rggb8")),
        ("/joint_states", 0, make.joints(0, ["a"], [1])),
    ]

    assert "'bayer_rggb8' are not read" in missing(read(write(tmp_path, "mcap", sent)))


def test_a_broken_image_is_left_out_and_counted(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        (TOPIC, 0, make.compressed(0, encoded(picture(0)))),
        (TOPIC, 33, make.compressed(33, b"not a jpeg")),
        (TOPIC, 66, make.compressed(66, encoded(picture(2)))),
    ]

    draft, videos, _ = with_video(write(tmp_path, "mcap", sent))

    [video] = videos.values()
    assert video.time_ns.tolist() == [0, 66 * MS]
    assert "1 messages of" in draft.findings[0].message


def test_a_camera_that_changes_its_size_is_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        (TOPIC, 0, make.compressed(0, encoded(picture(0)))),
        (TOPIC, 33, make.compressed(33, encoded(picture(1, (32, 64))))),
        ("/joint_states", 0, make.joints(0, ["a"], [1])),
    ]

    draft = read(write(tmp_path, "mcap", sent))

    assert draft.videos == {}
    assert "the images have 2 sizes" in missing(draft)
    assert any(f.check == "import.missing_video" for f in draft.findings)


def test_nothing_but_images_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    make = maker("mcap")

    [refused] = items(write(tmp_path, "mcap", [(TOPIC, 0, make.compressed(0, b"?", "webp"))]))

    assert isinstance(refused, Refused)
    assert "'webp'" in refused.reason


def test_two_topics_of_one_camera_keep_apart(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        ("/head/image_raw/compressed", 0, make.compressed(0, encoded(picture(0)))),
        ("/head/image_rect/compressed", 0, make.compressed(0, encoded(picture(1)))),
    ]

    _, videos, _ = with_video(write(tmp_path, "mcap", sent))

    assert set(videos) == {"head", "head_image_rect_compressed"}
