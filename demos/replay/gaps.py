"""How far one motion of a plant departs from another: joints, hands, contacts, objects, outcome.

Both sides of a comparison are a `Trace`, so that the same code measures recording against
simulation and simulation against simulation (the floor).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from demos import physics, task, timeline
from demos.errors import UnknownName
from demos.labels import outcome as labelled_outcome
from demos.model import Episode, Nanoseconds
from demos.physics import Floats
from demos.replay.plant import Plant
from demos.replay.rollout import Run, finite
from demos.signals.conditioning import interpolated
from demos.signals.contacts import Contact, Touch, finger_contacts, touches, united

HANDS_HZ = 100.0
MATCHED_S = 0.25
"""Contacts whose onsets lie farther apart are not the same contact."""
REST_S = 0.1
STILL_M_S = 0.01
LIFT_M = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One side of a comparison.

    joints (n, J) rad at time_ns; objects: name to stamps and poses (m, 7), m and xyzw; contacts
    and forces: per hand with taxels its contact intervals, and stamps with the force (k,) N that
    all fingers feel together; outcome: a word, empty where it is not known.
    """

    time_ns: Nanoseconds
    joints: Floats
    objects: Mapping[str, tuple[Nanoseconds, Floats]] = field(default_factory=dict)
    contacts: Mapping[str, list[Contact]] = field(default_factory=dict)
    forces: Mapping[str, tuple[Nanoseconds, Floats]] = field(default_factory=dict)
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """One quantity's value in its unit; None where it is not assessable, `reason` says why."""

    quantity: str
    value: float | None
    unit: str
    stream: str = ""
    reason: str = ""


def recorded(episode: Episode, plant: Plant, start_ns: int, end_ns: int) -> Trace:
    """Take the recording's side of the comparison, from `start_ns` to `end_ns`."""
    stamps, values = finite(episode.streams["joint_position"])
    inside = (stamps >= start_ns) & (stamps <= end_ns)
    objects = {}
    for name in plant.objects:
        stream = episode.streams.get(f"pose.object.{name}")
        if stream is not None and len((poses := finite(stream))[0]):
            objects[name] = poses
    contacts: dict[str, list[Contact]] = {}
    forces = {}
    for hand in plant.embodiment.effectors:
        stream = episode.streams.get(hand.tactile)
        if stream is None or len(stream) < 2:
            continue
        felt = touches(stream)
        contacts[hand.name] = _hand_contacts(felt, hand.name)
        if felt:
            forces[hand.name] = (felt[0].time_ns, np.sum([each.force for each in felt], axis=0))
    return Trace(
        stamps[inside],
        values[inside][:, plant.columns],
        objects,
        contacts,
        forces,
        labelled_outcome(episode.labels),
    )


def simulated(episode: Episode, plant: Plant, run: Run) -> Trace:
    """Take a rollout's side: forces on the pads stand in for the taxels, read at their moments."""
    objects = {
        name: (run.time_ns, run.qpos[:, place : place + 7][:, [0, 1, 2, 4, 5, 6, 3]])
        for name, place in plant.objects.items()
    }
    contacts: dict[str, list[Contact]] = {}
    forces = {}
    for hand in plant.embodiment.effectors:
        stream = episode.streams.get(hand.tactile)
        if stream is None or len(stream) < 2:
            continue
        stamps = timeline.repaired(stream).time_ns
        stamps = stamps[stamps <= run.time_ns[-1]]
        noises = {touch.finger: touch.noise_n for touch in touches(stream)}
        felt = [
            Touch(finger, stamps, interpolated(run.time_ns, force[:, None], stamps)[:, 0], noise)
            for finger, noise in noises.items()
            if (force := _pad_force(plant, run, hand.name, finger)) is not None
        ]
        if not noises:
            # the recording's taxels are all constant: nothing to compare, and nothing missing
            contacts[hand.name] = []
        if felt and len(stamps):
            contacts[hand.name] = _hand_contacts(felt, hand.name)
            forces[hand.name] = (stamps, np.sum([each.force for each in felt], axis=0))
    return Trace(
        run.time_ns,
        run.qpos[:, plant.qpos],
        objects,
        contacts,
        forces,
        _outcome(episode, plant, run),
    )


