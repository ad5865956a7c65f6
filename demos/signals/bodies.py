"""Which hands an episode has, where they are, and how far they are closed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from demos import embodiment, physics
from demos.errors import UnknownName
from demos.mapping.conversion import ASSUMED, completed
from demos.model import Effector, Embodiment, Episode, Nanoseconds, Stream
from demos.signals.conditioning import (
    GRID_HZ,
    POSITION_HZ,
    Conditioned,
    Flags,
    Floats,
    conditioned,
    lowpass,
    once,
    speed,
)

Space = Literal["recorded pose", "forward kinematics", "joint space"]

_FINGERS = re.compile(r"hand|finger|thumb|index|middle|ring|pinky|little|gripper", re.IGNORECASE)
_ANTI_ALIAS_HZ = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How one effector moved, on the grid that all effectors of the episode share.

    position: (n, 3) m in the world, low-passed at 10 Hz; in `joint space`, where neither a wrist
        pose nor a kinematic model is there, (n, J) rad of the arm's joints.
    speed: (n,) m/s (rad/s), low-passed at 6 Hz. turned: (n, 4) xyzw or None.
    whole: (n,) False where the recording has a gap.
    """

    effector: Effector
    space: Space
    time_ns: Nanoseconds
    position: Floats
    speed: Floats
    whole: Flags
    turned: Floats | None = None

    @property
    def in_metres(self) -> bool:
        """Say whether positions are metres in the world."""
        return self.space != "joint space"


@once
def body(episode: Episode) -> Embodiment | None:
    """Return the embodiment that the episode names, None where nobody has described it."""
    return _body(episode.manifest.embodiment, episode.root)


def _body(name: str, root: Path | None) -> Embodiment | None:
    try:
        path = embodiment.file(name, root)
    except UnknownName:
        return None
    return _read(name, root, path.stat().st_mtime_ns)


@cache
def _read(name: str, root: Path | None, _changed_ns: int) -> Embodiment:
    # a team may edit its body while the viewer runs; reading it costs more than most checks
    return embodiment.load(name, root)


@once
def effectors(episode: Episode) -> tuple[Effector, ...]:
    """Return the hands of the episode's body; of an undescribed body, guess them by names."""
    described = body(episode)
    if described is not None and described.effectors:
        return described.effectors
    joints = episode.streams.get("joint_position")
    channels = joints.channels if joints is not None else ()
    found = []
    for side in ("left", "right"):
        own = [name for name in channels if side in name.lower()]
        places = [name for name in episode.streams if f".{side}_" in name]
        if own or places:
            found.append(
                Effector(
                    name=f"{side}_hand",
                    arm=tuple(name for name in own if not _FINGERS.search(name)),
                    hand=tuple(name for name in own if _FINGERS.search(name)),
                    wrench=f"wrench.{side}_wrist",
                    tactile=f"tactile.{side}_hand",
                )
            )
    if found or not channels:
        return tuple(found)
    return (Effector(name="body", arm=tuple(channels), hand=()),)


@once
def motions(episode: Episode) -> tuple[Motion, ...]:
    """Return how each effector moved; none where nothing says so.

    The recorded pose of the wrist is taken first, then forward kinematics of the joints (and of
    those that a source lacked, where its mapping assumes them), then the joints themselves.
    Effectors of one episode always share one space, so that their speeds compare.
    """
    hands = effectors(episode)
    poses = [_stream(episode, f"pose.{wrist(hand)}") for hand in hands]
    known = [s for s in poses if s is not None and s.values.shape[1:] == (7,)]
    if known and len(known) == len(hands):
        signals = [conditioned(s, cutoff_hz=_ANTI_ALIAS_HZ) for s in known]
        return _shared(hands, signals, "recorded pose")
    joints = _stream(episode, "joint_position")
    if joints is None:
        return ()
    posture = completed(joints, _stream(episode, ASSUMED))
    signal = conditioned(posture, cutoff_hz=_ANTI_ALIAS_HZ)
    known_chain = chain(episode, posture.channels)
    if known_chain is not None:
        placed = _placed(signal, posture.channels, known_chain, hands)
        return _shared(hands, placed, "forward kinematics")
    number = {name: i for i, name in enumerate(joints.channels)}
    moved = [
        (hand, [number[name] for name in hand.arm if name in number])
        for hand in hands
        if any(name in number for name in hand.arm)
    ]
    signals = [Conditioned(signal.time_ns, signal.values[:, c], signal.whole) for _, c in moved]
    return _shared(tuple(hand for hand, _ in moved), signals, "joint space")


@dataclass(frozen=True, slots=True)
class Chain:
    """An MJCF file below `sim/`, the recorded joints it has, and the site of each effector."""

    model: str
    joints: tuple[str, ...]
    sites: dict[str, str]


