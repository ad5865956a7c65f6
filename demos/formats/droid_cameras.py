"""Where the cameras of a DROID trajectory stood and how they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats import droid as layout
from demos.formats.notes import Notes
from demos.formats.poses import from_euler_xyz, pose
from demos.model import CameraInfo, Intrinsics, Pose

_OFFSET = "_gripper_offset"

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What is known of the cameras; a view is `<serial>_left` or `<serial>_right`.

    names: serial number to our name. extrinsics: view to (steps, 6), `layout.EULER` in the
    robot's base. offsets: view to (6,) in the flange, of cameras that ride on it. intrinsics:
    view to (3, 3).
    """

    names: Mapping[str, str]
    extrinsics: Mapping[str, Table]
    offsets: Mapping[str, Table]
    intrinsics: Mapping[str, Table]

    def moving(self) -> dict[str, Table]:
        """Return the views whose place in the base changes from step to step."""
        return {view: table for view, table in self.extrinsics.items() if _changes(table)}

    def constant(self) -> dict[str, list[Any]]:
        """Return all that does not change as plain numbers."""
        still = {
            view: table[0].tolist()
            for view, table in self.extrinsics.items()
            if not _changes(table)
        }
        still |= {f"{view}{_OFFSET}": offset.tolist() for view, offset in self.offsets.items()}
        lenses = {f"{view}_intrinsics": m.tolist() for view, m in self.intrinsics.items()}
        return {name: values for name, values in (still | lenses).items() if _finite(values)}

    def place(self, view: str, base: str, flange: str) -> Pose | None:
        """Say where a view sits on the robot: in the flange for those on it, else in the base."""
        if view in self.offsets:
            return _pose(flange, self.offsets[view])
        if view in self.extrinsics and not _changes(self.extrinsics[view]):
            return _pose(base, self.extrinsics[view][0])
        return None

    def described(self, info: CameraInfo, view: str, base: str, flange: str) -> CameraInfo:
        """Add intrinsics and place to what is known of a camera's images."""
        return info.model_copy(
            update={
                "intrinsics": _intrinsics(self.intrinsics.get(view), info),
                "pose": self.place(view, base, flange),
            }
        )


def calibration(
    tables: Mapping[str, npt.NDArray[Any]], serials: set[str], notes: Notes
) -> Calibration:
    """Sort the datasets under `camera_type`, `camera_extrinsics` and `camera_intrinsics`."""
    types, extrinsics, offsets, intrinsics = {}, {}, {}, {}
    for place, values in tables.items():
        name = place.rsplit("/", 1)[-1]
        if place.startswith(layout.CAMERA_TYPE) and values.ndim == 1:
            types[name] = int(values[0]) if values.dtype.kind in "iu" else -1
            continue
        shape, table = values.shape[1:], values.astype(np.float64)
        if place.startswith(layout.INTRINSICS) and shape == (3, 3):
            intrinsics[name] = table[0]
        elif place.startswith(layout.EXTRINSICS) and shape == (6,) and name.endswith(_OFFSET):
            offsets[name.removesuffix(_OFFSET)] = table[0]
        elif place.startswith(layout.EXTRINSICS) and shape == (6,):
            extrinsics[name] = table
        else:
            notes.missing.append(f"{place}: {values.shape} values are no calibration")
            continue
        if name in intrinsics and place.startswith(layout.INTRINSICS) and _changes(table):
            notes.find("calibration", f"{place} changes; the first step's is taken")
    return Calibration(layout.camera_names(types, serials), extrinsics, offsets, intrinsics)


def _intrinsics(matrix: Table | None, info: CameraInfo) -> Intrinsics | None:
    if matrix is None or not np.isfinite(matrix).all():
        return None
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    # the centre lies in the image, or the numbers are of another resolution
    if fx <= 0 or fy <= 0 or not (0 < cx < info.width and 0 < cy < info.height):
        return None
    return Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy)


def _pose(reference_frame: str, numbers: Table) -> Pose | None:
    return pose(reference_frame, numbers[:3], from_euler_xyz(numbers[None, 3:])[0])


def _changes(table: Table) -> bool:
    return bool((table != table[0]).any())


def _finite(values: list[Any]) -> bool:
    return bool(np.isfinite(np.asarray(values, dtype=np.float64)).all())
