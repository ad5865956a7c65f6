"""The smallest file that the published example of a mapping file describes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

STEPS, SAMPLES, IMAGES = 8, 40, 4
BEGAN_NS = 1_760_000_000_000_000_000


def write(path: Path) -> Path:
    """Write one run of 0.08 s: two arms in degrees, a wrench, a wrist's pose, a BGR camera."""
    import h5py

    step = np.arange(STEPS)
    left = np.outer(step, np.arange(1, 8)).astype(np.float32)
    right = left + 0.5
    pose = np.tile(np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0]), (STEPS, 1))
    images = np.zeros((IMAGES, 48, 64, 3), np.uint8)
    images[..., 0] = 200
    with h5py.File(path, "w") as file:
        file.attrs["instruction"] = "put the cup on the shelf"
        file.attrs["object"] = "cup"
        file.attrs["success"] = True
        file["control/stamp"] = BEGAN_NS + step * 10_000_000
        file["control/left_q"] = left
        file["control/right_q"] = right
        file["control/target"] = np.hstack([left, right]) + 1
        file["control/left_pose"] = pose
        file["force/stamp"] = BEGAN_NS // 1000 + np.arange(SAMPLES) * 2000
        file["force/raw"] = np.outer(np.arange(SAMPLES), np.arange(1, 7)).astype(np.int32)
        file["camera/stamp"] = BEGAN_NS / 1e9 + np.arange(IMAGES) / 50
        file["camera/images"] = images
    return path
