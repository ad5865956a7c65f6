"""LeRobot folders of v2.0, v2.1 and v3.0, GR00T's `modality.json` included."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from demos import mapping
from demos.errors import DemosError, ImportFailed
from demos.formats import lerobot as layout
from demos.formats.files import is_pointer, licence, modified, whole_file
from demos.formats.joints import OPAQUE, Columns, joint_streams
from demos.formats.lerobot_rows import channel_names, hold_against, kept_stream, repeated, words_of
from demos.formats.names import task_id, word
from demos.formats.notes import Notes
from demos.formats.parquet import parquet_cells, parquet_table, rows_of
from demos.formats.pictures import spooled, write_pictures
from demos.formats.segments import Packets, cut, is_mp4, packets_of, sha256_of, span_of
from demos.formats.sitting import Sitting, sitting
from demos.formats.steps import Steps, read_steps
from demos.importers import Item, Options, Remark, attempt, importers
from demos.model import (
    CameraInfo,
    Draft,
    Embodiment,
    Facts,
    Nanoseconds,
    Stream,
    VideoFile,
)
from demos.provenance import sha256_file

_ROLES: dict[str, mapping.Role] = {"observation.state": "state", "action": "command"}
_WHOLE_TABLE_BYTES = 64_000_000
_OPEN_VIDEOS = 16


@importers.adding("lerobot")
class LeRobot:
    """Read LeRobot folders of v2.0, v2.1 and v3.0, GR00T's included, without lerobot."""

    loses: ClassVar[str] = (
        "one clock for all: rates and stamps of the sensors were gone before; statistics"
    )

    def sniff(self, path: Path) -> bool:
        """Look for `codebase_version` in `meta/info.json`, or for its Git LFS pointer."""
        try:
            info = path / layout.INFO
            if not info.is_file():
                return False
            with info.open("rb") as file:
                return b'"codebase_version"' in file.read(65536) or is_pointer(info)
        except (OSError, ValueError):
            return False

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes whose parquet file is there, in order of their index."""
        survey = layout.survey(path)
        yield from _remarks(survey)
        with TemporaryDirectory(prefix="demos-import-") as folder:
            source = _Source(path, survey, options, Path(folder))
            for entry in survey.entries:
                yield attempt(entry.name, partial(_draft, source, entry), len(survey.entries))
                source.clear()

    def write_example(self, path: Path) -> Path:
        """Write a v2.1 folder: one episode of eight steps with one camera."""
        from demos.formats.lerobot_example import write_v21

        return write_v21(path / "example_v21")


@dataclass(slots=True)
class _Source:
    """An open folder: what is asked for again and again is read once."""

    root: Path
    survey: layout.Survey
    options: Options
    scratch: Path
    sitting: Sitting = field(init=False)
    packets: dict[str, Packets] = field(default_factory=dict)
    table: tuple[str, Any] = ("", None)

    def __post_init__(self) -> None:
        info, options = self.survey.info, self.options
        self.sitting = sitting(
            self.root,
            info.robot_type,
            None,
            options,
            format=f"lerobot {info.version}",
            licence=licence(self.root),
        )

    @property
    def body(self) -> Embodiment | None:
        """The body whose names and units hold, where one is known."""
        return self.sitting.body

    def rows(self, entry: layout.Entry) -> Any:
        """Read the rows of one episode; a v3.0 file that holds several is kept open if small."""
        if self.survey.info.version.startswith("v2"):
            return parquet_table(self.root, entry.data, keep=self._is_no_image)
        if (self.root / entry.data).stat().st_size > _WHOLE_TABLE_BYTES:
            return parquet_table(self.root, entry.data, entry.index, keep=self._is_no_image)
        if self.table[0] != entry.data:
            self.table = (entry.data, parquet_table(self.root, entry.data, keep=self._is_no_image))
        return rows_of(self.table[1], entry.index)

    def _is_no_image(self, column: str) -> bool:
        feature = self.survey.info.features.get(column)
        return feature is None or feature.dtype != "image"

    def clear(self) -> None:
        """Delete the videos cut out for the episode before."""
        for path in self.scratch.iterdir():
            path.unlink()


def _draft(source: _Source, entry: layout.Entry) -> Draft:
    survey, notes = source.survey, Notes(assumed=list(source.sitting.assumed))
    info = survey.info
    columns = [name for name, f in info.features.items() if f.dtype == "image"]
    steps = read_steps(source.rows(entry), info.fps)
    if not len(steps):
        raise ImportFailed(f"{entry.data} has no row of {entry.name}").with_hint(
            "copy the file again from its source"
        )
    hold_against(entry, steps, notes)
    if info.version.startswith("v2"):
        notes.sha256[entry.data] = sha256_file(source.root / entry.data)
    else:
        notes.sha256[f"{entry.data}#{entry.name}"] = steps.sha256()
    streams = _streams(source, steps, notes)
    videos = {} if source.options.numbers_only else _videos(source, entry, steps, notes)
    for name in () if source.options.numbers_only else columns:
        if video := _pictures(source, entry, name, steps, notes):
            videos[name] = video
    instruction, labels, events = words_of(survey, entry, steps, notes)
    named: dict[str, VideoFile] = {}
    for key, video in videos.items():
        named[word(key) if (name := _camera(source, key)) in named else name] = video
    task = source.options.task or task_id(instruction)
    if source.options.task is None:
        notes.assumed.append("task: the source has no task ids, one is made of the instruction")
    facts = Facts(
        task=task,
        instruction=instruction,
        recorded_at=modified(source.root / entry.data),
        factors=dict(source.options.factors),
        provenance=notes.provenance(
            f"{source.root.name}/{entry.data}",
            f"lerobot {info.version}",
            parameters=_parameters(source, entry, steps),
        ),
    )
    return Draft(
        source.sitting.session, facts, streams, named, events, labels, tuple(notes.findings)
    )


def _streams(source: _Source, steps: Steps, notes: Notes) -> dict[str, Stream]:
    notes.assumed += steps.ticks.assumed
    for problem in steps.ticks.problems:
        notes.find("clock", problem, "compare the timestamps with the recorder's log", "error")
    for column, reason in steps.lost.items():
        notes.missing.append(f"column {column}: {reason}")
        notes.find("column", f"{column} could not be kept: {reason}", "mend it in the source")
    made: dict[str, Stream] = {}
    for column, values in steps.numbers.items():
        role = _ROLES.get(column)
        known = source.body if role else None
        channels = channel_names(source.survey, column, values, notes, known)
        if role and source.body is not None and (twice := repeated(source.survey, column)):
            _refuse_repeated(column, twice, source.options, notes)
        name = word(column.removeprefix("observation."))
        name = name if name not in made else word(column)
        if role and values.ndim == 2:
            columns = Columns(
                values,
                channels,
                ("unknown",) * len(channels),
                role,
                kept_as=name,
                semantics=OPAQUE if column == "action" else None,
                note=f"LeRobot column {column}",
            )
            made |= joint_streams(
                columns,
                steps.ticks,
                source.sitting,
                ignore=source.options.ignore,
                accept_mapping=source.options.accept_mapping,
            )
        else:
            made[name] = kept_stream(column, values, channels, steps)
    if source.body is not None:
        body = source.body.id
        notes.assumed.append(f"units and order of joints: by the channels' names, as in {body}")
        notes.findings += mapping.doubts(made, source.body, episode=notes.id)
        if left_over := [name for name in ("state", "action") if name in made]:
            notes.find(
                "mapping",
                f"channels that {body} does not know are kept as {' and '.join(left_over)}",
                "add their names as aliases to the embodiment and import again",
            )
    return made


def _refuse_repeated(column: str, name: str, options: Options, notes: Notes) -> None:
    what = f"{column}: the name {name!r} stands for two channels"
    if not options.accept_mapping:
        raise ImportFailed(what).with_hint(
            "mend `names` in meta/info.json; or take all its channels without names "
            "(--accept-mapping)"
        )
    notes.find("mapping", f"{what}, so none of its names are used", "mend meta/info.json")


def _videos(
    source: _Source, entry: layout.Entry, steps: Steps, notes: Notes
) -> dict[str, VideoFile]:
    videos = {}
    for key in source.survey.info.cameras:
        segment = entry.videos.get(key)
        place = segment.path if segment else f"a video of {key}"
        try:
            if segment is None:
                raise ImportFailed(f"the metadata does not say where {place} is")
            path = whole_file(source.root, segment.path)
            if not is_mp4(path):  # FFmpeg would follow a playlist that is merely called .mp4
                raise ImportFailed(f"{place} is no mp4 file")
            video = _video(source, path, segment, entry, steps, notes)
        except DemosError as error:
            notes.missing.append(f"video {place}")
            notes.find(
                "missing_video",
                f"no video of {key}: {error}",
                error.hint or "take the file from the source and import the episode again",
                "info" if key in source.survey.unseen else "warning",
                stream=f"image.{_camera(source, key)}",
            )
            continue
        videos[key] = video
        expected = source.survey.info.features[key].shape
        if expected and not {video.info.width, video.info.height} <= set(expected):
            notes.find(
                "camera",
                f"{key} is {video.info.width}x{video.info.height}, the metadata says {expected}",
                severity="info",
            )
        if len(video.time_ns) != len(steps):
            notes.find(
                "images",
                f"{key} has {len(video.time_ns)} images, the table has {len(steps)} rows",
                "images are placed by the video's own stamps",
                stream=f"image.{_camera(source, key)}",
                measured=float(len(video.time_ns) - len(steps)),
                unit="images",
            )
    if any(len(video.time_ns) == len(steps) for video in videos.values()):
        notes.assumed.append("images: made at the moments of their rows, one a row, in order")
    return videos


def _video(
    source: _Source,
    path: Path,
    segment: layout.Segment,
    entry: layout.Entry,
    steps: Steps,
    notes: Notes,
) -> VideoFile:
    from demos.store.video import index_file

    shown: Nanoseconds | None = None
    if segment.from_s is not None and segment.to_s is not None:
        packets = source.packets.get(segment.path)
        if packets is None:
            if len(source.packets) >= _OPEN_VIDEOS:
                source.packets.clear()
            packets = source.packets[segment.path] = packets_of(path)
        first, end = span_of(packets, segment.from_s, segment.to_s)
        notes.sha256[f"{segment.path}#{entry.name}"] = sha256_of(path, packets, (first, end))
        if (first, end) != (0, len(packets)):
            path, whole = source.scratch / f"{len(list(source.scratch.iterdir()))}.mp4", path
            shown = cut(whole, packets, (first, end), path)
            notes.assumed.append("video: the episode's packets were copied out of a longer file")
    else:
        notes.sha256[segment.path] = sha256_file(path)
    index = index_file(path)
    stamps = index.time_ns
    if shown is not None and len(shown) != len(stamps):
        stamps = stamps[shown]
        stamps = stamps - stamps[0]
    else:
        shown = None
    if len(stamps) == len(steps):
        stamps = steps.ticks.time_ns
    info = CameraInfo(
        width=index.width,
        height=index.height,
        rate_hz=source.survey.info.fps,
        clock=steps.ticks.clock,
        codec=index.codec,
    )
    return VideoFile(path, info, stamps, shown)


def _pictures(
    source: _Source, entry: layout.Entry, name: str, steps: Steps, notes: Notes
) -> VideoFile | None:
    from demos.store.video import index_file

    info, digest = source.survey.info, hashlib.sha256()
    path = source.scratch / f"{len(list(source.scratch.iterdir()))}.mp4"
    episode = None if info.version.startswith("v2") else entry.index
    try:
        cells = parquet_cells(source.root, entry.data, name, episode)
        with closing(spooled(cells, source.root, path.with_suffix(".images"))) as images:
            write_pictures(images, info.fps, path)
            for image in images:
                digest.update(image)
    except DemosError as error:
        notes.missing.append(f"video of {name}")
        stream = f"image.{_camera(source, name)}"
        notes.find("missing_video", f"no images of {name}: {error}", error.hint, stream=stream)
        return None
    notes.sha256[f"{entry.data}#{entry.name}.{name}"] = digest.hexdigest()
    index, ticks = index_file(path), steps.ticks
    camera = CameraInfo(
        width=index.width,
        height=index.height,
        rate_hz=ticks.rate_hz,
        clock=ticks.clock,
        codec=index.codec,
    )
    return VideoFile(path, camera, ticks.time_ns)


def _remarks(survey: layout.Survey) -> Iterator[Remark]:
    for text in survey.contradictions:
        yield Remark("contradiction", text)
    for index in survey.absent[:1000]:
        yield Remark("missing", f"{layout.episode_name(index)}: no data file")
    if more := survey.absent[1000:]:
        last = layout.episode_name(more[-1])
        yield Remark("missing", f"{len(more)} more episodes up to {last}: no data file")


def _parameters(source: _Source, entry: layout.Entry, steps: Steps) -> Mapping[str, Any]:
    survey, index = source.survey, steps.keys.get("index")
    found = {
        "source_episode": entry.name,
        "episode_index": entry.index,
        "first_index": "" if index is None or not isfinite(index[0]) else int(index[0]),
        "robot_type": survey.info.robot_type,
        "fps": survey.info.fps,
        "split": layout.split_of(survey.info, entry.index),
        "tasks": list(entry.tasks),
        "ignored": list(source.options.ignore),
        "modality": dict(survey.modality),
    }
    return {key: value for key, value in found.items() if value not in ("", [], {})}


def _camera(source: _Source, key: str) -> str:
    name = word(key.removeprefix("observation.").removeprefix("images."))
    return source.body.camera_aliases.get(name, name) if source.body else name
