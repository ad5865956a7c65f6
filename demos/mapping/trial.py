"""Hold what was connected against the body and against its own commands, over several episodes.

What a name says can be wrong: numbers in degrees, a turned sign, two channels exchanged. Each
leaves a trace in the numbers. Joints that hardly move are not judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import combinations

import numpy as np

from demos.mapping import STREAMS, Role, connect
from demos.mapping.conversion import ASSUMED
from demos.mapping.coupling import Coupling
from demos.mapping.following import Flags, can_assign, exchanged, order, scaled, turned
from demos.mapping.ranges import Reach, beyond
from demos.mapping.suspicion import Suspicion, listed
from demos.model import Embodiment, Joint, Stream

LEAST_S = 5.0
"""Less than this of a recording says nothing against a mapping."""

LEAST_SPEED = 0.02
"""A joint that never goes through this share of its range in a second hardly moves."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What came of a trial: what was judged, in one sentence, and what is hardly right."""

    summary: str
    suspicions: tuple[Suspicion, ...]


_JUDGED: tuple[Role, ...] = ("state", "command")
Columns = dict[str, bytes]
"""Of one episode: channel to a hash of its numbers."""


@dataclass(slots=True)
class Trial:
    """What some episodes of one source say about its mapping to a body.

    `ignored` are channels of the source left out on purpose, by the source's own names.
    """

    body: Embodiment
    ignored: Sequence[str] = ()
    seconds: float = 0.0
    _reaches: dict[Role, dict[str, Reach]] = field(default_factory=dict)
    _columns: list[tuple[Columns, Columns]] = field(default_factory=list)
    _strangers: dict[str, None] = field(default_factory=dict)
    _assumed: set[str] = field(default_factory=set)
    _command: Coupling = field(init=False)
    _velocity: Coupling = field(init=False)

    def __post_init__(self) -> None:
        joints = tuple(joint.name for joint in self.body.joints)
        self._command, self._velocity = Coupling(joints), Coupling(joints, rate=True)

    @property
    def judges(self) -> bool:
        """Say whether any channel was connected, so that there is something to judge."""
        return any(self._reaches.values())

    def add(self, streams: Mapping[str, Stream]) -> None:
        """Take in the streams of one episode."""
        joints = {joint.name: joint for joint in self.body.joints}
        for role in _JUDGED:
            reaches = self._reaches.setdefault(role, {})
            for stream in _of(streams, role):
                for column, channel in enumerate(stream.channels):
                    if channel in joints:
                        reach = reaches.setdefault(channel, Reach(joints[channel]))
                        reach.add(stream.values[:, column].astype(np.float64))
        for name in ("state", "action"):
            if name in streams:
                self._strangers |= dict.fromkeys(streams[name].channels)
        if ASSUMED in streams:
            self._assumed |= set(streams[ASSUMED].channels)
        state = _of(streams, "state")
        if not state:
            return
        self.seconds += max(float(np.ptp(stream.time_ns)) for stream in state) / 1e9
        commands = _of(streams, "command")
        self._columns.append((_columns(state), _columns(commands)))
        if commands:
            self._command.add(state, commands)
        if velocities := _of(streams, "velocity"):
            self._velocity.add(state, velocities)

    def ruling(self) -> Ruling:
        """End the trial."""
        return Ruling(self.summary(), tuple(self.suspicions()))

    def suspicions(
        self,
        *,
        share: float = 0.01,
        least_s: float = LEAST_S,
        least_speed: float = LEAST_SPEED,
        sure: float = 0.8,
        gain: float = 0.3,
        against: float = 0.7,
        times: float = 10.0,
    ) -> list[Suspicion]:
        """Say what is hardly right; nothing before there are `least_s` seconds to judge by.

        share: of a joint's samples that may be beyond its range. least_speed: in ranges a second,
        below which a joint hardly moves. sure: the correlation with another joint's command that
        accuses where it beats its own by `gain` (Fisher's z, for two joints). against: the
        correlation with its own command that is a turned sign. times: how many times as far as
        it is told a joint may move.
        """
        if self.seconds < least_s:
            return []
        found = list(self._missing())
        found += [
            Suspicion("twice", pair, f"{pair[0]} and {pair[1]} hold the very same numbers")
            for pair in _twins(self._columns, self.body)
        ]
        for coupling, what in ((self._command, "command"), (self._velocity, "velocity")):
            if coupling.seconds < least_s:
                continue
            moving = self._moving(coupling, least_speed)
            cycles = exchanged(coupling, moving, sure=sure, gain=gain)
            found += [order(pairs, coupling, what) for pairs in cycles]
            in_cycles = [i for pairs in cycles for i, _ in pairs]
            own = np.setdiff1d(np.flatnonzero(moving.all(axis=0)), in_cycles)
            found += turned(own, coupling, what, against=against)
            if coupling is self._command:
                found += scaled(own, coupling, sure=sure, times=times)
        explained = {j for each in found if each.cause in ("order", "sign") for j in each.joints}
        for role, reaches in self._reaches.items():
            found += beyond(reaches, role, share, explained)
        return found

    def summary(self, *, least_speed: float = LEAST_SPEED) -> str:
        """Say in one sentence what was judged and what could not be."""
        joints = {name for reaches in self._reaches.values() for name in reaches}
        if self.seconds < LEAST_S:
            return f"mapping: not assessed, {self.seconds:.1f} s are too short"
        said = f"mapping: {len(joints)} joints were held against their ranges"
        coupling = self._command if self._command.each else self._velocity
        if not coupling.each:
            return f"{said}; sign and order not assessed: nothing says what they were told"
        if coupling.seconds < LEAST_S:
            return f"{said}; sign and order not assessed: it was told for too short a time"
        moving = int(self._moving(coupling, least_speed).all(axis=0).sum())
        what = "commands" if coupling is self._command else "velocities"
        said += f", the {moving} of them that move also against their {what}"
        return said if can_assign() else f"{said}; their order not assessed, which needs SciPy"

    def _moving(self, coupling: Coupling, least_speed: float) -> Flags:
        span = np.array([joint.upper - joint.lower for joint in self.body.joints])
        moving: Flags = coupling.pooled().moved > least_speed * span
        return moving

    def _missing(self) -> Iterator[Suspicion]:
        """Accuse a group of joints of which the source has some and lacks others."""
        here = self._reaches.get("state", {})
        said = [name for source in self.body.sources.values() for name in source.ignored]
        ignored = connect([*self.ignored, *said], self.body, keep_repeated=True)
        excused = {link.joint.name for link in ignored.links} | self._assumed
        groups: dict[str, list[Joint]] = {}
        for joint in self.body.joints:
            groups.setdefault(joint.group, []).append(joint)
        for group, joints in groups.items():
            lacking = [j for j in joints if j.name not in here and j.name not in excused]
            if not lacking or not any(joint.name in here for joint in joints):
                continue
            words = [word for joint in lacking for word in (joint.name, *joint.aliases)]
            close = [c for c in self._strangers if get_close_matches(c, words, n=1, cutoff=0.8)]
            maybe = f"; is it {close[0]!r}, which the body does not know?" if close else ""
            names = tuple(joint.name for joint in lacking)
            message = (
                f"the source has no channel for {listed(names)}, "
                f"but for {len(joints) - len(lacking)} others of the group {group}{maybe}"
            )
            yield Suspicion("missing", names, message)


