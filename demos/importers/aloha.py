"""ALOHA, ACT and Mobile ALOHA: one HDF5 file an episode, and what others record in that layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats import hdf5
from demos.formats.columns import changes
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
from demos.formats.names import task_id, word
from demos.formats.notes import Notes
from demos.formats.sitting import Sitting, sitting
from demos.formats.steps import Ticks
from demos.importers import Item, Options, attempts, importers
from demos.model import Draft, Facts, Label, Span, Stream, VideoFile
from demos.provenance import new_label, sha256_file

RATE_HZ = 50.0
"""DT = 0.02 s in ALOHA's constants; no file says it."""

_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
_CHANNELS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _JOINTS)
_RATES = ("fps", "rate_hz", "frequency", "control_frequency")
_IMAGES = "observations/images/"
_STATE, _ACTION = "observations/qpos", "action"
_WORDS, _SUBSTEPS = "language_raw", "substep_reasonings"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a dataset of 14 columns says: stream, unit of the joints, unit of the grippers."""

    stream: str
    joint_unit: str
    gripper_unit: str
    note: str = ""


_MEANINGS: Mapping[str, _Meaning] = {
    _STATE: _Meaning("joint_position", "rad", "1", "gripper: 0 closed, 1 open"),
    "observations/qvel": _Meaning("joint_velocity", "rad/s", "1/s"),
    "observations/effort": _Meaning(
        "joint_effort", "unknown", "unknown", "as the motors report it: a current on a real robot"
    ),
    _ACTION: _Meaning("joint_command", "rad", "1", "gripper: 0 closed, 1 open"),
}
_SEMANTICS = "absolute target position: where the leader arms stood, which the followers track"


@importers.adding("aloha")
class Aloha:
    """Read ALOHA, ACT and Mobile ALOHA episodes in HDF5, and Unitree's HDF5 of that layout."""

    loses: ClassVar[str] = (
        "nothing that is in the file but detail of raw images; it never had stamps, a task or units"
    )

    def sniff(self, path: Path) -> bool:
        """Look for `action` and `observations/qpos` in a file, or in a folder's first files."""
        return claimed(path, lambda places: {_STATE, _ACTION} <= places)

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield one episode a file, in order of the numbers in their names."""
        made: list[Sitting] = []
        return attempts(
            [(file.stem, partial(_draft, file, path, options, made)) for file in files(path)]
        )

    def write_example(self, path: Path) -> Path:
        """Write a folder with one episode of eight steps and two cameras of raw images."""
        import h5py

        folder = path / "aloha_wave"
        folder.mkdir(parents=True)
        swing = np.sin(np.outer(np.arange(8) / 8, np.arange(1, 15))).astype(np.float32)
        with h5py.File(folder / "episode_0.hdf5", "w") as file:
            file.attrs["sim"] = False
            for place in _MEANINGS:
                file.create_dataset(place, data=swing)
            for camera in ("cam_high", "cam_left_wrist"):
                images = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full(
                    (1, 48, 64, 3), 20, np.uint8
                )
                file.create_dataset(_IMAGES + camera, data=images, chunks=(1, 48, 64, 3))
        return folder


def _draft(path: Path, root: Path, options: Options, made: list[Sitting], scratch: Path) -> Draft:
    from demos.store.encoding import encode

    with hdf5.opened(path) as opened:
        notes = Notes()
        source = EpisodeFile(path, opened, notes, encode, scratch, options.numbers_only)
        said = plain_attributes(opened)
        tables = {place: source.table(place) for place in _MEANINGS if source.has(place)}
        _need(tables)
        steps = same_length((place, len(values)) for place, values in tables.items())
        aloha = _is_alohas(source, tables)
        if not made:
            made.append(_sitting(root, options, aloha=aloha, said=said))
        notes.assumed += made[0].assumed
        clock = _clock(said, steps, notes)
        streams = _streams(source, _named(tables, notes, aloha=aloha), clock, made[0], options)
        videos = _videos(source, clock)
        instruction, labels = _words(source, clock)
        more, values = source.rest(steps, clock)
        streams |= more
        if values.get("is_edited") in (1, [1]):
            notes.find("edited", "the source says that this episode was edited", severity="info")
        parameters = {"source_episode": path.stem, "rate_hz": clock.rate_hz, **said, **values}
    notes.sha256[path.name] = sha256_file(path)
    notes.doubt(streams, made[0].body)
    facts = Facts(
        task=_task(root, instruction, options, notes),
        instruction=instruction,
        origin="simulated" if said.get("sim") is True else "human",
        recorded_at=modified(path),
        factors=dict(options.factors),
        provenance=notes.provenance(
            path.name if path == root else f"{root.name}/{path.name}",
            "aloha hdf5",
            parameters=parameters,
        ),
    )
    return Draft(made[0].session, facts, streams, videos, (), labels, tuple(notes.findings))


def _need(tables: Mapping[str, Any]) -> None:
    for place in (_STATE, _ACTION):
        if place not in tables:
            raise ImportFailed(f"{place} is not there").with_hint(
                "an ALOHA episode has observations/qpos and action; what else is in the folder is "
                "imported by itself"
            )


def _sitting(root: Path, options: Options, *, aloha: bool, said: Mapping[str, Any]) -> Sitting:
    robot = "aloha" if aloha else ""
    if aloha and said.get("sim") is True:
        robot = "aloha_simulated"
    return sitting(
        root,
        robot,
        None,
        options,
        format="aloha hdf5",
        licence=licence(root),
    )


def _clock(said: Mapping[str, Any], steps: int, notes: Notes) -> Ticks:
    for name in _RATES:
        rate = said.get(name)
        if isinstance(rate, int | float) and not isinstance(rate, bool) and 0.01 < rate < 1e5:
            notes.assumed.append(f"rate: {rate:g} Hz, by the file's attribute {name}")
            break
    else:
        rate = RATE_HZ
        notes.assumed.append(
            "rate: 50 Hz, from the DT of 0.02 s in ALOHA's own constants; the file does not say it"
        )
    clock = nominal(steps, float(rate))
    notes.assumed += clock.assumed
    return clock


def _is_alohas(source: EpisodeFile, tables: Mapping[str, Any]) -> bool:
    """Say whether the tables are those of ALOHA's own robot: two arms of 7, not another's 14."""
    another = source.has("is_edited") or source.has(_SUBSTEPS)
    return not another and all(values.shape[1] == len(_CHANNELS) for values in tables.values())


def _named(tables: Mapping[str, Any], notes: Notes, *, aloha: bool) -> dict[str, Columns]:
    """Give the columns names and units where they are ALOHA's; drop placeholders."""
    found = {}
    for place, values in tables.items():
        meaning, width = _MEANINGS[place], values.shape[1]
        if _placeholder(place, values, tables[_STATE]):
            notes.assumed.append(f"{place}: zero throughout while the robot moves, a placeholder")
            notes.missing.append(f"{place}: a placeholder of zeros was written in its place")
            continue
        found[place] = Columns(
            values,
            _CHANNELS if aloha else numbered(place.rsplit("/", 1)[-1], width),
            (*[meaning.joint_unit] * 6, meaning.gripper_unit) * 2
            if aloha
            else ("unknown",) * width,
            "command" if place == _ACTION else "state",
            kept_as=meaning.stream,
            semantics=_SEMANTICS if aloha and place == _ACTION else None,
            note=meaning.note if aloha else f"HDF5 dataset {place}",
        )
    if aloha:
        notes.assumed += [
            "order of joints: left arm first, six joints and the gripper each, as ALOHA writes it",
            "units: rad, grippers normalised to 0..1, as ALOHA writes them; effort has no unit",
        ]
    else:
        notes.assumed.append("columns: not those of ALOHA's two arms, so without names and units")
    return found


