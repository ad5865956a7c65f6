"""Every change to a published store is found by `demos verify --deep`, and its place named.

One at a time, a file of every kind has a bit flipped, is cut short, deleted, or changes places with
another; the whole store is verified to the last byte, and the file restored.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("bit flip", "truncation", "deletion", "swap")


def run(*, quick: bool, seed: int) -> dict[str, Any]:
    """Tamper with two stores, one a container; `missed` names what was not found."""
    from demos.store import layout, verify

    total = 40 if quick else 300
    chance = random.Random(seed)
    found, missed, slowest_s = 0, [], 0.0
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="demos-tamper-") as folder:
        roots = [Path(folder) / kind for kind in layout.SIGNALS]
        for root in roots:
            _make(root, root.name, seed)
            assert verify(root, deep=True) == []
        for number in range(total):
            root = roots[number % len(roots)]
            kinds = _kinds(root)
            kind = list(kinds)[number // len(roots) % len(kinds)]
            way = chance.choice(WAYS)
            touched = _tamper(root, chance.choice(kinds[kind]), way, chance)
            began_s = time.perf_counter()
            problems = verify(root, deep=True)
            slowest_s = max(slowest_s, time.perf_counter() - began_s)
            named = [problem.path for problem in problems]
            for path, content in touched.items():
                path.write_bytes(content)
            lost = [p for p in touched if not _names(layout.relative(root, p), named)]
            found += not lost
            missed += [f"{way} of {layout.relative(root, path)}: {named}" for path in lost]
            counts[kind] = counts.get(kind, 0) + 1
        for root in roots:
            assert verify(root, deep=True) == []
    return {
        "tampered": total,
        "found": found,
        "missed": missed,
        "by_kind": dict(sorted(counts.items())),
        "verify_slowest_s": round(slowest_s, 3),
    }


def _make(root: Path, container: Any, seed: int) -> None:
    """Make a store with recorded and imported episodes, labels, results, selections."""
    import numpy as np
    import pandas as pd

    from demos.model import CameraInfo, Draft, Facts, SelectionRecord, Session, VideoFile
    from demos.provenance import made_by, new_id, new_label, now
    from demos.store import EpisodeStore, Recorder, withdraw

    rng = np.random.default_rng(seed)
    store = EpisodeStore.create(root, container)
    recorder = Recorder(store, embodiment="g1_dex3", operator="op-1", task="pick_place")
    camera = CameraInfo(width=64, height=48, rate_hz=30.0)
    for _ in range(2):
        with recorder.episode(origin="simulated") as taken:
            taken.declare_camera("egocentric", camera)
            for name, rate in (("joint_position", 500), ("wrench.left_wrist", 1000)):
                width = len(recorder.embodiment.streams[name].channels)
                time_ns = np.arange(rate, dtype=np.int64) * (1_000_000_000 // rate)
                taken.write(name, time_ns, rng.normal(size=(rate, width)).astype(np.float32))
            for number in range(15):
                image = rng.integers(0, 255, (48, 64, 3), np.uint8)
                taken.image("egocentric", number * 33_333_333, image)
            taken.label("outcome", annotator="op-1", role="operator", value="success")
    first = store.episode(store.episode_ids()[0])
    store.add_label(new_label(first.id, "use", annotator="r", role="reviewer", value="train"))
    video = root / "episodes" / first.id[-2:] / first.id / first.manifest.cameras["egocentric"].file
    for _ in range(2):
        session = Session(id=new_id(), embodiment="g1_dex3", operator="op-2", started_at=now())
        imported = Draft(
            session=session,
            facts=Facts(task="pick_place", recorded_at=now(), provenance=made_by("tamper")),
            streams=dict(first.streams),
            videos={"egocentric": VideoFile(video, camera, first.cameras["egocentric"].time_ns)},
        )
        store.publish(imported)
    withdraw(store, session.id)
    table = pd.DataFrame({"episode": store.episode_ids(), "metric": "m", "value": 1.0})
    store.add_results("scores", new_id(), "0", table)
    for number in (1, 2):
        store.add_selection(
            SelectionRecord(
                name="all",
                number=number,
                where="",
                created_at=now(),
                episodes=(),
                sha256="0" * 64,
            )
        )


def _kinds(root: Path) -> dict[str, list[Path]]:
    """Sort all files of a store by what they are."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            top = path.relative_to(root).parts[0]
            kind = path.name if top == "episodes" else path.suffix if top == "ledger" else top
            kinds.setdefault(kind, []).append(path)
    return dict(sorted(kinds.items()))


def _tamper(root: Path, path: Path, way: str, chance: random.Random) -> dict[Path, bytes]:
    """Do one thing to one file, or two; return what they held."""
    content = path.read_bytes()
    touched = {path: content}
    if way == "bit flip":
        at = chance.randrange(len(content))
        flipped = bytearray(content)
        flipped[at] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
    elif way == "truncation":
        path.write_bytes(content[: chance.randrange(len(content))])
    elif way == "deletion":
        path.unlink()
    else:
        others = [p for p in sorted(root.rglob("*")) if p.is_file() and p.read_bytes() != content]
        other = chance.choice(others)
        touched[other] = other.read_bytes()
        path.write_bytes(touched[other])
        other.write_bytes(content)
    return touched


def _names(path: str, named: list[str]) -> bool:
    return any(path == problem or path.startswith(f"{problem}/") for problem in named)
