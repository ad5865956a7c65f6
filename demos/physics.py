"""MuJoCo at our door: models and scenes from `sim/`, forward kinematics, the GL library.

MuJoCo's quaternions are wxyz; everything that leaves this module is xyzw. MuJoCo is imported
through `engine()` and nowhere else, because which GL library it renders with is settled by
`MUJOCO_GL` at its first import.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from demos._content import content
from demos.errors import ReplayFailed, UnknownName, require

Floats = npt.NDArray[np.float64]

GL_HINT = "apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri (or libosmesa6)"
"""What to install where nothing can be rendered."""

TAXEL_CONTACTS = 6
"""How many contacts of one pad are kept: two boxes touch in at most eight points, rarely six."""

_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco/>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 8, 8)
renderer.update_scene(data)
renderer.render()
renderer.close()
"""
_KNOWN = "DEMOS_GL_BACKEND"


@cache
def gl_backend() -> str | None:
    """Find the GL library that renders here: "egl", "osmesa", another named by MUJOCO_GL, or None.

    Tried once in a subprocess, because a wrong choice cannot be taken back in this one; child
    processes inherit the answer. None means: physics works, images do not (see GL_HINT).
    """
    known = os.environ.get(_KNOWN)
    if known is None:
        asked = os.environ.get("MUJOCO_GL")
        candidates = dict.fromkeys([*([asked] if asked else []), "egl", "osmesa"])
        known = next((name for name in candidates if _renders(name)), "none")
        os.environ[_KNOWN] = known
    return None if known == "none" else known


def _renders(backend: str) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@cache
def engine() -> ModuleType:
    """Import MuJoCo with the GL library that works here. Raises MissingExtra."""
    before = "mujoco" in sys.modules
    backend = gl_backend() if importlib.util.find_spec("mujoco") else None
    asked = os.environ.get("MUJOCO_GL")
    if not before and backend is None:
        # an unusable MUJOCO_GL makes the import itself fail
        os.environ.pop("MUJOCO_GL", None)
    elif backend is not None:
        os.environ["MUJOCO_GL"] = backend
    mujoco = require("mujoco", extra="sim")
    if before and backend is not None and asked != backend:
        # somebody imported MuJoCo first, and it chose a library that does not render here
        chosen = sys.modules[mujoco.Renderer.__module__].gl_context
        chosen.GLContext = importlib.import_module(f"mujoco.{backend}").GLContext
    return mujoco


@dataclass(frozen=True, slots=True)
class Prop:
    """One free object of a scene; `kind` is a file of the embodiment's `props/`.

    position_m is that of its origin, quaternion is xyzw, both in the world; `friction` is the
    sliding coefficient of every contact with it.
    """

    name: str
    kind: str
    position_m: tuple[float, float, float]
    quaternion_xyzw: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    mass_kg: float | None = None
    friction: float | None = None

    def parameters(self) -> dict[str, Any]:
        """Return plain values, to be written into provenance; `Prop(**...)` reads them back."""
        return asdict(self)


def load_model(path: Path | str, props: Sequence[Prop] = (), *, taxels: bool = False) -> Any:
    """Compile an MJCF file, with free objects put in: an `mujoco.MjModel`.

    A relative path is one below `sim/`. Each prop becomes a body and free joint `<name>` and
    `<name>_free` at its pose, and gets contact sensors (net force in the world, exerted by the
    first on the second): `<geom>_on_<name>` for every geom called `*_pad` or `*_palm`,
    `<name>_on_world` for what it stands on. Each holds [contacts found, fx, fy, fz].
    `taxels` adds `<pad>_touch` for every pad: its TAXEL_CONTACTS strongest contacts with anything,
    each [found, force (contact frame), position, normal, tangent], 13 numbers.

    Raises ReplayFailed where MuJoCo refuses the file, UnknownName for a prop that is not there.
    """
    mujoco = engine()
    file = Path(path) if Path(path).is_absolute() else content("sim") / path
    try:
        if not props:
            return mujoco.MjModel.from_xml_path(str(file))
        # MuJoCo resolves includes in this dictionary by their bare names
        files = {found.name: found.read_bytes() for found in file.parent.glob("*.xml")}
        extra = [_prop(file.parent / "props", prop) for prop in props]
        files |= {f"prop_{i}.xml": ET.tostring(root) for i, root in enumerate(extra)}
        text = _composed(file, props, taxels=taxels)
        return mujoco.MjModel.from_xml_string(text, files)
    except ValueError as error:
        raise ReplayFailed(f"MuJoCo refuses {file.name}: {error}").with_hint(
            "check the file with `python -m mujoco.viewer --mjcf=FILE`"
        ) from error


