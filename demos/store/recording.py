"""What the blocks of a recording mean: written by the recorder, read back to publish it."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, DemosError, NewerVersion
from demos.model import (
    CameraInfo,
    Draft,
    Event,
    Facts,
    Label,
    Nanoseconds,
    Session,
    Stream,
    StreamInfo,
)
from demos.model.records import Document, Record
from demos.schema import read as read_record
from demos.store.blocks import Block, Kind, Scar, blocks
from demos.store.packets import PacketIndex
from demos.store.staging import Footage

SOURCE_STAMPS, ARRIVAL_STAMPS = 1, 2
_KEEP = "its bytes are kept as they are; move the folder away to be rid of it"
PACKET_HEAD = struct.Struct("<qqqB")


class Header(Document):
    """The first block: whose recording this is and all that was known when it began."""

    kind: Literal["recording"] = "recording"
    episode: str
    session: Session
    facts: Facts
    uses: dict[str, str] = {}


class StreamDeclaration(Record):
    """Declares a stream: its number in sample blocks, dtype and shape of one sample."""

    index: int
    name: str
    info: StreamInfo
    dtype: str
    shape: tuple[int, ...]


class CameraDeclaration(Record):
    """Declares a camera: its number in packet blocks, and how its packets are encoded."""

    index: int
    name: str
    info: CameraInfo
    extradata: str = ""


def as_json(record: Record) -> bytes:
    """Write a record as one line of JSON, for a block."""
    return record.model_dump_json().encode()


def event_json(event: Event) -> bytes:
    """Write an event as JSON; numbers of NumPy become plain ones, what is no JSON its text."""
    plain = {"name": event.name, "time_ns": event.time_ns, "values": event.values}
    return json.dumps(plain, default=_plain, allow_nan=False, ensure_ascii=False).encode()


def _plain(value: object) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def packet_bytes(time_ns: int, data: bytes, pts: int, dts: int, *, key: bool) -> bytes:
    """Lay out one encoded image for a block."""
    return PACKET_HEAD.pack(time_ns, pts, dts, key) + data


@dataclass(slots=True)
class _Track:
    """The sample blocks of one stream, in order of arrival."""

    declared: StreamDeclaration
    parts: list[tuple[int, bytes]] = field(default_factory=list)

    def stream(self) -> Stream:
        dtype = np.dtype(self.declared.dtype)
        value = np.dtype((dtype, self.declared.shape))
        chunks: list[tuple[int, bytes]] = []
        run: list[bytes] = []
        width = {
            flags: 8 * (1 + (flags & 1) + (flags >> 1 & 1)) + value.itemsize for flags in range(4)
        }
        kept = None
        # single samples, the usual case, lie in memory like the rows of one structured array
        for flags, payload in self.parts:
            single = len(payload) == width[flags]
            if run and not (single and flags == kept):
                chunks.append((kept or 0, b"".join(run)))
                run = []
            if single:
                kept = flags
                run.append(payload)
            else:
                chunks.append((flags, self._rows(flags, payload, width[flags], value)))
        if run:
            chunks.append((kept or 0, b"".join(run)))
        rows = [np.frombuffer(data, _row_type(flags, value)) for flags, data in chunks]
        return self._joined(rows, value)

    def _rows(self, flags: int, payload: bytes, width: int, value: np.dtype[Any]) -> bytes:
        """Turn a block of columns into rows."""
        count, rest = divmod(len(payload), width)
        if rest:
            raise Damaged(f"a block of stream {self.declared.name!r} has {rest} bytes too many")
        rows = np.empty(count, _row_type(flags, value))
        at = 0
        for name in rows.dtype.names or ():
            column = rows.dtype[name]
            rows[name] = np.frombuffer(payload, column, count, at)
            at += count * column.itemsize
        return rows.tobytes()

    def _joined(self, rows: list[npt.NDArray[Any]], value: np.dtype[Any]) -> Stream:
        columns: dict[str, Any] = {"time_ns": np.empty(0, np.int64), "values": None}
        if rows:
            columns["time_ns"] = np.concatenate([part["time_ns"] for part in rows])
            columns["values"] = np.ascontiguousarray(np.concatenate([p["values"] for p in rows]))
        else:
            columns["values"] = np.empty((0, *self.declared.shape), value.base)
        for name in ("source_time_ns", "arrival_ns"):
            if any(name in (part.dtype.names or ()) for part in rows):
                # where only some samples carry such a stamp, the others repeat time_ns
                columns[name] = np.concatenate(
                    [part[name if name in (part.dtype.names or ()) else "time_ns"] for part in rows]
                )
        return Stream(info=self.declared.info, **columns)


def _row_type(flags: int, value: np.dtype[Any]) -> np.dtype[Any]:
    fields: list[tuple[str, Any]] = [("time_ns", "<i8")]
    if flags & SOURCE_STAMPS:
        fields.append(("source_time_ns", "<i8"))
    if flags & ARRIVAL_STAMPS:
        fields.append(("arrival_ns", "<i8"))
    return np.dtype([*fields, ("values", value)])


@dataclass(slots=True)
class _Reel:
    """The packets of one camera, in order of arrival; `waiting` for a key image after a scar."""

    declared: CameraDeclaration
    packets: list[tuple[int, int, int, bool, bytes]] = field(default_factory=list)
    waiting: bool = True
    dropped: int = 0

    def add(self, payload: bytes) -> None:
        time_ns, pts, dts, key = PACKET_HEAD.unpack_from(payload)
        self.waiting = self.waiting and not key
        if self.waiting:
            self.dropped += 1
        else:
            self.packets.append((time_ns, pts, dts, bool(key), payload[PACKET_HEAD.size :]))

    def footage(self) -> Footage:
        from demos.store.video import Packet, mux

        info = self.declared.info
        shown = sorted(range(len(self.packets)), key=lambda i: (self.packets[i][1], i))
        time_ns: Nanoseconds = np.array([self.packets[i][0] for i in shown], np.int64)

        def put(path: Path) -> PacketIndex:
            packets = [Packet(data, pts, dts, key) for _, pts, dts, key, data in self.packets]
            return mux(
                path,
                packets,
                time_ns,
                codec=info.codec,
                extradata=base64.b64decode(self.declared.extradata),
                size=(info.width, info.height),
            )

        return Footage(info, put)


@dataclass(frozen=True, slots=True)
class Recording:
    """A log read back: an episode on its way, and how its log ended.

    `ended` says that the recorder finished it, `discarded` that the operator threw it away;
    `missing` lists in words what the log lacks.
    """

    header: Header
    draft: Draft
    footage: dict[str, Footage]
    ended: bool
    discarded: bool
    missing: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing at all was recorded."""
        draft = self.draft
        return not (draft.streams or self.footage or draft.labels or draft.events)


