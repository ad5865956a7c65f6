"""The layout of LeRobot folders of v2.0, v2.1 and v3.0: which file holds which episode.

Only metadata is read here. Metadata of real folders lies now and then (cameras that do not
exist, a split of 100 beside five episodes, copies of a part): what lies on the disk counts, and
every contradiction is told in words. A template such as `data_path` is filled in only where it
stays below the folder. Written after LeRobot 0.4.4 (v3.0) and folders of NVIDIA GR00T (v2.0) and
Unitree (v2.1); lerobot itself is not needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from demos.errors import DemosError, ImportFailed
from demos.formats.files import json_lines, json_object
from demos.formats.parquet import parquet_rows

VERSIONS = ("v2.0", "v2.1", "v3.0")
INFO = "meta/info.json"
MOST_EPISODES = 1_000_000
_TEMPLATE_FIELD = re.compile(r"\{(\w+)(?::0?(\d))?d?\}")
_V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_V3_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_V3_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column or camera: a name per channel or none, or words that an annotation counts."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Info:
    """What `meta/info.json` says. `total_episodes` is None where it does not say."""

    version: str
    robot_type: str
    fps: float
    total_episodes: int | None
    total_videos: int | None
    chunks_size: int
    features: Mapping[str, Feature]
    splits: Mapping[str, str]
    data_path: str
    video_path: str

    @property
    def cameras(self) -> tuple[str, ...]:
        """The features that are videos."""
        return tuple(name for name, f in self.features.items() if f.dtype == "video")


@dataclass(frozen=True, slots=True)
class Segment:
    """Where the images of one camera lie: a whole file, or [from_s, to_s) of one."""

    path: str
    from_s: float | None = None
    to_s: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode: its parquet file, what the metadata says of it, and its videos."""

    index: int
    data: str
    length: int | None = None
    tasks: tuple[str, ...] = ()
    videos: Mapping[str, Segment] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The episode's name as LeRobot writes it."""
        return episode_name(self.index)


@dataclass(frozen=True, slots=True)
class Survey:
    """What the metadata of a folder says, held against the files that are there.

    entries: the episodes whose data file is there. absent: promised, with no data file.
    contradictions: where metadata and files disagree, in words.
    unseen: cameras of which no file at all is there. tasks, subtasks: index to text.
    modality: GR00T's `meta/modality.json`, or empty.
    """

    info: Info
    entries: tuple[Entry, ...]
    absent: tuple[int, ...]
    contradictions: tuple[str, ...]
    unseen: frozenset[str]
    tasks: Mapping[int, str]
    subtasks: Mapping[int, str]
    modality: Mapping[str, Any]


def episode_name(index: int) -> str:
    """Name an episode as LeRobot's v2 files do."""
    return f"episode_{index:06d}"


def survey(root: Path) -> Survey:
    """Read a folder's metadata and list its files. Raises ImportFailed."""
    said: list[str] = []
    info = read_info(root, said)
    v3 = info.version.startswith("v3")
    entries, absent = (_v3_entries if v3 else _v2_entries)(root, info, said)
    tasks = _words(root, "task", said, v3=v3)
    subtasks = _words(root, "subtask", said, v3=v3)
    modality: dict[str, Any] = {}
    if (root / "meta/modality.json").exists():
        try:
            modality = json_object(root, "meta/modality.json")
        except DemosError as error:
            said.append(str(error))
    _hold_splits_against(info, len(entries) + len(absent), said)
    seen = {key: _seen(root, key, entries) for key in info.cameras}
    unseen = frozenset(key for key, files in seen.items() if not files)
    if info.total_videos is not None and sum(seen.values()) > info.total_videos:
        said.append(f"{INFO} says {info.total_videos} videos, here are {sum(seen.values())}")
    said.extend(f"{INFO} lists the camera {key}, of which there is no file" for key in unseen)
    return Survey(info, entries, absent, tuple(said), unseen, tasks, subtasks, modality)


