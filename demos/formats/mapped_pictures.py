"""A camera that a mapping file names: images come one by one and become its video.

An image is a message that says itself what it is (ROS's Image, CompressedImage and
CompressedVideo, Foxglove's of the same fields), or mere bytes of which the mapping file says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import ImportFailed
from demos.formats.hdf5_images import LOSSY
from demos.formats.messages import Lacking, raw_bytes
from demos.formats.notes import Notes
from demos.formats.pictures import Spool
from demos.formats.ros_clocks import Clock
from demos.formats.ros_pictures import DEPTH, Film, Pictures, encoded_kind, pixels
from demos.formats.steps import Ticks
from demos.model import CameraInfo, MappedCamera, MappedClock, VideoFile

_SAY = "say `codec` where they are packets of a video, `width` and `height` where they are pixels"
_COLOURS = {1: "mono8", 3: "rgb8", 4: "rgba8"}


@dataclass(frozen=True, slots=True)
class Filming:
    """A camera that is to become a video: what is said of it, its clock, and where it goes.

    film: how videos are written. notes: what there is to tell of it.
    """

    name: str
    said: MappedCamera
    clock: MappedClock | None
    target: Path
    film: Film
    notes: Notes


class Reel:
    """The images of one camera, kept in a file below a folder as they come."""

    def __init__(self, said: MappedCamera, spool: Path) -> None:
        self._said, self._spool = said, Spool(spool)
        self.pictures: Pictures | None = None

    def close(self) -> None:
        """Close the file."""
        self._spool.close()

    @property
    def early(self) -> int:
        """How many packets came before the first key image, which are not kept."""
        return self.pictures.early if self.pictures is not None else 0

    def add(self, log_ns: int, stamp_ns: int, found: Any) -> None:
        """Keep one image. Raises ImportFailed for what is not read, Lacking for what is none."""
        said = self._said
        if isinstance(found, Mapping) and (said.codec or said.width):
            found = found.get("data")
        if isinstance(found, Mapping):
            kind, data = _of_message(found)
        elif said.width:
            kind, data = "raw", _of_pixels(raw_bytes(found), said)
        else:
            data = raw_bytes(found)
            kind = said.codec or _of_bytes(data)
        if self.pictures is None:
            self.pictures = Pictures(self._spool, kind, kind)
        if self.pictures.kind != kind:
            raise ImportFailed(f"its images change from {self.pictures.kind} to {kind}")
        if isinstance(data, bytes):
            self.pictures.add(log_ns, stamp_ns, data)
        else:
            self.pictures.add_raw(log_ns, stamp_ns, data)

    def video(self, filming: Filming, clock: Clock, ticks: Ticks) -> VideoFile:
        """Write the video; `clock` says in which order. Raises ImportFailed, RecordingFailed."""
        name, notes, target = filming.name, filming.notes, filming.target
        held = self.pictures
        if held is None or not len(held.moments):
            early = f", {self.early} came before the first key image" if self.early else ""
            raise ImportFailed(f"there is no image{early}").with_hint(_SAY)
        held.write(target, clock, filming.film)
        if self.early:
            notes.missing.append(f"{name}: {self.early} images before the first key image")
        if held.kind == "raw":
            notes.assumed.append(LOSSY.format(name))
        swapped = held.kind != "raw" and self._said.order == "bgr"
        index = filming.film.index(target)
        rate = ticks.rate_hz or timeline.rate_hz(np.sort(ticks.time_ns))
        info = CameraInfo(
            width=index.width,
            height=index.height,
            rate_hz=rate if np.isfinite(rate) else None,
            clock=ticks.clock,
            codec=index.codec,
            note="red and blue are swapped" if swapped else "",
        )
        return VideoFile(target, info, ticks.time_ns)


def _of_message(found: Mapping[str, Any]) -> tuple[str, bytes | npt.NDArray[Any]]:
    if "data" not in found:
        raise Lacking(f"it holds no image but the fields {', '.join(found)}: name one of bytes")
    data = raw_bytes(found["data"])
    if "format" in found:
        return encoded_kind(data, str(found["format"])), data
    if not all(name in found for name in ("encoding", "width", "height")):
        return _of_bytes(data), data
    encoding, height = str(found["encoding"]), int(found["height"])
    if encoding in DEPTH:
        raise ImportFailed(f"{encoding} is depth, which no video keeps").with_hint(
            "name the topic under `streams`, as depth.<camera>"
        )
    return "raw", pixels(_image(found, data, encoding, height))


def depth_of(found: Any) -> tuple[str, npt.NDArray[Any]] | None:
    """Return encoding and numbers (height, width) of an image message of depth; None for others."""
    if not isinstance(found, Mapping) or str(found.get("encoding")) not in DEPTH:
        return None
    encoding, data = str(found["encoding"]), raw_bytes(found["data"])
    return encoding, pixels(_image(found, data, encoding, int(found["height"])))


def _image(found: Mapping[str, Any], data: bytes, encoding: str, height: int) -> SimpleNamespace:
    return SimpleNamespace(
        encoding=encoding,
        width=int(found["width"]),
        height=height,
        step=int(found.get("step") or len(data) // max(height, 1)),
        is_bigendian=bool(found.get("is_bigendian", False)),
        data=np.frombuffer(data, np.uint8),
    )


def _of_pixels(data: bytes, said: MappedCamera) -> npt.NDArray[np.uint8]:
    width, height = said.width or 0, said.height or 0
    colours, rest = divmod(len(data), width * height)
    if rest or colours not in _COLOURS:
        raise ImportFailed(f"an image has {len(data)} bytes, not 1, 3 or 4 for {width}x{height}")
    encoding = _COLOURS[colours]
    if said.order == "bgr":
        encoding = encoding.replace("rgb", "bgr")
    return pixels(_image({"width": width}, data, encoding, height))


def _of_bytes(data: bytes) -> str:
    try:
        return encoded_kind(data, "")
    except ImportFailed as error:
        raise ImportFailed("the bytes are neither JPEG nor PNG").with_hint(_SAY) from error
