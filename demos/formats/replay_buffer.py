"""The replay buffer of diffusion policy and of UMI: what its arrays mean, by their names.

All episodes lie one after the other in every array below `data`; `meta/episode_ends` says where
each ends (Chi et al. 2023, "Diffusion Policy", replay_buffer.py; Chi et al. 2024, "Universal
Manipulation Interface", 07_generate_replay_buffer.py). Neither a rate nor texts are kept.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.zarr_v2 import Array, Files, open_array

ENDS = "meta/episode_ends"
Flavour = Literal["umi", "pusht", "diffusion policy"]

RATES: Mapping[Flavour, tuple[float, str]] = {
    "umi": (60000 / 1001, "as UMI's GoPro cameras record"),
    "pusht": (10.0, "as Push-T is controlled"),
    "diffusion policy": (10.0, "as diffusion policy controls its robots"),
}
"""Rates in Hz and where they are from; none of them is in the source."""

_KNOWN: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "action": (("target_x", "target_y"), ("px", "px")),
    "state": (
        ("agent_x", "agent_y", "block_x", "block_y", "block_angle"),
        ("px", "px", "px", "px", "rad"),
    ),
    "n_contacts": (("n_contacts",), ("1",)),
}


@dataclass(frozen=True, slots=True)
class Pose:
    """The arrays of one pose: its name, the array of positions, that of rotation vectors.

    They are one array where it has six channels.
    """

    name: str
    position: str
    rotation: str


def is_buffer(path: Path) -> bool:
    """Say whether a folder or a zip file holds `meta/episode_ends` of Zarr version 2."""
    if path.is_dir():
        return (path / ENDS / ".zarray").is_file()
    if not path.is_file() or path.suffix != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{ENDS}/.zarray" in archive.namelist()
    except Exception:  # noqa: BLE001  zipfile raises many kinds on a broken directory
        return False


def flavour_of(names: Sequence[str]) -> Flavour:
    """Tell by its arrays which program wrote a buffer."""
    if any(re.fullmatch(r"robot\d+_eef_pos", name) for name in names):
        return "umi"
    return "pusht" if {"state", "action", "n_contacts"} <= set(names) else "diffusion policy"


def episode_ends(array: Array) -> npt.NDArray[np.int64]:
    """Return the row behind the last of each episode: (episodes,). Raises ImportFailed."""
    if array.dtype.kind not in "iu" or len(array.shape) != 1:
        raise ImportFailed(f"{ENDS} is {array.dtype} {array.shape}, not whole numbers").with_hint(
            "copy the dataset again from its source"
        )
    ends = array.rows(0, len(array)).astype(np.int64)
    if (np.diff(np.r_[0, ends]) < 0).any():
        raise ImportFailed(
            f"{ENDS} does not go up, so no one knows which rows are whose"
        ).with_hint("copy the dataset again from its source")
    return ends


def poses(arrays: Mapping[str, Array]) -> list[Pose]:
    """Find what is a pose: position and rotation vector side by side, or in one array of six."""
    found = []
    for name, array in arrays.items():
        width = array.shape[1:]
        if (match := re.fullmatch(r"(robot\d+_eef)_pos", name)) and width == (3,):
            partner = f"{match[1]}_rot_axis_angle"
            if partner in arrays and arrays[partner].shape[1:] == (3,):
                found.append(Pose(match[1], name, partner))
        elif name == "robot_eef_pose" and width == (6,):
            found.append(Pose("robot_eef", name, name))
    return found


def is_camera(array: Array) -> bool:
    """Say whether an array holds colour images (n, height, width, 3)."""
    shape = array.shape
    return len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) >= 8 and array.dtype.kind in "uf"


def meaning(array: Array, flavour: Flavour) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return channels, units and a note for an array of numbers."""
    name, inner = array.name, array.shape[1:]
    note = f"{flavour} {array.place}"
    if flavour == "pusht" and name in _KNOWN and len(_KNOWN[name][0]) == (inner or (1,))[0]:
        return (*_KNOWN[name], f"{note}; pixels of a workspace of 512")
    if flavour == "pusht" and name == "keypoint":
        return (name,), ("px",), f"{note}; pixels of a workspace of 512"
    if flavour == "umi" and name.endswith("_gripper_width"):
        return (name,), ("m",), f"{note}; distance between the fingers"
    if name.endswith("_rot_axis_angle"):
        return tuple(f"{name}_{axis}" for axis in "xyz"), ("rad",) * 3, f"{note}; axis times angle"
    width = inner[0] if len(inner) == 1 else 1
    channels = (name,) if width == 1 else tuple(f"{name}_{n}" for n in range(width))
    return channels, ("unknown",) * width, note


def arrays_of(files: Files, names: Sequence[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Open the arrays below `data`: those that can be read, and why others cannot."""
    found: dict[str, Array] = {}
    lost: dict[str, str] = {}
    for name in names:
        try:
            found[name] = open_array(files, f"data/{name}")
        except ImportFailed as error:
            lost[name] = f"{error}; {error.hint}"
    return found, lost
