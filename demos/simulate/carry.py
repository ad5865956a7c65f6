"""Carry: two palms press a wide box from both sides, lift it, and set it down on a green area.

The hands stay open: palms and the pads of index and middle finger push, the thumbs lie before the
box. It is held by friction alone, so each variant is a matter of how hard the arms push together:
a few millimetres too little and the palms slide up the box, a squeeze let off and it slips.
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
from demos.simulate.script import Script
from demos.simulate.trial import Trial, tasks
from demos.simulate.truth import Truth
from demos.simulate.world import TABLE_M, Scene

OBJECT = "wide_box"
HALF_WIDTH_M = 0.13
HALF_HEIGHT_M = 0.06
GOAL_M = (0.33, 0.09)
GOAL_HALF_M = (0.09, 0.15)
REST_M = (0.17, 0.27, 0.98)
"""Where the left grasp point rests; the right mirrors it."""
CARRY_M = 0.11
BESIDE_M = 0.05
SQUEEZE_M = 0.036
"""How far into the box the palms are commanded: about 20 N a hand."""
# x, y of the middle of each quarter of the start area; left is +y
CELLS = {
    "near_left": (0.295, -0.07),
    "near_right": (0.295, -0.105),
    "far_left": (0.33, -0.07),
    "far_right": (0.33, -0.105),
}
_SPREAD_M = 0.012
_WRONG = 0.1
"""How often the operator writes down a cell that is not where the box stands."""
# from the middle of the pushing surface to the grasp point, in the left wrist's axes
_TO_GRASP_M = np.array([-0.045, -0.064, 0.0])
_SIDES = {"left_hand": np.array([1.0, 1.0, 1.0]), "right_hand": np.array([1.0, -1.0, 1.0])}


@dataclass(frozen=True, slots=True, eq=False)
class _Setup:
    """What a script is written for; `least_n` is the push of each hand that bears the weight."""

    variant: str
    operator: Operator
    start: Floats
    turned: float
    goal: Floats
    least_n: float
    seed: tuple[int, ...]


class Carry:
    """Both hands carry a wide box to the green area."""

    variants = MappingProxyType(
        {
            "success": 0.4,
            "hesitation": 0.1,
            "recovery": 0.1,
            "slip_held": 0.07,
            "slip_dropped": 0.06,
            "dropped": 0.07,
            "missed": 0.07,
            "marginal": 0.05,
            "off_goal": 0.04,
            "aborted": 0.04,
        }
    )

    def draw(self, variant: str, operator: Operator, rng: np.random.Generator) -> Trial:
        """Draw cell, turn, light, mass, friction, and where the goal is missed."""
        cell = str(rng.choice(list(CELLS)))
        lighting = str(rng.choice(["bright", "dim"]))
        mass = float(np.round(rng.uniform(0.5, 0.7), 3))
        friction = float(np.round(rng.uniform(0.7, 0.9), 2))
        turned = float(rng.uniform(-0.06, 0.06))
        middle = np.array([*CELLS[cell], TABLE_M + HALF_HEIGHT_M])
        start = middle + np.append(rng.uniform(-_SPREAD_M, _SPREAD_M, 2), 0.0)
        goal = np.array([*GOAL_M, TABLE_M + HALF_HEIGHT_M])
        declared = cell
        if rng.random() < _WRONG:
            declared = str(rng.choice([name for name in CELLS if name != cell]))
        noted = np.array([*CELLS[declared], TABLE_M + HALF_HEIGHT_M])
        if declared == cell:
            noted = start + np.append(rng.normal(0.0, 0.003, 2), 0.0)
        setup = _Setup(
            variant=variant,
            operator=operator,
            start=start,
            turned=turned,
            least_n=mass * 9.81 / (2.0 * friction),
            goal=goal + _missed_by(variant, rng),
            seed=tuple(int(number) for number in rng.integers(0, 2**31, 2)),
        )
        prop = Prop(
            name=OBJECT,
            kind=OBJECT,
            position_m=(float(start[0]), float(start[1]), float(start[2])),
            quaternion_xyzw=(0.0, 0.0, float(np.sin(turned / 2)), float(np.cos(turned / 2))),
            mass_kg=mass,
            friction=friction,
        )
        return Trial(
            task="carry",
            variant=variant,
            scene=Scene(props=(prop,), goal_m=GOAL_M, goal_half_m=GOAL_HALF_M, lighting=lighting),
            target=OBJECT,
            holders=("left_hand", "right_hand"),
            together=True,
            factors={
                "object": OBJECT,
                "start_cell": declared,
                "lighting": lighting,
                "mass_kg": mass,
                "friction": friction,
            },
            declared={OBJECT: _pose(noted)},
            write=lambda _world: _script(setup),
        )

    def intended(self, variant: str, rollout: Rollout, truth: Truth) -> bool:
        """Check the physical outcome against what the variant is called."""
        own = [attempt.outcome for attempt in truth.attempts if attempt.tier == "task"]
        match variant:
            case "success" | "hesitation":
                return truth.outcome == "success" and own == ["held"]
            case "recovery":
                return truth.outcome == "success" and own[0] == "missed" and own[-1] == "held"
            case "slip_held":
                return truth.outcome == "success" and own == ["held"] and truth.slid_m >= 0.003
            case "slip_dropped":
                return own == ["dropped"] and truth.slid_m >= 0.003
            case "dropped":
                high = truth.height_m >= 0.05
                return own == ["dropped"] and high and truth.outcome == "failure"
            case "missed":
                return truth.outcome == "failure" and bool(own) and set(own) == {"missed"}
            case "marginal":
                near = 0.047 <= truth.goal_distance_m <= 0.073
                return truth.outcome in ("success", "partial") and near
            case "off_goal":
                return truth.outcome == "partial"
            case _:
                return truth.outcome == variant


def _missed_by(variant: str, rng: np.random.Generator) -> Floats:
    """How far beside the goal the operator sets the box down (m)."""
    if variant == "marginal":
        off = float(rng.uniform(0.053, 0.068))
    elif variant == "off_goal":
        off = float(rng.uniform(0.075, 0.1))
    else:
        return np.array([*rng.normal(0.0, 0.005, 2), 0.0])
    # short of the goal or beside it: beyond it the left arm would have to stretch
    angle = float(rng.uniform(-0.35, 0.35)) * np.pi
    return np.array([off * np.sin(angle), -off * np.cos(angle), 0.0])


def _script(setup: _Setup) -> Script:
    rng = np.random.default_rng(setup.seed)
    nearby = rng.uniform(-0.02, 0.02, (2, 3))
    rest = {
        hand: np.array(REST_M) * side + nearby[row]
        for row, (hand, side) in enumerate(_SIDES.items())
    }
    script = Script(setup.operator, rng, rest)
    script.wait(float(rng.uniform(0.3, 0.6)))
    write = _WRITERS.get(setup.variant, _nominal)
    write(_Palms(setup, script))
    return script


class _Palms:
    """Both hands' vocabulary: where the box is, and how far the palms are from its sides."""

    def __init__(self, setup: _Setup, script: Script) -> None:
        self.setup, self.script, self.rng = setup, script, script.rng

    def to(
        self,
        place: Floats,
        up_m: float,
        gap_m: float,
        seconds: float,
        *,
        turned: float | None = None,
        back_m: float = 0.0,
        free: bool = False,
    ) -> None:
        """Bring the palms beside a box centred `up_m` above `place`; a negative gap squeezes."""
        angle = self.setup.turned if turned is None else turned
        cos, sin = np.cos(angle), np.sin(angle)
        axes = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        goals = {}
        for hand, side in _SIDES.items():
            palm = np.array([-back_m, HALF_WIDTH_M + gap_m, up_m]) * side
            goals[hand] = place + axes @ (palm + _TO_GRASP_M * side)
        turn = dict.fromkeys(_SIDES, (0.0, 0.0, angle))
        self.script.move(goals, seconds, free=free, turn=turn)

    def approach(self) -> None:
        """Come from above to both sides of the box."""
        self.to(self.setup.start, 0.07, BESIDE_M + 0.03, 1.2, back_m=0.02, free=True)
        self.to(self.setup.start, 0.0, BESIDE_M, 0.8)

    def press(self, squeeze_m: float = SQUEEZE_M) -> None:
        """Push the palms together and wait for the grasp to settle."""
        self.to(self.setup.start, 0.0, -squeeze_m, 0.9)
        self.script.wait(0.2)

    def lift(self) -> None:
        """Lift straight up."""
        self.to(self.setup.start, CARRY_M, -SQUEEZE_M, 1.1)

    def transport(self) -> None:
        """Carry over the goal, turning the box straight."""
        self.to(self.setup.goal, CARRY_M, -SQUEEZE_M, 1.5, turned=0.0)

    def place(self) -> None:
        """Set down, take the palms off, and leave."""
        self.to(self.setup.goal, 0.004, -SQUEEZE_M, 1.1, turned=0.0)
        self.script.wait(0.1)
        self.to(self.setup.goal, 0.004, BESIDE_M, 0.6, turned=0.0)
        self.leave(self.setup.goal)

    def leave(self, place: Floats) -> None:
        """Back out over the near side and come to rest."""
        self.to(place, 0.06, BESIDE_M + 0.03, 0.9, turned=0.0, back_m=0.05)
        rest = {hand: np.array(REST_M) * side for hand, side in _SIDES.items()}
        self.script.move(rest, 0.8)
        self.script.wait(0.3)

    def part_of_the_way(self, share: float, gap_m: float, seconds: float) -> None:
        """Go a share of the way to the goal at carrying height."""
        place = self.setup.start + share * (self.setup.goal - self.setup.start)
        self.to(place, CARRY_M, gap_m, seconds, turned=(1.0 - share) * self.setup.turned)


