"""Images of ROS topics on their way to an mp4: into a file as they come, never all in memory.

JPEG and PNG keep their bytes, encoded video its packets, depth its numbers; raw colour is encoded
when all of it is there, as the recorder would, with loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.pictures import Spool, write_pictures
from demos.formats.ros_clocks import Clock, Moments
from demos.model import Nanoseconds

NOMINAL_HZ = 30.0
CODECS = {"h264": "h264", "h265": "hevc", "hevc": "hevc", "av1": "av1"}
"""Formats of compressed video that are read, and the codec of each."""

COLOUR: dict[str, tuple[int, tuple[int, ...]]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "8UC1": (1, (0, 0, 0)),
    "8UC3": (3, (2, 1, 0)),
}
"""Raw encodings that are read: bytes a pixel, and which of them are red, green and blue."""

DEPTH = {"16UC1": ("<u2", 0.001), "32FC1": ("<f4", 1.0)}
"""Raw encodings of depth: the dtype of a pixel, and metres a count (REP 118)."""

_DELIMITER = b"\x12\x00"
"""An AV1 temporal delimiter (AV1 specification, 5.3.1 and 5.6)."""

_MAGIC = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}
_LEAVE = "record it as JPEG, PNG, H.264, rgb8, bgr8, mono8 or 16UC1"


@dataclass(frozen=True, slots=True)
class Film:
    """How videos are written: the store's doing, which is handed in.

    encode(path, images, time_ns, rate_hz): RGB images (height, width, 3), with loss.
    join(path, images, keys, time_ns, codec): encoded images in their order, copied.
    index(path): what a video file holds: its `width`, `height` and `codec`.
    """

    encode: Callable[[Path, Iterable[npt.NDArray[np.uint8]], Nanoseconds, float], object]
    join: Callable[[Path, Sequence[bytes], Sequence[bool], Nanoseconds, str], object]
    index: Callable[[Path], Any]


@dataclass(slots=True)
class Pictures:
    """The images of one topic. `kind` is `jpeg`, `png`, a codec, `raw` or `depth`.

    encoding: what the messages call it. size: height and width of raw images, which do not
    change. early: how many encoded images came before the first key image, which are not kept.
    """

    spool: Spool
    kind: str
    encoding: str
    frame: str = ""
    moments: Moments = field(default_factory=Moments)
    keys: list[bool] = field(default_factory=list)
    early: int = 0
    size: tuple[int, int] = (0, 0)

    def add(self, log_ns: int, stamp_ns: int, data: bytes) -> None:
        """Keep one encoded image."""
        if self.kind in CODECS.values():
            key = is_key(data, self.kind)
            if not key and not self.keys:
                self.early += 1
                return
            self.keys.append(key)
            if self.kind == "av1" and not data.startswith(_DELIMITER):
                data = _DELIMITER + data  # messages need not have it, FFmpeg does
        self.moments.add(log_ns, stamp_ns)
        self.spool.append(data)

    def add_raw(self, log_ns: int, stamp_ns: int, image: npt.NDArray[Any]) -> None:
        """Keep one raw image: RGB (height, width, 3) uint8, or depth (height, width)."""
        size = (image.shape[0], image.shape[1])
        if self.size == (0, 0):
            self.size = size
        if size != self.size:
            raise ImportFailed(f"its images change from {self.size} to {size}").with_hint(_LEAVE)
        self.moments.add(log_ns, stamp_ns)
        self.spool.append(image.tobytes())

    def depth(self, clock: Clock) -> npt.NDArray[Any]:
        """Return the depth images (n, height, width), read from the file when they are used."""
        self.spool.flush()
        shape = (len(self.spool), *self.size)
        held = np.memmap(self.spool.path, DEPTH[self.encoding][0], mode="r", shape=shape)
        return clock.sorted(held)

    def write(self, target: Path, clock: Clock, film: Film) -> None:
        """Write the images as an mp4. Raises ImportFailed or RecordingFailed where it fails."""
        self.spool.flush()
        self.spool.order = clock.order
        if self.kind in ("jpeg", "png"):
            write_pictures(self.spool, _rate_hz(clock), target)
        elif self.kind == "raw":
            shape = (*self.size, 3)
            images = (np.frombuffer(each, np.uint8).reshape(shape) for each in self.spool)
            film.encode(target, images, clock.time_ns, _rate_hz(clock))
        else:
            keys = clock.sorted(np.array(self.keys)).tolist()
            film.join(target, self.spool, keys, clock.time_ns, self.kind)


def encoded_kind(data: bytes, told: str) -> str:
    """Return what a compressed image is: `jpeg`, `png` or a codec.

    Raises ImportFailed, naming what the message calls it, for whatever is not read; ValueError
    for JPEG and PNG that are none.
    """
    if "compresseddepth" in told.lower() or told[:5] in ("16UC1", "32FC1"):
        raise ImportFailed(f"depth in the format {told!r} is not read").with_hint(_LEAVE)
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    codec = CODECS.get(told.strip().lower())
    if codec is None and re.search("jpe?g|png", told.lower()):
        raise ValueError("the bytes are not what the message calls them")
    if codec is None:
        raise ImportFailed(f"images in the format {told!r} are not read").with_hint(_LEAVE)
    return codec


def pixels(message: Any) -> npt.NDArray[Any]:
    """Return a raw image: RGB (height, width, 3) uint8, or depth (height, width).

    Raises ImportFailed for encodings that are not read, and where the sizes do not fit.
    """
    encoding, height, width = message.encoding, message.height, message.width
    data = np.asarray(message.data, np.uint8)
    if encoding in COLOUR:
        size, order = COLOUR[encoding]
        return np.ascontiguousarray(_grid(data, message, width * size, size)[:, :, order])
    if encoding in DEPTH:
        kind = np.dtype(DEPTH[encoding][0])
        line = _grid(data, message, width * kind.itemsize, width * kind.itemsize)
        found = np.ascontiguousarray(line.reshape(height, -1))
        return found.view(kind.newbyteorder(">" if message.is_bigendian else "<")).astype(kind)
    raise ImportFailed(f"raw images in {encoding!r} are not read").with_hint(_LEAVE)


def _grid(data: npt.NDArray[np.uint8], message: Any, used: int, last: int) -> npt.NDArray[np.uint8]:
    """Cut the padding off the lines of an image: (height, used // last, last)."""
    height, step = message.height, message.step
    if not height or not used or step < used or len(data) < height * step:
        raise ImportFailed(
            f"an image of {message.width}x{height} has {len(data)} bytes, {step} a line"
        ).with_hint("mend the driver that wrote it, or leave the topic out")
    return data[: height * step].reshape(height, step)[:, :used].reshape(height, -1, last)


def is_key(data: bytes, codec: str) -> bool:
    """Say whether decoding may start at an encoded image, by what it holds.

    H.264 (table 7-1): an IDR slice with its SPS; HEVC (table 7-1): IRAP with its SPS; AV1: a
    sequence header first.
    """
    if codec == "av1":
        first = data.removeprefix(_DELIMITER)[:1]
        return bool(first) and first[0] >> 3 & 15 == 1
    kinds = set(_units(data, hevc=codec == "hevc"))
    if codec == "hevc":
        return 33 in kinds and any(16 <= kind <= 23 for kind in kinds)
    return {5, 7} <= kinds


def _units(data: bytes, *, hevc: bool) -> Iterator[int]:
    place = data.find(b"\x00\x00\x01")
    while 0 <= place < len(data) - 3:
        first = data[place + 3]
        yield first >> 1 & 63 if hevc else first & 31
        place = data.find(b"\x00\x00\x01", place + 3)


def _rate_hz(clock: Clock) -> float:
    steps = np.diff(np.sort(clock.time_ns)).astype(np.float64)
    steps = steps[steps > 0]
    rate = float(1e9 / np.median(steps)) if len(steps) else NOMINAL_HZ
    return min(max(rate, 0.1), 1000.0)
