"""Read an exported LeRobot v3.0 folder for tests, with pyarrow and PyAV only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import demos
from demos.exporters import ExportReport
from demos.formats import lerobot_v30
from demos.importers import import_source
from demos.library import Episode

CAMERA = "observation.images.egocentric"


def sent(store: demos.Store, path: Path, **wanted: Any) -> ExportReport:
    return store.select("").export(path, to="lerobot", **wanted)


def info_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "meta/info.json").read_text())
    return found


def rows_of(root: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(root / "data")
    return {name: np.array(table.column(name).to_pylist()) for name in table.column_names}


def episodes_of(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(root / "meta/episodes").to_pylist()
    return found


def images_of(root: Path, episode: int, camera: str = CAMERA) -> np.ndarray:
    """Decode what LeRobot shows at each step of an episode: the image at from + k / fps."""
    import av

    row = episodes_of(root)[episode]
    file = lerobot_v30.video_path(root, camera, row[f"videos/{camera}/file_index"])
    with av.open(str(file)) as container:
        shown = [
            (float(image.pts * image.time_base), image.to_ndarray(format="rgb24"))
            for image in container.decode(video=0)
        ]
    stamps = np.array([stamp for stamp, _ in shown])
    wanted = (
        row[f"videos/{camera}/from_timestamp"] + np.arange(row["length"]) / info_of(root)["fps"]
    )
    nearest = np.abs(stamps[None] - wanted[:, None]).argmin(axis=1)
    assert np.abs(stamps[nearest] - wanted).max() < 1e-5
    return np.stack([shown[n][1] for n in nearest])


def back(root: Path, folder: Path) -> dict[str, Episode]:
    """Import a folder again: its episodes by LeRobot's name."""
    again = demos.open(folder, container="zarr")
    found = import_source(root, again)
    assert (found.skipped, found.missing, found.contradictions) == ((), (), ())
    return {name: again[episode] for name, episode in found.episodes}
