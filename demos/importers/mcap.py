"""MCAP files with ROS messages: bags of ROS 2, of ROS 1 converted, and our own exports."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from demos.errors import ImportFailed
from demos.formats.bag_files import BagFiles, bag_at, bags_in, kind_of
from demos.formats.ros_episode import Recording, draft_of
from demos.formats.ros_pictures import Film
from demos.importers import Item, Options, attempts, importers
from demos.model import Draft


@importers.adding("mcap")
class Mcap:
    """Read MCAP bags with ROS messages: joints, forces, poses, images and number arrays."""

    loses: ClassVar[str] = (
        "messages in JSON or protobuf and types that are not listed (each named with its count); "
        "arrival times of images"
    )

    def sniff(self, path: Path) -> bool:
        """Look for MCAP's first bytes in a file, in files of a folder, or in a rosbag2 folder."""
        return kind_of(path) == "mcap" or bool(bags_in(path))

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield one episode a bag: a file, or a rosbag2 folder with all its files."""
        found = _bags(path)
        if not found:
            raise ImportFailed(f"{path} holds no MCAP file").with_hint(
                "name the file, the rosbag2 folder, or a folder of MCAP files"
            )
        return attempts([(each.name, partial(_draft, each, options)) for each in found])

    def write_example(self, path: Path) -> Path:
        """Write a rosbag2 folder of two joints, a force sensor and a camera, as rosbags does."""
        from demos.formats.ros_example import write_rosbag2

        return write_rosbag2(path / "example_bag", storage="mcap")


def _bags(path: Path) -> list[BagFiles]:
    if kind_of(path) == "mcap":
        return [bag_at(path)]
    return [bag_at(each) for each in bags_in(path)]


def _draft(found: BagFiles, options: Options, scratch: Path) -> Draft:
    from demos.store.encoding import encode, join
    from demos.store.packets import index_file

    film = Film(encode, join, index_file)
    return draft_of(Recording(found, "mcap ros", film, scratch, options))