def read(path: Path) -> Recording:
    """Read a recording to its last whole block.

    Raises StoreError where it cannot be read, Damaged where not even its header is whole,
    NewerVersion where a later release wrote it.
    """
    log = _Log()
    try:
        for block in blocks(path):
            log.take(block)
        if log.header is not None:
            return log.recording(log.header)
    except DemosError:
        raise
    except Exception as error:  # NumPy and struct raise dozens of kinds on blocks that are not ours
        raise Damaged(f"{path} is no recording: {error}").with_hint(_KEEP) from error
    raise Damaged(f"{path} has no whole header").with_hint(_KEEP)


def read_header(path: Path) -> Header:
    """Read only whose recording a log is. Raises as `read` does."""
    for block in blocks(path):
        if isinstance(block, Block) and block.kind == Kind.HEADER:
            return read_record(Header, block.payload, where="the recording's header")
        break
    raise Damaged(f"{path} has no whole header").with_hint(_KEEP)


class _Log:
    """The blocks of one log, sorted by what they belong to."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.tracks: dict[int, _Track] = {}
        self.reels: dict[int, _Reel] = {}
        self.events: list[Event] = []
        self.labels: list[Label] = []
        self.scars: list[Scar] = []
        self.ended = self.discarded = False

    def take(self, block: Block | Scar) -> None:
        if isinstance(block, Scar):
            self.scars.append(block)
            for reel in self.reels.values():
                reel.waiting = True
            return
        kind, payload = block.kind, block.payload
        if kind == Kind.SAMPLES:
            if block.source in self.tracks:
                self.tracks[block.source].parts.append((block.flags, payload))
        elif kind == Kind.PACKET:
            if block.source in self.reels:
                self.reels[block.source].add(payload)
        elif kind == Kind.STREAM:
            stream = read_record(StreamDeclaration, payload, where="a stream of the recording")
            self.tracks[stream.index] = _Track(stream)
        elif kind == Kind.CAMERA:
            camera = read_record(CameraDeclaration, payload, where="a camera of the recording")
            self.reels[camera.index] = _Reel(camera)
        elif kind == Kind.EVENT:
            self.events.append(read_record(Event, payload, where="an event of the recording"))
        elif kind == Kind.LABEL:
            self.labels.append(read_record(Label, payload, where="a label of the recording"))
        elif kind == Kind.HEADER:
            self.header = read_record(Header, payload, where="the recording's header")
        elif kind == Kind.END:
            self.ended = True
        elif kind == Kind.DISCARD:
            self.discarded = True
        else:
            raise NewerVersion(f"the recording has blocks of kind {kind}").with_hint(
                "upgrade: pip install -U teleop-demos"
            )

    def recording(self, header: Header) -> Recording:
        missing = [
            f"{scar.length} bytes at byte {scar.offset} of the recording were no whole block"
            for scar in self.scars
        ]
        missing += [
            f"{reel.dropped} images of {reel.declared.name!r} without the key image before them"
            for reel in self.reels.values()
            if reel.dropped
        ]
        tracks = [track for track in self.tracks.values() if track.parts]
        reels = [reel for reel in self.reels.values() if reel.packets]
        return Recording(
            header=header,
            draft=Draft(
                session=header.session,
                facts=header.facts,
                streams={track.declared.name: track.stream() for track in tracks},
                events=tuple(self.events),
                labels=tuple(self.labels),
            ),
            footage={reel.declared.name: reel.footage() for reel in reels},
            ended=self.ended,
            discarded=self.discarded,
            missing=tuple(missing),
        )
