"""The streams of a REASSEMBLE recording, each on its own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats import reassemble as layout
from demos.formats.hdf5_contents import leaves
from demos.formats.joints import Columns, joint_streams, kept, known_names
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.formats.poses import pose_stream
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks
from demos.model import Nanoseconds, Stream, StreamInfo

MOST_EVENTS = 2_000_000
"""Of an event camera; a recording has some thirty million, which would not fit into memory."""

_DAY_S = 86_400.0

Floats = npt.NDArray[np.float64]
Known = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """The stamps of every stream by name, in s since 1970, and the first of all moments."""

    stamps: Mapping[str, Floats]
    start_s: float

    @property
    def began(self) -> datetime:
        """Return the first moment, UTC."""
        return datetime.fromtimestamp(self.start_s, UTC)

    def known(self, name: str) -> Known:
        """Say which stamps of a stream are times of this recording."""
        # NaN is not near anything
        return np.abs(self.stamps[name] - self.start_s) < _DAY_S

    def near(self, seconds: float) -> bool:
        """Say whether a moment is one of this recording, give or take a day."""
        return abs(seconds - self.start_s) < _DAY_S

    def since_start(self, seconds: Any) -> Nanoseconds:
        """Turn seconds since 1970 into nanoseconds since the start; 0 for what is no time."""
        apart = np.asarray(seconds, dtype=np.float64) - self.start_s
        safe = np.where(np.abs(apart) < _DAY_S, apart, 0.0)
        return np.rint(safe * 1e9).astype(np.int64)

    def ticks(self, name: str, rows: npt.NDArray[np.int64]) -> Ticks:
        """Return the clock of chosen samples of a stream."""
        own = self.stamps[name][rows]
        return Ticks(self.since_start(own), "measured", None, np.rint(own * 1e9).astype(np.int64))


def clock_of(file: Any, notes: Notes) -> Clock:
    """Read all stamps. Raises ImportFailed where there is none that is a time."""
    stamps = {}
    for place in leaves(file, "timestamps"):
        name = place.removeprefix("timestamps/")
        try:
            if name == layout.EVENTS and hdf5.dataset(file, place).size > MOST_EVENTS:
                continue  # their events stay in the source too
            values = hdf5.array(file, place)
        except ImportFailed as error:
            notes.find("clock", f"{place} could not be read: {error}", error.hint, "error")
            continue
        if values.ndim in (1, 2) and values.dtype.kind == "f" and len(values):
            stamps[name] = values.reshape(len(values), -1)[:, 0].astype(np.float64)
    times = {name: s[np.isfinite(s) & (s > 0) & (s < 1e10)] for name, s in stamps.items()}
    middle = [float(np.median(found)) for found in times.values() if len(found)]
    if not middle:
        raise ImportFailed("no stream has stamps that are times").with_hint(
            "copy the recording again from its source"
        )
    about = float(np.median(middle))
    near = [found[np.abs(found - about) < _DAY_S / 2] for found in times.values()]
    return Clock(stamps, min(float(found.min()) for found in near if len(found)))


def streams(
    file: Any,
    clock: Clock,
    sitting: Sitting,
    notes: Notes,
    *,
    ignore: Sequence[str] = (),
    accept_mapping: bool = False,
) -> dict[str, Stream]:
    """Make streams of all of `robot_state` and of the events of the event camera."""
    tables = {}
    for place in leaves(file, "robot_state"):
        name = place.removeprefix("robot_state/")
        if (found := _samples(file, place, name, clock, notes)) is not None:
            tables[name] = found
    made: dict[str, Stream] = {}
    for wrench in layout.WRENCHES:
        made |= _wrench(tables, wrench, clock, notes)
    for name, (values, rows) in tables.items():
        ticks = clock.ticks(name, rows)
        if name == layout.POSE and values.shape[1] == 7:
            made["pose.end_effector"] = _pose(values, ticks)
            continue
        columns = _columns(name, values)
        if columns.kept_as == "joint_position":
            made |= joint_streams(
                columns, ticks, sitting, ignore=ignore, accept_mapping=accept_mapping
            )
        else:
            ours = replace(columns, channels=known_names(columns.channels, sitting))
            made[ours.kept_as] = kept(ours, range(len(ours.channels)), ticks)
    return made | _events(file, clock, notes)


def _samples(
    file: Any, place: str, name: str, clock: Clock, notes: Notes
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]] | None:
    """Return the samples of a stream that have a stamp, and which they are."""
    try:
        if name not in clock.stamps:
            raise ImportFailed(f"timestamps/{name} is not there").with_hint(
                "without stamps of its own a stream cannot be placed in time"
            )
        values = hdf5.array(file, place)
    except ImportFailed as error:
        notes.missing.append(f"{place}: {error}")
        notes.find("column", f"{place} could not be kept: {error}", error.hint)
        return None
    stamps = len(clock.stamps[name])
    count = min(stamps, len(values) if values.ndim else 0)
    if values.ndim == 0 or count < max(stamps, len(values)):
        notes.find(
            "rows",
            f"{place} has {values.shape[:1]} samples and {stamps} stamps; "
            "they are paired from the first, the rest is left out",
            "compare with the original bag",
            "error",
        )
    rows = np.flatnonzero(clock.known(name)[:count])
    if len(rows) < count:
        notes.find(
            "clock",
            f"{count - len(rows)} samples of {name} have no time of this recording as a stamp "
            "and are left out",
            "mend the stamps in the source and import again",
            "error",
        )
    if not len(rows):
        notes.missing.append(f"{place}: no sample has a stamp")
        return None
    return values[rows].reshape(len(rows), -1), rows


def _pose(values: npt.NDArray[Any], ticks: Ticks) -> Stream:
    """Turn position and quaternion wxyz, as REASSEMBLE/io.py stacks them, into ours."""
    return pose_stream(
        values[:, :3],
        np.roll(values[:, 3:], -1, axis=1),
        ticks,
        reference_frame=layout.BASE,
        of_frame="end_effector",
        semantics="end effector in the robot's base",
        note="REASSEMBLE robot_state/pose, quaternion wxyz there",
    )


def _columns(name: str, values: npt.NDArray[Any]) -> Columns:
    known, width = layout.MEANINGS.get(name), values.shape[1]
    note = f"REASSEMBLE robot_state/{name}"
    if known is not None and len(known.channels) == width:
        return Columns(
            values, known.channels, known.units, "state", known.stream, known.semantics, note
        )
    channels = tuple(f"{name}_{n}" for n in range(width)) if width > 1 else (name,)
    title = word(f"robot_state.{name}".replace("/", "."))
    return Columns(values, channels, ("unknown",) * width, "state", title, None, note)


def _wrench(
    tables: dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.int64]]],
    wrench: layout.Wrench,
    clock: Clock,
    notes: Notes,
) -> dict[str, Stream]:
    """Join a force and a torque at the moments they have in common; the two go where all are.

    `tables` loses what is in the wrench whole.
    """
    force = next((name for name in wrench.force if name in tables), None)
    torque = next((name for name in wrench.torque if name in tables), None)
    if force is None or torque is None:
        return {}
    (forces, rows), (torques, others) = tables[force], tables[torque]
    if forces.shape[1] != 3 or torques.shape[1] != 3:
        return {}
    ours, theirs = clock.stamps[force][rows], clock.stamps[torque][others]
    if np.array_equal(ours, theirs):
        here = there = np.arange(len(ours))
        del tables[force], tables[torque]
    else:
        _, here, there = np.intersect1d(ours, theirs, return_indices=True)
        notes.find(
            "wrench",
            f"{force} has {len(ours)} samples and {torque} {len(theirs)}, "
            f"{len(here)} at the same moments: those are {wrench.stream}, both are kept apart too",
            "nothing is interpolated between samples",
            stream=wrench.stream,
        )
    if not len(here):
        return {}
    info = StreamInfo(
        units=layout.UNITS,
        channels=layout.CHANNELS,
        reference_frame=wrench.reference_frame,
        semantics=wrench.semantics,
        note=f"REASSEMBLE robot_state/{force} and robot_state/{torque}",
    )
    notes.assumed.append(
        f"{wrench.stream}: in {wrench.reference_frame}, exerted on the robot; the file says neither"
    )
    values = np.concatenate([forces[here], torques[there]], axis=1)
    ticks = clock.ticks(force, rows[here])
    return {wrench.stream: Stream(ticks.time_ns, values, info, ticks.source_time_ns)}


def _events(file: Any, clock: Clock, notes: Notes) -> dict[str, Stream]:
    if not hdf5.has(file, layout.EVENTS):
        return {}
    shape = hdf5.dataset(file, layout.EVENTS).shape
    count = shape[0] if shape else 0
    if count > MOST_EVENTS:
        notes.missing.append(
            f"events: {count} of the event camera, more than {MOST_EVENTS} are left out"
        )
        notes.find(
            "events",
            f"the {count} events of the event camera stay in the source",
            "read them with h5py: datasets events and timestamps/events",
            "info",
        )
        return {}
    found = _samples(file, layout.EVENTS, layout.EVENTS, clock, notes)
    if found is None:
        return {}
    values, rows = found
    fits = values.shape[1] == 3
    info = StreamInfo(
        units=("px", "px", "1") if fits else ("unknown",) * values.shape[1],
        channels=("x", "y", "polarity") if fits else tuple(f"{n}" for n in range(values.shape[1])),
        semantics="one sample an event of a pixel",
        note="REASSEMBLE events",
    )
    ticks = clock.ticks(layout.EVENTS, rows)
    return {"events.event_camera": Stream(ticks.time_ns, values, info, ticks.source_time_ns)}