def departures(plant: Plant, one: Trace, other: Trace) -> Iterator[Departure]:
    """Measure how far `other` (the replay) departs from `one` (the recording).

    Open-loop unrolling of recorded commands, compared at joints and hands, after SIMPLER (Li et
    al. 2024). Onsets are signed, positive where `other` touches later.
    """
    yield from _joint_departures(plant, one, other)
    yield from _hand_departures(plant, one, other)
    yield from _contact_departures(plant, one, other)
    yield from _object_departures(plant, one, other)
    yield _agreement(one, other)


def _joint_departures(plant: Plant, one: Trace, other: Trace) -> Iterator[Departure]:
    off = _at(other, one.time_ns) - one.joints
    stream = "joint_position"
    rms = 1e3 * np.sqrt(np.mean(off**2, axis=0))
    overall = 1e3 * float(np.sqrt(np.mean(off**2)))
    yield Departure("joint_rmse", overall, "mrad", stream)
    for name, value in zip(plant.joints, rms, strict=True):
        yield Departure(f"joint_rmse.{name}", float(value), "mrad", stream)


def _hand_departures(plant: Plant, one: Trace, other: Trace) -> Iterator[Departure]:
    every = max(1, round(timeline.rate_hz(one.time_ns) / HANDS_HZ)) if len(one.time_ns) > 1 else 1
    stamps = one.time_ns[::every]
    for hand in plant.embodiment.effectors:
        quantity = f"ee_rmse.{hand.name}"
        lacking = sorted({*hand.arm} - {*plant.joints})
        if lacking or not hand.site:
            why = f"the model lacks {', '.join(lacking)}" if lacking else "no site is declared"
            yield Departure(quantity, None, "mm", "joint_position", why)
            continue
        try:
            places = [
                physics.forward_kinematics(plant.model, plant.joints, joints, [hand.site])[:, 0]
                for joints in (one.joints[::every], _at(other, stamps))
            ]
        except UnknownName as error:
            yield Departure(quantity, None, "mm", "joint_position", str(error))
            continue
        off = np.linalg.norm(places[1][:, :3] - places[0][:, :3], axis=1)
        yield Departure(quantity, 1e3 * float(np.sqrt(np.mean(off**2))), "mm", "joint_position")


def _contact_departures(plant: Plant, one: Trace, other: Trace) -> Iterator[Departure]:
    end_ns = int(min(one.time_ns[-1], other.time_ns[-1]))
    for hand in plant.embodiment.effectors:
        quantity = f"contact_onset.{hand.name}"
        if hand.name not in one.contacts:
            yield Departure(quantity, None, "ms", hand.tactile, "touch was not recorded")
            continue
        if hand.name not in other.contacts:
            yield Departure(quantity, None, "ms", hand.tactile, "the model has no such pads")
            continue
        first = [c.start_ns for c in one.contacts[hand.name] if c.start_ns <= end_ns]
        second = [c.start_ns for c in other.contacts[hand.name]]
        pairs = matched(first, second)
        said = f"{len(pairs)} of {len(first)} recorded contacts found among {len(second)} simulated"
        offsets = [1e-6 * (b - a) for a, b in pairs]
        # the mean of magnitudes would hide a constant offset, the signed mean cancels a scatter
        value = float(np.median(offsets)) if offsets else None
        yield Departure(quantity, value, "ms", hand.tactile, said if first or second else "none")
        total = len(first) + len(second)
        agreement = 2.0 * len(pairs) / total if total else 1.0
        yield Departure(f"contact_f1.{hand.name}", agreement, "1", hand.tactile, said)


def _object_departures(plant: Plant, one: Trace, other: Trace) -> Iterator[Departure]:
    for name in plant.objects:
        stream = f"pose.object.{name}"
        if name not in one.objects:
            yield Departure(f"object_final.{name}", None, "mm", stream, "its pose was not recorded")
            continue
        stamps, poses = one.objects[name]
        end_ns = min(int(stamps[-1]), int(other.time_ns[-1]))
        inside = (stamps >= other.time_ns[0]) & (stamps <= end_ns)
        own_ns, own = other.objects[name]
        off = interpolated(own_ns, own[:, :3], stamps[inside]) - poses[inside, :3]
        far = 1e3 * np.linalg.norm(off, axis=1)
        if not len(far):
            yield Departure(f"object_final.{name}", None, "mm", stream, "no pose in the replay")
            continue
        last = stamps[inside] >= end_ns - REST_S * 1e9
        final = 1e3 * float(np.linalg.norm(off[last].mean(axis=0)))
        yield Departure(f"object_final.{name}", final, "mm", stream)
        yield Departure(f"object_rmse.{name}", float(np.sqrt(np.mean(far**2))), "mm", stream)


