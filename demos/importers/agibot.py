"""AgiBot World: Alpha, Beta, the simulated DigitalWorld and the challenges' aligned episodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from demos.errors import DemosError, ImportFailed
from demos.formats import agibot as layout
from demos.formats.agibot_cameras import Parameters, parameters
from demos.formats.agibot_clock import RATE_HZ
from demos.formats.agibot_rows import Run, read, streams
from demos.formats.files import licence, modified, plain_json, whole_file
from demos.formats.footage import paired
from demos.formats.names import task_id, word
from demos.formats.notes import Notes
from demos.formats.pictures import write_pictures
from demos.formats.poses import pose_stream
from demos.formats.sitting import Sitting, sitting
from demos.importers import Item, Options, attempts, importers
from demos.model import CameraInfo, Draft, Facts, Label, Nanoseconds, Span, Stream, VideoFile
from demos.provenance import new_label, sha256_bytes, sha256_file


@importers.adding("agibot")
class AgiBot:
    """Read AgiBot World's `proprio_stats.h5` or `aligned_joints.h5`, with videos and words."""

    loses: ClassVar[str] = "depth images; the files keep one clock for all sensors"

    def sniff(self, path: Path) -> bool:
        """Look for an episode's file, or for a tree of them by task and number."""
        return layout.is_recording(path)

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes by task and number."""
        source = _Source(path if path.is_dir() else path.parent, options)
        found = layout.recordings(path)
        return attempts([(each.name, partial(_draft, source, each)) for each in found])

    def write_example(self, path: Path) -> Path:
        """Write a tree with one episode of eight rows: arms, hands, head, waist, one camera."""
        from demos.formats.agibot_example import write_tree

        return write_tree(path / "AgiBotWorld-example")


@dataclass(slots=True)
class _Source:
    """What the episodes of one tree share: sessions by robot, and files that speak of many."""

    root: Path
    options: Options
    sittings: dict[str, Sitting] = field(default_factory=dict)
    words: dict[Path, Mapping[str, Any]] = field(default_factory=dict)

    def sitting(self, recorded: layout.Recorded, run: Run, began: datetime | None) -> Sitting:
        """Return the session of a robot, begun with its first episode."""
        robot = run.robot or "agibot_g1"
        key = f"{robot} {recorded.robot}"
        if key not in self.sittings:
            self.sittings[key] = sitting(
                self.root,
                robot,
                began,
                self.options,
                format="agibot",
                licence=licence(recorded.root),
                serials={"robot": recorded.robot} if recorded.robot else {},
            )
        return self.sittings[key]


@dataclass(frozen=True, slots=True)
class _Episode:
    """One episode that was read, and what is said of it on the way."""

    source: _Source
    recorded: layout.Recorded
    run: Run
    sitting: Sitting
    lenses: Parameters
    words: Mapping[str, Any]
    notes: Notes
    scratch: Path

    @property
    def base(self) -> str:
        """The reference frame of the poses of flanges and cameras."""
        return "world" if self.run.simulated else "base_link"

    def camera(self, name: str) -> str:
        """Return our name of a camera, by its file's name."""
        plain = word(name.removesuffix("_color"))
        body = self.sitting.body
        return body.camera_aliases.get(plain, plain) if body else plain


def _draft(source: _Source, recorded: layout.Recorded, scratch: Path) -> Draft:
    notes, options = Notes(), source.options
    run = read(recorded, notes)
    sat = source.sitting(recorded, run, _began(run))
    notes.assumed[:0] = (*sat.assumed, *_conventions(run))
    one = _Episode(
        source,
        recorded,
        run,
        sat,
        parameters(recorded, notes),
        _words(source, recorded, notes),
        notes,
        scratch,
    )
    made = streams(run, sat, options.ignore, notes, accept_mapping=options.accept_mapping)
    made |= _camera_poses(one)
    notes.doubt(made, sat.body)
    pictured = () if options.numbers_only else chain(_videos(one), _image_folders(one))
    videos = dict(pictured)
    _name_depth(recorded, notes)
    labels = _phases(one)
    instruction = str(one.words.get("task_name") or "")
    if options.task is None:
        notes.assumed.append("task: an id is made of task_name")
    facts = Facts(
        task=options.task or task_id(instruction),
        instruction=instruction,
        origin="simulated" if run.simulated else "human",
        recorded_at=_began(run) or modified(recorded.file),
        factors=dict(options.factors),
        provenance=notes.provenance(
            f"{recorded.root.name}/{recorded.place(recorded.file)}",
            "agibot",
            parameters=_parameters(one),
        ),
    )
    return Draft(sat.session, facts, made, videos, labels=labels, findings=tuple(notes.findings))


