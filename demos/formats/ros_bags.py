"""ROS bags opened: the messages of MCAP files, of rosbag2 databases, and of ROS 1 bags.

Messages come one by one, in the order of the file. A bag that breaks off gives what it holds
until there and says so in `broken`.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from demos.errors import DemosError, ImportFailed, require
from demos.formats.bag_files import MAGIC_MCAP, METADATA, BagFiles
from demos.formats.files import whole_file
from demos.formats.ros_blocks import Block, Message, Place, blocks, placed, records
from demos.formats.ros_types import Topic
from demos.schema import plain_yaml

MOST_BYTES = 2**27
"""Of one chunk, record, attachment or message: a damaged length must not fill the memory."""

MOST_RECORDS = 500_000
"""Of one chunk, each of which becomes an object; recorders write chunks of a few MB."""

_LATEST_NS = 2**63
_MESSAGE_INDEX = 7
"""Its opcode in MCAP; 0 is none, which a reader skips."""

_LANGUAGES = ("ros1msg", "ros2msg", "ros2idl")


class Bag(Protocol):
    """An opened bag. `topics` and the rest are complete when all messages were read."""

    topics: list[Topic]
    broken: list[str]
    metadata: dict[str, dict[str, str]]
    attachments: dict[str, bytes]
    left: list[str]

    def messages(self) -> Iterator[Message]:
        """Yield the messages in the order of the file. Raises ImportFailed for no bag at all."""

    def blocks(self) -> Iterator[Message | Block]:
        """Yield them each topic's in its order, those that lie near each other together."""


@dataclass(slots=True)
class McapBag:
    """One bag in one or several MCAP files, read from front to back: no index is needed.

    `attachments` that are larger than they may be, and others of no use, are named in `left`.
    """

    root: Path
    files: tuple[str, ...]
    wanted: frozenset[str] = frozenset()
    topics: list[Topic] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def messages(self) -> Iterator[Message]:
        """Yield the messages of all files in their order."""
        for chunk, found in self._chunks():
            for topic, place in found:
                data = chunk[place.start : place.end]
                yield Message(topic, place.log_ns, place.publish_ns, data)

    def blocks(self) -> Iterator[Message | Block]:
        """Yield what each chunk holds, each topic's messages together."""
        for chunk, found in self._chunks():
            by_topic: dict[int, tuple[Topic, list[Place]]] = {}
            for topic, place in found:
                by_topic.setdefault(id(topic), (topic, []))[1].append(place)
            for topic, places in by_topic.values():
                yield from blocks(chunk, topic, places)

    def _chunks(self) -> Iterator[tuple[bytes, list[tuple[Topic, Place]]]]:
        """Yield chunk by chunk where the messages of all files lie, in their order."""
        for name in self.files:
            path = whole_file(self.root, name)
            with path.open("rb") as file:
                if file.read(len(MAGIC_MCAP)) != MAGIC_MCAP:
                    raise ImportFailed(f"{name} is no MCAP file").with_hint(
                        "it does not begin as one does; copy it again from its source"
                    )
                file.seek(0)
                yield from self._read(file, name, path.stat().st_size)

    def _read(
        self, file: Any, name: str, size: int
    ) -> Iterator[tuple[bytes, list[tuple[Topic, Place]]]]:
        found = _without_indices(file, min(size, MOST_BYTES)).records
        channels: dict[int, Topic] = {}
        schemas: dict[int, Any] = {}
        while True:
            try:
                record = next(found, None)
                if record is None:
                    return
                chunk, inner = self._opened(record, name)
            except Exception as error:  # noqa: BLE001  mcap, struct, zlib and zstd raise dozens
                place = f"{name} breaks off near byte {file.tell()}"
                reason = " ".join(str(error).split())[:120] or type(error).__name__
                self.broken.append(f"{place}: {reason}")
                return
            known: list[tuple[Topic, Place]] = []
            for each in inner:
                kind = type(each).__name__
                if kind == "Place":
                    if each.channel in channels:
                        known.append((channels[each.channel], each))
                elif kind == "Schema":
                    schemas[each.id] = each
                elif kind == "Channel":
                    self._learn(each, schemas, channels)
                elif kind == "Metadata":
                    self.metadata[each.name] = dict(each.metadata)
                elif kind == "Attachment":
                    self._attach(each)
            if known:
                yield chunk, known

    def _attach(self, attachment: Any) -> None:
        if attachment.name in self.wanted:
            self.attachments[attachment.name] = attachment.data
        else:
            self.left.append(f"attachment {attachment.name!r} ({len(attachment.data)} bytes)")

    def _learn(self, channel: Any, schemas: dict[int, Any], channels: dict[int, Topic]) -> None:
        kind, language, text, binary = "", "", "", b""
        if (schema := schemas.get(channel.schema_id)) is not None:
            kind, language, binary = schema.name, schema.encoding, schema.data
        if schema is not None and language in _LANGUAGES:
            text = schema.data.decode(errors="replace")
            kind = kind.replace("/", "/msg/") if kind.count("/") == 1 else kind
        encoding, about = channel.message_encoding, dict(channel.metadata)
        topic = Topic(channel.topic, kind, encoding, text, language, about, binary)
        known = channels.get(channel.id)
        if known is None or (known.name, known.kind) != (topic.name, topic.kind):
            channels[channel.id] = topic
            self.topics.append(topic)

    def _opened(self, record: Any, name: str) -> tuple[bytes, list[Any]]:
        """Return the bytes of a chunk and its records; nothing of a chunk that is damaged."""
        kind = type(record).__name__
        if kind == "Message":
            return record.data, placed(record)
        if kind != "Chunk":
            return b"", [record]
        try:
            data = _inflated(record)
            _refuse_crowded(data)
            return data, records(data)
        except Exception as error:  # noqa: BLE001  mcap, struct, lz4 and zstd raise dozens
            start = record.message_start_time
            self.broken.append(f"{name}: the chunk that begins at {start} ns is damaged: {error}")
            return b"", []


