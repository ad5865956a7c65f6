"""The numbers of ROS messages, kept compactly as they come and laid out as rows at the end."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.ros_clocks import Moments
from demos.model import Nanoseconds

JOINT_FIELDS = ("position", "velocity", "effort")
Order = npt.NDArray[np.int64]


@dataclass(slots=True)
class Rows:
    """Rows of one width and dtype as they come; `numbers` says which message each row is of."""

    dtype: str
    width: int
    data: bytearray = field(default_factory=bytearray)
    numbers: array[int] = field(default_factory=lambda: array("q"))

    def values(self) -> npt.NDArray[Any]:
        """Return (rows, width), without a copy."""
        rows = np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<"))
        return rows.reshape(len(self.numbers), self.width)


@dataclass(slots=True)
class Vectors:
    """Messages of one topic that are one vector each; their width should not change.

    names: the channels as the layout labels them. `frames` counts the reference frames.
    """

    moments: Moments = field(default_factory=Moments)
    widths: dict[tuple[str, int], Rows] = field(default_factory=dict)
    frames: Counter[str] = field(default_factory=Counter)
    names: tuple[str, ...] = ()

    def add(self, log_ns: int, stamp_ns: int, values: npt.NDArray[Any], frame: str = "") -> None:
        """Add one message's vector (width,)."""
        key = (values.dtype.newbyteorder("=").name, values.size)
        rows = self.widths.get(key)
        if rows is None:
            rows = self.widths[key] = Rows(*key)
        self.moments.add(log_ns, stamp_ns)
        rows.numbers.append(len(self.moments) - 1)
        rows.data += values.tobytes()
        self.frames[frame] += 1

    def add_rows(
        self,
        log_ns: Nanoseconds,
        stamp_ns: Nanoseconds,
        values: npt.NDArray[Any],
        frame: str = "",
    ) -> None:
        """Add messages of one width at once: stamps (n,), values (n, width)."""
        key = (values.dtype.newbyteorder("=").name, values.shape[1])
        rows = self.widths.setdefault(key, Rows(*key))
        rows.numbers.extend(self.moments.add_rows(log_ns, stamp_ns))
        rows.data += values.tobytes()
        self.frames[frame] += len(values)

    def usual(self) -> tuple[Rows, int]:
        """Return the rows of the width that most messages have, and how many have another."""
        rows = max(self.widths.values(), key=lambda each: len(each.numbers))
        return rows, len(self.moments) - len(rows.numbers)

    @property
    def frame(self) -> str:
        """The reference frame that most messages name."""
        return self.frames.most_common(1)[0][0] if self.frames else ""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Joints that are spoken of together: which messages, and what each says of each joint.

    names: the joints, in the order they were first named. numbers: (n,) the messages.
    fields: `position` and the like, (n, joints) float64, NaN where a message does not say it.
    unsaid: joint to how many of its messages leave it out.
    """

    names: tuple[str, ...]
    numbers: Order
    fields: Mapping[str, npt.NDArray[np.float64]]
    unsaid: Mapping[str, int]


@dataclass(slots=True)
class Joints:
    """The JointState messages of one topic, by the names that each message gives.

    Names may come in any order and new ones at any time. `damaged` counts messages whose lengths
    disagree or that name a joint twice, `nameless` those that name none.
    """

    moments: Moments = field(default_factory=Moments)
    layouts: dict[tuple[str, ...], Rows] = field(default_factory=dict)
    damaged: int = 0
    nameless: int = 0

    def add(self, log_ns: int, stamp_ns: int, names: Sequence[str], *fields: Any) -> None:
        """Add one message: names, then position, velocity and effort, each maybe empty."""
        layout = tuple(names)
        width = len(layout)
        if not width and any(len(each) for each in fields):
            self.nameless += 1
            width = max(len(each) for each in fields)
            layout = tuple(f"joint_{n}" for n in range(width))
        rows = self.layouts.get(layout)
        if not width or any(len(each) not in (0, width) for each in fields):
            self.damaged += 1
            return
        if rows is None:
            if len(set(layout)) < width:
                self.damaged += 1
                return
            rows = self.layouts[layout] = Rows("float64", 3 * width)
        self.moments.add(log_ns, stamp_ns)
        rows.numbers.append(len(self.moments) - 1)
        for each in fields:
            rows.data += np.asarray(each, "<f8").tobytes() if len(each) else _NAN * width

    def add_rows(
        self,
        log_ns: Nanoseconds,
        stamp_ns: Nanoseconds,
        names: Sequence[str],
        fields: Sequence[npt.NDArray[Any]],
    ) -> bool:
        """Add messages of the same names at once: stamps (n,), fields (n, joints) or (n, 0).

        Says False, and adds nothing, where such a message was not added before.
        """
        rows, width = self.layouts.get(tuple(names)), len(names)
        if rows is None or any(each.shape[1] not in (0, width) for each in fields):
            return False
        nothing = np.full((len(log_ns), width), np.nan)
        rows.numbers.extend(self.moments.add_rows(log_ns, stamp_ns))
        told = [each if each.shape[1] else nothing for each in fields]
        rows.data += np.hstack(told).astype("<f8", copy=False).tobytes()
        return True

    def parts(self) -> list[Part]:
        """Return the joints in groups that share no message, the largest group first."""
        groups: list[list[tuple[str, ...]]] = []
        for layout in self.layouts:
            joined = [group for group in groups if any(set(layout) & set(each) for each in group)]
            groups = [group for group in groups if group not in joined]
            groups.append([each for group in joined for each in group] + [layout])
        found = [self._part(group) for group in groups]
        return sorted(found, key=lambda part: (-len(part.names), part.names))

    def _part(self, layouts: Sequence[tuple[str, ...]]) -> Part:
        names = tuple(dict.fromkeys(name for layout in layouts for name in layout))
        column = {name: n for n, name in enumerate(names)}
        numbers = np.concatenate([np.frombuffer(self.layouts[e].numbers, "q") for e in layouts])
        place = np.argsort(numbers, kind="stable")
        rank = np.empty_like(place)
        rank[place] = np.arange(len(place))
        if len(layouts) == 1:
            values = self.layouts[names].values().reshape(-1, 3, len(names))
            made = {key: values[:, index] for index, key in enumerate(JOINT_FIELDS)}
            return Part(names, numbers.astype(np.int64), _said(made), {})
        made = {key: np.full((len(numbers), len(names)), np.nan) for key in JOINT_FIELDS}
        unsaid: Counter[str] = Counter()
        first = 0
        for layout in layouts:
            values = self.layouts[layout].values().reshape(-1, 3, len(layout))
            rows = rank[first : first + len(values)]
            columns = np.array([column[name] for name in layout])
            for index, key in enumerate(JOINT_FIELDS):
                made[key][rows[:, None], columns[None, :]] = values[:, index]
            unsaid.update({name: len(values) for name in names if name not in layout})
            first += len(values)
        return Part(names, numbers[place].astype(np.int64), _said(made), unsaid)


def _said(fields: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, npt.NDArray[np.float64]]:
    """Leave out what no message says."""
    return {key: values for key, values in fields.items() if not np.isnan(values).all()}


_NAN = struct.pack("<d", float("nan"))
