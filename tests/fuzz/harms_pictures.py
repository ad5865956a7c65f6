"""What happens to videos and pictures: boxes that lie, sizes that no camera has."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

_BOXES = (b"stsz", b"stco", b"stts", b"stsd", b"stsc", b"stss", b"ctts", b"mdhd", b"tkhd", b"elst",
          b"mvhd", b"avcC", b"hdlr", b"avc1", b"dref", b"trak", b"moov", b"mdat")  # fmt: skip


def box_changed(path: Path, rng: Random, canary: Path) -> None:
    """Put a huge or odd number into a box of an mp4, or into its length."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        name = rng.choice([box for box in _BOXES if box in content])
        at = content.index(name) + rng.choice([-4, 4, 8, 12, 16, 20, 24, 28, 32, 36])
        value = rng.choice([0, 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)])
        content[at : at + 4] = struct.pack(">I", value)
    path.write_bytes(content)


def box_lost(path: Path, rng: Random, canary: Path) -> None:
    content = path.read_bytes()
    name = rng.choice([box for box in _BOXES if box in content])
    path.write_bytes(content.replace(name, rng.choice([b"free", b"xxxx", b"skip"]), 1))


def reel_other(path: Path, rng: Random, canary: Path) -> None:
    """Put a playlist in its place that names other files; FFmpeg would follow it."""
    names = (canary, f"../{canary.name}", "/etc/passwd", "concat:" + str(canary))
    texts = [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{}'\n",
    ]
    path.write_text(rng.choice(texts).format(rng.choice(names)))


def sized(path: Path, rng: Random, canary: Path) -> None:
    """Let a picture claim to be huge."""
    content = bytearray(path.read_bytes())
    side = rng.choice([0, 1, 16_000, 65_535, 2**31 - 1])
    if content.startswith(b"\x89PNG"):
        content[16:24] = struct.pack(">II", side, rng.choice([1, side]))
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    else:
        at = next(n for n in range(len(content)) if content[n : n + 1] == b"\xff"
                  and content[n + 1] in (0xC0, 0xC2))  # fmt: skip
        content[at + 5 : at + 9] = struct.pack(">HH", min(side, 65_535), min(side, 65_535))
    path.write_bytes(content)


def blank(path: Path, rng: Random, canary: Path) -> None:
    """Put a picture in its place that is small as a file and a gigabyte when it is decoded."""
    path.write_bytes(_blank_png())


@cache
def _blank_png(side: int = 18_000) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    packer = zlib.compressobj(1)
    line = bytes(1 + 3 * side)
    packed = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed)
            + chunk(b"IEND", b""))  # fmt: skip


MP4: tuple[Callable[[Path, Random, Path], None], ...] = (
    box_changed, box_changed, box_changed, box_lost, reel_other,
)  # fmt: skip
PICTURE: tuple[Callable[[Path, Random, Path], None], ...] = (sized, sized, blank)
