"""Arrays that would fill the memory: kept in a file, walked through a few rows at a time.

What is read of a mapped file counts as memory of the process until it is given back.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from demos.model.episode import Values

SLAB_BYTES = 2**22


def in_a_file(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Values:
    """Make an array of zeros that lies in a nameless file of the temporary folder.

    The file is gone with the last array that looks at it. Raises OSError where it cannot be made.
    """
    with tempfile.TemporaryFile(prefix="demos-bulk-") as file:
        return np.memmap(file, np.dtype(dtype), "w+", shape=shape)


def slabs(values: Values) -> Iterator[tuple[int, Values]]:
    """Yield (first row, rows) in order, about 4 MB a time, each given back when the next is."""
    row = values[:1].nbytes
    many = max(SLAB_BYTES // max(row, 1), 1)
    for first in range(0, len(values), many):
        yield first, values[first : first + many]
        give_back(values)


def give_back(values: Values) -> None:
    """Give back the memory of what was read of or written to a mapped file; nothing is lost.

    Does nothing for arrays in memory, and for those of which a change would be lost.
    """
    base: object = values
    shared = False
    while isinstance(base, np.ndarray):
        shared = shared or (isinstance(base, np.memmap) and base.mode in ("r", "r+", "w+"))
        base = base.base
    if shared and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
