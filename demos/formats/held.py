"""How much of a foreign source is held in memory at once: bounded, whatever it declares.

Numbers that stand in a table are held in memory, and all that an episode holds at one moment
count together; images lie in a file. What an episode needs besides (converted, packed, compared
after writing) is about three times its numbers, so that an import stays below 1 GB.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.model import Values
from demos.model.bulk import in_a_file

MOST_BYTES = 200_000_000
"""What the tables of an episode may have: 8 minutes of position, velocity and effort of 29 joints
at 500 Hz in float64, or two hours of 100 joints at 30 Hz."""

MOST_IMAGE_BYTES = 2**33
"""What one array of images may have: 8 minutes of 480x640 depth at 30 Hz."""

MOST_COLUMNS = 2**16
"""What a table may have, as each column gets a name."""

_SMALL = 2**22
_numbers = itertools.count()
_sizes: ContextVar[dict[int, int]] = ContextVar("_sizes", default={})  # noqa: B039 (outside of all)


@contextmanager
def episode() -> Iterator[None]:
    """Count anew inside: what somebody keeps of other episodes is none of this one's."""
    before = _sizes.set({})
    try:
        yield
    finally:
        _sizes.reset(before)


def room(what: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Values:
    """Make an array to read numbers into: in memory, of images in a file. Its content is open.

    Raises ImportFailed where too much would be held.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if len(shape) > 2 and size > _SMALL:
        bounded(what, size, MOST_IMAGE_BYTES)
        return in_a_file(shape, dtype)
    if len(shape) == 2:
        few_columns(what, shape[1])
    bounded(what, size + sum(list(_sizes.get().values())), MOST_BYTES)
    return counted(np.empty(shape, dtype))


def counted(values: Values) -> Values:
    """Let an array count as held until nobody needs it."""
    sizes, number = _sizes.get(), next(_numbers)
    sizes[number] = values.nbytes
    weakref.finalize(values, sizes.pop, number)
    return values


def bounded(what: str, size: int, most: int = MOST_BYTES) -> None:
    """Raise ImportFailed where numbers of a source would take more than `most` bytes."""
    if size > most:
        raise ImportFailed(
            f"{what} is too large: {size / 1e6:,.0f} MB of numbers would be held, "
            f"{most / 1e6:,.0f} are the most"
        ).with_hint("split the recording into shorter episodes")


def few_columns(what: str, columns: int) -> None:
    """Raise ImportFailed where a table has more columns than `MOST_COLUMNS`."""
    if columns > MOST_COLUMNS:
        raise ImportFailed(
            f"{what} has {columns:,} columns, {MOST_COLUMNS:,} channels are the most"
        ).with_hint("write what is no list of channels with three axes or more")
