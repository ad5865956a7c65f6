"""When the steps, commands and images of a DROID trajectory were: milliseconds since 1970.

The recorder reads the robot, then the cameras, then commands, and stamps each with the laptop's
clock (`time.time_ns() // 1_000_000`). The robot's controller has a clock of its own, and a
camera's image was taken before it arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.notes import Notes
from demos.formats.steps import Ticks
from demos.model import Nanoseconds, Stream, StreamInfo

CONTROL_HZ = 15.0
_LONGEST_MS = 100_000_000  # 28 h
LATEST_MS = 1e13  # the year 2286
_APART_MS = 3_600_000
_STATE = ("robot_state/read_start", "control/step_start", "robot_state/read_end")
_COMMAND = ("control/control_start", "control/step_end")
_ARRIVAL = ("robot_state/read_end",)
_IMAGE = ("estimated_capture", "frame_received", "read_end")
_UNITS = {"robot_timestamp_seconds": "s", "robot_timestamp_nanos": "ns", "skip_action": "1"}

Stamps = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Clocks:
    """The moments of one trajectory, zero being its first.

    state, command: (steps,). arrival_ns: when the robot's answer had come. images: serial number
    to (steps,) moments of capture. latency_ms: by serial number, what the recorder takes off
    an image's arrival for its capture.
    """

    state: Ticks
    command: Ticks
    arrival_ns: Nanoseconds | None = None
    images: Mapping[str, Nanoseconds] = field(default_factory=dict)
    latency_ms: Mapping[str, int] = field(default_factory=dict)
    start_ms: int | None = None

    @property
    def began(self) -> datetime | None:
        """Return the first moment, UTC."""
        return None if self.start_ms is None else datetime.fromtimestamp(self.start_ms / 1e3, UTC)

    def since_start(self, stamps_ms: Stamps) -> Nanoseconds:
        """Turn milliseconds since 1970 into nanoseconds since the start."""
        return (stamps_ms - (self.start_ms or 0)) * 1_000_000


def clocks(stamps: Mapping[str, npt.NDArray[Any]], steps: int, notes: Notes) -> Clocks:
    """Make the clocks of a trajectory from the datasets under `observation/timestamp`.

    Where the robot's stamps are missing or no times, steps are counted at 15 Hz, which is said.
    """
    state, command = (_first(stamps, places, steps, notes) for places in (_STATE, _COMMAND))
    if state is None:
        return _counted(steps, notes)
    if command is None or _apart(command, state):
        notes.assumed.append("commands: at the moments of the states; they have no stamps")
        command = state
    images = {}
    for serial in _serials(stamps):
        places = tuple(f"cameras/{serial}_{name}" for name in _IMAGE)
        taken = _first(stamps, places, steps, notes)
        if taken is None or _apart(taken, state):
            notes.find(
                "clock",
                f"the stamps of camera {serial} are no times of this trajectory",
                "its images are placed at the moments of their steps",
                "error",
            )
            continue
        images[serial] = taken
    start_ms = min(int(part.min()) for part in (state, command, *images.values()))
    arrived = _first(stamps, _ARRIVAL, steps, notes)
    made = Clocks(
        _ticks(state, start_ms, _device(stamps, steps)),
        _ticks(command, start_ms, None),
        None if arrived is None else (arrived - start_ms) * 1_000_000,
        {serial: (taken - start_ms) * 1_000_000 for serial, taken in images.items()},
        _latencies(stamps, images, notes),
        start_ms,
    )
    notes.assumed.append(
        "clock: the recording laptop's, in whole milliseconds: states when the robot was asked, "
        "commands when they were sent, images at the recorder's estimate of their capture; "
        "source_time_ns of states is the robot controller's own stamp"
    )
    return made


def raw_stream(stamps: Mapping[str, npt.NDArray[Any]], steps: int, ticks: Ticks) -> Stream | None:
    """Keep every stamp as it was recorded, one channel each."""
    kept = {place: values for place, values in stamps.items() if values.shape == (steps,)}
    if not kept:
        return None
    whole = all(values.dtype.kind in "biu" for values in kept.values())
    info = StreamInfo(
        units=tuple(_UNITS.get(place.rsplit("/", 1)[-1], "ms") for place in kept),
        channels=tuple(kept),
        clock=ticks.clock,
        rate_hz=ticks.rate_hz,
        semantics="the recorder's own stamps, ms since 1970; robot_timestamp is the controller's",
        note="DROID observation/timestamp",
    )
    table = np.stack([v.astype(np.int64 if whole else np.float64) for v in kept.values()], axis=1)
    return Stream(ticks.time_ns, table, info)


def _counted(steps: int, notes: Notes) -> Clocks:
    notes.find(
        "clock",
        f"there are no stamps of the robot; steps are counted at {CONTROL_HZ:g} Hz",
        "nothing about delays or dropped steps can be seen in this trajectory",
        "error",
    )
    notes.assumed.append(f"clock: row / {CONTROL_HZ:g} Hz, the recorder's control rate")
    even = np.rint(np.arange(steps) * (1e9 / CONTROL_HZ)).astype(np.int64)
    ticks = Ticks(even, "nominal", CONTROL_HZ)
    return Clocks(ticks, ticks)


def _first(
    stamps: Mapping[str, npt.NDArray[Any]], places: tuple[str, ...], steps: int, notes: Notes
) -> Stamps | None:
    for place in (place for place in places if place in stamps):
        values = stamps[place]
        if values.shape == (steps,) and values.dtype.kind in "iuf":
            numbers = values.astype(np.float64)
            least, most = float(numbers.min()), float(numbers.max())
            # NaN is neither above nor below anything
            if least > 0 and most < LATEST_MS and most - least < _LONGEST_MS:
                return np.rint(numbers).astype(np.int64)
        notes.find(
            "clock",
            f"{place} does not hold one time a step; it was not used",
            "its numbers are kept in the stream timestamp",
        )
    return None


def _apart(stamps: Stamps, state: Stamps) -> bool:
    return abs(float(np.median(stamps)) - float(np.median(state))) > _APART_MS


def _serials(stamps: Mapping[str, Any]) -> list[str]:
    names = [place.removeprefix("cameras/") for place in stamps if place.startswith("cameras/")]
    ends = tuple(f"_{name}" for name in _IMAGE)
    return sorted({name[: -len(end)] for name in names for end in ends if name.endswith(end)})


def _device(stamps: Mapping[str, npt.NDArray[Any]], steps: int) -> Nanoseconds | None:
    seconds, nanos = (
        stamps.get(f"robot_state/robot_timestamp_{part}") for part in ("seconds", "nanos")
    )
    if seconds is None or nanos is None:
        return None
    if any(part.shape != (steps,) or part.dtype.kind not in "iu" for part in (seconds, nanos)):
        return None
    if int(seconds.min()) < 0 or int(seconds.max()) > 9e9 or int(nanos.max()) >= 1e9:
        return None
    return seconds.astype(np.int64) * 1_000_000_000 + nanos.astype(np.int64)


def _latencies(
    stamps: Mapping[str, npt.NDArray[Any]], images: Mapping[str, Stamps], notes: Notes
) -> dict[str, int]:
    found = {}
    for serial, taken in images.items():
        received = _first(stamps, (f"cameras/{serial}_frame_received",), len(taken), notes)
        if received is not None:
            found[serial] = int(np.median(received - taken))
    return found


def _ticks(stamps_ms: Stamps, start_ms: int, device: Nanoseconds | None) -> Ticks:
    raw = stamps_ms * 1_000_000 if device is None else device
    return Ticks((stamps_ms - start_ms) * 1_000_000, "measured", None, raw)
