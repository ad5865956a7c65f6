"""What the harness would notice, if an importer did it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import trial
from tests.fuzz.guard import Guarded, watched
from tests.fuzz.sources import builders
from tests.fuzz.trial import Fuzz, Worker


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    recording = tmp_path / "whole"
    recording.mkdir()
    (recording / "data.json").write_text("[1]")
    return Guarded.make(tmp_path / "case", recording)


def test_a_canary_of_each_kind_lies_where_a_path_would_lead_out(guarded: Guarded) -> None:
    assert (guarded.source / "../canary.json").read_text() == "[1]"


def test_an_opened_canary_is_noticed_and_the_source_may_be_read(guarded: Guarded) -> None:
    with watched(guarded.root) as opened:
        (guarded.source / "data.json").read_bytes()
        list(guarded.source.iterdir())
    assert opened == []

    with watched(guarded.root) as opened:
        os.close(os.open(guarded.source / "../canary.json", os.O_RDONLY))
    assert opened == ["canary.json"]


def test_what_is_written_changed_or_removed_outside_of_the_store_is_noticed(
    guarded: Guarded,
) -> None:
    before = guarded.state()
    guarded.store.mkdir()
    (guarded.store / "fine").write_text("x")
    assert guarded.changes(before) == []

    (guarded.root / "tmp/left").write_text("x")
    (guarded.source / "data.json").write_text("[2]")
    (guarded.root / "canary.json").unlink()
    assert guarded.changes(before) == [
        "tmp/left was written",
        "canary.json was changed or removed",
        "source/data.json was changed or removed",
    ]


def importer_that(does: str, folder: Path) -> Worker:
    """Make a worker whose import is other code."""

    class Other(Worker):
        module = ("-c", does)

    return Other(folder / "log")


@pytest.mark.parametrize(
    ("does", "ended"),
    [
        ("import os; input(); os.abort()", "died"),
        ("import time; input(); time.sleep(60)", "hung"),
    ],
)
def test_a_process_that_ends_or_never_does_is_told_with_the_seed(
    does: str, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MOST_SECONDS", 2.0)
    with importer_that(does, tmp_path) as worker:
        verdict = Fuzz(tmp_path, worker).trial("xr_teleoperate", 5)

    assert verdict.ended == ended
    assert verdict.problems
    assert "python -m tests.fuzz xr_teleoperate --seed 5" in str(verdict)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"peak_mb": 1500.0}, "the import took 1500 MB"),
        ({"below_mb": 1500.0}, "a process that it began took 1500 MB"),
        ({"hints": ["", "copy it again"]}, "without a hint"),
        ({"ended": "raised", "told": ["Traceback"]}, "Traceback"),
        ({}, ""),
    ],
)
def test_an_answer_is_held_against_what_was_promised(answer: dict[str, Any], problem: str) -> None:
    fine = {"ended": "refused", "told": ["why"], "hints": ["what next"], "peak_mb": 90.0}

    problems = trial._wrong(fine | answer)

    assert bool(problems) == bool(problem)
    assert not problem or problem in problems[0]


def test_every_importer_has_a_recording_to_harm(tmp_path: Path) -> None:
    assert len(builders("a format that is new")) == 1
    assert len(builders("rosbag")) == 3
