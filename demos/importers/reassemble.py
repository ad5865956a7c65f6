"""REASSEMBLE: long assemblies at the NIST task board, one HDF5 file each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats import hdf5
from demos.formats import reassemble as layout
from demos.formats.files import json_object, licence
from demos.formats.footage import paired
from demos.formats.hdf5_contents import blob
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.formats.poses import pose
from demos.formats.reassemble_rows import Clock, clock_of, streams
from demos.formats.sitting import Sitting, sitting
from demos.importers import Item, Options, attempts, importers
from demos.model import CameraInfo, Draft, Facts, Label, Pose, Span, VideoFile
from demos.provenance import new_label, sha256_file

_TASK = "nist_task_board_1"


@importers.adding("reassemble")
class Reassemble:
    """Read REASSEMBLE's `<date>.h5` files: every stream on its own clock, actions at two levels."""

    loses: ClassVar[str] = (
        "sound (mp3); the events of the event camera where there are more than two million"
    )

    def sniff(self, path: Path) -> bool:
        """Look for a file with `robot_state` and `timestamps`, or for a folder of them."""
        return layout.is_recording(path)

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the recordings by date."""
        source = _Source(path if path.is_dir() else path.parent, options)
        files = layout.recordings(path)
        return attempts([(file.stem, partial(_draft, source, file)) for file in files])

    def write_example(self, path: Path) -> Path:
        """Write a folder with one recording of half a second: arm, wrench, camera, two actions."""
        from demos.formats.reassemble_example import write_folder

        return write_folder(path / "REASSEMBLE-example")


@dataclass(slots=True)
class _Source:
    """What the recordings of one folder share: the session of the first of them."""

    root: Path
    options: Options
    held: Sitting | None = None

    def sitting(self, clock: Clock) -> Sitting:
        """Return the session, begun with its first recording."""
        if self.held is None:
            self.held = sitting(
                self.root,
                "fr3",
                clock.began,
                self.options,
                format="reassemble",
                licence=licence(self.root),
            )
        return self.held


def _draft(source: _Source, path: Path, scratch: Path) -> Draft:
    notes, options = Notes(), source.options
    places = _poses(path, notes)
    with hdf5.opened(path) as file:
        clock = clock_of(file, notes)
        sat = source.sitting(clock)
        notes.assumed[:0] = (*sat.assumed, *_CONVENTIONS)
        made = streams(
            file,
            clock,
            sat,
            notes,
            ignore=options.ignore,
            accept_mapping=options.accept_mapping,
        )
        if not made:
            raise ImportFailed(f"{path.name} holds no stream with stamps").with_hint(
                "copy the recording again from its source"
            )
        segments, problems = layout.segments(file)
        problems += [
            f"{s.text} is not of this recording" for s in segments if not _within(s, clock)
        ]
        segments = [segment for segment in segments if _within(segment, clock)]
        videos = {
            name: video
            for place in (hdf5.names(file) if not options.numbers_only else ())
            if hdf5.has(file, place)
            for name, video in _video(scratch, file, place, (clock, sat, places), notes)
        }
    notes.sha256[path.name] = sha256_file(path)
    for problem in problems:
        notes.find("words", f"an annotated action is left out: {problem}")
    if path.stem in layout.KNOWN:
        notes.find("known", f"the dataset's README says: {layout.KNOWN[path.stem]}")
    notes.doubt(made, sat.body)
    if options.task is None:
        notes.assumed.append(f"task: {_TASK}; the file names actions, not a task")
    acted = [s for s in segments if s.parent is None and _acts(s)]
    labels = _labels(segments, acted, clock, notes)
    facts = Facts(
        task=options.task or _TASK,
        instruction=" ".join(segment.text for segment in acted)[:2000],
        origin="human",
        recorded_at=clock.began,
        factors=dict(options.factors),
        declared_start={name: p for name, p in places.items() if name not in _CAMERAS},
        provenance=notes.provenance(
            f"{source.root.name}/{path.name}",
            "reassemble",
            parameters={"source_episode": path.stem, "ignored": list(options.ignore)},
        ),
    )
    return Draft(sat.session, facts, made, videos, labels=labels, findings=tuple(notes.findings))


_CAMERAS = frozenset(layout.POSED.values())
_CONVENTIONS = (
    "clock: every stream's own stamps, all of one machine",
    "joints: fr3_joint1 to 7 and two fingers by their order; the file has no names",
    "quaternion of pose: wxyz, as the README and REASSEMBLE/io.py say; "
    "the dataset's own viewer labels the same columns xyzw",
    "origin: human, with a haptic device",
)


def _acts(segment: layout.Segment) -> bool:
    return segment.text.casefold().rstrip(".") != "no action"


def _within(segment: layout.Segment, clock: Clock) -> bool:
    return clock.near(segment.start_s) and clock.near(segment.end_s)


def _labels(
    segments: list[layout.Segment], acted: list[layout.Segment], clock: Clock, notes: Notes
) -> tuple[Label, ...]:
    """Make the source's actions a label of two tiers, and an outcome of whether they succeeded."""
    if not segments:
        notes.missing.append("actions: the file annotates none")
        return ()
    spans = [_span(segment, clock) for segment in segments]
    labels = [
        new_label(
            notes.id,
            "phases",
            annotator="reassemble (source)",
            role="reviewer",
            spans=spans,
            note="REASSEMBLE segments_info: actions on the tier task, their parts on low_level",
        )
    ]
    if acted:
        done = sum(segment.success for segment in acted)
        value = "success" if done == len(acted) else "partial" if done else "failure"
        labels.append(
            new_label(
                notes.id,
                "outcome",
                annotator="reassemble (source)",
                role="reviewer",
                value=value,
                note=f"{done} of {len(acted)} actions succeeded",
            )
        )
    return tuple(labels)


