"""Rotations in the forms that foreign recordings have, as quaternions xyzw."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def quaternions(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Turn rotation vectors (n, 3), axis times angle in rad, into quaternions xyzw (n, 4).

    q = (axis sin(angle / 2), cos(angle / 2)) (Diebel 2006, "Representing Attitude", eq. 175);
    sin(angle / 2) / angle is written as a sinc, which is exact down to no rotation at all.
    """
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.hstack([vectors * (0.5 * np.sinc(angle / (2 * np.pi))), np.cos(angle / 2)])
