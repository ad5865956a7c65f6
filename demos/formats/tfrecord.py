"""TFRecord files: records one after the other, each with its length and two checksums.

A record is: length (uint64), its masked CRC-32C (uint32), the bytes, their masked CRC-32C, all
little-endian (TensorFlow, tensorflow/core/lib/io/record_writer.h). A length is believed only when
its checksum fits and the file is that long, so nothing is allocated on a stranger's word.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demos.errors import ImportFailed

LARGEST_BYTES = 512_000_000
_COPY_AGAIN = "copy the file again from its source, or leave this episode out"


@dataclass(frozen=True, slots=True)
class Damage:
    """A record that cannot be used, and why. After one that is `last` nothing can be found."""

    reason: str
    last: bool


def records(path: Path) -> Iterator[bytes | Damage]:
    """Yield the records of one file, damaged ones as what is wrong with them. Raises ImportFailed.

    A record of more than 512 MB is passed over: an episode is held in memory whole.
    """
    end, place = path.stat().st_size, 0
    if end == 0:
        raise ImportFailed(f"{path.name} is empty").with_hint(_COPY_AGAIN)
    with path.open("rb") as file:
        while place < end:
            head = file.read(12)
            if len(head) < 12:
                yield Damage(f"{path.name} breaks off at byte {end}, within a length", last=True)
                return
            length, check = struct.unpack("<QI", head)
            if _masked(head[:8]) != check:
                yield Damage(f"the length at byte {place} fails its checksum", last=True)
                return
            if length > end - place - 16:
                told = f"{path.name} breaks off: the record at byte {place} has {length} bytes"
                yield Damage(f"{told}, {end - place - 16} are there", last=True)
                return
            if length > LARGEST_BYTES:
                yield Damage(f"the record at byte {place} has {length} bytes", last=False)
                file.seek(place + 16 + length)
            else:
                content = file.read(length)
                good = _masked(content) == int.from_bytes(file.read(4), "little")
                at = f"the record at byte {place} fails its checksum"
                yield content if good else Damage(at, last=False)
            place += 16 + length


def write_records(path: Path, contents: Iterable[bytes]) -> None:
    """Write records into a new file."""
    with path.open("xb") as file:
        for content in contents:
            head = struct.pack("<Q", len(content))
            file.write(head + struct.pack("<I", _masked(head)))
            file.write(content + struct.pack("<I", _masked(content)))


def _masked(content: bytes) -> int:
    """Rotate and shift a CRC, so that the CRC of bytes that hold CRCs stays useful."""
    import google_crc32c

    crc = int(google_crc32c.value(content))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
