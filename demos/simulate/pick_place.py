"""Pick and place: one hand carries an upright box or cylinder to a green square.

Scripts are written for the right hand, which comes from the right and closes towards the left;
for the left hand everything is mirrored. Each variant gets its outcome by physics: how hard the
hand closes, where it closes, when it opens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from demos.model import Pose
from demos.physics import Floats, Prop
from demos.simulate.operator import Operator
from demos.simulate.rollout import Rollout
from demos.simulate.script import Reflex, Script
from demos.simulate.trial import Trial, tasks
from demos.simulate.truth import Truth
from demos.simulate.world import TABLE_M, Scene

HALF_HEIGHT_M = 0.06
REST_M = (0.24, -0.22, 1.0)
GOAL_M = (0.31, 0.06)
CARRY_M = 0.11
"""How far up the object is carried."""
ABOVE_M = 0.005
"""The hand takes the object a little above its centre."""
# x, y of the middle of each quarter of the right hand's start area; left is +y
CELLS = {
    "near_left": (0.295, -0.08),
    "near_right": (0.295, -0.12),
    "far_left": (0.335, -0.08),
    "far_right": (0.335, -0.12),
}
_SPREAD_M = 0.012
_WRONG = 0.1
"""How often the operator writes down a cell that is not where the object stands."""


@dataclass(frozen=True, slots=True, eq=False)
class _Setup:
    """What a script is written for, mirrored to the right hand."""

    kind: str
    hand: str
    other: str
    variant: str
    operator: Operator
    start: Floats
    goal: Floats
    mirror: Floats
    mass_kg: float
    friction: float
    seed: tuple[int, ...]


class PickPlace:
    """One hand takes an upright object and sets it on the green square."""

    variants = MappingProxyType(
        {
            "success": 0.34,
            "hesitation": 0.08,
            "recovery": 0.1,
            "slip_held": 0.08,
            "slip_dropped": 0.08,
            "dropped": 0.08,
            "missed": 0.08,
            "marginal": 0.06,
            "off_goal": 0.05,
            "aborted": 0.05,
        }
    )

    def draw(self, variant: str, operator: Operator, rng: np.random.Generator) -> Trial:
        """Draw object, hand, cell, light, mass, friction, and where the goal is missed."""
        kind = str(rng.choice(["box", "cylinder"]))
        hand = "right_hand" if rng.random() < 0.65 else "left_hand"
        mirror = np.array([1.0, 1.0 if hand == "right_hand" else -1.0, 1.0])
        cell = str(rng.choice(list(CELLS)))
        lighting = str(rng.choice(["bright", "dim"]))
        slippery = variant.startswith("slip")
        mass = float(np.round(rng.uniform(0.5, 0.6) if slippery else rng.uniform(0.2, 0.32), 3))
        friction = float(
            np.round(rng.uniform(0.52, 0.62) if slippery else rng.uniform(0.8, 1.1), 2)
        )
        half = float(rng.uniform(-0.06, 0.06)) * (kind == "box" and not slippery)
        middle = np.array([*CELLS[cell], TABLE_M + HALF_HEIGHT_M])
        start = middle + np.append(rng.uniform(-_SPREAD_M, _SPREAD_M, 2), 0.0)
        goal = np.array([*GOAL_M, TABLE_M + HALF_HEIGHT_M])
        aim = goal + _missed_by(variant, rng)

        declared = cell
        if rng.random() < _WRONG:
            declared = str(rng.choice([name for name in CELLS if name != cell]))
        noted = np.array([*CELLS[declared], TABLE_M + HALF_HEIGHT_M])
        if declared == cell:
            noted = start + np.append(rng.normal(0.0, 0.003, 2), 0.0)
        setup = _Setup(
            kind=kind,
            hand=hand,
            other="left_hand" if hand == "right_hand" else "right_hand",
            variant=variant,
            operator=operator,
            start=start,
            goal=aim,
            mirror=mirror,
            mass_kg=mass,
            friction=friction,
            seed=tuple(int(number) for number in rng.integers(0, 2**31, 2)),
        )
        true, goal_xy = start * mirror, goal * mirror
        return Trial(
            task="pick_place",
            variant=variant,
            scene=Scene(
                props=(
                    Prop(
                        name=kind,
                        kind=kind,
                        position_m=_triple(true),
                        quaternion_xyzw=(0.0, 0.0, float(np.sin(half)), float(np.cos(half))),
                        mass_kg=mass,
                        friction=friction,
                    ),
                ),
                goal_m=(float(goal_xy[0]), float(goal_xy[1])),
                lighting=lighting,
            ),
            target=kind,
            holders=(hand,),
            together=False,
            factors={
                "object": kind,
                "start_cell": _seen(declared, hand),
                "lighting": lighting,
                "hand": hand,
                "mass_kg": mass,
                "friction": friction,
            },
            declared={kind: _pose(noted * mirror)},
            write=lambda _world: _script(setup),
        )

    def intended(self, variant: str, rollout: Rollout, truth: Truth) -> bool:
        """Check the physical outcome against what the variant is called."""
        own = [attempt.outcome for attempt in truth.attempts if attempt.tier == "task"]
        carried = max((a.height_m for a in truth.attempts), default=0.0) >= 0.02
        match variant:
            case "success" | "hesitation":
                return truth.outcome == "success" and own == ["held"]
            case "recovery":
                return truth.outcome == "success" and own[0] == "missed" and own[-1] == "held"
            case "slip_held":
                return truth.outcome == "success" and own == ["held"] and truth.slid_m >= 0.003
            case "slip_dropped":
                return own == ["dropped"] and truth.slid_m >= 0.003 and carried
            case "dropped":
                return own == ["dropped"] and carried
            case "missed":
                return truth.outcome == "failure" and bool(own) and set(own) == {"missed"}
            case "marginal":
                near = 0.037 <= truth.goal_distance_m <= 0.063
                return truth.outcome in ("success", "partial") and near
            case "off_goal":
                return truth.outcome == "partial"
            case _:
                return truth.outcome == variant


def _missed_by(variant: str, rng: np.random.Generator) -> Floats:
    """How far beside the goal the operator sets the object down (m)."""
    if variant == "marginal":
        off = float(rng.uniform(0.041, 0.059))
    elif variant == "off_goal":
        off = float(rng.uniform(0.065, 0.085))
    else:
        return np.array([*rng.normal(0.0, 0.005, 2), 0.0])
    # beyond the goal or nearer the body: an arm cannot reach further out, and short of the goal
    # lies the start area
    angle = float(rng.uniform(0.0, 0.5)) * np.pi
    return np.array([-off * np.sin(angle), off * np.cos(angle), 0.0])


def _script(setup: _Setup) -> Script:
    rng = np.random.default_rng(setup.seed)
    away = setup.mirror * [1.0, -1.0, 1.0]
    nearby = rng.uniform(-0.02, 0.02, 3)
    script = Script(
        setup.operator,
        rng,
        {
            setup.hand: (np.array(REST_M) + nearby) * setup.mirror,
            setup.other: np.array(REST_M) * away,
        },
    )
    script.wait(float(rng.uniform(0.3, 0.6)))
    write = _WRITERS.get(setup.variant, _nominal)
    write(_Hand(setup, script))
    return script


class _Hand:
    """The acting hand's vocabulary: every movement in the right hand's coordinates."""

    def __init__(self, setup: _Setup, script: Script) -> None:
        self.setup, self.script, self.rng = setup, script, script.rng

    def to(
        self,
        place: Floats,
        offset: tuple[float, float, float],
        seconds: float,
        *,
        free: bool = False,
    ) -> float:
        """Move to a place plus an offset; return when it started."""
        goal = (place + np.array(offset)) * self.setup.mirror
        return self.script.move({self.setup.hand: goal}, seconds, free=free)

    def grip(self, closure: float, seconds: float, *, at_s: float | None = None) -> None:
        """Close or open within `seconds`."""
        self.script.grip({self.setup.hand: closure}, seconds, at_s=at_s)

    def watch(self, *, since_s: float, slid_m: float, closure: float) -> None:
        """Squeeze when the object slides in the hand between `since_s` and now."""
        hands, now = (self.setup.hand,), self.script.now_s
        self.script.reflexes.append(Reflex(hands, since_s, now, slid_m, closure))

    def approach(self) -> None:
        """Reach beside the object, then around it."""
        self.to(self.setup.start, (0.0, -0.10, ABOVE_M), 1.4, free=True)
        self.to(self.setup.start, (0.0, 0.0, ABOVE_M), 0.9)

    def close(self, closure: float = 1.0) -> None:
        """Close the fingers and wait for the grasp to settle."""
        self.grip(closure, 0.5)
        self.script.wait(0.6)

    def lift(self) -> None:
        """Lift straight up."""
        self.to(self.setup.start, (0.0, 0.0, CARRY_M), 1.0)

    def transport(self) -> float:
        """Carry over the goal; return when it started."""
        return self.to(self.setup.goal, (0.0, 0.0, CARRY_M), 1.2)

    def place(self) -> None:
        """Set down, let go, and leave."""
        self.to(self.setup.goal, (0.0, 0.0, ABOVE_M + 0.001), 0.9)
        self.script.wait(0.1)
        self.grip(0.0, 0.35)
        self.script.wait(0.4)
        self.leave(self.setup.goal)

    def leave(self, place: Floats) -> None:
        """Back out sideways and come to rest."""
        self.to(place, (-0.02, -0.14, 0.03), 0.9)
        self.to(np.array(REST_M), (0.0, 0.0, 0.0), 0.8)
        self.script.wait(0.3)


def _nominal(hand: _Hand) -> None:
    hand.approach()
    hand.close()
    hand.lift()
    hand.transport()
    hand.place()


def _hesitation(hand: _Hand) -> None:
    start = hand.setup.start
    hand.to(start, (-0.02, -0.15, 0.05), 1.0)
    hand.script.wait(float(hand.rng.uniform(0.5, 1.2)))
    hand.to(start, (-0.03, -0.16, 0.02), 0.5)
    hand.script.wait(float(hand.rng.uniform(0.4, 0.8)))
    hand.approach()
    hand.script.wait(float(hand.rng.uniform(0.2, 0.6)))
    hand.close()
    hand.lift()
    hand.script.wait(float(hand.rng.uniform(0.4, 0.9)))
    hand.transport()
    hand.place()


def _weak_try(hand: _Hand) -> None:
    """Close too little: the fingers slide up the object, which stays."""
    hand.approach()
    hand.close(float(hand.rng.uniform(0.52, 0.6)))
    hand.to(hand.setup.start, (0.0, 0.0, 0.05), 0.8)
    hand.grip(0.0, 0.3)
    hand.script.wait(0.35)


def _missed(hand: _Hand) -> None:
    _weak_try(hand)
    hand.leave(hand.setup.start)


def _recovery(hand: _Hand) -> None:
    _weak_try(hand)
    hand.to(hand.setup.start, (0.0, -0.11, 0.05), 0.8)
    hand.script.wait(float(hand.rng.uniform(0.1, 0.4)))
    _nominal(hand)


def _dropped(hand: _Hand) -> None:
    hand.approach()
    hand.close()
    hand.lift()
    moved = hand.transport()
    # the fingers open on the way, early enough to be away from the goal
    hand.grip(0.0, 0.2, at_s=moved + float(hand.rng.uniform(0.0, 0.25)))
    hand.script.wait(0.4)
    hand.leave(hand.setup.goal)


def _barely_held(setup: _Setup) -> float:
    """The closure at which friction just carries the weight: a line fitted to still grasps.

    Pads push with 32 N per unit of closure above 0.6, and friction acts on both sides.
    """
    return 0.6 + setup.mass_kg * 9.81 / (2.0 * setup.friction) / 32.0


def _slip_held(hand: _Hand) -> None:
    hand.approach()
    hand.close()
    hand.lift()
    # quickly to where it barely holds, then so slowly that the slide begins gently
    barely = _barely_held(hand.setup)
    hand.grip(barely + 0.1, 0.6)
    hand.script.wait(0.6)
    easing = hand.script.now_s
    hand.grip(barely - 0.12, 4.4)
    hand.script.wait(3.9)
    hand.grip(1.0, 0.3)
    hand.script.wait(0.3)
    # a cylinder turns out of the fingers sooner than a box
    slid = 0.002 if hand.setup.kind == "cylinder" else 0.003
    hand.watch(since_s=easing, slid_m=slid, closure=1.0)
    hand.transport()
    hand.place()


def _slip_dropped(hand: _Hand) -> None:
    hand.approach()
    hand.close()
    hand.lift()
    hand.grip(0.3, 3.0)
    hand.script.wait(2.0)
    hand.transport()
    hand.leave(hand.setup.goal)


def _aborted(hand: _Hand) -> None:
    hand.approach()
    if hand.rng.random() < 0.5:
        hand.close()
        hand.lift()
    hand.script.stop()


_WRITERS: dict[str, Callable[[_Hand], None]] = {
    "hesitation": _hesitation,
    "missed": _missed,
    "recovery": _recovery,
    "dropped": _dropped,
    "slip_held": _slip_held,
    "slip_dropped": _slip_dropped,
    "aborted": _aborted,
}


def _seen(cell: str, hand: str) -> str:
    """Name a cell of the mirrored start area as the robot sees it."""
    if hand == "right_hand":
        return cell
    depth, side = cell.split("_")
    return f"{depth}_{'right' if side == 'left' else 'left'}"


def _pose(place: Floats) -> Pose:
    return Pose(reference_frame="world", position_m=_triple(np.round(place, 4)))


def _triple(place: Floats) -> tuple[float, float, float]:
    return float(place[0]), float(place[1]), float(place[2])


tasks.add("pick_place", PickPlace())
