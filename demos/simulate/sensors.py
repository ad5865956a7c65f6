"""What sensors make of a rollout: noise, quantisation, bias and drift, hysteresis, dead cells.

The declared model is `sim/g1_dex3/sensors.yaml`. A rig is one session's set of sensors: its
biases, dead cells and clocks stay the same from episode to episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from demos._content import content
from demos.model import Nanoseconds, StreamInfo
from demos.physics import Floats
from demos.simulate.operator import remembered
from demos.simulate.rollout import LOG_HZ, STEP_HZ, TAXEL_HZ, Rollout
from demos.simulate.script import COMMAND_HZ
from demos.simulate.world import FINGERS, World

ROWS = COLUMNS = 4
PITCH_M = (0.008, 0.006)
"""Distance of taxels along the finger and across it."""
_US = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One stream as a sensor delivered it: stamps (n,) int64, values (n, C)."""

    time_ns: Nanoseconds
    values: npt.NDArray[Any]
    source_time_ns: Nanoseconds | None = None
    arrival_ns: Nanoseconds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """One session's sensors: what is wrong with each of them, and their serial numbers.

    bias: per hand (6,), N and N·m; gain: per hand (3, 3, ROWS, COLUMNS), 0 where a cell is dead;
    offset_ns, skew: per clock, what its stamps are off by and how fast it runs (1 is right).
    """

    model: Mapping[str, Any]
    bias: Mapping[str, Floats]
    gain: Mapping[str, Floats]
    offset_ns: Mapping[str, int]
    skew: Mapping[str, float]
    serials: Mapping[str, str] = field(default_factory=dict)

    @property
    def dead(self) -> dict[str, list[str]]:
        """Name the taxels that do not work: hand to `<finger>.r<row>c<column>`."""
        return {
            hand: [
                f"{FINGERS[finger]}.r{row}c{column}"
                for finger, row, column in np.argwhere(gain[:, 0] == 0.0)
            ]
            for hand, gain in self.gain.items()
        }


@cache
def model() -> Mapping[str, Any]:
    """Read the declared sensor model."""
    path = content("sim") / "g1_dex3" / "sensors.yaml"
    loaded: Mapping[str, Any] = yaml.safe_load(path.read_bytes())
    return loaded


def rig(rng: np.random.Generator, hands: tuple[str, ...] = ("left_hand", "right_hand")) -> Rig:
    """Draw one session's sensors."""
    declared = model()
    wrench, taxels, clocks = declared["wrench"], declared["taxels"], declared["clocks"]
    bias, gain = {}, {}
    for hand in hands:
        bias[hand] = np.concatenate(
            [rng.normal(0, wrench["bias_n"], 3), rng.normal(0, wrench["bias_nm"], 3)]
        )
        cells = rng.normal(1.0, taxels["gain"], (len(FINGERS), 1, ROWS, COLUMNS))
        alive = rng.random((len(FINGERS), 1, ROWS, COLUMNS)) >= taxels["dead"]
        gain[hand] = np.repeat(cells * alive, 3, axis=1)
    names = [
        "joints",
        "tracker",
        "teleop",
        *(f"{k}.{h}" for k in ("wrench", "tactile") for h in hands),
    ]
    return Rig(
        model=declared,
        bias=bias,
        gain=gain,
        offset_ns={name: int(rng.integers(10**9, 10**13)) for name in names},
        skew={name: 1.0 + 1e-6 * float(rng.normal(0, clocks["skew_ppm"])) for name in names},
        serials={
            "robot": f"G1S-{rng.integers(1000, 9999)}",
            **{hand: f"DX3-{rng.integers(10000, 99999)}" for hand in hands},
            **{f"wrench.{hand}": f"FT-{rng.integers(1000, 9999)}" for hand in hands},
            "camera.egocentric": f"CAM-{rng.integers(1000, 9999)}",
        },
    )


