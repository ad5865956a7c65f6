"""The paths of a mapping file that are asked of a bag, and what is taken at each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed
from demos.formats.mapped_pictures import Reel, depth_of
from demos.formats.mapped_streams import picked, word_of
from demos.formats.messages import Lacking, Step, at, moment_ns, vector
from demos.formats.pictures import Spool
from demos.formats.ros_bags import MOST_BYTES, Message
from demos.formats.ros_clocks import Clock, Moments
from demos.formats.ros_pictures import Pictures
from demos.formats.ros_rows import Vectors
from demos.model import MappedClock, MappingFile

_STATED = MappedClock(time="log")


@dataclass(slots=True)
class Numbers:
    """The numbers at one path of a stream; `pictures` where they are images of depth."""

    spool: Path
    vectors: Vectors = field(default_factory=Vectors)
    pictures: Pictures | None = None
    size: int = 0

    def add(self, message: Message, moment: int, found: Any) -> None:
        """Keep one row, or one image of depth in a file."""
        if (depth := depth_of(found)) is not None:
            encoding, image = depth
            if self.pictures is None:
                self.pictures = Pictures(Spool(self.spool), "depth", encoding)
            self.pictures.add_raw(message.log_ns, moment, image)
            return
        values = vector(found)
        self.size += values.nbytes
        if self.size > MOST_BYTES:
            raise ImportFailed(
                f"it holds more than {MOST_BYTES / 1e6:.0f} MB of numbers"
            ).with_hint("split the recording into episodes")
        self.vectors.add(message.log_ns, moment, values)

    @property
    def moments(self) -> Moments:
        """When each was."""
        return self.pictures.moments if self.pictures is not None else self.vectors.moments

    def rows(self) -> tuple[npt.NDArray[np.int64], int]:
        """Return which messages count, and how many of another length do not."""
        if self.pictures is not None or not self.vectors.widths:
            return np.arange(len(self.moments)), 0
        rows, odd = self.vectors.usual()
        return np.frombuffer(rows.numbers, np.int64).copy(), odd

    def values(self, clock: Clock) -> npt.NDArray[Any]:
        """Return the numbers in the order of a clock: (n, width) or (n, height, width)."""
        if self.pictures is not None:
            return self.pictures.depth(clock)
        return clock.sorted(self.vectors.usual()[0].values())


@dataclass(slots=True)
class Images:
    """The images of one camera."""

    reel: Reel

    def add(self, message: Message, moment: int, found: Any) -> None:
        """Keep one image in a file."""
        self.reel.add(message.log_ns, moment, found)


@dataclass(slots=True)
class Word:
    """What stands at a path in the last message."""

    said: str | None = None

    def add(self, message: Message, moment: int, found: Any) -> None:
        """Let the last word count."""
        del message, moment
        self.said = word_of(found)


@dataclass(slots=True, eq=False)
class Slot:
    """One path that is asked for, and what came of it.

    names, wanted: where the names of the numbers are, and which are wanted in which order.
    taken: what was taken so far; its `add` takes a message, the stamp that was chosen (0 for none)
    and what lies at the path. lacking: how many messages have nothing there, and why. problem: why
    nothing more is taken.
    """

    name: str
    path: str
    clock: MappedClock
    taken: Numbers | Images | Word
    topic: str = ""
    steps: tuple[Step, ...] = ()
    stamp: tuple[Step, ...] = ()
    names: str = ""
    wanted: tuple[str, ...] = ()
    by_name: tuple[Step, ...] = ()
    orders: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    lacking: int = 0
    why: str = ""
    problem: str = ""

    def take(self, message: Message, node: Any) -> None:
        """Take what a decoded message has."""
        try:
            found = at(node, self.steps)
            if self.names:
                found = self._picked(vector(found), at(node, self.by_name))
            self.taken.add(message, self._moment(message, node), found)
        except Lacking as error:
            self.lacking += 1
            self.why = str(error)
        except DemosError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001  numpy and array raise dozens on damage
            self.lacking += 1
            self.why = " ".join(str(error).split())[:120]

    def _picked(self, values: npt.NDArray[Any], names: Any) -> npt.NDArray[Any]:
        """Put values in the order of the wanted names; messages may change theirs."""
        told = tuple(str(name) for name in names) if isinstance(names, list) else ()
        if len(told) != len(values):
            raise Lacking(f"{len(told)} names for {len(values)} values")
        if told not in self.orders:
            try:
                self.orders[told] = picked(told, self.wanted)
            except ImportFailed as error:
                raise Lacking(str(error)) from error
        return values[self.orders[told]]

    def _moment(self, message: Message, node: Any) -> int:
        if self.clock.path:
            return moment_ns(at(node, self.stamp), self.clock.unit)
        return message.publish_ns if self.clock.time == "publish" else 0


def asked_for(said: MappingFile, scratch: Path, *, numbers_only: bool) -> Iterator[Slot]:
    """Yield a slot for each path of a mapping file; `numbers_only` leaves the cameras out."""
    spools = (scratch / f"{number}.images" for number in range(100_000))
    for name, stream in said.streams.items():
        clock = stream.clock or said.clock or _STATED
        for path in dict.fromkeys(stream.paths):
            numbers = Numbers(next(spools))
            yield Slot(name, path, clock, numbers, names=stream.names, wanted=stream.channels)
    for name, camera in said.cameras.items():
        if camera.path and not numbers_only:
            clock = camera.clock or said.clock or _STATED
            yield Slot(name, camera.path, clock, Images(Reel(camera, next(spools))))
    words = [said.task, said.instruction, said.operator, *said.factors.values()]
    paths = [getattr(each, "path", "") for each in words] + [each.path for each in said.labels]
    for path in dict.fromkeys(paths):
        if path and "@" not in path:
            yield Slot("", path, _STATED, Word())
