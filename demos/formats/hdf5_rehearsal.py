"""Look through a foreign HDF5 file in a process that may end, before `hdf5` opens it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from demos.errors import DemosError
from demos.formats import hdf5

_MOST_CPU_S = 15
"""Damaged heaps keep libhdf5 busy for ever."""


def rehearse(path: str) -> None:
    """Touch whatever an importer may touch, and print the datasets' paths as a JSON list.

    For a process of its own. What raises is left for the importer to meet; what ends the process
    or makes it grow beyond bounds must end this one.
    """
    import h5py

    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (8 * hdf5.MOST_BYTES, 8 * hdf5.MOST_BYTES))
        seconds = _MOST_CPU_S + Path(path).stat().st_size // 10_000_000
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found: list[str] = []
    with suppress(Exception), h5py.File(path, "r", locking=False) as file:
        _walk(file, found)
    print(json.dumps(found[: hdf5.MOST_LISTED]))


def _walk(file: Any, found: list[str]) -> None:
    """Visit each object once, however often it is linked."""
    import h5py

    seen, waiting = set(), [""]
    while waiting:
        place = waiting.pop()
        with suppress(DemosError):
            hdf5.attributes(file, place)
        with suppress(Exception):
            address = h5py.h5o.get_info(hdf5.node_at(file, place).id).addr
            if address in seen:
                continue
            seen.add(address)
        with suppress(DemosError):
            waiting += [f"{place}/{name}".lstrip("/") for name in reversed(hdf5.names(file, place))]
        with suppress(Exception):
            if hdf5.has(file, place):
                found.append(place)
                _touch(file, place)


def _touch(file: Any, place: str) -> None:
    import h5py

    node = hdf5.dataset(file, place)
    if h5py.check_string_dtype(node.dtype) is not None:
        hdf5.texts(file, place)
    elif hdf5.is_ragged(node):
        for _ in hdf5.byte_rows(file, place):
            pass
    elif node.chunks:
        node.id.get_num_chunks()
