"""Unitree's xr_teleoperate: a folder per task, in it a folder per episode with `data.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats import xr_teleoperate as layout
from demos.formats.files import file_within, licence, modified
from demos.formats.names import task_id, word
from demos.formats.notes import Notes
from demos.formats.pictures import Pictures, stated, write_pictures
from demos.formats.sitting import Sitting, sitting
from demos.formats.steps import Ticks
from demos.formats.xr_teleoperate import Table
from demos.formats.xr_teleoperate_streams import read_parts, robot_of, streams_of
from demos.importers import Item, Options, attempts, importers
from demos.model import CameraInfo, Draft, Facts, Label, VideoFile
from demos.provenance import new_label, sha256_file

_DEPTH = "depth written as JPEG by the recorder: lossy, and no longer metres"


@importers.adding("xr_teleoperate")
class XrTeleoperate:
    """Read folders of Unitree's xr_teleoperate: JSON rows and one JPEG per camera and row."""

    loses: ClassVar[str] = (
        "audio and the simulator's state are left out; the format never held stamps, "
        "and its depth images are lossy"
    )

    def sniff(self, path: Path) -> bool:
        """Look for a folder `episode_NNNN` with `data.json` or `colors/`, or take one itself."""
        try:
            return path.is_dir() and bool(layout.episode_folders(path))
        except (OSError, ValueError, RuntimeError):
            return False

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes in order of their number."""
        folders = layout.episode_folders(path)
        if not folders:
            raise ImportFailed(f"{path.name} holds no folder episode_NNNN").with_hint(
                "name the folder of a task, in which xr_teleoperate makes episode_0000 and on"
            )
        source = _Source(path, options)
        return attempts([(folder.name, partial(_draft, source, folder)) for folder in folders])

    def write_example(self, path: Path) -> Path:
        """Write a task with one episode of six rows, a head camera and Inspire hands."""
        from demos.formats.xr_teleoperate_example import write_task

        return write_task(path / "wave_arm")


@dataclass(slots=True)
class _Source:
    """A task's folder, and the sitting of each body that was found in it."""

    root: Path
    options: Options
    sittings: dict[tuple[str, object], Sitting] = field(default_factory=dict)

    def sitting(self, robot: str, began: datetime | None) -> Sitting:
        """Return the one sitting of a body on a day."""
        options, key = self.options, (robot, began)
        if key not in self.sittings:
            self.sittings[key] = sitting(
                self.root,
                robot,
                began,
                options,
                format="xr_teleoperate",
                licence=licence(self.root),
            )
        return self.sittings[key]


def _draft(source: _Source, folder: Path, scratch: Path) -> Draft:
    notes, options = Notes(), source.options
    table = layout.read_table(folder)
    if not table.closed:
        notes.find(
            "closed",
            f"data.json was not closed: the recorder stopped after row {len(table.rows) - 1}",
            "look at the end of the episode: it may lack what was done last",
        )
    ticks, counts = _ticks(table, notes)
    parts = read_parts(table, notes)
    sat = source.sitting(robot_of(parts, notes), _day(table))
    notes.assumed = [*sat.assumed, *ticks.assumed, *notes.assumed]
    streams = streams_of(
        parts, ticks, sat, notes, ignore=options.ignore, accept_mapping=options.accept_mapping
    )
    if not streams:
        raise ImportFailed("no row has any number").with_hint("record the episode again")
    videos = {} if options.numbers_only else _cameras(table, folder, scratch, ticks, notes)
    _left_out(table, notes)
    notes.sha256[f"{folder.name}/{layout.TABLE}"] = sha256_file(folder / layout.TABLE)
    instruction, task = _words(source, folder, table, notes)
    facts = Facts(
        task=options.task or task,
        instruction=instruction,
        recorded_at=_day(table) or modified(folder / layout.TABLE),
        factors=dict(options.factors),
        provenance=notes.provenance(
            f"{source.root.name}/{folder.name}",
            "xr_teleoperate",
            parameters={
                "source_episode": folder.name,
                "fps": ticks.rate_hz,
                "rows": len(counts),
                "ignored": list(options.ignore),
                "recorder": {k: str(table.info.get(k, "")) for k in ("version", "date", "author")},
            },
        ),
    )
    return Draft(
        sat.session, facts, streams, videos, (), _labels(table, notes), tuple(notes.findings)
    )


