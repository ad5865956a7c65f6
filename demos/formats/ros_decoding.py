"""ROS messages of any type, decoded by the definition that the bag brings along.

rosbags parses a definition; what it would generate and run from it is not used, so that a bag of
strangers runs nothing here. CDR is laid out as in OMG's DDS-XTypes 1.3, section 7.4.3 (version 1),
ROS 1 as in `wiki.ros.org/ROS/Technical Overview`: little-endian, no gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demos.errors import ImportFailed
from demos.formats.ros_types import Topic, Types, parsed

_PLAIN, _NAMED, _ARRAY, _SEQUENCE = 1, 2, 3, 4
"""What rosbags calls the kinds of a field's description."""

_DTYPES = {"bool": "u1", "byte": "u1", "char": "u1", "float32": "f4", "float64": "f8"} | {
    f"{sign}int{8 * size}": f"{sign[:1] or 'i'}{size}"
    for sign in ("", "u")
    for size in (1, 2, 4, 8)
}
_CDR_HEADS = {b"\x00\x00": ">", b"\x00\x01": "<"}
_DEEPEST = 32

Description = tuple[int, Any]
Read = Callable[["_Bytes"], Any]


def ros_decoder(topic: Topic) -> Callable[[bytes], dict[str, Any]]:
    """Return what turns a message into its fields by name.

    Numbers keep their dtype (numpy scalars and (n,) arrays), messages become dicts, arrays of
    messages lists. Raises ImportFailed for a definition that is not there or not read; the
    decoder raises ImportFailed for bytes that do not fit it.
    """
    ros1 = topic.encoding == "ros1"
    usual = Types(ros1=ros1).store.fielddefs
    try:
        told = parsed(topic) if topic.definition.strip() else {}
    except Exception as error:  # rosbags' grammars raise a dozen kinds
        reason = " ".join(str(error).split())[:120]
        raise ImportFailed(f"the definition of {topic.kind} cannot be read: {reason}") from error
    read = _message(topic.kind, {**usual, **told}, ros1=ros1)

    def decode(data: bytes) -> dict[str, Any]:
        order = "<"
        if not ros1:
            if data[:2] not in _CDR_HEADS:
                raise ImportFailed("it is not encoded as CDR of version 1")
            order, data = _CDR_HEADS[data[:2]], data[4:]
        found: dict[str, Any] = read(_Bytes(data, order, aligned=not ros1))
        return found

    return decode


@dataclass(slots=True)
class _Bytes:
    """Bytes that are read from front to back."""

    data: bytes
    order: str
    aligned: bool
    place: int = 0

    def numbers(self, kind: str, count: int) -> Any:
        """Read so many numbers: (count,)."""
        dtype = np.dtype(self.order + _DTYPES[kind])
        if self.aligned and count:
            self.place += -self.place % dtype.itemsize
        end = self.place + count * dtype.itemsize
        if end > len(self.data):
            raise ImportFailed("it ends before its last field")
        found = np.frombuffer(self.data, dtype, count, self.place)
        self.place = end
        return found != 0 if kind == "bool" else found.astype(dtype.newbyteorder("="), copy=False)

    def count(self) -> int:
        """Read a length, which cannot be more than there are bytes left."""
        found = int(self.numbers("uint32", 1)[0])
        if found > len(self.data) - self.place:
            raise ImportFailed("it ends before its last field")
        return found

    def text(self) -> str:
        """Read a string, in CDR with a zero behind it."""
        count = self.count()
        found = self.data[self.place : self.place + count]
        self.place += count
        return found.rstrip(b"\0").decode() if self.aligned else found.decode()


def _message(kind: str, types: Mapping[str, Any], *, ros1: bool, above: int = 0) -> Read:
    if kind not in types:
        raise ImportFailed(f"the definition of {kind} is not in the bag")
    if above > _DEEPEST:
        raise ImportFailed(f"{kind} holds itself")
    fields = [
        (name, _field(description, types, ros1=ros1, above=above + 1))
        for name, description in types[kind][1]
    ]
    if not fields and not ros1:  # rosidl gives an empty message one byte
        fields = [("", lambda data: data.numbers("uint8", 1))]

    def read(data: _Bytes) -> dict[str, Any]:
        return {name: field(data) for name, field in fields}

    return read


def _field(description: Description, types: Mapping[str, Any], *, ros1: bool, above: int) -> Read:
    node, detail = int(description[0]), description[1]
    if node == _NAMED:
        return _message(detail, types, ros1=ros1, above=above)
    if node == _PLAIN:
        plain = _kind(detail)
        if plain == "string":
            return _Bytes.text
        return lambda data: data.numbers(plain, 1)[0]
    assert node in (_ARRAY, _SEQUENCE)
    inner, size = detail
    length: Callable[[_Bytes], int] = _Bytes.count if node == _SEQUENCE else lambda _: int(size)
    if int(inner[0]) == _PLAIN and (plain := _kind(inner[1])) != "string":
        return lambda data: data.numbers(plain, length(data))
    each = _field(inner, types, ros1=ros1, above=above)

    def read(data: _Bytes) -> list[Any]:
        count = length(data)
        if count > len(data.data):
            raise ImportFailed("it ends before its last field")
        return [each(data) for _ in range(count)]

    return read


def _kind(detail: Any) -> str:
    plain = str(detail[0])
    if plain != "string" and plain not in _DTYPES:
        raise ImportFailed(f"fields of type {plain} are not read")
    return plain
