"""The two containers of signals, equal in content: write, open, check.

A signals file is written whole and never changed. Opening it reads the description only;
arrays are decoded whole on first use and kept. No descriptor stays open, so a container can
be pickled and used after a fork.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from demos.errors import Damaged, DemosError, StoreError, UnknownName
from demos.model import Nanoseconds, Stream, StreamInfo, Values
from demos.model.bulk import give_back
from demos.store.containers import seal
from demos.store.containers.clock_groups import (
    checked,
    crc32c,
    pack,
    packets_of,
    stamps_of,
    stream_of,
)
from demos.store.lazy import Lazy
from demos.store.packets import PacketIndex

__all__ = ["Container", "Kind", "check", "open", "write"]

Kind = Literal["zarr", "hdf5"]


def _backend(kind: Kind) -> Any:
    if kind == "zarr":
        from demos.store.containers import zarr_zip

        return zarr_zip.ZarrZip, zarr_zip.write_file
    if kind == "hdf5":
        from demos.store.containers import hdf5

        return hdf5.Hdf5, hdf5.write_file
    raise UnknownName.among("container", kind, ("zarr", "hdf5"))


def write(
    path: Path, kind: Kind, streams: Mapping[str, Stream], packets: Mapping[str, PacketIndex]
) -> None:
    """Write a signals file whole, read it back and compare every bit; the caller syncs it.

    Never overwrites. Raises StoreError where the disk refuses, where the file exists, or where
    what is read back differs; nothing is left behind then.
    """
    try:
        with path.open("x+b") as file:
            _backend(kind)[1](file, *pack(streams, packets))
    except FileExistsError as error:
        raise StoreError(f"{path} is there already; signals are never overwritten") from error
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}").with_hint(
            "check free space and permissions, then try again"
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    try:
        _verify(path, kind, streams, packets)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _verify(
    path: Path, kind: Kind, streams: Mapping[str, Stream], packets: Mapping[str, PacketIndex]
) -> None:
    with open(path, kind) as written:
        for name, stream in streams.items():
            if not _same(stream, name, written):
                raise StoreError(
                    f"{path.name}: stream {name!r} reads back differently from what was written"
                ).with_hint("this is a defect of a codec: try the other container and report it")
        for name, index in packets.items():
            if not index.equals(written.packets[name]):
                raise StoreError(f"{path.name}: the packet index of {name!r} reads back otherwise")


def _same(given: Stream, name: str, written: Container) -> bool:
    clocks = zip(
        (given.time_ns, given.source_time_ns, given.arrival_ns), written.stamps(name), strict=True
    )
    if not all(a is b if a is None or b is None else _same_bits(a, b) for a, b in clocks):
        return False
    if given.values.ndim < 3 or not given.values.size:
        read = written.streams[name]
        return given.info == read.info and _same_bits(given.values, read.values)
    rows = 0
    for first, part in written.images(name):
        if first != rows or not _same_bits(given.values[first : first + len(part)], part):
            return False
        rows += len(part)
        give_back(given.values)
    return rows == len(given) and given.info == written.info(name)


def _same_bits(given: Values, read: Values) -> bool:
    given = given.astype(given.dtype.newbyteorder("="), copy=False)
    if given.dtype != read.dtype or given.shape != read.shape:
        return False
    if given.dtype.kind != "f":
        return np.array_equal(given, read)
    bits = np.dtype(f"u{given.dtype.itemsize}")
    given, read = (np.ascontiguousarray(array.T).view(bits) for array in (given, read))
    return np.array_equal(given, read)


def open(path: Path, kind: Kind) -> Container:
    """Open a signals file: streams and packet indices are listed now, decoded on first use.

    Raises Damaged, or NewerVersion for a file of a later release.
    """
    return Container(path, kind)


def check(path: Path, kind: Kind) -> list[str]:
    """Read every byte, verify every checksum, decode everything; say what is wrong and where."""
    try:
        container = open(path, kind)
    except DemosError as error:
        return [str(error)]
    return list(dict.fromkeys(container.problems()))


class Container:
    """One opened signals file: `streams` and `packets`, decoded on first use and kept."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self.kind = path, kind
        self._arrays: dict[str, Values] = {}
        with _only_our_errors(path):
            self._file = _backend(kind)[0].open(path)
            self._contents = checked(self._file.contents, path.name)
        self.streams: Mapping[str, Stream] = Lazy("stream", self._contents["streams"], self._stream)
        self.packets: Mapping[str, PacketIndex] = Lazy(
            "video", self._contents["videos"], self._packets
        )

    def __reduce__(self) -> tuple[type[Container], tuple[Path, Kind]]:
        return Container, (self.path, self.kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def info(self, name: str) -> StreamInfo:
        """Return what a stream means, without decoding it."""
        return StreamInfo.model_validate(self._contents["streams"][name]["info"])

    def stamps(self, name: str) -> list[Nanoseconds | None]:
        """Return the stamps of a stream: the episode's, the device's own, those of arrival."""
        return stamps_of(self._contents, name, self._array)

    def images(self, name: str) -> Iterator[tuple[int, Values]]:
        """Decode a stream of images a few at a time, as not all may fit: (first row, rows)."""
        path = self._contents["streams"][name]["array"]
        with _only_our_errors(self.path, path):
            yield from ((region[0].start, part) for region, part in self._file.parts(path))

    def close(self) -> None:
        """Forget what was decoded; arrays that are still in use stay valid."""
        self._arrays.clear()
        for decoded in (self.streams, self.packets):
            if isinstance(decoded, Lazy):
                decoded.forget()

    def problems(self) -> Iterator[str]:
        """Yield what is wrong: with the bytes, the listing, each array, each stream and video."""
        try:
            with _only_our_errors(self.path):
                if (broken := seal.problem(self.path)) is not None:
                    yield f"{self.path.name}: {broken}"
                yield from (f"{self.path.name}: {found}" for found in self._file.problems())
        except DemosError as error:
            yield str(error)
        parts: list[tuple[Callable[[str], object], Iterable[str]]] = [
            (self._compare, self._contents["crc32c"]),
            (self.streams.__getitem__, self.streams),
            (self.packets.__getitem__, self.packets),
        ]
        for read, names in parts:
            for name in names:
                try:
                    read(name)
                except DemosError as error:
                    yield str(error)

    def _stream(self, name: str) -> Stream:
        return stream_of(self._contents, name, self._array)

    def _packets(self, name: str) -> PacketIndex:
        return packets_of(self._contents, name, self._array)

    def _array(self, path: str) -> Values:
        if path not in self._arrays:
            with _only_our_errors(self.path, path):
                values: Values = self._file.read(path)
                if not values.flags.c_contiguous:
                    values = np.ascontiguousarray(values)
                values.flags.writeable = False
                if not self._file.trusted:
                    self._compare(path, values)
            self._arrays[path] = values
        return self._arrays[path]

    def _compare(self, path: str, values: Values | None = None) -> None:
        values = self._array(path) if values is None else values
        if crc32c(values) != self._contents["crc32c"][path]:
            raise Damaged(f"{self.path.name}: array {path} is not what was written")


@contextlib.contextmanager
def _only_our_errors(path: Path, place: str = "") -> Iterator[None]:
    where = f"{path.name}: {place}" if place else path.name
    hint = "restore the file from a copy; `demos verify STORE --deep` lists what else is hurt"
    try:
        yield
    except DemosError as error:
        if isinstance(error, Damaged) and not error.hint:
            error.with_hint(hint)
        raise
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing").with_hint(hint) from error
    except PermissionError as error:
        raise StoreError(f"{path} may not be read").with_hint("check its permissions") from error
    except Exception as error:  # zipfile, h5py, json and the codecs raise dozens of kinds
        raise Damaged(f"{where} cannot be read: {error}").with_hint(hint) from error