def read_info(root: Path, said: list[str]) -> Info:
    """Read `meta/info.json`; oddities that do no harm are appended to `said`."""
    plain = json_object(root, INFO)
    version = plain.get("codebase_version")
    if version not in VERSIONS:
        raise ImportFailed(f"{INFO} says codebase_version {version!r}").with_hint(
            f"this release reads {', '.join(VERSIONS)}; convert the folder with LeRobot's tools"
        )
    fps = _number(plain.get("fps"))
    if fps is None or not 0 < fps <= 1e6:
        raise _wrong("fps", plain.get("fps"), "a positive number")
    total = plain.get("total_episodes")
    if total is not None and _count(total) is None:
        said.append(f"{INFO} says total_episodes {total!r}, which is no count up to a million")
    chunks_size = _count(plain.get("chunks_size")) or 1000
    features = plain.get("features")
    if not isinstance(features, dict):
        raise _wrong("features", features, "a mapping of column names")
    splits = plain.get("splits")
    v3 = version.startswith("v3")
    return Info(
        version=version,
        robot_type=str(plain.get("robot_type") or "")[:200],
        fps=fps,
        total_episodes=_count(total),
        total_videos=_count(plain.get("total_videos")),
        chunks_size=chunks_size,
        features={name: _feature(name, feature, said) for name, feature in features.items()},
        splits={k: str(v) for k, v in splits.items()} if isinstance(splits, dict) else {},
        data_path=str(plain.get("data_path") or (_V3_DATA if v3 else _V2_DATA)),
        video_path=str(plain.get("video_path") or (_V3_VIDEO if v3 else _V2_VIDEO)),
    )


def split_of(info: Info, index: int) -> str:
    """Name the split that holds an episode, or an empty string; ranges are `start:end`."""
    for name, text in info.splits.items():
        bounds = _range(text)
        if bounds and bounds[0] <= index < bounds[1]:
            return name
    return ""


