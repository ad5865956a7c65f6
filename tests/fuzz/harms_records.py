"""What happens to files of records: TFRecord, MCAP, ROS 1 bags. Lengths that are no lengths, bombs.

Checksums are made right again where they are, so that what is behind them is reached.
"""

from __future__ import annotations

import bz2
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import google_crc32c
import lz4.frame  # type: ignore[import-untyped]

from demos.formats.tfrecord import records

HUGE = (2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**35, 2**40, 2**62, 2**63, 2**64 - 1)
BOMB_BYTES = 2**31


# ------------------------------------------------------------------ TFRecord


def length_claimed(path: Path, rng: Random, canary: Path) -> None:
    """Frame a record with a right checksum over a wrong length."""
    whole = _whole(path)
    number = rng.randrange(len(whole))
    framed = [_framed(each) for each in whole]
    framed[number] = _framed(whole[number], rng.choice(HUGE))
    path.write_bytes(b"".join(framed))


def record_flipped(path: Path, rng: Random, canary: Path) -> None:
    """Flip bits within records whose checksums are right again."""
    whole = [bytearray(each) for each in _whole(path)]
    for _ in range(rng.randint(1, 6)):
        content = rng.choice(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(b"".join(_framed(bytes(each)) for each in whole))


def field_claimed(path: Path, rng: Random, canary: Path) -> None:
    """Write an Example whose inner lengths are larger than it."""
    inner = b"\x0a" + _varint(rng.choice(HUGE)) + b"\x0a\x03abc"
    outer = b"\x0a" + _varint(len(inner)) + inner
    path.write_bytes(b"".join(_framed(each) for each in [inner, outer, *_whole(path)[1:]]))


def record_crowded(path: Path, rng: Random, canary: Path) -> None:
    """Write a record of very many small values: few bytes in the file, many in memory."""
    key = rng.choice([b"steps/action", b"steps/observation/image", b"steps/language_instruction",
                      b"steps/is_first", b"episode_metadata/episode_id", b"steps/new"])  # fmt: skip
    count = 40_000_000
    kind, many = rng.choice([(1, b"\x0a\x00" * count), (3, _field(1, bytes(2 * count))),
                             (2, _field(1, bytes(4 * count)))])  # fmt: skip
    entry = _field(1, key) + _field(2, _field(kind, many))
    path.write_bytes(_framed(_whole(path)[0] + _field(1, _field(1, entry))))


def records_lost(path: Path, rng: Random, canary: Path) -> None:
    whole = _whole(path)
    path.write_bytes(b"".join(_framed(each) for each in rng.choices(whole, k=rng.randrange(4))))


def _whole(path: Path) -> list[bytes]:
    return [each for each in records(path) if isinstance(each, bytes)]


def _framed(content: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<Q", len(content) if length is None else length)
    return head + _masked(head) + content + _masked(content)


def _masked(content: bytes) -> bytes:
    crc = int(google_crc32c.value(content))
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


# ------------------------------------------------------------------ MCAP

_MAGIC, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = b"\x89MCAP0\r\n", 3, 4, 5, 6
Record = tuple[int, bytes]


def record_length_claimed(path: Path, rng: Random, canary: Path) -> None:
    """Let one record say that it is huge."""
    parts = list(_mcap(path))
    number = rng.randrange(len(parts))
    made = [_packed_record(each) for each in parts]
    op, content = parts[number]
    made[number] = struct.pack("<BQ", op, rng.choice(HUGE)) + content
    path.write_bytes(_MAGIC + b"".join(made) + _MAGIC)


def record_changed(path: Path, rng: Random, canary: Path) -> None:
    """Flip bits within records, also those of chunks, whose checksums are right again."""
    parts = [(op, bytearray(content)) for op, content in _opened(path)]
    for _ in range(rng.randint(1, 6)):
        content = rng.choice([content for _, content in parts if content])
        if rng.random() < 0.3:
            at = rng.randrange(len(content))
            content[at : at + 4] = rng.choice([b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4)])
        else:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _put(path, [(op, bytes(content)) for op, content in parts], rng)


def records_shuffled(path: Path, rng: Random, canary: Path) -> None:
    """Let messages come before their channels, twice, or without them."""
    parts = list(_opened(path))
    rng.shuffle(parts)
    _put(path, parts[: rng.randint(1, len(parts))] + parts[:3], rng)


def chunk_unpacked(path: Path, rng: Random, canary: Path) -> None:
    """Add a chunk that unpacks to gigabytes, whatever it says."""
    kind, data = rng.choice([("zstd", _zstd_zeros(BOMB_BYTES)), ("lz4", _lz4_zeros()),
                             ("zstd", _zstd_zeros(400_000_000)), ("", bytes(64))])  # fmt: skip
    said = rng.choice([BOMB_BYTES, 400_000_000, 500_000_000, 100, 2**62])
    parts = [_chunk(kind, data, said, rng.choice([0, 0, 1])), *_opened(path)]
    path.write_bytes(_MAGIC + b"".join(map(_packed_record, parts)) + _MAGIC)


def chunk_crowded(path: Path, rng: Random, canary: Path) -> None:
    """Add a chunk of very many tiny records: of none, of messages, of channels."""
    kinds = {op for op, _ in _opened(path)}
    tiny = rng.choice([
        struct.pack("<BQ", 0x7F, 0),
        struct.pack("<BQ", _MESSAGE, 22) + struct.pack("<HIQQ", rng.choice([0, 1]), 0, 1, 1),
        struct.pack("<BQ", _CHANNEL, 20) + struct.pack("<HHIII", 9, 0, 0, 0, 0) + bytes(4),
    ])  # fmt: skip
    data = tiny * (100_000_000 // len(tiny))
    assert kinds
    parts = [*_opened(path), _chunk("lz4", lz4.frame.compress(data), len(data), 0)]
    path.write_bytes(_MAGIC + b"".join(map(_packed_record, parts)) + _MAGIC)


def chunk_checksum_wrong(path: Path, rng: Random, canary: Path) -> None:
    data = b"".join(map(_packed_record, _opened(path)))
    path.write_bytes(_MAGIC + _packed_record(_chunk("", data, len(data), rng.randrange(1, 2**32)))
                     + _MAGIC)  # fmt: skip


def _mcap(path: Path) -> Iterator[Record]:
    content, place = path.read_bytes(), len(_MAGIC)
    while place + 9 <= len(content) - len(_MAGIC):
        op, length = struct.unpack_from("<BQ", content, place)
        yield op, content[place + 9 : place + 9 + length]
        place += 9 + length


def _opened(path: Path) -> list[Record]:
    """Return the records of an MCAP file with those of its chunks, no index among them."""
    found: list[Record] = []
    for op, content in _mcap(path):
        if op == _CHUNK:
            kind = struct.unpack_from("<I", content, 28)[0]
            name, start = content[32 : 32 + kind].decode(), 32 + kind + 8
            data = _unpacked(name, content[start:])
            place = 0
            while place < len(data):
                inner, length = struct.unpack_from("<BQ", data, place)
                found.append((inner, data[place + 9 : place + 9 + length]))
                place += 9 + length
        elif op in (1, _SCHEMA, _CHANNEL, _MESSAGE, 9, 12):
            found.append((op, content))
    return found


def _unpacked(name: str, data: bytes) -> bytes:
    import zstandard

    plain: bytes
    if name == "zstd":
        plain = zstandard.ZstdDecompressor().decompress(data)
    else:
        plain = lz4.frame.decompress(data) if name == "lz4" else data
    return plain


def _put(path: Path, parts: list[Record], rng: Random) -> None:
    """Write records as they are, or in a chunk whose checksum is right."""
    if rng.random() < 0.5:
        data = b"".join(map(_packed_record, parts))
        parts = [_chunk("", data, len(data), crc32(data))]
    path.write_bytes(_MAGIC + b"".join(map(_packed_record, parts)) + _MAGIC)


def _chunk(kind: str, data: bytes, said: int, crc: int) -> Record:
    head = struct.pack("<QQQII", 1, 2, said, crc, len(kind)) + kind.encode()
    return _CHUNK, head + struct.pack("<Q", len(data)) + data


def _packed_record(record: Record) -> bytes:
    op, content = record
    return struct.pack("<BQ", op, len(content)) + content


@cache
def _zstd_zeros(size: int) -> bytes:
    """Write a Zstandard frame of zeros by hand (RFC 8878, 3.1.1): blocks that repeat a byte."""
    block = 2**17
    head = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size // block * block)
    many = size // block
    each = struct.pack("<I", block << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", block << 3 | 1 << 1 | 1)[:3] + b"\0"
    return head + each * (many - 1) + last


@cache
def _lz4_zeros() -> bytes:
    return bytes(lz4.frame.compress(bytes(450_000_000)))


# ------------------------------------------------------------------ ROS 1

_BAG_CHUNK = 5


def bag_header_changed(path: Path, rng: Random, canary: Path) -> None:
    """Let a number in a record's header be as large as it can be."""
    content = bytearray(path.read_bytes())
    fields = [b"size=", b"index_pos=", b"conn_count=", b"chunk_count=", b"count=", b"conn=",
              b"chunk_pos=", b"ver="]  # fmt: skip
    field = rng.choice([each for each in fields if each in content])
    found = [at for at in range(len(content)) if content.startswith(field, at)]
    at = rng.choice(found) + len(field)
    value = rng.choice([2**31 - 1, 2**32 - 1, 0, 1, 100_000_000])
    content[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(content)


def bag_chunk_unpacked(path: Path, rng: Random, canary: Path) -> None:
    """Let the chunk of a bag unpack to gigabytes; the index that follows moves along."""
    content = path.read_bytes()
    start = content.index(b"op=\x05")
    place = 13
    while True:  # walk the records up to the chunk
        head = struct.unpack_from("<I", content, place)[0]
        size = struct.unpack_from("<I", content, place + 4 + head)[0]
        if place < start < place + 4 + head:
            break
        place += 8 + head + size
    kind = rng.choice([b"bz2", b"lz4"])
    data = _bz2_zeros() if kind == b"bz2" else _lz4_zeros()
    said = rng.choice([BOMB_BYTES, 450_000_000, 100])
    fields = (b"op=\x05", b"compression=" + kind, b"size=" + struct.pack("<I", said))
    header = b"".join(struct.pack("<I", len(each)) + each for each in fields)
    chunk = struct.pack("<I", len(header)) + header + struct.pack("<I", len(data)) + data
    behind = place + 8 + head + size
    whole = bytearray(content[:place] + chunk + content[behind:])
    at = whole.index(b"index_pos=") + len(b"index_pos=")
    index = struct.unpack_from("<Q", whole, at)[0]
    struct.pack_into("<Q", whole, at, index + place + len(chunk) - behind)
    path.write_bytes(whole)


@cache
def _bz2_zeros() -> bytes:
    return bz2.compress(bytes(45_000_000)) * 40


Harms = tuple[Callable[[Path, Random, Path], Any], ...]
TFRECORD: Harms = (length_claimed, length_claimed, record_flipped, record_flipped, record_flipped,
                   field_claimed, record_crowded, records_lost)  # fmt: skip
MCAP: Harms = (record_length_claimed, record_length_claimed, record_changed, record_changed,
               record_changed, records_shuffled, chunk_unpacked, chunk_unpacked, chunk_crowded,
               chunk_checksum_wrong)  # fmt: skip
BAG: Harms = (bag_header_changed, bag_header_changed, bag_chunk_unpacked)
