"""Run a script in physics and keep everything that happened.

The loop is the slow part of a simulated session: per millisecond of physics it does one step and
two copies, nothing else. Sensors, labels and images are worked out afterwards from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demos import physics
from demos.errors import ReplayFailed
from demos.physics import TAXEL_CONTACTS, Floats
from demos.simulate.arms import Arms
from demos.simulate.script import COMMAND_HZ, Intent, Reflex, Script
from demos.simulate.world import Hand, World

STEP_HZ = 1000
LOG_HZ = 500
TAXEL_HZ = 200
COMMAND_QUANTUM_RAD = 2.0**-16
"""Commands go over the wire as fixed point; dyadic, so that float32 holds them exactly."""
_ABSURD_N = 400.0
_REACH_M = 0.02


class Unstable(ReplayFailed):
    """The simulation blew up; the episode must be drawn again."""


class OutOfReach(ReplayFailed):
    """An arm cannot follow the script."""


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """What happened, without any sensor in between.

    Rows of the first group are at LOG_HZ, all taken at the same moment: time_s (n,); qpos (n, nq)
    of the whole model; velocity, effort, forward (feed-forward effort), command (n, J) of the
    body's joints; touch: per "<geom>_on_<object>" and "<object>_on_world" the net force (n, 3)
    in the world, exerted by the first on the second, N; tips (n, 6, 3) pad centres and grasp
    (n, 3) per hand, m, world.
    wrench: per hand (2n, 6) at STEP_HZ, in the wrist's sensor frame, exerted on the robot.
    taxels: per pad (m, TAXEL_CONTACTS, 13) at TAXEL_HZ, see `physics.load_model`, with pad poses
    tip_m (m, 6, 3) and tip_axes (m, 6, 3, 3).
    intent is what the operator did; closure (n,) per hand what reflexes made of it.
    """

    world: World
    intent: Intent
    time_s: Floats
    qpos: Floats
    velocity: Floats
    effort: Floats
    forward: Floats
    command: Floats
    touch: Mapping[str, Floats]
    tips: Floats
    grasp: Mapping[str, Floats]
    wrench: Mapping[str, Floats]
    taxels: Mapping[str, Floats]
    tip_m: Floats
    tip_axes: Floats
    closure: Mapping[str, Floats]
    stopped_s: float | None
    peak_n: float

    def object_pose(self, name: str) -> Floats:
        """Return an object's true pose: (n, 7), m and quaternion xyzw, world."""
        pose = self.qpos[:, self.world.object_qpos(name)]
        return np.concatenate([pose[:, :3], pose[:, [4, 5, 6, 3]]], axis=1)


def rest(world: World, rest_m: Mapping[str, Floats]) -> tuple[Arms, Mapping[str, Floats]]:
    """Solve the start posture of each hand that rests at a place (m, world)."""
    arms = Arms(world)
    start = {}
    for name, place in rest_m.items():
        hand = world.hands[name]
        start[name] = arms.reach(hand, place, np.zeros(3), rounds=200)
    return arms, start


def run(world: World, script: Script, *, settle_s: float = 0.3) -> Rollout:
    """Run a script to its end and `settle_s` beyond.

    Raises Unstable where physics blows up, OutOfReach where an arm cannot follow.
    """
    intent = script.sampled()
    arms = Arms(world)
    targets = np.zeros((len(intent.time_s), len(world.joints)))
    for name, hand in world.hands.items():
        path, worst = arms.follow(hand, intent.position_m[name], intent.turn_rad[name])
        if worst > _REACH_M:
            raise OutOfReach(f"the {name} is {worst * 1e3:.0f} mm off the script's path")
        targets[:, hand.arm] = path
    return _stepped(world, intent, targets, script.reflexes, script.stop_s, settle_s)


