"""How the cameras of an AgiBot episode see and where they are: `<camera>_intrinsic_params.json`.

A pose file is one `{"extrinsic": {"rotation_matrix", "translation_vector"}}`, or, called
`..._aligned.json`, a list of them, one a row: the camera in the flanges' reference frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.agibot import Recorded
from demos.formats.files import json_list, json_object, plain_json
from demos.formats.notes import Notes
from demos.formats.poses import from_matrices, pose
from demos.model import CameraInfo, Intrinsics
from demos.provenance import sha256_file

_LENS, _POSE, _POSES = (
    "_intrinsic_params.json",
    "_extrinsic_params.json",
    "_extrinsic_params_aligned.json",
)
_MODELS = {"plumb_bob": "plumb_bob", "brown_conrady": "plumb_bob", "fisheye": "fisheye"}
_TERMS = {"plumb_bob": ("k1", "k2", "p1", "p2", "k3"), "fisheye": ("k1", "k2", "k3", "k4")}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the parameter files say, by camera.

    lenses: the numbers of a lens as they stand there. poses: (n, 7) position and quaternion
    xyzw, one for all rows or one a row. rest: files of another layout, whole.
    """

    lenses: dict[str, dict[str, Any]] = field(default_factory=dict)
    poses: dict[str, Floats] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)

    def described(self, info: CameraInfo, camera: str, base: str) -> CameraInfo:
        """Add intrinsics and, of a camera that does not move, the place to a camera's record."""
        still = self.poses.get(camera)
        place = None if still is None or len(still) != 1 else pose(base, still[0][:3], still[0][3:])
        return info.model_copy(
            update={"intrinsics": _intrinsics(self.lenses.get(camera, {}), info), "pose": place}
        )


def parameters(recorded: Recorded, notes: Notes) -> Parameters:
    """Read all parameter files of an episode; one that is damaged is named and left out."""
    found = Parameters()
    folders = recorded.folders("parameters", "parameters/camera", "camera", "parameters")
    files = {path.name: path for folder in folders for path in sorted(folder.glob("*param*.json"))}
    for name, path in sorted(files.items()):
        try:
            _take(found, path)
        except ImportFailed as error:
            notes.missing.append(f"{recorded.place(path)}: {error}")
            notes.find("calibration", f"{name} could not be read: {error}", error.hint)
            continue
        notes.sha256[recorded.place(path)] = sha256_file(path)
    if any("distortion_model" not in lens for lens in found.lenses.values()):
        notes.assumed.append("lenses: bent as OpenCV's k1, k2, p1, p2, k3 say; no model is named")
    return found


def _take(found: Parameters, path: Path) -> None:
    name = path.name
    if name.endswith(_LENS):
        plain = json_object(path.parent, name)
        inside = plain.get("intrinsic")
        found.lenses[name.removesuffix(_LENS)] = inside if isinstance(inside, dict) else plain
    elif name.endswith(_POSES):
        found.poses[name.removesuffix(_POSES)] = _poses(json_list(path.parent, name), name)
    elif name.endswith(_POSE):
        entry = json_object(path.parent, name)
        # those aligned to the rows say more
        found.poses.setdefault(name.removesuffix(_POSE), _poses([entry], name))
    elif path.stat().st_size < 100_000:
        found.rest[name] = plain_json(json_object(path.parent, name))


def _poses(entries: list[Any], name: str) -> Floats:
    turns, places = [], []
    for entry in entries:
        inside = entry.get("extrinsic", entry) if isinstance(entry, dict) else {}
        turns.append(inside.get("rotation_matrix") if isinstance(inside, dict) else None)
        places.append(inside.get("translation_vector") if isinstance(inside, dict) else None)
    try:
        turn, place = np.array(turns, dtype=np.float64), np.array(places, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        turn = place = np.empty(0)
    fits = turn.shape == (len(entries), 3, 3) and place.shape == (len(entries), 3) and entries
    # numbers of a rotation are at most one; beyond bounds nothing can be made of them
    if not fits or not (np.abs(turn) < 2).all() or not np.isfinite(place).all():
        raise ImportFailed(f"{name} holds no rotation matrix and translation").with_hint(
            "compare it with the parameter files of another episode"
        )
    return np.concatenate([place, from_matrices(turn)], axis=1)


def _intrinsics(lens: Mapping[str, Any], info: CameraInfo) -> Intrinsics | None:
    model = _MODELS.get(str(lens.get("distortion_model", "plumb_bob")).lower())
    centre = ("ppx", "ppy") if "ppx" in lens else ("cx", "cy")
    wanted = ("fx", "fy", *centre, *(_TERMS[model] if model else ()))
    try:
        fx, fy, cx, cy, *terms = (float(lens.get(name, 0.0)) for name in wanted)
    except (TypeError, ValueError, OverflowError):
        return None
    if not np.isfinite([fx, fy, cx, cy, *terms]).all() or fx <= 0 or fy <= 0:
        return None
    # the centre lies in the image, or the numbers are of another resolution
    if not (0 < cx < info.width and 0 < cy < info.height):
        return None
    bent = model is not None and any(terms)
    return Intrinsics(
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        distortion_model=("fisheye" if model == "fisheye" else "plumb_bob") if bent else "none",
        distortion=tuple(terms) if bent else (),
    )
