"""The simulated person: pace, tremor, drift, hesitation, overshoot, and how they tire.

Movements are minimum-jerk (Flash and Hogan, 1985); an overshoot is corrected by a short second
movement. Names are pseudonyms: op-1, op-2, ...
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demos.physics import Floats


@dataclass(frozen=True, slots=True)
class Operator:
    """One person's habits.

    `pace` multiplies speed (1 is average); `tremor_m` is the amplitude at `tremor_hz`; `drift_m`
    the size of slow wandering; `hesitation` and `overshoot` are chances per free movement;
    `fatigue` is how much slower and shakier an hour makes them (0.2 is 20 %).
    """

    name: str
    pace: float = 1.0
    tremor_m: float = 0.0005
    tremor_hz: float = 9.0
    drift_m: float = 0.0015
    hesitation: float = 0.1
    overshoot: float = 0.2
    fatigue: float = 0.2
    experience: str = "trained"

    def tired(self, minutes: float) -> Operator:
        """Return the same person after `minutes` of work without a break."""
        hours = minutes / 60.0
        return Operator(
            name=self.name,
            pace=self.pace / (1.0 + self.fatigue * hours),
            tremor_m=self.tremor_m * (1.0 + 2.0 * self.fatigue * hours),
            tremor_hz=self.tremor_hz,
            drift_m=self.drift_m * (1.0 + self.fatigue * hours),
            hesitation=min(0.9, self.hesitation * (1.0 + self.fatigue * hours)),
            overshoot=self.overshoot,
            fatigue=self.fatigue,
            experience=self.experience,
        )


def crew(count: int, seed: int) -> list[Operator]:
    """Draw `count` people; the same seed gives the same people."""
    people = []
    for number in range(count):
        rng = np.random.default_rng([seed, 7001, number])
        skill = float(rng.uniform(0.0, 1.0))
        people.append(
            Operator(
                name=f"op-{number + 1}",
                pace=0.8 + 0.4 * skill + float(rng.uniform(-0.08, 0.08)),
                tremor_m=float(rng.uniform(0.0002, 0.0007)),
                tremor_hz=float(rng.uniform(7.5, 11.0)),
                drift_m=0.0022 - 0.0012 * skill,
                hesitation=0.25 - 0.2 * skill,
                overshoot=float(rng.uniform(0.05, 0.35)),
                fatigue=float(rng.uniform(0.1, 0.5)),
                experience="novice" if skill < 0.3 else "trained" if skill < 0.75 else "expert",
            )
        )
    return people


def minimum_jerk(share: Floats) -> Floats:
    """Return how far a minimum-jerk movement is, 0 to 1, at `share` of its time."""
    x = np.clip(share, 0.0, 1.0)
    return np.asarray(x**3 * (10.0 - 15.0 * x + 6.0 * x**2))


def wander(rng: np.random.Generator, count: int, step_s: float, size: float, width: int) -> Floats:
    """Draw slow drift: an Ornstein-Uhlenbeck process, time constant 0.5 s: (count, width).

    `size` is its standard deviation; it starts at zero.
    """
    keep = float(np.exp(-step_s / 0.5))
    noise = rng.standard_normal((count, width)) * size * np.sqrt(1.0 - keep**2)
    noise[:1] = 0.0
    return remembered(noise, keep)


def remembered(values: Floats, keep: float) -> Floats:
    """Filter along the first axis so that each output is `keep` of the last plus its input."""
    out = np.empty_like(values)
    now = np.zeros(values.shape[1:])
    for row in range(len(values)):
        now = keep * now + values[row]
        out[row] = now
    return out
