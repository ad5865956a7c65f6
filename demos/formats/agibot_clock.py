"""When the rows of an AgiBot episode were."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.notes import Notes
from demos.formats.steps import Ticks

RATE_HZ = 30.0
"""Of all cameras, and of the rows that were aligned to them."""

_LEAST_NS, _MOST_NS = 100_000, 10_000_000_000


def clock_of(stamps: npt.NDArray[Any] | None, rows: int, notes: Notes) -> Ticks:
    """Make the clock of an episode from `timestamp`: whole nanoseconds, or seconds as floats.

    Seconds come from a simulator, whose count is known to run at 60 a second beside images at 30;
    they are kept as source_time_ns only, and rows are counted.
    """
    if stamps is None or stamps.shape != (rows,):
        return _counted(rows, notes, "there is no timestamp of each row")
    if stamps.dtype.kind in "iu":
        return _measured(stamps.astype(np.int64), rows, notes)
    seconds = stamps.astype(np.float64)
    # NaN is neither above nor below anything
    if stamps.dtype.kind != "f" or not np.abs(seconds).max() < 9e9:
        return _counted(rows, notes, "the timestamps are no times")
    raw = np.rint(seconds * 1e9).astype(np.int64)
    step = float(np.median(np.diff(seconds))) if rows > 1 else 0.0
    found = 1 / step if step > 0 else RATE_HZ
    if abs(found / RATE_HZ - 1) > 0.05:
        notes.find(
            "clock",
            f"the timestamps run at {found:.4g} Hz, rows and images at {RATE_HZ:g} Hz",
            "DigitalWorld's simulator counted twice as fast; its stamps are in source_time_ns",
        )
    notes.assumed.append(
        f"clock: row / {RATE_HZ:g} Hz, the rate of the images; the simulator's own stamps are "
        "kept as source_time_ns"
    )
    return Ticks(_even(rows), "nominal", RATE_HZ, raw)


def _measured(stamps: npt.NDArray[np.int64], rows: int, notes: Notes) -> Ticks:
    step = float(np.median(np.abs(np.diff(stamps)))) if rows > 1 else 1e9 / RATE_HZ
    # a difference of unsigned or wrapped numbers would not be what it seems
    wide = float(stamps.max()) - float(stamps.min())
    if int(stamps.min()) < 0 or not _LEAST_NS <= step <= _MOST_NS or wide > 1e15:
        return _counted(rows, notes, f"the timestamps step by {step:.4g}, which are no nanoseconds")
    notes.assumed.append("clock: the timestamp of each row, for all groups and images alike")
    return Ticks(stamps - stamps.min(), "measured", None, stamps)


def _counted(rows: int, notes: Notes, problem: str) -> Ticks:
    notes.find(
        "clock",
        f"{problem}; rows are counted at {RATE_HZ:g} Hz",
        "dropped rows cannot be seen in this episode; compare with the original files",
        "error",
    )
    notes.assumed.append(f"clock: row / {RATE_HZ:g} Hz, the rate of the images")
    return Ticks(_even(rows), "nominal", RATE_HZ)


def _even(rows: int) -> npt.NDArray[np.int64]:
    moments: npt.NDArray[np.int64] = np.rint(np.arange(rows) * (1e9 / RATE_HZ)).astype(np.int64)
    return moments
