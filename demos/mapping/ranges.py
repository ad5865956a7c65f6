"""Numbers held against the joints' ranges: beyond them, in which unit would they make sense?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from demos.mapping.conversion import PER_DEGREE, Floats
from demos.mapping.suspicion import Cause, Suspicion, listed
from demos.model import Joint

SLACK = 0.1
"""A range is stretched at either end by this share of it before a value counts as beyond."""

_LOOKS: Mapping[Cause, str] = {
    "degrees": "divided by 57.3 they fit: degrees?",
    "counts": "they are whole numbers: raw counts?",
    "norm01": "they lie between 0 and 1: shares of the range?",
    "range": "another joint's channel, a turned sign or another zero?",
}


@dataclass(slots=True)
class Reach:
    """How far one channel of a joint reached: least, greatest, how many of how many beyond."""

    joint: Joint
    slack: float = SLACK
    least: float = np.inf
    greatest: float = -np.inf
    samples: int = 0
    beyond: int = 0
    whole: bool = True

    def add(self, values: Floats) -> None:
        """Take in more values: (n,) in the joint's unit; those that are not finite are left out."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        low, high = self._stretched()
        self.least = min(self.least, float(values.min()))
        self.greatest = max(self.greatest, float(values.max()))
        self.samples += len(values)
        self.beyond += int(((values < low) | (values > high)).sum())
        self.whole = self.whole and bool((values == np.rint(values)).all())

    def cause(self) -> Cause:
        """Say in which unit numbers beyond the range would make sense."""
        low, high = self._stretched()
        if self.whole and self.greatest - self.least > 1:
            return "counts"
        if self.joint.unit != "norm01" and self.least >= -0.01 and self.greatest <= 1.01:
            return "norm01"
        # radians of another joint stay near the range, degrees go far beyond it
        far = max(self.greatest - high, low - self.least) > (high - low) / 2
        fits = low <= self.least * PER_DEGREE and self.greatest * PER_DEGREE <= high
        return "degrees" if self.joint.unit == "rad" and far and fits else "range"

    def _stretched(self) -> tuple[float, float]:
        room = self.slack * (self.joint.upper - self.joint.lower)
        return self.joint.lower - room, self.joint.upper + room


def beyond(
    reaches: Mapping[str, Reach], what: str, share: float, explained: Collection[str] = ()
) -> Iterator[Suspicion]:
    """Accuse the channels of which more than `share` of the samples are beyond, one for a cause.

    reaches: joint to what it reached. what: whose values they are (state, command). explained:
    joints that are known to be another's, or turned round.
    """
    causes: dict[Cause, list[str]] = {}
    for name, reach in reaches.items():
        if name not in explained and reach.beyond > share * reach.samples:
            causes.setdefault(reach.cause(), []).append(name)
    for cause, names in causes.items():
        first = reaches[max(names, key=lambda name: reaches[name].beyond)]
        joint = first.joint
        yield Suspicion(
            cause,
            tuple(names),
            f"the {what} of {listed(names)} leaves the range: {joint.name} goes from "
            f"{first.least:.4g} to {first.greatest:.4g} where it has {joint.lower:g} to "
            f"{joint.upper:g} {joint.unit}; {_LOOKS[cause]}",
        )
