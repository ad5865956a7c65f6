"""Verification: whatever changes in a published store is found, and its place named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from demos.errors import EpisodeNotFound, NewerVersion, StoreError
from demos.provenance import new_id
from demos.store import EpisodeStore, layout, verify
from tests.benchmarks import tamper
from tests.small_store import draft, fill, recorder_of


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    made = EpisodeStore.create(folder / "lab")
    made.publish(draft(folder))
    made.add_results("scores", "r", "0", pd.DataFrame({"episode": made.episode_ids()}))
    return made.root


@pytest.fixture
def store(fresh: Path, tmp_path: Path) -> EpisodeStore:
    shutil.copytree(fresh, tmp_path / "lab")
    return EpisodeStore.open(tmp_path / "lab")


def only(store: EpisodeStore, pattern: str) -> Path:
    (path,) = store.root.glob(pattern)
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


PATTERNS = [
    "store.json",
    "sessions/*.json",
    "episodes/*/*/manifest.json",
    "episodes/*/*/signals.zarr.zip",
    "episodes/*/*/egocentric.mp4",
    "labels/*/*/*.json",
    "results/findings/*/*.parquet",
    "embodiments/*@*.yaml",
    "tasks/*@*.yaml",
    "ledger/*.jsonl",
    "ledger/*.head",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("damage", [flip, cut, lengthen, Path.unlink])
def test_damage_to_any_kind_of_file_is_found_and_located(
    store: EpisodeStore, pattern: str, damage: Callable[[Path], None]
) -> None:
    path = only(store, pattern)

    damage(path)

    found = {problem.path for problem in verify(store.root, deep=True)}
    assert layout.relative(store.root, path) in found


def test_damaged_signals_are_described_to_the_array(store: EpisodeStore) -> None:
    path = only(store, "episodes/*/*/signals.zarr.zip")

    flip(path)

    (problem,) = verify(store, deep=True)
    assert problem.path == layout.relative(store.root, path)
    assert problem.what.startswith("is not what was published: ")
    assert problem.hint


def test_without_deep_sizes_and_names_are_compared(store: EpisodeStore) -> None:
    flip(only(store, "episodes/*/*/egocentric.mp4"))
    assert verify(store) == []

    cut(only(store, "episodes/*/*/egocentric.mp4"))
    (problem,) = verify(store)
    assert "bytes" in problem.what


def test_a_file_that_nobody_published_is_found(store: EpisodeStore) -> None:
    stranger = only(store, "episodes/*/*/manifest.json").with_name("notes.txt")
    stranger.write_text("me too")

    (problem,) = verify(store)

    assert problem.path == layout.relative(store.root, stranger)
    assert "nobody published" in problem.what


def test_a_whole_episode_that_is_gone_is_one_problem(store: EpisodeStore) -> None:
    folder = only(store, "episodes/*/*")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()

    (problem,) = verify(store, deep=True)

    assert problem.path == layout.relative(store.root, folder)
    assert problem.what == "the whole episode is missing"


def test_files_that_people_edit_are_theirs(store: EpisodeStore) -> None:
    (store.root / "tasks" / "my_task.yaml").write_text("kind: task")
    (store.root / "plans" / "p.yaml").write_text("kind: plan")
    (store.root / "cache" / "x").write_text("x")
    (store.root / "notes.txt").write_text("x")

    assert verify(store, deep=True) == []


def test_a_recording_that_goes_on_is_no_problem_and_one_that_broke_off_is(
    store: EpisodeStore,
) -> None:
    taken = recorder_of(store).episode()
    fill(taken, samples=3, images=0)
    assert verify(store, deep=True) == []

    with pytest.raises(KeyboardInterrupt), taken:
        raise KeyboardInterrupt

    (problem,) = verify(store)
    assert problem.path == f"recordings/{taken.id}"
    assert "demos recover" in problem.hint


def test_only_the_episodes_asked_for_are_looked_at(store: EpisodeStore, tmp_path: Path) -> None:
    broken = store.episode_ids()[0]
    whole = store.publish(draft(tmp_path)).id
    flip(only(store, f"episodes/*/{broken}/egocentric.mp4"))

    assert verify(store, [whole], deep=True) == []
    assert len(verify(store, [whole, broken], deep=True)) == 1
    with pytest.raises(EpisodeNotFound):
        verify(store, [new_id()])


def test_progress_counts_to_the_end(store: EpisodeStore) -> None:
    seen: list[tuple[int, int]] = []

    verify(store, deep=True, progress=lambda done, total: seen.append((done, total)))

    assert seen[0] == (0, seen[-1][1])
    assert seen[-1][0] == seen[-1][1] > 5


def test_what_is_no_store_or_of_a_later_release_is_said(
    store: EpisodeStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        verify(tmp_path)

    newer = EpisodeStore.create(tmp_path / "newer").root
    for path in (newer / "ledger").iterdir():
        path.unlink()
    text = (newer / "store.json").read_text().replace('"version": 1', '"version": 2')
    (newer / "store.json").write_text(text)
    with pytest.raises(NewerVersion):
        verify(newer)


@pytest.mark.slow
def test_the_benchmark_finds_all_it_did() -> None:
    figures = tamper.run(quick=True, seed=7)

    assert figures["found"] == figures["tampered"] == 40
    assert figures["missed"] == []
    assert len(figures["by_kind"]) >= 12
