"""What an operator sets out to do: where each hand goes and how far it closes, and reflexes.

A script is written in task space and open loop; what comes of it is decided by physics. Only
reflexes look back: a person who sees the object slide squeezes, or lets go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from demos.physics import Floats
from demos.simulate.operator import Operator, minimum_jerk, wander

COMMAND_HZ = 100.0
"""How often the teleoperation loop reads the operator's hands."""


@dataclass(frozen=True, slots=True)
class Reflex:
    """What a person does who feels the object slide by `slid_m` in the first of `hands`.

    It counts between `after_s` and `until_s`; `delay_s` later all hands go to `closure` within
    `seconds` and stay there until `until_s`, when the script takes over again. The delay is a
    little below that of the grip reflex to a slip, 60 to 80 ms (Johansson and Westling, 1984).
    """

    hands: tuple[str, ...]
    after_s: float
    until_s: float
    slid_m: float
    closure: float
    delay_s: float = 0.05
    seconds: float = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Intent:
    """A script sampled at COMMAND_HZ: what the operator's hands do.

    time_s: (n,). position_m, turn_rad (rotation vector from the world's axes): (n, 3) per hand;
    closure: (n,) per hand, 0 open, 1 closed.
    """

    time_s: Floats
    position_m: Mapping[str, Floats]
    turn_rad: Mapping[str, Floats]
    closure: Mapping[str, Floats]


@dataclass(slots=True)
class _Track:
    """Keys of one quantity: it goes from where it is to `to`, between two moments."""

    value: Floats
    keys: list[tuple[float, float, Floats]] = field(default_factory=list)

    def add(self, start_s: float, end_s: float, to: Floats) -> None:
        self.keys.append((start_s, end_s, to))
        self.value = to

    def sampled(self, first: Floats, time_s: Floats) -> Floats:
        out = np.repeat(first[None, :], len(time_s), axis=0)
        now = first
        for start, end, to in sorted(self.keys, key=lambda key: key[0]):
            late = time_s >= start
            share = minimum_jerk((time_s[late] - start) / max(end - start, 1e-6))
            out[late] = now + (to - now) * share[:, None]
            now = to
        return out


class Script:
    """Write down movements one after the other; the operator's habits fill in the rest.

    `rest_m` is where each hand starts (its grasp point in the world, m).
    """

    def __init__(
        self, operator: Operator, rng: np.random.Generator, rest_m: Mapping[str, Floats]
    ) -> None:
        self.operator, self.rng = operator, rng
        self.now_s = 0.0
        self.reflexes: list[Reflex] = []
        self.stop_s: float | None = None
        self._rest = {hand: np.asarray(place, dtype=np.float64) for hand, place in rest_m.items()}
        self._position = {hand: _Track(place) for hand, place in self._rest.items()}
        self._turn = {hand: _Track(np.zeros(3)) for hand in rest_m}
        self._closure = {hand: _Track(np.zeros(1)) for hand in rest_m}

    def at(self, hand: str) -> Floats:
        """Return where a hand's grasp point will be by now (m, world)."""
        return self._position[hand].value

    def move(
        self,
        to: Mapping[str, Sequence[float] | Floats],
        seconds: float,
        *,
        free: bool = False,
        exact: bool = False,
        turn: Mapping[str, Sequence[float]] | None = None,
    ) -> float:
        """Move hands to places (m, world) in about `seconds` at average pace; return the start.

        In a free movement the operator may hesitate before it or overshoot at its end; an exact
        one takes `seconds` whatever the pace. `turn` gives rotation vectors (rad) to reach at the
        same time.
        """
        started = self.now_s
        if free and self.rng.random() < self.operator.hesitation:
            self.wait(float(self.rng.uniform(0.25, 0.7)))
        took = seconds / self.operator.pace * float(self.rng.uniform(0.9, 1.12))
        took = seconds if exact else took
        goals = {hand: np.asarray(place, dtype=np.float64) for hand, place in to.items()}
        past = free and self.rng.random() < self.operator.overshoot
        for hand, goal in goals.items():
            way = goal - self._position[hand].value
            over = 0.02 + 0.05 * float(self.rng.random()) if past else 0.0
            self._position[hand].add(self.now_s, self.now_s + took, goal + over * way)
        for hand, angles in (turn or {}).items():
            goal = np.asarray(angles, dtype=np.float64)
            self._turn[hand].add(self.now_s, self.now_s + took, goal)
        self.now_s += took
        if past:
            back = 0.25 / self.operator.pace
            for hand, goal in goals.items():
                self._position[hand].add(self.now_s, self.now_s + back, goal)
            self.now_s += back
        return started

    def wait(self, seconds: float) -> None:
        """Hold still."""
        self.now_s += seconds

    def grip(
        self, closure: Mapping[str, float], seconds: float, *, at_s: float | None = None
    ) -> None:
        """Close or open hands within `seconds`, from now or from `at_s`; time does not advance."""
        start = self.now_s if at_s is None else at_s
        for hand, value in closure.items():
            self._closure[hand].add(start, start + seconds, np.array([value]))

    def stop(self) -> None:
        """Press the stop button now; nothing written later happens."""
        self.stop_s = self.now_s

    def sampled(self) -> Intent:
        """Sample the whole script, with the operator's drift and tremor."""
        end = self.now_s if self.stop_s is None else self.stop_s
        count = int(np.ceil(end * COMMAND_HZ)) + 1
        time_s = np.arange(count) / COMMAND_HZ
        step, who = 1.0 / COMMAND_HZ, self.operator
        position, turn, closure = {}, {}, {}
        for hand in sorted(self._rest):
            slow = wander(self.rng, count, step, who.drift_m, 3)
            phase = self.rng.uniform(0.0, 2.0 * np.pi, 3)
            swell = 1.0 + wander(self.rng, count, step, 0.3, 3)
            tremor = np.sin(2.0 * np.pi * who.tremor_hz * time_s[:, None] + phase) * swell
            # a tremor that starts at full size would kick the robot in its first sample
            soft = minimum_jerk(time_s / 0.4)[:, None]
            path = self._position[hand].sampled(self._rest[hand], time_s)
            position[hand] = path + soft * (slow + who.tremor_m * tremor)
            lean = wander(self.rng, count, step, 4.0 * who.drift_m, 3)
            turn[hand] = self._turn[hand].sampled(np.zeros(3), time_s) + lean
            closure[hand] = self._closure[hand].sampled(np.zeros(1), time_s)[:, 0]
        return Intent(time_s, position, turn, closure)
