"""Images in HDF5 datasets become videos: raw ones are encoded, encoded ones are kept byte for byte.

Seen: (T, H, W, 3) and (T, 3, H, W) uint8 RGB; (T, length) uint8, each row a JPEG or PNG and zeros
behind it; (T,) rows of bytes, each as long as it is. A JPEG ends with 0xFFD9 and a PNG with 0x82,
so the zeros can be told from the image. (T, H, W) and (T, H, W, 1) are grey images where somebody
says that they are images at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats.pictures import size_of, write_pictures
from demos.formats.steps import Ticks
from demos.model import CameraInfo, Nanoseconds, VideoFile

Layout = Literal["hwc", "chw", "grey", "encoded"]
Rgb = npt.NDArray[np.uint8]
Encode = Callable[[Path, Iterable[Rgb], Nanoseconds, float], Any]
"""`demos.store.encoding.encode`: the store and the formats do not know each other."""

LOSSY = "{}: raw images were encoded as H.264, which loses detail"
SWAPPED = (
    "{}: the JPEGs were kept byte for byte; recorders that hand RGB to OpenCV's encoder store red "
    "and blue swapped, and the file does not say"
)


def layout_of(file: Any, place: str, *, grey: bool = False) -> Layout | None:
    """Say how images lie in a dataset by its shape; None where it holds none.

    grey: numbers of one colour, which might be anything, are images too.
    """
    found = hdf5.dataset(file, place)
    if not found.size:
        return None
    if hdf5.is_ragged(found) or (found.dtype == np.uint8 and found.ndim == 2):
        if found.ndim == 2 and found.shape[1] <= 64:
            return None
        head = next(hdf5.byte_rows(file, place))[:8].tobytes()
        return "encoded" if head.startswith((b"\xff\xd8\xff", b"\x89PNG")) else None
    if found.dtype != np.uint8:
        return None
    if grey and (found.ndim == 3 or (found.ndim == 4 and found.shape[3] == 1)):
        return "grey"
    if found.ndim != 4:
        return None
    if found.shape[3] == 3:
        return "hwc"
    return "chw" if found.shape[1] == 3 else None


def video(
    file: Any,
    place: str,
    ticks: Ticks,
    path: Path,
    encode: Encode,
    *,
    last: str = "",
    digest: Any = None,
    grey: bool = False,
) -> VideoFile:
    """Write the images of a dataset to an mp4, one a tick; read and held a few at a time.

    last: path of a further dataset whose last image comes after the others. digest: a hash that
    is fed with what is read. grey: as in `layout_of`. Raises ImportFailed, and RecordingFailed
    where H.264 cannot be had.
    """
    how = layout_of(file, place, grey=grey)
    if how is None:
        raise ImportFailed(f"{place} holds no images that are known").with_hint(
            "known are uint8 (T, height, width, 3), (T, 3, height, width) and rows of JPEG or PNG"
        )
    rows = (hdf5.byte_rows if how == "encoded" else hdf5.rows)(file, place)
    if last:
        rows = chain(rows, [hdf5.last_row(file, last)])
    rows = _hashed(rows, digest) if digest is not None else rows
    rate = ticks.rate_hz or timeline.rate_hz(np.sort(ticks.time_ns))
    rate = rate if np.isfinite(rate) else 30.0
    if how == "encoded":
        images = _encoded(rows, place, padded=not hdf5.is_ragged(hdf5.dataset(file, place)))
        if len(images) != len(ticks.time_ns):
            raise _count(place, len(images), len(ticks.time_ns))
        write_pictures(images, rate, path)
        width, height, codec = size_of(images[0])
    else:
        count = len(hdf5.dataset(file, place)) + bool(last)
        if count != len(ticks.time_ns):
            raise _count(place, count, len(ticks.time_ns))
        index = encode(path, _rgb(rows, how), ticks.time_ns, rate)
        width, height, codec = index.width, index.height, index.codec
    info = CameraInfo(
        width=width, height=height, rate_hz=ticks.rate_hz, clock=ticks.clock, codec=codec
    )
    return VideoFile(path, info, ticks.time_ns)


def _count(place: str, images: int, steps: int) -> ImportFailed:
    return ImportFailed(f"{place} has {images} images for {steps} steps").with_hint(
        "the file was edited or cut short; record one image a step"
    )


def _rgb(rows: Iterator[npt.NDArray[Any]], how: Layout) -> Iterator[Rgb]:
    for row in rows:
        if how == "grey":
            yield np.repeat(row.reshape(*row.shape[:2], 1), 3, axis=2)
        else:
            yield row if how == "hwc" else np.ascontiguousarray(row.transpose(1, 2, 0))


def _encoded(rows: Iterator[npt.NDArray[Any]], place: str, *, padded: bool) -> list[bytes]:
    images, size = [], 0
    for row in rows:
        images.append(row.tobytes().rstrip(b"\0") if padded else row.tobytes())
        size += len(images[-1])
        if size > hdf5.MOST_BYTES:
            raise ImportFailed(
                f"{place} holds more than {hdf5.MOST_BYTES / 1e6:.0f} MB of encoded images"
            ).with_hint("split the recording into shorter episodes")
    return images


def _hashed(rows: Iterator[npt.NDArray[Any]], digest: hashlib._Hash) -> Iterator[npt.NDArray[Any]]:
    for row in rows:
        digest.update(np.ascontiguousarray(row).tobytes())
        yield row