def measure(
    rollout: Rollout, rig: Rig, rng: np.random.Generator, *, worked_s: float = 0.0
) -> dict[str, Reading]:
    """Work out every numeric stream of an episode that began `worked_s` into the session."""
    streams = rollout.world.embodiment.streams
    out: dict[str, Reading] = {}
    out |= _joints(rollout, rig, rng, streams)
    for name, hand in rollout.world.hands.items():
        place = f"{hand.side}_wrist"
        out[f"wrench.{place}"] = _wrench(
            rollout.wrench[name], name, rig, rng, streams[f"wrench.{place}"], worked_s
        )
        out[f"tactile.{name}"] = _taxels(rollout, name, rig, rng, streams[f"tactile.{name}"])
    for name in rollout.world.objects:
        out[f"pose.object.{name}"] = _tracked(rollout, name, rig, rng)
    out |= _teleop(rollout, rig, rng)
    return out


def object_info(name: str) -> StreamInfo:
    """Say what the tracked pose of an object means."""
    tracker = model()["tracker"]
    return StreamInfo(
        channels=("x", "y", "z", "qx", "qy", "qz", "qw"),
        units=("m", "m", "m", "1", "1", "1", "1"),
        rate_hz=tracker["rate_hz"],
        reference_frame="world",
        of_frame=name,
        quantum=(tracker["quantum_m"],) * 3 + (tracker["quantum"],) * 4,
        semantics="tracked pose of the object's centre",
    )


def tare(rig: Rig, world: World, hand: str) -> tuple[float, ...]:
    """Read a wrist's sensor at rest, hand empty and level: bias and the hand's weight (6,)."""
    model = world.model
    wrist = model.body(f"{world.hands[hand].side}_wrist_yaw_link")
    inside = [wrist.id]
    for body in range(wrist.id + 1, model.nbody):
        if int(model.body_parentid[body]) in inside:
            inside.append(body)
    weight = float(model.body_mass[inside].sum()) * float(np.linalg.norm(model.opt.gravity))
    return tuple(float(v) for v in rig.bias[hand] + [0.0, 0.0, -weight, 0.0, 0.0, 0.0])


def _joints(
    rollout: Rollout, rig: Rig, rng: np.random.Generator, streams: Mapping[str, StreamInfo]
) -> dict[str, Reading]:
    noise = rig.model["joints"]
    size, count = rollout.effort.shape, len(rollout.time_s)
    in_hand = np.array(["_hand_" in name for name in rollout.world.joints])
    effort = np.where(in_hand, noise["effort_noise_nm"]["hand"], noise["effort_noise_nm"]["body"])
    stamps = _stamps(rollout.time_s, "joints", "joints", rig, rng)
    position = rollout.qpos[:, : size[1]]
    measured = {
        "joint_position": position + rng.normal(0, noise["position_noise_rad"], size),
        "joint_velocity": rollout.velocity + rng.normal(0, noise["velocity_noise_rad_s"], size),
        "joint_effort": rollout.effort + rng.normal(0, 1, size) * effort,
    }
    gains = rollout.world.embodiment.gains
    groups = [gains[joint.group] for joint in rollout.world.embodiment.joints]
    sent = {
        "joint_command": rollout.command,
        # teleoperation of the G1 sends no target velocity: the damping works against motion
        "joint_command.velocity": np.zeros(size),
        "joint_command.kp": np.tile([kp for kp, _ in groups], (count, 1)),
        "joint_command.kd": np.tile([kd for _, kd in groups], (count, 1)),
        "joint_command.effort": rollout.forward,
    }
    exact = np.rint(rollout.time_s * 1e9).astype(np.int64)
    return {
        **{
            name: Reading(stamps[0], _quantised(values, streams[name]), *stamps[1:])
            for name, values in measured.items()
        },
        **{name: Reading(exact, _quantised(v, streams[name])) for name, v in sent.items()},
    }


