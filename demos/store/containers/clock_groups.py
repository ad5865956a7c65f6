"""Which streams lie together in one array, and how they are described to a stranger.

Streams with the very same stamps and the same kind of number form one array `[C, T]`, channel
after channel: neighbours in memory are then neighbours in time, which is what compresses.
Both containers store what `pack` returns and give it back to `unpacked`, so they are equal by
construction.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from demos.errors import Damaged, NewerVersion, SchemaMismatch
from demos.model import Nanoseconds, Stream, StreamInfo, Values
from demos.model.bulk import slabs
from demos.store.containers.quantisation import counts, values_of
from demos.store.packets import PER_IMAGE, PER_PACKET, PacketIndex

VERSION = 1
CHUNK_S = 60.0
CHUNK_BYTES = 2**28
IMAGE_CHUNK_BYTES = 2**22
CLOCK = ("time_ns", "source_time_ns", "arrival_ns")
ABOUT = (
    "Each stream is `rows` rows from `first_row` of its array [channel, time], transposed; "
    "arrays of higher rank are one stream, time first. Integers under `counts` are multiples of "
    "the stream's quantum: value = dtype(count * float64 quantum). Stamps are int64 nanoseconds "
    "since the episode's start. crc32c is of an array's little-endian bytes in C order."
)


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """One array as it lies in the file: C-contiguous, in chunks of one shape."""

    values: Values
    chunks: tuple[int, ...]
    dimensions: tuple[str, ...]


@dataclass(slots=True)
class _Packing:
    """What has been placed so far; lives during one `pack`."""

    arrays: dict[str, StoredArray] = field(default_factory=dict)
    clocks: dict[tuple[bytes | None, ...], int] = field(default_factory=dict)
    described: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, list[Values]] = field(default_factory=dict)
    chunk_samples: dict[str, int] = field(default_factory=dict)


def pack(
    streams: Mapping[str, Stream], packets: Mapping[str, PacketIndex]
) -> tuple[dict[str, Any], dict[str, StoredArray]]:
    """Arrange streams and packet indices into arrays by path, and describe them.

    Raises SchemaMismatch for values that are not booleans, integers or floats of up to 8 bytes.
    """
    packing = _Packing()
    described = {name: _place(packing, name, stream) for name, stream in streams.items()}
    for path in list(packing.rows):
        rows = packing.rows.pop(path)  # and with it their memory
        block = np.concatenate(rows) if len(rows) > 1 else rows[0]
        length = _chunk_length(block, packing.chunk_samples[path])
        chunks = (max(1, len(block)), length)
        packing.arrays[path] = StoredArray(block, chunks, ("channel", "time"))
    videos = {
        name: _describe_video(packing, number, index)
        for number, (name, index) in enumerate(packets.items())
    }
    contents: dict[str, Any] = {
        "format": "demos-signals",
        "version": VERSION,
        "about": ABOUT,
        "clocks": packing.described,
        "streams": described,
        "videos": videos,
        "crc32c": {path: crc32c(array.values) for path, array in packing.arrays.items()},
    }
    return contents, packing.arrays


def crc32c(values: Values) -> int:
    """Checksum an array's bytes in C order."""
    import google_crc32c

    frozen = np.ascontiguousarray(values)
    if frozen.flags.writeable:  # the C extension takes read-only buffers only
        frozen = frozen.view()
        frozen.flags.writeable = False
    checksum = 0
    for _, rows in slabs(np.atleast_1d(frozen)):
        checksum = google_crc32c.extend(checksum, rows)
    return checksum


def _place(packing: _Packing, name: str, stream: Stream) -> dict[str, Any]:
    dtype = stream.values.dtype.newbyteorder("<")
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise SchemaMismatch(
            f"stream {name!r} holds {dtype}; booleans, integers and floats up to 64 bits are kept"
        )
    clock = _clock(packing, stream)
    place: dict[str, Any] = {
        "info": stream.info.model_dump(mode="json"),
        "clock": clock,
        "dtype": dtype.name,
        "shape": list(stream.values.shape),
    }
    if stream.values.ndim > 2:
        path = f"clocks/{clock}/images_{len(packing.arrays)}"
        block = _contiguous(stream.values, dtype)
        per_chunk = IMAGE_CHUNK_BYTES // max(1, block[:1].nbytes)
        chunks = (max(1, min(len(block), per_chunk)), *(max(1, n) for n in block.shape[1:]))
        axes = tuple(f"axis_{n}" for n in range(1, block.ndim))
        packing.arrays[path] = StoredArray(block, chunks, ("time", *axes))
        return {**place, "array": path, "first_row": 0, "rows": len(block), "counts": False}
    whole = counts(stream.values, stream.info.quantum)
    block = _contiguous((stream.values if whole is None else whole).T)
    kind = dtype.name if whole is None else f"{dtype.name}_counts_{whole.dtype.name}"
    path = f"clocks/{clock}/{kind}"
    rows = packing.rows.setdefault(path, [])
    first = sum(len(earlier) for earlier in rows)
    rows.append(block)
    packing.chunk_samples[path] = _samples_per_chunk(stream.time_ns)
    return {
        **place,
        "array": path,
        "first_row": first,
        "rows": len(block),
        "counts": whole is not None,
    }


