"""rosbag2 databases (`.db3`) and ROS 1 bags (`.bag`), without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from demos.errors import ImportFailed
from demos.formats.bag_files import bag_at, kind_of
from demos.formats.ros_episode import Recording, draft_of
from demos.formats.ros_pictures import Film
from demos.importers import Item, Options, attempts, importers
from demos.model import Draft


@importers.adding("rosbag")
class RosBags:
    """Read rosbag2 databases and ROS 1 bags: joints, forces, poses, images and number arrays."""

    loses: ClassVar[str] = (
        "messages of types that are not listed (each named with its count); arrival times of images"
    )

    def sniff(self, path: Path) -> bool:
        """Look for a rosbag2 folder of databases, a `.db3` database or a ROS 1 bag."""
        return kind_of(path) in ("db3", "bag")

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the one episode that a bag is."""
        if not self.sniff(path):
            raise ImportFailed(f"{path} is no ROS bag").with_hint(
                "name a .bag file, a .db3 file, or a rosbag2 folder with its metadata.yaml"
            )
        return attempts([(path.stem, partial(_draft, path, options))])

    def write_example(self, path: Path) -> Path:
        """Write a rosbag2 folder of two joints, a force sensor and a camera, as rosbags does."""
        from demos.formats.ros_example import write_rosbag2

        return write_rosbag2(path / "example_bag", storage="sqlite3")


def _draft(path: Path, options: Options, scratch: Path) -> Draft:
    from demos.store.encoding import encode, join
    from demos.store.packets import index_file

    found = bag_at(path)
    ros = "rosbag ros1" if found.kind == "bag" else "rosbag ros2"
    film = Film(encode, join, index_file)
    return draft_of(Recording(found, ros, film, scratch, options))
