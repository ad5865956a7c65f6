"""The work that `demos bench crash` interrupts, in a process of its own.

    python _crash_work.py serve                    fork a worker for every line on standard input
    python _crash_work.py journal ROOT FILE SEED   work once, writing down every write and sync

A worker says what it was promised through `say`: `samples`, `packets` (how many of a recording are
acknowledged), `synced` (how many are on disk), `episode`, `file`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from demos.model import (
    CameraInfo,
    Draft,
    Facts,
    Finding,
    SelectionRecord,
    Session,
    Stream,
    StreamInfo,
    VideoFile,
)
from demos.provenance import made_by, new_id, new_label, now
from demos.store import EpisodeStore, Recorder, layout
from demos.store.encoding import Encoder, Packet, mux

Say = Callable[..., None]
CHANNELS = 31
STEP_NS = 2_000_000
IMAGE_NS = 33_333_333
CAMERA = CameraInfo(width=64, height=48, rate_hz=30.0)
INFO = StreamInfo(
    units=("rad",) * CHANNELS, channels=tuple(f"joint_{i}" for i in range(CHANNELS)), rate_hz=500.0
)


def sample(number: int) -> Any:
    """What sample `number` of every recording holds, (31,) float32."""
    return np.arange(CHANNELS, dtype=np.float32) + np.float32(number)


def packets(count: int) -> list[Packet]:
    """Encode a moving bar, one packet an image."""
    encoder, made = Encoder(CAMERA.width, CAMERA.height, 30.0), []
    for number in range(count):
        image = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        image[:, number % CAMERA.width] = 255
        made += encoder.encode(image)
    first = made[0]
    made[0] = Packet(encoder.extradata + first.data, first.pts, first.dts, first.key)
    return made


def make_store(root: Path, video: Path) -> str:
    """Make a store with one episode in it, and the video that imports copy; return the id."""
    store = EpisodeStore.create(root)
    encoded = packets(20)
    mux(video, encoded, np.arange(20) * IMAGE_NS, size=(CAMERA.width, CAMERA.height))
    return store.publish(draft(video)).id


def draft(video: Path) -> Draft:
    """Make an import: 200 samples, a video, a label, a finding."""
    nobody = new_id()
    time_ns = np.arange(200, dtype=np.int64) * STEP_NS
    values = np.stack([sample(i) for i in range(200)])
    return Draft(
        session=Session(id=new_id(), embodiment="g1_dex3", operator="op", started_at=now()),
        facts=Facts(task="pick_place", recorded_at=now(), provenance=made_by("crash")),
        streams={"joint_position": Stream(time_ns, values, INFO)},
        videos={"egocentric": VideoFile(video, CAMERA, np.arange(20) * IMAGE_NS)},
        labels=(new_label(nobody, "outcome", annotator="m", role="machine", value="success"),),
        findings=(Finding(episode=nobody, check="c", severity="info", message="m"),),
    )


class Work:
    """All kinds of work on one store, each as long as it is let."""

    def __init__(self, root: Path, video: Path, say: Say, seed: int) -> None:
        self.store, self.video, self.say = EpisodeStore.open(root), video, say
        self.base = self.store.episode_ids()[0]
        self.random = np.random.default_rng(seed)
        self.encoded = packets(20)

    def recording(self, limit_s: float) -> None:
        """Record until the time is over, then publish."""
        recorder = Recorder(self.store, embodiment="g1_dex3", operator="op", task="pick_place")
        end_s = time.monotonic() + limit_s
        with recorder.episode(origin="simulated") as taken:
            taken.declare("joint_position", INFO)
            taken.declare_camera("egocentric", CAMERA)
            samples = images = 0
            on_disk: list[tuple[int, int]] = []
            while samples < 40 or time.monotonic() < end_s:
                taken.write("joint_position", samples * STEP_NS, sample(samples))
                samples += 1
                self.say("samples", taken.id, samples)
                if samples % 17 == 0 and images < len(self.encoded):
                    taken.packet("egocentric", images * IMAGE_NS, self.encoded[images])
                    images += 1
                    self.say("packets", taken.id, images)
                on_disk.append((taken.counters.acknowledged_blocks, samples))
                synced = taken.counters.synced_blocks
                while on_disk and on_disk[0][0] <= synced:
                    self.say("synced", taken.id, on_disk.pop(0)[1])
                if samples == 300:
                    taken.label("outcome", annotator="op", role="operator", value="success")
                    self.say("label", taken.id, 1)
                time.sleep(0.0003)
        self.say("episode", taken.id, samples)

    def publishing(self, limit_s: float) -> None:
        """Record a little and publish it, again and again."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            self.recording(0.01)

    def importing(self, limit_s: float) -> None:
        """Publish an import with a video, again and again."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            self.say("episode", self.store.publish(draft(self.video)).id, 200)

    def indexing(self, limit_s: float) -> None:
        """Add labels, results and selections and index them, again and again."""
        for _ in self._indexing(limit_s, catalog=True):
            pass

    def filing(self, limit_s: float) -> None:
        """Add labels, results and selections, again and again."""
        for _ in self._indexing(limit_s, catalog=False):
            pass

    def _indexing(self, limit_s: float, *, catalog: bool) -> Iterator[None]:
        import pandas as pd

        end_s, number = time.monotonic() + limit_s, 0
        while time.monotonic() < end_s:
            label = new_label(self.base, "use", annotator="a", role="reviewer", value="train")
            self._file(self.store.add_label(label))
            table = pd.DataFrame({"episode": [self.base], "metric": ["m"], "value": [number]})
            self._file(self.store.add_results("scores", new_id(), "0", table))
            number = self.store.next_selection_number("all")
            frozen = SelectionRecord(
                name="all",
                number=number,
                where="",
                created_at=now(),
                episodes=(),
                sha256="0" * 64,
            )
            self._file(self.store.add_selection(frozen))
            if catalog:
                self._reindex()
            yield

    def _reindex(self) -> None:
        import demos

        demos.open(self.store.root).reindex()

    def _file(self, path: Path) -> None:
        self.say("file", layout.relative(self.store.root, path), 1)


def _serve() -> None:
    """Fork a worker for each command; answer with its number, and again when it has died."""
    packets(1)
    importlib.import_module("demos.library")
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            fd = os.open(command["fifo"], os.O_WRONLY)

            def say(*words: Any, fd: int = fd) -> None:
                os.write(fd, (json.dumps(words) + "\n").encode())

            work = Work(Path(command["root"]), Path(command["video"]), say, command["seed"])
            say("ready")
            getattr(work, command["kind"])(command["limit_s"])
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)


def _journal(root: Path, file: Path, seed: int) -> None:
    cuts = importlib.import_module("_power_cuts")
    with cuts.Journal(root, file) as journal:
        work = Work(root, root.parent / "video.mp4", journal.say, seed)
        for limit_s, kind in ((1.6, "recording"), (0.6, "publishing"), (0.6, "importing")):
            getattr(work, kind)(limit_s)
        work.filing(0.6)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve()
    else:
        _journal(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