def _streams(
    source: EpisodeFile,
    tables: Mapping[str, Columns],
    clock: Ticks,
    home: Sitting,
    options: Options,
) -> dict[str, Stream]:
    streams: dict[str, Stream] = {}
    for place, columns in tables.items():
        if place in (_STATE, _ACTION):
            streams |= joint_streams(
                columns,
                clock,
                home,
                ignore=options.ignore,
                accept_mapping=options.accept_mapping,
            )
            continue
        left = [n for n, name in enumerate(columns.channels) if name not in options.ignore]
        if left:
            streams[columns.kept_as] = kept(columns, left, clock)
    if source.has("base_action"):
        base = source.table("base_action")
        same_length([(_STATE, len(clock.time_ns)), ("base_action", len(base))])
        streams["base_command"] = kept(_base(base), range(base.shape[1]), clock)
    return streams


def _base(values: Any) -> Columns:
    two = values.shape[1] == 2
    return Columns(
        values,
        ("linear", "angular") if two else numbered("base", values.shape[1]),
        ("m/s", "rad/s") if two else ("unknown",) * values.shape[1],
        "command",
        kept_as="base_command",
        note="Mobile ALOHA's base_action: what the base reported as it was pushed",
    )


def _placeholder(place: str, values: Any, state: Any) -> bool:
    """Unitree's converter fills velocities with zeros."""
    with np.errstate(invalid="ignore"):  # NaN is no zero
        return place != _ACTION and not values.any() and bool(np.ptp(state, axis=0).any())


