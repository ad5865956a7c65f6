"""Messages of a bag, decoded as their channel defines them, and what lies in them by path.

ROS (1 and 2, any type), JSON and protobuf. A decoded message is a mapping of fields; in it lie
mappings, lists, numbers, texts and bytes. A path is `pose.position.x`, `values[3]`, `q[0:7]`
(elements 0 to 6, as in Python) or `joints[:].position` (of each element).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed, require
from demos.formats.ros_decoding import ros_decoder
from demos.formats.ros_types import Topic

Step = str | int | slice
Decode = Callable[[bytes], Mapping[str, Any]]

PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
"""Nanoseconds in a unit of time."""

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]|\[(-?\d+)?:(-?\d+)?\]")
_SECONDS = ("sec", "secs", "seconds")
_NANOSECONDS = ("nanosec", "nsec", "nsecs", "nanos")
_PROTOBUF = {1: "f8", 2: "f4", 3: "i8", 4: "u8", 5: "i4", 6: "u8", 7: "u4", 8: "?", 13: "u4",
             14: "i4", 15: "i4", 16: "i8", 17: "i4", 18: "i8"}  # fmt: skip
"""The dtype of a protobuf field by its type's number in descriptor.proto; an enum is a number."""


class Lacking(ImportFailed):
    """A message has no such field."""


def decoder(topic: Topic) -> Decode:
    """Return what decodes the messages of a topic.

    Raises ImportFailed for an encoding or a definition that is not read, MissingExtra where the
    library is not installed. The decoder raises dozens of kinds for damaged bytes.
    """
    if topic.encoding in ("cdr", "ros1"):
        return ros_decoder(topic)
    if topic.encoding == "json":
        return _json
    if topic.encoding == "protobuf":
        return _protobuf(topic)
    raise ImportFailed(f"messages in {topic.encoding or 'no encoding'} are not read").with_hint(
        "known are ROS messages, JSON and protobuf"
    )


def steps_of(path: str) -> tuple[Step, ...]:
    """Take a path within a message apart; empty for the whole message. Raises ImportFailed."""
    found: list[Step] = []
    place = 0
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            raise ImportFailed(f"{path!r} is no path within a message").with_hint(
                "write it as pose.position.x, values[3], q[0:7] or joints[:].position"
            )
        name, index, first, last = match.groups()
        if name is not None:
            found.append(name)
        elif index is not None:
            found.append(int(index))
        else:
            found.append(slice(int(first) if first else None, int(last) if last else None))
        place = match.end()
    return tuple(found)


def at(node: Any, steps: Sequence[Step]) -> Any:
    """Return what lies at a path in a message. Raises Lacking where nothing does."""
    for number, step in enumerate(steps):
        if isinstance(step, str):
            if not isinstance(node, Mapping):
                raise Lacking(f"{step!r} is asked of {_what(node)}")
            if step not in node:
                raise Lacking(f"no field {step!r}; there are {', '.join(node) or 'none'}")
            node = node[step]
            continue
        if not isinstance(node, Sequence | np.ndarray) or isinstance(node, str | bytes):
            raise Lacking(f"an element is asked of {_what(node)}")
        if isinstance(step, int):
            if not -len(node) <= step < len(node):
                raise Lacking(f"element {step} is asked of {len(node)}")
            node = node[step]
        elif rest := steps[number + 1 :]:
            return [at(each, rest) for each in node[step]]
        else:
            node = node[step]
    return node


def vector(value: Any) -> npt.NDArray[Any]:
    """Return the numbers that lie at a path: (n,), in the message's dtype; JSON's are float64.

    null becomes NaN, true 1. Raises Lacking where there are no numbers.
    """
    if isinstance(value, Mapping):
        raise Lacking(f"it holds no numbers but the fields {', '.join(value)}: name one of them")
    try:
        if not isinstance(value, np.ndarray | np.generic):
            parts = value if isinstance(value, list) else [value]
            typed = bool(parts) and isinstance(parts[0], np.ndarray | np.generic)
            truth = bool(parts) and all(isinstance(each, bool) for each in parts)
            value = np.asarray(value, None if typed else bool if truth else np.float64)
        found = np.ravel(value)
    except (ValueError, TypeError) as error:
        raise Lacking(f"it holds {_what(value)}, not numbers") from error
    if found.dtype == np.bool_:
        return found.astype(np.uint8)
    if found.dtype.kind not in "iuf":
        raise Lacking(f"it holds {_what(value)}, not numbers")
    return found


