"""Where everything lies inside a store. Nothing here touches the disk."""

from __future__ import annotations

from pathlib import Path

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
STORE_FILE = "store.json"
SIGNALS = {"zarr": "signals.zarr.zip", "hdf5": "signals.h5"}
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


def episode_dir(root: Path, episode: str) -> Path:
    """`episodes/<xx>/<ulid>/`, <xx> the last two characters: 1,024 folders at most."""
    return root / "episodes" / episode[-2:] / episode


def label_dir(root: Path, episode: str) -> Path:
    """`labels/<xx>/<episode>/`."""
    return root / "labels" / episode[-2:] / episode


def session_file(root: Path, session: str) -> Path:
    """`sessions/<ulid>.json`."""
    return root / "sessions" / f"{session}.json"


def recording_dir(root: Path, recording: str) -> Path:
    """`recordings/<ulid>/`: an episode being recorded."""
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
