"""The simulated body that stands in for the recorded one: joints are matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos import embodiment as embodiments
from demos import mapping, physics, timeline
from demos._content import content
from demos.errors import ImportFailed, ReplayFailed, UnknownName
from demos.mapping.conversion import ASSUMED
from demos.model import Embodiment, Episode, Stream
from demos.physics import Floats, Prop

Indices = npt.NDArray[np.intp]

BEYOND_LIMITS = 1.1
"""Positions beyond this share of a joint's range are not radians of this joint."""


@dataclass(frozen=True, slots=True, eq=False)
class Plant:
    """A compiled model and how an episode's channels reach it.

    joints: names in the model of the recorded joints that it has; `columns` are their columns in
        `joint_position`, `qpos` and `dof` their places in the model's state.
    command_columns, actuators: columns of `joint_command` and the actuators they drive.
    objects: name of each simulated object to where its free joint starts in qpos.
    remarks: in words, what was left out or assumed.
    """

    model: Any
    model_sha256: str
    embodiment: Embodiment
    joints: tuple[str, ...]
    columns: Indices
    qpos: Indices
    dof: Indices
    commanded: tuple[str, ...]
    command_columns: Indices
    actuators: Indices
    objects: Mapping[str, int]
    props: tuple[Prop, ...]
    remarks: tuple[str, ...]


def plant(episode: Episode, model_path: Path | None = None) -> Plant:
    """Build the world an episode was recorded in and match its joints by name.

    The model is `model_path`, else the scene its provenance names, else the embodiment's MJCF.
    Raises ReplayFailed where there is no model, no command, or no joint in common, and where
    positions lie so far beyond a joint's range that they cannot be radians of it.
    """
    position, command = _needed(episode, "joint_position"), _needed(episode, "joint_command")
    try:
        body = embodiments.load(episode.manifest.embodiment, episode.root)
    except UnknownName as error:
        raise ReplayFailed(f"not replayable, because {error}").with_hint(error.hint) from error
    scene = episode.manifest.provenance.parameters.get("scene") or {}
    file = _model_file(body, scene, model_path)
    props, remarks = _props(episode, scene, file)
    model = physics.load_model(file, props)
    moving = _moving_joints(model)
    seen, strangers = _matched(position.channels, body, moving)
    if not seen:
        raise ReplayFailed(
            f"{file.name} has none of the recorded joints: {_listed(position.channels)}"
        ).with_hint(
            f"it has {_listed(list(moving))}; add the recorded names as aliases to the "
            f"embodiment {body.id}, or give another model"
        )
    servos = _servos(model, moving)
    driven, unheard = _matched(command.channels, body, servos)
    if not driven:
        raise ReplayFailed(
            f"no recorded command reaches an actuator of {file.name}: {_listed(command.channels)}"
        ).with_hint(f"it drives {_listed(list(servos)) or 'nothing'}")
    assumed = episode.streams[ASSUMED].channels if ASSUMED in episode.streams else ()
    unseen = [name for name in moving if name not in seen]
    for missing, words in (
        ([name for name in strangers], "recorded, and not in the model"),
        ([name for name in unheard], "commanded, and not driven by the model"),
        ([n for n in unseen if n not in assumed], "in the model, and not recorded: at rest"),
        ([n for n in unseen if n in assumed], "not recorded, begun where the mapping assumes it"),
        ([name for name in servos if name not in driven], "driven in the model, and not commanded"),
    ):
        if missing:
            remarks.append(f"{words}: {_listed(missing, 4)}")
    names, driven_names = tuple(seen), tuple(driven)
    found = Plant(
        model=model,
        model_sha256=_digest(file, tuple(prop.kind for prop in props)),
        embodiment=body,
        joints=names,
        columns=np.array([seen[name] for name in names]),
        qpos=np.array([model.jnt_qposadr[moving[name]] for name in names]),
        dof=np.array([model.jnt_dofadr[moving[name]] for name in names]),
        commanded=driven_names,
        command_columns=np.array([driven[name] for name in driven_names]),
        actuators=np.array([servos[name] for name in driven_names]),
        objects={p.name: int(model.joint(f"{p.name}_free").qposadr[0]) for p in props},
        props=tuple(props),
        remarks=tuple(remarks),
    )
    _check_ranges(found, position, moving)
    changed = _set_gains(episode, found)
    return replace(found, remarks=(*found.remarks, *changed, *_unheard(episode, found)))


