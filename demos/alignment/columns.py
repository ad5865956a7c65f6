"""The columns of a learning table: what one step says of each stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import DemosError
from demos.model import Manifest, Nanoseconds, Stream, StreamSummary
from demos.timeline import How

COMMANDS = ("joint_command", "gripper_command", "action", "teleop")
"""Kinds of streams that say what was wanted: held until the next sample, and no observation."""

_NO_OBSERVATION = (*COMMANDS, "next")
_TURN = ("qx", "qy", "qz", "qw")


class NoTable(DemosError):
    """An episode cannot be laid out as a table of steps."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a value of `shape` a step.

    `channels` and `units` are those of the last axis, empty where they cannot be told apart.
    `words` are what whole numbers of an annotation stand for; -1 stands for none.
    """

    name: str
    dtype: Literal["float32", "int64", "bool"]
    shape: tuple[int, ...]
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """Channels of several streams side by side.

    picks: (stream, channel number) of each. parts: the body part that each belongs to.
    """

    picks: tuple[tuple[str, int], ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that the channels come from, each once."""
        return tuple(dict.fromkeys(stream for stream, _ in self.picks))

    def only(self, numbers: Sequence[int]) -> Joined:
        """Return the channels with these numbers, in this order."""
        return Joined(
            tuple(self.picks[n] for n in numbers),
            tuple(self.channels[n] for n in numbers),
            tuple(self.units[n] for n in numbers),
            tuple(self.parts[n] for n in numbers),
        )

    def at(
        self, streams: Mapping[str, Stream], moments: Nanoseconds, how: How | None = None
    ) -> npt.NDArray[np.float64]:
        """Read the channels at the steps: (n, C)."""
        read = {name: at_steps(name, streams[name], moments, how) for name in self.streams}
        columns = [read[name][:, number] for name, number in self.picks]
        return np.stack(columns, axis=1).astype(np.float64)


def spans_of(parts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return [start, end) of each run of equal parts; a part that comes again is numbered."""
    found: dict[str, tuple[int, int]] = {}
    start = 0
    for n in range(1, len(parts) + 1):
        if n == len(parts) or parts[n] != parts[start]:
            name, again = parts[start], 2
            while name in found:
                name, again = f"{parts[start]}_{again}", again + 1
            found[name] = (start, n)
            start = n
    return found


def joined(manifest: Manifest, names: Sequence[str], parts: Mapping[str, str]) -> Joined | None:
    """Put the channels of streams side by side, in the order of `names`; None where none is there.

    parts: body part by channel. Names that occur twice get their stream's before them.
    """
    rows = [
        (name, number, channel, unit)
        for name in names
        if manifest.streams[name].shape[1:] == (len(manifest.streams[name].info.channels),)
        for number, (channel, unit) in enumerate(
            zip(
                manifest.streams[name].info.channels, manifest.streams[name].info.units, strict=True
            )
        )
    ]
    if not rows:
        return None
    bare = [channel for _, _, channel, _ in rows]
    twice = len(set(bare)) < len(bare)
    return Joined(
        tuple((name, number) for name, number, _, _ in rows),
        tuple(f"{name}.{channel}" if twice else channel for name, _, channel, _ in rows),
        tuple(unit for *_, unit in rows),
        tuple(parts.get(channel) or _part(name, channel) for name, _, channel, _ in rows),
    )


def at_steps(
    name: str, stream: Stream, moments: Nanoseconds, how: How | None = None
) -> npt.NDArray[Any]:
    """Read a stream at the steps: (n, ...) in its own dtype, a sample at a step as it is.

    By default as `how_of` says. Quaternions are turned the shorter way and have length one.
    """
    ordered = timeline.repaired(stream)
    held = timeline.at(ordered, moments, "previous")
    if (how or how_of(name, ordered)) == "previous":
        return held
    turns = _turns(ordered.channels) if ordered.values.ndim == 2 else []
    if turns:
        ordered = Stream(ordered.time_ns, _continuous(ordered.values, turns), ordered.info)
    mixed = timeline.at(ordered, moments, "linear")
    for turn in turns:
        length = np.linalg.norm(mixed[:, turn], axis=1, keepdims=True)
        mixed[:, turn] /= np.where(length > 0, length, 1.0)
    last = np.searchsorted(ordered.time_ns, moments, side="right") - 1
    sampled = ordered.time_ns[np.maximum(last, 0)] == moments
    # NaN beside a sample must not reach it, and rounding must not change it
    return np.where(sampled.reshape(-1, *[1] * (held.ndim - 1)), held, mixed)


def how_of(name: str, stream: Stream) -> How:
    """Say how a stream goes on between samples.

    Whole numbers, commands, rewards and what is sampled at changes hold; the rest is joined by
    lines.
    """
    whole = stream.values.dtype.kind != "f"
    steady = whole or name.split(".")[0] in _NO_OBSERVATION or not timeline.periodic(stream)
    return "previous" if steady else "linear"


def column_name(stream: str) -> str:
    """Name the column of a stream: what was wanted, and what came of it, is no observation."""
    return stream if stream.split(".")[0] in _NO_OBSERVATION else f"observation.{stream}"


def is_window(name: str) -> bool:
    """Say whether a step holds all samples since the last: force and touch."""
    return name.split(".")[0] in ("wrench", "tactile")


def window_of(summary: StreamSummary, longest_s: float) -> int:
    """Return how many samples a window needs so that none is lost between steps at most that long.

    The faster of the declared rate and the mean rate counts.
    """
    span_s = ((summary.end_ns or 0) - (summary.start_ns or 0)) / 1e9
    mean = (summary.shape[0] - 1) / span_s if span_s > 0 else 0.0
    return max(int(np.ceil(max(summary.info.rate_hz or 0.0, mean) * longest_s - 1e-3)), 1) + 1


def _part(stream: str, channel: str) -> str:
    """Name the body part of a channel that no body knows: its own prefix, or its stream's place."""
    prefix, dot, _ = channel.partition(".")
    if dot and prefix:
        return prefix
    kind, _, place = stream.partition(".")
    return place or {"joint_position": "joints", "joint_command": "joints"}.get(kind, kind)


def _turns(channels: Sequence[str]) -> list[slice]:
    found = []
    for first, channel in enumerate(channels):
        before = channel.removesuffix("qx")
        if channel.endswith("qx") and tuple(channels[first : first + 4]) == tuple(
            f"{before}{axis}" for axis in _TURN
        ):
            found.append(slice(first, first + 4))
    return found


def _continuous(values: npt.NDArray[Any], turns: Sequence[slice]) -> npt.NDArray[Any]:
    """Give quaternions the sign that is nearer to the one before: q and -q are one rotation."""
    values = values.copy()
    for turn in turns:
        flips = np.where((values[1:, turn] * values[:-1, turn]).sum(axis=1) < 0, -1, 1)
        values[1:, turn] *= np.cumprod(flips)[:, None].astype(values.dtype)
    return values
