"""DROID's raw recordings: folders with `trajectory.h5` and one mp4 a camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats import droid as layout
from demos.formats.droid_cameras import Calibration, calibration
from demos.formats.droid_clocks import LATEST_MS
from demos.formats.droid_rows import Trajectory, control, read, streams
from demos.formats.files import json_list, licence, modified, plain_json, whole_file
from demos.formats.footage import paired
from demos.formats.names import task_id, word
from demos.formats.notes import Notes
from demos.formats.poses import from_euler_xyz, pose_stream
from demos.formats.sitting import Sitting, sitting
from demos.importers import Item, Options, attempt, importers
from demos.model import CameraInfo, Draft, Facts, Label, Nanoseconds, Stream, VideoFile
from demos.provenance import new_label, sha256_bytes, sha256_file

_PRIVATE = ("user", "user_id")
_STEREO = "-stereo"


@importers.adding("droid")
class Droid:
    """Read DROID's raw trajectories (`trajectory.h5`, `recordings/MP4`), one or a tree of them."""

    loses: ClassVar[str] = (
        "SVO files (stereo and depth, which only ZED's SDK reads); "
        "the operator's full name, a pseudonym is kept"
    )

    def sniff(self, path: Path) -> bool:
        """Look for `trajectory.h5`, or for `success/` and `failure/` with dates full of them."""
        return layout.is_recording(path)

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the trajectories in the order of the times in their names."""
        folders = layout.trajectories(path)
        source = _Source(path if path.is_dir() else path.parent, options)
        for folder in folders:
            yield attempt(source.name(folder), partial(_draft, source, folder), len(folders))

    def write_example(self, path: Path) -> Path:
        """Write one trajectory of eight steps, in two of which movement is not enabled."""
        from demos.formats.droid_example import write_trajectory

        return write_trajectory(path / "Fri_Jul__7_09:42:23_2023")


@dataclass(slots=True)
class _Source:
    """What the trajectories of one tree share; a session is made for each operator and robot."""

    root: Path
    options: Options
    sittings: dict[tuple[str, str], Sitting] = field(default_factory=dict)

    def name(self, folder: Path) -> str:
        place = folder.relative_to(self.root).as_posix()
        return folder.name if place == "." else place

    def sitting(self, run: Trajectory) -> Sitting:
        """Return the session that a trajectory belongs to."""
        operator, words = _operator(run.said, self.options.operator)
        kind, number = layout.robot_of(run.said)
        if (operator, number) not in self.sittings:
            made = sitting(
                self.root,
                kind,
                _began(run),
                self.options,
                operator=operator,
                format=_format(run),
                licence=licence(self.root),
                serials={"robot": number} if number else {},
            )
            self.sittings[operator, number] = replace(made, assumed=(*made.assumed, *words))
        return self.sittings[operator, number]


def _draft(source: _Source, folder: Path) -> Draft:
    notes = Notes()
    run = read(folder, notes)
    sat, options = source.sitting(run), source.options
    notes.assumed[:0] = sat.assumed
    made = streams(run, sat, options.ignore, accept_mapping=options.accept_mapping)
    authority, labels = control(run, notes)
    groups = (layout.CAMERA_TYPE, layout.EXTRINSICS, layout.INTRINSICS)
    tables = {place: table for place, table in run.tables.items() if place.startswith(groups)}
    films = {path.stem: path for path in _films(folder)}
    serials = {stem.removesuffix(_STEREO) for stem in films}
    cameras = calibration(tables, serials, notes)
    made |= authority | _moving(run, cameras)
    videos = {
        name: video
        for stem, path in (films.items() if not options.numbers_only else ())
        for name, video in _video(run, sat, cameras, path, notes)
    }
    _name_svo(folder, serials, notes)
    labels += _outcome(run, sat.session.operator, notes)
    notes.doubt(made, sat.body)
    notes.assumed += (
        f"joints: {run.joints[0]} and so on by their order; the file has no names",
        f"poses: of {run.flange} in {run.base}, Polymetis' end effector and base",
        "origin: human; DROID's recorder is driven with a hand-held controller",
    )
    instruction = str(run.said.get("current_task", ""))
    if options.task is None:
        notes.assumed.append("task: an id is made of the recorder's current_task")
    facts = Facts(
        task=options.task or task_id(instruction),
        instruction=instruction,
        origin="human",
        recorded_at=_began(run) or modified(folder / layout.TRAJECTORY),
        factors=dict(options.factors),
        provenance=notes.provenance(
            f"{source.root.name}/{source.name(folder)}/{layout.TRAJECTORY}",
            _format(run),
            parameters=_parameters(source, run, cameras),
        ),
    )
    return Draft(sat.session, facts, made, videos, labels=labels, findings=tuple(notes.findings))


def _moving(run: Trajectory, cameras: Calibration) -> dict[str, Stream]:
    """Make poses of the cameras that ride on the arm, as the recorder wrote them each step."""
    made = {}
    for view, table in cameras.moving().items():
        serial, _, side = view.partition("_")
        made[f"pose.camera.{cameras.names.get(serial, word(serial))}_{word(side)}"] = pose_stream(
            table[:, :3],
            from_euler_xyz(table[:, 3:]),
            run.clocks.state,
            reference_frame=run.base,
            of_frame=view,
            semantics="optical axes: x right, y down, z forward",
            note=f"DROID {layout.EXTRINSICS}{view}: {layout.EULER}",
        )
    return made


def _films(folder: Path) -> list[Path]:
    recordings = folder / "recordings"
    return sorted([*recordings.glob("MP4/*.mp4"), *recordings.glob("*.mp4")])


def _video(
    run: Trajectory, sat: Sitting, cameras: Calibration, path: Path, notes: Notes
) -> Iterator[tuple[str, VideoFile]]:
    from demos.store.video import index_file

    serial, stereo = path.stem.removesuffix(_STEREO), path.stem.endswith(_STEREO)
    name = cameras.names[serial] + ("_stereo" if stereo else "")
    if sat.body:
        name = sat.body.camera_aliases.get(name, name)
    place = path.relative_to(run.folder).as_posix()
    try:
        whole_file(run.folder, place)
        index = index_file(path)
        stamps, clock = _image_stamps(run, serial, path, len(index), notes)
        time_ns, shown = paired(len(index), stamps, name, notes)
    except DemosError as error:
        notes.missing.append(f"video {place}")
        notes.find(
            "missing_video",
            f"no video of {name}: {error}",
            error.hint or "take the file from the source and import the trajectory again",
            stream=f"image.{name}",
        )
        return
    notes.sha256[place] = sha256_file(path)
    info = CameraInfo(
        width=index.width,
        height=index.height,
        clock=clock,
        codec=index.codec,
        note=f"ZED {serial}" + (", left and right view side by side" if stereo else ", left view"),
    )
    if not stereo:
        info = cameras.described(info, f"{serial}_left", run.base, run.flange)
        if info.intrinsics is None and f"{serial}_left" in cameras.intrinsics:
            notes.find("calibration", f"the intrinsics of {name} are not those of its video")
    yield name, VideoFile(path, info, time_ns, shown)


def _image_stamps(
    run: Trajectory, serial: str, path: Path, images: int, notes: Notes
) -> tuple[Nanoseconds, Any]:
    """Return when the images were taken: by the file beside the video, else step by step."""
    beside = path.with_name(f"{serial}_timestamps.json")
    if beside.is_file() and run.clocks.start_ms is not None:
        received = _received(beside)
        if len(received) == images:
            latency = run.clocks.latency_ms.get(serial, 0)
            notes.assumed.append(
                f"images of {serial}: taken {latency} ms before {beside.name} says they came"
            )
            return run.clocks.since_start(np.array(received, np.int64) - latency), "measured"
        notes.find("clock", f"{beside.name} does not fit its video; it was not used")
    notes.assumed.append("images: one a step, in order; a video's own rate says nothing here")
    stamps = run.clocks.images.get(serial)
    if stamps is not None:
        return stamps, "measured"
    return run.clocks.state.time_ns, run.clocks.state.clock


def _received(beside: Path) -> list[int]:
    """Read the moments in ms at which images came; none where one of them is no time."""
    try:
        plain = json_list(beside.parent, beside.name)
    except ImportFailed:
        return []
    whole = [stamp for stamp in plain if isinstance(stamp, int) and 0 < stamp < LATEST_MS]
    return whole if len(whole) == len(plain) else []


def _name_svo(folder: Path, served: set[str], notes: Notes) -> None:
    for path in sorted((folder / "recordings").rglob("*.svo*")):
        place = path.relative_to(folder).as_posix()
        notes.missing.append(f"{place}: only ZED's SDK reads it")
        if path.stem not in served:
            notes.find(
                "missing_video",
                f"the images of camera {path.stem} are in {path.name} only",
                "make the mp4 with DROID's svo2mp4 and import the trajectory again",
            )


def _outcome(run: Trajectory, operator: str, notes: Notes) -> tuple[Label, ...]:
    by_file, by_folder = layout.outcome(run.folder, run.said)
    if not (by_file or by_folder):
        notes.missing.append("outcome: neither the file nor a folder says success or failure")
        return ()
    if by_file and by_folder and by_file != by_folder:
        notes.find(
            "outcome",
            f"the file says {by_file}, it lies under {by_folder}/; the file's word is taken",
            "watch the end of the episode and label it",
        )
    source = "attributes of trajectory.h5" if by_file else f"folder {by_folder}/"
    return (
        new_label(
            notes.id,
            "outcome",
            annotator=operator,
            role="operator",
            value=by_file or by_folder,
            note=f"DROID {source}",
        ),
    )


def _operator(said: dict[str, Any], named: str | None) -> tuple[str, tuple[str, ...]]:
    """Return who it was, and what that assumes."""
    if named is not None:
        return named, ()
    if isinstance(number := said.get("user_id"), str) and number:
        return number[:100], ("operator: DROID's user_id; the full name is not kept",)
    if isinstance(name := said.get("user"), str) and name:
        hashed = f"user-{sha256_bytes(name.strip().casefold().encode())[:8]}"
        return hashed, ("operator: a pseudonym made of the recorder's full name",)
    return "unknown", ("operator: unknown",)


def _began(run: Trajectory) -> datetime | None:
    named = layout.began(run.folder.name)
    return run.clocks.began or (named and named.replace(tzinfo=UTC))


def _format(run: Trajectory) -> str:
    return f"droid {run.said.get('version_number', '')}".strip()[:100]


def _parameters(source: _Source, run: Trajectory, cameras: Calibration) -> dict[str, Any]:
    """Keep what the recorder said of the trajectory, but who the person is."""
    found = {
        "source_episode": source.name(run.folder),
        "steps": run.steps,
        "attributes": plain_json({k: v for k, v in run.said.items() if k not in _PRIVATE}),
        "cameras": dict(cameras.names),
        "calibration": cameras.constant(),
        "image_latency_ms": dict(run.clocks.latency_ms),
        "ignored": list(source.options.ignore),
    }
    return {key: value for key, value in found.items() if value not in ("", [], {})}
