"""What an action says: the five ways a learning table can put it.

Rotations in six numbers are the first two columns of the rotation matrix: Zhou et al., "On the
Continuity of Rotation Representations in Neural Networks" (2019), which shows that no
representation in four numbers or fewer is continuous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demos import physics
from demos.alignment import Action
from demos.alignment.columns import Joined, NoTable, at_steps, joined
from demos.model import Effector, Embodiment, Episode, Manifest, Nanoseconds, Stream
from demos.signals import bodies

Floats = npt.NDArray[np.float64]

_PLACE = (("x", "m"), ("y", "m"), ("z", "m"))
_CHANNELS: dict[Action, tuple[tuple[str, str], ...]] = {
    "end_effector": (*_PLACE, ("qx", "1"), ("qy", "1"), ("qz", "1"), ("qw", "1")),
    "end_effector_delta": (
        *((f"d{axis}", unit) for axis, unit in _PLACE),
        *((f"r{axis}", "rad") for axis, _ in _PLACE),
    ),
    # column after column: r21 stands in row 2 of column 1
    "rotation_6d": (*_PLACE, *((f"r{row}{column}", "1") for column in "12" for row in "123")),
}


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """How the action of a table is made.

    targets: the joints' targets, of `state` one step later where `commanded` is False.
    hands: for actions of end effectors, the hand and its own numbers among the targets, that go
        out beside its pose. poses: the stream of each hand's pose, or empty where `chain` says
        how to compute it. note: what a reader must know.
    """

    kind: Action
    targets: Joined
    commanded: bool
    channels: tuple[str, ...]
    units: tuple[str, ...]
    parts: tuple[str, ...]
    hands: tuple[tuple[Effector, tuple[int, ...]], ...] = ()
    poses: tuple[str, ...] = ()
    chain: bodies.Chain | None = None
    note: str = ""

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams the action is made of, each once."""
        return tuple(dict.fromkeys((*self.targets.streams, *self.poses)))


def plan_action(
    episode: Episode, kind: Action, state: Joined, parts: Mapping[str, str]
) -> ActionPlan:
    """Find out how to make an action of one kind. Raises NoTable where nothing says it."""
    told = joined(episode.manifest, command_streams(episode.manifest), parts)
    note = "no command was recorded: the action is the state one step later, the last one repeated"
    targets = told or state
    if kind in ("joint", "joint_delta"):
        return ActionPlan(
            kind,
            targets,
            told is not None,
            targets.channels,
            targets.units,
            targets.parts,
            note="" if told is not None else note,
        )
    return _of_hands(episode, kind, targets, commanded=told is not None)


def arm_of(hand: Effector) -> str:
    """Name the body part of the arm that carries a hand."""
    side = hand.name.removesuffix("_hand")
    return f"{side}_arm" if side != hand.name else hand.name


def state_streams(manifest: Manifest) -> list[str]:
    """List the streams that a state consists of, in its order."""
    return [
        *(name for name in ("joint_position",) if _there(manifest, name)),
        *(n for n in sorted(manifest.streams) if n.startswith("gripper.") and _there(manifest, n)),
        *(name for name in ("state",) if _there(manifest, name)),
    ]


def command_streams(manifest: Manifest) -> list[str]:
    """List the streams of commands that an action consists of, in its order."""
    return [
        *(name for name in ("joint_command",) if _there(manifest, name)),
        *(
            n
            for n in sorted(manifest.streams)
            if n.startswith("gripper_command.") and _there(manifest, n)
        ),
        *(name for name in ("action",) if _there(manifest, name)),
    ]


def actions_at(
    plan: ActionPlan, streams: Mapping[str, Stream], moments: Nanoseconds, rate_hz: float
) -> Floats:
    """Return the action of each step: (n, A).

    A change is the target of the step minus that of one step before, which is read too; position
    in the reference frame of the pose, rotation as the vector (rad) that turns the earlier
    orientation into the later in that reference frame. Fingers beside a pose are always targets.
    """
    before = int(moments[0]) - round(1e9 / rate_hz)
    asked = np.concatenate([[before], moments]).astype(np.int64)
    if plan.commanded:
        targets = plan.targets.at(streams, asked, "previous")
    else:
        targets = _later(plan.targets.at(streams, moments))
    if plan.kind in ("joint", "joint_delta"):
        return targets[1:] if plan.kind == "joint" else np.diff(targets, axis=0)
    if plan.chain is not None:
        poses = _placed(plan, plan.targets, targets)
    else:
        poses = np.stack(
            [_pose(name, streams[name], moments, asked) for name in plan.poses], axis=1
        )
    columns = []
    for place, (_, fingers) in enumerate(plan.hands):
        columns.append(_said(plan.kind, poses[:, place]))
        if fingers:
            columns.append(targets[1:, list(fingers)])
    return np.concatenate(columns, axis=1)