def _conventions(run: Run) -> tuple[str, ...]:
    if run.simulated:
        return (
            "quaternions: wxyz in the file, as DigitalWorld's card says; poses are in the world",
            "origin: simulated, the file names its joints as DigitalWorld does",
        )
    return (
        "joints: arm_l_j1 to arm_r_j7, head and waist by their order, as the card says",
        "quaternions: xyzw, as the card says; the flanges' reference frame is not named there",
        "grippers: mm when measured, 0 open to 1 closed when commanded, as the card says",
        "origin: human; AgiBot World is teleoperated",
    )


def _words(source: _Source, recorded: layout.Recorded, notes: Notes) -> Mapping[str, Any]:
    try:
        found = layout.words_of(recorded, source.words)
    except ImportFailed as error:
        notes.find("words", str(error), error.hint)
        found = None
    if found is None:
        notes.missing.append("the task's words: no task_info speaks of this episode")
        return {}
    path, entry = found
    notes.sha256[f"{recorded.place(path)}#{recorded.id}"] = sha256_bytes(
        json.dumps(entry, sort_keys=True).encode()
    )
    return dict(entry)


def _camera_poses(one: _Episode) -> dict[str, Stream]:
    """Make streams of the cameras that move, one pose a row."""
    made = {}
    for camera, table in one.lenses.poses.items():
        if len(table) == 1:
            continue
        if len(table) != one.run.rows:
            one.notes.missing.append(
                f"poses of camera {camera}: {len(table)} for {one.run.rows} rows"
            )
            continue
        made[f"pose.camera.{one.camera(camera)}"] = pose_stream(
            table[:, :3],
            table[:, 3:],
            one.run.ticks,
            reference_frame=one.base,
            of_frame=f"{camera}_camera",
            semantics="optical axes: x right, y down, z forward",
            note=f"AgiBot {camera}_extrinsic_params_aligned.json",
        )
    return made


def _videos(one: _Episode) -> Iterator[tuple[str, VideoFile]]:
    """Yield the videos that lie as mp4, each image at the moment of its row."""
    folders = one.recorded.folders("observations", "videos", "video")
    found = {path.stem: path for folder in folders for path in sorted(folder.glob("*.mp4"))}
    for stem, path in sorted(found.items()):
        place = one.recorded.place(path)
        try:
            whole_file(one.recorded.root, place)
            yield one.camera(stem), _video(one, path, stem, one.run.ticks.time_ns)
        except DemosError as error:
            _lost(one, stem, place, error)
            continue
        one.notes.sha256[place] = sha256_file(path)


def _image_folders(one: _Episode) -> Iterator[tuple[str, VideoFile]]:
    """Yield the videos made of JPEG files, `camera/<row>/<camera>_color.jpg`, bytes as they are."""
    folder = one.recorded.file.parent / "camera"
    by_camera: dict[str, dict[int, Path]] = {}
    for path in folder.glob("*/*.jpg"):
        if path.parent.name.isdecimal() and int(path.parent.name) < one.run.rows:
            by_camera.setdefault(path.stem, {})[int(path.parent.name)] = path
    for stem, images in sorted(by_camera.items()):
        rows = sorted(images)
        target = one.scratch / f"{stem}.mp4"
        try:
            content = [images[row].read_bytes() for row in rows]
            write_pictures(content, RATE_HZ, target)
            yield one.camera(stem), _video(one, target, stem, one.run.ticks.time_ns[rows])
        except DemosError as error:
            _lost(one, stem, f"camera/*/{stem}.jpg", error)
            continue
        one.notes.sha256[f"camera/*/{stem}.jpg"] = sha256_bytes(b"".join(content))
        if len(rows) < one.run.rows:
            one.notes.find(
                "images",
                f"{one.camera(stem)} has no image of {one.run.rows - len(rows)} rows",
                "the images that are there keep the moments of their rows",
                stream=f"image.{one.camera(stem)}",
            )


