"""tf.train.Example and tf.train.SequenceExample, read and written without TensorFlow or protobuf.

The messages are few and frozen (tensorflow/core/example/example.proto and feature.proto):
`Example {Features features = 1}`, `SequenceExample {Features context = 1; FeatureLists lists = 2}`,
and below them two maps to `Feature {oneof: BytesList = 1, FloatList = 2, Int64List = 3}`. They are
read by the rules of the wire format (protobuf.dev, "Encoding"), strictly: a field that the
messages do not have is an error. Values are views of the record's own bytes, nothing is copied;
the protobuf package would make a Python object of every number and every image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import held

MOST_VALUES = 500_000
"""What one key may hold of texts and images, each of which becomes an object."""

_WINDOW = 2**22
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
Feature = npt.NDArray[np.float32] | npt.NDArray[np.int64] | list[memoryview]
"""Floats or whole numbers (n,), or n byte strings."""


@dataclass(frozen=True, slots=True)
class Example:
    """One record: features by key, and for a SequenceExample a list of features per key."""

    features: Mapping[str, Feature]
    lists: Mapping[str, list[Feature]]


def parse(content: bytes) -> Example:
    """Parse one record. Raises ImportFailed for anything that is not an Example."""
    features: dict[str, Feature] = {}
    lists: dict[str, list[Feature]] = {}
    for number, part in _messages(memoryview(content), {1, 2}):
        if number == 1:
            features |= {key: _feature(value) for key, value in _map(part)}
        else:
            for key, value in _map(part):
                lists[key] = [_feature(each) for _, each in _messages(value, {1})]
    return Example(features, lists)


def serialise(
    features: Mapping[str, Sequence[float] | Sequence[bytes] | npt.NDArray[Any]],
) -> bytes:
    """Write an Example: byte strings, whole numbers or floats by key."""
    entries = b""
    for key, values in features.items():
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            kind, inner = 2, _field(1, values.astype("<f4").tobytes())
        elif isinstance(values, np.ndarray):
            packed = b"".join(_varint(int(v) & 0xFFFFFFFFFFFFFFFF) for v in values.reshape(-1))
            kind, inner = 3, _field(1, packed)
        else:
            kind, inner = 1, b"".join(_field(1, bytes(v)) for v in values)  # type: ignore[arg-type]
        entry = _field(1, key.encode()) + _field(2, _field(kind, inner))
        entries += _field(1, entry)
    return _field(1, entries)


def _map(view: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Walk a message whose field 1 is a map: entries with a key (1) and a value (2)."""
    for _, entry in _messages(view, {1}):
        key, value = "", memoryview(b"")
        for number, part in _messages(entry, {1, 2}):
            if number == 1:
                try:
                    key = bytes(part).decode()
                except UnicodeDecodeError as error:
                    raise _odd("a key that is no text") from error
            else:
                value = part
        yield key, value


def _feature(view: memoryview) -> Feature:
    found: Feature = []
    for number, part in _messages(view, {1, 2, 3}):
        if number == 1:
            found = [value for _, value in islice(_messages(part, {1}), MOST_VALUES + 1)]
            if len(found) > MOST_VALUES:
                raise _odd(f"more than {MOST_VALUES:,} texts or images under one key")
        else:
            found = _floats(part) if number == 2 else _wholes(part)
    return found


def _floats(view: memoryview) -> npt.NDArray[np.float32]:
    parts = []
    for _, wire, part in _fields(view, {1}):
        if wire not in (LENGTH, FIXED32) or len(part) % 4:
            raise _odd("a list of floats that is none")
        parts.append(np.frombuffer(part, "<f4"))
    return _joined(parts, np.dtype(np.float32))


def _wholes(view: memoryview) -> npt.NDArray[np.int64]:
    parts = []
    for _, wire, part in _fields(view, {1}):
        if wire not in (LENGTH, VARINT):
            raise _odd("a list of whole numbers that is none")
        parts.append(_varints(part))
    return _joined(parts, np.dtype(np.int64))


def _joined(parts: list[npt.NDArray[Any]], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, kind), *parts])


def _varints(view: memoryview) -> npt.NDArray[np.int64]:
    """Decode packed varints: 7 bits a byte, lowest first, the last without bit 8."""
    raw = np.frombuffer(view, np.uint8)
    if not len(raw):
        return np.zeros(0, np.int64)
    if raw[-1] >= 128:
        raise _odd("a whole number that breaks off")
    values = held.room("a list of whole numbers", (int(np.count_nonzero(raw < 128)),), np.int64)
    place = done = 0
    while place < len(raw):
        window = raw[place : place + _WINDOW]
        ends = np.flatnonzero(window < 128)
        if not len(ends):
            raise _odd("a whole number of more than 64 bits")
        values[done : done + len(ends)] = _decoded(window, ends)
        done, place = done + len(ends), place + int(ends[-1]) + 1
    return values


def _decoded(raw: npt.NDArray[np.uint8], ends: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Decode the varints that end at `ends`, the first of which begins at 0."""
    starts = np.r_[0, ends[:-1] + 1]
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise _odd("a whole number of more than 64 bits")
    values = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        chosen = np.flatnonzero(lengths > place)
        bits = (raw[starts[chosen] + place] & 127).astype(np.uint64)
        values[chosen] |= bits << np.uint64(7 * place)
    return values.view(np.int64)


def _messages(view: memoryview, known: set[int]) -> Iterator[tuple[int, memoryview]]:
    for number, wire, part in _fields(view, known):
        if wire != LENGTH:
            raise _odd(f"field {number} of wire type {wire}")
        yield number, part


def _fields(view: memoryview, known: set[int]) -> Iterator[tuple[int, int, memoryview]]:
    """Walk the fields of a message: number, wire type, and the bytes of the value."""
    place, end = 0, len(view)
    while place < end:
        tag, place = _read_varint(view, place)
        number, wire = tag >> 3, tag & 7
        if number not in known:
            raise _odd(f"a field {number}, which it does not have")
        first = place
        if wire == VARINT:
            _, place = _read_varint(view, place)
        elif wire == LENGTH:
            length, first = _read_varint(view, place)
            place = first + length
        elif wire in (FIXED64, FIXED32):
            place += 8 if wire == FIXED64 else 4
        else:
            raise _odd(f"wire type {wire}")
        if place > end:
            raise _odd(f"a field of {place - first} bytes, {end - first} are there")
        yield number, wire, view[first:place]


def _read_varint(view: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            raise _odd("a number that breaks off")
        byte = view[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise _odd("a number of more than 64 bits")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _odd(why: str) -> ImportFailed:
    return ImportFailed(f"the record is no tf.train.Example: it has {why}").with_hint(
        "the record is damaged, or was written by another program than TensorFlow Datasets"
    )
