"""The smallest AgiBot World tree that has everything: one episode of eight rows, one camera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from demos.formats.lerobot_example import write_video

ROWS = 8
TASK, EPISODE = "327", "648642"
START_NS = 1_740_109_484_562_531_000
UNSENT = (0, 1)


def write_tree(root: Path) -> Path:
    """Write `proprio_stats`, `observations`, `parameters` and `task_info` of one episode."""
    import h5py

    place = Path(TASK) / EPISODE
    proprio = root / "proprio_stats" / place / "proprio_stats.h5"
    proprio.parent.mkdir(parents=True)
    with h5py.File(proprio, "w") as file:
        for name, values in tables(ROWS).items():
            file[name] = values
    videos = root / "observations" / place / "videos"
    videos.mkdir(parents=True)
    images = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(ROWS)]
    write_video(videos / "head_color.mp4", images, 30)
    lens = root / "parameters" / place / "parameters" / "camera" / "head_intrinsic_params.json"
    lens.parent.mkdir(parents=True)
    numbers = {"fx": 60.5, "fy": 60.0, "ppx": 32.0, "ppy": 24.0, "k1": 0.1, "k2": -0.05}
    lens.write_text(json.dumps({"intrinsic": numbers}))
    words = root / "task_info" / f"task_{TASK}.json"
    words.parent.mkdir()
    words.write_text(json.dumps([entry()], indent=1))
    return root


def entry() -> dict[str, Any]:
    """Return what `task_info` says of the episode."""
    actions = [
        {"start_frame": 1, "end_frame": 4, "action_text": "Retrieve cucumber.", "skill": "Pick"},
        {"start_frame": 4, "end_frame": 8, "action_text": "Place it in the bag.", "skill": "Place"},
    ]
    return {
        "episode_id": int(EPISODE),
        "task_name": "Pickup items in the supermarket",
        "init_scene_text": "The robot is in front of the fruit stand.",
        "label_info": {"action_config": actions},
    }


def tables(rows: int) -> dict[str, Any]:
    """Return the datasets of a real robot's file, placeholders of no rows included."""
    step = np.arange(rows)[:, None]
    turn = np.tile(np.array([0.0, 0.0, 0.6, 0.8]), (rows, 2, 1))
    flange = np.stack([0.3 + 0.01 * step * [1, 0, 0], 0.4 + 0.01 * step * [0, 1, 0]], axis=1)
    joints = np.sin(0.1 * step + np.arange(14))
    sent = np.setdiff1d(np.arange(rows), UNSENT)
    nothing = np.zeros(0, np.float32)
    return {
        "timestamp": START_NS + 33_333_333 * np.arange(rows),
        "state/joint/position": joints,
        "state/joint/current_value": np.round(100 * joints),
        "state/joint/velocity": nothing,
        "state/joint/effort": nothing,
        "state/effector/position": np.hstack([35.0 + step, 120.0 - step]),
        "state/effector/force": nothing,
        "state/end/position": flange,
        "state/end/orientation": turn,
        "state/end/wrench": nothing,
        "state/head/position": np.hstack([0.01 * step, -0.02 * step]),
        "state/waist/position": np.hstack([0.3 + 0 * step, 0.25 + 0.001 * step]),
        "state/robot/position": np.hstack([0.1 * step, 0 * step, 0 * step]),
        "state/robot/orientation": turn[:, 0],
        "action/joint/position": joints + 0.01,
        "action/joint/index": sent,
        "action/effector/position": np.hstack([step / rows, 1 - step / rows]),
        "action/effector/index": np.arange(rows),
        "action/end/position": flange,
        "action/end/orientation": turn,
        "action/end/index": sent,
        "action/head/position": np.hstack([0.01 * step, -0.02 * step]),
        "action/head/index": np.arange(rows),
        "action/robot/velocity": np.hstack([0.1 + 0 * step, 0 * step]),
        "action/robot/index": np.arange(rows),
    }