def _ticks(table: Table, notes: Notes) -> tuple[Ticks, Any]:
    fps, counts = layout.rate_of(table), layout.row_numbers(table)
    if fps is None:
        fps = layout.USUAL_HZ
        notes.assumed.append("rate: info.image.fps is missing, the recorder's usual 30 Hz is taken")
    steps = np.diff(counts)
    lost = int((steps[steps > 1] - 1).sum()) + int(counts[0])
    if lost:
        row = 0 if counts[0] else int(np.flatnonzero(steps > 1)[0])
        at_ns = round((int(counts[row]) - int(counts.min())) / fps * 1e9)
        notes.find(
            "rows",
            f"{lost} rows are missing, the first after row {row}: the recorder drops rows that it "
            "cannot write",
            "what is there keeps its own time",
            start_ns=at_ns,
            end_ns=at_ns,
            measured=float(lost),
            unit="rows",
        )
    if (steps <= 0).any():
        notes.find("rows", "idx does not go up from row to row", "rows were reordered", "error")
    time_ns = np.rint((counts - counts.min()) / fps * 1e9).astype(np.int64)
    by_rate = f"clock: idx / {fps:g} Hz, the nominal rate; the recorder writes no stamps"
    return Ticks(time_ns, "nominal", fps, assumed=(by_rate,)), counts


def _cameras(
    table: Table, folder: Path, scratch: Path, ticks: Ticks, notes: Notes
) -> dict[str, VideoFile]:
    colors, depths = layout.images(table, "colors"), layout.images(table, "depths")
    names = layout.camera_names(list(colors))
    videos: dict[str, VideoFile] = {}
    if "egocentric_right" in names.values():
        notes.assumed.append(
            "cameras: four, so color_0 and color_1 are the left and right half of the head's image "
            "(two eyes), color_2 and color_3 the wrists"
        )
    elif len(names) > 1:
        notes.assumed.append(
            f"cameras: {', '.join(f'{key} is {name}' for key, name in names.items())}; "
            "the recorder only counts them, a head with two eyes takes color_0 and color_1"
        )
    for group, cameras in (("colors", colors), ("depths", depths)):
        for key, places in cameras.items():
            name = names.get(key, word(key)) if group == "colors" else word(key)
            note = f"xr_teleoperate {group}/{key}{f'; {_DEPTH}' if group == 'depths' else ''}"
            try:
                good = _pictures(folder, places, name, ticks, notes)
                video = _video(good, scratch / f"{len(videos)}.mp4", ticks, note)
            except DemosError as error:
                notes.missing.append(f"video of {name}")
                notes.find("missing_video", f"no images of {name}: {error}", error.hint)
                continue
            if video.info.width >= 2.4 * video.info.height:
                notes.assumed.append(f"camera {name}: so wide that it holds both eyes side by side")
            notes.sha256[f"{folder.name}/{group}#{key}"] = good.sha256
            videos[name] = video
    if depths:
        notes.assumed.append(f"{', '.join(depths)}: {_DEPTH}; kept as cameras")
    return videos


@dataclass(frozen=True, slots=True)
class _Good:
    """The image files of one camera that can be read, with their rows, and the hash of them all."""

    rows: tuple[int, ...]
    paths: tuple[Path, ...]
    sha256: str