def _agreement(one: Trace, other: Trace) -> Departure:
    if not one.outcome or not other.outcome:
        why = "the recording has no outcome" if other.outcome else "the outcome cannot be replayed"
        return Departure("outcome_agreement", None, "1", "", why)
    same = float(one.outcome == other.outcome)
    said = f"recorded {one.outcome}, replayed {other.outcome}"
    return Departure("outcome_agreement", same, "1", "", said)


def matched(
    first: list[int], second: list[int], *, within_s: float = MATCHED_S
) -> list[tuple[int, int]]:
    """Pair moments (ns) one to one, nearest first, none farther apart than `within_s`."""
    near = sorted(
        (abs(b - a), i, j)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if abs(b - a) <= within_s * 1e9
    )
    used: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for _, i, j in near:
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            pairs.append((first[i], second[j]))
    return sorted(pairs)


def _at(trace: Trace, time_ns: Nanoseconds) -> Floats:
    return interpolated(trace.time_ns, trace.joints, time_ns)


def _hand_contacts(felt: list[Touch], hand: str) -> list[Contact]:
    return united([contact for touch in felt for contact in finger_contacts(touch, hand)])


def _pad_force(plant: Plant, run: Run, hand: str, finger: str) -> Floats | None:
    """Sum what one finger's pad exerts on all objects: (n,) N, None without such a sensor."""
    pad = f"{hand.removesuffix('_hand')}_{finger}_pad"
    columns = [_sensor(plant, f"{pad}_on_{name}") for name in plant.objects]
    known = [place for place in columns if place is not None]
    if not known:
        return None
    # [contacts found, fx, fy, fz]
    return np.asarray(sum(np.linalg.norm(run.sensors[:, p + 1 : p + 4], axis=1) for p in known))


def _sensor(plant: Plant, name: str) -> int | None:
    mujoco = physics.engine()
    number = mujoco.mj_name2id(plant.model, mujoco.mjtObj.mjOBJ_SENSOR, name)
    return int(plant.model.sensor_adr[number]) if number >= 0 else None


def _outcome(episode: Episode, plant: Plant, run: Run) -> str:
    """Judge where the object ended, by the task's rules; empty where they cannot be applied.

    Needs one object, the goal's place (the simulator's scene names it) and the task's parameters.
    """
    scene = episode.manifest.provenance.parameters.get("scene") or {}
    try:
        rules = task.load(episode.task, episode.root).parameters
    except UnknownName:
        return ""
    goal = scene.get("goal_m")
    if goal is None or len(plant.objects) != 1 or "goal_radius_m" not in rules:
        return ""
    if labelled_outcome(episode.labels) == "aborted":
        # the operator's decision to stop is not in the physics
        return ""
    ((name, place),) = plant.objects.items()
    position, w = run.qpos[:, place : place + 3], run.qpos[-1, place + 3 : place + 7]
    rows = run.time_ns >= run.time_ns[-1] - REST_S * 1e9
    upright = np.degrees(np.arccos(np.clip(1.0 - 2.0 * (w[1] ** 2 + w[2] ** 2), -1.0, 1.0)))
    speed = float(np.linalg.norm(position[-1] - position[rows][0])) / REST_S
    fell = abs(position[-1, 2] - position[0, 2]) > LIFT_M
    lifted = float(position[:, 2].max() - position[0, 2]) >= rules.get("lift_m", LIFT_M)
    touched = any(
        np.any(run.sensors[rows, column])
        for number in range(plant.model.nsensor)
        if (sensor := plant.model.sensor(number)).name.endswith(f"_on_{name}")
        for column in [int(sensor.adr[0])]
    )
    sound = lifted and not touched and not fell and speed < STILL_M_S
    if not sound or upright > rules.get("upright_deg", 10.0):
        return "failure"
    distance = float(np.linalg.norm(position[-1, :2] - np.asarray(goal, np.float64)))
    if distance <= rules["goal_radius_m"]:
        return "success"
    return "partial" if distance <= rules.get("partial_radius_m", 0.0) else "failure"
