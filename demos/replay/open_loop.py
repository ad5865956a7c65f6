"""Replay of an episode: latency first, then an open-loop rollout, compared beside its floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from demos import physics
from demos.errors import ReplayFailed
from demos.model import Episode, Gap, Nanoseconds
from demos.physics import Floats
from demos.replay.delay import Delay, delay
from demos.replay.gaps import Departure, Trace, departures, recorded, simulated
from demos.replay.plant import Plant, plant
from demos.replay.rollout import Run, Start, finite, run, span, start, targets
from demos.signals.conditioning import interpolated

MEMBERS = 2
OBJECT_M = 0.001
JOINT_RAD = 2e-4
FREE_S = 3.0
LONGEST_LATENCY_S = 0.15
RESOLUTION_S = 0.001
EARLIEST_S = 0.01
"""A robot that moves this much before it is told has a wrong clock, not a negative latency."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What came of replaying one episode.

    time_ns (n,), joints (J names), recorded and replayed (n, J) rad: the recording's own moments.
    latency_s: how much later the robot followed its commands than the model does; it was taken
    out before the rollout. objects, forces: per name the two `(stamps, values)` to draw above
    each other, recording first. `diverged_ns` says when physics blew up, None where it did not.
    engine and model_sha256 say with what it was made: gaps of other versions do not compare.
    """

    episode: str
    gaps: list[Gap]
    time_ns: Nanoseconds
    joints: tuple[str, ...]
    recorded: Floats
    replayed: Floats
    objects: Mapping[str, tuple[tuple[Nanoseconds, Floats], tuple[Nanoseconds, Floats]]]
    forces: Mapping[str, tuple[tuple[Nanoseconds, Floats], tuple[Nanoseconds, Floats]]]
    latency_s: float
    diverged_ns: int | None
    remarks: tuple[str, ...]
    engine: str
    model_sha256: str

    def value(self, quantity: str) -> float | None:
        """Return one gap's value, None where it is not assessable. Raises KeyError."""
        for gap in self.gaps:
            if gap.quantity == quantity:
                return gap.value
        raise KeyError(quantity)


def replay(
    episode: Episode, *, model_path: Path | None = None, members: int = MEMBERS, seed: int = 0
) -> Replay:
    """Run an episode's recorded commands in simulation and measure how far it departs.

    The world is the one its provenance describes, else the embodiment's MJCF with the objects
    that have recorded poses, else `model_path`. The floor is how far `members` replays of the
    same model depart from the replay itself when they start elsewhere within what the sensors
    cannot tell (objects 1 mm, joints one quantum): the root mean square over members. A gap near
    its floor says nothing against the model.

    Raises ReplayFailed where the episode cannot be run at all. Where physics blows up the gaps
    have no value and say why.
    """
    body = plant(episode, model_path)
    start_ns, end_ns = span(episode)
    step_ns = float(body.model.opt.timestep) * 1e9
    moments = start_ns + np.rint(np.arange((end_ns - start_ns) / step_ns) * step_ns)
    moments = moments.astype(np.int64)
    first = start(episode, body, start_ns)
    real = recorded(episode, body, start_ns, end_ns)
    late, own, lag = _latency(episode, body, first, moments, real)
    ctrl = targets(episode, body, first, moments, late)
    starts = [first, *_perturbed(episode, body, first, members, seed)]
    runs = run(body, starts, ctrl, start_ns, end_ns)
    broken = runs[0].diverged_ns
    quantities = [
        Departure("command_delay", _ms(own.seconds), "ms", "joint_command", _why(own)),
        Departure("latency", _ms(lag.seconds), "ms", "joint_command", _why(lag)),
    ]
    if len(runs[0].time_ns) < 2:
        raise ReplayFailed(f"{episode.id}: physics blew up in its first step").with_hint(
            "does the model fit the recorded start? objects may overlap the table or a hand"
        )
    nominal = simulated(episode, body, runs[0])
    measured = list(departures(body, _until(real, broken), nominal))
    floor = _floor(body, nominal, [simulated(episode, body, each) for each in _sound(runs[1:])])
    shown = _until(real, broken)
    return Replay(
        episode=episode.id,
        gaps=[
            *(_gap(episode, each, {}, None) for each in quantities),
            *(_gap(episode, each, floor, broken) for each in measured),
        ],
        time_ns=shown.time_ns,
        joints=body.joints,
        recorded=shown.joints,
        replayed=interpolated(nominal.time_ns, nominal.joints, shown.time_ns),
        objects={
            name: (real.objects[name], nominal.objects[name])
            for name in body.objects
            if name in real.objects
        },
        forces={
            name: (real.forces[name], nominal.forces[name])
            for name in real.forces
            if name in nominal.forces
        },
        latency_s=late,
        diverged_ns=broken,
        remarks=body.remarks,
        engine=f"mujoco {physics.engine().__version__}",
        model_sha256=body.model_sha256,
    )


def table(replays: Iterable[Replay]) -> pd.DataFrame:
    """Return gaps as rows for the store's results of kind `gaps`, with what made them."""
    rows = [
        {
            **gap.model_dump(),
            "latency_s": each.latency_s,
            "diverged_ns": each.diverged_ns,
            "engine": each.engine,
            "model_sha256": each.model_sha256,
            "remarks": "; ".join(each.remarks),
        }
        for each in replays
        for gap in each.gaps
    ]
    found = pd.DataFrame(rows)
    if len(found):
        found["diverged_ns"] = found["diverged_ns"].astype("Int64")
    return found


