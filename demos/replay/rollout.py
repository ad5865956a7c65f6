"""Open-loop rollouts: recorded commands drive the simulated body from the recorded start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from demos import physics, timeline
from demos.errors import ReplayFailed
from demos.mapping.conversion import ASSUMED
from demos.model import Episode, Nanoseconds, Stream
from demos.physics import Floats
from demos.replay.plant import Plant
from demos.signals.conditioning import interpolated

HELD_HZ = 100.0
"""Commands slower than this are joined by straight lines, as servo loops do; others are held."""

START_S = 0.05
"""Object poses are averaged over this long at the start: they rest, and their sensor is noisy."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Full initial state: qpos (nq,), qvel (nv,) and the actuators' targets at rest (nu,)."""

    qpos: Floats
    qvel: Floats
    ctrl: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One rollout: time_ns (n,), qpos (n, nq) and sensordata (n, ns), all at the same moments.

    Where physics blew up the arrays end before it, and `diverged_ns` says when.
    """

    time_ns: Nanoseconds
    qpos: Floats
    sensors: Floats
    diverged_ns: int | None


def finite(stream: Stream) -> tuple[Nanoseconds, Floats]:
    """Return a stream's stamps in order and its values as float64, rows that are finite only."""
    ordered = timeline.repaired(stream)
    values = ordered.values.astype(np.float64)
    whole = np.isfinite(values).all(axis=1)
    return ordered.time_ns[whole], values[whole]


def span(episode: Episode) -> tuple[int, int]:
    """Return from when to when (ns) joints and commands are both known.

    Raises ReplayFailed where that is less than 0.2 s.
    """
    stamps = [finite(episode.streams[n])[0] for n in ("joint_position", "joint_command")]
    if not all(len(each) for each in stamps):
        raise ReplayFailed("not replayable, because no joint or command sample is finite")
    start, end = max(int(each[0]) for each in stamps), min(int(each[-1]) for each in stamps)
    if end - start < 200_000_000:
        raise ReplayFailed(
            "not replayable, because joint_position and joint_command share less than 0.2 s"
        ).with_hint("are both on the episode's clock?")
    return start, end


def start(episode: Episode, plant: Plant, at_ns: int) -> Start:
    """Put the simulated body and its objects where the recording has them at `at_ns`."""
    model, now = plant.model, np.array([at_ns])
    qpos = np.array(model.qpos0, np.float64)
    qvel = np.zeros(model.nv)
    stamps, values = finite(episode.streams["joint_position"])
    qpos[plant.qpos] = interpolated(stamps, values[:, plant.columns], now)[0]
    _assume(qpos, episode, plant, now)
    velocity = episode.streams.get("joint_velocity")
    recorded = episode.streams["joint_position"].channels
    if velocity is not None and len(velocity) and velocity.channels == recorded:
        stamps, values = finite(velocity)
        if len(stamps):
            qvel[plant.dof] = interpolated(stamps, values[:, plant.columns], now)[0]
    for name, place in plant.objects.items():
        pose = start_pose(episode, name, at_ns)
        if pose is not None:
            qpos[place : place + 7] = pose[[0, 1, 2, 6, 3, 4, 5]]
    ctrl = np.zeros(model.nu)
    joint_kind = int(physics.engine().mjtTrn.mjTRN_JOINT)
    for number in range(model.nu):
        if int(model.actuator_trntype[number]) == joint_kind:
            ctrl[number] = qpos[model.jnt_qposadr[int(model.actuator_trnid[number, 0])]]
    return Start(qpos, qvel, ctrl)


def _assume(qpos: Floats, episode: Episode, plant: Plant, now: Nanoseconds) -> None:
    """Put joints that the source lacked where its mapping says they were."""
    assumed = episode.streams.get(ASSUMED)
    if assumed is None or not len(assumed):
        return
    joint_kind = physics.engine().mjtObj.mjOBJ_JOINT
    for name, value in zip(assumed.channels, timeline.at(assumed, now)[0], strict=True):
        number = physics.engine().mj_name2id(plant.model, joint_kind, name)
        if number >= 0 and name not in plant.joints:
            qpos[plant.model.jnt_qposadr[number]] = value


