"""Signals as one Zarr v3 hierarchy in an uncompressed zip: PCodec for numbers, crc32c for chunks.

We write and read the chunks ourselves. zarr-python costs 0.6 to 5 ms per opened array and
reads a missing chunk as zeros; both are avoided while any Zarr v3 reader still opens the file
(a test does). Written with fixed dates and order: the same streams give the same bytes.
"""

from __future__ import annotations

import itertools
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from pydantic_core import from_json

from demos.errors import Damaged
from demos.model import Values
from demos.model.bulk import give_back
from demos.store.containers.clock_groups import StoredArray
from demos.store.containers.seal import BLANK, seal

LEVEL = 8
ZSTD_LEVEL = 3
PCODEC = {np.dtype(f"{kind}{size}") for kind in "iuf" for size in (2, 4, 8)}
ROOT = "zarr.json"
LOCAL_HEADER = struct.Struct("<4s5H3L2H")


def write_file(
    file: IO[bytes], contents: Mapping[str, Any], arrays: Mapping[str, StoredArray]
) -> None:
    """Write the whole hierarchy; nothing is compressed by the zip itself."""
    nodes: dict[str, dict[str, Any]] = {}
    for path, array in arrays.items():
        for depth in range(1, path.count("/") + 1):
            nodes.setdefault("/".join(path.split("/")[:depth]), _group({}))
        nodes[path] = _array_metadata(array)
    # sorted: zarr-python 3.1 loses siblings that do not follow each other here
    nodes = dict(sorted(nodes.items()))
    root = _group({"demos": contents})
    root["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": nodes,
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, ROOT, _json(root))
        for path, node in nodes.items():
            _add(archive, f"{path}/zarr.json", _json(node))
        for path, array in arrays.items():
            for key, chunk in _encoded(path, array):
                _add(archive, key, chunk)
        archive.comment = BLANK
    seal(file)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o100644 << 16
    archive.writestr(info, data)


def _group(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def _array_metadata(array: StoredArray) -> dict[str, Any]:
    dtype = array.values.dtype
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.values.shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": {"b": False, "f": 0.0}.get(dtype.kind, 0),
        "codecs": _codecs(array),
        "dimension_names": list(array.dimensions),
        "attributes": {},
        "storage_transformers": [],
    }


def _codecs(array: StoredArray) -> list[dict[str, Any]]:
    dtype, images = array.values.dtype, array.values.ndim > 2
    if dtype in PCODEC and not images:
        # one page a channel: modes and deltas are then chosen for each channel by itself
        page = min(array.chunks[-1], 2**18)
        pcodec = {"level": LEVEL, "delta_spec": "auto", "equal_pages_up_to": page}
        return [{"name": "numcodecs.pcodec", "configuration": pcodec}, {"name": "crc32c"}]
    order = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if dtype.itemsize == 1:
        order = [{"name": "bytes"}]
    blosc = {
        "cname": "zstd",
        "clevel": ZSTD_LEVEL,
        "shuffle": "bitshuffle" if images else "shuffle",
        "typesize": dtype.itemsize,
        "blocksize": 0,
    }
    return [*order, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]


def _grid(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True)))


def _region(cell: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, chunks, strict=True))


def _key(path: str, cell: tuple[int, ...]) -> str:
    return "/".join((path, "c", *map(str, cell)))


def _encoded(path: str, array: StoredArray) -> Iterator[tuple[str, bytes]]:
    import google_crc32c

    codecs = _codecs(array)
    for cell in _grid(array.values.shape, array.chunks):
        part = array.values[_region(cell, array.chunks)]
        if part.shape != array.chunks:  # Zarr pads the last chunk; repeat, as that costs nothing
            widths = [(0, c - n) for n, c in zip(part.shape, array.chunks, strict=True)]
            part = np.pad(part, widths, mode="edge")
        data = numcodec(codecs).encode(np.ascontiguousarray(part))
        give_back(array.values)
        data = bytes(data)
        yield _key(path, cell), data + google_crc32c.value(data).to_bytes(4, "little")


def numcodec(codecs: list[dict[str, Any]]) -> Any:
    """Return the numcodecs object behind our two pipelines; refuse any other."""
    names = [codec["name"] for codec in codecs]
    if names == ["numcodecs.pcodec", "crc32c"]:
        from numcodecs.pcodec import PCodec

        return PCodec(**codecs[0]["configuration"])
    if names == ["bytes", "blosc", "crc32c"]:
        from numcodecs.blosc import Blosc

        settings = codecs[1]["configuration"]
        shuffle = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}[settings["shuffle"]]
        return Blosc(cname=settings["cname"], clevel=settings["clevel"], shuffle=shuffle)
    raise Damaged(f"an array is coded by {', '.join(names)}, which we never write")


