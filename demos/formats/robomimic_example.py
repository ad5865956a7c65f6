"""The smallest robomimic file that has everything: two demonstrations of six steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

STEPS = 6
CONTROL_HZ = 20
MODEL = '<mujoco model="lift"><worldbody/></mujoco>'
ENVIRONMENT = {
    "env_name": "Lift",
    "env_version": "1.4.1",
    "type": 1,
    "env_kwargs": {
        "robots": ["Panda"],
        "control_freq": CONTROL_HZ,
        "reward_shaping": False,
        "controller_configs": {"type": "OSC_POSE", "control_delta": True},
    },
}


def write(path: Path, demos: int = 2) -> Path:
    """Write demonstrations of a lift, every other one a success, with next_obs and masks."""
    import h5py

    names = [f"demo_{n}" for n in range(demos)]
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = demos * STEPS
        data.attrs["env_args"] = json.dumps(ENVIRONMENT)
        for number, name in enumerate(names):
            demo = data.create_group(name)
            demo.attrs["num_samples"] = STEPS
            demo.attrs["model_file"] = MODEL
            rows = np.arange(STEPS + 1)
            states = np.outer(rows, np.arange(1, 12)) / CONTROL_HZ + number
            demo["states"] = states[:-1]
            demo["actions"] = np.sin(np.outer(rows[:-1] + number, np.arange(1, 8)))
            done = (rows[:-1] == STEPS - 1).astype(np.int64)
            demo["dones"] = done
            demo["rewards"] = (done * (number % 2 == 0)).astype(np.float64)
            seen = {
                "robot0_joint_pos": np.sin(np.outer(rows, np.arange(7)) / 9 + number),
                "robot0_eef_pos": np.outer(rows, [0.01, 0.0, -0.02]) + 0.5,
                "robot0_eef_quat": np.tile([0.0, 0.0, 0.0, 1.0], (STEPS + 1, 1)),
                "object": np.outer(rows, np.ones(10)) / 50,
                "agentview_image": np.full((1, 32, 32, 3), 30, np.uint8)
                * rows.astype(np.uint8)[:, None, None, None],
            }
            for key, values in seen.items():
                demo[f"obs/{key}"] = values[:-1]
                demo[f"next_obs/{key}"] = values[1:]
        file["mask/train"] = np.array(names[:-1], dtype="S")
        file["mask/valid"] = np.array(names[-1:], dtype="S")
    return path
