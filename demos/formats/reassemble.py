"""What lies where in a REASSEMBLE recording, and what its numbers mean.

From the dataset's README, `REASSEMBLE/io.py` and its ROS nodes (TUWIEN-ASL/REASSEMBLE): one file
`<date>-<time>.h5` a sitting at the NIST task board, each stream with a length and stamps of its
own (`timestamps/<name>`, seconds since 1970), videos and sound as opaque bytes, actions annotated
at two levels. The README and the files spell `compenseted` and `compensated`, `Low_level` and
`low_level`; both are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demos.errors import ImportFailed
from demos.formats import hdf5

GROUPS = ("robot_state", "timestamps")
SEGMENTS = "segments_info"
EVENTS = "events"
SOUND = "_audio"
BASE, SENSOR = "fr3_link0", "fr3_sensor"

CAMERAS = {"capture_node-camera-image": "event_camera", "capture_node": "event_camera"}
POSED = {"Hama1": "hama1", "Hama2": "hama2", "DAVIS346": "event_camera"}
"""Names in `<recording>_poses.json`, and ours; what is in neither is an object."""

KNOWN: Mapping[str, str] = {
    "2025-01-10-15-28-50": "the hand camera is missing at the beginning",
    "2025-01-10-16-17-40": "the hand camera is missing",
    "2025-01-10-17-10-38": "the hand camera is missing at the beginning",
    "2025-01-10-17-54-09": "there is no empty action at the beginning",
    "2025-01-11-14-22-09": "there is no empty action at the beginning",
    "2025-01-11-14-45-48": "force and torque are not valid in the last action",
    "2025-01-11-15-27-19": "force and torque are not valid in the last action",
    "2025-01-11-15-35-08": "force and torque are not valid in the last action",
    "2025-01-13-11-16-17": "the gripper broke in the last action",
    "2025-01-13-11-18-57": "the pose is not there in the last action",
}
"""What the dataset's README says of single recordings."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a dataset of `robot_state` holds."""

    stream: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    semantics: str


_JOINTS = tuple(f"fr3_joint{n}" for n in range(1, 8))
_FINGERS = ("left_finger", "right_finger")

MEANINGS: Mapping[str, Meaning] = {
    "joint_positions": Meaning("joint_position", _JOINTS, ("rad",) * 7, "measured joint angle"),
    "joint_velocities": Meaning(
        "joint_velocity", _JOINTS, ("rad/s",) * 7, "measured joint velocity"
    ),
    "joint_efforts": Meaning("joint_effort", _JOINTS, ("N·m",) * 7, "measured joint torque"),
    "gripper_positions": Meaning("gripper", _FINGERS, ("m",) * 2, "finger from the middle"),
    "gripper_velocities": Meaning("gripper_velocity", _FINGERS, ("m/s",) * 2, "finger velocity"),
    "gripper_efforts": Meaning("gripper_effort", _FINGERS, ("N",) * 2, "finger force"),
    "velocity": Meaning(
        "velocity.end_effector",
        ("vx", "vy", "vz", "wx", "wy", "wz"),
        ("m/s",) * 3 + ("rad/s",) * 3,
        "twist of the end effector in the robot's base, from the joints' velocities",
    ),
}
POSE = "pose"


@dataclass(frozen=True, slots=True)
class Wrench:
    """A force and a torque that were stored apart: names of either, reference frame, words."""

    stream: str
    force: tuple[str, ...]
    torque: tuple[str, ...]
    reference_frame: str
    semantics: str


WRENCHES = (
    Wrench(
        "wrench.wrist",
        ("measured_force",),
        ("measured_torque",),
        SENSOR,
        "as the sensor measures it, weight of the hand included",
    ),
    Wrench(
        "wrench.wrist_compensated",
        ("compensated_base_force", "compenseted_base_force"),
        ("compensated_base_torque", "compenseted_base_torque"),
        BASE,
        "weight of the hand taken off, turned into the base and about its origin",
    ),
)
CHANNELS = ("fx", "fy", "fz", "tx", "ty", "tz")
UNITS = ("N", "N", "N", "N·m", "N·m", "N·m")


@dataclass(frozen=True, slots=True)
class Segment:
    """One annotated action: [start_s, end_s) since 1970, and the actions it is made of."""

    index: int
    start_s: float
    end_s: float
    text: str
    success: bool
    parent: int | None = None


def is_recording(path: Path) -> bool:
    """Say whether a path is a recording or a folder of them. Never raises."""
    try:
        return next((True for file in _files(path) if _fits(file)), False)
    except (OSError, ValueError):
        return False


def recordings(path: Path) -> list[Path]:
    """List the recordings by name, which is their date. Raises ImportFailed for none."""
    found = _files(path)
    if not found:
        raise ImportFailed(f"{path.name} holds no .h5 file").with_hint(
            "name the folder that holds data/, or one recording"
        )
    return found


def began(name: str) -> datetime | None:
    """Read the date in a recording's name, `2025-01-09-13-59-54`."""
    try:
        return datetime.strptime(name, "%Y-%m-%d-%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def segments(file: Any) -> tuple[list[Segment], list[str]]:
    """Read the annotated actions of both levels in order, and what is wrong with the others."""
    found, problems = [], []
    for index, place in _numbered(file, SEGMENTS):
        groups: list[tuple[int | None, int, str]] = [(None, index, place)]
        for name in hdf5.names(file, place):
            if name.lower() == "low_level":
                below = _numbered(file, f"{place}/{name}")
                groups += [(index, number, inside) for number, inside in below]
        for parent, number, inside in groups:
            try:
                found.append(_segment(file, inside, number, parent))
            except ImportFailed as error:
                problems.append(f"{inside}: {error}")
    return found, problems


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".h5" else []
    folder = path / "data" if (path / "data").is_dir() else path
    return sorted(folder.glob("*.h5")) if folder.is_dir() else []


def _fits(path: Path) -> bool:
    found = {place.partition("/")[0] for place in hdf5.places(path)}
    return set(GROUPS) <= found


def _numbered(file: Any, place: str) -> list[tuple[int, str]]:
    found = [name for name in hdf5.names(file, place) if name.isdecimal() and len(name) < 10]
    return [(int(name), f"{place}/{name}") for name in sorted(found, key=int)]


def _segment(file: Any, place: str, index: int, parent: int | None) -> Segment:
    numbers = {}
    for name in ("start", "end", "success"):
        values = hdf5.array(file, f"{place}/{name}")
        if values.size != 1:
            raise ImportFailed(f"{name} holds {values.size} numbers").with_hint(
                "mend the annotation in the source"
            )
        numbers[name] = float(values.reshape(-1)[0])
    # NaN is not smaller than anything
    if not 0 < numbers["start"] <= numbers["end"] < 1e10:
        raise ImportFailed("it does not run from a start to an end").with_hint(
            "mend the annotation in the source"
        )
    text = hdf5.text(file, f"{place}/text").strip()
    return Segment(index, numbers["start"], numbers["end"], text, numbers["success"] != 0, parent)