def _videos(source: EpisodeFile, clock: Ticks) -> dict[str, VideoFile]:
    videos = {}
    for name in hdf5.names(source.file, _IMAGES):
        place = _IMAGES + name
        if source.has(place) and (made := source.camera(place, word(name), clock)):
            videos[word(name)] = made
    if source.has("compress_len"):
        _hold_lengths_against(source, videos)
    return videos


def _hold_lengths_against(source: EpisodeFile, videos: Mapping[str, VideoFile]) -> None:
    """compress_len has one row a camera in the recorder's order, which no file says."""
    from demos.store.video import index_file

    with np.errstate(invalid="ignore"):  # NaN is the length of no image
        told = {row.astype(np.int64).tobytes() for row in source.table("compress_len")}
    for name, made in videos.items():
        if made.info.codec != "mjpeg":
            continue
        sizes = index_file(made.path).size.astype(np.int64)
        if sizes.tobytes() not in told:
            source.notes.find(
                "images",
                f"no row of compress_len says how long the images of {name} are",
                "the images were taken up to their own end, zeros behind it left out",
                "info",
                stream=f"image.{name}",
            )


def _words(source: EpisodeFile, clock: Ticks) -> tuple[str, tuple[Label, ...]]:
    """Read the instruction, and what each step is a part of as a label of instructions."""
    instruction, notes = "", source.notes
    if source.has(_WORDS):
        source.used.add(_WORDS)
        try:
            instruction = hdf5.text(source.file, _WORDS).strip()
        except DemosError as error:
            notes.missing.append(f"{_WORDS}: {error}")
    if not source.has(_SUBSTEPS):
        return instruction, ()
    source.used.add(_SUBSTEPS)
    try:
        texts = hdf5.texts(source.file, _SUBSTEPS)
        same_length([("steps", len(clock.time_ns)), (_SUBSTEPS, len(texts))])
    except DemosError as error:
        notes.missing.append(f"{_SUBSTEPS}: {error}")
        notes.find("words", f"{_SUBSTEPS} could not be kept: {error}", error.hint)
        return instruction, ()
    run = changes(texts)
    if len(run) == 1 and run[0][1] in ("", instruction):
        return instruction, ()
    ends = [*(int(clock.time_ns[row]) for row, _ in run[1:]), int(clock.time_ns[-1])]
    spans = tuple(
        Span(
            start_ns=int(clock.time_ns[row]),
            end_ns=end,
            value=text[:200] or "-",
            notes={"text": text} if len(text) > 200 else {},
        )
        for (row, text), end in zip(run, ends, strict=True)
    )
    label = new_label(
        notes.id,
        "instruction",
        annotator=f"{_SUBSTEPS} (source)",
        role="machine",
        spans=spans,
        note=f"HDF5 dataset {_SUBSTEPS}",
    )
    return instruction, (label,)


def _task(root: Path, instruction: str, options: Options, notes: Notes) -> str:
    if options.task:
        return options.task
    if instruction:
        notes.assumed.append("task: the source has no task ids, one is made of the instruction")
        return task_id(instruction)
    folder = root if root.is_dir() else root.absolute().parent
    notes.assumed.append("task: named after the folder, as ALOHA's recorder names it")
    return task_id(folder.name)
