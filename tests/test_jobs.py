from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import demos
from demos import jobs, proposals
from demos.checks import run
from demos.errors import DemosError
from demos.jobs import chunks, state
from demos.jobs.chunks import Answer, Task, answered, dispatch, reduced
from demos.metrics import measure, metrics
from demos.model import Episode, Finding, Label, Score
from demos.proposals import Proposal, Proposed
from demos.provenance import new_label
from demos.store import EpisodeStore, layout
from demos.task import load_plan
from tests.examples import example
from tests.scripted import draft_of

NAMES = ("clean_pick", "clock_gap", "dropped_object", "nan_wrench", "state_only", "no_streams")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = EpisodeStore.create(tmp_path_factory.mktemp("published") / "lab")
    for name in NAMES:
        draft = draft_of(example(name))
        facts = draft.facts.model_copy(update={"instruction": name})
        made.publish(replace(draft, facts=facts))
    return made.root


@pytest.fixture
def store(published: Path, tmp_path: Path) -> EpisodeStore:
    shutil.copytree(published, tmp_path / "lab")
    return EpisodeStore.open(tmp_path / "lab")


def called(store: EpisodeStore, name: str) -> str:
    (found,) = (e for e in store.episode_ids() if store.manifest(e).instruction == name)
    return found


def parts(store: EpisodeStore, kind: str) -> list[Path]:
    return sorted((store.root / "results" / kind).glob("*/*.parquet"))


@pytest.mark.parametrize("work", [jobs.check_store, jobs.score_store, jobs.propose_store])
def test_a_second_run_does_nothing(store: EpisodeStore, work: Any) -> None:
    first = work(store)
    written = parts(store, first.kind)

    second = work(store)

    assert (first.done, first.reused, first.failed) == (len(NAMES), 0, ())
    assert (second.done, second.reused, second.failed) == (0, len(NAMES), ())
    assert parts(store, first.kind) == written


def test_findings_and_scores_come_back_as_they_were_made(store: EpisodeStore) -> None:
    episode = store.episode(called(store, "clock_gap"))

    jobs.check_store(store)
    jobs.score_store(store)

    found = [f for f in jobs.findings(store, episode.id) if f.check != "all_checks"]
    assert found == run(episode)
    assert jobs.scores(store, episode.id) == measure(episode)


def test_every_examined_episode_says_so(store: EpisodeStore) -> None:
    jobs.check_store(store)

    said = [f for f in jobs.findings(store) if f.check == "all_checks"]

    assert sorted(f.episode for f in said) == store.episode_ids()
    assert {f.severity for f in said} == {"info"}


def test_a_metric_asked_for_later_leaves_the_others_known(store: EpisodeStore) -> None:
    episode = store.episode_ids()[0]
    jobs.score_store(store, names=["duration"])

    more = jobs.score_store(store)

    assert more.done == len(NAMES)
    assert sorted(s.metric for s in jobs.scores(store, episode)) == sorted(metrics)
    newest = state.newest(store, "scores")[episode]
    assert len({row["key"] for row in newest}) == len(newest)


