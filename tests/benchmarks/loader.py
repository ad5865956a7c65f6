"""How many windows a second come out of the loader, beside lerobot's own dataset.

Both sides record the same content (`_loader_content.py`), lerobot as H.264, which it reads faster
than its default AV1. Each runs in a process of its own; they take turns, five times, and the median
counts. `direct` asks for one window after another, `loader_0` and `loader_2` are PyTorch's
DataLoader with so many workers (batches of 64 without images, of 8 with). A ratio is our best mode
over lerobot's best mode, in windows a second of wall time.

`ratios` are over lerobot's best video backend with one thread for tensors (OMP_NUM_THREADS=1): with
one a core, which is the default, they wait for each other, and the fewer cores are free, the more.
`ratios_as_installed` are over the better of its default backend so and its workers, which have one
thread always.

Our images are uint8, lerobot's float32, as each gives them; `training` trains lerobot's ACT on the
very same items from both. `psnr_db` says how near the images of each come to those that were drawn
(lerobot encodes with crf 30, we with 23). Proxies are images of 224x224: ours cached and drawn in
local order, lerobot's recorded at that size and drawn at random. `cold` is with 640x480 images
after the system was asked to forget the files.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from demos.errors import MissingExtra

CASES = {
    "low_dim": "low_dim_windows",
    "full_size": "full_size_windows",
    "proxy": "proxy_windows",
    "sequential": "sequential",
}
HOW = "in a checkout: make .venv-lerobot/ready && .venv-lerobot/bin/demos bench loader"
OURS = "ours"
AS_INSTALLED = "torchcodec_as_installed"
PEERS = ("torchcodec", "pyav", AS_INSTALLED)
Figures = dict[str, Any]


def run(*, quick: bool, seed: int) -> Figures:
    """Record, then measure windows a second; `ratios` are ours over lerobot's."""
    peers = PEERS[: 1 if quick else None] if find_spec("lerobot") and find_spec("torch") else ()
    if not peers and not quick:
        raise MissingExtra("this needs lerobot 0.4.4 and torch, which are not installed").with_hint(
            f"{HOW}; --quick measures our side alone"
        )
    repeats, seconds = (3, 0.3) if quick else (5, 1.5)
    with tempfile.TemporaryDirectory(prefix="demos-bench-") as folder:
        root = Path(folder)
        found = _record(root, peer=bool(peers), quick=quick, seed=seed)
        sides = (OURS, *peers)
        found["windows_per_s"] = _measured(root, sides, repeats, seconds)
        found["cold"] = _cold(root, sides, 1 if quick else 3, seconds)
        found["open_s"], found["resident_mb"] = _opened(root, sides, seconds)
        found["psnr_db"] = _quality(root, sides[:2], found.pop("drawn"))
        if not peers:
            return {"lerobot": f"is not installed, so this is our side alone; {HOW}", **found}
        found["training"] = _trained(root, sides[:2], 3 if quick else 10)
    measured = {
        **{CASES[case]: modes for case, modes in found["windows_per_s"].items()},
        "cold": {"direct": found["cold"]},
    }
    ratios = {case: _ratio(modes, peers) for case, modes in measured.items()}
    if quick:
        return {"ratios": ratios, **found}
    installed = {case: _ratio(modes, (AS_INSTALLED,)) for case, modes in measured.items()}
    return {"ratios": ratios, "ratios_as_installed": installed, **found}


def _record(root: Path, *, peer: bool, quick: bool, seed: int) -> Figures:
    make = _beside("_loader_content")
    some, large = ((3, 60), (1, 60)) if quick else ((20, 300), (4, 300))
    contents = {
        "content": make.Content(*some, 2, 320, 240, seed),
        "large": make.Content(*large, 3, 640, 480, seed),
    }
    (root / OURS).mkdir()
    for name, content in contents.items():
        make.record_ours(content, root / OURS / name)
    sizes = {OURS: make.bytes_of(root / OURS / "content")}
    if peer:
        with _side("torchcodec", root) as ask:
            for name, content in contents.items():
                ask(do="record", content=asdict(content), name=name)
            ask(do="record", content=asdict(contents["content"]), name="small")
        sizes["lerobot"] = make.bytes_of(root / "lerobot" / "content")
    said = {
        name: f"{c.episodes} episodes of {c.steps} steps, {c.cameras} cameras, {c.width}x{c.height}"
        for name, c in contents.items()
    }
    return {**said, "bytes_on_disk": sizes, "drawn": asdict(contents["content"])}