def filled(template: str, **values: int | str) -> str:
    """Fill a path template such as `data/chunk-{chunk_index:03d}/...`.

    Only plain fields with at most nine digits are filled. Raises ImportFailed where the
    template asks for anything else or the path would leave the folder.
    """

    def put(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            raise _bad_template(template)
        return f"{value:0{match[2] or 1}d}" if isinstance(value, int) else value

    path = _TEMPLATE_FIELD.sub(put, template)
    parts = PurePosixPath(path).parts
    if not parts or set(path) & set("{}\0") or ".." in parts or path.startswith("/"):
        raise _bad_template(template)
    return path


def _v2_entries(
    root: Path, info: Info, said: list[str]
) -> tuple[tuple[Entry, ...], tuple[int, ...]]:
    rows: dict[int, dict[str, Any]] = {}
    try:
        lines, problems = json_lines(root, "meta/episodes.jsonl")
    except DemosError as error:
        lines, problems = [], [str(error)]
    said.extend(problems)
    for row in lines:
        index = _count(row.get("episode_index"))
        if index is None or index in rows:
            said.append(f"meta/episodes.jsonl has a line without an episode of its own: {index}")
        else:
            rows[index] = row
    here = _files_by_index(root, info.data_path)
    promised = set(range(info.total_episodes or 0)) | set(rows)
    for index in sorted(set(here) - promised):
        said.append(f"{here[index]} is there, but the metadata does not speak of it")
    entries = []
    for index in sorted(here):
        row = rows.get(index, {})
        place = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        videos = {
            key: Segment(filled(info.video_path, video_key=key, **place)) for key in info.cameras
        }
        length, tasks = _count(row.get("length")), _texts(row.get("tasks"))
        entries.append(Entry(index, here[index], length, tasks, videos))
    return tuple(entries), tuple(sorted(promised - set(here)))


def _files_by_index(root: Path, template: str) -> dict[int, str]:
    filled(template, episode_chunk=0, episode_index=0)
    pieces = _TEMPLATE_FIELD.split(template)
    pattern = "".join(
        re.escape(piece) if n % 3 == 0 else _digits(piece) if n % 3 == 1 else ""
        for n, piece in enumerate(pieces)
    )
    top = PurePosixPath(template).parts[0]
    found: dict[int, str] = {}
    for path in sorted((root / top).rglob("*")) if "{" not in top else []:
        place = path.relative_to(root).as_posix()
        match = re.fullmatch(pattern, place)
        if match and (index := _count(int(match["episode_index"]))) is not None:
            found.setdefault(index, place)
    return found


def _digits(name: str | None) -> str:
    return r"(?P<episode_index>\d{1,9})" if name == "episode_index" else r"\d{1,9}"


def _v3_entries(
    root: Path, info: Info, said: list[str]
) -> tuple[tuple[Entry, ...], tuple[int, ...]]:
    files = sorted(
        path.relative_to(root).as_posix() for path in (root / "meta/episodes").rglob("*.parquet")
    )
    if not files:
        raise ImportFailed("meta/episodes holds no parquet file").with_hint(
            "copy the folder whole; a recording that was cut before LeRobot's finalize() has none"
        )
    entries: dict[int, Entry] = {}
    for file in files:
        for row in parquet_rows(root, file, lambda name: not name.startswith("stats/")):
            entry = _v3_entry(info, row)
            if entry is None or entry.index in entries:
                said.append(f"{file} has a row that is no episode of its own")
            else:
                entries[entry.index] = entry
    absent = set(range(info.total_episodes or 0)) - set(entries)
    there = {e.data: (root / e.data).exists() for e in entries.values()}
    absent |= {index for index, entry in entries.items() if not there[entry.data]}
    here = [entries[index] for index in sorted(entries) if there[entries[index].data]]
    return tuple(here), tuple(sorted(absent))


def _v3_entry(info: Info, row: Mapping[str, Any]) -> Entry | None:
    index = _count(row.get("episode_index"))
    place = _chunk_and_file(row, "data")
    if index is None or place is None:
        return None
    videos = {}
    for key in info.cameras:
        lies = _chunk_and_file(row, f"videos/{key}")
        from_s = _number(row.get(f"videos/{key}/from_timestamp"))
        to_s = _number(row.get(f"videos/{key}/to_timestamp"))
        if lies and from_s is not None and to_s is not None:
            videos[key] = Segment(filled(info.video_path, video_key=key, **lies), from_s, to_s)
    data = filled(info.data_path, **place)
    return Entry(index, data, _count(row.get("length")), _texts(row.get("tasks")), videos)


def _chunk_and_file(row: Mapping[str, Any], prefix: str) -> dict[str, int] | None:
    chunk = _count(row.get(f"{prefix}/chunk_index"))
    file = _count(row.get(f"{prefix}/file_index"))
    return None if chunk is None or file is None else {"chunk_index": chunk, "file_index": file}


def _words(root: Path, kind: str, said: list[str], *, v3: bool) -> dict[int, str]:
    # v3.0 keeps the text in the pandas index, which pyarrow shows as `__index_level_0__`
    place = f"meta/{kind}s.{'parquet' if v3 else 'jsonl'}"
    if kind == "subtask" and not (root / place).exists():
        return {}
    try:
        if v3:
            rows = parquet_rows(root, place)
        else:
            rows, problems = json_lines(root, place)
            said.extend(problems)
    except DemosError as error:
        said.append(str(error))
        return {}
    words = {}
    for row in rows:
        index = _count(row.get(f"{kind}_index"))
        text = row.get(kind, row.get("__index_level_0__"))
        if index is None or not isinstance(text, str):
            said.append(f"{place} has a row without {kind}_index and text")
        else:
            words[index] = text
    return words


def _seen(root: Path, camera: str, entries: Iterable[Entry]) -> int:
    places = {entry.videos[camera].path for entry in entries if camera in entry.videos}
    return sum((root / place).exists() for place in places)


def _hold_splits_against(info: Info, known: int, said: list[str]) -> None:
    for name, text in info.splits.items():
        bounds = _range(text)
        if bounds is None:
            said.append(f"{INFO} says split {name!r} is {text!r}, which is no range of episodes")
        elif bounds[1] > known:
            said.append(
                f"{INFO} says split {name!r} reaches episode {bounds[1] - 1}; "
                f"it speaks of {known} episodes elsewhere"
            )


def _feature(name: str, plain: object, said: list[str]) -> Feature:
    given = plain if isinstance(plain, dict) else {}
    shape = given.get("shape")
    sizes = tuple(_count(n) for n in shape) if isinstance(shape, list) else (None,)
    known = tuple(n for n in sizes if n is not None) if None not in sizes else ()
    dtype = str(given.get("dtype"))
    names = tuple(_flat_names(given.get("names")))
    words = names if name.startswith("annotation.") and known == (1,) else ()
    if words or dtype in ("video", "image"):
        names = ()
    elif names and len(names) != math.prod(known):
        said.append(f"{INFO} gives {len(names)} names to the {math.prod(known)} values of {name}")
        names = ()
    return Feature(name, dtype, known, names, words)


def _flat_names(names: object, depth: int = 4) -> Iterable[str]:
    # seen: a list, a list in a list (Unitree), {"motors": [...]} and {"delta_x": 0, ...} (LeRobot)
    if isinstance(names, str):
        yield names
    elif isinstance(names, dict) and all(isinstance(n, int) for n in names.values()):
        yield from sorted(names, key=lambda name: names[name])
    elif isinstance(names, list | dict) and depth:
        for part in names.values() if isinstance(names, dict) else names:
            yield from _flat_names(part, depth - 1)


def _range(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    return (int(match[1]), int(match[2])) if match else None


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_EPISODES else None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e12:
        return None
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(t for t in value if isinstance(t, str)) if isinstance(value, list) else ()


def _wrong(name: str, value: object, expected: str) -> ImportFailed:
    return ImportFailed(f"{INFO} says {name} {value!r:.80}; {expected} is needed").with_hint(
        "compare with the folder's source; the file was damaged or edited"
    )


def _bad_template(template: str) -> ImportFailed:
    return ImportFailed(f"{INFO} has a path we do not follow: {template!r:.120}").with_hint(
        "paths are like 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet'"
    )
