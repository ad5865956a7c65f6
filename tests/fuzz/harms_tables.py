"""What happens to tables: parquet columns of other kinds and of far too many rows, SQLite views."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# ------------------------------------------------------------------ parquet


def _written(path: Path, table: Any) -> None:
    pq.write_table(table, path)


def column_odd(path: Path, rng: Random, canary: Path) -> None:
    """Put a column of another kind in place of one or two."""
    table = pq.read_table(path)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(table.num_columns)
        table = table.set_column(at, table.column_names[at], _odd(table, at, rng, canary))
    _written(path, table)


def _odd(table: Any, at: int, rng: Random, canary: Path) -> Any:
    rows, column = table.num_rows, table.column(at)
    odd: list[Any] = [
        pa.nulls(rows),
        pa.array([float("nan")] * rows),
        pa.array([float("inf")] * rows, pa.float32()),
        pa.array([2**62] * rows),
        pa.array([-1] * rows),
        pa.array([b"\xff\xfe"] * rows),
        pa.array([f"../{canary.name}"] * rows),
        pa.array([[f"../../{canary.name}", str(canary)]] * rows),
        pa.array([{"path": str(canary), "bytes": None}] * rows),
        pa.array([{"path": f"../{canary.name}", "bytes": None}] * rows),
        pa.array([{"bytes": b"\x89PNG", "path": None}] * rows),
        pa.array([[1.0] * n for n in range(rows)]),
        pa.array([[]] * rows, pa.list_(pa.float32())),
        pa.array([None, *[[1.0]] * (rows - 1)] if rows else [], pa.list_(pa.float32())),
        pa.array([0] * rows, pa.timestamp("ns")),
        pa.array([[[1]] * 2] * rows),
        pa.array([True] * rows),
        pa.array(["x"] * rows).dictionary_encode(),
        pa.chunked_array([pa.array(column.to_pylist()[::-1], column.type)]),
    ]
    return rng.choice(odd)


def columns_lost(path: Path, rng: Random, canary: Path) -> None:
    table = pq.read_table(path)
    names = rng.sample(table.column_names, rng.randrange(table.num_columns))
    _written(path, table.select(names))


def columns_swapped(path: Path, rng: Random, canary: Path) -> None:
    table = pq.read_table(path)
    names = list(table.column_names)
    one, other = rng.sample(range(len(names)), 2)
    names[one], names[other] = names[other], names[one]
    _written(path, table.rename_columns(names))


def column_twice(path: Path, rng: Random, canary: Path) -> None:
    table = pq.read_table(path)
    at = rng.randrange(table.num_columns)
    _written(path, table.append_column(table.column_names[at], table.column(at)))


def rows_repeated(path: Path, rng: Random, canary: Path) -> None:
    table = pq.read_table(path)
    rows = [rng.randrange(table.num_rows) for _ in range(rng.randrange(30))]
    _written(path, table.take(pa.array(rows, pa.int64())))


def rows_without_number(path: Path, rng: Random, canary: Path) -> None:
    """Add a column of very many equal rows, which are nothing in the file; or long texts."""
    table = pq.read_table(path)
    rows = rng.choice([30_000_000, 100_000_000])
    name = rng.choice(table.column_names)
    if rng.random() < 0.3:
        rows = 3000
        text = pa.array(["x" * 500_000])
        column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), text)
    else:
        column = pa.chunked_array([pa.array([0] * 1_000_000, rng.choice([pa.int64(), pa.int8()]))]
                                  * (rows // 1_000_000))  # fmt: skip
    others = [each for each in table.column_names if each != name][:2]
    zeros = pa.array([0] * 1_000_000 if rows >= 1_000_000 else [0] * rows, pa.int32())
    more = {each: pa.chunked_array([zeros] * (rows // len(zeros))) for each in others}
    made = pa.table({name: column, **more})
    pq.write_table(made, path, compression="zstd", data_page_size=2**16)


PARQUET: tuple[Callable[[Path, Random, Path], None], ...] = (
    column_odd, column_odd, column_odd, column_odd, columns_lost, columns_swapped, column_twice,
    rows_repeated, rows_without_number,
)  # fmt: skip

# ------------------------------------------------------------------ SQLite


def _rows(path: Path) -> tuple[Any, list[tuple[str, str]]]:
    base = sqlite3.connect(path)
    tables = [name for (name,) in base.execute("select name from sqlite_master where type='table'")]
    columns = []
    for table in tables:
        columns += [(table, row[1]) for row in base.execute(f"pragma table_info({table})")]
    return base, columns


def cell_odd(path: Path, rng: Random, canary: Path) -> None:
    """Put odd values into columns of the database."""
    base, columns = _rows(path)
    odd: list[Any] = [None, "", -1, 2**62, -(2**63), 1e300, b"\xff", "x" * 5000, "/tf",
                      f"../{canary.name}", b"\0" * 100, "sensor_msgs/msg/Image", "cdr", "json",
                      b"\0\1\0\0" + b"\xff" * 60]  # fmt: skip
    with closing(base):
        for _ in range(rng.randint(1, 3)):
            table, column = rng.choice(columns)
            every = "1" if rng.random() < 0.5 else "rowid % 3 = 0"
            base.execute(f"update {table} set {column} = ? where {every}", (rng.choice(odd),))
        base.commit()


def cells_swapped(path: Path, rng: Random, canary: Path) -> None:
    """Exchange the messages of topics, or what the topics are."""
    base, columns = _rows(path)
    with closing(base):
        table, column = rng.choice(columns)
        rows = base.execute(f"select rowid, {column} from {table}").fetchall()
        values = [value for _, value in rows]
        rng.shuffle(values)
        for (rowid, _), value in zip(rows, values, strict=True):
            base.execute(f"update or ignore {table} set {column} = ? where rowid = ?",
                         (value, rowid))  # fmt: skip
        base.commit()


def cells_flipped(path: Path, rng: Random, canary: Path) -> None:
    """Flip bits within messages; the database stays whole."""
    base, _columns = _rows(path)
    with closing(base):
        rows = base.execute("select rowid, data from messages").fetchall()
        for rowid, data in rng.sample(rows, min(len(rows), 6)):
            content = bytearray(data)
            at = rng.randrange(len(content))
            content[at : at + 4] = rng.choice([b"\xff" * 4, b"\xff\xff\xff\x7f", bytes(4), b"a"])
            base.execute("update messages set data = ? where rowid = ?", (bytes(content), rowid))
        base.commit()


def table_lost(path: Path, rng: Random, canary: Path) -> None:
    base, columns = _rows(path)
    with closing(base):
        table, column = rng.choice(columns)
        if rng.random() < 0.5:
            base.execute(f"drop table {table}")
        else:
            base.execute(f"alter table {table} rename column {column} to other")
        base.commit()


def messages_endless(path: Path, rng: Random, canary: Path) -> None:
    """Let a view stand for the messages: endless ones, or a few of hundreds of megabytes."""
    base, _columns = _rows(path)
    count, size = rng.choice([(10**12, 20), (40, 200_000_000), (3, 900_000_000)])
    with closing(base):
        base.execute("alter table messages rename to real_messages")
        base.execute(
            "create view messages as with recursive n(i) as (select 1 union all select i + 1 from "
            f"n where i < {count}) select i as id, 1 as topic_id, i as timestamp, "
            f"zeroblob({size}) as data from n"
        )
        base.commit()


def message_huge(path: Path, rng: Random, canary: Path) -> None:
    base, _columns = _rows(path)
    with closing(base):
        rows = base.execute("select rowid from messages").fetchall()
        base.execute(f"update messages set data = data || zeroblob({rng.choice([10**6, 10**8])}) "
                     "where rowid = ?", rng.choice(rows))  # fmt: skip
        base.commit()


SQLITE: tuple[Callable[[Path, Random, Path], None], ...] = (
    cell_odd, cell_odd, cell_odd, cells_swapped, cells_flipped, cells_flipped, cells_flipped,
    table_lost, messages_endless, message_huge,
)  # fmt: skip
