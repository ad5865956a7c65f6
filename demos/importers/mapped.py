"""Somebody's own HDF5 files, read as a mapping file says: YAML that names what lies where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from demos import embodiment as embodiments
from demos import mapping, timeline
from demos._content import content
from demos.errors import DemosError, ImportFailed, SchemaMismatch
from demos.formats import hdf5
from demos.formats.files import modified, whole_file
from demos.formats.hdf5_images import LOSSY, SWAPPED, video
from demos.formats.hdf5_mapping import MappedEpisode, groups, joints, stream, table
from demos.formats.joints import joint_streams
from demos.formats.names import counted, slug, task_id, word
from demos.formats.notes import Notes
from demos.formats.sitting import Sitting, sitting
from demos.importers import Item, Options, Refused, Remark, attempt, importers
from demos.model import (
    CameraInfo,
    Draft,
    Embodiment,
    Facts,
    Label,
    MappedCamera,
    MappedText,
    MappingFile,
    Stream,
    VideoFile,
)
from demos.model.records import Clock, Scalar
from demos.provenance import made_by, new_label, sha256_bytes, sha256_file
from demos.schema import read_yaml

EXAMPLE = "two_arm_rig"
_HEAD = re.compile(rb"^kind:[ \t]*['\"]?mapping['\"]?[ \t]*(#.*)?\r?$", re.MULTILINE)
_SUFFIXES = (".yaml", ".yml")
_MOST_FILES = 100_000
_BY_RATE: Clock = "nominal"


@importers.adding("mapped")
class Mapped:
    """Read HDF5 files of any layout as a mapping file says; the YAML file is the source."""

    loses: ClassVar[str] = "what the mapping file does not name; detail of raw images"

    def sniff(self, path: Path) -> bool:
        """Look for `kind: mapping` at the head of a YAML file."""
        try:
            if path.suffix not in _SUFFIXES or not path.is_file():
                return False
            with path.open("rb") as file:
                return _HEAD.search(file.read(4096)) is not None
        except (OSError, ValueError):
            return False

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes of every file, files and groups by the numbers in their names."""
        source = _Source(path, options)
        yield from source.remarks
        for file in source.files:
            try:
                with hdf5.opened(file) as opened:
                    found = groups(opened, source.said.episodes)
            except DemosError as error:
                yield Refused(file.stem, str(error), error.hint or "look at the file")
                continue
            if not found:
                yield Remark("missing", f"{file.name}: no group {source.said.episodes}")
            for group in found:
                with TemporaryDirectory(prefix="demos-import-") as folder:
                    name = f"{file.stem}{group}"
                    build = partial(_draft, source, file, group, Path(folder))
                    yield attempt(name, build, len(source.files) if group == "" else None)

    def write_example(self, path: Path) -> Path:
        """Write the published example of a mapping file and one file as it describes."""
        from demos.formats.hdf5_mapping_example import write

        (path / "runs").mkdir(parents=True)
        write(path / "runs/run_1.h5")
        file = path / f"{EXAMPLE}.yaml"
        file.write_bytes((content("schemas") / "mappings" / file.name).read_bytes())
        return file