def summary(replayed: Replay) -> str:
    """Say in lines of text how far a replay departed; single joints are left out."""
    lines = [f"{replayed.episode}  {replayed.engine}  model {replayed.model_sha256[:12]}"]
    for gap in replayed.gaps:
        if gap.quantity.startswith("joint_rmse."):
            continue
        value = "-" if gap.value is None else f"{gap.value:.2f} {gap.unit}"
        floor = "" if gap.floor is None else f"floor {gap.floor:.2f}"
        lines.append(f"  {gap.quantity:<32}{value:>14}  {floor:<12} {gap.reason}".rstrip())
    lines += [f"  note: {remark}" for remark in replayed.remarks]
    return "\n".join(lines)


def _latency(
    episode: Episode, body: Plant, first: Start, moments: Nanoseconds, real: Trace
) -> tuple[float, Delay, Delay]:
    """Estimate how much later the robot followed than the model: seconds, and both estimates.

    Torque and gain comparisons are wrong without it, so it comes first. Only the free motion
    before the first contact is used: what hands press against delays them too.
    """
    onsets = [c.start_ns for each in real.contacts.values() for c in each]
    free_ns = min([*onsets, int(moments[0] + FREE_S * 1e9)])
    least_ns = int(moments[0]) + 1_000_000_000
    part = moments[moments <= max(free_ns, least_ns)]
    ctrl = targets(episode, body, first, part, 0.0)
    (model,) = run(body, [first], ctrl, int(part[0]), int(part[-1]) + round(np.diff(part)[0]))
    step_s = float(body.model.opt.timestep)
    grid = part[: len(model.time_ns)]
    robot = interpolated(real.time_ns, real.joints, grid)
    simulation = model.qpos[: len(grid)][:, body.qpos]
    lag = delay(simulation, robot, step_s, longest_s=LONGEST_LATENCY_S)
    driven = [body.joints.index(name) for name in body.commanded if name in body.joints]
    told = [body.commanded.index(body.joints[number]) for number in driven]
    stamps, values = finite(episode.streams["joint_command"])
    commands = interpolated(stamps, values[:, body.command_columns], grid)
    own = delay(commands[:, told], robot[:, driven], step_s, longest_s=LONGEST_LATENCY_S)
    late = lag.seconds or 0.0
    if abs(late) < RESOLUTION_S or late < -EARLIEST_S:
        late = 0.0
    return late, own, lag


def _perturbed(episode: Episode, body: Plant, first: Start, members: int, seed: int) -> list[Start]:
    """Start elsewhere within what the sensors cannot tell."""
    rng = np.random.default_rng(seed)
    quantum = episode.streams["joint_position"].info.quantum
    noise = np.full(len(body.joints), JOINT_RAD)
    if quantum is not None:
        noise = np.maximum(np.asarray(quantum, np.float64)[body.columns], noise)
    found = []
    for _ in range(members):
        qpos = first.qpos.copy()
        qpos[body.qpos] += rng.uniform(-1.0, 1.0, len(body.joints)) * noise
        for place in body.objects.values():
            # not upwards or downwards: it stands on something
            qpos[place : place + 2] += rng.uniform(-OBJECT_M, OBJECT_M, 2)
        found.append(replace(first, qpos=qpos))
    return found


def _sound(runs: list[Run]) -> list[Run]:
    return [each for each in runs if each.diverged_ns is None]


def _floor(body: Plant, nominal: Trace, others: list[Trace]) -> dict[str, float]:
    """Root mean square over the ensemble of each quantity, the replay itself as recording.

    An agreement (unit 1) is averaged instead.
    """
    found: dict[str, list[float]] = {}
    agreements = set()
    for other in others:
        for each in departures(body, nominal, other):
            if each.value is not None:
                found.setdefault(each.quantity, []).append(each.value)
            if each.unit == "1":
                agreements.add(each.quantity)
    return {
        name: float(np.mean(values) if name in agreements else np.sqrt(np.mean(np.square(values))))
        for name, values in found.items()
    }


def _until(trace: Trace, end_ns: int | None) -> Trace:
    if end_ns is None:
        return trace
    kept = trace.time_ns < end_ns
    return replace(trace, time_ns=trace.time_ns[kept], joints=trace.joints[kept])


def _gap(episode: Episode, each: Departure, floor: Mapping[str, float], broken: int | None) -> Gap:
    value, reason = each.value, each.reason
    if broken is not None:
        value, reason = None, f"physics blew up at {broken / 1e9:.2f} s"
    return Gap(
        episode=episode.id,
        quantity=each.quantity,
        value=value,
        unit=each.unit,
        floor=floor.get(each.quantity),
        stream=each.stream,
        reason=reason,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _why(found: Delay) -> str:
    if found.seconds is None:
        return "too little motion to tell" if not found.joints else "no clear peak"
    said = f"from {found.joints} joints in free motion, correlation {found.correlation:.3f}"
    early = found.seconds < -EARLIEST_S
    return f"{said}; moves before it is told: are the clocks right?" if early else said
