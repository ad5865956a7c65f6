"""Say redo, check or good of episodes, from what checks, metrics and people said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import perf_counter

from demos import labels, verdict
from demos.errors import DemosError
from demos.jobs import state
from demos.jobs.chunks import Progress
from demos.jobs.runs import Failure, Report, write
from demos.jobs.state import Row
from demos.provenance import new_id
from demos.store import EpisodeStore

JUDGED_BY = ("findings", "scores", "proposals", "verdicts")
"""The kinds of results that a verdict rests on, its own last one included."""


Known = Mapping[str, Mapping[str, list[Row]]]


def judge_store(
    store: EpisodeStore,
    ids: Iterable[str] | None = None,
    *,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say redo, check or good of every episode; results of kind `verdicts`.

    From the newest findings and scores and from the outcome: people's where there is one, else
    the machine's proposal. A simulator's truth is not looked at. `known` are the newest results
    per kind and episode where they are at hand; by default all are read.
    """
    started, run = perf_counter(), new_id()
    wanted = list(dict.fromkeys(ids)) if ids is not None else store.episode_ids()
    known = known or {kind: state.newest(store, kind) for kind in JUDGED_BY}
    rows: list[Row] = []
    failed: list[Failure] = []
    reused = 0
    for number, episode in enumerate(wanted):
        try:
            row = _judged(store, episode, known)
        except DemosError as error:
            failed.append(Failure(episode, str(error), error.hint))
            continue
        if row["key"] in {old.get("key") for old in known["verdicts"].get(episode, ())}:
            reused += 1
        else:
            rows.append(row)
        if progress is not None:
            progress(number + 1, len(wanted))
    for start in range(0, len(rows), 1000):
        write(store, "verdicts", run, rows[start : start + 1000])
    return Report("verdicts", run, len(rows), reused, tuple(failed), perf_counter() - started)


def _judged(store: EpisodeStore, episode: str, known: Known) -> Row:
    own = {kind: rows.get(episode, []) for kind, rows in known.items()}
    opinions = [*store.labels(episode), *state.labels_in(own["proposals"])]
    outcome = labels.current((o for o in opinions if o.role != "simulator"), "outcome")
    intent = store.manifest(episode).intent
    found = verdict.judge(
        state.findings_in(own["findings"]), state.scores_in(own["scores"]), outcome, intent=intent
    )
    parts = [found.verdict, found.reasons, verdict.VERSION]
    return {
        "episode": episode,
        "verdict": found.verdict,
        "reasons": "; ".join(found.reasons),
        "plugin": "verdict",
        "key": state.digest(parts),
    }
