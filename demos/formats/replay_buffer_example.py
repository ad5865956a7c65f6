"""The smallest UMI replay buffer that has everything: two episodes, one gripper, one camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LENGTHS = (6, 5)


def write_umi(root: Path) -> Path:
    """Write what UMI's pipeline writes, but its images: those are not JPEG XL but zlib."""
    rows = np.arange(sum(LENGTHS))
    start = np.repeat([[0.1, 0.2, 0.3, 0.0, 0.0, 0.1], [0.2, 0.2, 0.3, 0.0, 0.0, 0.2]], LENGTHS, 0)
    turn = np.stack([0.1 * rows, 0.02 * rows, 1.0 - 0.1 * rows], axis=1)
    images = np.zeros((len(rows), 16, 16, 3), np.uint8)
    images[:] = (20 * rows)[:, None, None, None]
    arrays = {
        "robot0_eef_pos": np.stack([0.01 * rows, 0.02 * rows, 0.3 + 0 * rows], 1).astype(
            np.float32
        ),
        "robot0_eef_rot_axis_angle": turn.astype(np.float32),
        "robot0_gripper_width": (0.08 - 0.005 * rows).astype(np.float32)[:, None],
        "robot0_demo_start_pose": start,
        "robot0_demo_end_pose": start + 0.01,
        "camera0_rgb": images,
    }
    return write_buffer(root, arrays, np.cumsum(LENGTHS))


def write_buffer(
    root: Path,
    arrays: Mapping[str, npt.NDArray[Any]],
    ends: npt.NDArray[Any],
    *,
    compressor: Any = "default",
) -> Path:
    """Write arrays below `data` and `meta/episode_ends` with the zarr package, version 2."""
    import numcodecs
    import zarr

    chosen = numcodecs.Blosc("lz4", 5, 0) if compressor == "default" else compressor
    group = zarr.open_group(root, mode="w", zarr_format=2)
    whole = {
        **{f"data/{name}": values for name, values in arrays.items()},
        "meta/episode_ends": ends,
    }
    for place, values in whole.items():
        camera = values.ndim == 4
        chunks = (1 if camera else max(len(values) // 2, 1), *values.shape[1:])
        codec = numcodecs.Zlib(1) if camera and compressor == "default" else chosen
        made = group.create_array(
            place,
            shape=values.shape,
            chunks=chunks,
            dtype=values.dtype,
            compressors=codec,
            config={"write_empty_chunks": True},
        )
        made[:] = values
    return root
