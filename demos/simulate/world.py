"""The world of one episode: what stands on the table, and where everything is in the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demos import physics
from demos.embodiment import load
from demos.model import Effector, Embodiment
from demos.physics import Floats, Prop

EMBODIMENT = "g1_dex3"
SCENE = "g1_dex3/scene.xml"
TABLE_M = 0.80
"""Height of the table's surface in `sim/g1_dex3/scene.xml`."""
FINGERS = ("thumb", "index", "middle")


@dataclass(frozen=True, slots=True)
class Scene:
    """What an episode is set up with: the true start poses, the goal's centre, the light."""

    props: tuple[Prop, ...]
    goal_m: tuple[float, float]
    goal_half_m: float | tuple[float, float] = 0.07
    lighting: str = "bright"

    def parameters(self) -> dict[str, Any]:
        """Return plain values from which the very same world can be built again."""
        return {
            "model": SCENE,
            "props": [prop.parameters() for prop in self.props],
            "goal_m": list(self.goal_m),
            "goal_half_m": np.broadcast_to(self.goal_half_m, 2).tolist(),
            "lighting": self.lighting,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Hand:
    """One effector's numbers in the model: columns of qpos and ctrl, sites, sensor slices.

    `opened` and `closed` are the hand joints' targets (rad) at closure 0 and 1.
    """

    name: str
    side: str
    arm: Floats
    hand: Floats
    opened: Floats
    closed: Floats
    grasp: int
    force: int
    torque: int
    touches: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A compiled scene. `joints` are the body's in stream order, which is qpos and ctrl order."""

    scene: Scene
    model: Any
    embodiment: Embodiment
    joints: tuple[str, ...]
    hands: Mapping[str, Hand]
    objects: tuple[str, ...]
    sensors: Mapping[str, slice]
    tips: Mapping[str, int] = field(default_factory=dict)

    def object_qpos(self, name: str) -> slice:
        """Return where in qpos the pose of object `name` lies (position, then wxyz)."""
        start = int(self.model.joint(f"{name}_free").qposadr[0])
        return slice(start, start + 7)


def build(scene: Scene) -> World:
    """Compile a scene. Raises ReplayFailed where MuJoCo refuses it."""
    model = physics.load_model(SCENE, scene.props, taxels=True)
    goal = model.geom("goal")
    goal.pos[:2] = scene.goal_m
    goal.size[:2] = scene.goal_half_m
    embodiment = load(EMBODIMENT)
    sensors = {}
    for number in range(model.nsensor):
        sensor = model.sensor(number)
        start = int(sensor.adr[0])
        sensors[sensor.name] = slice(start, start + int(sensor.dim[0]))
    return World(
        scene=scene,
        model=model,
        embodiment=embodiment,
        joints=tuple(joint.name for joint in embodiment.joints),
        hands={found.name: _hand(model, found, embodiment) for found in embodiment.effectors},
        objects=tuple(prop.name for prop in scene.props),
        sensors=sensors,
        tips={
            f"{side}_{finger}": int(model.site(f"{side}_{finger}_tip").id)
            for side in ("left", "right")
            for finger in FINGERS
        },
    )


def _hand(model: Any, effector: Effector, embodiment: Embodiment) -> Hand:
    side = effector.name.removesuffix("_hand")
    postures = embodiment.notes["hand_postures"][effector.name]
    return Hand(
        name=effector.name,
        side=side,
        arm=np.array([int(model.joint(name).qposadr[0]) for name in effector.arm]),
        hand=np.array([int(model.joint(name).qposadr[0]) for name in effector.hand]),
        opened=np.array(postures["open"]),
        closed=np.array(postures["closed"]),
        grasp=int(model.site(effector.site).id),
        force=int(model.sensor(f"{side}_wrist_force").adr[0]),
        torque=int(model.sensor(f"{side}_wrist_torque").adr[0]),
        touches=(*(f"{side}_{finger}_pad" for finger in FINGERS), f"{side}_palm"),
    )
