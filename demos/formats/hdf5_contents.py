"""What a foreign HDF5 file holds as a whole, and the files that were put into it as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from demos.errors import ImportFailed
from demos.formats import hdf5

MOST_NODES = 10_000

_COPY_AGAIN = "the file is damaged or cut short; copy it again from its source"


def leaves(file: Any, place: str = "") -> list[str]:
    """List the paths of all datasets at and below a group, at most ten groups deep.

    Raises ImportFailed where there are more than `MOST_NODES`: groups may hold one another.
    """
    found: list[str] = []
    waiting, looked = [(place.strip("/"), 10)], 0
    while waiting:
        here, depth = waiting.pop()
        looked += 1
        if looked > MOST_NODES:
            raise ImportFailed(
                f"more than {MOST_NODES} groups and datasets lie in the file"
            ).with_hint(_COPY_AGAIN)
        if hdf5.has(file, here):
            found.append(here)
        elif depth:
            inside = hdf5.names(file, here or "/")
            waiting += [(f"{here}/{name}".lstrip("/"), depth - 1) for name in reversed(inside)]
    return found


def blob(file: Any, place: str) -> bytes:
    """Read bytes kept as one opaque value, or one by one as numbers of 0 to 255."""
    found = hdf5.dataset(file, place)
    if found.dtype.kind in "iu" and found.ndim == 1:
        numbers = hdf5.array(file, place)
        if numbers.size and (numbers.min() < 0 or numbers.max() > 255):
            raise ImportFailed(f"{place} holds numbers that are no bytes").with_hint(_COPY_AGAIN)
        return numbers.astype(np.uint8).tobytes()
    if found.dtype.kind != "V" or found.dtype.fields or found.size != 1:
        raise ImportFailed(f"{place} holds {found.dtype}, not bytes").with_hint(_COPY_AGAIN)
    if found.dtype.itemsize > hdf5.MOST_BYTES:
        raise ImportFailed(
            f"{place} has {found.dtype.itemsize / 1e6:.0f} MB, {hdf5.MOST_BYTES / 1e6:.0f} are read"
        ).with_hint("split the recording into shorter ones")
    try:
        return bytes(np.asarray(found[()]).tobytes())
    except Exception as error:  # h5py raises dozens of kinds on damaged files
        raise ImportFailed(f"{place} cannot be read: {error}").with_hint(_COPY_AGAIN) from error