def _wrench(
    true: Floats,
    hand: str,
    rig: Rig,
    rng: np.random.Generator,
    info: StreamInfo,
    worked_s: float,
) -> Reading:
    noise = rig.model["wrench"]
    count = len(true)
    scale = np.repeat([noise["noise_n"], noise["noise_nm"]], 3)
    walk = np.repeat([noise["drift_n"], noise["drift_nm"]], 3)
    steps = rng.normal(0, 1, (count, 6)) * walk / np.sqrt(STEP_HZ)
    # where the walk had got to when this episode began
    before = rng.normal(0, 1, 6) * walk * np.sqrt(max(worked_s, 0.0))
    values = true + rig.bias[hand] + before + np.cumsum(steps, axis=0)
    values += rng.normal(0, 1, (count, 6)) * scale
    time_s = np.arange(count) / STEP_HZ
    stamps = _stamps(time_s, "wrench", f"wrench.{hand}", rig, rng)
    return Reading(stamps[0], _quantised(values, info), *stamps[1:])


def _taxels(
    rollout: Rollout, hand: str, rig: Rig, rng: np.random.Generator, info: StreamInfo
) -> Reading:
    noise = rig.model["taxels"]
    side = rollout.world.hands[hand].side
    tips = list(rollout.world.tips)
    true = np.stack(
        [
            felt(
                rollout.taxels[f"{side}_{finger}"],
                rollout.tip_m[:, tips.index(f"{side}_{finger}")],
                rollout.tip_axes[:, tips.index(f"{side}_{finger}")],
                noise["spread_m"],
            )
            for finger in FINGERS
        ],
        axis=1,
    )
    keep = float(np.exp(-1.0 / (TAXEL_HZ * noise["hysteresis_s"])))
    late = remembered((1.0 - keep) * true, keep)
    share = noise["hysteresis"]
    values = ((1.0 - share) * true + share * late) * rig.gain[hand]
    alive = rig.gain[hand] != 0.0
    values = values + rng.normal(0, noise["noise_n"], values.shape) * alive
    values = np.clip(values, -noise["full_scale_n"], noise["full_scale_n"])
    flat = values.reshape(len(values), -1)
    time_s = np.arange(len(flat)) / TAXEL_HZ
    stamps = _stamps(time_s, "tactile", f"tactile.{hand}", rig, rng)
    return Reading(stamps[0], _quantised(flat, info), *stamps[1:])


def felt(contacts: Floats, centre_m: Floats, axes: Floats, spread_m: float) -> Floats:
    """Spread the contact forces of one pad over its taxels: (n, 3, ROWS, COLUMNS), N.

    contacts: (n, k, 13) as `physics.load_model` describes them; centre_m (n, 3) and axes
    (n, 3, 3) of the pad: columns u (to the tip), v (across), outward normal. The first component
    presses on the pad, the others are the shear on it along u and v. Each component sums to the
    force on the pad.
    """
    force, place = contacts[:, :, 1:4], contacts[:, :, 4:7]
    normal, tangent = contacts[:, :, 7:10], contacts[:, :, 10:13]
    frame = np.stack([normal, tangent, np.cross(normal, tangent)], axis=2)
    # exerted by the pad on what it touches, in the world, then in the pad's axes
    world = np.einsum("nkc,nkcx->nkx", force, frame)
    own = np.einsum("nkx,nxa->nka", world, axes)
    at = np.einsum("nkx,nxa->nka", place - centre_m[:, None, :], axes)
    rows = (np.arange(ROWS) - (ROWS - 1) / 2) * PITCH_M[0]
    columns = (np.arange(COLUMNS) - (COLUMNS - 1) / 2) * PITCH_M[1]
    away = (rows[None, None, :, None] - at[:, :, 0, None, None]) ** 2 + (
        columns[None, None, None, :] - at[:, :, 1, None, None]
    ) ** 2
    weight = np.exp(-away / (2.0 * spread_m**2))
    weight /= np.maximum(weight.sum(axis=(2, 3), keepdims=True), 1e-12)
    on_pad = np.stack([own[:, :, 2], -own[:, :, 0], -own[:, :, 1]], axis=2)
    return np.asarray(np.einsum("nkc,nkij->ncij", on_pad, weight))


