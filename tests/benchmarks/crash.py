"""Nothing acknowledged is lost when a process is killed, nothing synced when the power fails.

Processes that record, publish, import and index are killed at random moments; then the store is
recovered, verified to the last byte and compared with what it had promised. For power cuts every
write, rename and sync of such work is written down and only what had to survive is rebuilt.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

KINDS = {"recording": 1.2, "publishing": 1.6, "importing": 1.2, "indexing": 1.2}
Promises = dict[tuple[str, str], int]


def run(*, quick: bool, seed: int) -> dict[str, Any]:
    """Kill and cut the power; every figure but the first two is to be zero, or at most 1 s."""
    kills, power_cuts = (12, 8) if quick else (100, 50)
    work = import_module("_crash_work")
    found = dict.fromkeys(("lost_acknowledged", "lost_synced", "half_published", "unreadable"), 0)
    detail: list[str] = []
    with tempfile.TemporaryDirectory(prefix="demos-crash-") as folder:
        place = Path(folder)
        work.make_store(place / "fresh", place / "video.mp4")
        with _server() as server:
            for number in range(kills):
                _kill(server, place, number, seed + number, found, detail)
        at_risk_s = 0.0
        journals = 1 if quick else 5
        for number in range(journals):
            share = power_cuts // journals
            at_risk_s = max(at_risk_s, _cut(place, share, seed + number, found, detail))
    return {
        "kills": kills,
        "power_cuts": power_cuts,
        "lost_acknowledged": found["lost_acknowledged"],
        "lost_synced": found["lost_synced"],
        "seconds_at_risk_max": round(at_risk_s, 3),
        "half_published": found["half_published"],
        "unreadable": found["unreadable"],
        "promises_checked": found["promises_checked"],
        "problems": detail[:20],
    }


@contextmanager
def _server() -> Iterator[subprocess.Popen[str]]:
    script = str(Path(__file__).with_name("_crash_work.py"))
    with subprocess.Popen(
        [sys.executable, script, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(timeout=60)


def _kill(
    server: subprocess.Popen[str],
    place: Path,
    number: int,
    seed: int,
    found: dict[str, int],
    detail: list[str],
) -> None:
    """Let a process work on a fresh store, kill it at a random moment, and judge what is left."""
    chance = random.Random(seed)
    kind = list(KINDS)[number % len(KINDS)]
    root, fifo = place / f"kill-{number}", place / f"say-{number}"
    shutil.copytree(place / "fresh", root)
    os.mkfifo(fifo)
    command = {
        "kind": kind,
        "root": str(root),
        "video": str(place / "video.mp4"),
        "fifo": str(fifo),
        "seed": seed,
        "limit_s": KINDS[kind] + 30.0,
    }
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(command) + "\n")
    server.stdin.flush()
    worker = int(server.stdout.readline())
    with fifo.open("rb") as said:
        first = said.readline()
        lines: list[bytes] = [first]
        reader = threading.Thread(target=lambda: lines.extend(said))
        reader.start()
        time.sleep(chance.uniform(0.0, KINDS[kind]))
        os.kill(worker, 9)
        reader.join()
    server.stdout.readline()
    promises = _promises(json.loads(line) for line in lines if line.endswith(b"\n"))
    _judge(root, promises, "lost_acknowledged", found, detail, f"{kind} {number}")
    shutil.rmtree(root)
    fifo.unlink()


def _promises(said: Any) -> Promises:
    """Keep the latest of each promise: (what, whose) -> how many."""
    return {(words[0], words[1]): words[2] for words in said if len(words) == 3}


def _judge(
    root: Path,
    promises: Promises,
    loss: str,
    found: dict[str, int],
    detail: list[str],
    what: str,
) -> None:
    """Recover a store, verify it, and count which promises are broken."""
    from demos.errors import DemosError
    from demos.store import EpisodeStore, recover, verify

    store = EpisodeStore.open(root)
    before = _whole(store, found, "half_published", detail, what)
    try:
        done = recover(store)
        problems = [*map(str, verify(root, deep=True)), *map(str, done.failed.items())]
        again = recover(store)
        problems += [f"a second recover did {again}"] if again != type(again)() else []
    except DemosError as error:
        problems = [f"recover: {error}"]
    found["unreadable"] += len(problems)
    detail += [f"{what}: {problem}" for problem in problems]
    if not before <= set(store.episode_ids()):
        detail.append(f"{what}: recovering lost {before - set(store.episode_ids())}")
        found[loss] += 1
    whole = _whole(store, found, "half_published", detail, what)
    found["promises_checked"] = found.get("promises_checked", 0) + len(promises)
    for (kind, name), count in promises.items():
        try:
            kept = _kept(store, kind, name, count, whole)
        except DemosError:
            kept = False
        if not kept:
            found[loss] += 1
            detail.append(f"{what}: {kind} {name} {count}")


def _whole(store: Any, found: dict[str, int], key: str, detail: list[str], what: str) -> set[str]:
    """Read every published episode whole and count those that are not."""
    import numpy as np

    from demos.errors import DemosError

    sample = import_module("_crash_work").sample
    ids = set(store.episode_ids())
    for episode_id in ids:
        problem = ""
        try:
            episode = store.episode(episode_id)
            for name, stream in episode.streams.items():
                expected = np.stack([sample(i) for i in range(len(stream))])
                if name != "joint_position" or not np.array_equal(stream.values, expected):
                    problem = f"stream {name} holds something else"
            for camera in episode.cameras.values():
                camera.images([0, len(camera) - 1])
        except DemosError as error:
            problem = str(error)
        if problem:
            found[key] += 1
            detail.append(f"{what}: episode {episode_id}: {problem}")
    return ids


def _kept(store: Any, kind: str, name: str, count: int, whole: set[str]) -> bool:
    if kind == "file":
        return bool((store.root / name).exists())
    if name not in whole:
        return False
    episode = store.episode(name)
    if kind == "packets":
        return len(episode.cameras["egocentric"]) >= count
    if kind == "label":
        return len(episode.labels) >= count
    stream = episode.streams.get("joint_position")
    return stream is not None and len(stream) >= count


def _cut(place: Path, cuts: int, seed: int, found: dict[str, int], detail: list[str]) -> float:
    """Work once with a journal, cut it at random places, judge each; return seconds at risk."""
    power = import_module("_power_cuts")
    root, file = place / "journalled", place / "journal"
    shutil.copytree(place / "fresh", root)
    script = str(Path(__file__).with_name("_crash_work.py"))
    subprocess.run([sys.executable, script, "journal", str(root), str(file), str(seed)], check=True)
    entries: list[tuple[Any, ...]] = pickle.loads(file.read_bytes())
    chance = random.Random(seed)
    # half of the cuts anywhere, half where names change or are synced: most entries are samples
    turns = [i for i, entry in enumerate(entries) if entry[0] not in ("write", "say", "open")]
    places = [chance.randrange(len(entries)) for _ in range(cuts - cuts // 2)]
    places += [chance.choice(turns) for _ in range(cuts // 2)]
    disk, played = power.Disk(root, place / "fresh"), 0
    for number, at in enumerate(sorted(places)):
        for entry in entries[played : at + 1]:
            disk.play(entry)
        played = at + 1
        left = place / f"cut-{number}"
        disk.cut(left, chance)
        # of what was said, only this was promised to survive a power cut
        said = [words for words in disk.said if words[0] in ("synced", "episode", "file")]
        _judge(left, _promises(said), "lost_synced", found, detail, f"cut {seed} at {at}")
        shutil.rmtree(left)
    shutil.rmtree(root)
    return _at_risk_s(entries)


def _at_risk_s(entries: list[tuple[Any, ...]]) -> float:
    """Return the longest time between a write to a recording and the end of the sync of it."""
    logs = {entry[1] for entry in entries if entry[0] == "open" and entry[2].endswith(".log")}
    waiting: dict[int, list[float]] = {log: [] for log in logs}
    begun: dict[int, int] = {}
    worst = 0.0
    for entry in entries:
        handle = entry[1]
        if entry[0] == "write" and handle in logs:
            waiting[handle].append(entry[-1])
        elif entry[0] == "sync" and handle in logs:
            begun[handle] = len(waiting[handle])
        elif entry[0] == "synced" and handle in logs:
            done, waiting[handle] = (
                waiting[handle][: begun[handle]],
                waiting[handle][begun[handle] :],
            )
            worst = max([worst, *(entry[-1] - written for written in done)])
    return worst
