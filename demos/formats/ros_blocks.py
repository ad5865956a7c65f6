"""Many messages of a topic at once: what a chunk of MCAP holds of it, as one table of bytes.

Taken one by one, a message costs some 30 microseconds. But the messages of a topic mostly differ
in their stamps and numbers alone. So one is decoded as ever, which says where those lie in it; the
others, where every other byte is the same, are read from the table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed, require
from demos.formats.ros_types import SCALARS, Topic
from demos.model import Nanoseconds

_SCHEMA, _CHANNEL, _MESSAGE = 3, 4, 5
_RECORD, _HEAD = struct.Struct("<BQ"), struct.Struct("<HIQQ")
_LATEST_NS = 2**63
_FEW, _MOST_SIZE = 4, 4096
_STAMP = slice(4, 12)
_LITTLE_ENDIAN = b"\x00\x01"


class Message(NamedTuple):
    """One message as it lies in the bag; stamps in ns since 1970, 0 where there is none."""

    topic: Topic
    log_ns: int
    publish_ns: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Messages of one topic and size in their order: stamps (n,), bytes (n, size)."""

    topic: Topic
    log_ns: Nanoseconds
    publish_ns: Nanoseconds
    rows: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def after_first(self) -> Block:
        """Return the block without its first message."""
        return Block(self.topic, self.log_ns[1:], self.publish_ns[1:], self.rows[1:])

    def messages(self) -> Iterator[Message]:
        """Yield the messages one by one."""
        stamps = zip(self.log_ns.tolist(), self.publish_ns.tolist(), strict=True)
        for (log_ns, publish_ns), row in zip(stamps, self.rows, strict=True):
            yield Message(self.topic, log_ns, publish_ns, row.tobytes())


class Place(NamedTuple):
    """Where a message lies in a chunk: its channel, its stamps, and its bytes [start, end)."""

    channel: int
    log_ns: int
    publish_ns: int
    start: int
    end: int


def records(chunk: bytes) -> list[Any]:
    """Return what a chunk holds in its order: schemas and channels of `mcap`, and `Place`s.

    Raises ImportFailed for a chunk that breaks off, and what mcap raises.
    """
    known, stream = require("mcap.records", extra="ros"), require("mcap.data_stream", extra="ros")
    kinds = {_SCHEMA: known.Schema, _CHANNEL: known.Channel}
    found: list[Any] = []
    at = 0
    while at < len(chunk):
        opcode, length = _RECORD.unpack_from(chunk, at)
        at += _RECORD.size
        end = at + length
        if end > len(chunk) or (opcode == _MESSAGE and length < _HEAD.size):
            raise ImportFailed(f"a record at byte {at} breaks off")
        if opcode == _MESSAGE:
            channel, _, log_ns, publish_ns = _HEAD.unpack_from(chunk, at)
            if log_ns < _LATEST_NS:
                publish_ns = publish_ns if publish_ns < _LATEST_NS else 0
                found.append(Place(channel, log_ns, publish_ns, at + _HEAD.size, end))
        elif opcode in kinds:
            found.append(kinds[opcode].read(stream.ReadDataStream(BytesIO(chunk[at:end]))))
        at = end
    return found


def placed(message: Any) -> list[Place]:
    """Say where a message of `mcap` lies that stands by itself, in no chunk."""
    if message.log_time >= _LATEST_NS:
        return []
    publish_ns = message.publish_time if message.publish_time < _LATEST_NS else 0
    return [Place(message.channel_id, message.log_time, publish_ns, 0, len(message.data))]


def blocks(chunk: bytes, topic: Topic, places: Sequence[Place]) -> Iterator[Message | Block]:
    """Put the messages of one topic in a chunk together where they are small and of one size."""
    sizes = {place.end - place.start for place in places}
    if len(sizes) == 1 and len(places) >= _FEW and 0 < (size := sizes.pop()) <= _MOST_SIZE:
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(chunk, np.uint8), size)
        table = np.array([place[1:4] for place in places], np.int64)
        yield Block(topic, table[:, 0], table[:, 1], windows[table[:, 2]])
        return
    for place in places:
        yield Message(topic, place.log_ns, place.publish_ns, chunk[place.start : place.end])


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """What the messages of a block say: stamps (n,), 0 where they have none, and (n, width) each.

    `fields` are of one dtype; an empty field of a message is (n, 0).
    """

    stamp_ns: Nanoseconds
    fields: tuple[npt.NDArray[Any], ...]


