"""Video on an even clock: image k at k / rate, its packets copied, never encoded again.

A reel is the run of packets that shows given images of a camera one after the other. Where that
run does not begin at a key image, the packets since the last one lead it, because a decoder needs
them; they take places on the clock of their own. Reels of one encoder share a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, StoreError
from demos.model import Camera
from demos.store.video import VideoCamera

COPIED = ("h264", "hevc", "av1")
"""Codecs that programs for learning decode from an mp4."""

_LEAST_TICKS_PER_S = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Reel:
    """The packets [start, end) of a video, in decode order, that show `images` wanted images.

    first: number of the first wanted image in the video.
    rank: (end - start,) int64, place on the clock of each packet's image; the wanted ones are at
    [lead, lead + images). delay: how many places decoding must run ahead of showing.
    """

    video: VideoCamera
    first: int
    start: int
    end: int
    rank: npt.NDArray[np.int64]
    lead: int
    images: int

    @property
    def delay(self) -> int:
        """How many places a packet is decoded before it is shown, at most (B-frames)."""
        return int((np.arange(len(self.rank)) - self.rank).max())

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return int(self.video.index.size[self.start : self.end].sum())

    @property
    def exact(self) -> bool:
        """Say whether its packets show the wanted images and no other."""
        return len(self.rank) == self.images

    def packets(self) -> Iterator[bytes]:
        """Read the packets in decode order, each held against its checksum. Raises Damaged."""
        return self.video.packets(self.start, self.end)


def reel(camera: Camera, images: Sequence[int] | npt.NDArray[np.int64]) -> Reel | str:
    """Find the packets that show consecutive `images`, or say why they cannot be copied."""
    if not isinstance(camera, VideoCamera):
        return "its images are in no file"
    index = camera.index
    if index.codec not in COPIED:
        return f"programs for learning do not decode {index.codec}"
    if (np.diff(images) != 1).any():
        return "it does not take one image a step"
    wanted = index.order[int(images[0]) : int(images[-1]) + 1]
    usable = index.key & (index.pts <= index.pts[wanted[0]])
    starts = np.flatnonzero(usable)
    starts = starts[starts <= wanted.min()]
    if not len(starts):
        return "its packets do not begin with a key image"
    taken = np.arange(starts[-1], wanted.max() + 1)
    shown = np.argsort(index.pts[taken], kind="stable")
    rank = np.empty(len(taken), np.int64)
    rank[shown] = np.arange(len(taken))
    places = rank[wanted - taken[0]]
    if (np.diff(places) != 1).any():
        return "images that are not the episode's lie between its own"
    if (layout := pixels_of(camera.path)) not in ("yuv420p", "yuvj420p"):
        return f"programs for learning expect pixels of yuv420p, not {layout}"
    first, end = int(taken[0]), int(taken[-1]) + 1
    return Reel(camera, int(images[0]), first, end, rank, int(places[0]), len(wanted))


class ReelFile:
    """An mp4 that reels are appended to; image k of the file is shown at k / rate.

    `images` counts the places taken so far, `size` the bytes of packets.
    """

    def __init__(self, path: Path, rate_hz: float, first: Reel) -> None:
        import av

        self.path, self.images, self.size = path, 0, 0
        self._like, self._delay = _configuration(first), first.delay
        rate = Fraction(rate_hz).limit_denominator(100_000)
        times = -(-_LEAST_TICKS_PER_S // rate.numerator)
        self._ticks = rate.denominator * times
        base = rate.numerator * times
        options = {"movflags": "faststart", "video_track_timescale": str(base)}
        self._base = Fraction(1, base)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _muxing(path):
            self._container: Any = av.open(str(path), "w", format="mp4", options=options)
            with av.open(str(first.video.path)) as template:
                self._stream: Any = self._container.add_stream_from_template(
                    template.streams.video[0], opaque=True
                )
            self._stream.time_base = self._base

    def fits(self, reel: Reel) -> bool:
        """Say whether a reel may follow the others: one decoder, set up once, reads them all."""
        return (
            _configuration(reel) == self._like and reel.delay <= self._delay and _starts_anew(reel)
        )

    def add(self, reel: Reel) -> int:
        """Append a reel; return the place of its first wanted image."""
        import av

        place = self.images
        with _muxing(self.path):
            for number, data in enumerate(reel.packets()):
                packet: Any = av.Packet(data)
                packet.stream, packet.time_base = self._stream, self._base
                packet.pts = (place + int(reel.rank[number])) * self._ticks
                packet.dts = (place + number - self._delay) * self._ticks
                packet.duration = self._ticks
                packet.is_keyframe = bool(reel.video.index.key[reel.start + number])
                self._container.mux_one(packet)
        self.images += len(reel.rank)
        self.size += reel.size
        return place + reel.lead

    def close(self) -> None:
        """Write the file's index; nothing can be added afterwards."""
        with _muxing(self.path):
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def _muxing(path: Path) -> Iterator[None]:
    """Turn what FFmpeg says of a file it cannot write into a StoreError."""
    import av

    try:
        yield
    except OSError:  # the disk's own words; av's errors of that kind are OSErrors too
        raise
    except (av.error.FFmpegError, ValueError) as error:
        raise StoreError(f"{path.name} cannot be written: {error}").with_hint(
            "look at the video with `demos verify STORE --deep`"
        ) from error


def _configuration(reel: Reel) -> tuple[object, ...]:
    """What a decoder is set up with; one mp4 states it once."""
    index = reel.video.index
    return index.codec, index.width, index.height, index.extradata, index.colour


def pixels_of(path: Path) -> str:
    """Return how a video's pixels are laid out, by FFmpeg's name (yuv420p). Raises Damaged."""
    import av

    try:
        with av.open(str(path)) as container:
            return str(container.streams.video[0].codec_context.pix_fmt)
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise Damaged(f"{path.name} cannot be read: {error}").with_hint(
            "restore the file from a copy; `demos verify STORE --deep` lists what else is hurt"
        ) from error


def _starts_anew(reel: Reel) -> bool:
    """Say whether the first packet makes a decoder forget what came before.

    A key image of AV1 does. In H.264 and HEVC a key image may merely be one that decoding can
    start at; only an IDR image resets (ITU-T H.264 7.4.1.2.4, H.265 7.4.2.2). Units of the mp4
    are preceded by their length; the decoder's configuration says in how many bytes.
    """
    index = reel.video.index
    if index.codec == "av1":
        return True
    place, head = (4, 1) if index.codec == "h264" else (21, 2)
    if len(index.extradata) <= place or index.extradata[0] != 1:
        return False
    width = (index.extradata[place] & 3) + 1
    data, at = next(reel.packets()), 0
    while at + width + head <= len(data):
        size, first = int.from_bytes(data[at : at + width], "big"), data[at + width]
        if index.codec == "h264" and first & 31 in (1, 5):
            return first & 31 == 5
        if index.codec == "hevc" and first >> 1 & 63 < 32:
            return 16 <= first >> 1 & 63 <= 20
        at += width + size
    return False
