"""What lies where in AgiBot World: episodes, and the files that speak of them.

Alpha and Beta are sorted by kind (`proprio_stats/<task>/<episode>/proprio_stats.h5`, and beside it
`observations/`, `parameters/` and `task_info/`), as their dataset cards say. The simulated
DigitalWorld has `proprio_states.h5` with names of its 34 joints; the challenges of 2025 have
`<task>/<job>/<robot>/<episode>/aligned_joints.h5` with `camera/<row>/*.jpg`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats.files import json_list, json_object

ALIGNED = "aligned_joints.h5"
FILES = ("proprio_stats.h5", "proprio_states.h5", ALIGNED)
KINDS = ("proprio_stats", "meta_info", "observations", "parameters", "task_info")
_OWN_WORDS = ("task_info.json", "data_info.json")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One episode: its file, the tree's folder, its numbers, and the robot's where it is said."""

    file: Path
    root: Path
    task: str
    id: str
    robot: str = ""

    @property
    def name(self) -> str:
        """The episode's name: task and number."""
        return f"{self.task}/{self.id}" if self.task else self.id

    def folders(self, kind: str, *below: str) -> list[Path]:
        """List where files of a kind may lie: beside the episode's file, and in the tree."""
        own, tree = self.file.parent, self.root / kind / self.task / self.id
        places = [own / name for name in below] + [tree / name for name in below] + [tree, own]
        return [place for place in dict.fromkeys(places) if place.is_dir()]

    def place(self, path: Path) -> str:
        """Return a path as its owner knows it: below the tree's folder."""
        return path.relative_to(self.root).as_posix()


def is_recording(path: Path) -> bool:
    """Say whether a path is an episode or a tree of them. Never raises."""
    try:
        first = next(_files(path), None)
        found = hdf5.places(first) if first is not None else ()
    except (OSError, ValueError):
        return False
    # a pointer, or one that is cut off, is refused by name later
    return first is not None and (not found or any(p.startswith("state/") for p in found))


def recordings(path: Path) -> list[Recorded]:
    """List the episodes below a path, by task and number. Raises ImportFailed for none."""
    found = {_recorded(file, path) for file in _files(path)}
    if not found:
        raise ImportFailed(f"{path.name} holds none of {', '.join(FILES)}").with_hint(
            "unpack the archives of proprio_stats first, then name the folder above it"
        )
    return sorted(found, key=lambda r: (*_number(r.task), *_number(r.id), r.file.as_posix()))


def words_of(recorded: Recorded, read: dict[Path, Mapping[str, Any]]) -> tuple[Path, Any] | None:
    """Find what is written of an episode: the file and the entry, None where there is nothing.

    `read` keeps the tasks' files that were read before, entries by the episode's number. Raises
    ImportFailed for a file that is damaged.
    """
    for name in _OWN_WORDS:
        path = recorded.file.parent / name
        if path.is_file():
            return path, json_object(path.parent, name)
    root, task = recorded.root, recorded.task
    files = [root / "task_info" / f"task_{task}.json", root / f"task_info_{task}.json"]
    if recorded.file.name == ALIGNED:
        files += sorted(root.glob("task_*.json"))
    for path in files:
        if path not in read and path.is_file():
            entries = json_list(path.parent, path.name)
            known = (entry for entry in entries if isinstance(entry, dict))
            read[path] = {str(entry.get("episode_id")): entry for entry in known}
        if recorded.id in read.get(path, {}):
            return path, read[path][recorded.id]
    return None


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        if path.name in FILES:
            yield path
        return
    if not path.is_dir():
        return
    direct = [path / name for name in FILES if (path / name).is_file()]
    yield from direct
    if direct:
        return
    for name in FILES:
        deep = ("*/*/*", "*/*/*/*") if name == ALIGNED else ("proprio_stats/*/*", "meta_info/*/*")
        for place in ("*", "*/*", *deep):
            yield from path.glob(f"{place}/{name}")


def _recorded(file: Path, path: Path) -> Recorded:
    episode, above = file.parent, file.parents[1]
    named = path if path.is_dir() else path.parent
    root = next((f for f in list(file.parents)[1:6] if any((f / k).is_dir() for k in KINDS)), named)
    if file.name == ALIGNED and not above.name.isdecimal() and len(file.parents) > 4:
        task = file.parents[3].name if root in file.parents[3].parents else ""
        return Recorded(file, root, task, episode.name, above.name if above != root else "")
    known = above.name.isdecimal() or root in above.parents
    return Recorded(file, root, above.name if known else "", episode.name)


def _number(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() and len(name) < 18 else (1, 0, name)