def _of(streams: Mapping[str, Stream], role: Role) -> list[Stream]:
    """Return the streams of one role that can be judged: numbers, one row a sample."""
    joints, fingers = STREAMS[role]
    return [
        stream
        for name, stream in streams.items()
        if (name == joints or name.startswith(f"{fingers}."))
        and stream.values.ndim == 2
        and len(stream) > 1
        and np.issubdtype(stream.values.dtype, np.number)
    ]


def _twins(episodes: Sequence[tuple[Columns, Columns]], body: Embodiment) -> list[tuple[str, str]]:
    """Find pairs of joints that hold the very same numbers wherever both of them change.

    A hand that is told one number for three fingers or more, or has no more than two, may do so.
    """
    hands = [set(effector.hand) for effector in body.effectors]
    alike: set[tuple[str, str]] = set()
    for state, told in episodes:
        names_of: dict[bytes, list[str]] = {}
        for name, content in state.items():
            names_of.setdefault(content, []).append(name)
        for names in names_of.values():
            for one, other in combinations(sorted(names), 2):
                hand = next((hand for hand in hands if {one, other} <= hand), set())
                few_or_many = len(hand & set(names)) > 2 or 0 < len(hand) <= 2
                if not (few_or_many and told.get(one) == told.get(other)):
                    alike.add((one, other))
    return sorted(
        (one, other)
        for one, other in alike
        if all(
            state[one] == state[other] for state, _ in episodes if one in state and other in state
        )
    )


def _columns(streams: Iterable[Stream]) -> Columns:
    """Hash each channel that changes at all."""
    found = {}
    for stream in streams:
        for n, channel in enumerate(stream.channels):
            column = np.ascontiguousarray(stream.values[:, n])
            known = column[np.isfinite(column)]
            if (known != known[:1]).any():
                found[channel] = hashlib.sha256(column.tobytes()).digest()
    return found