def _without_indices(file: Any, limit: int) -> Any:
    """Make a reader that passes over the indices of messages: from front to back none is needed."""
    stream_reader: Any = require("mcap.stream_reader", extra="ros").StreamReader

    class Reader(stream_reader):  # type: ignore[misc]
        def _read_record(self, opcode: int, length: int) -> Any:
            return super()._read_record(0 if opcode == _MESSAGE_INDEX else opcode, length)

    return Reader(file, emit_chunks=True, record_size_limit=limit)


def _inflated(chunk: Any) -> bytes:
    """Decompress a chunk to no more than it says, and no more than it may have."""
    size = chunk.uncompressed_size
    if size > MOST_BYTES:
        raise ImportFailed(f"it says that it holds {size} bytes")
    if chunk.compression == "zstd":
        zstandard = require("zstandard", extra="ros")
        if zstandard.frame_content_size(chunk.data) > size:
            raise ImportFailed("it holds more bytes than it says")
        data: bytes = zstandard.ZstdDecompressor().decompress(chunk.data, max_output_size=size)
    elif chunk.compression == "lz4":
        lz4 = require("lz4.frame", extra="ros")
        data = lz4.LZ4FrameDecompressor().decompress(chunk.data, max_length=size)
    elif chunk.compression:
        raise ImportFailed(f"compression {chunk.compression!r} is not read")
    else:
        data = chunk.data
    if len(data) != size:
        raise ImportFailed("it holds fewer bytes than it says")
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ImportFailed("its checksum does not fit")
    return data


def _refuse_crowded(data: bytes) -> None:
    """Walk the records of a chunk: opcode, length, content (MCAP specification, "Records")."""
    place = count = 0
    while place + 9 <= len(data):
        place += 9 + int.from_bytes(data[place + 1 : place + 9], "little")
        count += 1
        if count > MOST_RECORDS:
            raise ImportFailed(f"it holds more than {MOST_RECORDS:,} records")


