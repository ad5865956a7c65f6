"""What lies where in a DROID recording, and what its numbers mean.

From the recorder's own source (droid-dataset/droid: trajectory_writer, robot_env, franka/robot,
robot_ik_solver, zed_camera, calibration_utils, postprocessing): one folder a trajectory, under
`success/` or `failure/` and a date, with `trajectory.h5`, `recordings/` and, after DROID's
postprocessing, `metadata_<uuid>.json`. Every dataset has one row a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats.names import word
from demos.formats.steps import refuse_endless

TRAJECTORY = "trajectory.h5"
OUTCOMES = ("success", "failure")

STATE = "observation/robot_state/"
ACTION = "action/"
STAMPS = "observation/timestamp/"
CONTROLLER = "observation/controller_info/"
CAMERA_TYPE = "observation/camera_type/"
EXTRINSICS = "observation/camera_extrinsics/"
INTRINSICS = "observation/camera_intrinsics/"

_CORE = (
    f"{STATE}joint_positions",
    f"{STATE}cartesian_position",
    f"{ACTION}joint_position",
    f"{ACTION}cartesian_position",
)
"""What the recorder writes at every step."""

_ACTION_STATE = f"{ACTION}robot_state/"
_WRIST = 0  # camera_utils/info.py: 0 hand camera, 1 varied, 2 fixed


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a dataset holds: the stream it becomes, one unit for all channels or one a channel.

    `channels` is None for the seven joints.
    """

    stream: str
    unit: str | tuple[str, ...]
    channels: tuple[str, ...] | None = None
    semantics: str | None = None


EULER = "x, y, z, then angles about the fixed axes x, then y, then z (SciPy's 'xyz')"
_XYZ = ("x", "y", "z", "euler_x", "euler_y", "euler_z")
_POSE = ("m", "m", "m", "rad", "rad", "rad")
_HAND = ("gripper",)
_CLOSED = "0 open, 1 closed"
_SHARE = "share of the solver's greatest step: {} in one control step of 1/15 s; no SI speed"

_MEANINGS: Mapping[str, Meaning] = {
    "joint_positions": Meaning("joint_position", "rad", None, "measured joint angle"),
    "joint_velocities": Meaning("joint_velocity", "rad/s", None, "measured joint velocity"),
    "motor_torques_measured": Meaning("joint_effort", "N·m", None, "measured in the motors"),
    "joint_torques_computed": Meaning(
        "joint_torques_computed", "N·m", None, "what the controller asks for"
    ),
    "prev_joint_torques_computed": Meaning(
        "prev_joint_torques_computed", "N·m", None, "what the controller asked for one tick ago"
    ),
    "prev_joint_torques_computed_safened": Meaning(
        "prev_joint_torques_computed_safened", "N·m", None, "the same after the safety limits"
    ),
    "cartesian_position": Meaning("cartesian_position", _POSE, _XYZ, EULER),
    "gripper_position": Meaning("gripper", "norm01", _HAND, _CLOSED),
    "prev_controller_latency_ms": Meaning("controller_latency", "ms", ("latency",)),
    "prev_command_successful": Meaning("command_successful", "1", ("successful",)),
}
_ACTIONS: Mapping[str, Meaning] = {
    "joint_position": Meaning("joint_command", "rad", None, "target joint angle, absolute"),
    "joint_velocity": Meaning("action.joint_velocity", "1", None, _SHARE.format("0.2 rad")),
    "cartesian_position": Meaning(
        "action.cartesian_position", _POSE, _XYZ, f"target, absolute: {EULER}"
    ),
    "cartesian_velocity": Meaning(
        "action.cartesian_velocity", "1", _XYZ, _SHARE.format("0.075 m and 0.15 rad")
    ),
    "gripper_position": Meaning("gripper_command", "norm01", _HAND, f"target, absolute: {_CLOSED}"),
    "gripper_velocity": Meaning(
        "action.gripper_velocity", "1", _HAND, _SHARE.format("a quarter of the range")
    ),
    "gripper_delta": Meaning(
        "action.gripper_delta", "1", _HAND, _SHARE.format("a quarter of the range")
    ),
    "target_cartesian_position": Meaning(
        "teleop.target_cartesian_position", _POSE, _XYZ, f"where the operator points: {EULER}"
    ),
    "target_gripper_position": Meaning(
        "teleop.target_gripper_position", "norm01", _HAND, f"the operator's trigger: {_CLOSED}"
    ),
}


