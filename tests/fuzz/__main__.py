"""Run harmed recordings by hand: `python -m tests.fuzz FORMAT [--seed N] [--count N]`."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from demos.importers import importers
from tests.fuzz.trial import Fuzz, Worker


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("format", choices=list(importers))
    parser.add_argument("--seed", type=int, default=0, help="the first, or the only one")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--unforeseen", action="store_true", help="tell of blanket refusals too")
    said = parser.parse_args()
    ends: Counter[str] = Counter()
    peak, highest, bad, unforeseen, began = 0.0, -1, 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="demos-fuzz-") as scratch:
        folder = Path(scratch)
        with Worker(folder / "worker.log") as worker:
            fuzz = Fuzz(folder, worker)
            for seed in range(said.seed, said.seed + said.count):
                verdict = fuzz.trial(said.format, seed)
                ends[verdict.ended] += 1
                peak, highest = max((peak, highest), (verdict.peak_mb, seed))
                bad += bool(verdict.problems)
                unforeseen += bool(verdict.unforeseen)
                if verdict.problems or said.count == 1:
                    print(verdict, flush=True)
                if said.count == 1:
                    print(*verdict.told, f"{verdict.peak_mb:.0f} MB", sep="\n")
                if said.unforeseen and verdict.unforeseen:
                    print(f"unforeseen {seed} {verdict.harms}: {verdict.unforeseen[0]}", flush=True)
                if verdict.seconds > 20:
                    print(f"slow {seed} {verdict.harms}: {verdict.seconds:.0f} s", flush=True)
    print(
        f"{said.format}: {said.count} files, {dict(ends)}, {bad} bad, {unforeseen} unforeseen, "
        f"peak {peak:.0f} MB (seed {highest}), {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
