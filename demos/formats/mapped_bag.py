"""An episode of somebody's own bag, read once by the paths that a mapping file names.

Only topics that are named are decoded. Numbers are kept compactly, images go to files as they
come, so that memory does not grow with the bag's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.bag_files import BagFiles
from demos.formats.hdf5_episode import nominal
from demos.formats.mapped_pictures import Filming, Reel
from demos.formats.mapped_slots import Images, Numbers, Slot, Word, asked_for
from demos.formats.mapped_streams import LOOK, measured, no_clock, table, zero_ns
from demos.formats.messages import Decode, decoder, steps_of
from demos.formats.notes import Notes
from demos.formats.ros_bags import open_bag
from demos.formats.ros_clocks import SANE_NS, Clock, Moments, date_of
from demos.formats.ros_types import Topic
from demos.formats.steps import Ticks
from demos.model import MappedClock, MappedStream, MappingFile, VideoFile
from demos.provenance import sha256_file


class MappedBag:
    """A bag that is read as a mapping file says."""

    group = ""

    def __init__(
        self, files: BagFiles, said: MappingFile, scratch: Path, *, numbers_only: bool
    ) -> None:
        self.format = f"mapped {files.kind}"
        self.files, self.bag = files, open_bag(files)
        self.zero_ns, self._first_ns = 0, 0
        self.damaged: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._slots = list(asked_for(said, scratch, numbers_only=numbers_only))

    def close(self) -> None:
        """Close the files that images lie in."""
        for slot in self._slots:
            if isinstance(slot.taken, Images):
                slot.taken.reel.close()
            elif isinstance(slot.taken, Numbers) and slot.taken.pictures is not None:
                slot.taken.pictures.spool.close()

    def begin(self, said: MappingFile) -> None:
        """Let time begin with the earliest stamp of all clocks. Raises ImportFailed."""
        del said
        clocks = []
        for slot in self._slots:
            moments = self._moments(slot)
            if moments is not None and slot.clock.rate_hz is None:
                clocks.append(_stamps(moments, slot.clock))
        self.zero_ns = zero_ns(clocks)

    def began(self) -> datetime | None:
        """Return the date of time zero, of the first arrival where the stamps are no dates."""
        return date_of(self.zero_ns) or date_of(self._first_ns)

    def sha256(self, root: Path) -> dict[str, str]:
        """Hash the files of the bag."""
        paths = [self.files.root / name for name in self.files.files]
        return {path.relative_to(root).as_posix(): sha256_file(path) for path in paths}

    def lacking(self, name: str, said: MappedStream) -> list[str]:
        """List the paths of a stream at which there is nothing, and why."""
        held = self._numbers(name, said)
        return [self._why(slot) for slot, numbers in held if not len(numbers.moments)]

    def samples(
        self, name: str, said: MappedStream, clock: MappedClock | None
    ) -> tuple[npt.NDArray[Any], Ticks]:
        """Return the numbers of a stream (n, ...) and their clock. Raises ImportFailed."""
        if clock is None:
            raise no_clock(name)
        held = [numbers for _, numbers in self._numbers(name, said)]
        clocks = [_settled(each.moments, clock, each.rows()[0]) for each in held]
        parts = [each.values(clock) for each, clock in zip(held, clocks, strict=True)]
        values = table(parts, said, name)
        if any(not np.array_equal(each.time_ns, clocks[0].time_ns) for each in clocks[1:]):
            raise ImportFailed(f"the topics of {name} have other stamps").with_hint(
                "give each topic a stream of its own, named by its place: state.left, state.right"
            )
        return values, self._ticks(clocks[0], clock, name)

    def word(self, path: str) -> str | None:
        """Return what the last message says at a path, or what a metadata record says at `a@b`."""
        before, sign, name = path.rpartition("@")
        if not sign:
            words = (s.taken for s in self._slots if s.path == path)
            return next((each.said for each in words if isinstance(each, Word)), None)
        record = before.strip("/")
        records = self.bag.metadata
        told = [records[record]] if record in records else [] if record else records.values()
        return next((each[name] for each in told if name in each), None)

    def images(self, filming: Filming) -> VideoFile:
        """Write the images of a camera as a video. Raises ImportFailed, RecordingFailed."""
        if filming.clock is None:
            raise no_clock(filming.name)
        slot, reel = self._reel(filming.name)
        if reel.pictures is None:
            raise ImportFailed(self._why(slot)).with_hint(LOOK)
        settled = _settled(reel.pictures.moments, filming.clock)
        ticks = self._ticks(settled, filming.clock, filming.name)
        filming.notes.assumed += ticks.assumed
        return reel.video(filming, settled, ticks)

    def ticks(self, clock: MappedClock | None, rows: int, what: str) -> Ticks:
        """Make the clock of a video beside a bag, which has none but a rate."""
        if clock is None or clock.rate_hz is None:
            raise ImportFailed(f"the stamps of {what} are not in the bag").with_hint(
                "say rate_hz, or leave the clock out: the video has stamps of its own"
            )
        return nominal(rows, clock.rate_hz)

    def tell(self, notes: Notes) -> None:
        """Say what was damaged, and what messages were left out."""
        for topic, reason in sorted(self.refused.items()):
            notes.missing.append(f"{topic}: {reason}")
        for topic, count in sorted(self.damaged.items()):
            notes.find(
                "damaged",
                f"{count} messages of {topic} cannot be decoded and are left out",
                "copy the bag again from its source",
            )
        for slot in self._slots:
            if slot.problem:
                notes.find("messages", f"{slot.path}: {slot.problem}", LOOK)
            if slot.lacking:
                what = f"{slot.lacking} messages have nothing at {slot.path}: {slot.why}"
                notes.find("messages", what, LOOK)
            odd = slot.taken.rows()[1] if isinstance(slot.taken, Numbers) else 0
            if odd:
                what = f"{odd} messages have another length at {slot.path} and are left out"
                notes.find("messages", what, "name the elements that all have: q[0:7]")
        for what in self.bag.broken:
            notes.find("broken", what, "what lies before it was read; run the recorder's repair")

    def read(self) -> None:
        """Read every message once. Raises ImportFailed for no bag at all."""
        takers: dict[int, tuple[Decode | None, list[Slot]]] = {}
        for message in self.bag.messages():
            topic = message.topic
            self._first_ns = min(self._first_ns or message.log_ns, message.log_ns)
            if id(topic) not in takers:
                takers[id(topic)] = self._takers(topic)
            decode, slots = takers[id(topic)]
            if decode is None:
                continue
            try:
                node = decode(message.data)
            except Exception:  # noqa: BLE001  struct, numpy, json and protobuf raise dozens
                self.damaged[topic.name] += 1
                continue
            for slot in slots:
                if not slot.problem:
                    slot.take(message, node)

    def _takers(self, topic: Topic) -> tuple[Decode | None, list[Slot]]:
        """Find the paths that begin with a topic, and what decodes its messages."""
        slots = []
        for slot in self._slots:
            rest = slot.path.removeprefix(topic.name)
            if rest == slot.path or (rest and rest[0] not in ".["):
                continue
            if slot.topic not in ("", topic.name):
                slot.problem = f"it is in the topic {slot.topic} and in {topic.name}"
                continue
            try:
                slot.topic = topic.name
                slot.steps, slot.stamp = steps_of(rest), steps_of(slot.clock.path)
                slot.by_name = steps_of(slot.names.removeprefix(topic.name))
            except ImportFailed as error:
                slot.problem = str(error)
            slots.append(slot)
        try:
            return (decoder(topic) if slots else None), slots
        except ImportFailed as error:
            self.refused[topic.name] = str(error)
            return None, []

    def _numbers(self, name: str, said: MappedStream) -> list[tuple[Slot, Numbers]]:
        slots = {s.path: s for s in self._slots if s.name == name}
        found = [(slots[path], slots[path].taken) for path in said.paths]
        return [(slot, taken) for slot, taken in found if isinstance(taken, Numbers)]

    def _reel(self, name: str) -> tuple[Slot, Reel]:
        return next(
            (slot, slot.taken.reel)
            for slot in self._slots
            if slot.name == name and isinstance(slot.taken, Images)
        )

    def _why(self, slot: Slot) -> str:
        """Say why there is nothing at a path."""
        reason = slot.problem or slot.why or self.refused.get(slot.topic, "")
        if not slot.topic:
            topics = sorted({each.name for each in self.bag.topics})
            more = ", ..." if len(topics) > 12 else ""
            reason = f"no such topic; there are {', '.join(topics[:12]) or 'none'}{more}"
        return f"{slot.path} ({reason or 'no message'})"

    def _moments(self, slot: Slot) -> Moments | None:
        if isinstance(slot.taken, Images):
            pictures = slot.taken.reel.pictures
            return pictures.moments if pictures is not None else None
        return slot.taken.moments if isinstance(slot.taken, Numbers) else None

    def _ticks(self, settled: Clock, clock: MappedClock, name: str) -> Ticks:
        if clock.rate_hz is not None:
            return nominal(len(settled.time_ns), clock.rate_hz)
        if clock.time == "publish" and not settled.time_ns.any():
            raise ImportFailed(f"{name}: this kind of bag has no time of sending").with_hint(
                "say `time: log`, or the path of a stamp in the messages"
            )
        ticks = measured(settled.time_ns, self.zero_ns)
        said = [f"{name}: arrival is its time"] if clock.time == "log" else []
        if settled.order is not None:
            said.append(f"{name}: put in order of arrival, the file is not")
        arrival = settled.arrival_ns
        if arrival is not None and (late := _late_s(settled)) is not None:
            said.append(f"{name}: arrival is up to {late:.4g} s from its stamps, so it is not kept")
            arrival = None
        return Ticks(
            ticks.time_ns,
            ticks.clock,
            None,
            ticks.source_time_ns,
            (*ticks.assumed, *said),
            arrival_ns=None if arrival is None else arrival - self.zero_ns,
        )


def _stamps(moments: Moments, clock: MappedClock) -> npt.NDArray[np.int64]:
    """Return the stamps that a mapping file chose, in the order of the file."""
    chosen = moments.log if clock.time == "log" or clock.rate_hz is not None else moments.stamp
    return np.frombuffer(chosen, np.int64).copy()


def _settled(
    moments: Moments,
    clock: MappedClock,
    chosen: Sequence[int] | npt.NDArray[np.int64] | None = None,
) -> Clock:
    """Put the chosen stamps in the order of arrival; what arrived later stays later."""
    log = np.frombuffer(moments.log, np.int64).copy()
    stamps = _stamps(moments, clock)
    if chosen is not None:
        log, stamps = log[chosen], stamps[chosen]
    order = None
    if (np.diff(log) < 0).any():
        order = np.argsort(log, kind="stable").astype(np.int64)
        log, stamps = log[order], stamps[order]
    same = clock.time == "log" or clock.rate_hz is not None
    return Clock(stamps, arrival_ns=None if same else log, order=order)


def _late_s(settled: Clock) -> float | None:
    """Return how far stamps are from their arrival where it counts from another moment."""
    assert settled.arrival_ns is not None
    late = np.abs(settled.arrival_ns - settled.time_ns)
    return float(late.max()) / 1e9 if len(late) and late.max() > SANE_NS else None
