"""Arrays of Zarr version 2, in a folder or a zip, read chunk by chunk without trusting them.

Zarr Storage Specification 2: `NAME/.zarray` is JSON, each chunk a file `NAME/0.0`. The zarr package
would read them too, but runs whatever codec a file names (`pickle` among them) and unpacks a
chunk to any size that it claims; here codecs are a short list, and a chunk has the size that its
array says or is refused.
"""

from __future__ import annotations

import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import held
from demos.formats.codecs import CODECS, JPEG_XL, LARGEST_CHUNK, jpeg_xl, unpacked
from demos.formats.files import file_within, json_value
from demos.model.bulk import give_back

ARRAY = ".zarray"
MOST_CHUNKS = 1_000_000
_COPY_AGAIN = "the file is damaged or was changed; copy it again from its source"
_DTYPE = re.compile(r"[<>|][biuf][1248]")


class Files(Protocol):
    """Where the files of a Zarr group lie."""

    def arrays(self, group: str) -> list[str]:
        """Name the arrays of a group, in order."""

    def has(self, place: str) -> bool:
        """Say whether there is such a file."""

    def read(self, place: str, most: int) -> bytes | None:
        """Return a file's bytes, None where there is none. Raises ImportFailed beyond `most`."""


class Folder:
    """A group that is a folder; what leads out of it is refused."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def arrays(self, group: str) -> list[str]:
        """Name the arrays of a group, in order."""
        folder = self.root / group
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        return [each.name for each in inside if (each / ARRAY).is_file()]

    def has(self, place: str) -> bool:
        """Say whether there is such a file."""
        return (self.root / place).exists()

    def read(self, place: str, most: int) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        if not self.has(place):
            return None
        path = file_within(self.root, place)
        if path.stat().st_size > most:
            raise _too_large(place, path.stat().st_size, most)
        return path.read_bytes()


class Zip:
    """A group that is a zip file, read in place and never unpacked to the disk."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self._files = {each.filename: each for each in archive.infolist() if not each.is_dir()}
        for name in self._files:
            parts = name.replace("\\", "/").split("/")
            if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise ImportFailed(
                    f"the zip names a file outside of itself: {name[:200]!r}"
                ).with_hint("such a zip is made to overwrite files; do not unpack it either")

    def arrays(self, group: str) -> list[str]:
        """Name the arrays of a group, in order."""
        found = (
            re.fullmatch(rf"{re.escape(group)}/([^/]+)/\.zarray", name) for name in self._files
        )
        return sorted(match[1] for match in found if match)

    def has(self, place: str) -> bool:
        """Say whether there is such a file."""
        return place in self._files

    def read(self, place: str, most: int) -> bytes | None:
        """Return a file's bytes, None where there is none; unpacked no further than `most`."""
        entry = self._files.get(place)
        if entry is None:
            return None
        if entry.file_size > most:
            raise _too_large(place, entry.file_size, most)
        try:
            with self.archive.open(entry) as file:
                content = file.read(most + 1)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError,
                NotImplementedError, ValueError) as error:  # fmt: skip
            raise ImportFailed(f"{place} cannot be read from the zip: {error}").with_hint(
                _COPY_AGAIN
            ) from error
        if len(content) > most:
            raise _too_large(place, len(content), most)
        return content


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """Open a group: a folder, or a zip file that is one. Raises ImportFailed."""
    if path.is_dir():
        yield Folder(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        raise ImportFailed(f"{path.name} is not a whole zip file: {error}").with_hint(
            _COPY_AGAIN
        ) from error
    with archive:
        yield Zip(archive)


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """One array: what `.zarray` says, checked."""

    files: Files
    place: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    separator: str
    fill: Any
    compressor: Mapping[str, Any] | None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def name(self) -> str:
        """The last part of its place."""
        return self.place.rpartition("/")[2]

    def rows(self, start: int, end: int) -> npt.NDArray[Any]:
        """Read the rows [start, end): (end - start, *shape[1:]). Raises ImportFailed."""
        if not 0 <= start <= end <= len(self):
            raise ImportFailed(f"{self.place} has {len(self)} rows, {end} are asked for").with_hint(
                "the episodes and the arrays are not of one dataset; copy it again"
            )
        spans = [range(start // self.chunks[0], (end - 1) // self.chunks[0] + 1)]
        spans += [range(-(-s // c)) for s, c in zip(self.shape[1:], self.chunks[1:], strict=True)]
        if (many := math.prod(map(len, spans))) > MOST_CHUNKS:
            raise ImportFailed(f"{self.place} is cut into {many:,} chunks").with_hint(
                "write it anew in larger chunks"
            )
        out = held.room(self.place, (end - start, *self.shape[1:]), self.dtype)
        for numbers in product(*spans) if start < end else ():
            chunk = self._chunk(numbers)
            if chunk is None:
                chunk = np.broadcast_to(self.dtype.type(self.fill), self.chunks)
            here = [n * c for n, c in zip(numbers, self.chunks, strict=True)]
            first, last = max(here[0], start), min(here[0] + self.chunks[0], end)
            inner = [slice(h, min(h + c, s)) for h, c, s in
                     zip(here[1:], self.chunks[1:], self.shape[1:], strict=True)]  # fmt: skip
            cut = [slice(0, each.stop - each.start) for each in inner]
            part = chunk[(slice(first - here[0], last - here[0]), *cut)]
            out[(slice(first - start, last - start), *inner)] = part
            give_back(out)
        return out

    def batches(self, start: int, end: int) -> Iterator[npt.NDArray[Any]]:
        """Read the rows [start, end) a row of chunks at a time."""
        while start < end:
            stop = min((start // self.chunks[0] + 1) * self.chunks[0], end)
            yield self.rows(start, stop)
            start = stop

    def absent(self, start: int, end: int) -> int:
        """Count the rows of chunks within [start, end) that are no file: `fill` stands in."""
        rest = (0,) * (len(self.shape) - 1)
        numbers = range(start // self.chunks[0], -(-end // self.chunks[0]))
        return sum(not self.files.has(self._file((n, *rest))) for n in numbers)

    def _file(self, numbers: Sequence[int]) -> str:
        return f"{self.place}/{self.separator.join(map(str, numbers))}"

    def _chunk(self, numbers: Sequence[int]) -> npt.NDArray[Any] | None:
        size = math.prod(self.chunks) * self.dtype.itemsize
        place = self._file(numbers)
        content = self.files.read(place, size + size // 8 + 65_536)
        if content is None:
            return None
        if self.compressor and self.compressor.get("id") == JPEG_XL:
            return jpeg_xl(content, place, self.chunks)
        plain = unpacked(content, self.compressor, size, place)
        chunk = np.frombuffer(plain, self.dtype)
        return chunk.reshape(self.chunks, order="F" if self.order == "F" else "C")


def open_array(files: Files, place: str) -> Array:
    """Read what `.zarray` says. Raises ImportFailed for what is not read here."""
    content = files.read(f"{place}/{ARRAY}", 1_000_000)
    if content is None:
        raise ImportFailed(f"there is no array {place}").with_hint(_COPY_AGAIN)
    plain = json_value(content, f"{place}/{ARRAY}")
    said = plain if isinstance(plain, dict) else {}
    if said.get("zarr_format") != 2:
        raise ImportFailed(f"{place} is not of Zarr version 2").with_hint(
            "write the dataset with zarr_format=2, as diffusion policy does"
        )
    shape, chunks = _lengths(said.get("shape")), _lengths(said.get("chunks"))
    if shape is None or chunks is None or len(shape) != len(chunks) or not shape or 0 in chunks:
        raise ImportFailed(f"{place} has no sensible shape and chunks").with_hint(_COPY_AGAIN)
    kind = said.get("dtype")
    if not isinstance(kind, str) or not _DTYPE.fullmatch(kind) or kind[1:] in ("b2", "b4", "f1"):
        raise ImportFailed(f"{place} holds {str(kind)[:60]}, not numbers").with_hint(
            "only whole numbers, floats and truth values are read; objects are never unpickled"
        )
    dtype = np.dtype(kind)
    fill = _fill(said.get("fill_value"), dtype, place)
    if math.prod(chunks) * dtype.itemsize > LARGEST_CHUNK:
        raise _too_large(f"a chunk of {place}", math.prod(chunks) * dtype.itemsize, LARGEST_CHUNK)
    compressor = said.get("compressor")
    odd = _codecs(said.get("filters"))
    name = compressor.get("id") if isinstance(compressor, dict) else ""
    if compressor is not None and not (isinstance(name, str) and name in CODECS):
        odd += _codecs(compressor)
    if odd:
        raise ImportFailed(f"{place} is packed with {', '.join(odd)}, which is not read").with_hint(
            f"only {', '.join(filter(None, CODECS))} without filters are read; write it anew"
        )
    separator = "/" if said.get("dimension_separator") == "/" else "."
    order = "F" if said.get("order") == "F" else "C"
    return Array(files, place, shape, chunks, dtype, order, separator, fill, compressor)


def _codecs(said: object) -> list[str]:
    """Name the codecs of a compressor or of filters, whatever stands there."""
    if said is None or said == []:
        return []
    parts = said if isinstance(said, list) else [said]
    return [str(each.get("id") if isinstance(each, dict) else each)[:60] for each in parts]


def _fill(value: object, dtype: np.dtype[Any], place: str) -> Any:
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            return dtype.type(value if isinstance(value, str | int | float) else 0)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImportFailed(f"{place} has no sensible fill value: {error}").with_hint(
            _COPY_AGAIN
        ) from error


def _lengths(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > 8:
        return None
    whole = [each for each in value if type(each) is int and 0 <= each < 2**40]
    return tuple(whole) if len(whole) == len(value) else None


def _too_large(what: str, size: int, most: int) -> ImportFailed:
    return ImportFailed(f"{what} has {size:,} bytes, at most {most:,} are read").with_hint(
        "it is not what such a dataset holds; if it is, write it in smaller parts"
    )
