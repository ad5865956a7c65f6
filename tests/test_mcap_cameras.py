"""Cameras as MCAP: packets are copied where a message can hold them, else told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import demos
from demos.exporters import Chosen, export
from demos.model import CameraInfo, Intrinsics
from demos.model.episode import VideoFile
from demos.store.encoding import encode
from demos.store.video import VideoCamera, index_file
from tests import export_store
from tests.lerobot_folders import decode, picture
from tests.lerobot_folders import encode as encode_b
from tests.mcap_exports import back, episode_with, left_out, out, sent, stream


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("mcap") / "lab")


def test_video_is_annex_b_that_decodes_from_each_key_image(
    lab: demos.Store, tmp_path: Path
) -> None:
    import av

    episode = next(e for e in lab if e.cameras)
    camera = episode.cameras["egocentric"]
    assert isinstance(camera, VideoCamera)

    found = sent(out(episode, tmp_path), "/camera/egocentric/compressed_video")

    assert [m.format for _, _, m in found] == ["h264"] * len(camera)
    start = int(np.flatnonzero(camera.index.key)[1])
    decoder: Any = av.CodecContext.create("h264", "r")
    images = []
    for _, _, message in found[start:]:
        assert bytes(message.data[:4]) == b"\0\0\0\1"
        images += decoder.decode(av.Packet(bytes(message.data)))
    images += decoder.decode(None)
    decoded = np.stack([image.to_ndarray(format="rgb24") for image in images])
    every = range(start, len(camera))
    np.testing.assert_array_equal(decoded, episode.images("egocentric", every))


def video(path: Path, **more: Any) -> VideoFile:
    index = index_file(path)
    info = CameraInfo(width=index.width, height=index.height, codec=index.codec, **more)
    return VideoFile(path, info, np.arange(len(index), dtype=np.int64) * 100_000_000)


def test_jpeg_cameras_stay_byte_for_byte(tmp_path: Path) -> None:
    from demos.formats.pictures import write_pictures
    from tests.ros_bags import encoded

    images = [encoded(picture(n)) for n in range(5)]
    write_pictures(images, 10.0, tmp_path / "in.mp4")
    lens = Intrinsics(fx=50, fy=51, cx=32, cy=24)
    episode = episode_with(tmp_path, {}, {"head": video(tmp_path / "in.mp4", intrinsics=lens)})

    path = out(episode, tmp_path)

    found = sent(path, "/camera/head/compressed")
    assert [bytes(m.data) for _, _, m in found] == images
    assert {m.format for _, _, m in found} == {"jpeg"}
    [(_, _, info)] = sent(path, "/camera/head/camera_info")
    assert info.k.tolist() == [50, 0, 32, 0, 51, 24, 0, 0, 1]
    again = back(path, tmp_path)
    np.testing.assert_array_equal(again.images("head", range(5)), episode.images("head", range(5)))
    assert again.cameras["head"].info == episode.cameras["head"].info


@pytest.mark.parametrize(("codec", "form"), [("libx265", "h265"), ("libsvtav1", "av1")])
def test_other_codecs_are_copied_too(codec: str, form: str, tmp_path: Path) -> None:
    source = coded(tmp_path / "in.mp4", codec)
    episode = episode_with(tmp_path, {}, {"head": video(source)})

    path = out(episode, tmp_path)

    found = sent(path, "/camera/head/compressed_video")
    assert {m.format for _, _, m in found} == {form}
    again = back(path, tmp_path)
    np.testing.assert_array_equal(again.images("head", range(8)), decode(source))


def coded(path: Path, codec: str) -> Path:
    import av

    options = {
        "libx265": {"x265-params": "bframes=0:keyint=4:log-level=none"},
        "libsvtav1": {"svtav1-params": "pred-struct=1:keyint=4", "preset": "12"},
    }
    with av.open(str(path), "w") as container:
        made: Any = container.add_stream(codec, rate=10, options=options[codec])
        made.width, made.height, made.pix_fmt = 64, 64, "yuv420p"
        made.codec_context.time_base = Fraction(1, 10)
        for number in range(8):
            image = av.VideoFrame.from_ndarray(picture(number, (64, 64)), format="rgb24")
            image.pts = number
            container.mux(made.encode(image))
        container.mux(made.encode())
    return path


def test_video_with_b_frames_is_encoded_again_and_said(tmp_path: Path) -> None:
    source = encode_b(tmp_path / "in.mp4", 12, b_frames=2)
    episode = episode_with(tmp_path, {}, {"head": video(source)})

    report = export([Chosen(episode.manifest, lambda: episode)], tmp_path / "out", "mcap")

    [note] = report.written[0].notes
    assert note == (
        "camera head: encoded again as H.264, with loss, because its images lean on later ones "
        "(B-frames)"
    )
    again = back(tmp_path / "out", tmp_path)
    truth = decode(source).astype(int)
    assert np.abs(again.images("head", range(12)).astype(int) - truth).mean() < 5


def test_a_video_that_is_not_what_was_recorded_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    encode(path, [picture(n) for n in range(6)], np.arange(6, dtype=np.int64) * 100_000_000, 10.0)
    episode = episode_with(tmp_path, {"x": stream(np.ones((2, 1)))}, {"head": video(path)})
    camera = episode.cameras["head"]
    assert isinstance(camera, VideoCamera)
    content = bytearray(camera.path.read_bytes())
    content[int(camera.index.position[3]) + 9] ^= 0xFF
    camera.path.write_bytes(content)

    reason = left_out(episode, tmp_path)

    assert "image 3 of head.mp4 is not what was recorded" in reason
