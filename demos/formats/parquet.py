"""Read parquet files of a foreign folder a few rows at a time, or say why that cannot be.

A column of equal values is a few bytes in the file and any size in memory, so what is read is
counted as it comes. Raises ImportFailed, always with a hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demos.errors import ImportFailed
from demos.formats import held
from demos.formats.files import whole_file

MOST_ROWS = 200_000
"""What a table of metadata may have, of which each row becomes Python objects."""

_FEW, _MANY = 16, 65_536
_COPY_AGAIN = "the file is damaged or cut short; copy it again from its source"


def parquet_table(
    root: Path, place: str, episode: int | None = None, *, keep: Callable[[str], bool] | None = None
) -> Any:
    """Read a parquet file as a `pyarrow.Table`; of one episode only, where `episode` is given."""
    import pyarrow as pa

    with _opened(root, place) as file:
        names = [name for name in file.schema_arrow.names if keep is None or keep(name)]
        schema = pa.schema(
            [(name, _spelt_out(file.schema_arrow.field(name).type)) for name in names]
        )
        batches, size = [], 0
        for batch in _batches(file, names, episode):
            size += batch.nbytes
            held.bounded(place, size)
            batches.append(batch)
        return pa.Table.from_batches(batches, schema).combine_chunks()


def parquet_cells(root: Path, place: str, name: str, episode: int | None = None) -> Iterator[Any]:
    """Yield the cells of one column as plain values, few of them in memory at a time."""
    with _opened(root, place) as file:
        if name not in file.schema_arrow.names:
            raise ImportFailed(f"{place} has no column {name}").with_hint(_COPY_AGAIN)
        for batch in _batches(file, [name], episode):
            yield from batch.column(name).to_pylist()


def parquet_rows(
    root: Path, place: str, keep: Callable[[str], bool] | None = None
) -> list[dict[str, Any]]:
    """Read the rows of a small parquet file as plain values, columns chosen by name."""
    table = parquet_table(root, place, keep=keep)
    if table.num_rows > MOST_ROWS:
        raise ImportFailed(
            f"{place} has {table.num_rows:,} rows, {MOST_ROWS:,} are the most"
        ).with_hint("split the dataset into smaller ones")
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise ImportFailed(f"{place} holds values that cannot be read: {error}").with_hint(
            _COPY_AGAIN
        ) from error
    return rows


def rows_of(table: Any, episode: int) -> Any:
    """Pick the rows of one episode from a table or a batch. Raises ImportFailed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "episode_index" not in table.schema.names:
        raise ImportFailed("there is no column episode_index").with_hint(_COPY_AGAIN)
    column = table.column("episode_index")
    if not pa.types.is_integer(column.type):
        raise ImportFailed(f"the column episode_index holds {column.type}").with_hint(_COPY_AGAIN)
    return table.filter(pc.equal(column, episode))


@contextmanager
def _opened(root: Path, place: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = whole_file(root, place)
    try:
        # not memory-mapped: a file that shrinks under a map kills the process; not buffered
        # beforehand: that holds all of the file that was ever read
        with pq.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=2**20) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ImportFailed):
            raise
        reason = " ".join(str(error).split())[:200].replace(str(path), place)
        raise ImportFailed(f"{place} is not a whole parquet file: {reason}").with_hint(
            _COPY_AGAIN
        ) from error


def _batches(file: Any, names: Sequence[str], episode: int | None) -> Iterator[Any]:
    """Yield rows in small batches, of one episode where it is given; texts may be long."""
    import pyarrow as pa

    schema = file.schema_arrow
    long = any(_is_long(schema.field(name).type) for name in names)
    asked = [*names]
    if episode is not None and "episode_index" not in names:
        asked.append("episode_index")
    groups = list(range(file.metadata.num_row_groups))
    if episode is not None:
        groups = [group for group in groups if _may_hold(file.metadata.row_group(group), episode)]
    for batch in file.iter_batches(_FEW if long else _MANY, row_groups=groups, columns=asked):
        if episode is not None:
            batch = rows_of(batch, episode)
        columns = [batch.column(name) for name in names]
        # a dictionary has each text once; its rows would have it again and again
        columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in columns]
        yield pa.RecordBatch.from_arrays(columns, list(names))


def _spelt_out(kind: Any) -> Any:
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_long(kind: Any) -> bool:
    """Say whether a value may be of any length: it is no number nor a list of numbers."""
    import pyarrow as pa

    types = pa.types
    while types.is_fixed_size_list(kind):
        kind = kind.value_type
    return not (types.is_primitive(kind) or types.is_null(kind))


def _may_hold(group: Any, episode: int) -> bool:
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == "episode_index" and column.is_stats_set:
            told = column.statistics
            return not told.has_min_max or bool(told.min <= episode <= told.max)
    return True
