"""Open-TeleVision: raw recordings beside ZED videos, and the processed files made of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats.files import licence, modified
from demos.formats.hdf5_episode import (
    EpisodeFile,
    claimed,
    files,
    nominal,
    numbered,
    plain_attributes,
    same_length,
)
from demos.formats.joints import Columns, joint_streams, kept
from demos.formats.names import task_id
from demos.formats.notes import Notes
from demos.formats.sitting import Sitting, sitting
from demos.formats.steps import Ticks, ticks
from demos.importers import Item, Options, attempts, importers
from demos.model import Draft, Facts, Stream, VideoFile
from demos.provenance import sha256_file

RATE_HZ = 60.0
"""The ZED camera's rate, to which the processed files are aligned."""

PH2D_HZ = 30.0
"""The rate of the ZED cameras in human recordings of the same layout (PH2D)."""

_STAMPS = "obs/timestamp"
_RAW = {_STAMPS, "obs/qpos", "action/joint_pos"}
_LEFT, _RIGHT = "observation.image.left", "observation.image.right"
_PROCESSED = {_LEFT, "observation.state"}

_COMMAND = (
    *(f"left_arm_{n}" for n in range(7)),
    *(f"left_hand_{n}" for n in range(6)),
    *(f"right_arm_{n}" for n in range(7)),
    *(f"right_hand_{n}" for n in range(6)),
    "head_yaw",
    "head_pitch",
)
_ARMS = (True,) * 7 + (False,) * 6
_COMMAND_UNITS = tuple("rad" if arm else "unknown" for arm in (*_ARMS, *_ARMS, True, True))