def _span(segment: layout.Segment, clock: Clock) -> Span:
    start, end = clock.since_start([segment.start_s, segment.end_s]).tolist()
    notes: dict[str, Any] = {"success": segment.success, "index": segment.index}
    if segment.parent is not None:
        notes["parent"] = segment.parent
    return Span(
        start_ns=start,
        end_ns=max(start, end),
        tier="task" if segment.parent is None else "low_level",
        value=segment.text[:200] or "unnamed",
        notes=notes,
    )


def _video(
    scratch: Path,
    file: Any,
    place: str,
    known: tuple[Clock, Sitting, Mapping[str, Pose]],
    notes: Notes,
) -> Iterator[tuple[str, VideoFile]]:
    """Write a video out of the file, byte for byte; sound and the like is named."""
    from demos.store.video import index_file

    clock, sat, places = known
    if place == layout.EVENTS:
        return
    if place.endswith(layout.SOUND):
        notes.missing.append(f"{place}: sound is not taken in")
        return
    ours = layout.CAMERAS.get(place) or word(place)
    name = sat.body.camera_aliases.get(ours, ours) if sat.body else ours
    target = scratch / f"{len(list(scratch.iterdir()))}.mp4"
    try:
        target.write_bytes(blob(file, place))
        index = index_file(target)
        if place not in clock.stamps:
            raise ImportFailed(f"timestamps/{place} is not there").with_hint(
                "without stamps the images cannot be placed in time"
            )
        stamps = clock.since_start(clock.stamps[place])
        time_ns, shown = paired(len(index), stamps, name, notes, clock.known(place))
    except DemosError as error:
        notes.missing.append(f"{place}: {error}")
        notes.find(
            "missing_video",
            f"no video of {name}: {error}",
            error.hint or "take the file from the source and import the recording again",
            stream=f"image.{name}",
        )
        return
    info = CameraInfo(
        width=index.width,
        height=index.height,
        codec=index.codec,
        pose=places.get(ours),
        note=f"REASSEMBLE {place}",
    )
    yield name, VideoFile(target, info, time_ns, shown)


def _poses(path: Path, notes: Notes) -> dict[str, Pose]:
    """Read where the cameras and the board stood in the world, from the file beside."""
    name = f"{path.stem}_poses.json"
    places = [f / name for f in (path.parent.parent / "poses", path.parent / "poses", path.parent)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        notes.missing.append(f"{name}: where the cameras and the board stood")
        return {}
    made = {}
    try:
        plain = json_object(found.parent, found.name)
    except ImportFailed as error:
        notes.find("calibration", str(error), error.hint)
        return {}
    notes.sha256[name] = sha256_file(found)
    for key, value in plain.items():
        if (place := _pose(value)) is not None:
            made[layout.POSED.get(key, key[:100] or "unnamed")] = place
        else:
            notes.find("calibration", f"{name} holds no pose of {key}")
    return made


def _pose(value: Any) -> Pose | None:
    """Read `[[x, y, z], [qx, qy, qz, qw]]`."""
    try:
        numbers = np.array([*value[0], *value[1]], dtype=np.float64)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return None
    return pose("world", numbers[:3], numbers[3:]) if len(numbers) == 7 else None