def moment_ns(value: Any, unit: str) -> int:
    """Return a stamp in ns: a ROS or protobuf time, or a number in `unit`. Raises Lacking."""
    if isinstance(value, Mapping):
        seconds = next((value[name] for name in _SECONDS if name in value), None)
        rest = next((value[name] for name in _NANOSECONDS if name in value), None)
        if seconds is None or rest is None:
            raise Lacking(f"it holds no time but the fields {', '.join(value)}")
        return int(seconds) * PER_UNIT["s"] + int(rest)
    factor = PER_UNIT[unit]
    try:
        if isinstance(value, str | int | np.integer) and not isinstance(value, bool):
            return int(value) * factor
        # the whole part by itself: seconds since 1970 in ns do not fit into float64
        whole = int(np.floor(float(value)))
        return whole * factor + round((float(value) - whole) * factor)
    except (ValueError, TypeError, OverflowError) as error:
        raise Lacking(f"it holds {_what(value)}, not a stamp in {unit}") from error


def raw_bytes(value: Any) -> bytes:
    """Return the bytes that lie at a path; of JSON, what the base64 text stands for."""
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if isinstance(value, np.ndarray) and value.dtype == np.uint8:
            return value.tobytes()
        if isinstance(value, bytes | list):
            return bytes(value)
    except (ValueError, TypeError) as error:
        raise Lacking(f"it holds {_what(value)}, not bytes") from error
    raise Lacking(f"it holds {_what(value)}, not bytes")


def _what(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} numbers"
    names = {str: "text", dict: "fields", list: "a list", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def _json(data: bytes) -> Mapping[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise Lacking(f"it is {_what(found)}, not an object")
    return found


def _protobuf(topic: Topic) -> Decode:
    """Build the type from the descriptors in the bag, as the MCAP registry says they lie there."""
    pools = require("google.protobuf.descriptor_pool", extra="ros")
    factory = require("google.protobuf.message_factory", extra="ros")
    descriptors = require("google.protobuf.descriptor_pb2", extra="ros")
    try:
        pool = pools.DescriptorPool()
        left = list(descriptors.FileDescriptorSet.FromString(topic.schema).file)
        known: set[str] = set()
        while left:
            ready = [each for each in left if known.issuperset(each.dependency)]
            for each in ready or left:
                pool.Add(each)
                known.add(each.name)
            left = [each for each in left if each not in ready] if ready else []
        made = factory.GetMessageClass(pool.FindMessageTypeByName(topic.kind))
    except DemosError:
        raise
    except Exception as error:  # protobuf raises TypeError, KeyError, DecodeError and others
        reason = " ".join(str(error).split())[:120]
        raise ImportFailed(f"the definition of {topic.kind} cannot be read: {reason}") from error
    return lambda data: _Fields(made.FromString(data))


class _Fields(Mapping[str, Any]):
    """A protobuf message as a mapping; a message that is not set is no field of it."""

    def __init__(self, message: Any) -> None:
        self._message = message
        self._fields = message.DESCRIPTOR.fields_by_name

    def __getitem__(self, name: str) -> Any:
        field = self._fields[name]
        value = getattr(self._message, name)
        if isinstance(value, Mapping):
            raise Lacking(f"{name!r} is a map, which is not read")
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        if field.message_type is not None:
            if listed:
                return [_Fields(each) for each in value]
            if not self._message.HasField(name):
                raise KeyError(name)
            return _Fields(value)
        if field.type not in _PROTOBUF:
            return list(value) if listed else value
        dtype = np.dtype(_PROTOBUF[field.type])
        return np.array(value, dtype) if listed else dtype.type(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        field = self._fields.get(name)
        if field is None:
            return False
        alone = field.message_type is not None and field.has_presence
        return not alone or bool(self._message.HasField(name))
