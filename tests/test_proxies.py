"""Videos that seek badly are looked at through a proxy; the stored file stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demos.model import CameraInfo
from demos.store import proxies
from demos.store.packets import index_file
from demos.store.video import VideoCamera
from tests.test_video import HEIGHT, SETTINGS, WIDTH, write_video

INFO = CameraInfo(width=WIDTH, height=HEIGHT, rate_hz=30.0)


@pytest.fixture
def long_gop(tmp_path: Path) -> VideoCamera:
    path = write_video(tmp_path / "long.mp4", *SETTINGS["h264 one GOP"], 90)
    index = index_file(path)
    return VideoCamera(path, INFO, index.stamped(index.time_ns + 5_000_000))


def test_only_long_groups_and_codecs_that_no_browser_plays_want_a_proxy(
    tmp_path: Path, long_gop: VideoCamera
) -> None:
    short = index_file(write_video(tmp_path / "short.mp4", *SETTINGS["h264 closed, no B"], 40))
    odd = index_file(write_video(tmp_path / "odd.mp4", *SETTINGS["mpeg4"], 8))

    assert proxies.wanted(long_gop.index)
    assert proxies.wanted(odd)
    assert not proxies.wanted(short)


def test_a_proxy_shows_the_same_images_at_the_same_moments_and_seeks_well(
    tmp_path: Path, long_gop: VideoCamera
) -> None:
    before = long_gop.path.read_bytes()

    path, index = proxies.proxy(tmp_path, "episode", "egocentric", long_gop)

    quick = VideoCamera(path, INFO, index)
    assert index.time_ns.tolist() == long_gop.time_ns.tolist()
    assert not proxies.wanted(index)
    shown = quick.images(range(len(quick))).astype(float)
    truth = long_gop.images(range(len(long_gop))).astype(float)
    # each is nearest to the image that it stands for
    for i in range(0, 90, 7):
        assert int(np.argmin(np.abs(truth - shown[i]).mean(axis=(1, 2, 3)))) == i
    assert long_gop.path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["egocentric.mp4"]


def test_a_proxy_is_made_once(tmp_path: Path, long_gop: VideoCamera) -> None:
    path, _ = proxies.proxy(tmp_path, "episode", "egocentric", long_gop)
    made = path.stat().st_mtime_ns

    again, _ = proxies.proxy(tmp_path, "episode", "egocentric", long_gop)

    assert again == path
    assert again.stat().st_mtime_ns == made


def test_where_none_can_be_made_the_video_itself_is_shown(
    tmp_path: Path, long_gop: VideoCamera
) -> None:
    (tmp_path / "cache").write_text("in the way")

    path, index = proxies.proxy(tmp_path, "episode", "egocentric", long_gop)

    assert (path, index) == (long_gop.path, long_gop.index)
