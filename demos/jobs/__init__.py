"""Check, score, propose, judge and count over many episodes, through Dask, resumable.

Every chunk's results are one parquet part, written as soon as it is back. Each row carries the key
of what made it (the manifest's hash, the plug-in, its version and parameters), so a second run
finds everything done and a killed run goes on where it was. The newest run that speaks of an
episode says everything of its kind about it: rows of plug-ins that were not asked again are
carried over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from importlib.util import find_spec
from time import perf_counter

from demos import coverage as grid
from demos import duplicates
from demos.checks import checks
from demos.checks import run as examine
from demos.errors import DemosError
from demos.jobs import state
from demos.jobs.chunks import Answer, One, Progress, Task, dispatch, reduced
from demos.jobs.judging import JUDGED_BY, judge_store
from demos.jobs.runs import Failure, Report, write
from demos.jobs.state import Row
from demos.metrics import measure, metrics
from demos.model import Finding, Label, Plan, Score
from demos.proposals import proposals, propose
from demos.provenance import new_id
from demos.store import EpisodeStore

__all__ = [
    "JUDGED_BY",
    "Failure",
    "Progress",
    "Report",
    "analyse_store",
    "check_store",
    "coverage",
    "findings",
    "fingerprint_store",
    "judge_store",
    "propose_store",
    "repeated",
    "score_store",
    "scores",
]

_ALL = "all_checks"


def check_store(
    store: EpisodeStore,
    ids: Iterable[str] | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Examine episodes with every check; results of kind `findings`.

    Each episode also gets one finding of severity info, `all_checks`, that says it was examined;
    one that cannot be read gets a critical finding and is tried again the next time.
    """
    known = {n: (c.version, sorted(c.thresholds.items())) for n, c in checks.items()}
    return _run(
        store, "findings", ids, {_ALL: state.digest(known)}, _checked, scheduler, workers, progress
    )


