"""When ROS messages were: the stamp in the message beside the moment it was recorded.

`header.stamp` is the device's or the driver's word, `log_time` the recorder's. A stamp is taken
as the time where it is not zero and lies within a minute of the arrival; the arrival stands in
for it otherwise, and the stamp is kept beside it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.model import Nanoseconds

SANE_NS = 60_000_000_000
"""Clocks of two computers differ by less; a simulated or unset clock by more."""

_EARLIEST_NS = 946_684_800_000_000_000
"""The year 2000: no robot was recorded before."""


def date_of(moment_ns: int) -> datetime | None:
    """Return the date of a stamp, None where it does not count from 1970."""
    if moment_ns < _EARLIEST_NS:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_ns // 1000)


@dataclass(slots=True)
class Moments:
    """The stamps of one topic as they come: of arrival, and in the message (0 for none)."""

    log: array[int] = field(default_factory=lambda: array("q"))
    stamp: array[int] = field(default_factory=lambda: array("q"))

    def add(self, log_ns: int, stamp_ns: int) -> None:
        """Add one message. Raises OverflowError for what is no int64."""
        self.stamp.append(stamp_ns)
        try:
            self.log.append(log_ns)
        except OverflowError:
            self.stamp.pop()
            raise

    def __len__(self) -> int:
        return len(self.log)


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """The settled stamps of one stream, in ns since 1970, as they lie in the bag or in `order`.

    time_ns: (n,) int64. source_time_ns, arrival_ns: (n,) or None where they say the same.
    order: (n,) the numbers of the messages by arrival, None where they lie so.
    said: what was taken for the time. problem: what is wrong with the stamps.
    """

    time_ns: Nanoseconds
    source_time_ns: Nanoseconds | None = None
    arrival_ns: Nanoseconds | None = None
    order: npt.NDArray[np.int64] | None = None
    said: str = ""
    problem: str = ""

    def since(self, start_ns: int) -> Clock:
        """Count from a moment; what a device said stays as it is."""
        arrival = self.arrival_ns
        return Clock(
            self.time_ns - start_ns,
            self.source_time_ns,
            None if arrival is None else arrival - start_ns,
            self.order,
        )

    def sorted(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Put the values of the messages into the clock's order."""
        return values if self.order is None else values[self.order]


def settle(
    moments: Moments, name: str, chosen: npt.NDArray[np.int64] | None = None, *, asis: bool = False
) -> Clock:
    """Decide what the time of each message is.

    chosen: the numbers of the messages that count, None for all. asis: every stamp that is not
    zero is the time and nothing is put in order, for recordings that say so of themselves.
    """
    log = np.frombuffer(moments.log, np.int64).copy()
    stamp = np.frombuffer(moments.stamp, np.int64).copy()
    if chosen is not None:
        log, stamp = log[chosen], stamp[chosen]
    if asis:
        time_ns = np.where(stamp != 0, stamp, log)
        return Clock(time_ns, None, None if np.array_equal(time_ns, log) else log)
    order = None
    if (np.diff(log) < 0).any():
        order = np.argsort(log, kind="stable").astype(np.int64)
        log, stamp = log[order], stamp[order]
    given = stamp != 0
    late = log - stamp
    sane = given & (np.abs(late) <= SANE_NS)
    if not given.any():
        return Clock(log, order=order, said=f"{name}: no stamp inside, arrival is the time")
    if sane.sum() * 2 < len(log):
        apart = f"{np.median(late[given]) / 1e9:.4g} s"
        return Clock(
            log,
            stamp,
            order=order,
            said=f"{name}: its stamps are {apart} from their arrival, so arrival is the time",
            problem=f"the stamps of {name} are {apart} from their arrival: another clock",
        )
    low, middle, high = np.percentile(late[sane], (5, 50, 95)) / 1e6
    said = (
        f"{name}: header.stamp is the time; log_time came {middle:.3g} ms later at the median, "
        f"{low:.3g} to {high:.3g} ms for nine in ten"
    )
    lost = int(len(log) - sane.sum())
    time_ns = np.where(sane, stamp, log)
    return Clock(
        time_ns,
        stamp if lost else None,
        None if np.array_equal(time_ns, log) else log,
        order,
        said,
        f"{lost} of {len(log)} stamps of {name} are unset or more than "
        f"{SANE_NS // 1_000_000_000} s from their arrival, which stands in"
        if lost
        else "",
    )