def _needed(episode: Episode, name: str) -> Stream:
    stream = episode.streams.get(name)
    if stream is None or len(stream) < 2:
        what = "has less than two samples" if stream is not None else "was not recorded"
        raise ReplayFailed(f"not replayable, because {name} {what}").with_hint(
            "a replay needs the streams joint_position and joint_command"
        )
    return timeline.repaired(stream)


def _model_file(body: Embodiment, scene: Mapping[str, Any], given: Path | None) -> Path:
    if given is not None:
        file = given.resolve()
        if not file.is_file():
            raise ReplayFailed(f"there is no model file {given}")
        return file
    path = scene.get("model") or body.model
    if not path:
        raise ReplayFailed(
            f"not replayable, because the embodiment {body.id} names no MJCF model"
        ).with_hint("give one: demos replay STORE EPISODE --model FILE")
    return content("sim") / str(path)


def _props(episode: Episode, scene: Mapping[str, Any], file: Path) -> tuple[list[Prop], list[str]]:
    """Take objects from the simulator's own scene, else by the names of recorded poses."""
    kinds = {path.stem for path in (file.parent / "props").glob("*.xml")}
    props, remarks = [], []
    if scene.get("props"):
        try:
            props = [Prop(**prop) for prop in scene["props"]]
        except TypeError as error:
            raise ReplayFailed(f"the scene in its provenance is not understood: {error}") from error
        lacking = [prop.name for prop in props if prop.kind not in kinds]
        remarks += (
            [f"not simulated, the model has no such prop: {_listed(lacking)}"] if lacking else []
        )
        return [prop for prop in props if prop.kind in kinds], remarks
    for name, stream in episode.streams.items():
        if not name.startswith("pose.object.") or not len(stream) or stream.values.shape[1] != 7:
            continue
        thing = name.removeprefix("pose.object.")
        kind = next(
            (k for k in (thing, episode.manifest.factors.get("object")) if k in kinds), None
        )
        if kind is None:
            remarks.append(f"the object {thing} is not simulated: no prop of that name")
            continue
        row = [float(value) for value in stream.values[0]]
        place = (row[0], row[1], row[2])
        props.append(Prop(thing, str(kind), place, (row[3], row[4], row[5], row[6])))
        remarks.append(f"mass and friction of {thing} are those of its prop, not measured ones")
    return props, remarks


def _moving_joints(model: Any) -> dict[str, int]:
    kinds = physics.engine().mjtJoint
    single = (int(kinds.mjJNT_HINGE), int(kinds.mjJNT_SLIDE))
    return {model.joint(i).name: i for i in range(model.njnt) if int(model.jnt_type[i]) in single}


def _servos(model: Any, moving: Mapping[str, int]) -> dict[str, int]:
    """Find the actuator of each joint that follows a target position."""
    joint_kind = int(physics.engine().mjtTrn.mjTRN_JOINT)
    name_of = {number: name for name, number in moving.items()}
    found = {}
    for number in range(model.nu):
        gain, bias = model.actuator_gainprm[number, 0], model.actuator_biasprm[number, 1]
        target = int(model.actuator_trnid[number, 0])
        follows = gain > 0 and np.isclose(bias, -gain)
        if int(model.actuator_trntype[number]) == joint_kind and follows and target in name_of:
            found[name_of[target]] = number
    return found