@dataclass(slots=True)
class RosBag:
    """A rosbag2 database (`.db3`, or its folder) or a ROS 1 bag (`.bag`), opened by rosbags."""

    path: Path
    ros1: bool
    topics: list[Topic] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def messages(self) -> Iterator[Message]:
        """Yield the messages by time of arrival."""
        module = "rosbags.rosbag1" if self.ros1 else "rosbags.rosbag2"
        reader = require(module, extra="ros").Reader
        try:
            if (self.path / METADATA).is_file():  # before rosbags parses it, whatever it holds
                plain_yaml((self.path / METADATA).read_bytes(), where=METADATA)
            opened = reader(self.path)
            opened.open()
            _bound_unpacking(opened, ros1=self.ros1)
        except Exception as error:  # rosbags, apsw and yaml raise dozens of kinds
            raise _unreadable(self.path, error) from error
        try:
            topics = {
                (connection.topic, connection.msgtype): self._topic(connection)
                for connection in opened.connections
            }
            self.topics += topics.values()
            yield from self._read(opened, topics)
        finally:
            with suppress(Exception):  # of what it never understood, rosbags cannot let go
                opened.close()

    def blocks(self) -> Iterator[Message | Block]:
        """Yield the messages one by one."""
        yield from self.messages()

    def _read(self, opened: Any, topics: dict[tuple[str, str], Topic]) -> Iterator[Message]:
        messages = opened.messages()
        count = 0
        while True:
            try:
                connection, log_ns, data = next(messages)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001  rosbags, apsw and bz2 raise dozens
                reason = " ".join(str(error).split())[:120] or type(error).__name__
                self.broken.append(f"{self.path.name} breaks off after {count} messages: {reason}")
                return
            count += 1
            # SQLite keeps any kind of value in any column
            if isinstance(log_ns, int) and 0 <= log_ns < _LATEST_NS:
                topic = topics[connection.topic, connection.msgtype]
                content = b"" if isinstance(data, str | int | float | None) else bytes(data)
                yield Message(topic, log_ns, 0, content)

    def _topic(self, connection: Any) -> Topic:
        encoding = "ros1" if self.ros1 else connection.ext.serialization_format
        language = {"MSG": "ros2msg", "IDL": "ros2idl"}.get(connection.msgdef.format.name, "")
        text = connection.msgdef.data if language else ""
        return Topic(connection.topic, connection.msgtype, encoding, text, language)


def _bound_unpacking(opened: Any, *, ros1: bool) -> None:
    """Let rosbags unpack no chunk and read no message beyond `MOST_BYTES`."""
    if not ros1:
        for storage in getattr(opened.storage, "storages", [opened.storage]):
            if (base := getattr(storage, "dbconn", None)) is not None:
                base.limit(require("apsw", extra="ros").SQLITE_LIMIT_LENGTH, MOST_BYTES)
        return
    lz4 = require("lz4.frame", extra="ros")
    known = {bz2.decompress: bz2.BZ2Decompressor, lz4.decompress: lz4.LZ4FrameDecompressor}
    for place, chunk in opened.chunks.items():
        if chunk.datasize > MOST_BYTES:
            raise ImportFailed(f"a chunk has {chunk.datasize:,} bytes").with_hint(
                "record in smaller chunks: `rosbag record --chunksize`"
            )
        if (make := known.get(chunk.decompressor)) is not None:
            opened.chunks[place] = chunk._replace(decompressor=partial(_unpacked, make))


def _unpacked(make: Callable[[], Any], data: bytes) -> bytes:
    unpacker, plain = make(), b""
    while data:  # bzip2 data may be several streams, one behind the other
        more: bytes = unpacker.decompress(data, MOST_BYTES + 1 - len(plain))
        plain = plain + more if plain else more
        if len(plain) > MOST_BYTES:
            raise ImportFailed(f"a chunk holds more than {MOST_BYTES:,} bytes")
        if not unpacker.eof:
            raise ImportFailed("a chunk breaks off")
        data, unpacker = unpacker.unused_data or b"", make()
    return plain


def _unreadable(path: Path, error: Exception) -> DemosError:
    if isinstance(error, DemosError):
        return error
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    hint = "copy it again from its source"
    if "index" in reason.lower() and path.suffix == ".bag":
        hint = "run `rosbag reindex` on it, then import again"
    elif path.suffix != ".bag":
        hint = "run `ros2 bag reindex` on it, or copy it again from its source"
    return ImportFailed(f"{path.name} cannot be read as a bag: {reason}").with_hint(hint)


def open_bag(found: BagFiles, wanted: frozenset[str] = frozenset()) -> Bag:
    """Open a bag; of an MCAP file's attachments those that are wanted are kept."""
    for file in found.files:
        whole_file(found.root, file)
    if found.kind == "mcap":
        return McapBag(found.root, found.files, wanted)
    return RosBag(found.path, found.kind == "bag")
