"""Images that lie in a table one by one, as PNG or JPEG, become a video without re-encoding.

Each picture's own bytes are one packet of an mp4, and each packet is a key image: what is decoded
is what was recorded, and every image is reached at once. Players on the web do not show it.
"""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.files import whole_file
from demos.formats.lerobot import filled

_TICKS_PER_S = 90_000
_MOST_PIXELS = 2**25
_KINDS = {b"\x89PNG\r\n\x1a\n": "png_pipe", b"\xff\xd8\xff": "jpeg_pipe"}
_HINT = "write the images of the camera anew, all PNG or all JPEG, of one size, and import again"


class Pictures(Sequence[bytes]):
    """Encoded images that are read when they are asked for, so that they need not fit in memory."""

    def __init__(self, length: int, read: Callable[[int], bytes]) -> None:
        self._length, self._read = length, read

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self._read(n) for n in range(self._length)[index]]
        return self._read(range(self._length)[index])


class Spool(Sequence[bytes]):
    """Byte strings in a file, one after the other; only where they lie is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.order: npt.NDArray[np.int64] | None = None
        self._file: BinaryIO = path.open("w+b")
        self._ends = array("q", [0])

    def append(self, data: bytes) -> None:
        """Put one at the end."""
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def flush(self) -> None:
        """Let others read what was put here."""
        self._file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = index if self.order is None else int(self.order[index])
        start, end = self._ends[number], self._ends[number + 1]
        return os.pread(self._file.fileno(), end - start, start)


def stated(image: bytes) -> tuple[str, int, int]:
    """Read kind (`png`, `jpeg`), width and height off an encoded image that is there to its end.

    Raises ImportFailed for other kinds, and for an image that was cut short.
    """
    kind = _kind(image)
    size = _size(image, kind)
    if kind == "png_pipe":
        width, height, ends = (
            int.from_bytes(size[:4], "big"),
            int.from_bytes(size[4:], "big"),
            b"IEND",
        )
    else:
        height, width, ends = (
            int.from_bytes(size[:2], "big"),
            int.from_bytes(size[2:], "big"),
            b"\xff\xd9",
        )
    if not width or not height or ends not in image[-64:]:
        raise ImportFailed("an image is cut short").with_hint(_HINT)
    return kind.removesuffix("_pipe"), width, height


def spooled(cells: Iterable[object], root: Path, path: Path) -> Spool:
    """Put the encoded images of cells {bytes, path} into a file, read from files where they are so.

    Raises ImportFailed for a row without an image.
    """
    spool = Spool(path)
    try:
        for row, cell in enumerate(cells):
            spool.append(_content(row, cell, root))
        spool.flush()
    except BaseException:
        spool.close()
        raise
    return spool


def _content(row: int, cell: object, root: Path) -> bytes:
    said = cell if isinstance(cell, Mapping) else {"bytes": cell}
    content, place = said.get("bytes"), said.get("path")
    if not isinstance(content, bytes) and isinstance(place, str):
        content = whole_file(root, filled(place.replace("{", "").replace("}", ""))).read_bytes()
    if not isinstance(content, bytes):
        raise ImportFailed(f"row {row} has no image").with_hint(_HINT)
    return content


def write_pictures(images: Sequence[bytes], rate_hz: float, target: Path) -> None:
    """Write encoded images of one kind and size as an mp4. Raises ImportFailed."""
    import av

    # each asking may read a file: one pass to look, one to copy
    seen = {(kind := _kind(image), _size(image, kind)) for image in images}
    if len({kind for kind, _ in seen}) != 1:
        raise ImportFailed("the images are not all PNG, nor all JPEG").with_hint(_HINT)
    if len(seen) != 1:
        raise ImportFailed(f"the images have {len(seen)} sizes").with_hint(_HINT)
    kind = seen.pop()[0]
    base = Fraction(1, _TICKS_PER_S)
    try:
        width, height, _ = size_of(images[0])
        if width * height > _MOST_PIXELS:  # FFmpeg decodes the first to see what it is
            raise ImportFailed(
                f"the images cannot be read: they claim to be {width}x{height}"
            ).with_hint(_HINT)
        with (
            av.open(io.BytesIO(images[0]), format=kind) as template,
            av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as video,
        ):
            stream = video.add_stream_from_template(template.streams.video[0])
            stream.time_base = base
            for number, image in enumerate(images):
                packet = av.Packet(image)
                packet.stream, packet.time_base = stream, base
                packet.pts = packet.dts = round(number * _TICKS_PER_S / rate_hz)
                packet.duration = round(_TICKS_PER_S / rate_hz)
                packet.is_keyframe = True
                video.mux(packet)
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise ImportFailed(f"the images cannot be read: {error}").with_hint(_HINT) from error


def size_of(image: bytes) -> tuple[int, int, str]:
    """Return width, height and codec (`mjpeg`, `png`) of an encoded image. Raises ImportFailed."""
    if _kind(image) == "png_pipe":
        return int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big"), "png"
    sides = _size(image, "jpeg_pipe")
    return int.from_bytes(sides[2:], "big"), int.from_bytes(sides[:2], "big"), "mjpeg"


def _kind(image: bytes) -> str:
    for magic, kind in _KINDS.items():
        if image.startswith(magic):
            return kind
    raise ImportFailed("an image is neither PNG nor JPEG").with_hint(_HINT)


def _size(image: bytes, kind: str) -> bytes:
    """Return the bytes that say height and width: PNG's header, JPEG's frame header."""
    if kind == "png_pipe":
        return image[16:24]
    place = 2
    while place + 9 < len(image):
        marker, length = image[place + 1], int.from_bytes(image[place + 2 : place + 4], "big")
        # SOF0 to SOF15 but for the three that are tables (ITU T.81, table B.1)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return image[place + 5 : place + 9]
        place += 2 + length
    raise ImportFailed("a JPEG image has no frame header").with_hint(_HINT)