def _matched(
    channels: Sequence[str], body: Embodiment, targets: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    """Connect channels to names of the model, directly or through the embodiment's aliases."""
    try:
        links = {link.column: link.joint.name for link in mapping.connect(channels, body).links}
    except ImportFailed as error:
        raise ReplayFailed(str(error)).with_hint(error.hint) from error
    found: dict[str, int] = {}
    strangers = []
    for column, channel in enumerate(channels):
        name = channel if channel in targets else links.get(column, channel)
        if name in targets and name not in found:
            found[name] = column
        else:
            strangers.append(channel)
    return found, strangers


def _check_ranges(found: Plant, position: Stream, moving: Mapping[str, int]) -> None:
    numbers = [moving[name] for name in found.joints]
    limited = found.model.jnt_limited[numbers].astype(bool)
    low, high = found.model.jnt_range[numbers].T
    centre, half = (low + high) / 2, (high - low) / 2
    readings = np.nan_to_num(
        position.values[:, found.columns].astype(np.float64), posinf=0.0, neginf=0.0
    )
    beyond = np.abs(readings - centre) > BEYOND_LIMITS * half + 0.05
    wrong = np.flatnonzero(limited & beyond.any(axis=0))
    if len(wrong):
        first = int(wrong[0])
        channel = position.channels[int(found.columns[first])]
        reading = readings[np.abs(readings[:, first] - centre[first]).argmax(), first]
        raise ReplayFailed(
            f"{channel} reads up to {reading:.2f}, and {found.joints[first]} turns from "
            f"{low[first]:.2f} to {high[first]:.2f} rad"
        ).with_hint("degrees, an offset or another joint? mend the mapping of the import")


def _set_gains(episode: Episode, found: Plant) -> list[str]:
    """Give the model's servos the recorded kp and kd, where they are other than its own."""
    bias, remarks = found.model.actuator_biasprm, []
    for what, column in (("kp", 1), ("kd", 2)):
        told = _told(episode, found, what)
        if told is None:
            continue
        gain = np.nanmedian(told, axis=0)
        other = np.isfinite(gain) & ~np.isclose(-bias[found.actuators, column], gain, rtol=1e-2)
        servos = found.actuators[other]
        bias[servos, column] = -gain[other]
        if what == "kp":
            found.model.actuator_gainprm[servos, 0] = gain[other]
        if other.any():
            names = [found.commanded[number] for number in np.flatnonzero(other)]
            remarks.append(f"recorded {what} instead of the model's: {_listed(names, 4)}")
        if np.nanmax(np.ptp(told, axis=0) - 1e-2 * np.abs(gain)) > 0:
            remarks.append(f"{what} changed during the recording; its median is used")
    return remarks


def _unheard(episode: Episode, found: Plant) -> list[str]:
    """Name what the robot was told and the model's servos cannot be."""
    remarks = []
    velocity = _told(episode, found, "velocity")
    if velocity is not None and np.nanmax(np.abs(velocity)) > 0:
        remarks.append("target velocities are not replayed: the model's servos damp towards rest")
    effort = _told(episode, found, "effort")
    if effort is not None and np.nanmax(np.abs(effort)) > 0:
        joints = [found.joints.index(name) for name in found.commanded if name in found.joints]
        kept = all(found.model.jnt_actgravcomp[_joint_of(found, number)] for number in joints)
        remarks += [] if kept else ["feed-forward efforts are not replayed"]
    return remarks


def _told(episode: Episode, found: Plant, what: str) -> Floats | None:
    stream = episode.streams.get(f"joint_command.{what}")
    command = episode.streams["joint_command"]
    if stream is None or not len(stream) or stream.channels != command.channels:
        return None
    return np.asarray(stream.values[:, found.command_columns], np.float64)


def _joint_of(found: Plant, number: int) -> int:
    return int(found.model.dof_jntid[found.dof[number]])


@cache
def _digest(file: Path, kinds: tuple[str, ...]) -> str:
    """Hash the model file, the files beside it that it may include, and the props."""
    files = [file, *sorted(file.parent.glob("*.xml"))]
    files += [file.parent / "props" / f"{kind}.xml" for kind in sorted(set(kinds))]
    digest = sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