def _prop(folder: Path, prop: Prop) -> ET.Element:
    files = {found.stem: found for found in folder.glob("*.xml")}
    if prop.kind not in files:
        raise UnknownName.among("prop", prop.kind, files)
    root = ET.parse(files[prop.kind]).getroot()
    body = root.find("worldbody/body")
    if body is None:
        raise ReplayFailed(f"{files[prop.kind].name} has no body in its worldbody")
    x, y, z, w = prop.quaternion_xyzw
    body.set("name", prop.name)
    body.set("pos", _text(prop.position_m))
    body.set("quat", _text((w, x, y, z)))
    for joint in body.iter("freejoint"):
        joint.set("name", f"{prop.name}_free")
    geoms = list(body.iter("geom"))
    volumes = [float(geom.get("mass", "0")) for geom in geoms]
    for geom, share in zip(geoms, volumes, strict=True):
        if prop.mass_kg is not None and share > 0:
            geom.set("mass", repr(prop.mass_kg * share / sum(volumes)))
        if prop.friction is not None and "friction" in geom.attrib:
            rest = geom.attrib["friction"].split()[1:]
            geom.set("friction", " ".join([repr(prop.friction), *rest]))
    return root


def _composed(file: Path, props: Sequence[Prop], *, taxels: bool) -> str:
    root = ET.Element("mujoco", model=file.stem)
    ET.SubElement(root, "include", file=file.name)
    sensors = ET.Element("sensor")
    touching = _touching(file)
    for number, prop in enumerate(props):
        ET.SubElement(root, "include", file=f"prop_{number}.xml")
        pairs = [
            *((f"{g}_on_{prop.name}", {"geom1": g, "body2": prop.name}) for g in touching),
            (f"{prop.name}_on_world", {"body1": prop.name, "body2": "world"}),
        ]
        for name, ends in pairs:
            what = {"name": name, "data": "found force", "reduce": "netforce"}
            ET.SubElement(sensors, "contact", what | ends)
    if taxels:
        for pad in (name for name in touching if name.endswith("_pad")):
            what = {"data": "found force pos normal tangent", "reduce": "maxforce"}
            what |= {"name": f"{pad}_touch", "geom1": pad, "num": str(TAXEL_CONTACTS)}
            ET.SubElement(sensors, "contact", what)
    root.append(sensors)
    return ET.tostring(root, encoding="unicode")


def _touching(file: Path) -> list[str]:
    found: list[str] = []
    root = ET.parse(file).getroot()
    for include in root.iter("include"):
        found += _touching(file.parent / include.get("file", ""))
    names = (geom.get("name", "") for geom in root.iter("geom"))
    return found + [name for name in names if name.endswith(("_pad", "_palm"))]


def forward_kinematics(
    model: Any, joint_names: Sequence[str], positions: npt.ArrayLike, sites: Sequence[str]
) -> Floats:
    """Find where sites (or bodies) are at given joint positions: (n, S, 7), m and xyzw, world.

    positions: (n, J), radians or metres, columns in the order of `joint_names`; joints that are
    not named stay at the model's reference. Raises UnknownName for a joint or site that the
    model lacks, ValueError where the width of `positions` differs from the names.
    """
    mujoco = engine()
    rows = np.atleast_2d(np.asarray(positions, dtype=np.float64))
    if rows.shape[1] != len(joint_names):
        raise ValueError(f"{rows.shape[1]} columns for {len(joint_names)} joint names")
    columns = [model.jnt_qposadr[_id(model, mujoco.mjtObj.mjOBJ_JOINT, n)] for n in joint_names]
    places = [_place(model, name) for name in sites]
    data = mujoco.MjData(model)
    poses = np.zeros((len(rows), len(sites), 7))
    quat = np.zeros(4)
    for row, angles in enumerate(rows):
        data.qpos[columns] = angles
        mujoco.mj_kinematics(model, data)
        for column, (is_site, number) in enumerate(places):
            where = data.site_xpos if is_site else data.xpos
            turned = data.site_xmat if is_site else data.xmat
            mujoco.mju_mat2Quat(quat, turned[number])
            poses[row, column, :3] = where[number]
            poses[row, column, 3:] = quat[[1, 2, 3, 0]]
    return poses


def _place(model: Any, name: str) -> tuple[bool, int]:
    kinds = engine().mjtObj
    site = engine().mj_name2id(model, kinds.mjOBJ_SITE, name)
    return (True, site) if site >= 0 else (False, _id(model, kinds.mjOBJ_BODY, name))


def _id(model: Any, kind: Any, name: str) -> int:
    mujoco = engine()
    number = int(mujoco.mj_name2id(model, kind, name))
    if number < 0:
        what = {mujoco.mjtObj.mjOBJ_JOINT: "joint", mujoco.mjtObj.mjOBJ_BODY: "site or body"}[kind]
        count = model.njnt if what == "joint" else model.nbody
        known = [mujoco.mj_id2name(model, kind, i) or "" for i in range(count)]
        raise UnknownName.among(what, name, known)
    return number


def _text(numbers: Sequence[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