def score_store(
    store: EpisodeStore,
    ids: Iterable[str] | None = None,
    *,
    names: Iterable[str] | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure episodes with every metric, or the named ones; results of kind `scores`.

    Raises UnknownName for a metric that is not there.
    """
    # without MuJoCo paths are measured in joint space, with it in metres
    kinematics = find_spec("mujoco") is not None
    wanted = {name: state.digest(metrics[name].version, kinematics) for name in (names or metrics)}
    return _run(store, "scores", ids, wanted, _scored, scheduler, workers, progress)


def propose_store(
    store: EpisodeStore,
    ids: Iterable[str] | None = None,
    *,
    names: Iterable[str] | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Propose labels for episodes; results of kind `proposals`, a label as JSON in each row."""
    wanted = {name: str(proposals[name].version) for name in (names or proposals)}
    return _run(store, "proposals", ids, wanted, _proposed, scheduler, workers, progress)


def fingerprint_store(
    store: EpisodeStore,
    ids: Iterable[str] | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Take the fingerprints by which copies are found; results of kind `fingerprints`."""
    wanted = {"fingerprint": str(duplicates.VERSION)}
    return _run(store, "fingerprints", ids, wanted, _printed, scheduler, workers, progress)


def repeated(store: EpisodeStore, ids: Iterable[str]) -> list[duplicates.Pair]:
    """Return the pairs of episodes among `ids` that are one, by the fingerprints that are taken."""
    known = state.newest(store, "fingerprints")
    rows = [row for episode in dict.fromkeys(ids) for row in known.get(episode, ())]
    motion = lru_cache(512)(lambda episode: duplicates.motion_of(store.episode(episode)))
    return list(duplicates.pairs([duplicates.from_row(row) for row in rows], motion))


def analyse_store(
    store: EpisodeStore,
    ids: Iterable[str] | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Report]:
    """Check, score, propose and judge, in this order; `progress(step, done, total)`."""
    wanted = list(ids) if ids is not None else store.episode_ids()
    reports = []
    steps = (("check", check_store), ("score", score_store), ("propose", propose_store))
    for name, step in steps:
        reports.append(
            step(
                store, wanted, scheduler=scheduler, workers=workers, progress=_named(progress, name)
            )
        )
    return [*reports, judge_store(store, wanted, progress=_named(progress, "judge"))]


def _named(progress: Callable[[str, int, int], None] | None, step: str) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(step, done, total)


@cache
def _store(root: str) -> EpisodeStore:
    return EpisodeStore.open(root)


def _checked(root: str, task: Task) -> list[Row]:
    found = examine(_store(root).episode(task.episode))
    serious = sum(finding.severity != "info" for finding in found)
    said = Finding(
        episode=task.episode,
        check=_ALL,
        severity="info",
        message=f"{len(checks)} checks ran, {serious or 'no'} warning{'s' * (serious != 1)}",
    )
    return [{**row, "plugin": _ALL} for row in state.finding_rows([said, *found])]


def _scored(root: str, task: Task) -> list[Row]:
    rows = state.score_rows(measure(_store(root).episode(task.episode), task.plugins))
    return [{**row, "plugin": row["metric"]} for row in rows]


def _printed(root: str, task: Task) -> list[Row]:
    taken = duplicates.fingerprint(_store(root).episode(task.episode))
    return [{**duplicates.as_row(taken), "plugin": "fingerprint"}]


def _proposed(root: str, task: Task) -> list[Row]:
    found = propose(_store(root).episode(task.episode), names=task.plugins)
    return [
        {
            "episode": label.episode,
            "plugin": label.annotator.rpartition("/")[0],
            "of": label.of,
            "value": label.value,
            "confidence": label.confidence,
            "label": label.model_dump_json(),
        }
        for label in found
    ]


def _run(
    store: EpisodeStore,
    kind: str,
    ids: Iterable[str] | None,
    fingerprints: dict[str, str],
    one: One,
    scheduler: str | None,
    workers: int | None,
    progress: Progress | None,
) -> Report:
    started, run = perf_counter(), new_id()
    wanted = list(dict.fromkeys(ids)) if ids is not None else store.episode_ids()
    known = state.newest(store, kind)
    keys: dict[str, dict[str, str]] = {}
    tasks: list[Task] = []
    failed: list[Failure] = []
    for episode in wanted:
        try:
            keys[episode] = state.keys_of(store, episode, fingerprints)
        except DemosError as error:
            failed.append(Failure(episode, str(error), error.hint))
            continue
        have = {row.get("key") for row in known.get(episode, ())}
        missing = tuple(name for name, key in keys[episode].items() if key not in have)
        if missing:
            tasks.append(Task(episode, missing))
    asked = {task.episode: task.plugins for task in tasks}
    reused = len(wanted) - len(tasks) - len(failed)
    done = 0

    def take(answers: list[Answer]) -> None:
        nonlocal done
        rows: list[Row] = []
        for answer in answers:
            if answer.error:
                failed.append(Failure(answer.episode, answer.error, answer.hint))
                rows += _unread(kind, answer)
                continue
            done += 1
            rows += [{**row, "key": keys[answer.episode][row["plugin"]]} for row in answer.rows]
            rows += [
                row
                for row in known.get(answer.episode, ())
                if row.get("plugin") not in asked[answer.episode]
                # what an importer found in a check's name, the check has now looked at itself
                and str(row.get("check")).removeprefix("import.") not in checks
            ]
        write(store, kind, run, rows)
        if progress is not None:
            progress(reused + done + len(failed), len(wanted))

    if progress is not None:
        progress(reused + len(failed), len(wanted))
    dispatch(one, str(store.root), tasks, take, scheduler=scheduler, workers=workers)
    if failed:
        lost = [
            {"episode": f.episode, "of": kind, "error": f.error, "hint": f.hint} for f in failed
        ]
        write(store, "failures", run, lost)
    return Report(kind, run, done, reused, tuple(failed), perf_counter() - started)


def _unread(kind: str, answer: Answer) -> list[Row]:
    """Say as a finding that an episode cannot be read; without a key, so it is tried again."""
    if kind != "findings":
        return []
    finding = Finding(
        episode=answer.episode,
        check=_ALL,
        severity="critical",
        message=f"the episode cannot be examined: {answer.error}",
        hint=answer.hint,
    )
    return [{**row, "plugin": _ALL, "key": None} for row in state.finding_rows([finding])]


def findings(store: EpisodeStore, episode: str | None = None) -> list[Finding]:
    """Return what the newest checks found, of one episode or of all."""
    known = state.newest(store, "findings")
    chosen = [known.get(one, []) for one in (sorted(known) if episode is None else [episode])]
    return [finding for rows in chosen for finding in state.findings_in(rows)]


def scores(store: EpisodeStore, episode: str | None = None) -> list[Score]:
    """Return the newest scores, of one episode or of all."""
    known = state.newest(store, "scores")
    chosen = [known.get(one, []) for one in (sorted(known) if episode is None else [episode])]
    return [score for rows in chosen for score in state.scores_in(rows)]


def coverage(
    store: EpisodeStore,
    plan: Plan,
    ids: Iterable[str] | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    partition: int = 500,
) -> grid.Coverage:
    """Count the episodes of a store over the cells of a plan, as a Dask reduction."""
    wanted = list(dict.fromkeys(ids)) if ids is not None else store.episode_ids()
    said = state.newest(store, "proposals")
    outcomes = {
        episode: [row["label"] for row in said.get(episode, ()) if row["of"] == "outcome"]
        for episode in wanted
    }
    parts = [
        (str(store.root), plan, [(e, tuple(outcomes[e])) for e in wanted[i : i + partition]])
        for i in range(0, len(wanted), partition)
    ]
    counts = reduced(_counted, parts, _added, scheduler=scheduler, workers=workers)
    return grid.covered(plan, counts)


def _counted(part: tuple[str, Plan, list[tuple[str, tuple[str, ...]]]]) -> grid.Counts:
    root, plan, episodes = part
    store = _store(root)
    facts = []
    for episode, proposed in episodes:
        opinions: list[Label] = [*store.labels(episode)]
        opinions += [Label.model_validate_json(text) for text in proposed]
        facts.append(grid.fact(store.manifest(episode), opinions))
    return grid.counted(plan, facts)


def _added(counts: list[grid.Counts]) -> grid.Counts:
    return sum(counts, grid.nothing())
