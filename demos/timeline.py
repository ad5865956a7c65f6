"""Clocks: order, gaps, and values of one stream at another's moments."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from demos.model import Nanoseconds, Stream

How = Literal["linear", "previous", "nearest"]


def repaired(stream: Stream) -> Stream:
    """Return the stream with stamps strictly increasing: sorted, of equal stamps the first kept.

    A stream already in order is returned as it is. Disorder stays in the store; this is a view.
    """
    if len(stream) < 2 or bool(np.all(np.diff(stream.time_ns) > 0)):
        return stream
    _, keep = np.unique(stream.time_ns, return_index=True)
    other = {
        name: None if stamps is None else stamps[keep]
        for name, stamps in (
            ("source_time_ns", stream.source_time_ns),
            ("arrival_ns", stream.arrival_ns),
        )
    }
    return Stream(stream.time_ns[keep], stream.values[keep], stream.info, **other)


def rate_hz(time_ns: Nanoseconds) -> float:
    """Return the median rate in Hz of stamps in order; NaN where fewer than two."""
    steps = np.diff(time_ns)
    steps = steps[steps > 0]
    return float(1e9 / np.median(steps)) if len(steps) else float("nan")


def periodic(stream: Stream) -> bool:
    """Say whether a stream ticks: it declares a rate, or half its steps are nearly alike.

    Streams that are sampled at changes (who is in control) do not, and have no gaps to find.
    """
    if stream.info.rate_hz is not None:
        return True
    steps = np.diff(stream.time_ns)
    if len(steps) < 20:
        return False
    low, high = np.percentile(steps, [25, 75])
    return bool(high - low <= 0.5 * np.median(steps))


def at(stream: Stream, time_ns: Nanoseconds, how: How = "linear") -> npt.NDArray[Any]:
    """Read a stream at given moments: (len(time_ns), C).

    `linear` interpolates and holds the ends, `previous` holds the last sample at or before the
    moment (the first sample before that), `nearest` takes the closest. Raises ValueError for an
    empty stream.
    """
    ordered = repaired(stream)
    if not len(ordered):
        raise ValueError("an empty stream has no value at any moment")
    own, values = ordered.time_ns, ordered.values
    after = np.searchsorted(own, time_ns, side="right")
    before = np.clip(after - 1, 0, len(own) - 1)
    if how == "previous":
        return values[before]
    following = np.clip(after, 0, len(own) - 1)
    width = (own[following] - own[before]).astype(np.float64)
    share = np.where(width > 0, (time_ns - own[before]) / np.where(width > 0, width, 1.0), 0.0)
    share = np.clip(share, 0.0, 1.0)
    if how == "nearest":
        return values[np.where(share > 0.5, following, before)]
    weight = share.reshape(-1, *([1] * (values.ndim - 1)))
    mixed = values[before] * (1.0 - weight) + values[following] * weight
    kind = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float64)
    found: npt.NDArray[Any] = mixed.astype(kind, copy=False)
    return found


def grid_ns(start_ns: int, end_ns: int, rate: float) -> Nanoseconds:
    """Return evenly spaced stamps from start_ns to at most end_ns at `rate` Hz: (n,) int64."""
    # one more than fit: stamps are whole nanoseconds, and the last may have been rounded down
    count = int(np.floor((end_ns - start_ns) * rate / 1e9)) + 2
    steps = np.rint(np.arange(max(count, 0)) * (1e9 / rate)).astype(np.int64)
    stamps: Nanoseconds = start_ns + steps
    return stamps[stamps <= end_ns]