def _nominal(palms: _Palms) -> None:
    palms.approach()
    palms.press()
    palms.lift()
    palms.transport()
    palms.place()


def _hesitation(palms: _Palms) -> None:
    start = palms.setup.start
    palms.to(start, 0.08, BESIDE_M + 0.05, 1.1, back_m=0.02)
    palms.script.wait(float(palms.rng.uniform(0.5, 1.2)))
    palms.to(start, 0.06, BESIDE_M + 0.06, 0.5, back_m=0.03)
    palms.script.wait(float(palms.rng.uniform(0.4, 0.8)))
    palms.approach()
    palms.script.wait(float(palms.rng.uniform(0.2, 0.6)))
    palms.press()
    palms.lift()
    palms.script.wait(float(palms.rng.uniform(0.4, 0.9)))
    palms.transport()
    palms.place()


def _weak_try(palms: _Palms) -> None:
    """Push too little: only finger pads touch, and they slide up the box, which stays."""
    palms.approach()
    gap = float(palms.rng.uniform(0.022, 0.026))
    palms.to(palms.setup.start, 0.0, gap, 0.7)
    palms.script.wait(0.2)
    palms.to(palms.setup.start, 0.05, gap, 0.7)
    palms.to(palms.setup.start, 0.06, BESIDE_M + 0.03, 0.6)


