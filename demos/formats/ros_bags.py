"""ROS bags opened: the messages of MCAP files, of rosbag2 databases, and of ROS 1 bags.

Messages come one by one, in the order of the file. A bag that breaks off gives what it holds
until there and says so in `broken`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from demos.errors import DemosError, ImportFailed, require
from demos.formats.files import whole_file
from demos.formats.ros_blocks import Block, Message, Place, blocks, placed, records
from demos.formats.ros_types import Topic

MAGIC_MCAP = b"\x89MCAP0\r\n"
MAGIC_ROS1 = b"#ROSBAG V2.0"
METADATA = "metadata.yaml"
MOST_BYTES = 2**29
"""Of one chunk, record or attachment: a damaged length must not fill the memory."""

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
        kind, language, text = "", "", ""
        if (schema := schemas.get(channel.schema_id)) is not None:
            kind, language = schema.name, schema.encoding
        if schema is not None and language in _LANGUAGES:
            text = schema.data.decode(errors="replace")
            kind = kind.replace("/", "/msg/") if kind.count("/") == 1 else kind
        topic = Topic(
            channel.topic, kind, channel.message_encoding, text, language, dict(channel.metadata)
        )
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
            opened = reader(self.path)
            opened.open()
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
            if 0 <= log_ns < _LATEST_NS:
                topic = topics[connection.topic, connection.msgtype]
                yield Message(topic, log_ns, 0, bytes(data))

    def _topic(self, connection: Any) -> Topic:
        encoding = "ros1" if self.ros1 else connection.ext.serialization_format
        language = {"MSG": "ros2msg", "IDL": "ros2idl"}.get(connection.msgdef.format.name, "")
        text = connection.msgdef.data if language else ""
        return Topic(connection.topic, connection.msgtype, encoding, text, language)


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


def bag_metadata(folder: Path) -> dict[str, Any]:
    """Read what `metadata.yaml` says of a rosbag2 folder; empty where it says nothing of one."""
    import yaml

    try:
        with (folder / METADATA).open("rb") as file:
            told = yaml.safe_load(file.read(MOST_BYTES))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    about = told.get("rosbag2_bagfile_information") if isinstance(told, dict) else None
    return about if isinstance(about, dict) else {}


def storage_of(folder: Path) -> str:
    """Return the storage that a rosbag2 folder names (`mcap`, `sqlite3`); empty for none."""
    try:
        if not (folder / METADATA).is_file():
            return ""
        with (folder / METADATA).open("rb") as file:
            head = file.read(65536)
    except (OSError, ValueError):
        return ""
    named = re.search(rb"storage_identifier:\s*[\"']?(\w+)", head)
    return named[1].decode() if named and b"rosbag2_bagfile_information" in head else ""


def begins_with(path: Path, magic: Sequence[bytes]) -> bool:
    """Say whether a file begins with one of some bytes; False for whatever cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(max(len(each) for each in magic))
    except (OSError, ValueError):
        return False
    return any(head.startswith(each) for each in magic)
