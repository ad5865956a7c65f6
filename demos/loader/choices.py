"""What a person asks of windows, checked before anything is read."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from demos.errors import DemosError, UnknownName

IMAGE = "image."
Normalisation = Literal["mean_std", "min_max", "quantile"]
NORMALISATIONS: tuple[Normalisation, ...] = ("mean_std", "min_max", "quantile")
Progress = Callable[[int, int], None]
"""Called while the cache is built with how much is done, of how much."""


class LoadFailed(DemosError, ValueError):
    """Windows cannot be made of these episodes in the way that was asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One array of a window: under which key, of which stream or camera, at which steps."""

    key: str
    name: str
    offsets: tuple[int, ...]

    @property
    def camera(self) -> str:
        """The camera's name, empty for a stream."""
        return self.name.removeprefix(IMAGE) if self.name.startswith(IMAGE) else ""


class More(TypedDict, total=False):
    """What may be asked for beside streams and rate; see `demos.loader.Windows`."""

    split: str | None
    anchors: Literal["all", "whole"]
    normalise: Mapping[str, Normalisation]
    size: int | tuple[int, int] | None
    weights: Mapping[str, float]
    max_age_s: float | None
    format: Literal["numpy", "torch"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What is asked for; see `demos.loader.Windows` for what each word means."""

    rate_hz: float
    observe: Mapping[str, Iterable[int]]
    act: Mapping[str, Iterable[int]] = field(default_factory=dict)
    split: str | None = None
    anchors: Literal["all", "whole"] = "all"
    normalise: Mapping[str, Normalisation] = field(default_factory=dict)
    size: int | tuple[int, int] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    max_age_s: float | None = None
    format: Literal["numpy", "torch"] = "numpy"

    def wanted(self) -> tuple[Wanted, ...]:
        """List the arrays of a window. Raises LoadFailed where nothing or no step is named."""
        observed = [Wanted(name, name, _offsets(name, of)) for name, of in self.observe.items()]
        acted = [
            Wanted(f"act.{name}" if name in self.observe else name, name, _offsets(name, of))
            for name, of in self.act.items()
        ]
        if not observed and not acted:
            raise LoadFailed("neither `observe` nor `act` names a stream").with_hint(
                'for example observe={"joint_position": [-1, 0], "image.egocentric": [0]}'
            )
        return (*observed, *acted)

    def check(self) -> None:
        """Raise LoadFailed or UnknownName for a choice that means nothing."""
        if not (self.rate_hz > 0 and math.isfinite(self.rate_hz)):
            raise LoadFailed(f"{self.rate_hz} steps a second is no rate").with_hint(
                "for example rate_hz=30"
            )
        if self.max_age_s is not None and not self.max_age_s > 0:
            raise LoadFailed(f"a sample cannot be at most {self.max_age_s} s old").with_hint(
                "leave max_age_s out for three periods"
            )
        if self.anchors not in ("all", "whole"):
            raise UnknownName.among("choice of anchors", self.anchors, ("all", "whole"))
        if self.format not in ("numpy", "torch"):
            raise UnknownName.among("format", self.format, ("numpy", "torch"))
        names = {each.name for each in self.wanted()}
        for name, kind in self.normalise.items():
            if name not in names or name.startswith(IMAGE):
                streams = [each for each in names if not each.startswith(IMAGE)]
                raise UnknownName.among("stream to normalise", name, streams)
            if kind not in NORMALISATIONS:
                raise UnknownName.among("normalisation", kind, NORMALISATIONS)
        for episode, weight in self.weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise LoadFailed(f"episode {episode} cannot have the weight {weight}").with_hint(
                    "a weight is a finite number, zero or more"
                )

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size that images are scaled to, or None. Raises LoadFailed for an odd one."""
        if self.size is None:
            return None
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        if min(height, width) < 16 or height % 2 or width % 2:
            raise LoadFailed(f"images cannot be scaled to {height} x {width}").with_hint(
                "both sides must be even and at least 16 pixels"
            )
        return height, width


def _offsets(name: str, steps: Iterable[int]) -> tuple[int, ...]:
    try:
        found = tuple(operator.index(step) for step in steps)
    except TypeError as error:
        raise LoadFailed(f"{name!r} must list whole steps: {error}").with_hint(
            "0 is the anchor, -1 the step before it: [-1, 0] or range(16)"
        ) from error
    if not found:
        raise LoadFailed(f"{name!r} lists no step").with_hint("0 is the anchor: [0]")
    return found
