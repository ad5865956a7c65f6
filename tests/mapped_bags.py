"""MCAP files of any encoding for tests, and mapping files beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from demos.importers import Found, Item, Options, Refused, Remark
from demos.importers.mapped import Mapped
from demos.model import Draft
from tests.ros_bags import MS, START_NS

Sent = tuple[str, float, Any]
"""A topic, when it was recorded (ms after the start), and its bytes, or what JSON can say."""


class Channel:
    """What a channel says of its messages: their encoding, and the type that defines them."""

    def __init__(self, encoding: str, kind: str = "x", language: str = "", schema: bytes = b""):
        self.encoding, self.kind, self.language, self.schema = encoding, kind, language, schema


JSON = Channel("json", "Anything", "jsonschema", b'{"type": "object"}')


class RosType:
    """A type of somebody's own, encoded by rosbags: `make` takes its fields by name."""

    def __init__(self, kind: str, text: str, *, ros1: bool = False) -> None:
        self.kind, self.text, self.ros1 = kind, text, ros1
        self.store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_FOXY)
        self.store.register(get_types_from_msg(text, kind))

    @property
    def channel(self) -> Channel:
        language = "ros1msg" if self.ros1 else "ros2msg"
        return Channel("ros1" if self.ros1 else "cdr", self.kind, language, self.text.encode())

    def make(self, kind: str | None = None, **fields: Any) -> Any:
        made: Any = self.store.types[kind or self.kind]
        return made(**fields)

    def data(self, message: Any) -> bytes:
        store = self.store
        encode = store.serialize_ros1 if self.ros1 else store.serialize_cdr
        return bytes(encode(message, self.kind))


def write_mcap(
    path: Path,
    channels: Mapping[str, Channel],
    sent: Sequence[Sent],
    *,
    metadata: Mapping[str, dict[str, str]] | None = None,
    late_ms: float = 0.0,
) -> Path:
    """Write messages; each is published `late_ms` before it is recorded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("", "test")
        numbers = {}
        for topic, channel in channels.items():
            schema = writer.register_schema(channel.kind, channel.language, channel.schema)
            numbers[topic] = writer.register_channel(topic, channel.encoding, schema)
        for topic, at_ms, told in sent:
            data = told if isinstance(told, bytes) else json.dumps(told).encode()
            log_ns = START_NS + round(at_ms * MS)
            writer.add_message(numbers[topic], log_ns, data, log_ns - round(late_ms * MS))
        for name, record in (metadata or {}).items():
            writer.add_metadata(name, record)
        writer.finish()
    return path


def told(root: Path, **changes: Any) -> Path:
    """Write a mapping file: the least one for the topic `/f` with a field `v`, changed."""
    least: dict[str, Any] = {
        "kind": "mapping",
        "version": 1,
        "title": "x",
        "files": ["*.mcap", "*.db3", "*.bag", "bag_*"],
        "clock": {"time": "log"},
        "streams": {"force": {"paths": ["/f.v"], "units": ["N"]}},
    }
    file = root / "rig.yaml"
    file.write_text(yaml.safe_dump({**least, **changes}, allow_unicode=True))
    return file


def items(file: Path, **options: Any) -> list[Item]:
    return list(Mapped().episodes(file, Options(**options)))


def only(file: Path, **options: Any) -> Draft:
    [item] = [each for each in items(file, **options) if not isinstance(each, Remark)]
    assert isinstance(item, Found), item
    return item.draft


def refused(file: Path, **options: Any) -> Refused:
    [item] = [each for each in items(file, **options) if not isinstance(each, Remark)]
    assert isinstance(item, Refused), item
    assert item.hint
    return item
