"""Which files a bag is: an MCAP file, a rosbag2 database, a ROS 1 bag, or a rosbag2 folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from demos.errors import ImportFailed, SchemaMismatch
from demos.formats.files import is_pointer
from demos.schema import plain_yaml

MAGIC_MCAP = b"\x89MCAP0\r\n"
_MAGIC_ROS1 = b"#ROSBAG V2.0"
_MAGIC_SQLITE = b"SQLite format 3\0"
METADATA = "metadata.yaml"

Kind = Literal["mcap", "db3", "bag"]
_STORAGES: dict[str, Kind] = {"mcap": "mcap", "sqlite3": "db3"}


@dataclass(frozen=True, slots=True)
class BagFiles:
    """One bag: the folder or file that it is, its kind, and its files below a folder."""

    path: Path
    kind: Kind
    root: Path
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.path.name if self.path.is_dir() else self.path.stem


def kind_of(path: Path) -> Kind | None:
    """Say which kind of bag a file or a rosbag2 folder is, by its bytes; None for whatever else.

    A file that Git LFS left in place of a bag counts as one by its name. Never raises.
    """
    if (storage := _storage_of(path)) in _STORAGES:
        return _STORAGES[storage]
    if _begins_with(path, MAGIC_MCAP):
        return "mcap"
    if _begins_with(path, _MAGIC_ROS1):
        return "bag"
    # other programs keep SQLite databases too
    if path.suffix == ".db3" and (_begins_with(path, _MAGIC_SQLITE) or is_pointer(path)):
        return "db3"
    if path.suffix in (".mcap", ".bag") and is_pointer(path):
        return "mcap" if path.suffix == ".mcap" else "bag"
    return None


def bags_in(folder: Path) -> list[Path]:
    """List the MCAP files in a folder; empty for what is no folder. Never raises."""
    try:
        inside = sorted(folder.glob("*.mcap")) if folder.is_dir() else []
    except (OSError, ValueError):
        return []
    return [each for each in inside if kind_of(each) == "mcap"]


def bag_at(path: Path) -> BagFiles:
    """Return the files of the bag at `path`. Raises ImportFailed where they are not whole."""
    kind = kind_of(path)
    if kind is None:
        raise ImportFailed(f"{path.name} is no bag").with_hint(
            "name an .mcap, .bag or .db3 file, or a rosbag2 folder with its metadata.yaml"
        )
    if not path.is_dir():
        return BagFiles(path, kind, path.parent, (path.name,))
    about = _metadata(path)
    mode = str(about.get("compression_mode") or "none").lower()
    if kind == "mcap" and mode != "none":  # rosbags reads compressed databases
        raise ImportFailed(f"{path.name} is compressed by rosbag2 ({mode})").with_hint(
            "write it anew with `ros2 bag convert`, compressed by MCAP itself"
        )
    listed = about.get("relative_file_paths")
    files = [Path(str(each)).name for each in listed] if isinstance(listed, list) else []
    if not files:
        files = sorted(each.name for each in path.glob(f"*.{kind}"))
    if not files:
        raise ImportFailed(f"{path.name} holds no file of a bag").with_hint(
            "run `ros2 bag reindex` on the folder, or copy it whole"
        )
    return BagFiles(path, kind, path, tuple(files))


def _metadata(folder: Path) -> dict[str, Any]:
    """Read what `metadata.yaml` says of a rosbag2 folder; empty where it says nothing of one."""
    try:
        told = plain_yaml((folder / METADATA).read_bytes(), where=METADATA)
    except (OSError, ValueError, SchemaMismatch):
        return {}
    about = told.get("rosbag2_bagfile_information") if isinstance(told, dict) else None
    return about if isinstance(about, dict) else {}


def _storage_of(folder: Path) -> str:
    """Return the storage that a rosbag2 folder names (`mcap`, `sqlite3`); empty for none."""
    try:
        if not (folder / METADATA).is_file():
            return ""
        with (folder / METADATA).open("rb") as file:
            head = file.read(65536)
    except (OSError, ValueError):
        return ""
    named = re.search(rb"storage_identifier:\s*[\"']?(\w+)", head)
    return named[1].decode() if named and b"rosbag2_bagfile_information" in head else ""


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except (OSError, ValueError):
        return False
