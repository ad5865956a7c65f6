"""The smallest REASSEMBLE folder that has everything: one recording of half a second."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from demos.formats.lerobot_example import write_video

NAME = "2025-01-09-13-59-54"
START_S = 1_736_427_594.25
IMAGES = 8
RATES_HZ = {"joint": 100.0, "pose": 50.0, "wrench": 100.0, "gripper": 30.0}


def write_folder(root: Path) -> Path:
    """Write `data/<date>.h5` and `poses/<date>_poses.json`."""
    import h5py

    file = root / "data" / f"{NAME}.h5"
    file.parent.mkdir(parents=True)
    with TemporaryDirectory() as scratch:
        video = Path(scratch) / "hand.mp4"
        write_video(video, [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(IMAGES)], 30)
        content = video.read_bytes()
    with h5py.File(file, "w") as recording:
        for place, values in tables().items():
            recording[place] = values
        recording["hand"] = np.void(content)
        recording["hand_audio"] = np.arange(64)
    poses = root / "poses" / f"{NAME}_poses.json"
    poses.parent.mkdir()
    stands = {"Hama1": [[1.0, 0.5, 0.8], [0.0, 0.6, 0.0, 0.8]]}
    board = {"NIST_Board1": [[0.5, 0.0, 0.02], [0.0, 0.0, 0.0, 1.0]]}
    poses.write_text(json.dumps(stands | board))
    return root


def tables() -> dict[str, Any]:
    """Return all datasets but the blobs, streams of different lengths as ROS delivers them."""
    made: dict[str, Any] = {}

    def stream(name: str, rate_hz: float, values: Any, late_s: float = 0.0) -> None:
        made[f"robot_state/{name}"] = values
        stamps = START_S + late_s + np.arange(len(values)) / rate_hz
        made[f"timestamps/{name}"] = stamps[:, None]

    fast, slow = np.arange(50)[:, None], np.arange(25)[:, None]
    stream("joint_positions", RATES_HZ["joint"], np.sin(0.02 * fast + np.arange(7)))
    stream("joint_velocities", RATES_HZ["joint"], np.cos(0.02 * fast + np.arange(7)))
    stream("joint_efforts", RATES_HZ["joint"], 0.1 * fast + np.arange(7))
    stream("measured_force", RATES_HZ["wrench"], 0.1 * fast + np.array([0.0, 1.0, -5.0]), 0.003)
    stream("measured_torque", RATES_HZ["wrench"], 0.01 * fast + np.zeros(3), 0.003)
    stream("gripper_positions", RATES_HZ["gripper"], np.full((15, 2), 0.04), 0.01)
    turn = np.tile([0.8, 0.0, 0.6, 0.0], (25, 1))  # wxyz
    stream(
        "pose", RATES_HZ["pose"], np.hstack([0.3 + 0.001 * slow, 0 * slow, 0.4 + 0 * slow, turn])
    )
    made["timestamps/hand"] = START_S + 0.02 + np.arange(IMAGES) / 30
    made["events"] = np.array([[3, 4, 1], [5, 6, 0], [7, 8, 1]])
    made["timestamps/events"] = START_S + np.array([0.1, 0.1, 0.2])
    for place, start, end, text in (
        ("0", 0.0, 0.1, "No action."),
        ("1", 0.1, 0.4, "Pick round peg 1."),
        ("1/low_level/0", 0.1, 0.2, "Approach"),
        ("1/low_level/1", 0.2, 0.4, "Grasp"),
    ):
        group = f"segments_info/{place}"
        made |= {f"{group}/start": START_S + start, f"{group}/end": START_S + end}
        made |= {f"{group}/success": True, f"{group}/text": text}
        if "low_level" not in place:
            made[f"{group}/index"] = int(place)
    return made
