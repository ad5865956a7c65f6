"""Packets copied onto an even clock: what is shown at k / rate is what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos.alignment.reels import Reel, ReelFile, reel
from demos.errors import Damaged, StoreError
from demos.model import CameraInfo
from demos.store.video import VideoCamera, index_file
from tests.examples import example
from tests.lerobot_folders import decode, encode
from tests.table_store import video_file

COPIED = {
    "h264": {"codec": "libx264", "g": "8", "bf": "0"},
    "h264, B-frames": {"codec": "libx264", "g": "8", "bf": "3"},
    "h264, open groups": {"codec": "libx264", "g": "8", "bf": "3", "x264-params": "open-gop=1"},
    "hevc": {"codec": "libx265", "x265-params": "log-level=none:keyint=8:bframes=3"},
    "av1": {"codec": "libsvtav1", "g": "8", "preset": "12", "svtav1-params": "lookahead=0"},
}


def camera(path: Path) -> VideoCamera:
    index = index_file(path)
    return VideoCamera(path, CameraInfo(width=index.width, height=index.height), index)


def found(source: VideoCamera, start: int, end: int) -> Reel:
    made = reel(source, np.arange(start, end))
    assert isinstance(made, Reel), made
    return made


def write(path: Path, rate_hz: float, *reels: Reel) -> list[int]:
    with ReelFile(path, rate_hz, reels[0]) as file:
        return [file.add(each) for each in reels]


def stamps_s(path: Path) -> list[float]:
    """Return when each image is shown, as FFmpeg reads it."""
    import av

    with av.open(str(path)) as container:
        return [float(image.pts * image.time_base) for image in container.decode(video=0)]


@pytest.mark.parametrize("kind", COPIED)
def test_a_span_of_any_codec_is_shown_bit_for_bit_and_on_time(kind: str, tmp_path: Path) -> None:
    options: Any = COPIED[kind]
    source = camera(video_file(tmp_path / "source.mp4", 30, **options).path)
    spans = [(0, 30), (8, 24), (11, 21), (13, 14)]

    for start, end in spans:
        out = tmp_path / f"{start}.mp4"
        [place] = write(out, 30.0, found(source, start, end))

        shown, recorded = decode(out), decode(source.path)[start:end]
        undecodable = found(source, start, end).rank.size - len(shown)
        first = place - undecodable  # images that lean on what was cut off are never shown
        np.testing.assert_array_equal(shown[first : first + end - start], recorded)
        on_time = np.arange(place, place + end - start) / 30
        np.testing.assert_allclose(stamps_s(out)[first:][: end - start], on_time, atol=1e-6)


def test_reels_of_one_encoder_share_a_file_place_after_place(tmp_path: Path) -> None:
    source = camera(encode(tmp_path / "source.mp4", 30, keys=(0, 10, 20), b_frames=2))
    reels = [found(source, *span) for span in ((0, 30), (13, 25), (5, 9))]

    places = write(tmp_path / "out.mp4", 10.0, *reels)

    assert places == [0, 30 + 3, 30 + 15 + 5]
    assert [each.lead for each in reels] == [0, 3, 5]
    shown, recorded = decode(tmp_path / "out.mp4"), decode(source.path)
    for place, (start, end) in zip(places, ((0, 30), (13, 25), (5, 9)), strict=True):
        np.testing.assert_array_equal(shown[place : place + end - start], recorded[start:end])
    np.testing.assert_allclose(
        stamps_s(tmp_path / "out.mp4"), np.arange(len(shown)) / 10, atol=1e-6
    )


@pytest.mark.parametrize("rate_hz", [30.0, 15.0, 29.97, 0.5, 60.0, 7.0])
def test_every_rate_has_a_clock_without_rounding(rate_hz: float, tmp_path: Path) -> None:
    source = camera(encode(tmp_path / "source.mp4", 12))

    write(tmp_path / "out.mp4", rate_hz, found(source, 0, 12))

    np.testing.assert_allclose(stamps_s(tmp_path / "out.mp4"), np.arange(12) / rate_hz, atol=1e-4)
    if rate_hz.is_integer():
        np.testing.assert_allclose(
            stamps_s(tmp_path / "out.mp4"), np.arange(12) / rate_hz, rtol=0, atol=1e-12
        )


def test_what_another_decoder_setup_needs_does_not_fit(tmp_path: Path) -> None:
    plain = found(camera(video_file(tmp_path / "a.mp4", 8, bf="0").path), 0, 8)
    ahead = found(camera(video_file(tmp_path / "b.mp4", 8, bf="2").path), 0, 8)
    larger = found(camera(video_file(tmp_path / "c.mp4", 8, size=(96, 64)).path), 0, 8)

    with ReelFile(tmp_path / "out.mp4", 10.0, plain) as file:
        fitting = [file.fits(each) for each in (plain, ahead, larger)]
        file.add(plain)

    assert fitting == [True, False, False]


def test_a_key_image_that_forgets_nothing_begins_a_file_of_its_own(tmp_path: Path) -> None:
    # with open groups, only the first image resets the decoder
    options: Any = COPIED["h264, open groups"]
    source = camera(video_file(tmp_path / "source.mp4", 30, **options).path)
    whole, later = found(source, 0, 30), found(source, 18, 24)

    with ReelFile(tmp_path / "out.mp4", 10.0, whole) as file:
        fitting = file.fits(whole), file.fits(later)
        file.add(whole)

    assert later.start > 0
    assert fitting == (True, False)


def test_what_cannot_be_copied_says_why(tmp_path: Path) -> None:
    h264 = camera(video_file(tmp_path / "a.mp4", 8).path)
    vp9 = camera(video_file(tmp_path / "b.mp4", 8, codec="libvpx-vp9").path)
    full = camera(video_file(tmp_path / "c.mp4", 8, pixels="yuv444p").path)
    memory = example("clean_pick").cameras["egocentric"]

    assert reel(h264, np.array([0, 1, 1, 2])) == "it does not take one image a step"
    assert reel(vp9, np.arange(8)) == "programs for learning do not decode vp9"
    assert "not yuv444p" in str(reel(full, np.arange(8)))
    assert reel(memory, np.arange(8)) == "its images are in no file"


def test_a_damaged_packet_is_not_copied(tmp_path: Path) -> None:
    source = camera(video_file(tmp_path / "a.mp4", 8).path)
    content = bytearray(source.path.read_bytes())
    content[int(source.index.position[3])] ^= 1
    source.path.write_bytes(content)
    made = found(source, 0, 8)

    with pytest.raises(Damaged, match="packet 3") as caught:
        write(tmp_path / "out.mp4", 10.0, made)

    assert caught.value.hint


def test_packets_that_ffmpeg_does_not_take_are_our_error(tmp_path: Path) -> None:
    made = found(camera(video_file(tmp_path / "a.mp4", 8).path), 0, 8)
    backwards = Reel(made.video, 0, 0, 8, made.rank[::-1].copy(), 0, 8)

    with (
        pytest.raises(StoreError, match=r"out\.mp4 cannot be written"),
        ReelFile(tmp_path / "out.mp4", 10.0, made) as file,
    ):
        file.add(backwards)
