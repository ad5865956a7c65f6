"""AgiBot World trees for tests, laid out as its dataset cards say; no original is at hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from demos.formats.agibot_example import EPISODE, TASK, entry, tables
from demos.formats.lerobot_example import write_video

Tables = dict[str, Any]
ROWS = 120
SIM_JOINTS = (
    "joint_lift_body",
    "joint_body_pitch",
    "joint_head_yaw",
    "joint_head_pitch",
    *(f"Joint{n}_{side}" for n in range(1, 8) for side in "lr"),
    *(f"finger_{n}" for n in range(16)),
)


def write(
    root: Path,
    change: Callable[[Tables], object] | None = None,
    *,
    rows: int = ROWS,
    task: str = TASK,
    episode: str = EPISODE,
    words: Any = None,
    videos: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Write one episode of a real robot into a tree; `change` alters its datasets.

    words: the list in task_info, the example's entry where None. videos: stem to images.
    """
    content = tables(rows)
    if change is not None:
        change(content)
    put(root / "proprio_stats" / task / episode / "proprio_stats.h5", content)
    info = root / "task_info" / f"task_{task}.json"
    info.parent.mkdir(exist_ok=True)
    said = [entry() | {"episode_id": int(episode)}] if words is None else words
    info.write_text(said if isinstance(said, str) else json.dumps(said))
    folder = root / "observations" / task / episode / "videos"
    folder.mkdir(parents=True)
    for stem, count in ({"head_color": rows} if videos is None else videos).items():
        film(folder / f"{stem}.mp4", count)
    for name, plain in (parameters or {}).items():
        path = root / "parameters" / task / episode / "parameters" / "camera" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain))
    return root


def put(
    path: Path, content: Mapping[str, Any], names: Mapping[str, tuple[str, ...]] | None = None
) -> Path:
    """Write datasets, and the attribute `name` of groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for place, values in content.items():
            file[place] = values
        for group, said in (names or {}).items():
            file[group].attrs["name"] = np.array(said, dtype=h5py.string_dtype())
    return path


def film(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [np.full((48, 64, 3), 2 * n % 250, np.uint8) for n in range(count)], 30)


def digital_world(rows: int = ROWS) -> Tables:
    """Return a simulated episode: names of 34 joints, wxyz, a clock of 60 ticks a second."""
    step = np.arange(rows, dtype=np.float32)[:, None]
    joints = np.sin(0.05 * step + np.arange(34)).astype(np.float32)
    turn = np.tile(np.array([0.8, 0.6, 0.0, 0.0], np.float32), (rows, 2, 1))
    place = np.stack([12.9 + 0.01 * step * np.ones(3), 12.3 + 0 * step * np.ones(3)], axis=1)
    nothing = np.zeros(0, np.float32)
    return {
        "timestamp": (0.2083333 + np.arange(rows) / 60).astype(np.float32),
        "state/joint/position": joints,
        "state/joint/velocity": np.gradient(joints, axis=0),
        "state/joint/effort": joints * 0,
        "state/joint/current_value": nothing,
        "state/effector/position": np.hstack([120 + step, 239 - step]),
        "state/effector/force": np.zeros(rows, np.float32),
        "state/effector/index": np.arange(rows, dtype=np.float32),
        "state/end/position": place.astype(np.float32),
        "state/end/orientation": turn,
        "state/end/wrench": nothing,
        "state/robot/position": np.tile(np.array([12.95, 12.3, 0.1], np.float32), (rows, 1)),
        "state/robot/orientation": turn[:, 0],
        "action/joint/position": joints,
        "action/effector/position": np.hstack([120 + step, 239 - step]),
        "action/effector/index": np.arange(rows, dtype=np.float32),
        "action/robot/velocity": np.zeros(rows, np.float32),
    }


SIM_NAMES = {
    "state/joint": SIM_JOINTS,
    "action/joint": SIM_JOINTS,
    "state/robot": ("A2D_fixed",),
    "state/effector": ("left", "right"),
}