def _measured(root: Path, sides: Sequence[str], repeats: int, seconds: float) -> Figures:
    """Measure all cases, by mode and side; workers first, as lerobot's decoders survive no fork."""
    modes = ["direct"] if not find_spec("torch") else ["loader_2", "loader_0", "direct"]
    found: Figures = {}
    with ExitStack() as stack:
        asked = {side: stack.enter_context(_side(side, root)) for side in sides}
        for mode in modes:
            for case in CASES:
                if case == "sequential" and mode != "direct":
                    continue
                who = [side for side in sides if (case, side) != ("low_dim", "pyav")]
                for side in who:
                    asked[side](do="open", case=case, mode=mode)
                rates: dict[str, list[Figures]] = {side: [] for side in who}
                for _ in range(repeats):
                    for side in who:
                        request = {"do": "measure", "case": case, "mode": mode}
                        rates[side].append(asked[side](**request, seconds=seconds))
                for side in who:
                    asked[side](do="close", case=case, mode=mode)
                found.setdefault(case, {})[mode] = _medians(rates)
    return found


def _cold(root: Path, sides: Sequence[str], repeats: int, seconds: float) -> Figures:
    """Measure 3 cameras at 640x480, each time after the files were dropped from the page cache."""
    rates: dict[str, list[Figures]] = {side: [] for side in sides}
    case = {"case": "large", "mode": "direct"}
    for _ in range(repeats):
        for side in sides:
            with _side(side, root) as ask:
                ask(do="open", **case)  # makes our cache, and imports
                ask(do="close", **case)
                ask(do="drop")
                ask(do="open", **case)
                rates[side].append(ask(do="measure", **case, seconds=seconds))
    return _medians(rates)


def _opened(root: Path, sides: Sequence[str], seconds: float) -> tuple[Figures, Figures]:
    """Open anew in a fresh process, take full-size windows, and say what is resident then."""
    opened, resident = {}, {}
    for side in sides:
        with _side(side, root) as ask:
            ask(do="open", case="low_dim", mode="direct")  # imports
            answer = ask(do="open", case="full_size", mode="direct")
            opened[side] = round(answer["open_s"], 4)
            ask(do="measure", case="full_size", mode="direct", seconds=seconds)
            resident[side] = round(ask(do="memory")["resident_mb"])
    return opened, resident


def _quality(root: Path, sides: Sequence[str], content: Figures) -> Figures:
    """Hold the images of both sides against those that were drawn."""
    found: Figures = {}
    for side in sides:
        with _side(side, root) as ask:
            for case in ("full_size", "proxy"):
                answer = ask(do="quality", case=case, content=content)
                found.setdefault(case, {})[side] = round(answer["psnr_db"], 2)
    return found


def _trained(root: Path, sides: Sequence[str], steps: int) -> Figures:
    found = {}
    for side in sides:
        with _side(side, root) as ask:
            answer = ask(do="train", steps=steps)
            found[side] = {name: round(value, 3) for name, value in answer.items()}
    return found


def _medians(rates: dict[str, list[Figures]]) -> Figures:
    return {
        side: {
            "per_s": round(statistics.median(each["per_s"] for each in of), 1),
            "cpu_ms": round(statistics.median(each["cpu_ms"] for each in of), 3),
        }
        for side, of in rates.items()
    }


def _ratio(modes: Figures, peers: Sequence[str]) -> float:
    """Divide our best mode by the best mode of the best of `peers`."""
    ours: float = max(sides[OURS]["per_s"] for sides in modes.values())
    theirs: float = max(
        sides[peer]["per_s"] for sides in modes.values() for peer in peers if peer in sides
    )
    return round(ours / theirs, 1)


@contextmanager
def _side(name: str, root: Path) -> Iterator[Any]:
    """Run one side in a process of its own; give a function that asks it."""
    script = str(Path(__file__).with_name("_loader_side.py"))
    said, environment = root / f"{name}.log", dict(os.environ)
    if name != AS_INSTALLED:
        environment["OMP_NUM_THREADS"] = "1"
    with said.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, script, name, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )

    def ask(**request: Any) -> Figures:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended at {request}:\n{said.read_text()[-2000:]}")
        answer: Figures = json.loads(line)
        return answer

    try:
        yield ask
    finally:
        process.communicate()


def _beside(name: str) -> Any:
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
