"""One harmed recording, imported in a process of its own: how did it end, was anything touched?"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

from tests.fuzz.guard import Guarded, watched
from tests.fuzz.harms import harm
from tests.fuzz.sources import builders

MOST_MB = 1000
MOST_SECONDS = 150.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case ended. `problems` is empty where all is well."""

    format: str
    seed: int
    harms: tuple[str, ...]
    ended: str
    told: tuple[str, ...]
    problems: tuple[str, ...]
    unforeseen: tuple[str, ...] = ()
    peak_mb: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        """Say what went wrong and how to run it again alone."""
        again = f"python -m tests.fuzz {self.format} --seed {self.seed}"
        lines = [f"{self.format} {self.seed} ({'; '.join(self.harms)}): {self.ended}, {again}"]
        return "\n    ".join([*lines, *self.problems])


class Worker:
    """The importing process: begun when it is needed, again after it died, and after a block."""

    module = ("-m", "tests.fuzz.worker")

    def __init__(self, log: Path, *, block: int = 50) -> None:
        self._log, self._block = log, block
        self._process: subprocess.Popen[str] | None = None
        self._served = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, folder: Path, source: Path, format: str | None) -> dict[str, Any]:
        """Import, by format or as what it looks like; tell also what ended or hung the process."""
        if self._process is None or self._served >= self._block:
            self._begin()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._served += 1
        asked = {"folder": str(folder), "source": str(source), "format": format}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], MOST_SECONDS)
        line = process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            if max(answer["below_mb"], answer["peak_mb"]) > MOST_MB:
                self.stop()  # it would be told of all that follow, too
            return answer
        how = "the process ended by itself" if ready else f"no end after {MOST_SECONDS:.0f} s"
        self.stop()
        if ready:
            how += f" ({process.returncode}): {self._log.read_text(errors='replace')[-600:]}"
        return {"ended": "died" if ready else "hung", "told": [how], "hints": []}

    def stop(self) -> None:
        """End the process and what it began."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None

    def _begin(self) -> None:
        self.stop()
        self._served = 0
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=_ROOT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"},
            )


@dataclass(slots=True)
class Fuzz:
    """Harms the recordings of one importer after another, by seed; wholes are made once."""

    scratch: Path
    worker: Worker
    _whole: dict[tuple[str, int], tuple[Path, str]] = field(default_factory=dict)

    def trial(self, format: str, seed: int) -> Verdict:
        """Harm a recording as the seed says, import it, look whether anything is wrong."""
        rng = Random(zlib.crc32(f"{format} {seed}".encode()))
        number = rng.randrange(len(builders(format)))
        recording, place = self._recording(format, number)
        guarded = Guarded.make(self.scratch / "case", recording)
        harms = harm(guarded.source, rng, guarded.root)
        # most people name the format, others let it be found, there or below
        named = format if rng.random() < 0.7 else None
        source = guarded.source / (place if named or rng.random() < 0.5 else ".")
        before = guarded.state()
        with watched(guarded.root) as opened:
            ended = self.worker.run(guarded.root, source, named)
        problems = [*_wrong(ended), *(f"{name} was opened" for name in opened)]
        problems += guarded.changes(before)
        shutil.rmtree(guarded.root)
        return Verdict(
            format,
            seed,
            tuple(harms),
            ended["ended"],
            tuple(ended["told"]),
            tuple(problems),
            tuple(ended.get("unforeseen", ())),
            max(ended.get("peak_mb", 0.0), ended.get("below_mb", 0.0)),
            ended.get("seconds", MOST_SECONDS),
        )

    def _recording(self, format: str, number: int) -> tuple[Path, str]:
        """Return a folder with a whole recording, and the place in it of what is imported."""
        if (format, number) not in self._whole:
            folder = self.scratch / "whole" / f"{format}_{number}"
            folder.mkdir(parents=True)
            source = builders(format)[number](folder)
            self._whole[format, number] = folder, source.relative_to(folder).as_posix()
        return self._whole[format, number]


def _wrong(ended: dict[str, Any]) -> list[str]:
    problems = [*ended.get("wrong", ())]
    if ended["ended"] in ("raised", "died", "hung"):
        problems += ended["told"]
    if not all(ended["hints"]):
        problems.append(f"refused without a hint: {ended['told']}")
    for name, whose in (("peak_mb", "the import"), ("below_mb", "a process that it began")):
        if ended.get(name, 0.0) > MOST_MB:
            problems.append(f"{whose} took {ended[name]:.0f} MB of memory")
    return problems