def numbers_of(kind: str, block: Block, decoded: Any) -> Numbers | None:
    """Read the numbers of a block whose first message says `decoded`; None where that cannot be.

    It can where the kind is known here, the first message's numbers lie where they should, and
    all other bytes of all messages are those of the first.
    """
    told = _told(kind, decoded)
    first = block.rows[0].tobytes()
    if told is None or first[:2] != _LITTLE_ENDIAN:
        return None
    stamped = hasattr(decoded, "header")
    spans = _spans(first, [len(field) for field in told], joints=kind.endswith("JointState"))
    if spans is None:
        spans = [(len(first) - told[0].nbytes, len(first))]
    if any(first[a:b] != field.tobytes() for (a, b), field in zip(spans, told, strict=True)):
        return None
    fixed = np.ones(len(first), bool)
    for start, end in spans:
        fixed[start:end] = False
    if stamped:
        fixed[_STAMP] = False
    if (block.rows[:, fixed] != block.rows[0, fixed]).any():
        return None
    fields = tuple(
        np.ascontiguousarray(block.rows[:, start:end]).view(field.dtype)
        if end > start
        else np.zeros((len(block), 0), field.dtype)
        for (start, end), field in zip(spans, told, strict=True)
    )
    stamp_ns = np.zeros(len(block), np.int64)
    if stamped:
        halves = np.ascontiguousarray(block.rows[:, _STAMP])
        stamp_ns = halves.view("<i4")[:, 0] * np.int64(1_000_000_000) + halves.view("<u4")[:, 1]
    return Numbers(stamp_ns, fields)


def _told(kind: str, decoded: Any) -> list[npt.NDArray[Any]] | None:
    """Return the numbers of a decoded message as they lie in it, None for another kind."""
    short = kind.rpartition("/")[2]
    if short == "JointState":
        return [np.asarray(each, "<f8") for each in _joint_fields(decoded)]
    if short in ("WrenchStamped", "Twist", "TwistStamped"):
        parts = decoded.wrench if short == "WrenchStamped" else getattr(decoded, "twist", decoded)
        one, two = ("force", "torque") if short == "WrenchStamped" else ("linear", "angular")
        vectors = (getattr(parts, one), getattr(parts, two))
        return [np.array([each for v in vectors for each in (v.x, v.y, v.z)], "<f8")]
    if short == "PoseStamped":
        p, q = decoded.pose.position, decoded.pose.orientation
        return [np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w], "<f8")]
    name = short.removesuffix("MultiArray")
    if name in SCALARS and name != "Bool":
        dtype = np.dtype(SCALARS[name]).newbyteorder("<")
        return [np.atleast_1d(np.asarray(decoded.data, dtype)).ravel()]
    return None


def _joint_fields(decoded: Any) -> tuple[Any, Any, Any]:
    return decoded.position, decoded.velocity, decoded.effort


def _spans(data: bytes, counts: Sequence[int], *, joints: bool) -> list[tuple[int, int]] | None:
    """Say where the three lists of a JointState lie (CDR: everything at a multiple of its size).

    Offsets count from behind the four bytes that say how a message is encoded.
    """
    if not joints:
        return None

    def whole(at: int) -> tuple[int, int]:
        at += -at % 4
        return int.from_bytes(data[4 + at : 8 + at], "little"), at + 4

    length, at = whole(8)
    at += length
    names, at = whole(at)
    for _ in range(names):
        length, at = whole(at)
        at += length
    found = []
    for count in counts:
        _, at = whole(at)
        at += -at % 8 if count else 0
        found.append((4 + at, 4 + at + 8 * count))
        at += 8 * count
    return found
