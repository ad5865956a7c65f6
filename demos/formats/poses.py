"""Poses as foreign recorders write them, made position and quaternion xyzw.

Kept free of SciPy, which an import does not need otherwise; its `Rotation` is what the tests
compare with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.steps import Ticks
from demos.model import Pose, Stream, StreamInfo

CHANNELS = ("x", "y", "z", "qx", "qy", "qz", "qw")
UNITS = ("m", "m", "m", "1", "1", "1", "1")

Floats = npt.NDArray[np.float64]


def from_euler_xyz(angles_rad: npt.NDArray[Any]) -> Floats:
    """Turn angles about the fixed axes x, then y, then z into quaternions xyzw: (n, 3) to (n, 4).

    SciPy calls this order "xyz" in lower case (extrinsic); the matrix is Rz · Ry · Rx.
    """
    half = np.asarray(angles_rad, dtype=np.float64) / 2
    with np.errstate(invalid="ignore"):  # of what is not finite nothing is made
        (cx, cy, cz), (sx, sy, sz) = np.cos(half).T, np.sin(half).T
    return np.stack(
        [
            sx * cy * cz - cx * sy * sz,
            cx * sy * cz + sx * cy * sz,
            cx * cy * sz - sx * sy * cz,
            cx * cy * cz + sx * sy * sz,
        ],
        axis=1,
    )


def from_matrices(matrices: npt.NDArray[Any]) -> Floats:
    """Turn rotation matrices (n, 3, 3) into quaternions xyzw (n, 4) of length one.

    The largest of the four is divided by, so that none is lost to rounding (Shepperd, 1978).
    """
    m = np.asarray(matrices, dtype=np.float64)
    (a, b, c), trace = (m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]), np.trace(m, axis1=1, axis2=2)
    x, y, z = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, yz, zx = m[:, 1, 0] + m[:, 0, 1], m[:, 2, 1] + m[:, 1, 2], m[:, 0, 2] + m[:, 2, 0]
    # row k: the quaternion times four times its component k
    times = np.stack(
        [
            np.stack([1 + a - b - c, xy, zx, x], axis=1),
            np.stack([xy, 1 - a + b - c, yz, y], axis=1),
            np.stack([zx, yz, 1 - a - b + c, z], axis=1),
            np.stack([x, y, z, 1 + trace], axis=1),
        ],
        axis=1,
    )
    largest = np.argmax(np.nan_to_num(np.diagonal(times, axis1=1, axis2=2)), axis=1)
    chosen = times[np.arange(len(m)), largest]
    length = np.linalg.norm(chosen, axis=1, keepdims=True)
    return np.asarray(chosen / np.where(length > 0, length, 1.0))


def pose_stream(
    position: npt.NDArray[Any],
    quaternion_xyzw: npt.NDArray[Any],
    ticks: Ticks,
    *,
    reference_frame: str,
    of_frame: str,
    note: str = "",
    semantics: str | None = None,
) -> Stream:
    """Make a stream of poses from positions in m (n, 3) and quaternions (n, 4)."""
    info = StreamInfo(
        units=UNITS,
        channels=CHANNELS,
        clock=ticks.clock,
        rate_hz=ticks.rate_hz,
        reference_frame=reference_frame,
        of_frame=of_frame,
        semantics=semantics,
        note=note,
    )
    values = np.concatenate([position, quaternion_xyzw], axis=1)
    return Stream(ticks.time_ns, values, info, ticks.source_time_ns)


def pose(reference_frame: str, position: Any, quaternion_xyzw: Any) -> Pose | None:
    """Make the record of one pose, or None where a number is not finite."""
    numbers = [float(part) for part in (*position, *quaternion_xyzw)]
    if len(numbers) != 7 or not np.isfinite(numbers).all():
        return None
    x, y, z, qx, qy, qz, qw = numbers
    return Pose(
        reference_frame=reference_frame, position_m=(x, y, z), quaternion_xyzw=(qx, qy, qz, qw)
    )
