"""MCAP files with ROS messages: bags of ROS 2, of ROS 1 converted, and our own exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from demos.errors import ImportFailed
from demos.formats import ros_bags as bags
from demos.formats.files import is_pointer
from demos.formats.mcap_own import ATTACHED
from demos.formats.ros_episode import Recording, draft_of
from demos.formats.ros_pictures import Film
from demos.importers import Item, Options, attempt, importers
from demos.model import Draft

_SUFFIX = ".mcap"


@importers.adding("mcap")
class Mcap:
    """Read MCAP bags with ROS messages: joints, forces, poses, images and number arrays."""

    loses: ClassVar[str] = (
        "messages in JSON or protobuf and types that are not listed (each named with its count); "
        "arrival times of images"
    )

    def sniff(self, path: Path) -> bool:
        """Look for MCAP's first bytes in a file, in files of a folder, or in a rosbag2 folder."""
        if bags.storage_of(path) == "mcap":
            return True
        return bool(_files(path))

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield one episode a bag: a file, or a rosbag2 folder with all its files."""
        found = _bags(path)
        if not found:
            raise ImportFailed(f"{path} holds no MCAP file").with_hint(
                "name the file, the rosbag2 folder, or a folder of MCAP files"
            )
        for each in found:
            with TemporaryDirectory(prefix="demos-import-") as scratch:
                draft = partial(_draft, each, options, Path(scratch))
                yield attempt(each.name, draft, len(found))

    def write_example(self, path: Path) -> Path:
        """Write a rosbag2 folder of two joints, a force sensor and a camera, as rosbags does."""
        from demos.formats.ros_example import write_rosbag2

        return write_rosbag2(path / "example_bag", storage="mcap")


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    root: Path
    files: tuple[str, ...]


def _bags(path: Path) -> list[_Found]:
    if path.is_dir() and bags.storage_of(path) == "mcap":
        about = bags.bag_metadata(path)
        if (mode := str(about.get("compression_mode") or "none").lower()) != "none":
            raise ImportFailed(f"{path.name} is compressed by rosbag2 ({mode})").with_hint(
                "write it anew with `ros2 bag convert`, compressed by MCAP itself"
            )
        listed = about.get("relative_file_paths")
        names = [Path(str(each)).name for each in listed] if isinstance(listed, list) else []
        files = tuple(names) or tuple(each.name for each in _files(path))
        return [_Found(path.name, path, files)] if files else []
    return [_Found(each.stem, each.parent, (each.name,)) for each in _files(path)]


def _files(path: Path) -> list[Path]:
    """Return the path itself, or the files of a folder, where they are MCAP by their bytes."""
    try:
        inside = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    except (OSError, ValueError):
        return []
    return [
        each
        for each in inside
        if bags.begins_with(each, [bags.MAGIC_MCAP])
        or (each.suffix == _SUFFIX and is_pointer(each))
    ]


def _draft(found: _Found, options: Options, scratch: Path) -> Draft:
    from demos.store.encoding import encode, join
    from demos.store.packets import index_file

    recording = Recording(
        name=found.name,
        root=found.root,
        files=found.files,
        format="mcap ros",
        film=Film(encode, join, index_file),
        scratch=scratch,
        body=options.embodiment,
        task=options.task,
        operator=options.operator,
        factors=options.factors,
        ignore=options.ignore,
        accept_mapping=options.accept_mapping,
        store=options.store,
    )
    return draft_of(recording, bags.McapBag(found.root, found.files, ATTACHED))