def test_a_new_version_of_a_metric_is_measured_anew_and_only_it(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.score_store(store)
    asked: list[tuple[str, ...]] = []
    newer = {**metrics, "duration": replace(metrics["duration"], version=99)}
    monkeypatch.setattr(jobs, "metrics", newer)

    def remembering(episode: Episode, names: tuple[str, ...]) -> list[Score]:
        asked.append(names)
        return measure(episode, names)

    monkeypatch.setattr(jobs, "measure", remembering)

    again = jobs.score_store(store)

    assert again.done == len(NAMES)
    assert set(asked) == {("duration",)}


def test_what_an_importer_found_is_kept_beside_what_checks_find(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "lab")
    said = Finding(
        episode=example("clean_pick").id, check="import", severity="warning", message="odd"
    )
    episode = store.publish(replace(draft_of(example("clean_pick")), findings=(said,))).id

    jobs.check_store(store)

    assert "odd" in [f.message for f in jobs.findings(store, episode)]


def test_a_broken_episode_is_a_failure_and_the_others_go_on(store: EpisodeStore) -> None:
    broken = called(store, "dropped_object")
    signals = layout.episode_dir(store.root, broken) / layout.SIGNALS["zarr"]
    signals.write_bytes(signals.read_bytes()[:100])

    report = jobs.check_store(store)
    again = jobs.check_store(store)

    assert report.done == len(NAMES) - 1
    assert [f.episode for f in report.failed] == [broken]
    (finding,) = jobs.findings(store, broken)
    assert finding.severity == "critical"
    assert "cannot be examined" in finding.message
    # it is tried again, the others are known
    assert (again.done, again.reused, len(again.failed)) == (0, len(NAMES) - 1, 1)
    assert set(store.results("failures")["episode"]) == {broken}


def test_an_unknown_episode_is_a_failure_with_a_hint(store: EpisodeStore) -> None:
    known = store.episode_ids()[0]

    report = jobs.score_store(store, [known, known[:-1] + ("0" if known[-1] != "0" else "1")])

    assert report.done == 1
    assert "did you mean" in report.failed[0].hint


def test_progress_ends_with_everything(store: EpisodeStore) -> None:
    seen: list[tuple[int, int]] = []

    jobs.score_store(store, progress=lambda done, total: seen.append((done, total)))

    assert seen[0] == (0, len(NAMES))
    assert seen[-1] == (len(NAMES), len(NAMES))
    assert sorted(seen) == seen


def test_what_is_written_before_a_stop_stays(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_S", 0.0)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.score_store(store, workers=1, progress=stop)
    rest = jobs.score_store(store, workers=1)

    assert rest.reused == 3
    assert rest.done == len(NAMES) - 3


def test_a_killed_run_goes_on_where_it_was(store: EpisodeStore) -> None:
    code = (
        "import os, sys\n"
        "from demos import jobs\n"
        "from demos.jobs import chunks\n"
        "from demos.store import EpisodeStore\n"
        "chunks.CHUNK_S = 0.0\n"
        "def die(done, total):\n"
        "    if done == 2:\n"
        "        os.kill(os.getpid(), 9)\n"
        f"jobs.score_store(EpisodeStore.open({str(store.root)!r}), workers=1, progress=die)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)

    rest = jobs.score_store(store)

    assert killed.returncode == -9
    assert (rest.reused, rest.done) == (2, len(NAMES) - 2)
    assert len(jobs.scores(store)) == len(NAMES) * len(metrics)


def test_verdicts_say_what_to_redo_and_why(store: EpisodeStore) -> None:
    jobs.analyse_store(store)

    table = store.results("verdicts").set_index("episode")
    said = {name: tuple(table.loc[called(store, name), ["verdict", "reasons"]]) for name in NAMES}
    assert said["clock_gap"][0] == "redo"
    assert "joint_position has 1 gap" in said["clock_gap"][1]
    assert said["nan_wrench"][0] == "redo"
    assert said["no_streams"][0] == "redo"
    assert said["dropped_object"][0] == "redo"
    assert "dropped" in said["dropped_object"][1]
    assert said["clean_pick"][0] in ("good", "check")


def test_a_person_who_corrects_an_outcome_changes_the_verdict_at_once(store: EpisodeStore) -> None:
    home = demos.open(store.root)
    jobs.analyse_store(home)
    dropped = called(store, "dropped_object")
    assert home.select(f"id == '{dropped}'").rows(["verdict"]) == [("redo",)]

    home.add_label(new_label(dropped, "outcome", annotator="ann", role="reviewer", value="success"))

    [(verdict, reasons)] = home.select(f"id == '{dropped}'").rows(["verdict", "reasons"])
    assert verdict in ("good", "check")
    assert "outcome" not in reasons


def test_the_same_verdict_is_not_written_twice(store: EpisodeStore) -> None:
    jobs.analyse_store(store)

    again = jobs.judge_store(store)

    assert (again.done, again.reused) == (0, len(NAMES))


def test_proposals_are_labels_of_a_machine_under_the_guideline(store: EpisodeStore) -> None:
    jobs.propose_store(store)

    for text in store.results("proposals")["label"]:
        label = Label.model_validate_json(text)
        assert label.role == "machine"
        assert label.annotator.rpartition("/")[2].isdigit()


@pytest.mark.parametrize("size", [1, 4, 100])
def test_coverage_counts_the_same_in_any_partition(tmp_path: Path, size: int) -> None:
    store = EpisodeStore.create(tmp_path / "lab")
    factors = {"object": "box", "start_cell": "near_left", "lighting": "bright"}
    for _ in range(5):
        draft = draft_of(example("all_fields"))
        facts = draft.facts.model_copy(update={"factors": factors})
        store.publish(replace(draft, facts=facts))

    found = jobs.coverage(store, load_plan("pick_place_basic"), partition=size)

    assert [(c.levels, c.count) for c in found.cells if c.count] == [
        (("box", "near_left", "bright"), 5)
    ]
    assert found.filled == 1


def test_a_tree_of_additions_is_their_sum() -> None:
    assert reduced(_one, list(range(20)), _sum, fan_in=3) == 190
    assert reduced(_one, [], _sum) == 0


def _one(number: int) -> int:
    return number


def _sum(numbers: list[int]) -> int:
    return sum(numbers)


def test_an_exception_is_an_answer() -> None:
    def fails(root: str, task: Task) -> list[dict[str, Any]]:
        raise ZeroDivisionError("no samples")

    (answer,) = answered(fails, "nowhere", [Task("e")])

    assert answer.error == "ZeroDivisionError: no samples"
    assert answer.hint


def test_a_word_that_is_no_scheduler_is_refused(store: EpisodeStore) -> None:
    with pytest.raises(DemosError, match="'cluster' is no scheduler"):
        jobs.score_store(store, scheduler="cluster")


def _dies(root: str, task: Task) -> list[dict[str, Any]]:
    if task.episode == "bad":
        os._exit(1)
    return [{"episode": task.episode}]


@pytest.mark.slow
def test_a_chunk_that_kills_its_worker_is_halved_until_the_culprit_is_found() -> None:
    answers: list[Answer] = []
    tasks = [Task(f"e{i}") for i in range(12)]
    tasks.insert(7, Task("bad"))

    dispatch(_dies, "nowhere", tasks, answers.extend, scheduler="processes", workers=2)

    assert sorted(a.episode for a in answers if not a.error) == sorted(f"e{i}" for i in range(12))
    (bad,) = (a for a in answers if a.error)
    assert bad.episode == "bad"
    assert "its worker died" in bad.error


@pytest.mark.slow
def test_processes_give_the_scores_that_threads_give(store: EpisodeStore) -> None:
    report = jobs.score_store(store, scheduler="processes", workers=2)
    from_processes = jobs.scores(store)
    for path in parts(store, "scores"):
        path.unlink()

    jobs.score_store(store)

    assert report.done == len(NAMES)
    assert jobs.scores(store) == from_processes


def test_rows_survive_a_parquet_file(store: EpisodeStore) -> None:
    jobs.check_store(store)

    rows = state.newest(store, "findings")

    kept = [row for own in rows.values() for row in own]
    assert json.dumps(kept)
    assert all(isinstance(r["start_ns"], int | None) for r in map(_whole, kept))


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    return {"start_ns": None if row["start_ns"] is None else int(row["start_ns"])}


def test_no_episode_is_asked_about_a_label(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Episode] = []

    def look(episode: Episode, task: object) -> Proposed:
        """Look at what a proposal is given."""
        seen.append(episode)
        return Proposed()

    monkeypatch.setattr(proposals, "proposals", {"look": Proposal("look", look, "outcome", 1)})

    proposals.propose(example("all_fields"))

    assert seen[0].labels == ()


@pytest.mark.slow
def test_a_cluster_by_its_address_scores_and_counts(store: EpisodeStore) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address

        report = jobs.score_store(store, scheduler=address)
        found = jobs.coverage(store, load_plan("pick_place_basic"), scheduler=address, partition=2)

    assert (report.done, report.failed) == (len(NAMES), ())
    assert found == jobs.coverage(store, load_plan("pick_place_basic"))


@pytest.mark.slow
def test_an_address_where_nothing_listens_is_named(store: EpisodeStore) -> None:
    with pytest.raises(DemosError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        jobs.score_store(store, scheduler="tcp://127.0.0.1:9")
