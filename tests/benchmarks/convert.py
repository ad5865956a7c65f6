"""How fast recordings come in and go out, beside lerobot's own writer, forge, and their floors.

Every side runs in a process of its own; they take turns, and the median counts. The same content
(`_convert_content.py`) lies in each format; MB/s are of the source's bytes. What was imported
before is warm in the page cache for everybody. We hash and sync all that we write and look at every
image's packet; lerobot and forge do neither.

`ratios` are ours over the fastest of a peer's modes, in wall time: above 1 we are faster.
`floors` are our seconds over what nobody can avoid: the greater of copying the source's bytes into
one file (synced once) and of decoding its video with one thread. Raw images have no video: there
it is reading and encoding them with the store's own encoder, one thread. `floors_with_encoding` add
that encoding where images are single JPEGs, which we keep as they are and other stores encode.
`*_cpu` say the same in seconds of CPU, which tell more where others work on the machine.

lerobot writes H.264 both ways it has: PNG files first (its default, with 8 threads for those), or
streaming; with its own settings (x264 medium, crf 30, a key image every 2, all cores). forge
converts as installed (x264 medium, crf 23, a key image every 12, all cores) and with `veryfast`,
which is the store's preset (veryfast, crf 23, a key image every 10, fast to decode).
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from demos.errors import MissingExtra

Figures = dict[str, Any]
OURS, FLOORS = "ours", ("copy", "decode", "encode")
PEERS = {"lerobot": ("lerobot_streaming", "lerobot_png"), "forge": ("forge", "forge_veryfast")}
HOW = {
    "lerobot": "in a checkout: make .venv-lerobot/ready && .venv-lerobot/bin/demos bench convert",
    "forge": "pip install --no-deps forge-robotics==0.2.0, beside lerobot",
    "mcap": "pip install 'teleop-demos[ros]'",
}
_ENOUGH_S = 60.0
REAL = "unitree_g1_inspire_v21"


def run(*, quick: bool, seed: int) -> Figures:
    """Write the sources, then convert them in turns; see the module for what the figures are."""
    there = {name: find_spec(name) is not None for name in ("lerobot", "forge", "mcap")}
    if not there["lerobot"] and not quick:
        raise MissingExtra("this needs lerobot 0.4.4, which is not installed").with_hint(
            f"{HOW['lerobot']}; --quick measures our side alone"
        )
    with tempfile.TemporaryDirectory(prefix="demos-bench-") as folder, ExitStack() as stack:
        root = Path(folder)
        sides = import_module("_sides")
        script = Path(__file__).with_name("_convert_side.py")
        names = (OURS, "floor", *(name for name in PEERS if there[name]))
        ask = {name: stack.enter_context(sides.side(script, name, root, {})) for name in names}
        started = {name: round(one(do="start")["start_s"], 2) for name, one in ask.items()}
        said = _prepare(root, ask, quick=quick, seed=seed, mcap=there["mcap"])
        cases = _cases(root, mcap=there["mcap"])
        found = {name: _measured(case, ask, 1 if quick else 3) for name, case in cases.items()}
        told = {name: _told(root, cases[name], took) for name, took in found.items()}
    absent = {n: f"is not installed; {HOW[n]}" for n, is_there in there.items() if not is_there}
    return {**_compared(cases, found), "start_s": started, **said, "cases": told, **absent}


def _prepare(root: Path, ask: Mapping[str, Any], *, quick: bool, seed: int, mcap: bool) -> Figures:
    make = import_module("_loader_content")
    large = (
        make.Content(1, 20, 1, 96, 64, seed) if quick else make.Content(2, 300, 2, 640, 480, seed)
    )
    small = make.Content(2, 10, 1, 64, 64, seed) if quick else make.Content(20, 50, 2, 84, 84, seed)
    ours = ask[OURS]
    ours(do="prepare", content=asdict(large), small=asdict(small))
    ours(do="export_source", store="session", source="lerobot_v21", to="groot")
    ours(do="export_source", store="session", source="own_hdf5.h5", to="hdf5")
    if mcap:
        ours(do="export_source", store="session", source="own_mcap", to="mcap")
    if "lerobot" in ask:
        ask["lerobot"](do="write_source", source="aloha_raw", to="lerobot_v30")
        ask["lerobot"](do="hold", store="session")
    else:
        ours(do="export_source", store="session", source="lerobot_v30", to="lerobot")
    return {
        name: f"{c.episodes} episodes of {c.steps} steps, {c.cameras} cameras, {c.width}x{c.height}"
        for name, c in (("content", large), ("small", small))
    }


def _cases(root: Path, *, mcap: bool) -> dict[str, Figures]:
    """Return the cases by name: source, and what is asked of each mode of each side."""
    found = {
        "import_aloha_raw": _import("aloha_raw", "aloha", "raw", peers=True),
        "import_robomimic_raw": _import("robomimic_raw.hdf5", "robomimic", "raw", peers=True),
        "import_aloha_jpeg": _import("aloha_jpeg", "aloha", "jpeg"),
        "import_xr_teleoperate": _import("xr_teleoperate", "xr_teleoperate", "jpeg"),
        "import_rlds": _import("rlds", "rlds", "jpeg"),
        "import_lerobot_v30": _import("lerobot_v30", "lerobot", "mp4"),
        "import_lerobot_v21": _import("lerobot_v21", "lerobot", "mp4"),
        "import_hdf5": _import("own_hdf5.h5", "hdf5", "mp4", "session/episodes"),
    }
    formats = ["lerobot", "hdf5"]
    if mcap:
        found["import_mcap"] = _import("own_mcap", "mcap", "mp4", "session/episodes")
        formats.append("mcap")
    for to in formats:
        asked = {
            OURS: ("ours", {"do": "export", "store": "session", "to": to}),
            "copy": ("floor", {"do": "copy", "source": "session/episodes"}),
        }
        if to == "lerobot":
            asked |= _lerobot("memory")
        found[f"export_{to}"] = {"source": "session/episodes", "asked": asked}
    real = _real()
    if real is not None:
        found["import_real_g1"] = _import(str(real), "lerobot", "mp4")
    return found


def _real() -> Path | None:
    import os

    checkout = Path(__file__).resolve().parents[2]
    place = Path(os.environ.get("DEMOS_REAL_DATA", checkout.parent / "shared" / "data")) / REAL
    return place if place.is_dir() else None


def _import(source: str, form: str, kind: str, video: str = "", *, peers: bool = False) -> Figures:
    """Describe an import; `video` is where the very images lie, where that is not the source."""
    place = source if Path(source).is_absolute() else f"sources/{source}"
    images = video or ("sources/aloha_jpeg" if kind == "jpeg" else place)
    asked: dict[str, tuple[str, Figures]] = {
        OURS: ("ours", {"do": "import_", "source": source, "form": form}),
        "copy": ("floor", {"do": "copy", "source": place}),
    }
    if kind != "raw":
        asked["decode"] = ("floor", {"do": "decode", "source": images, "kind": kind})
    if kind != "mp4":
        asked["encode"] = ("floor", {"do": "encode", "source": images, "kind": kind})
    if peers:
        asked |= _lerobot(source)
        for mode, alike in (("forge", False), ("forge_veryfast", True)):
            asked[mode] = ("forge", {"do": "convert", "source": source, "alike": alike})
    return {"source": place, "kind": kind, "asked": asked}


def _lerobot(source: str) -> dict[str, tuple[str, Figures]]:
    return {
        mode: ("lerobot", {"do": "write", "source": source, "streaming": streaming})
        for mode, streaming in (("lerobot_streaming", True), ("lerobot_png", False))
    }


def _measured(case: Figures, ask: Mapping[str, Any], repeats: int) -> dict[str, Figures]:
    """Let all modes take turns. A first turn of ours and the floors, with imports, does not count.

    Peers take their time: theirs counts, the median leaves it out, and after a minute of turns
    a mode of theirs has had enough.
    """
    modes = {mode: asked for mode, asked in case["asked"].items() if asked[0] in ask}
    took: dict[str, list[Figures]] = {mode: [] for mode in modes}
    for turn in range(1 + repeats):
        for mode, (side, request) in modes.items():
            spent_s = sum(each["wall_s"] for each in took[mode])
            if (turn and spent_s < _ENOUGH_S) or (not turn and side not in PEERS):
                answer = ask[side](**request)
                if turn:
                    took[mode].append(answer)
    return {
        mode: {key: statistics.median(each[key] for each in of) for key in of[0]}
        for mode, of in took.items()
    }


def _told(root: Path, case: Figures, took: Mapping[str, Figures]) -> Figures:
    size = _bytes_of(root / case["source"])
    return {
        "source_mb": round(size / 1e6, 2),
        **{
            mode: {
                "wall_s": round(each["wall_s"], 3),
                "cpu_s": round(each["cpu_s"], 3),
                "mb_per_s": round(size / 1e6 / each["wall_s"], 1),
                **({"out_mb": round(each["out_bytes"] / 1e6, 2)} if each["out_bytes"] else {}),
            }
            for mode, each in took.items()
        },
    }


def _compared(cases: Mapping[str, Figures], found: Mapping[str, Mapping[str, Figures]]) -> Figures:
    """Hold our seconds against the peers' and the floors'."""
    said: Figures = {"ratios": {}, "ratios_cpu": {}, "floors": {}, "floors_cpu": {}}
    said["floors_with_encoding"] = {}
    for name, took in found.items():
        for suffix, key in (("", "wall_s"), ("_cpu", "cpu_s")):
            ours = took[OURS][key]
            for peer, modes in PEERS.items():
                theirs = [took[mode][key] for mode in modes if mode in took]
                if theirs:
                    said[f"ratios{suffix}"].setdefault(name, {})[peer] = _share(min(theirs), ours)
            said[f"floors{suffix}"][name] = _share(ours, _floor(took, key, cases[name].get("kind")))
        if cases[name].get("kind") == "jpeg":
            with_encoding = max(took[mode]["wall_s"] for mode in FLOORS)
            said["floors_with_encoding"][name] = _share(took[OURS]["wall_s"], with_encoding)
    return said


def _floor(took: Mapping[str, Figures], key: str, kind: str | None) -> float:
    modes: Sequence[str] = ("copy", "encode") if kind == "raw" else ("copy", "decode")
    return max(float(took[mode][key]) for mode in modes if mode in took)


def _share(one: float, other: float) -> float:
    return round(one / other, 2) if other else 0.0


def _bytes_of(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())
