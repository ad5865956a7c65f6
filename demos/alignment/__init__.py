"""One clock for many: the steps of a learning table, what each stream says at them, what is lost.

A step is a moment. Everything that a step holds was known by then (the latest sample, the latest
image), but for positions, which may be interpolated; the error bound says what the steps cannot
say of a stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.model import Camera, Episode, Nanoseconds, Stream
from demos.timeline import How

Action = Literal["joint", "joint_delta", "end_effector", "end_effector_delta", "rotation_6d"]
"""What an action says: target joints; their change a step; target pose of each hand (position,
quaternion xyzw) or its change; the pose with its rotation as two columns of the matrix."""

USUAL_HZ = 30.0
"""Where neither a person nor a camera says how many steps a second has."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How far a stream departs from what its steps say, in `unit`, over its own samples.

    worst: the greatest absolute difference; rms: its root mean square. `lost` counts samples that
    are in no window, for streams kept as windows.
    """

    stream: str
    how: str
    unit: str
    samples: int
    worst: float
    rms: float
    lost: int = 0


def reach(episode: Episode, streams: Sequence[str] | None = None) -> tuple[int, int]:
    """Return the first and last moment at which all named streams and all cameras speak.

    By default all streams that tick; one sampled at changes holds from its first sample on, so it
    bounds nothing. (0, -1) where they never all speak.
    """
    wanted = [episode.streams[name] for name in (streams or episode.streams)]
    clocks = [stream.time_ns for stream in wanted if len(stream) and timeline.periodic(stream)]
    clocks += [camera.time_ns for camera in episode.cameras.values() if len(camera.time_ns)]
    if not clocks:
        return 0, -1
    start, end = max(int(c.min()) for c in clocks), min(int(c.max()) for c in clocks)
    return (start, end) if end >= start else (0, -1)


def step_rate_hz(episode: Episode) -> float:
    """Return how many steps a second an episode asks for: its slowest camera's rate, or its
    state's where that is slower than 100 Hz; 30 Hz otherwise.
    """
    rates = [_images_hz(camera) for camera in episode.cameras.values()]
    for name in ("joint_position", "state"):
        if not rates and (state := episode.streams.get(name)) is not None:
            rates = [rate for rate in [timeline.rate_hz(np.sort(state.time_ns))] if rate <= 100.0]
    known = [rate for rate in rates if np.isfinite(rate)]
    # 29.97 and 30.02 are both what people call 30
    return float(round(min(known), 0) or min(known)) if known else USUAL_HZ


def _images_hz(camera: Camera) -> float:
    """The rate that a camera keeps: the declared one, or its mean; else what it usually does."""
    stamps = np.sort(camera.time_ns)
    usual = timeline.rate_hz(stamps)
    if not np.isfinite(usual):
        return usual
    declared = camera.info.rate_hz
    mean = float(round((len(stamps) - 1) * 1e9 / int(stamps[-1] - stamps[0])))
    # the median of jittered steps can be off by a Hz, and no image then belongs to one step
    for rate in (declared, mean):
        if rate and keeps_rate(stamps, rate):
            return rate
    return declared if declared and abs(declared - usual) <= 0.1 * usual else usual


def steps(start_ns: int, end_ns: int, rate_hz: float, camera: Camera | None = None) -> Nanoseconds:
    """Return the moments of the steps in [start_ns, end_ns]: (n,) int64.

    The stamps of `camera` where it keeps that rate without a hole, so that its images are the
    steps one to one; an even grid otherwise.
    """
    if camera is not None:
        inside = camera.time_ns[(camera.time_ns >= start_ns) & (camera.time_ns <= end_ns)]
        if keeps_rate(inside, rate_hz):
            return inside
    return timeline.grid_ns(start_ns, end_ns, rate_hz)


def keeps_rate(time_ns: Nanoseconds, rate_hz: float) -> bool:
    """Say whether stamps stay within half a period of an even clock of this rate."""
    if len(time_ns) < 2:
        return False
    even = np.arange(len(time_ns)) * (1e9 / rate_hz)
    off = (time_ns - time_ns[0]) - even
    return bool(np.ptp(off) < 0.5e9 / rate_hz and (np.diff(time_ns) > 0).all())


def latest(time_ns: Nanoseconds, moments: Nanoseconds) -> npt.NDArray[np.int64]:
    """Return per moment the index of the last stamp at or before it (0 before the first).

    `time_ns` must be in order: (n,), n > 0.
    """
    found = np.searchsorted(time_ns, moments, side="right") - 1
    return np.maximum(found, 0).astype(np.int64)


def windows(stream: Stream, moments: Nanoseconds, length: int) -> npt.NDArray[Any]:
    """Return per moment the last `length` samples at or before it, oldest first.

    (len(moments), length, C) in the stream's dtype; before the stream began, its first sample.
    """
    ordered = timeline.repaired(stream)
    last = latest(ordered.time_ns, moments)
    rows = np.maximum(last[:, None] - np.arange(length - 1, -1, -1)[None, :], 0)
    found: npt.NDArray[Any] = ordered.values[rows]
    return found


def window_length(stream: Stream, rate_hz: float) -> int:
    """Return how many samples a window at `rate_hz` steps a second needs to leave none out."""
    own = stream.info.rate_hz or timeline.rate_hz(np.sort(stream.time_ns))
    return max(int(np.ceil(own / rate_hz - 1e-9)), 1) + 1 if np.isfinite(own) else 1


def loss(name: str, stream: Stream, moments: Nanoseconds, how: How) -> list[Loss]:
    """Hold a stream against its own values at the steps, one answer a unit.

    Between steps the values are joined as `how` says and compared with every sample from the first
    step to the last. Samples that are not finite are left out.
    """
    ordered = timeline.repaired(stream)
    inside = (ordered.time_ns >= moments[0]) & (ordered.time_ns <= moments[-1])
    own = ordered.time_ns[inside]
    flat = len(own), math.prod(ordered.values.shape[1:])  # -1 cannot be told where none is inside
    truth = ordered.values[inside].reshape(flat)
    sampled = Stream(moments, timeline.at(ordered, moments, how), ordered.info)
    rebuilt = timeline.at(sampled, own, how).reshape(flat)
    off = np.abs(truth.astype(np.float64) - rebuilt.astype(np.float64))
    units = ordered.info.units if len(ordered.info.units) == off.shape[1] else None
    found = []
    for unit in dict.fromkeys(units or ordered.info.units[:1]):
        chosen = off[:, [u == unit for u in units]] if units else off
        finite = chosen[np.isfinite(chosen)]
        worst, rms = (float(finite.max()), float(np.sqrt(np.mean(finite**2)))) if finite.size else (
            0.0, 0.0)  # fmt: skip
        found.append(Loss(name, how, unit, len(own), worst, rms))
    return found


def windows_loss(name: str, stream: Stream, moments: Nanoseconds, length: int) -> Loss:
    """Count the samples between the first step and the last that no window holds."""
    ordered = timeline.repaired(stream)
    last = latest(ordered.time_ns, moments)
    held = np.zeros(len(ordered) + 1, np.int64)
    np.add.at(held, np.maximum(last - length + 1, 0), 1)
    np.add.at(held, last + 1, -1)
    covered = np.cumsum(held[:-1]) > 0
    between = slice(int(last[0]), int(last[-1]) + 1)
    lost = int((~covered[between]).sum())
    unit = ordered.info.units[0] if ordered.info.units else ""
    return Loss(name, f"window of {length}", unit, between.stop - between.start, 0.0, 0.0, lost)
