"""The egocentric camera: images of a rollout, rendered from its states, with a camera's faults.

Images are rendered after physics, so a rollout that is thrown away costs none. Exposure wanders,
and what moves fast is blurred: the mean of two renders, at both ends of the exposure.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from demos import physics
from demos.model import CameraInfo, StreamInfo
from demos.model.records import Intrinsics
from demos.physics import Floats
from demos.simulate.operator import wander
from demos.simulate.rollout import LOG_HZ, Rollout
from demos.simulate.sensors import model

CAMERA = "egocentric"
RATE_HZ = 30.0
DEPTH_SCALE_M = 0.001
_LIGHT = {"bright": 1.0, "dim": 0.55}
Image = npt.NDArray[np.uint8]
Depth = npt.NDArray[np.uint16]


def camera_info(declared: CameraInfo, size: tuple[int, int]) -> CameraInfo:
    """Scale a camera's declaration to images of `size` (width, height)."""
    width, height = size
    x, y = width / declared.width, height / declared.height
    lens = declared.intrinsics
    return declared.model_copy(
        update={
            "width": width,
            "height": height,
            "intrinsics": lens
            and Intrinsics(fx=lens.fx * x, fy=lens.fy * y, cx=lens.cx * x, cy=lens.cy * y),
        }
    )


def depth_info(size: tuple[int, int]) -> StreamInfo:
    """Say what the depth images mean."""
    width, height = size
    return StreamInfo(
        channels=("depth",),
        units=("count",),
        shape=(height, width),
        scale=DEPTH_SCALE_M,
        rate_hz=RATE_HZ,
        reference_frame=CAMERA,
        semantics="distance along the optical axis; 0 where nothing is within 10 m",
    )


class Eye:
    """A renderer bound to one rollout; close it, or use it as a context manager."""

    def __init__(self, rollout: Rollout, size: tuple[int, int], rng: np.random.Generator) -> None:
        mujoco = physics.engine()
        width, height = size
        self._mujoco, self._rollout = mujoco, rollout
        self._model = rollout.world.model
        # the model is this rollout's own: nobody else sees the lamp dimmed
        light = _LIGHT[rollout.world.scene.lighting]
        self._model.light_diffuse[:] = 0.45 * light
        self._model.vis.headlight.diffuse[:] = 0.3 * light
        self._model.vis.headlight.ambient[:] = 0.25 * light
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, height, width)
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        # the camera looks down: it never sees the sky
        flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = 0
        self._faults = model()["camera"]
        self.rows = self._rows(rng)
        self._gain = self._exposure(len(self.rows), rng)
        self._speed = np.max(
            [
                np.linalg.norm(np.gradient(path, 1.0 / LOG_HZ, axis=0), axis=1)
                for path in rollout.grasp.values()
            ],
            axis=0,
        )

    def images(self) -> Iterator[tuple[int, Image]]:
        """Yield each image with the row of the rollout it was taken at: (height, width, 3)."""
        half = max(1, round(self._faults["exposure_s"] * LOG_HZ / 2))
        for row, gain in zip(self.rows, self._gain, strict=True):
            if self._speed[row] > self._faults["blur_from_m_s"]:
                first, last = max(row - half, 0), min(row + half, len(self._speed) - 1)
                early = self._shot(first).copy()
                # the mean of two bytes without leaving bytes: (a & b) + ((a ^ b) >> 1)
                late = self._shot(last)
                image = (early & late) + ((early ^ late) >> 1)
            else:
                image = self._shot(row)
            yield int(row), np.take(gain, image)

    def depth(self, row: int) -> Depth:
        """Render the depth image of one row: (height, width) uint16, DEPTH_SCALE_M per count."""
        self._renderer.enable_depth_rendering()
        try:
            metres = self._shot(row)
        finally:
            self._renderer.disable_depth_rendering()
        near = np.where(metres < 10.0, metres, 0.0)
        return np.asarray(np.rint(near / DEPTH_SCALE_M), dtype=np.uint16)

    def close(self) -> None:
        """Free the GL context now: left to the interpreter's end it prints tracebacks."""
        self._renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _shot(self, row: int) -> Any:
        self._data.qpos[:] = self._rollout.qpos[row]
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_comPos(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, CAMERA)
        return self._renderer.render()

    def _rows(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        count = int(self._rollout.time_s[-1] * RATE_HZ)
        nominal = (np.arange(count) + 0.5) / RATE_HZ
        jitter = np.clip(rng.normal(0.0, self._faults["jitter_s"], count), -0.01, 0.01)
        rows = np.rint((nominal + jitter) * LOG_HZ).astype(np.int64)
        return np.clip(rows, 0, len(self._rollout.time_s) - 1)

    def _exposure(self, count: int, rng: np.random.Generator) -> Image:
        """One look-up table of 256 bytes per image."""
        size, slow = self._faults["flicker"], self._faults["flicker_s"]
        wandering: Floats = wander(rng, count, 0.5 / RATE_HZ / slow, size, 1)[:, 0]
        levels = np.arange(256)[None, :] * (1.0 + wandering[:, None])
        return np.asarray(np.clip(np.rint(levels), 0, 255), dtype=np.uint8)
