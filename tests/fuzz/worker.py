"""A process that imports one harmed recording after another and says how each ended.

It reads a line of JSON a case and answers with one. Parent: `tests.fuzz.trial`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from demos.errors import DemosError
from demos.importers import import_source, importers
from demos.store import EpisodeStore

MOST_ADDRESSES = 12 * 2**30
"""A bomb may not take the machine down while it is being measured."""

_BLANKET = ("it cannot be read:", " recording: ")
"""How `attempt` and `open_source` begin where nobody foresaw what was wrong."""


def imported(source: Path, store: Path, format: str | None) -> dict[str, Any]:
    """Import and read back; every refusal must have a hint."""
    made = EpisodeStore.create(store)
    try:
        report = import_source(source, made, format=format)
    except DemosError as error:
        return {"ended": "refused", "told": [str(error)], "hints": [error.hint]}
    wrong = []
    if sorted(made.episode_ids()) != sorted(episode for _, episode in report.episodes):
        wrong.append("the store holds other episodes than the report")
    for _, episode in report.episodes:
        for name, stream in made.episode(episode).streams.items():
            if len(stream.time_ns) != len(stream.values):
                wrong.append(f"{name} reads back with other stamps than values")
    told = [reason for _, reason, _ in report.skipped]
    return {
        "ended": "imported" if report.episodes else "skipped",
        "told": told,
        "hints": [hint for _, _, hint in report.skipped],
        "wrong": wrong,
    }


def case(folder: Path, source: Path, format: str | None) -> dict[str, Any]:
    """Import in a guarded folder; return how it ended, and what it took."""
    os.chdir(folder / "work")
    os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"))
    tempfile.tempdir = None
    _forget_peak()
    began = time.monotonic()
    try:
        ended = imported(source, folder / "store", format)
    except BaseException as error:  # noqa: BLE001 (whatever it is, it is what is looked for)
        where = traceback.format_exception(error)
        ended = {"ended": "raised", "told": ["".join(where)[-3000:]], "hints": []}
    ended["unforeseen"] = [
        each[:300] for each in ended["told"] if any(mark in each for mark in _BLANKET)
    ]
    ended["told"] = [each[:3000] for each in ended["told"][:5]]
    ended["seconds"] = time.monotonic() - began
    ended["peak_mb"] = _peak_mb()
    ended["below_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return ended


def _forget_peak() -> None:
    """Let VmHWM count anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def serve() -> None:
    """Answer cases until there are no more; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in importers:
        importers[name]()
    warnings.simplefilter("error")
    for line in sys.stdin:
        said = json.loads(line)
        ended = case(Path(said["folder"]), Path(said["source"]), said["format"])
        print(json.dumps(ended), file=answers, flush=True)


if __name__ == "__main__":
    serve()