@dataclass(frozen=True, slots=True)
class ZarrZip:
    """One opened signals file: where each entry lies. Holds no descriptor, so it pickles."""

    path: Path
    contents: Mapping[str, Any]
    metadata: Mapping[str, Mapping[str, Any]]
    entries: Mapping[str, tuple[int, int]]
    trusted: ClassVar[bool] = True  # crc32c of the coded bytes is compared with every read

    @classmethod
    def open(cls, path: Path) -> ZarrZip:
        """Read the zip's directory and the root's metadata; no chunk is touched."""
        with zipfile.ZipFile(path) as archive:
            entries = {}
            for info in archive.infolist():
                stored = info.compress_type == zipfile.ZIP_STORED
                if not stored or info.compress_size != info.file_size or info.flag_bits & 1:
                    raise Damaged(f"{path.name}: entry {info.filename!r} is not stored plainly")
                if info.filename in entries:
                    raise Damaged(f"{path.name}: entry {info.filename!r} is there twice")
                entries[info.filename] = (info.header_offset, info.file_size)
            if ROOT not in entries:
                raise Damaged(f"{path.name} has no {ROOT}: it is not a Zarr v3 hierarchy")
            root = from_json(archive.read(ROOT))
        metadata = root["consolidated_metadata"]["metadata"]
        return cls(path, root["attributes"]["demos"], metadata, entries)

    def read(self, array: str) -> Values:
        """Read and decode a whole array. A chunk that is not there is damage, never zeros."""
        node = self.metadata[array]
        shape, dtype = tuple(node["shape"]), np.dtype(node["data_type"])
        whole: Values | None = None
        for region, part in self.parts(array):
            if part.shape == shape:
                return part
            whole = np.empty(shape, dtype) if whole is None else whole
            whole[region] = part
        return np.empty(shape, dtype) if whole is None else whole

    def parts(self, array: str) -> Iterator[tuple[tuple[slice, ...], Values]]:
        """Decode an array chunk by chunk: (where it lies, its numbers)."""
        node = self.metadata[array]
        shape = tuple(node["shape"])
        chunks = tuple(node["chunk_grid"]["configuration"]["chunk_shape"])
        dtype, codec = np.dtype(node["data_type"]), numcodec(node["codecs"])
        cells = list(_grid(shape, chunks))
        missing = [key for key in (_key(array, cell) for cell in cells) if key not in self.entries]
        if missing:
            raise Damaged(f"{self.path.name}: chunk {missing[0]} is missing")
        with self.path.open("rb") as file:
            for cell in cells:
                part = self._chunk(file.fileno(), array, cell, codec, dtype, chunks)
                region = _region(cell, chunks)
                inside = zip(region, shape, strict=True)
                yield region, part[tuple(slice(min(r.stop, n) - r.start) for r, n in inside)]

    def _chunk(
        self,
        descriptor: int,
        array: str,
        cell: tuple[int, ...],
        codec: Any,
        dtype: np.dtype[Any],
        chunks: tuple[int, ...],
    ) -> Values:
        import google_crc32c

        key = _key(array, cell)
        data = self._entry(descriptor, key)
        body, stated = data[:-4], data[-4:]
        if google_crc32c.value(body).to_bytes(4, "little") != stated:
            raise Damaged(f"{self.path.name}: chunk {key} fails its checksum")
        values = np.frombuffer(codec.decode(body), dtype)
        if values.size != prod(chunks):
            raise Damaged(f"{self.path.name}: chunk {key} holds {values.size} numbers")
        return values.reshape(chunks)

    def _entry(self, descriptor: int, key: str) -> bytes:
        offset, size = self.entries[key]
        header = os.pread(descriptor, LOCAL_HEADER.size, offset)
        if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise Damaged(f"{self.path.name}: entry {key} has lost its place in the zip")
        names = sum(LOCAL_HEADER.unpack(header)[-2:])
        data = os.pread(descriptor, size, offset + LOCAL_HEADER.size + names)
        if len(data) != size:
            raise Damaged(f"{self.path.name}: entry {key} is cut short")
        return data

    def problems(self) -> Iterator[str]:
        """Compare the listing with what it must be, and every entry with its zip checksum."""
        expected = {ROOT, *(f"{path}/zarr.json" for path in self.metadata)}
        for path, node in self.metadata.items():
            if node["node_type"] == "array":
                chunks = node["chunk_grid"]["configuration"]["chunk_shape"]
                expected |= {
                    _key(path, cell) for cell in _grid(tuple(node["shape"]), tuple(chunks))
                }
        for name in sorted(expected - set(self.entries)):
            yield f"entry {name} is missing"
        for name in sorted(set(self.entries) - expected):
            yield f"entry {name} does not belong here"
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                try:
                    data = archive.read(info)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                    yield f"entry {info.filename} cannot be read: {error}"
                    continue
                owner, separator, _ = info.filename.rpartition("/zarr.json")
                if separator and json.loads(data) != self.metadata.get(owner):
                    yield f"entry {info.filename} disagrees with the root's copy of it"
