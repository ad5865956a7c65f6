"""rosbag2 databases (`.db3`) and ROS 1 bags (`.bag`), without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from demos.errors import ImportFailed
from demos.formats import ros_bags as bags
from demos.formats.files import is_pointer, whole_file
from demos.formats.ros_episode import Recording, draft_of
from demos.formats.ros_pictures import Film
from demos.importers import Item, Options, attempt, importers
from demos.model import Draft

_SQLITE = b"SQLite format 3\0"


@importers.adding("rosbag")
class RosBags:
    """Read rosbag2 databases and ROS 1 bags: joints, forces, poses, images and number arrays."""

    loses: ClassVar[str] = (
        "messages of types that are not listed (each named with its count); arrival times of images"
    )

    def sniff(self, path: Path) -> bool:
        """Look for a rosbag2 folder of databases, a `.db3` database or a ROS 1 bag."""
        if bags.storage_of(path) == "sqlite3":
            return True
        return _kind(path) != ""

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the one episode that a bag is."""
        kind = "db3" if bags.storage_of(path) == "sqlite3" else _kind(path)
        if not kind:
            raise ImportFailed(f"{path} is no ROS bag").with_hint(
                "name a .bag file, a .db3 file, or a rosbag2 folder with its metadata.yaml"
            )
        with TemporaryDirectory(prefix="demos-import-") as scratch:
            yield attempt(path.stem, partial(_draft, path, kind, options, Path(scratch)), 1)

    def write_example(self, path: Path) -> Path:
        """Write a rosbag2 folder of two joints, a force sensor and a camera, as rosbags does."""
        from demos.formats.ros_example import write_rosbag2

        return write_rosbag2(path / "example_bag", storage="sqlite3")


def _kind(path: Path) -> str:
    """Return `bag` or `db3` by a file's bytes; empty for whatever else."""
    suffix = path.suffix
    if bags.begins_with(path, [bags.MAGIC_ROS1]) or (suffix == ".bag" and is_pointer(path)):
        return "bag"
    if suffix == ".db3" and (bags.begins_with(path, [_SQLITE]) or is_pointer(path)):
        return "db3"
    return ""


def _draft(path: Path, kind: str, options: Options, scratch: Path) -> Draft:
    from demos.store.encoding import encode, join
    from demos.store.packets import index_file

    root, files = path.parent, [path.name]
    if path.is_dir():
        root, listed = path, bags.bag_metadata(path).get("relative_file_paths")
        files = [Path(str(each)).name for each in listed or ()]
    for file in files:
        whole_file(root, file)
    if not files:
        raise ImportFailed(f"{bags.METADATA} of {path.name} names no file").with_hint(
            "run `ros2 bag reindex` on the folder"
        )
    recording = Recording(
        name=path.stem,
        root=root,
        files=tuple(files),
        format="rosbag ros1" if kind == "bag" else "rosbag ros2",
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
    return draft_of(recording, bags.RosBag(path, kind == "bag"))
