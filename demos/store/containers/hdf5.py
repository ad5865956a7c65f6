"""Signals as HDF5: the same arrays under the same paths, open to every h5py user.

gzip, shuffle and Fletcher-32 are part of every HDF5 build; PCodec bytes would be smaller and
readable to nobody. The v110 format gives object headers checksums of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from demos.errors import Damaged
from demos.model import Values
from demos.model.bulk import slabs
from demos.store.containers.clock_groups import StoredArray
from demos.store.containers.seal import BLANK, seal
from demos.store.hdf5_disk import Disk

GZIP_LEVEL = 4
CHANNELS_PER_CHUNK = 16


def write_file(
    file: IO[bytes], contents: Mapping[str, Any], arrays: Mapping[str, StoredArray]
) -> None:
    """Write every array as one dataset and the description as the root's attribute `demos`.

    Images go a few at a time: all of them may be more than the memory.
    """
    import h5py

    with (
        Disk(file.fileno()) as disk,
        h5py.File(disk, "w", libver=("v110", "v110"), track_order=False) as root,
    ):
        described = json.dumps(contents, allow_nan=False)
        root.attrs["demos"] = described
        root.attrs["demos_crc32c"] = _crc32c(described)
        for path, array in arrays.items():
            filters = {}
            if array.values.size:
                chunks = array.chunks
                if array.values.ndim == 2:
                    chunks = (min(CHANNELS_PER_CHUNK, chunks[0]), chunks[1])
                filters = {
                    "chunks": chunks,
                    "compression": "gzip",
                    "compression_opts": GZIP_LEVEL,
                    "shuffle": True,
                    "fletcher32": True,
                }
            shape, dtype = array.values.shape, array.values.dtype
            dataset = root.create_dataset(path, shape, dtype, track_times=False, **filters)
            if array.values.ndim < 3 and array.values.size:
                dataset[...] = array.values
            for first, rows in slabs(array.values) if array.values.ndim > 2 else ():
                dataset[first : first + len(rows)] = rows
            for number, dimension in enumerate(array.dimensions):
                dataset.dims[number].label = dimension
        root.close()
        disk.check()
    file.seek(0, 2)
    file.write(BLANK)
    seal(file)


def _crc32c(text: str) -> int:
    import google_crc32c

    return int(google_crc32c.value(text.encode()))


@dataclass(frozen=True, slots=True)
class Hdf5:
    """One signals file, opened anew for every array: no descriptor is held, so it pickles."""

    path: Path
    contents: Mapping[str, Any]
    trusted: ClassVar[bool] = False  # Fletcher-32 takes 0x0000 for 0xffff

    @classmethod
    def open(cls, path: Path) -> Hdf5:
        """Read the description; no dataset is touched."""
        import h5py

        with h5py.File(path, "r", locking=False) as root:
            described = root.attrs["demos"]
            if not isinstance(described, str) or _crc32c(described) != root.attrs["demos_crc32c"]:
                raise Damaged(f"{path.name}: the description fails its checksum")
        return cls(path, json.loads(described))

    def read(self, array: str) -> Values:
        """Read and decode a whole dataset."""
        import h5py

        with h5py.File(self.path, "r", locking=False) as root:
            dataset = root[array]
            values = np.empty(dataset.shape, dataset.dtype)
            if values.size:
                dataset.read_direct(values)
        return values

    def parts(self, array: str) -> Iterator[tuple[tuple[slice, ...], Values]]:
        """Decode a dataset a row of chunks at a time: (where it lies, its numbers)."""
        import h5py

        with h5py.File(self.path, "r", locking=False) as root:
            dataset = root[array]
            many = dataset.chunks[0] if dataset.chunks else max(len(dataset), 1)
            for first in range(0, len(dataset), many):
                yield (slice(first, first + many),), dataset[first : first + many]

    def problems(self) -> Iterator[str]:
        """Compare the datasets with those that the description names."""
        import h5py

        found: set[str] = set()
        with h5py.File(self.path, "r", locking=False) as root:
            root.visititems(
                lambda name, node: found.add(name) if isinstance(node, h5py.Dataset) else None
            )
        expected = set(self.contents["crc32c"])
        for name in sorted(expected - found):
            yield f"dataset {name} is missing"
        for name in sorted(found - expected):
            yield f"dataset {name} does not belong here"