def _pictures(
    folder: Path, places: list[tuple[int, str]], name: str, ticks: Ticks, notes: Notes
) -> _Good:
    """Look at every image of a camera; those that are missing or damaged are named."""
    digest, first = hashlib.sha256(), None
    good: list[tuple[int, Path]] = []
    bad: list[tuple[int, str]] = []
    for row, place in places:
        try:
            path = file_within(folder, place)
            content = path.read_bytes()
            size = stated(content)
            first = first or size
            if size != first:
                raise ImportFailed(f"{place} is {size[0]} {size[1]}x{size[2]}, not as the first")
        except DemosError as error:
            bad.append((row, str(error)))
            continue
        digest.update(content)
        good.append((row, path))
    lost = len(ticks.time_ns) - len(good)
    if lost:
        text = f"; {bad[0][1]}" if bad else ""
        notes.missing.append(f"{lost} images of {name}")
        notes.find(
            "images",
            f"{lost} of {len(ticks.time_ns)} images of {name} are missing{text}",
            "the others are there at their own time; copy the folder again if its source has them",
            stream=f"image.{name}",
            start_ns=int(ticks.time_ns[bad[0][0]]) if bad else None,
            end_ns=int(ticks.time_ns[bad[-1][0]]) if bad else None,
            measured=float(lost),
            unit="images",
        )
    if not good:
        raise ImportFailed("none can be read").with_hint("copy the folder again from its source")
    rows, paths = zip(*good, strict=True)
    return _Good(rows, paths, digest.hexdigest())


def _video(good: _Good, target: Path, ticks: Ticks, note: str) -> VideoFile:
    """Put the JPEG files of one camera into a video, byte for byte."""
    from demos.store.video import index_file

    images = Pictures(len(good.paths), lambda n: good.paths[n].read_bytes())
    write_pictures(images, ticks.rate_hz or layout.USUAL_HZ, target)
    index = index_file(target)
    if len(index) != len(good.paths):
        raise ImportFailed(f"{len(good.paths)} files make {len(index)} images").with_hint(
            "copy the folder again from its source"
        )
    info = CameraInfo(
        width=index.width, height=index.height, rate_hz=ticks.rate_hz, clock=ticks.clock,
        codec=index.codec, note=note,
    )  # fmt: skip
    return VideoFile(target, info, ticks.time_ns[list(good.rows)])


def _left_out(table: Table, notes: Notes) -> None:
    sounds: dict[str, int] = {}
    for row in table.rows:
        audios = row.get("audios")
        for mic in audios if isinstance(audios, Mapping) else ():
            sounds[str(mic)] = sounds.get(str(mic), 0) + 1
    for mic, count in sounds.items():
        notes.find("audio", f"the sound of {mic} ({count} pieces) was not kept", severity="info")
    if any(row.get("sim_state") for row in table.rows):
        notes.find("sim_state", "the simulator's state was not kept", severity="info")


def _words(source: _Source, folder: Path, table: Table, notes: Notes) -> tuple[str, str]:
    goal = table.text.get("goal")
    instruction = goal.strip() if isinstance(goal, str) else ""
    if instruction == layout.CANNED_GOAL:
        notes.assumed.append(
            "instruction: text.goal is the recorder's default, so the episode counts as unlabelled"
        )
        instruction = ""
    task = task_id(
        instruction or (folder.parent.name if folder == source.root else source.root.name)
    )
    if source.options.task is None:
        of = "the instruction" if instruction else "the folder's name"
        notes.assumed.append(f"task: the source has no task ids, one is made of {of}")
    return instruction, task


def _labels(table: Table, notes: Notes) -> tuple[Label, ...]:
    """Take a failure that was marked; success is what the recorder writes unasked."""
    if not table.marked_failed:
        return ()
    note = "xr_teleoperate rewards.success"
    return (
        new_label(
            notes.id, "outcome", annotator="operator (source)", role="operator",
            value="failure", note=note,
        ),
    )  # fmt: skip


def _day(table: Table) -> datetime | None:
    """Return the day of the recording, midnight UTC: the recorder writes no time of day."""
    try:
        day = date.fromisoformat(str(table.info.get("date")))
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