def start_pose(episode: Episode, name: str, at_ns: int) -> Floats | None:
    """Average an object's first recorded poses: (7,), m and xyzw; None where there are none."""
    stream = episode.streams.get(f"pose.object.{name}")
    if stream is None or not len(stream):
        return None
    stamps, values = finite(stream)
    if not len(stamps):
        return None
    early = values[stamps <= max(at_ns, int(stamps[0])) + START_S * 1e9].copy()
    # q and -q are one rotation: averaged only on one side
    early[:, 3:] *= np.where(early[:, 3:] @ early[0, 3:] < 0, -1.0, 1.0)[:, None]
    pose = early.mean(axis=0)
    size = float(np.linalg.norm(pose[3:]))
    pose[3:] = pose[3:] / size if size > 0 else [0.0, 0.0, 0.0, 1.0]
    return np.asarray(pose)


def targets(
    episode: Episode, plant: Plant, rest: Start, time_ns: Nanoseconds, latency_s: float
) -> Floats:
    """Read what each actuator was told, `latency_s` before each moment: (n, nu)."""
    stamps, values = finite(episode.streams["joint_command"])
    asked = time_ns - round(latency_s * 1e9)
    told = values[:, plant.command_columns]
    if timeline.rate_hz(stamps) >= HELD_HZ:
        # half a microsecond: stamps rounded to whole nanoseconds must not miss their own step
        row = np.searchsorted(stamps, asked + 500, side="right") - 1
        rows = told[np.clip(row, 0, len(stamps) - 1)]
    else:
        rows = interpolated(stamps, told, asked)
    ctrl = np.repeat(rest.ctrl[None, :], len(time_ns), axis=0)
    ctrl[:, plant.actuators] = rows
    return ctrl


def run(
    plant: Plant, starts: Sequence[Start], ctrl: Floats, start_ns: int, end_ns: int
) -> list[Run]:
    """Roll out from several starts with the same targets (n, nu), one row a physics step.

    One thread: whoever has many episodes runs them side by side.
    """
    mujoco = physics.engine()
    from mujoco import rollout

    model = plant.model
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    step_ns = float(model.opt.timestep) * 1e9
    count = min(len(ctrl), int((end_ns - start_ns) / step_ns))
    data = mujoco.MjData(model)
    states = np.zeros((len(starts), mujoco.mj_stateSize(model, kind)))
    for row, each in enumerate(starts):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.qvel[:] = each.qpos, each.qvel
        mujoco.mj_getState(model, data, states[row], kind)
    with _quiet(mujoco):
        found, sensed = rollout.rollout(
            [model] * len(starts),
            [data],
            initial_state=states,
            control=np.broadcast_to(ctrl[:count], (len(starts), count, model.nu)),
        )
    # sensors are read before a step moves the state on: the state of the step before is theirs
    time_ns = start_ns + np.rint(np.arange(count) * step_ns).astype(np.int64)
    runs = []
    for row in range(len(starts)):
        state = np.vstack([states[row], found[row, :-1]])
        whole = _whole(state)
        runs.append(
            Run(
                time_ns[:whole],
                state[:whole, 1 : 1 + model.nq],
                sensed[row, :whole],
                int(time_ns[whole]) if whole < count else None,
            )
        )
    return runs


def _whole(state: Floats) -> int:
    """Count the steps before physics blew up: MuJoCo's rollout then repeats its last state."""
    stuck = np.append(False, np.diff(state[:, 0]) <= 0)
    bad = np.asarray(~np.isfinite(state).all(axis=1) | stuck)
    return int(bad.argmax()) if bad.any() else len(state)


@contextmanager
def _quiet(mujoco: object) -> Iterator[None]:
    """Keep MuJoCo from writing its warnings to a log file in the working folder."""
    before = mujoco.get_mju_user_warning()  # type: ignore[attr-defined]
    mujoco.set_mju_user_warning(lambda _: None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)  # type: ignore[attr-defined]
