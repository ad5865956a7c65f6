"""DROID trajectories for tests, laid out as its recorder's source does; no original is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from demos.formats.droid_example import EXTERIOR, WRIST, attributes, rows, timestep
from demos.formats.lerobot_example import write_video

Tables = dict[str, Any]
STEPS = 90


def tables(steps: int = STEPS) -> Tables:
    """Stack what the recorder hands its writer step by step."""
    written: dict[str, list[Any]] = {}
    for step in range(steps):
        for place, row in rows(timestep(step, steps)):
            written.setdefault(place, []).append(row)
    return {place: np.stack(values) for place, values in written.items()}


def write(
    folder: Path,
    change: Callable[[Tables], object] | None = None,
    *,
    steps: int = STEPS,
    images: Mapping[str, int] | None = None,
    without: Sequence[str] = (),
    **said: Any,
) -> Path:
    """Write one trajectory; `change` alters its datasets, `said` its attributes (None: left out).

    images: file stem to number of images, of cameras that play at 60 images a second.
    """
    folder.mkdir(parents=True)
    content = tables(steps)
    if change is not None:
        change(content)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        for place, values in content.items():
            if not place.startswith(tuple(without)):
                file[place] = values
        for name, value in (attributes() | said).items():
            if value is not None:
                file.attrs[name] = value
    videos = folder / "recordings" / "MP4"
    videos.mkdir(parents=True)
    counts = {WRIST: steps, EXTERIOR: steps} if images is None else images
    for stem, count in counts.items():
        pictures = [np.full((48, 64, 3), 2 * n % 250, np.uint8) for n in range(count)]
        write_video(videos / f"{stem}.mp4", pictures, 60)
    return folder
