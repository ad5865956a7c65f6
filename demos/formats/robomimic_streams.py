"""What robomimic's datasets become: streams with units, joints by robot, poses joined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from demos.errors import DemosError
from demos.formats import robomimic as layout
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.model import Stream, StreamInfo

JOINTS = re.compile(r"robot(\d+)_joint_(pos|vel)")
_NAMES = {
    "states": "simulation.state",
    "actions": "action",
    "rewards": "reward",
    "dones": "done",
}


def meant(
    key: str, made: Stream, said: Mapping[str, Any], header: layout.Header, notes: Notes
) -> tuple[str, Stream]:
    """Name the stream of a dataset and give it the units that are known of it.

    `said` are the dataset's attributes: an export of ours leaves there what the stream meant.
    """
    short = key.removeprefix("obs/").replace("/", ".")
    if told := _told(said, made):
        return word(str(said.get(layout.STREAM, short))), told
    if match := JOINTS.fullmatch(short):
        return _joints(int(match[1]), match[2], made, header, notes)
    name, info = _NAMES.get(key, word(short)), made.info
    if key == "actions":
        within = bool((np.abs(made.values) <= 1.0 + 1e-6).all())
        notes.assumed.append(
            "actions: normalised to -1..1 for the environment's controller"
            if within
            else "actions: beyond -1..1, so in a unit that the file does not say"
        )
        units = ("1" if within else "unknown",) * len(info.channels)
        info = info.model_copy(update={"units": units, "semantics": _semantics(header)})
    elif key == "states" and len(info.channels) > 1 and (np.diff(made.values[:, 0]) > 0).all():
        notes.assumed.append(
            "states: the first column rises, so it is the simulation's time in s; MuJoCo's qpos "
            "and qvel follow, as robosuite flattens them"
        )
        channels, units = ("time", *info.channels[1:]), ("s", *info.units[1:])
        info = info.model_copy(update={"channels": channels, "units": units})
    elif (unit := layout.unit_of(short)) != "unknown":
        info = info.model_copy(update={"units": (unit,) * len(info.channels)})
    return name, Stream(made.time_ns, made.values, info)


def _joints(
    robot: int, what: str, made: Stream, header: layout.Header, notes: Notes
) -> tuple[str, Stream]:
    kind = "joint_position" if what == "pos" else "joint_velocity"
    width = len(made.info.channels)
    info = made.info.model_copy(
        update={
            "channels": tuple(f"robot{robot}_joint{n + 1}" for n in range(width)),
            "units": ("rad" if what == "pos" else "rad/s",) * width,
        }
    )
    notes.assumed.append("joints: in rad, numbered from the base, as robosuite has them")
    name = kind if len(header.robots) < 2 else f"{kind}.robot{robot}"
    return name, Stream(made.time_ns, made.values, info)


def _told(said: Mapping[str, Any], made: Stream) -> Stream | None:
    """Take what a stream means from the attribute that an export of ours leaves."""
    text = said.get(layout.INFO)
    if not isinstance(text, str):
        return None
    try:
        info = StreamInfo.model_validate_json(text)
        told = info.model_copy(update={"clock": made.info.clock, "rate_hz": made.info.rate_hz})
        return Stream(made.time_ns, made.values, told)
    except (ValidationError, DemosError):
        return None


def _semantics(header: layout.Header) -> str:
    configured = header.settings.get("controller_configs")
    settings = configured if isinstance(configured, dict) else {}
    kind, delta = settings.get("type"), settings.get("control_delta")
    how = "relative or absolute: not said"
    if isinstance(delta, bool):
        how = "relative" if delta else "absolute"
    return f"opaque: what the environment's controller {kind or '(not said)'} takes, {how}"


def with_poses(streams: Mapping[str, Stream], notes: Notes) -> dict[str, Stream]:
    """Join robosuite's eef_pos and eef_quat of one robot into a pose."""
    made = dict(streams)
    for name in streams:
        other = name.replace("_eef_pos", "_eef_quat")
        if not re.fullmatch(r"robot\d+_eef_pos", name) or other not in made:
            continue
        place, turn = made[name], made[other]
        if (place.values.shape[1:], turn.values.shape[1:]) != ((3,), (4,)) or len(place) != len(
            turn
        ):
            continue
        robot = name.removesuffix("_eef_pos")
        info = place.info.model_copy(
            update={
                "units": (*["m"] * 3, *["1"] * 4),
                "channels": ("x", "y", "z", "qx", "qy", "qz", "qw"),
                "reference_frame": "world",
                "of_frame": f"{robot}_eef",
            }
        )
        values = np.concatenate([place.values, turn.values], axis=1)
        made[f"pose.{robot}_eef"] = Stream(place.time_ns, values, info)
        del made[name], made[other]
        notes.assumed.append(
            "end effector: position in the world and quaternion xyzw, as robosuite has them"
        )
    return made