def _missed(palms: _Palms) -> None:
    _weak_try(palms)
    palms.leave(palms.setup.start)


def _recovery(palms: _Palms) -> None:
    _weak_try(palms)
    palms.script.wait(float(palms.rng.uniform(0.2, 0.5)))
    palms.to(palms.setup.start, 0.0, BESIDE_M, 0.7)
    palms.press()
    palms.lift()
    palms.transport()
    palms.place()


def _dropped(palms: _Palms) -> None:
    palms.approach()
    palms.press()
    palms.lift()
    palms.part_of_the_way(0.08, -SQUEEZE_M, 0.4)
    palms.part_of_the_way(0.1, BESIDE_M + 0.02, 0.3)
    palms.script.wait(0.4)
    palms.leave(palms.setup.start)


def _barely(setup: _Setup) -> float:
    """A gap at which the palms no longer hold the box, but still brake it; found by trying."""
    return (3.7 - setup.least_n) / 105.0


def _slip_held(palms: _Palms) -> None:
    palms.approach()
    palms.press()
    palms.lift()
    palms.part_of_the_way(0.4, -SQUEEZE_M, 0.8)
    palms.part_of_the_way(0.4, _barely(palms.setup), 0.35)
    palms.part_of_the_way(0.4, -SQUEEZE_M - 0.005, 0.2)
    palms.script.wait(float(palms.rng.uniform(0.2, 0.5)))
    palms.transport()
    palms.place()


def _slip_dropped(palms: _Palms) -> None:
    palms.approach()
    palms.press()
    palms.lift()
    palms.part_of_the_way(0.1, -SQUEEZE_M, 0.5)
    # let off until it slides, then lost before it reaches the table
    palms.part_of_the_way(0.1, _barely(palms.setup), 0.5)
    palms.part_of_the_way(0.12, BESIDE_M + 0.02, 0.25)
    palms.script.wait(0.3)
    palms.leave(palms.setup.start)


def _aborted(palms: _Palms) -> None:
    palms.approach()
    if palms.rng.random() < 0.5:
        palms.press()
        palms.lift()
    palms.script.stop()


_WRITERS: dict[str, Callable[[_Palms], None]] = {
    "hesitation": _hesitation,
    "missed": _missed,
    "recovery": _recovery,
    "dropped": _dropped,
    "slip_held": _slip_held,
    "slip_dropped": _slip_dropped,
    "aborted": _aborted,
}


def _pose(place: Floats) -> Pose:
    x, y, z = (round(float(value), 4) for value in place)
    return Pose(reference_frame="world", position_m=(x, y, z))


tasks.add("carry", Carry())
