"""Inverse kinematics of the arms: damped least squares with a preferred posture.

Damping after Nakamura and Hanafusa (1986); the posture is held in the task's null space.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from demos import physics
from demos.physics import Floats
from demos.simulate.world import Hand, World

_DAMPING = 1e-4
_POSTURE_GAIN = 0.02
_TURN_WEIGHT = 0.3
"""Metres that a radian counts as."""
_NEAR_M = 1e-4
ELBOWS_IN = np.array([0.25, -0.25, 0.0, 0.25, 0.0, 0.0, 0.0])
"""Preferred posture of the right arm (rad); the left is its mirror image."""
_MIRROR = np.array([1.0, -1.0, -1.0, 1.0, -1.0, 1.0, -1.0])


class Arms:
    """Solve where arm joints must be for the grasp points to follow what the operator does."""

    def __init__(self, world: World) -> None:
        self._mujoco = physics.engine()
        self.model = physics.load_model(world.embodiment.model)
        self.data = self._mujoco.MjData(self.model)
        self.hands = world.hands
        self._range = self.model.jnt_range
        self._sites = {
            hand.name: int(self.model.site(f"{hand.side}_grasp").id)
            for hand in world.hands.values()
        }
        self._jp = np.zeros((3, self.model.nv))
        self._jr = np.zeros((3, self.model.nv))
        for hand in world.hands.values():
            self.data.qpos[hand.arm] = self.posture(hand)

    @staticmethod
    def posture(hand: Hand) -> Floats:
        """Return the arm posture that is preferred where the task leaves a choice (rad)."""
        return ELBOWS_IN * (_MIRROR if hand.side == "left" else 1.0)

    def reach(self, hand: Hand, position_m: Floats, turn_rad: Floats, *, rounds: int) -> Floats:
        """Solve for one arm's joints (7,), starting from the last solution of this arm."""
        mujoco, model, data = self._mujoco, self.model, self.data
        site, columns = self._sites[hand.name], hand.arm
        low, high = self._range[columns, 0], self._range[columns, 1]
        wanted = _rotation(turn_rad)
        prefer = self.posture(hand)
        for _ in range(rounds):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            now = data.site_xmat[site].reshape(3, 3)
            off = position_m - data.site_xpos[site]
            # half the sum of the axes' cross products: the small rotation that is missing
            lean = wanted @ now.T
            twist = 0.5 * np.array(
                [lean[2, 1] - lean[1, 2], lean[0, 2] - lean[2, 0], lean[1, 0] - lean[0, 1]]
            )
            error = np.concatenate([off, _TURN_WEIGHT * twist])
            if error @ error < _NEAR_M**2:
                break
            mujoco.mj_jacSite(model, data, self._jp, self._jr, site)
            jacobian = np.vstack([self._jp[:, columns], _TURN_WEIGHT * self._jr[:, columns]])
            square = jacobian @ jacobian.T + _DAMPING * np.eye(6)
            pull = _POSTURE_GAIN * (prefer - data.qpos[columns])
            step = pull + jacobian.T @ np.linalg.solve(square, error - jacobian @ pull)
            data.qpos[columns] = np.clip(data.qpos[columns] + np.clip(step, -0.2, 0.2), low, high)
        return np.array(data.qpos[columns])

    def follow(self, hand: Hand, position_m: Floats, turn_rad: Floats) -> tuple[Floats, float]:
        """Solve a whole path: joints (n, 7) and the worst distance from it (m)."""
        joints = np.empty((len(position_m), len(hand.arm)))
        worst = 0.0
        for row in range(len(position_m)):
            rounds = 200 if row == 0 else 3
            joints[row] = self.reach(hand, position_m[row], turn_rad[row], rounds=rounds)
            if row % 10 == 0:
                self._mujoco.mj_kinematics(self.model, self.data)
                off = self.data.site_xpos[self._sites[hand.name]] - position_m[row]
                worst = max(worst, float(np.linalg.norm(off)))
        return joints, worst


def _rotation(vector: Any) -> Floats:
    """Rodrigues' formula: (3, 3) for a rotation vector (rad)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