def _stepped(
    world: World,
    intent: Intent,
    targets: Floats,
    reflexes: Sequence[Reflex],
    stop_s: float | None,
    settle_s: float,
) -> Rollout:
    mujoco, model = physics.engine(), world.model
    data = mujoco.MjData(model)
    width = len(world.joints)
    hands = list(world.hands.values())
    grasps = [hand.grasp for hand in hands]
    closures = {hand.name: intent.closure[hand.name].copy() for hand in hands}
    per_command = int(STEP_HZ / COMMAND_HZ)
    per_log = STEP_HZ // LOG_HZ
    per_taxel = STEP_HZ // TAXEL_HZ
    last = len(intent.time_s) - 1
    steps = last * per_command + round(settle_s * STEP_HZ)
    steps -= steps % (per_log * per_taxel)
    rows = steps // per_log

    tips = list(world.tips.values())
    pads = [f"{tip}_pad_touch" for tip in world.tips]
    taxel_columns = np.concatenate([np.r_[world.sensors[pad]] for pad in pads])
    touch_names = [name for name in world.sensors if "_on_" in name]
    # the wrists come first in the sensor list, then the nets of contact: one copy takes both
    head = max(world.sensors[name].stop for name in touch_names)
    log = np.empty((steps, head))
    qpos, velocity = np.empty((rows, model.nq)), np.empty((rows, width))
    effort, forward = np.empty((rows, width)), np.empty((rows, width))
    command = np.empty((rows, width))
    where, grip = np.empty((rows, len(tips), 3)), np.empty((rows, len(hands), 3))
    felt = np.empty((steps // per_taxel, len(taxel_columns)))
    felt_m = np.empty((steps // per_taxel, len(tips), 3))
    felt_axes = np.empty((steps // per_taxel, len(tips), 3, 3))
    closure = np.empty((rows, len(hands)))

    watch = _Watch(world, data, reflexes)
    now = _targets(targets, closures, hands, 0)
    data.qpos[:width] = now
    data.ctrl[:] = now
    mujoco.mj_forward(model, data)
    following, ctrl = now, now
    for step in range(steps):
        phase = step % per_command
        if phase == 0:
            tick = min(step // per_command, last)
            watch.look(tick, closures)
            now, following = following, _targets(targets, closures, hands, min(tick + 1, last))
        if step % per_log == 0:
            row = step // per_log
            # the servo loop interpolates between two commands, and sends fixed point
            ctrl = now + (following - now) * ((phase + per_log) / per_command)
            ctrl = np.rint(ctrl / COMMAND_QUANTUM_RAD) * COMMAND_QUANTUM_RAD
            data.ctrl[:] = ctrl
            qpos[row], velocity[row], command[row] = data.qpos, data.qvel[:width], ctrl
            closure[row] = [closures[hand.name][tick] for hand in hands]
            mujoco.mj_step(model, data)
            effort[row] = data.qfrc_actuator[:width]
            forward[row] = data.qfrc_gravcomp[:width]
            where[row], grip[row] = data.site_xpos[tips], data.site_xpos[grasps]
        else:
            mujoco.mj_step(model, data)
        log[step] = data.sensordata[:head]
        if step % per_taxel == 0:
            sample = step // per_taxel
            felt[sample] = data.sensordata[taxel_columns]
            felt_m[sample] = data.site_xpos[tips]
            felt_axes[sample] = data.site_xmat[tips].reshape(-1, 3, 3)
    # found force: the first of four numbers says how many contacts there are
    touch = {name: log[::per_log, world.sensors[name]][:, 1:4] for name in touch_names}
    peak = max(float(np.abs(force).max()) for force in touch.values())
    warned = sum(int(data.warning[kind].number) for kind in _warnings(mujoco))
    if warned or not np.isfinite(qpos).all() or not np.isfinite(log).all() or peak > _ABSURD_N:
        raise Unstable(f"physics blew up: {warned} warnings, {peak:.0f} N at most")
    shape = (len(felt), len(tips), TAXEL_CONTACTS, 13)
    contacts = felt.reshape(shape)
    return Rollout(
        world=world,
        intent=intent,
        time_s=np.arange(rows) / LOG_HZ,
        qpos=qpos,
        velocity=velocity,
        effort=effort,
        forward=forward,
        command=command,
        touch=touch,
        tips=where,
        grasp={hand.name: grip[:, i] for i, hand in enumerate(hands)},
        wrench={
            # MuJoCo reports what the arm exerts on the hand; we store what the hand exerts on it
            hand.name: -np.concatenate(
                [log[:, hand.force : hand.force + 3], log[:, hand.torque : hand.torque + 3]], axis=1
            )
            for hand in hands
        },
        taxels={tip: contacts[:, i] for i, tip in enumerate(world.tips)},
        tip_m=felt_m,
        tip_axes=felt_axes,
        closure={hand.name: closure[:, i] for i, hand in enumerate(hands)},
        stopped_s=stop_s,
        peak_n=peak,
    )


def _targets(
    targets: Floats, closures: Mapping[str, Floats], hands: Sequence[Hand], tick: int
) -> Floats:
    row: Floats = targets[tick].copy()
    for hand in hands:
        row[hand.hand] = hand.opened + closures[hand.name][tick] * (hand.closed - hand.opened)
    return row


def _warnings(mujoco: Any) -> list[int]:
    kinds = mujoco.mjtWarning
    return [
        int(kind) for kind in (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
    ]


class _Watch:
    """The operator's touch: have the pads slid over the object since a reflex was armed?"""

    def __init__(self, world: World, data: Any, reflexes: Sequence[Reflex]) -> None:
        self.world, self.data = world, data
        self.waiting = list(reflexes)
        self.armed: dict[int, Floats] = {}

    def look(self, tick: int, closures: Mapping[str, Floats]) -> None:
        """Let each reflex that is due change what the hands do from now on."""
        for reflex in list(self.waiting):
            if not reflex.after_s * COMMAND_HZ <= tick < reflex.until_s * COMMAND_HZ:
                continue
            places = self._on_object(reflex.hands[0])
            first = self.armed.setdefault(id(reflex), places)
            if float(np.median(np.linalg.norm(places - first, axis=1))) < reflex.slid_m:
                continue
            self.waiting.remove(reflex)
            start = tick + round(reflex.delay_s * COMMAND_HZ)
            end = round(reflex.until_s * COMMAND_HZ)
            ramp = max(1, round(reflex.seconds * COMMAND_HZ))
            for hand in reflex.hands:
                line = closures[hand]
                if start < min(end, len(line)):
                    grown = np.minimum(np.arange(1, len(line[start:end]) + 1) / ramp, 1.0)
                    line[start:end] = line[start] + (reflex.closure - line[start]) * grown

    def _on_object(self, hand: str) -> Floats:
        """Where a hand's pads are in the object's axes: (3, 3), m."""
        side = self.world.hands[hand].side
        tips = [site for tip, site in self.world.tips.items() if tip.startswith(side)]
        body = self.data.body(self.world.objects[0])
        away = self.data.site_xpos[tips] - body.xpos
        return np.asarray(away @ body.xmat.reshape(3, 3))
