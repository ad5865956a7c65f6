"""What a run over many episodes did, and where its answers go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demos.jobs import state
from demos.jobs.state import Row
from demos.store import EpisodeStore


@dataclass(frozen=True, slots=True)
class Failure:
    """An episode that could not be worked on, why, and what to do."""

    episode: str
    error: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: episodes done now, found done, and failed. `run` names its results."""

    kind: str
    run: str
    done: int
    reused: int
    failed: tuple[Failure, ...]
    seconds: float


def write(store: EpisodeStore, kind: str, run: str, rows: Sequence[Row]) -> None:
    """Publish the rows of one chunk as a part of a run's results."""
    if rows:
        part = state.digest(sorted({str(row["episode"]) for row in rows}))[:16]
        store.add_results(kind, run, part, state.table_of(rows))
