"""The step table of one episode: its clock, its numbers and its words.

LeRobot keeps one table for all streams: row i is step i. Only the `timestamp` column says when.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.columns import changes, numbers
from demos.model import Nanoseconds
from demos.model.records import Clock

KEYS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
TOLERANCE_S = 1e-4
"""LeRobot's own tolerance between a timestamp and row / fps."""

MOST_STEPS = 2_000_000
"""What a table of one clock for all sensors may have: 11 hours at 50 Hz."""

MOST_CHANGES = 1000
"""Words are kept in the manifest, one event a change."""


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """When the rows were: time_ns (n,) from zero; source_time_ns where the column said otherwise.

    `rate_hz` is None for a measured clock. `assumed` and `problems` are words. arrival_ns: (n,)
    when they arrived, where that is another moment.
    """

    time_ns: Nanoseconds
    clock: Clock
    rate_hz: float | None
    source_time_ns: Nanoseconds | None = None
    assumed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    arrival_ns: Nanoseconds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """One episode's rows.

    numbers: column to (n, ...) array in the source's dtype, keys left out. words: column to
    (row, value) wherever the value changes. keys: `frame_index` and the like, (n,).
    lost: column and reason, for what could not be kept.
    """

    ticks: Ticks
    numbers: Mapping[str, npt.NDArray[Any]]
    words: Mapping[str, list[tuple[int, Any]]]
    keys: Mapping[str, npt.NDArray[Any]]
    lost: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.ticks.time_ns)

    def sha256(self) -> str:
        """Hash the rows: 64 hex digits that do not depend on how the file was compressed."""
        digest = hashlib.sha256()
        for name, values in sorted({**self.numbers, **self.keys}.items()):
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        for name, run in sorted(self.words.items()):
            digest.update(f"{name} {json.dumps(run)}\n".encode())
        return digest.hexdigest()


def read_steps(table: Any, fps: float) -> Steps:
    """Read a `pyarrow.Table` of one episode's rows. Raises ImportFailed where they are too many."""
    refuse_endless(table.num_rows)
    kept: dict[str, npt.NDArray[Any]] = {}
    words: dict[str, list[tuple[int, Any]]] = {}
    keys: dict[str, npt.NDArray[Any]] = {}
    lost: dict[str, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            values = numbers(column, name)
            if values is None:
                found = changes(column.to_pylist())
                if len(found) > MOST_CHANGES:
                    lost[name] = f"its words change {len(found)} times, {MOST_CHANGES} are kept"
                words[name] = found[:MOST_CHANGES]
            elif values.size == 0 and len(values):
                lost[name] = "it has no values"
            elif name in KEYS:
                keys[name] = values.reshape(len(values), math.prod(values.shape[1:]))[:, :1].ravel()
                if name in ("frame_index", "index") and not counts_on(name, keys[name]):
                    kept[name] = values  # it says which rows are gone
            else:
                kept[name] = values
        except ImportFailed as error:
            lost[name] = str(error)
    clock = ticks(keys.get("timestamp"), table.num_rows, fps)
    if clock.problems:
        kept["timestamp"] = keys["timestamp"][:, None]
    return Steps(clock, kept, words, keys, lost)


def refuse_endless(rows: int) -> None:
    """Raise ImportFailed for an episode of more rows than a person can fill."""
    if rows > MOST_STEPS:
        raise ImportFailed(f"an episode has {rows:,} rows").with_hint(
            f"no one demonstrates for days: at most {MOST_STEPS:,} are read"
        )


def counts_on(name: str, numbers: npt.NDArray[Any]) -> bool:
    """Say whether a column of row numbers goes up by one, `frame_index` from zero."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinity less infinity counts nothing
        whole = bool((np.diff(numbers) == 1).all())
    return whole and (name != "frame_index" or not len(numbers) or bool(numbers[0] == 0))


def ticks(timestamp: npt.NDArray[Any] | None, rows: int, fps: float) -> Ticks:
    """Make the clock of `rows` rows from a timestamp column in seconds, or None.

    A column that is row / fps to within rounding was made, not measured: its rate is all it says.
    """
    even_s = np.arange(rows) / fps
    even_ns = np.rint(even_s * 1e9).astype(np.int64)
    by_rate = f"clock: row / {fps:g} Hz; no device's stamps are in the source"
    if timestamp is None:
        return Ticks(even_ns, "nominal", fps, assumed=(f"{by_rate} (no timestamp column)",))
    raw_s = timestamp.astype(np.float64)
    if not rows:
        return Ticks(even_ns, "nominal", fps)
    if not np.isfinite(raw_s).all() or np.ptp(raw_s) > 1e8:
        problem = "the timestamp column holds NaN or spans more than three years; it was not used"
        return Ticks(even_ns, "nominal", fps, assumed=(by_rate,), problems=(problem,))
    step = 1 / fps
    rounding = 4 * float(np.finfo(timestamp.dtype).eps if timestamp.dtype.kind == "f" else 0.0)
    tolerance = min(TOLERANCE_S + rounding * float(np.abs(raw_s).max()), step / 4)
    # zero first: nanoseconds of seconds since 1970 would not fit into float64
    from_zero = raw_s - raw_s.min()
    if np.abs(raw_s - raw_s[0] - even_s).max() <= tolerance:
        if abs(raw_s[0]) <= tolerance:
            return Ticks(even_ns, "nominal", fps, assumed=(by_rate,))
        begins = f"the timestamp column begins at {raw_s[0]:.6g} s; time zero is the first row"
        return Ticks(even_ns, "nominal", fps, _ns(raw_s), (by_rate, begins))
    measured = (
        "the timestamp column is uneven, so it is taken as measured; "
        f"time zero is its least, {raw_s.min():.9g} s"
    )
    return Ticks(_ns(from_zero), "measured", None, None, (measured,))


def _ns(seconds: npt.NDArray[np.float64]) -> Nanoseconds:
    return np.rint(np.clip(seconds, -9e9, 9e9) * 1e9).astype(np.int64)
