"""The smallest DROID trajectory that has everything: eight steps, two cameras, a pause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from demos.formats.lerobot_example import write_video

STEPS = 8
START_MS = 1_688_722_943_000
WRIST, EXTERIOR = "14436910", "22008760"
STOPPED = (3, 4)
TASK = "Put the marker in the cup"


def write_trajectory(folder: Path) -> Path:
    """Write `trajectory.h5` step by step, as DROID's TrajectoryWriter does, and its videos."""
    import h5py

    folder.mkdir(parents=True)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        for name, value in attributes().items():
            file.attrs[name] = value
        for step in range(STEPS):
            for place, row in rows(timestep(step)):
                append(file, place, row)
    videos = folder / "recordings" / "MP4"
    videos.mkdir(parents=True)
    for serial in (WRIST, EXTERIOR):
        images = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(STEPS)]
        write_video(videos / f"{serial}.mp4", images, 60)
    return folder


def attributes() -> dict[str, Any]:
    """Return what the recorder's window knows of a trajectory."""
    return {
        "user": "Ada Lovelace",
        "building": "Hall 2",
        "scene_id": 4711,
        "current_task": TASK,
        "robot_serial_number": "panda-295341-1325480",
        "version_number": "1.1",
        "time": "Fri_Jul__7_09:42:23_2023",
        "success": True,
        "failure": False,
        "movement_enabled": True,
        "controller_on": True,
    }


def timestep(step: int, of: int = STEPS) -> dict[str, Any]:
    """Return what the recorder hands its writer at a step, 67 ms after the one before."""
    now = START_MS + 67 * step
    joints = np.sin(0.1 * step + np.arange(7)).tolist()
    place = [0.4, 0.01 * step, 0.3, 3.0, -0.1, 0.02 * step]
    cameras = {}
    for number, serial in enumerate((WRIST, EXTERIOR)):
        cameras[f"{serial}_read_start"] = now + 6 + 10 * number
        cameras[f"{serial}_read_end"] = now + 12 + 10 * number
        cameras[f"{serial}_frame_received"] = now + 10 + 10 * number
        cameras[f"{serial}_estimated_capture"] = now - 31 + 10 * number
    lens = np.array([[52.0, 0.0, 32.0], [0.0, 52.0, 24.0], [0.0, 0.0, 1.0]])
    offset = [0.05, 0.0, 0.02, 0.0, 0.0, -1.57]
    return {
        "observation": {
            "robot_state": {
                "cartesian_position": place,
                "gripper_position": step / of,
                "joint_positions": joints,
                "joint_velocities": np.cos(0.1 * step + np.arange(7)).tolist(),
                "joint_torques_computed": [0.5] * 7,
                "motor_torques_measured": [0.25 * step] * 7,
                "prev_controller_latency_ms": 0.4,
                "prev_command_successful": True,
            },
            "timestamp": {
                "robot_state": {
                    "robot_timestamp_seconds": 1_688_722_943 + step // 15,
                    "robot_timestamp_nanos": 1_000_000 * (67 * step % 1000),
                    "read_start": now + 1,
                    "read_end": now + 5,
                },
                "cameras": cameras,
                "control": {
                    "step_start": now,
                    "policy_start": now + 35,
                    "sleep_start": now + 36,
                    "control_start": now + 60,
                    "step_end": now + 66,
                },
                "skip_action": step in STOPPED,
            },
            "camera_type": {WRIST: 0, EXTERIOR: 1},
            "camera_extrinsics": {
                f"{WRIST}_left": [place[0] + 0.05, *place[1:]],
                f"{WRIST}_left_gripper_offset": offset,
                f"{EXTERIOR}_left": [0.1, 0.6, 0.5, -2.0, 0.1, -0.8],
            },
            "camera_intrinsics": {f"{WRIST}_left": lens, f"{EXTERIOR}_left": lens},
            "controller_info": {
                "success": step == of - 1,
                "failure": False,
                "movement_enabled": step not in STOPPED,
                "controller_on": True,
            },
        },
        "action": {
            "cartesian_position": [place[0] + 0.01, *place[1:]],
            "cartesian_velocity": [0.1] * 6,
            "joint_position": (np.array(joints) + 0.01).tolist(),
            "joint_velocity": [0.05] * 7,
            "gripper_position": step / of,
            "gripper_velocity": 0.1,
            "robot_state": {"joint_positions": joints},
            "target_cartesian_position": [place[0] + 0.1, *place[1:]],
            "target_gripper_position": 1.0,
        },
    }


def rows(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of every dataset of a step."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from rows(value, f"{group}{name}/")
        else:
            yield f"{group}{name}", np.asarray(value)


def append(file: Any, place: str, row: Any) -> None:
    """Add one row to a dataset that grows, made at its first row."""
    if place not in file:
        file.create_dataset(place, (1, *row.shape), maxshape=(None, *row.shape), dtype=row.dtype)
    else:
        file[place].resize(len(file[place]) + 1, axis=0)
    file[place][-1] = row
