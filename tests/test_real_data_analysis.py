"""What checks, metrics and proposals say of a real Unitree G1. Skipped where it is not at hand."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from demos import jobs
from demos.importers import import_source
from demos.jobs.state import labels_in, newest
from demos.store import EpisodeStore

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared/data"
)
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real recordings in {DATA}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    made = EpisodeStore.create(tmp_path_factory.mktemp("g1") / "lab")
    import_source(DATA / "unitree_g1_inspire_v21", made)
    for report in jobs.analyse_store(made):
        assert report.failed == ()
    return made


def test_each_missing_video_is_one_finding_and_nothing_else_is_wrong(store: EpisodeStore) -> None:
    found = [f for f in jobs.findings(store) if f.severity != "info"]

    assert {f.check for f in found} == {"missing_video"}
    assert set(Counter(f.episode for f in found).values()) == {1}
    assert len(found) == 14


def test_paths_are_measured_in_metres_by_the_arms_the_robot_has(store: EpisodeStore) -> None:
    pytest.importorskip("mujoco")
    scores = [s for s in jobs.scores(store) if s.metric == "path_excess"]

    assert len(scores) == 20
    assert {s.reason for s in scores} == {""}
    assert all(s.value is not None and 0 <= s.value < 1.5 for s in scores)


def test_without_force_and_touch_the_force_is_not_assessable(store: EpisodeStore) -> None:
    scores = [s for s in jobs.scores(store) if s.metric == "peak_contact_force"]

    assert {(s.value, s.reason) for s in scores} == {(None, "needs wrench.* or tactile.*")}


def test_the_hand_that_picks_the_bottle_is_found_by_its_closing(store: EpisodeStore) -> None:
    grasps = [
        label
        for rows in newest(store, "proposals").values()
        for label in labels_in(rows)
        if label.of == "grasps"
    ]

    # all twenty are the right hand taking a bottle
    assert len(grasps) == 20
    for label in grasps:
        assert {span.tier for span in label.spans} == {"right_hand"}
        assert {span.notes["evidence"] for span in label.spans} == {"closure"}
        assert label.confidence is not None
        assert label.confidence < 0.5


def test_no_outcome_is_sure_without_touch(store: EpisodeStore) -> None:
    outcomes = [
        label
        for rows in newest(store, "proposals").values()
        for label in labels_in(rows)
        if label.of == "outcome"
    ]

    assert all((label.confidence or 0.0) < 0.5 for label in outcomes)