def rotation_matrices(quaternions: Floats) -> Floats:
    """Turn quaternions xyzw (n, 4) into rotation matrices (n, 3, 3)."""
    x, y, z, w = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def rotation_vectors(before: Floats, after: Floats) -> Floats:
    """Return the rotation vectors (n, 3), rad, that turn one orientation into another.

    before, after: (n, 4) quaternions xyzw; the vector stands in the frame that both are given in.
    """
    bx, by, bz, bw = before.T
    ax, ay, az, aw = after.T
    # after times the conjugate of before
    turn = np.stack(
        [
            -aw * bx + ax * bw - ay * bz + az * by,
            -aw * by + ay * bw - az * bx + ax * bz,
            -aw * bz + az * bw - ax * by + ay * bx,
            aw * bw + ax * bx + ay * by + az * bz,
        ],
        axis=1,
    )
    turn *= np.where(turn[:, 3:] < 0, -1.0, 1.0)
    sine = np.linalg.norm(turn[:, :3], axis=1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, turn[:, 3:])
    # 2 asin(s) / s tends to 2
    return turn[:, :3] * np.where(sine > 1e-12, angle / np.where(sine > 1e-12, sine, 1.0), 2.0)


def _of_hands(episode: Episode, kind: Action, targets: Joined, *, commanded: bool) -> ActionPlan:
    hands, manifest = bodies.effectors(episode), episode.manifest
    chain = None
    if targets.streams and targets.streams[0] in ("joint_command", "joint_position"):
        own = [c for (stream, _), c in zip(targets.picks, targets.channels, strict=True)
               if stream == targets.streams[0]]  # fmt: skip
        chain = bodies.chain(episode, tuple(own))
    operated = [f"teleop.{bodies.wrist(hand)}" for hand in hands]
    measured = [f"pose.{bodies.wrist(hand)}" for hand in hands]
    poses: list[str] = []
    if chain is not None:
        told = "command's" if commanded else "state's (one step later)"
        note = f"the poses of the hands are forward kinematics of the {told} joints, {chain.model}"
    elif hands and all(_is_pose(manifest, name) for name in operated):
        poses = operated
        note = f"the poses of the hands are the operator's own, {', '.join(operated)}"
    elif hands and all(_is_pose(manifest, name) for name in measured):
        poses = measured
        note = "no target pose is known: the hands' poses are the measured ones, one step later"
    else:
        raise _no_pose(episode, kind)
    inside = {part for hand in hands for part in (hand.name, arm_of(hand))}
    if others := [part for part in dict.fromkeys(targets.parts) if part not in inside]:
        note += f"; targets of {', '.join(others)} are not in the action"
    fingers = [
        tuple(n for n, part in enumerate(targets.parts) if part == hand.name) for hand in hands
    ]
    channels, units, parts = [], [], []
    for hand, own_numbers in zip(hands, fingers, strict=True):
        side = hand.name.removesuffix("_hand")
        for name, unit in _CHANNELS[kind]:
            channels.append(f"{hand.name}.{name}")
            units.append(unit)
            parts.append(f"{side}_end_effector")
        channels += [targets.channels[n] for n in own_numbers]
        units += [targets.units[n] for n in own_numbers]
        parts += [hand.name] * len(own_numbers)
    return ActionPlan(
        kind,
        targets,
        commanded,
        tuple(channels),
        tuple(units),
        tuple(parts),
        tuple(zip(hands, fingers, strict=True)),
        tuple(poses),
        chain,
        note,
    )


def _placed(plan: ActionPlan, targets: Joined, values: Floats) -> Floats:
    chain = plan.chain
    assert chain is not None
    columns = [targets.channels.index(name) for name in chain.joints]
    sites = [chain.sites[hand.name] for hand, _ in plan.hands]
    poses = physics.forward_kinematics(
        bodies.model(chain.model), chain.joints, values[:, columns], sites
    )
    for place in range(poses.shape[1]):
        turns = poses[:, place, 3:]
        flips = np.where((turns[1:] * turns[:-1]).sum(axis=1) < 0, -1.0, 1.0)
        turns[1:] *= np.cumprod(flips)[:, None]
    return poses


def _pose(name: str, stream: Stream, moments: Nanoseconds, asked: Nanoseconds) -> Floats:
    if name.startswith("teleop."):
        return at_steps(name, stream, asked, "previous").astype(np.float64)
    return _later(at_steps(name, stream, moments).astype(np.float64))


def _later(values: Floats) -> Floats:
    """Return (n + 1, ...) of (n, ...): row k + 1 is the one after row k, the last stands twice."""
    return np.concatenate([values, values[-1:]])


def _said(kind: Action, poses: Floats) -> Floats:
    if kind == "end_effector_delta":
        turned = rotation_vectors(poses[:-1, 3:], poses[1:, 3:])
        return np.concatenate([np.diff(poses[:, :3], axis=0), turned], axis=1)
    if kind == "rotation_6d":
        matrices = rotation_matrices(poses[1:, 3:])
        return np.concatenate([poses[1:, :3], matrices[:, :, 0], matrices[:, :, 1]], axis=1)
    return poses[1:]


def _is_pose(manifest: Manifest, name: str) -> bool:
    return _there(manifest, name) and manifest.streams[name].shape[1:] == (7,)


def _there(manifest: Manifest, name: str) -> bool:
    return name in manifest.streams and manifest.streams[name].shape[0] > 1


def _no_pose(episode: Episode, kind: Action) -> NoTable:
    described: Embodiment | None = bodies.body(episode)
    hint = "export with --action joint, or record poses of the wrists"
    if described is not None and (described.model or "arm_kinematics" in described.notes):
        hint = "poses are computed where MuJoCo is: pip install 'teleop-demos[sim]'"
    return NoTable(
        f"an action of kind {kind} needs where the hands are to go, and nothing says it"
    ).with_hint(hint)
