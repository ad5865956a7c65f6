"""Episodes as Unitree's xr_teleoperate writes them: `data.json`, and one JPEG per camera and row.

A row has no stamp, only a number `idx`; the rate is `info.image.fps`. Numbers lie below
`states|actions / <part> / qpos|qvel|torque`, where a part is `left_arm`, `right_ee` or `body`; what
was not measured is an empty list. `info.joint_names` is a constant of the program, whatever robot
was recorded, so names follow from how many values a part has (episode_writer.py, 2024 to 2026).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.files import json_value, text_of

TABLE = "data.json"
CANNED_GOAL = "Pick up the red cup on the table."
"""What the recorder writes as the goal where nobody gives one."""

SIDES = ("left", "right")
USUAL_HZ = 30.0
_LARGEST_IDX = 10**8
_EPISODE = re.compile(r"episode_(\d{1,9})")
_ARM = (
    "ShoulderPitch", "ShoulderRoll", "ShoulderYaw", "Elbow", "WristRoll", "WristPitch", "WristYaw",
)  # fmt: skip
_INSPIRE = ("Pinky", "Ring", "Middle", "Index", "ThumbBend", "ThumbRotation")
# the fingers of the two hands are not in the same order: that is how the motors are wired
_DEX3 = {
    "left": ("Thumb0", "Thumb1", "Thumb2", "Middle0", "Middle1", "Index0", "Index1"),
    "right": ("Thumb0", "Thumb1", "Thumb2", "Index0", "Index1", "Middle0", "Middle1"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One parsed `data.json`. `closed` is False where the recorder was stopped before its end."""

    info: Mapping[str, Any]
    text: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    marked_failed: bool
    closed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """The rows (k,) int64 in which a part has numbers, and those: (k, C) float64."""

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    @property
    def width(self) -> int:
        """How many channels there are."""
        return int(self.values.shape[1])


@dataclass(frozen=True, slots=True)
class Hand:
    """A hand that is known by how many values it has: its motors' names, left and right."""

    kind: str
    names: Mapping[str, tuple[str, ...]]
    unit: str


def is_episode(path: Path) -> bool:
    """Say whether a folder is called `episode_NNNN` and holds `data.json` or images."""
    return bool(_EPISODE.fullmatch(path.name)) and (
        (path / TABLE).is_file() or (path / "colors").is_dir()
    )


def episode_folders(path: Path) -> list[Path]:
    """List the episodes of a task's folder in order of their numbers; an episode is its own."""
    if is_episode(path):
        return [path]
    inside = [each for each in path.iterdir() if each.is_dir() and is_episode(each)]
    return sorted(inside, key=lambda each: (int(each.name.split("_")[1]), each.name))


def read_table(folder: Path) -> Table:
    """Read `data.json` of one episode. Raises ImportFailed, for a crashed recording by name."""
    if not (folder / TABLE).exists():
        images = (
            sum(1 for _ in (folder / "colors").iterdir()) if (folder / "colors").is_dir() else 0
        )
        raise ImportFailed(
            f"{folder.name} has {images} images in colors/ but no data.json: "
            "the recorder crashed before it saved"
        ).with_hint("its joint values are lost with it: delete the folder and record it again")
    content = text_of(folder, TABLE)
    closed = True
    try:
        plain = json_value(content, TABLE)
    except ImportFailed:
        plain, closed = _mended(content), False
        if plain is None:
            raise
    rows = plain.get("data") if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or not isinstance(rows, list):
        raise ImportFailed(f"{TABLE} holds no list of rows called data").with_hint(
            "copy it again from its source; only folders of xr_teleoperate are read"
        )
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ImportFailed(
            f"{TABLE} has no rows" if not rows else f"{TABLE}: a row is no object"
        ).with_hint("record the episode again, or copy it again from its source")
    rewards = _part(plain, "rewards")
    return Table(
        _part(plain, "info"), _part(plain, "text"), rows, rewards.get("success") is False, closed
    )


def rate_of(table: Table) -> float | None:
    """Return the nominal rate in Hz, None where it is not said. Raises ImportFailed."""
    said = _part(table.info, "image").get("fps")
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0.01 <= said <= 10_000:
        raise ImportFailed(f"info.image.fps is {str(said)[:40]}, which is no rate").with_hint(
            f"mend it in {TABLE}: the recorder's --frequency, usually 30"
        )
    return float(said)


def row_numbers(table: Table) -> npt.NDArray[np.int64]:
    """Return `idx` of every row: (n,). Raises ImportFailed where it is no count."""
    found = [row.get("idx") for row in table.rows]
    for number, idx in enumerate(found):
        if type(idx) is not int or not 0 <= idx < _LARGEST_IDX:
            raise ImportFailed(
                f"row {number} has idx {str(idx)[:40]}, which is no count"
            ).with_hint("copy the episode again from its source")
    return np.array(found, np.int64)