@dataclass(slots=True)
class _Source:
    """A mapping file, the files that it names, and the sessions made so far, by operator."""

    path: Path
    options: Options
    said: MappingFile = field(init=False)
    sha256: str = field(init=False)
    body: Embodiment | None = None
    files: list[Path] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    sittings: dict[str, Sitting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = whole_file(self.path.parent, self.path.name).read_bytes()
        self.sha256 = sha256_bytes(whole)
        try:
            self.said = read_yaml(MappingFile, whole, where=self.path.name)
        except SchemaMismatch as error:
            raise ImportFailed(str(error)).with_hint(
                "the fields are in schemas/mapping.schema.json, an example in schemas/mappings"
            ) from error
        self.body = self.options.embodiment
        if self.body is None and self.said.embodiment:
            self.body = embodiments.load(self.said.embodiment, self.options.store)
        if self.body is not None:
            self.body = self._with_mapping(self.body)
        self.files = list(self._files())

    @property
    def robot(self) -> str:
        """The source's own name for the body."""
        return self.said.robot or self.said.embodiment

    def sitting(self, operator: str | None) -> Sitting:
        """Return the session of an operator, made when first asked for."""
        name = operator or ""
        if name not in self.sittings:
            self.sittings[name] = sitting(
                self.path,
                self.robot,
                None,
                body=self.body,
                operator=operator,
                store=self.options.store,
                format="mapped hdf5",
                licence=self.said.licence,
            )
        return self.sittings[name]

    def _with_mapping(self, body: Embodiment) -> Embodiment:
        """Let the mapping file speak in place of the body's own `sources`, where it does."""
        own = self.said.mapping
        if not (own.channels or own.ignored or own.absent):
            return body
        if strangers := sorted(own.named_joints() - {joint.name for joint in body.joints}):
            raise ImportFailed(
                f"{self.path.name} maps to joints that {body.id} has not: {', '.join(strangers)}"
            ).with_hint("use the embodiment's names of joints, or name another embodiment")
        return body.model_copy(update={"sources": {self.robot or "mapped": own}})

    def _files(self) -> Iterator[Path]:
        root, seen = self.path.parent, set()
        for pattern in self.said.files:
            try:
                found = sorted(root.glob(_below(pattern)), key=lambda p: counted(p.as_posix()))
            except (OSError, ValueError, IndexError, NotImplementedError) as error:
                raise ImportFailed(f"{pattern!r} is no pattern of files: {error}").with_hint(
                    "write a path below the mapping file's folder, `*` for what varies"
                ) from error
            files = [path for path in found[:_MOST_FILES] if path.is_file()]
            # of the usual endings, one is enough
            if not files and "files" in self.said.model_fields_set:
                self.remarks.append(Remark("missing", f"no file fits {pattern!r}"))
            yield from (path for path in files if path not in seen)
            seen |= set(files)


def _below(pattern: str) -> str:
    """Return a path that stays below the mapping file's folder. Raises ImportFailed."""
    parts = Path(pattern).parts
    if not parts or Path(pattern).is_absolute() or ".." in parts or "\0" in pattern:
        raise ImportFailed(f"{pattern!r} is no path below the mapping file's folder").with_hint(
            "put the mapping file, or a link to the data's folder, where the paths go down"
        )
    return pattern


def _draft(source: _Source, file: Path, group: str, scratch: Path) -> Draft:
    said, options = source.said, source.options
    with hdf5.opened(file) as opened:
        episode = MappedEpisode(opened, group)
        operator = options.operator or (_text(said.operator, episode) or "")[:200] or None
        home = source.sitting(operator)
        notes = Notes(assumed=list(home.assumed))
        clocks = [said.clock, *(each.clock for each in said.streams.values())]
        clocks += [each.clock for each in said.cameras.values()]
        episode.set_zero(clock for clock in clocks if clock is not None)
        streams = _streams(source, episode, home, notes)
        videos = {} if options.numbers_only else _videos(source, episode, file, scratch, notes)
        instruction = _text(said.instruction, episode) or ""
        labels = tuple(_labels(said, episode, notes))
        factors = {name: _factor(value, episode) for name, value in said.factors.items()}
        task = options.task or slug(_text(said.task, episode) or "")
        share = episode.digest.hexdigest()
    if not task:
        task = task_id(instruction) if instruction else "unknown"
        notes.assumed.append("task: neither the mapping file nor the source names it")
    place = file.relative_to(source.path.parent).as_posix()
    notes.sha256[source.path.name] = source.sha256
    if group:
        notes.sha256[f"{place}#{group}"] = share
    else:
        notes.sha256[place] = sha256_file(file)
    if home.body is not None:
        notes.findings += mapping.doubts(streams, home.body, episode=notes.id)
    facts = Facts(
        task=task,
        instruction=instruction,
        origin=said.origin,
        recorded_at=modified(file),
        factors={**factors, **options.factors},
        provenance=made_by(
            "demos import",
            source=f"{place}{group}",
            source_format="mapped hdf5",
            source_sha256=notes.sha256,
            assumed=tuple(dict.fromkeys(notes.assumed)),
            missing=tuple(notes.missing),
            parameters={
                "source_episode": f"{file.stem}{group}",
                "mapping_file": source.path.name,
                "ignored": [*options.ignore, *said.mapping.ignored],
            },
        ),
    )
    return Draft(home.session, facts, streams, videos, (), labels, tuple(notes.findings))


def _streams(
    source: _Source, episode: MappedEpisode, home: Sitting, notes: Notes
) -> dict[str, Stream]:
    made: dict[str, Stream] = {}
    for name, said in source.said.streams.items():
        if lacking := [path for path in said.paths if not episode.has(path)]:
            notes.missing.append(f"stream {name}: {', '.join(lacking)}")
            notes.find("dataset", f"{name} is not there: {', '.join(lacking)}", stream=name)
            continue
        values = table(episode, said, name)
        clock = episode.ticks(said.clock or source.said.clock, len(values), name)
        notes.assumed += clock.assumed
        if said.role is None:
            found = {name: stream(values, said, name, clock)}
        else:
            found = joint_streams(
                joints(values, said, name, said.role),
                clock,
                home,
                ignore=source.options.ignore,
                accept_mapping=source.options.accept_mapping,
            )
        if taken := sorted(set(found) & set(made)):
            raise ImportFailed(f"two streams of the mapping file become {taken[0]}").with_hint(
                "name the datasets of one role together: `paths: [left, right]`"
            )
        made |= found
    if not made:
        raise ImportFailed("none of the streams of the mapping file are there").with_hint(
            "look at the file with `h5dump -n`, and hold its paths against the mapping file's"
        )
    return made


def _videos(
    source: _Source, episode: MappedEpisode, file: Path, scratch: Path, notes: Notes
) -> dict[str, VideoFile]:
    videos: dict[str, VideoFile] = {}
    for name, said in source.said.cameras.items():
        try:
            if said.file:
                made = _beside(source, said, episode, file, notes)
            else:
                made = _images(source, said, name, episode, scratch / f"{len(videos)}.mp4", notes)
        except DemosError as error:
            notes.missing.append(f"camera {name}: {said.path or said.file}")
            hint = error.hint or "look at the images in the source"
            notes.find("missing_video", f"no images of {name}: {error}", hint)
            continue
        seen = {"intrinsics": said.intrinsics, "pose": said.pose}
        info = made.info.model_copy(update={k: v for k, v in seen.items() if v is not None})
        videos[word(name)] = VideoFile(made.path, info, made.time_ns)
    return videos


def _images(
    source: _Source,
    said: MappedCamera,
    name: str,
    episode: MappedEpisode,
    target: Path,
    notes: Notes,
) -> VideoFile:
    from demos.store.encoding import encode

    def encode_swapped(path: Path, images: Iterable[Any], *rest: Any) -> Any:
        return encode(path, (image[:, :, ::-1] for image in images), *rest)

    place = episode.place(said.path)
    rows = len(hdf5.dataset(episode.file, place))
    clock = episode.ticks(said.clock or source.said.clock, rows, name)
    swapped = said.order == "bgr"
    made = video(
        episode.file,
        place,
        clock,
        target,
        encode_swapped if swapped else encode,
        digest=episode.digest,
    )
    if made.info.codec == "h264":
        notes.assumed.append(LOSSY.format(name))
    elif swapped:
        info = made.info.model_copy(update={"note": "red and blue are swapped"})
        return VideoFile(made.path, info, made.time_ns)
    elif made.info.codec == "mjpeg":
        notes.assumed.append(SWAPPED.format(name))
    return made


def _beside(
    source: _Source, said: MappedCamera, episode: MappedEpisode, file: Path, notes: Notes
) -> VideoFile:
    """Take a video file as it is: its images are at the clock's stamps, or at its own."""
    from demos.store.video import index_file

    group = episode.group.rsplit("/", 1)[-1]
    place = _below(said.file.replace("{stem}", file.stem).replace("{episode}", group))
    path = whole_file(source.path.parent, place)
    index = index_file(path)
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