def _video(one: _Episode, path: Path, stem: str, stamps: Nanoseconds) -> VideoFile:
    from demos.store.video import index_file

    index = index_file(path)
    time_ns, shown = paired(len(index), stamps, one.camera(stem), one.notes)
    ticks = one.run.ticks
    info = CameraInfo(
        width=index.width,
        height=index.height,
        rate_hz=ticks.rate_hz,
        clock=ticks.clock,
        codec=index.codec,
        note=f"AgiBot {stem}",
    )
    described = one.lenses.described(info, stem.removesuffix("_color"), one.base)
    one.notes.assumed.append("images: made at the moments of their rows, one a row, in order")
    return VideoFile(path, described, time_ns, shown)


def _lost(one: _Episode, stem: str, place: str, error: DemosError) -> None:
    one.notes.missing.append(f"video {place}")
    one.notes.find(
        "missing_video",
        f"no video of {one.camera(stem)}: {error}",
        error.hint or "take the file from the source and import the episode again",
        stream=f"image.{one.camera(stem)}",
    )


def _name_depth(recorded: layout.Recorded, notes: Notes) -> None:
    folders = recorded.folders("observations", "depth", "camera")
    images = {path for f in folders if f.name in ("depth", "camera") for path in f.rglob("*.png")}
    if images:
        notes.missing.append(f"depth: {len(images)} PNG images stay in the source")


def _phases(one: _Episode) -> tuple[Label, ...]:
    """Make the source's annotated actions a label; its words are the skills."""
    info = one.words.get("label_info")
    entries = info.get("action_config") if isinstance(info, dict) else None
    spans, odd = [], 0
    for entry in entries if isinstance(entries, list) else ():
        if (span := _span(entry, one.run)) is not None:
            spans.append(span)
        else:
            odd += 1
    if odd:
        one.notes.find(
            "words",
            f"{odd} annotated actions have no rows of this episode and are left out",
            "compare start_frame and end_frame with the number of rows",
        )
    if not spans:
        return ()
    label = new_label(
        one.notes.id,
        "phases",
        annotator="agibot (source)",
        role="reviewer",
        spans=spans,
        note="AgiBot action_config: an action ends with the moment of the row end_frame",
    )
    return (label,)


def _span(entry: Any, run: Run) -> Span | None:
    if not isinstance(entry, dict):
        return None
    start, end = entry.get("start_frame"), entry.get("end_frame")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start <= end:
        return None
    if start >= run.rows:
        return None
    time_ns = run.ticks.time_ns
    texts = (entry.get(key) for key in ("skill", "action_text", "english_action_text"))
    said = [text for text in texts if isinstance(text, str) and text.strip()]
    first, last = int(time_ns[start]), int(time_ns[min(end, run.rows - 1)])
    return Span(
        start_ns=min(first, last),
        end_ns=max(first, last),
        value=said[0].strip()[:200] if said else "unnamed",
        notes={
            str(key)[:100]: value
            for key, value in plain_json(entry).items()
            if key != "skill"
            and isinstance(value, str | int | float)
            and (isinstance(value, str) or abs(value) < 2**53)
        },
    )


def _began(run: Run) -> datetime | None:
    source = run.ticks.source_time_ns
    if run.ticks.clock != "measured" or source is None or source.min() < 10**17:
        return None  # before 1973: no count since 1970
    return datetime.fromtimestamp(int(source.min()) / 1e9, UTC)


def _parameters(one: _Episode) -> dict[str, Any]:
    said = {key: value for key, value in one.words.items() if key != "label_info"}
    found = {
        "source_episode": one.recorded.name,
        "rows": one.run.rows,
        "init_scene_text": str(one.words.get("init_scene_text") or ""),
        "task_info": plain_json(said),
        "lenses": plain_json(one.lenses.lenses),
        "camera_parameters": one.lenses.rest,
        "ignored": list(one.source.options.ignore),
    }
    return {key: value for key, value in found.items() if value not in ("", [], {})}
