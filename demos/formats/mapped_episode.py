"""An episode as a mapping file describes it, out of whatever kind of file: what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import DemosError, ImportFailed
from demos.formats.files import modified, whole_file
from demos.formats.joints import joint_streams
from demos.formats.mapped_pictures import Filming
from demos.formats.mapped_streams import joints, stream
from demos.formats.names import slug, task_id, word
from demos.formats.notes import Notes
from demos.formats.options import Options
from demos.formats.ros_pictures import Film
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks
from demos.model import (
    CameraInfo,
    Draft,
    Facts,
    Label,
    MappedCamera,
    MappedClock,
    MappedStream,
    MappedText,
    MappingFile,
    Stream,
    VideoFile,
)
from demos.model.records import Clock, Scalar
from demos.provenance import new_label, sha256_file

_BY_RATE: Clock = "nominal"

Home = Callable[[str | None, str, datetime | None], Sitting]
"""The session of an operator, a kind of file, and a date where one is known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A mapping file, its path and hash, and what the person who imports says besides.

    film: how videos are written. scratch: an empty folder for them.
    """

    said: MappingFile
    options: Options
    path: Path
    sha256: str
    film: Film
    scratch: Path


class MappedEpisode(Protocol):
    """An episode in a file of one kind, as a mapping file may ask of it."""

    format: str
    """`mapped hdf5` and the like."""

    group: str
    """The episode's place in the file, empty where the file is one episode."""

    def begin(self, said: MappingFile) -> None:
        """Let time begin with the earliest stamp of all clocks. Raises ImportFailed."""

    def began(self) -> datetime | None:
        """Return the date of time zero, where the stamps are dates."""

    def lacking(self, name: str, said: MappedStream) -> list[str]:
        """List the paths of a stream at which there is nothing."""

    def samples(
        self, name: str, said: MappedStream, clock: MappedClock | None
    ) -> tuple[npt.NDArray[Any], Ticks]:
        """Return the numbers of a stream (n, ...) and their clock. Raises ImportFailed."""

    def word(self, path: str) -> str | None:
        """Return a text or a single value as a word; None where it is not there."""

    def images(self, filming: Filming) -> VideoFile:
        """Write the images at a camera's path as a video. Raises ImportFailed, RecordingFailed."""

    def ticks(self, clock: MappedClock | None, rows: int, what: str) -> Ticks:
        """Make the clock of something that lies beside the file. Raises ImportFailed."""

    def tell(self, notes: Notes) -> None:
        """Say what is damaged and what was left out."""

    def sha256(self, root: Path) -> dict[str, str]:
        """Hash what was read: by file below `root`, or by the episode's share of it."""


def draft_of(asked: Asked, name: str, file: Path, episode: MappedEpisode, home: Home) -> Draft:
    """Read an episode by its mapping file. Raises ImportFailed where it has none of the streams."""
    said, options = asked.said, asked.options
    notes = Notes()
    operator = options.operator or (_text(said.operator, episode) or "")[:200] or None
    episode.begin(said)
    sitting = home(operator, episode.format, episode.began())
    notes.assumed += sitting.assumed
    streams = _streams(asked, episode, sitting, notes)
    videos = {} if options.numbers_only else _videos(asked, episode, file, notes)
    instruction = _text(said.instruction, episode) or ""
    labels = tuple(_labels(said, episode, notes))
    factors = {name: _factor(value, episode) for name, value in said.factors.items()}
    task = options.task or slug(_text(said.task, episode) or "")
    if not task:
        task = task_id(instruction) if instruction else "unknown"
        notes.assumed.append("task: neither the mapping file nor the source names it")
    episode.tell(notes)
    root = asked.path.parent
    notes.sha256 |= {asked.path.name: asked.sha256, **episode.sha256(root)}
    notes.doubt(streams, sitting.body)
    facts = Facts(
        task=task,
        instruction=instruction,
        origin=said.origin,
        recorded_at=episode.began() or modified(file),
        factors={**factors, **options.factors},
        provenance=notes.provenance(
            f"{file.relative_to(root).as_posix()}{episode.group}",
            episode.format,
            parameters={
                "source_episode": name,
                "mapping_file": asked.path.name,
                "ignored": [*options.ignore, *said.mapping.ignored],
            },
        ),
    )
    return Draft(sitting.session, facts, streams, videos, (), labels, tuple(notes.findings))