def _matrix(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{row}{column}" for row in range(4) for column in range(4))


_TELEOP = (
    *_matrix("head"),
    *_matrix("left_wrist"),
    *_matrix("right_wrist"),
    *(f"{side}_{n}_{axis}" for side in ("left", "right") for n in range(25) for axis in "xyz"),
)
_LENGTHS = ("03", "13", "23", "_x", "_y", "_z")
"""How the names of the translation in a matrix, and of a point's coordinates, end."""


@dataclass(frozen=True, slots=True)
class _Flavour:
    """Where a kind of file keeps what: state, command, operator's input; dataset to stream."""

    name: str
    state: str
    command: str
    operator: str
    velocity: str = ""
    euler: str = ""


_FLAVOURS = (
    _Flavour("raw", "obs/qpos", "action/joint_pos", "action/cmd", velocity="obs/qvel"),
    _Flavour("processed", "observation.state", "qpos_action", "cmds", euler="ee_action"),
    _Flavour("human", "observation.state", "action", "cmds"),
)


@importers.adding("television")
class Television:
    """Read Open-TeleVision's HDF5 files, raw and processed, and PH2D's of the latter layout."""

    loses: ClassVar[str] = (
        "the stereo video of a raw recording (.svo needs the camera maker's program); "
        "detail of raw images"
    )

    def sniff(self, path: Path) -> bool:
        """Look for a raw file's stamps, or for a processed file's left image and state."""
        return claimed(path, lambda places: places >= _RAW or places >= _PROCESSED)

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield one episode a file, in order of the numbers in their names."""
        made: list[Sitting] = []
        return attempts(
            [(file.stem, partial(_draft, file, path, options, made)) for file in files(path)]
        )

    def write_example(self, path: Path) -> Path:
        """Write a folder with one raw episode of eight steps, without its video."""
        import h5py

        folder = path / "00-can-sorting"
        folder.mkdir(parents=True)
        rows = np.arange(8)
        with h5py.File(folder / "episode_0.hdf5", "w") as file:
            file[_STAMPS] = 1.7e9 + rows / 60 + 1e-4 * (rows % 3)
            file["obs/qpos"] = np.outer(rows, np.arange(26)) / 100
            file["obs/qvel"] = np.outer(rows, np.arange(14)) / 10
            file["action/joint_pos"] = np.outer(rows, np.arange(28)) / 100
            file["action/cmd"] = np.outer(rows, np.arange(198)) / 1000
        return folder


def _draft(path: Path, root: Path, options: Options, made: list[Sitting], scratch: Path) -> Draft:
    from demos.store.encoding import encode

    with hdf5.opened(path) as opened:
        notes = Notes()
        source = EpisodeFile(path, opened, notes, encode, scratch, options.numbers_only)
        said = plain_attributes(opened)
        flavour = _flavour(source)
        tables = _tables(source, flavour)
        steps = same_length((place, len(values)) for place, values in tables.items())
        clock = _clock(source, flavour, steps)
        if not made:
            made.append(_sitting(root, options, flavour, said))
        notes.assumed += [*made[0].assumed, *clock.assumed]
        streams = _streams(tables, flavour, clock, made[0], options, notes)
        videos = _videos(source, flavour, clock)
        more, values = source.rest(steps, clock)
        parameters = {
            "source_episode": path.stem,
            "flavour": flavour.name,
            "rate_hz": clock.rate_hz or "measured",
            **said,
            **values,
        }
    notes.sha256[path.name] = sha256_file(path)
    notes.doubt(streams, made[0].body)
    instruction = str(said.get("description", ""))
    facts = Facts(
        task=_task(root, instruction, options, notes),
        instruction=instruction,
        origin="simulated" if said.get("sim") is True else "human",
        recorded_at=modified(path),
        factors=dict(options.factors),
        provenance=notes.provenance(
            path.name if path == root else f"{root.name}/{path.name}",
            f"television {flavour.name}",
            parameters=parameters,
        ),
    )
    return Draft(made[0].session, facts, streams | more, videos, (), (), tuple(notes.findings))


def _flavour(source: EpisodeFile) -> _Flavour:
    for flavour in _FLAVOURS:
        if source.has(flavour.state) and source.has(flavour.command):
            return flavour
    known = "; ".join(f"{f.name}: {f.state} and {f.command}" for f in _FLAVOURS)
    raise ImportFailed(f"{source.path.name} has no state and command of one kind").with_hint(
        f"known are {known}"
    )


def _tables(source: EpisodeFile, flavour: _Flavour) -> dict[str, Any]:
    wanted = (flavour.state, flavour.command, flavour.operator, flavour.velocity, flavour.euler)
    return {place: source.table(place) for place in wanted if place and source.has(place)}


def _clock(source: EpisodeFile, flavour: _Flavour, steps: int) -> Ticks:
    if flavour.name != "raw":
        rate = RATE_HZ if flavour.name == "processed" else PH2D_HZ
        source.notes.assumed.append(
            f"rate: {rate:g} Hz, the ZED camera's; the processed file keeps no stamps"
        )
        return nominal(steps, rate)
    if not source.has(_STAMPS):
        raise ImportFailed(f"{_STAMPS} is not there").with_hint("copy the file from its source")
    stamps = source.table(_STAMPS)
    same_length([("obs and action", steps), (_STAMPS, len(stamps))])
    clock = ticks(stamps[:, 0], steps, RATE_HZ)
    for problem in clock.problems:
        source.notes.find("clock", problem, "compare the stamps with the recorder's log", "error")
    raw_ns = np.rint(np.clip(np.nan_to_num(stamps[:, 0]), -9e9, 9e9) * 1e9).astype(np.int64)
    return Ticks(clock.time_ns, clock.clock, clock.rate_hz, raw_ns, clock.assumed, clock.problems)


def _sitting(root: Path, options: Options, flavour: _Flavour, said: Mapping[str, Any]) -> Sitting:
    return sitting(
        root,
        str(said.get("embodiment", "")) if flavour.name == "human" else "h1_inspire",
        None,
        options,
        format=f"television {flavour.name}",
        licence=licence(root),
    )


def _streams(
    tables: Mapping[str, Any],
    flavour: _Flavour,
    clock: Ticks,
    home: Sitting,
    options: Options,
    notes: Notes,
) -> dict[str, Stream]:
    streams: dict[str, Stream] = {}
    for place in (flavour.state, flavour.command):
        streams |= joint_streams(
            _columns(place, tables[place], flavour, notes),
            clock,
            home,
            ignore=options.ignore,
            accept_mapping=options.accept_mapping,
        )
    if flavour.velocity in tables:
        values = tables[flavour.velocity]
        columns = Columns(
            values,
            numbered("qvel", values.shape[1]),
            ("unknown",) * values.shape[1],
            "state",
            kept_as="joint_velocity",
        )
        streams["joint_velocity"] = kept(columns, range(values.shape[1]), clock)
    if flavour.operator in tables:
        streams["teleop.command"] = _operator(tables[flavour.operator], flavour, clock, notes)
    if flavour.euler in tables:
        streams["end_effector_command"] = _euler(tables[flavour.euler], clock)
    return streams


def _columns(place: str, values: Any, flavour: _Flavour, notes: Notes) -> Columns:
    width = values.shape[1]
    if place == flavour.command and width == len(_COMMAND) and flavour.name != "human":
        notes.assumed.append(
            "order of the command: left arm 7, left hand 6, right arm 7, right hand 6, head 2, "
            "as Open-TeleVision's own programs read it; arms and head in rad"
        )
        return Columns(
            values,
            _COMMAND,
            _COMMAND_UNITS,
            "command",
            kept_as="joint_command",
            semantics="absolute target position of each joint",
        )
    name = "action" if place == flavour.command else "state"
    notes.assumed.append(f"{place}: {width} columns without names or units")
    return Columns(
        values,
        numbered(name, width),
        ("unknown",) * width,
        "command" if place == flavour.command else "state",
        kept_as=name,
        note=f"HDF5 dataset {place}",
    )


def _operator(values: Any, flavour: _Flavour, clock: Ticks, notes: Notes) -> Stream:
    width = values.shape[1]
    named = width == len(_TELEOP)
    if named:
        notes.assumed.append(
            f"{flavour.operator}: head, left and right wrist as 4x4 matrices row by row, then 25 "
            "points of each hand in m, as Open-TeleVision composes them"
        )
    units = tuple("m" if name.endswith(_LENGTHS) else "1" for name in _TELEOP)
    columns = Columns(
        values,
        _TELEOP if named else numbered("cmd", width),
        units if named else ("unknown",) * width,
        "command",
        kept_as="teleop.command",
        note="the operator's head, wrists and hands, relative as the recorder made them",
    )
    return kept(columns, range(width), clock)


def _euler(values: Any, clock: Ticks) -> Stream:
    width = values.shape[1]
    hand = (*"xyz", "yaw", "pitch", "roll", *(f"finger_{n}" for n in range(6)))
    names = (*(f"{side}_{axis}" for side in ("left", "right") for axis in hand), "head_yaw",
             "head_pitch")  # fmt: skip
    one = (*["m"] * 3, *["rad"] * 3, *["unknown"] * 6)
    named = width == len(names)
    columns = Columns(
        values,
        names if named else numbered("ee_action", width),
        (*one, *one, "rad", "rad") if named else ("unknown",) * width,
        "command",
        kept_as="end_effector_command",
        note="rotation as intrinsic z-y-x Euler angles",
    )
    return kept(columns, range(width), clock)


def _videos(source: EpisodeFile, flavour: _Flavour, clock: Ticks) -> dict[str, VideoFile]:
    if flavour.name == "raw":
        video = source.path.with_suffix(".svo")
        source.notes.missing.append(f"stereo video {video.name}")
        there = "is beside it" if video.exists() else "is not beside it either"
        source.notes.find(
            "missing_video",
            f"the images are in {video.name}, a format of the camera's maker; it {there}",
            "run Open-TeleVision's scripts/post_process.py and import the folder `processed` too",
            stream="image.left",
        )
        return {}
    videos = {}
    for place, name in ((_LEFT, "left"), (_RIGHT, "right")):
        if source.has(place) and (made := source.camera(place, name, clock)):
            videos[name] = made
    return videos


def _task(root: Path, instruction: str, options: Options, notes: Notes) -> str:
    if options.task:
        return options.task
    if instruction:
        notes.assumed.append("task: the source has no task ids, one is made of its description")
        return task_id(instruction)
    folder = root.absolute() if root.is_dir() else root.absolute().parent
    folder = folder.parent if folder.name == "processed" else folder
    notes.assumed.append("task: named after the folder, as Open-TeleVision names it")
    return task_id(folder.name)
