"""Unpack one chunk of an array to the size that its array says, and never to more."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed, MissingExtra

JPEG_XL = "imagecodecs_jpegxl"
LARGEST_CHUNK = 2**27
_COPY_AGAIN = "the file is damaged or was changed; copy it again from its source"


def unpacked(content: bytes, compressor: Mapping[str, Any] | None, size: int, place: str) -> bytes:
    """Unpack a chunk to exactly `size` bytes; whatever would become larger is not unpacked."""
    codec = compressor.get("id") if compressor else None
    plain: bytes
    try:
        plain = CODECS[codec](content, size)
    except Exception as error:
        raise ImportFailed(f"chunk {place} cannot be unpacked: {error}").with_hint(
            _COPY_AGAIN
        ) from error
    if len(plain) != size:
        raise ImportFailed(
            f"chunk {place} has {len(plain)} bytes, its array needs {size}"
        ).with_hint(_COPY_AGAIN)
    return plain


def _blosc(content: bytes, size: int) -> bytes:
    """Blosc states the unpacked size in bytes 4 to 7 of its header, its own in 12 to 15."""
    from numcodecs import blosc

    said, own = int.from_bytes(content[4:8], "little"), int.from_bytes(content[12:16], "little")
    if len(content) < 16 or said != size or own != len(content):
        raise ValueError(f"its header speaks of {said} bytes, {size} are right")
    return bytes(blosc.decompress(content))


def _lz4(content: bytes, size: int) -> bytes:
    from numcodecs import lz4

    if int.from_bytes(content[:4], "little") != size:
        raise ValueError("its header states another size")
    return bytes(lz4.decompress(content))


def _zstd(content: bytes, size: int) -> bytes:
    import pyarrow as pa

    plain: bytes = pa.Codec("zstd").decompress(content, decompressed_size=size, asbytes=True)
    return plain


CODECS: dict[Any, Any] = {
    None: lambda content, size: content[: size + 1],
    "blosc": _blosc,
    "lz4": _lz4,
    "zstd": _zstd,
    "zlib": lambda content, size: zlib.decompressobj().decompress(content, size + 1),
    "gzip": lambda content, size: zlib.decompressobj(31).decompress(content, size + 1),
    "bz2": lambda content, size: bz2.BZ2Decompressor().decompress(content, size + 1),
    "lzma": lambda content, size: lzma.LZMADecompressor(memlimit=LARGEST_CHUNK).decompress(
        content, size + 1
    ),
    JPEG_XL: None,
}


def jpeg_xl(content: bytes, place: str, chunks: Sequence[int]) -> npt.NDArray[Any]:
    """Decode one image; its size is read off the header first, so that no bomb is decoded."""
    try:
        codecs = import_module("imagecodecs")
    except ImportError as error:
        raise MissingExtra("the images are JPEG XL, and imagecodecs is not installed").with_hint(
            "pip install imagecodecs, then import again; everything else can be read without"
        ) from error
    if jpeg_xl_size(content) != tuple(chunks[-3:-1]):
        raise ImportFailed(f"chunk {place} is no JPEG XL of {chunks[-2]}x{chunks[-3]}").with_hint(
            _COPY_AGAIN
        )
    try:
        image = np.asarray(codecs.jpegxl_decode(content))
        return image.reshape(tuple(chunks))
    except Exception as error:
        raise ImportFailed(f"chunk {place} cannot be decoded: {error}").with_hint(
            _COPY_AGAIN
        ) from error


def jpeg_xl_size(content: bytes) -> tuple[int, int]:
    """Read (height, width) off a bare JPEG XL codestream (ISO/IEC 18181-1, SizeHeader).

    (0, 0) where it is none.
    """
    if content[:2] != b"\xff\x0a":
        return 0, 0
    bits, place = int.from_bytes(content[2:14], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return bits >> (place - count) & ((1 << count) - 1)

    def length() -> int:
        return take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = 8 * (take(5) + 1) if small else length()
    ratio = take(3)
    if ratio:
        over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height, height * over // under
    return height, 8 * (take(5) + 1) if small else length()