def _streams(
    asked: Asked, episode: MappedEpisode, home: Sitting, notes: Notes
) -> dict[str, Stream]:
    made: dict[str, Stream] = {}
    for name, said in asked.said.streams.items():
        if lacking := episode.lacking(name, said):
            notes.missing.append(f"stream {name}: {', '.join(lacking)}")
            notes.find("dataset", f"{name} is not there: {', '.join(lacking)}", stream=name)
            continue
        values, clock = episode.samples(name, said, said.clock or asked.said.clock)
        notes.assumed += clock.assumed
        if said.role is None:
            found = {name: stream(values, said, name, clock)}
        else:
            found = joint_streams(
                joints(values, said, name, said.role),
                clock,
                home,
                ignore=asked.options.ignore,
                accept_mapping=asked.options.accept_mapping,
            )
        if clock.arrival_ns is not None:
            found = {n: replace(each, arrival_ns=clock.arrival_ns) for n, each in found.items()}
        made |= _apart(found, made, name)
    if not made:
        raise ImportFailed("none of the streams of the mapping file are there").with_hint(
            f"hold its paths against the recording's: {'; '.join(notes.missing[:3])}"
        )
    return made


def _apart(found: dict[str, Stream], made: dict[str, Stream], name: str) -> dict[str, Stream]:
    """Put the place of a stream behind names that are taken: `state.left` is joints at the left."""
    place = name.partition(".")[2]
    taken = sorted(set(found) & set(made))
    if taken and not place:
        raise ImportFailed(f"two streams of the mapping file become {taken[0]}").with_hint(
            "name what has one clock together (`paths: [left, right]`), and streams with clocks "
            "of their own by their places (`state.left`, `state.right`)"
        )
    return {f"{n}.{place}" if n in taken else n: each for n, each in found.items()}


def _videos(asked: Asked, episode: MappedEpisode, file: Path, notes: Notes) -> dict[str, VideoFile]:
    videos: dict[str, VideoFile] = {}
    for name, said in asked.said.cameras.items():
        target = asked.scratch / f"{len(videos)}.mp4"
        clock = said.clock or asked.said.clock
        try:
            if said.file:
                made = _beside(asked, said, episode, file, notes)
            else:
                made = episode.images(Filming(name, said, clock, target, asked.film, notes))
        except DemosError as error:
            notes.missing.append(f"camera {name}: {said.path or said.file}")
            hint = error.hint or "look at the images in the source"
            notes.find("missing_video", f"no images of {name}: {error}", hint)
            continue
        seen = {"intrinsics": said.intrinsics, "pose": said.pose}
        info = made.info.model_copy(update={k: v for k, v in seen.items() if v is not None})
        videos[word(name)] = VideoFile(made.path, info, made.time_ns)
    return videos


def _beside(
    asked: Asked, said: MappedCamera, episode: MappedEpisode, file: Path, notes: Notes
) -> VideoFile:
    """Take a video file as it is: its images are at the clock's stamps, or at its own."""
    group = episode.group.rsplit("/", 1)[-1]
    place = below(said.file.replace("{stem}", file.stem).replace("{episode}", group))
    path = whole_file(asked.path.parent, place)
    index = asked.film.index(path)
    notes.sha256[place] = sha256_file(path)
    stamps, clock = index.time_ns, _BY_RATE
    if said.clock is not None:
        ticks = episode.ticks(said.clock, len(index), place)
        stamps, clock = ticks.time_ns, ticks.clock
    else:
        notes.assumed.append(f"{said.file}: images at the video's own stamps, from time zero")
    rate = timeline.rate_hz(np.sort(stamps))
    info = CameraInfo(
        width=index.width,
        height=index.height,
        rate_hz=rate if np.isfinite(rate) else None,
        clock=clock,
        codec=index.codec,
    )
    return VideoFile(path, info, stamps)


def _text(said: MappedText | None, episode: MappedEpisode) -> str | None:
    if said is None:
        return None
    found = said.text or episode.word(said.path) or ""
    return found.strip() or None


def _factor(said: MappedText | Scalar, episode: MappedEpisode) -> Scalar:
    return _text(said, episode) if isinstance(said, MappedText) else said


def _labels(said: MappingFile, episode: MappedEpisode, notes: Notes) -> Iterator[Label]:
    for each in said.labels:
        found = episode.word(each.path)
        if found is None:
            notes.missing.append(f"label {each.of}: {each.path}")
            continue
        value = each.values.get(found, "") if each.values else found
        if not value:
            notes.find(
                "label",
                f"{each.path} says {found!r}, which is no {each.of} in the mapping file",
                "add the word to `values`",
            )
            continue
        if each.values:
            notes.assumed.append(f"{each.of}: {found!r} at {each.path} is {value}")
        yield new_label(notes.id, each.of, annotator=each.annotator, role=each.role, value=value)


def below(pattern: str) -> str:
    """Return a path that stays below the mapping file's folder. Raises ImportFailed."""
    parts = Path(pattern).parts
    if not parts or Path(pattern).is_absolute() or ".." in parts or "\0" in pattern:
        raise ImportFailed(f"{pattern!r} is no path below the mapping file's folder").with_hint(
            "put the mapping file, or a link to the data's folder, where the paths go down"
        )
    return pattern