def chain(episode: Episode, channels: tuple[str, ...]) -> Chain | None:
    """Say how to compute where hands are; None where that cannot be known.

    A body without a model of its own may name one that has the same arms: notes.arm_kinematics,
    with `model` and `sites`. Joints that were not recorded stand at the model's reference.
    """
    described = body(episode)
    if described is None or find_spec("mujoco") is None:
        return None
    arms = described.notes.get("arm_kinematics", {})
    model = described.model or arms.get("model", "")
    sites = {hand.name: hand.site for hand in effectors(episode) if hand.site}
    sites |= arms.get("sites", {})
    declared = {joint.name for joint in described.joints if joint.unit == "rad"}
    joints = tuple(name for name in channels if name in declared)
    known = all(hand.name in sites and set(hand.arm) <= set(joints) for hand in effectors(episode))
    return Chain(model, joints, sites) if model and joints and known else None


def _placed(
    joints: Conditioned, channels: tuple[str, ...], chain: Chain, hands: tuple[Effector, ...]
) -> list[Conditioned]:
    columns = [channels.index(name) for name in chain.joints]
    poses = physics.forward_kinematics(
        model(chain.model),
        chain.joints,
        joints.values[:, columns],
        [chain.sites[hand.name] for hand in hands],
    )
    return [Conditioned(joints.time_ns, poses[:, i], joints.whole) for i in range(len(hands))]


@cache
def model(path: str) -> Any:
    """Compile the MJCF file of a chain, once."""
    return physics.load_model(path)


def _shared(
    hands: tuple[Effector, ...], signals: list[Conditioned], space: Space
) -> tuple[Motion, ...]:
    if not signals or not all(len(signal) for signal in signals):
        return ()
    start = max(int(signal.time_ns[0]) for signal in signals)
    end = min(int(signal.time_ns[-1]) for signal in signals)
    found = []
    for hand, signal in zip(hands, signals, strict=True):
        inside = (signal.time_ns >= start) & (signal.time_ns <= end)
        values, whole = signal.values[inside], signal.whole[inside]
        place = values if space == "joint space" else values[:, :3]
        found.append(
            Motion(
                hand,
                space,
                signal.time_ns[inside],
                lowpass(place, GRID_HZ, POSITION_HZ),
                speed(place),
                whole,
                values[:, 3:7] if space != "joint space" and values.shape[1] >= 7 else None,
            )
        )
    return tuple(found)


@once
def closures(episode: Episode) -> dict[str, Conditioned]:
    """Return per effector how far its hand is closed: (n, 1), 0 open to 1 closed.

    From the hand's joints (of `joint_position` or `gripper.<hand>`) on their way between the two
    postures that the embodiment notes as `hand_postures`; without those, by the joints' limits (a
    finger closes towards the limit farther from zero); else the operator's own command.
    """
    found = {}
    for hand in effectors(episode):
        signal = _from_fingers(episode, hand)
        command = _stream(episode, f"teleop.{hand.name}")
        if signal is None and command is not None and command.values.shape[1] == 1:
            signal = conditioned(command)
        if signal is not None and len(signal):
            found[hand.name] = signal
    return found


def _from_fingers(episode: Episode, hand: Effector) -> Conditioned | None:
    for name in (f"gripper.{hand.name}", "joint_position"):
        stream = _stream(episode, name)
        if stream is None:
            continue
        known = [i for i, channel in enumerate(hand.hand) if channel in stream.channels]
        if not known:
            continue
        opened, closed = _postures(episode, hand)
        way = (closed - opened)[known]
        if not (way @ way > 0):
            continue
        columns = np.array([stream.channels.index(hand.hand[i]) for i in known])
        signal = conditioned(stream, columns=columns)
        share = (signal.values - opened[known]) @ way / (way @ way)
        return Conditioned(signal.time_ns, share[:, None], signal.whole)
    return None


def _postures(episode: Episode, hand: Effector) -> tuple[Floats, Floats]:
    """Return the joints of the open and of the closed hand: (J,) each, in the effector's order."""
    nothing = np.zeros(len(hand.hand))
    described = body(episode)
    if described is None:
        return nothing, nothing
    noted = described.notes.get("hand_postures", {}).get(hand.name)
    if noted is not None:
        return np.asarray(noted["open"], np.float64), np.asarray(noted["closed"], np.float64)
    limits = {joint.name: joint for joint in described.joints}
    opened, closed = nothing.copy(), nothing.copy()
    for i, name in enumerate(hand.hand):
        joint = limits.get(name)
        if joint is not None and joint.unit == "rad" and abs(joint.upper) != abs(joint.lower):
            # one that turns as far either way spreads or opposes; it does not close
            closed[i] = max(joint.upper, joint.lower, key=abs)
    return opened, closed


def _stream(episode: Episode, name: str) -> Stream | None:
    stream = episode.streams.get(name)
    return stream if stream is not None and len(stream) >= 2 and stream.values.ndim == 2 else None


def wrist(hand: Effector) -> str:
    """Name the place of a hand's wrist, as in `pose.right_wrist`."""
    place = hand.wrench.removeprefix("wrench.")
    return place or hand.name.replace("hand", "wrist")