def meaning(place: str) -> Meaning | None:
    """Say what the dataset at a path means, or None where the recorder's source does not say."""
    if place.startswith(STATE):
        return _MEANINGS.get(place.removeprefix(STATE))
    if place.startswith(_ACTION_STATE):
        name = place.removeprefix(_ACTION_STATE)
        known = _MEANINGS.get(name)
        if known is None:
            return None
        again = f"{known.semantics or name}, read again before the command"
        return Meaning(f"action.robot_state.{name}", known.unit, known.channels, again)
    return _ACTIONS.get(place.removeprefix(ACTION)) if place.startswith(ACTION) else None


def is_recording(path: Path) -> bool:
    """Say whether a path is one trajectory or a tree of them. Never raises."""
    try:
        if path.name == TRAJECTORY and path.is_file():
            path = path.parent
        if not (path / TRAJECTORY).is_file():
            return next(_under_outcomes(path), None) is not None
        if (path / "recordings").is_dir() or next(path.glob("metadata_*.json"), None):
            return True
        found = {place.partition("/")[0] for place in hdf5.places(path / TRAJECTORY)}
    except (OSError, ValueError):
        return False
    return {"observation", "action"} <= found


def trajectories(path: Path) -> list[Path]:
    """List the folders of trajectories, in the order of recording where their names say it.

    Raises ImportFailed where there is none.
    """
    if path.name == TRAJECTORY and path.is_file():
        return [path.parent]
    if (path / TRAJECTORY).is_file():
        return [path]
    found = set(_under_outcomes(path))
    if not found:
        raise ImportFailed(f"{path.name} holds no {TRAJECTORY}").with_hint(
            "name the folder of a trajectory, or the one that holds success/ and failure/"
        )
    return sorted(found, key=lambda f: (began(f.name) or datetime.max, f.as_posix()))


def _under_outcomes(path: Path) -> Iterator[Path]:
    """Yield `<outcome>/<date>/<trajectory>` below a folder or the labs in it, or a part of it."""
    if not path.is_dir():
        return
    if path.name in OUTCOMES:
        patterns = [f"*/*/{TRAJECTORY}"]
    elif path.parent.name in OUTCOMES:
        patterns = [f"*/{TRAJECTORY}"]
    else:
        patterns = [f"{lab}{of}/*/*/{TRAJECTORY}" for lab in ("", "*/") for of in OUTCOMES]
    for pattern in patterns:
        for file in path.glob(pattern):
            yield file.parent


def began(name: str) -> datetime | None:
    """Read the local time in a trajectory's name, `Fri_Jul__7_09:42:23_2023`, colons or not."""
    colons = re.sub(r"(\d\d)[:_/](\d\d)[:_/](\d\d)_(\d{4})$", r"\1:\2:\3 \4", name)
    plain = re.sub(r"[_ ]+", " ", colons)
    try:
        return datetime.strptime(plain, "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None


def outcome(folder: Path, attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Return the outcome by the file's attributes and by the folder; empty where neither says."""
    by_file = next((word for word in OUTCOMES if attributes.get(word) in (True,)), "")
    by_folder = next((part for part in reversed(folder.parts) if part in OUTCOMES), "")
    return by_file, by_folder


def robot_of(attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Return the robot's type (`panda`, `fr3`) and serial number from `<type>-<number>`."""
    kind, _, number = str(attributes.get("robot_serial_number", "")).partition("-")
    return (kind, number) if kind in ("panda", "fr3") else ("panda", kind)


def camera_names(types: Mapping[str, int], serials: Iterable[str]) -> dict[str, str]:
    """Name cameras by what they look at: `wrist`, then `exterior_1` on, by serial number.

    So DROID's own postprocessing tells them apart. A camera of no known type keeps its number.
    """
    named: dict[str, str] = {}
    seen = {"wrist": 0, "exterior": 0}
    for serial in sorted({*types, *serials}):
        if serial not in types:
            named[serial] = f"camera_{word(serial)}"
            continue
        kind = "wrist" if types[serial] == _WRIST else "exterior"
        seen[kind] += 1
        first = kind == "wrist" and seen[kind] == 1
        named[serial] = kind if first else f"{kind}_{seen[kind]}"
    return named


def steps(file: Any, places: Iterable[str]) -> int:
    """Count the steps that were written whole: the writer fills the datasets one by one.

    Raises ImportFailed for none.
    """
    known = list(places)
    rows = [_rows(file, place) for place in _CORE if place in known]
    count = min(rows) if rows else max((_rows(file, place) for place in known), default=0)
    if not count:
        raise ImportFailed(f"{TRAJECTORY} holds no step").with_hint(
            "the recorder was stopped before it began; leave this trajectory out"
        )
    refuse_endless(count)
    return count


def _rows(file: Any, place: str) -> int:
    shape = hdf5.dataset(file, place).shape
    return int(shape[0]) if shape else 0
