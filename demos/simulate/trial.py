"""One attempt as it is drawn before physics runs, and what a simulated task must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from demos._registry import Registry
from demos.model import Pose
from demos.model.records import Scalar
from demos.simulate.operator import Operator
from demos.simulate.rollout import Rollout
from demos.simulate.script import Script
from demos.simulate.truth import Truth
from demos.simulate.world import Scene, World


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What one attempt is set up with.

    `holders` are the hands that carry the object `target`; `together` says that it takes all of
    them at once. `factors` and `declared` are what the operator writes down, which may differ
    from `scene`. `write` puts the operator's script on paper once the world stands.
    """

    task: str
    variant: str
    scene: Scene
    target: str
    holders: tuple[str, ...]
    together: bool
    factors: Mapping[str, Scalar]
    declared: Mapping[str, Pose]
    write: Callable[[World], Script]


class SimulatedTask(Protocol):
    """A task that can be simulated: one module, registered with `@tasks.adding(ID)`.

    `variants` are the ways an attempt may go, each with its share of a session.
    """

    @property
    def variants(self) -> Mapping[str, float]:
        """Say how an attempt may go and how often."""

    def draw(self, variant: str, operator: Operator, rng: np.random.Generator) -> Trial:
        """Draw one attempt of a variant; equal random states give equal attempts."""

    def intended(self, variant: str, rollout: Rollout, truth: Truth) -> bool:
        """Say whether what physics made of an attempt is what the variant was meant to show."""


tasks: Registry[SimulatedTask] = Registry("simulated task", "demos.simulate")