def _contiguous(values: Values, dtype: np.dtype[Any] | None = None) -> Values:
    """Copy to C order and little-endian: PCodec corrupts anything else without a word."""
    return np.ascontiguousarray(values, dtype=dtype or values.dtype.newbyteorder("<"))


def _clock(packing: _Packing, stream: Stream) -> int:
    stamps = [getattr(stream, name) for name in CLOCK]
    key = tuple(None if row is None else row.tobytes() for row in stamps)
    if key in packing.clocks:
        return packing.clocks[key]
    number = packing.clocks[key] = len(packing.clocks)
    entry: dict[str, Any] = {"samples": len(stream)}
    for name, row in zip(CLOCK, stamps, strict=True):
        entry[name] = None
        if row is not None:
            entry[name] = f"clocks/{number}/{name}"
            packing.arrays[entry[name]] = _line(row, "time")
    packing.described.append(entry)
    return number


def _line(values: Values, dimension: str) -> StoredArray:
    values = _contiguous(values)
    return StoredArray(values, (max(1, len(values)),), (dimension,))


def _samples_per_chunk(time_ns: Nanoseconds) -> int:
    """Split evenly into chunks of at most 60 s: the last is padded by a sample or so at most."""
    if len(time_ns) < 2:
        return 1
    span_s = (float(time_ns.max()) - float(time_ns.min())) / 1e9
    pieces = min(len(time_ns), max(1, int(np.ceil(span_s / CHUNK_S))))
    return -(-len(time_ns) // pieces)


def _chunk_length(block: Values, samples: int) -> int:
    most = max(1, CHUNK_BYTES // max(1, block[:, :1].nbytes))
    return int(max(1, min(samples, block.shape[1], most)))


def _describe_video(packing: _Packing, number: int, index: PacketIndex) -> dict[str, Any]:
    paths = {}
    for name in (*PER_IMAGE, *PER_PACKET):
        paths[name] = f"videos/{number}/{name}"
        dimension = "image" if name in PER_IMAGE else "packet"
        packing.arrays[paths[name]] = _line(getattr(index, name), dimension)
    return {
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "time_base": list(index.time_base),
        "extradata_base64": base64.b64encode(index.extradata).decode(),
        "colour": list(index.colour),
        "arrays": paths,
    }


Fetch = Callable[[str], Values]


def checked(contents: object, place: str) -> dict[str, Any]:
    """Return the description when it is one of ours and of a version that we read.

    Raises Damaged or NewerVersion.
    """
    if not isinstance(contents, dict) or contents.get("format") != "demos-signals":
        raise Damaged(f"{place} does not describe recorded streams")
    version = contents.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NewerVersion(
            f"{place} has signals version {version}; this release reads up to {VERSION}"
        ).with_hint("pip install --upgrade teleop-demos")
    if not all(isinstance(contents.get(k), dict) for k in ("streams", "videos", "crc32c")):
        raise Damaged(f"{place} has an incomplete description")
    return contents


def stream_of(contents: Mapping[str, Any], name: str, fetch: Fetch) -> Stream:
    """Rebuild one stream; `fetch` returns a whole array and keeps it for the next caller."""
    try:
        place = contents["streams"][name]
        block, dtype = fetch(place["array"]), np.dtype(place["dtype"])
        info = StreamInfo.model_validate(place["info"])
        if block.ndim == 2 and len(place["shape"]) == 2:
            block = block[place["first_row"] : place["first_row"] + place["rows"]]
            block = values_of(block, info.quantum, dtype) if place["counts"] else block
            values = block.T
        else:
            values = block
        if values.dtype != dtype or list(values.shape) != place["shape"]:
            raise Damaged(
                f"stream {name!r} is {values.dtype} {values.shape}, "
                f"described as {dtype} {tuple(place['shape'])}"
            )
        values.flags.writeable = False
        time_ns, source_time_ns, arrival_ns = stamps_of(contents, name, fetch)
        if time_ns is None:
            raise Damaged(f"stream {name!r} has no stamps")
        return Stream(time_ns, values, info, source_time_ns, arrival_ns)
    except (KeyError, IndexError, TypeError, ValidationError, SchemaMismatch) as error:
        raise Damaged(f"the description of stream {name!r} is not whole: {error}") from error


def stamps_of(contents: Mapping[str, Any], name: str, fetch: Fetch) -> list[Nanoseconds | None]:
    """Return the stamps of a stream: those of the episode, the device's own, those of arrival."""
    clock = contents["clocks"][contents["streams"][name]["clock"]]
    return [None if clock[key] is None else fetch(clock[key]) for key in CLOCK]


def packets_of(contents: Mapping[str, Any], name: str, fetch: Fetch) -> PacketIndex:
    """Rebuild the packet index of one video."""
    try:
        video = contents["videos"][name]
        arrays: dict[str, npt.NDArray[Any]] = {
            key: fetch(path) for key, path in video["arrays"].items()
        }
        return PacketIndex(
            **arrays,
            time_base=tuple(video["time_base"]),
            extradata=base64.b64decode(video["extradata_base64"], validate=True),
            codec=video["codec"],
            width=video["width"],
            height=video["height"],
            colour=tuple(video["colour"]),
        )
    except (KeyError, TypeError, ValueError, SchemaMismatch) as error:
        raise Damaged(f"the packet index of {name!r} is not whole: {error}") from error
