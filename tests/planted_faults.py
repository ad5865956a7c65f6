"""Faults of a mapping, planted in trajectories whose mapping is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from demos import mapping
from demos.mapping.suspicion import Cause, Suspicion
from demos.mapping.trial import Trial
from demos.model import Embodiment, Stream
from tests.scripted import clock

Table = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recorded:
    """One episode as a source lays it out: state and command (n, C) under the names of channels."""

    names: tuple[str, ...]
    state: Table
    command: Table
    rate_hz: float = 30.0

    def streams(self, body: Embodiment) -> dict[str, Stream]:
        """Connect the channels as an import does."""
        time_ns = clock(self.rate_hz, len(self.state) / self.rate_hz)
        joined = mapping.connect(self.names, body)
        made = mapping.streams(self.state, joined, body, "state", time_ns)
        return made | mapping.streams(self.command, joined, body, "command", time_ns)


@dataclass(frozen=True)
class Fault:
    """One fault: what a person would call it, the joints (columns) it hurts, and the harm."""

    cause: Cause
    columns: tuple[int, ...]
    harm: Callable[[Recorded], Recorded]


def suspicions(episodes: Sequence[Recorded], body: Embodiment) -> list[Suspicion]:
    """Hold some episodes of one source against the body."""
    return tried(episodes, body).suspicions()


def tried(episodes: Sequence[Recorded], body: Embodiment) -> Trial:
    trial = Trial(body)
    for episode in episodes:
        trial.add(episode.streams(body))
    return trial


def names_it(found: Sequence[Suspicion], fault: Fault, joints: Sequence[str]) -> bool:
    """Say whether the right cause is suspected of the right joints."""
    hurt = {joints[column] for column in fault.columns}
    return any(each.cause == fault.cause and hurt <= set(each.joints) for each in found)


def in_degrees(column: int) -> Fault:
    return Fault("degrees", (column,), lambda r: _both(r, column, np.rad2deg))


def in_counts(column: int, scale: float, zero: float) -> Fault:
    def harm(values: Table) -> Table:
        counts: Table = np.rint(values / np.float32(scale) + np.float32(zero))
        return counts

    return Fault("counts", (column,), lambda r: _both(r, column, harm))


def turned(column: int, turn: Callable[[Table], Table] = np.negative) -> Fault:
    def harm(recorded: Recorded) -> Recorded:
        state = recorded.state.copy()
        state[:, column] = turn(state[:, column])
        return replace(recorded, state=state)

    return Fault("sign", (column,), harm)


def exchanged(*columns: int) -> Fault:
    """Let the state of each column stand under the name of the next one."""

    def harm(recorded: Recorded) -> Recorded:
        state = recorded.state.copy()
        state[:, list(columns)] = state[:, [*columns[1:], columns[0]]]
        return replace(recorded, state=state)

    return Fault("order", columns, harm)


def missing(column: int) -> Fault:
    def harm(recorded: Recorded) -> Recorded:
        keep = [n for n in range(len(recorded.names)) if n != column]
        names = tuple(recorded.names[n] for n in keep)
        return replace(
            recorded,
            names=names,
            state=recorded.state[:, keep],
            command=recorded.command[:, keep],
        )

    return Fault("missing", (column,), harm)


def doubled(column: int, again: int) -> Fault:
    def harm(recorded: Recorded) -> Recorded:
        state, command = recorded.state.copy(), recorded.command.copy()
        state[:, again], command[:, again] = state[:, column], command[:, column]
        return replace(recorded, state=state, command=command)

    return Fault("twice", (column, again), harm)


def _both(recorded: Recorded, column: int, harm: Callable[[Table], Table]) -> Recorded:
    state, command = recorded.state.copy(), recorded.command.copy()
    state[:, column], command[:, column] = harm(state[:, column]), harm(command[:, column])
    return replace(recorded, state=state, command=command)


def reaches(body: Embodiment, seed: int, *, seconds: float = 12.0, late_s: float = 0.1) -> Recorded:
    """Make an episode of a body that goes from target to target, each joint at its own times.

    The state is the command `late_s` later, with noise of a thousandth of the range.
    """
    rng = np.random.default_rng(seed)
    rate_hz = 100.0
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    columns = []
    for joint in body.joints:
        at = np.sort(rng.uniform(0, seconds, round(seconds)))
        goals = rng.uniform(joint.lower, joint.upper, len(at) + 1)
        value = np.full(len(t), goals[0])
        for start, before, after in zip(at, goals, goals[1:], strict=False):
            u = np.clip((t - start) / 0.7, 0.0, 1.0)
            value += (after - before) * u**3 * (10 - 15 * u + 6 * u**2)
        columns.append(value)
    command = np.clip(np.stack(columns, axis=1), *_limits(body))
    span = np.ptp(_limits(body), axis=0)
    shift = round(late_s * rate_hz)
    state = np.vstack([np.repeat(command[:1], shift, axis=0), command[: len(t) - shift]])
    state = np.clip(state + 1e-3 * span * rng.standard_normal(state.shape), *_limits(body))
    names = tuple(joint.name for joint in body.joints)
    return Recorded(names, state.astype(np.float32), command.astype(np.float32), rate_hz)


def _limits(body: Embodiment) -> npt.NDArray[np.float64]:
    return np.array([[j.lower for j in body.joints], [j.upper for j in body.joints]])


def pairs(count: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(count) for j in range(i + 1, count))
