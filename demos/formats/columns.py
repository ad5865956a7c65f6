"""Parquet columns as arrays, and columns of words as the spans where a word holds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.files import plain_json


def numbers(column: Any, name: str) -> npt.NDArray[Any] | None:
    """Return a numeric `pyarrow.ChunkedArray` as (n, ...), or None where it holds words.

    The dtype is the source's own; scalars become (n, 1). Missing floats are NaN. Raises
    ImportFailed for rows of different length and for missing values that NaN cannot say.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, leaf = column.type, _leaf(column.type)
    if pa.types.is_binary(leaf) or pa.types.is_large_binary(leaf):
        raise _odd(name, "raw bytes, which are neither numbers nor words")
    if not (pa.types.is_floating(leaf) or pa.types.is_integer(leaf) or pa.types.is_boolean(leaf)):
        return None
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    flat = pa.chunked_array([_storage(chunk) for chunk in column.chunks], type=kind)
    rows, shape = len(flat), []
    while kind != leaf:
        if flat.null_count:
            raise _odd(name, "a row without values")
        widths = pc.unique(pc.list_value_length(flat))
        if len(widths) > 1:
            raise _odd(name, "rows of different length")
        shape.append(widths[0].as_py() if len(widths) else 0)
        kind, flat = kind.value_type, pc.list_flatten(flat)
    if flat.null_count and not pa.types.is_floating(leaf):
        raise _odd(name, f"{flat.null_count} missing values")
    values = flat.to_numpy()
    shape = shape or [1]
    if len(values) != rows * math.prod(shape):
        raise _odd(name, "rows of different length")
    return np.ascontiguousarray(values.reshape(rows, *shape))


def changes(values: Sequence[object]) -> list[tuple[int, Any]]:
    """Return (row, value) wherever a column of words takes a new value, as JSON can hold it."""
    found: list[tuple[int, Any]] = []
    previous: str | None = None
    for row, value in enumerate(values):
        plain = plain_json(value)
        text = json.dumps(plain, sort_keys=True)
        if text != previous:
            found.append((row, plain))
            previous = text
    return found


def _leaf(kind: Any) -> Any:
    import pyarrow as pa

    types = pa.types
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            kind = kind.value_type
        else:
            return kind


def _storage(chunk: Any) -> Any:
    import pyarrow as pa

    while isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    return chunk


def _odd(name: str, why: str) -> ImportFailed:
    return ImportFailed(f"column {name} has {why}").with_hint(
        "mend the column in the source, or leave it out there"
    )
