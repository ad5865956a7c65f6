"""Where everything lies inside a store. Nothing here touches the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import quote

FORMAT_VERSION = 1
Container = Literal["zarr", "hdf5"]
MANIFEST = "manifest.json"
TOMBSTONE = "tombstone.json"
STORE_FILE = "store.json"
LOG = "recording.log"
SIGNALS: dict[Container, str] = {"zarr": "signals.zarr.zip", "hdf5": "signals.h5"}
FOLDERS = (
    "embodiments",
    "tasks",
    "plans",
    "sessions",
    "episodes",
    "labels",
    "results",
    "selections",
    "recordings",
    "uploads",
    "ledger",
    "cache",
)
PUBLISHED = ("sessions", "episodes", "labels", "results", "selections")
"""Folders in which every file is in a ledger."""

EDITABLE = ("embodiments", "tasks", "plans")
"""Folders of YAML that people edit; only the kept copies `<name>@<hash>.yaml` are in a ledger."""


def episode_dir(root: Path, episode: str) -> Path:
    """`episodes/<xx>/<ulid>/`, <xx> the last two characters: 1,024 folders at most."""
    return root / "episodes" / episode[-2:] / episode


def label_dir(root: Path, episode: str) -> Path:
    """`labels/<xx>/<episode>/`."""
    return root / "labels" / episode[-2:] / episode


def label_file(root: Path, episode: str, label: str) -> Path:
    """`labels/<xx>/<episode>/<ulid>.json`."""
    return label_dir(root, episode) / f"{label}.json"


def session_file(root: Path, session: str) -> Path:
    """`sessions/<ulid>.json`."""
    return root / "sessions" / f"{session}.json"


def recording_dir(root: Path, recording: str) -> Path:
    """`recordings/<ulid>/`: an episode being recorded or published."""
    return root / "recordings" / recording


def selection_file(root: Path, name: str, number: int) -> Path:
    """`selections/<name>@<n>.json`."""
    return root / "selections" / f"{name}@{number}.json"


def result_file(root: Path, kind: str, run: str, part: str) -> Path:
    """`results/<kind>/<run>/part-<part>.parquet`."""
    return root / "results" / kind / run / f"part-{part}.parquet"


def used_file(root: Path, folder: str, name: str, sha256: str) -> Path:
    """`tasks/<name>@<hash>.yaml`: the very bytes an episode used, kept beside the editable one."""
    return root / folder / f"{name}@{sha256[:12]}.yaml"


def video_name(camera: str, suffix: str = ".mp4") -> str:
    """`<camera>.mp4`; characters that a file name cannot have are percent-encoded."""
    return quote(camera, safe=" ()+,=@[]") + suffix


def relative(root: Path, path: Path) -> str:
    """Return a path as a ledger names it: from the store's root, with forward slashes."""
    return path.relative_to(root).as_posix()