def _tracked(rollout: Rollout, name: str, rig: Rig, rng: np.random.Generator) -> Reading:
    noise = rig.model["tracker"]
    every = round(LOG_HZ / noise["rate_hz"])
    pose = rollout.object_pose(name)[::every]
    pose[:, :3] += rng.normal(0, noise["noise_m"], (len(pose), 3))
    pose[:, 3:] += rng.normal(0, noise["noise_rad"] / 2.0, (len(pose), 4))
    pose[:, 3:] /= np.linalg.norm(pose[:, 3:], axis=1, keepdims=True)
    # q and -q are one rotation; a track must not jump between them
    flips = np.cumprod(np.where((pose[1:, 3:] * pose[:-1, 3:]).sum(axis=1) < 0, -1.0, 1.0))
    pose[1:, 3:] *= flips[:, None]
    stamps = _stamps(rollout.time_s[::every], "tracker", "tracker", rig, rng)
    return Reading(stamps[0], _quantised(pose, object_info(name)), *stamps[1:])


def _teleop(rollout: Rollout, rig: Rig, rng: np.random.Generator) -> dict[str, Reading]:
    intent = rollout.intent
    count = len(intent.time_s)
    stamps = _stamps(intent.time_s, "teleop", "teleop", rig, rng)
    out = {}
    for name, hand in rollout.world.hands.items():
        pose = np.concatenate([intent.position_m[name], quaternions(intent.turn_rad[name])], axis=1)
        every = round(LOG_HZ / COMMAND_HZ)
        rows = np.minimum(np.arange(count) * every, len(rollout.time_s) - 1)
        closure = rollout.closure[name][rows, None]
        out[f"teleop.{hand.side}_wrist"] = Reading(stamps[0], pose.astype(np.float32), *stamps[1:])
        out[f"teleop.{name}"] = Reading(stamps[0], closure.astype(np.float32), *stamps[1:])
    out["teleop.clutch"] = Reading(stamps[0], np.ones((count, 1), np.float32), *stamps[1:])
    return out


def quaternions(turn_rad: Floats) -> Floats:
    """Turn rotation vectors (n, 3) into quaternions xyzw (n, 4)."""
    angle = np.linalg.norm(turn_rad, axis=1, keepdims=True)
    # sin(a/2)/a tends to 1/2
    scale = 0.5 * np.sinc(angle / (2.0 * np.pi))
    return np.concatenate([turn_rad * scale, np.cos(angle / 2.0)], axis=1)


def _stamps(
    time_s: Floats, kind: str, clock: str, rig: Rig, rng: np.random.Generator
) -> tuple[Nanoseconds, Nanoseconds, Nanoseconds]:
    """Return time_ns, source_time_ns and arrival_ns of samples taken at `time_s`."""
    clocks = rig.model["clocks"]
    count = len(time_s)
    step_us = float(np.median(np.diff(time_s))) * 1e6 if count > 1 else 1e6
    limit = 0.45 * step_us
    jitter = np.clip(rng.normal(0, clocks["jitter_us"][kind], count), -limit, limit)
    taken_us = time_s * 1e6
    stamped = np.maximum(np.rint(taken_us + jitter), 0.0).astype(np.int64)
    if count > 1 and stamped[1] <= stamped[0]:
        stamped[0] = 0
    own = np.rint(stamped * rig.skew[clock]).astype(np.int64) * _US + rig.offset_ns[clock]
    late = rng.exponential(clocks["late_us"][kind], count) + clocks["delay_us"][kind]
    arrived = np.maximum.accumulate(np.rint(taken_us + late).astype(np.int64))
    return stamped * _US, own, arrived * _US


def _quantised(values: Floats, info: StreamInfo) -> npt.NDArray[np.float32]:
    if info.quantum is None:
        return values.astype(np.float32)
    quantum = np.asarray(info.quantum)
    return np.asarray(np.rint(values / quantum) * quantum, dtype=np.float32)