def fields(table: Table) -> list[tuple[str, ...]]:
    """List the paths below a row at which any row has numbers, in the order they first come."""
    found: dict[tuple[str, ...], None] = {}
    for row in table.rows:
        for group in ("states", "actions", "tactiles", "torques"):
            for path in _leaves(row.get(group), (group,)):
                found[path] = None
    return list(found)


def numbers(table: Table, path: Sequence[str]) -> Numbers | None:
    """Return what the rows hold at a path; None where nowhere is a number. null becomes NaN.

    Raises ImportFailed for anything but numbers, and for rows of different length.
    """
    rows: list[int] = []
    values: list[npt.NDArray[np.float64]] = []
    for number, row in enumerate(table.rows):
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None or value == []:
            continue
        flat = _flat(value if isinstance(value, list) else [value], number, path)
        if values and len(flat) != len(values[0]):
            raise _odd(path, f"{len(values[0])} values in one row and {len(flat)} in row {number}")
        rows.append(number)
        values.append(np.array(flat, np.float64))
    if not values:
        return None
    return Numbers(np.array(rows, np.int64), np.array(values, np.float64))


def images(table: Table, group: str) -> dict[str, list[tuple[int, str]]]:
    """Return per camera of `colors` or `depths` (row, file named by it), in order of rows."""
    found: dict[str, list[tuple[int, str]]] = {}
    for number, row in enumerate(table.rows):
        for camera, place in _part(row, group).items():
            if isinstance(place, str) and place:
                found.setdefault(camera, []).append((number, place))
    return found


def arm_names(side: str, width: int) -> tuple[str, ...] | None:
    """Name the joints of an arm of 4 (H1), 5 (G1 of 23 joints) or 7 (G1 of 29, H1-2) values."""
    if width not in (4, 5, 7):
        return None
    return tuple(f"k{side.capitalize()}{joint}" for joint in _ARM[:width])


def hand_of(width: int, *, normalised: bool) -> Hand | None:
    """Say which hand has so many values: 7 Dex3, 6 between 0 and 1 Inspire, 1 Dex1."""
    if width == 7:
        names = {s: tuple(f"k{s.capitalize()}Hand{n}" for n in _DEX3[s]) for s in SIDES}
        return Hand("Dex3", names, "rad")
    if width == 6 and normalised:
        names = {s: tuple(f"k{s.capitalize()}Hand{n}" for n in _INSPIRE) for s in SIDES}
        return Hand("Inspire", names, "norm01")
    if width == 1:
        return Hand("Dex1", {s: (f"k{s.capitalize()}Gripper",) for s in SIDES}, "unknown")
    return None


def camera_names(keys: Sequence[str]) -> dict[str, str]:
    """Name the cameras: the recorder counts the head first, in halves where it has two eyes."""
    counted = sorted(
        (k for k in keys if re.fullmatch(r"color_\d{1,3}", k)), key=lambda k: int(k[6:])
    )
    known = {
        3: ("egocentric", "left_wrist", "right_wrist"),
        4: ("egocentric", "egocentric_right", "left_wrist", "right_wrist"),
    }.get(len(counted), ("egocentric", *counted[1:]))
    return dict(zip(counted, known, strict=True)) if counted else {}


def _part(plain: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = plain.get(key)
    return part if isinstance(part, Mapping) else {}


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, Mapping) and len(path) < 4:
        for key, part in value.items():
            yield from _leaves(part, (*path, str(key)))
    elif len(path) > 1 and value is not None and value != []:
        yield path


def _flat(value: list[Any], row: int, path: Sequence[str]) -> list[float]:
    found = []
    for each in value:
        if isinstance(each, list):
            found += _flat(each, row, path)
        elif each is None:
            found.append(math.nan)
        elif isinstance(each, bool) or not isinstance(each, int | float) or abs(each) > 1e300:
            raise _odd(path, f"{str(each)[:40]!r} in row {row}, which is no number")
        else:
            found.append(float(each))
    return found


def _mended(content: bytes) -> object:
    """Close a file that the recorder was still writing row by row when it was stopped."""
    if b'"data"' not in content:
        return None
    for end in (len(content), content.rfind(b"},\n{") + 1):
        head = content[:end].rstrip().removesuffix(b",")
        for closing in (b"]}", b"}"):
            try:
                return json_value(head + closing, TABLE)
            except ImportFailed:
                continue
    return None


def _odd(path: Sequence[str], why: str) -> ImportFailed:
    return ImportFailed(f"{'/'.join(path)} has {why}").with_hint(
        "copy the episode again from its source, or leave it out"
    )
