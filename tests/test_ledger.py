"""Ledgers: chained, appended under a lock, mended after a crash, never silently shorter."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.errors import Damaged
from demos.store import ledger
from demos.store.ledger import Fact


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ledger").mkdir()
    return tmp_path


def file_of(root: Path) -> Path:
    return root / "ledger" / f"{ledger.writer()}.jsonl"


def filled(root: Path, count: int = 3) -> Path:
    for number in range(count):
        ledger.append(root, [Fact.of(f"labels/{number}", b"x" * number)])
    return file_of(root)


def test_lines_are_numbered_and_chained(root: Path) -> None:
    ledger.append(root, [Fact.of("a", b"one"), Fact.of("b", b"two")])
    ledger.append(root, [Fact("a", action="withdrawn", note="why")])

    found = ledger.read(file_of(root))

    assert [entry.number for entry in found.entries] == [1, 2, 3]
    assert found.entries[0].previous == ledger.GENESIS
    assert (found.problems, found.torn, found.lagging) == ((), 0, False)
    published, withdrawn = ledger.known([found])
    assert (sorted(published), sorted(withdrawn)) == (["a", "b"], ["a"])
    assert published["b"].size == 3


def test_a_line_cut_short_by_a_kill_is_completed_by_the_next(root: Path) -> None:
    path = filled(root)
    with path.open("ab") as file:
        file.write(b'{"number":4,"prev')

    torn = ledger.read(path)
    ledger.append(root, [Fact.of("d", b"")])

    found = ledger.read(path)
    assert (torn.torn, torn.problems) == (17, ())
    assert [entry.number for entry in found.entries] == [1, 2, 3, 4]
    assert (found.problems, found.torn) == ((), 0)


def test_lines_taken_away_at_the_end_are_missed(root: Path) -> None:
    path = filled(root)
    lines = path.read_bytes().splitlines(keepends=True)

    path.write_bytes(b"".join(lines[:2]))

    assert ledger.read(path).problems == ("only 2 of 3 lines are there",)


def test_a_last_line_that_was_changed_is_found(root: Path) -> None:
    path = filled(root)

    path.write_bytes(path.read_bytes().replace(b"labels/2", b"labels/9"))

    assert ledger.read(path).problems == ("line 3 is not what was written",)


def test_a_line_changed_in_the_middle_breaks_the_chain_there(root: Path) -> None:
    path = filled(root)

    path.write_bytes(path.read_bytes().replace(b"labels/1", b"labels/9"))

    assert ledger.read(path).problems == ("line 3 does not follow from the line before it",)


def test_a_head_that_lags_is_no_problem_and_catches_up(root: Path) -> None:
    path = filled(root, 2)
    head = path.with_suffix(".head").read_bytes()
    filled(root, 1)
    path.with_suffix(".head").write_bytes(head)

    found = ledger.read(path)
    ledger.mend(path)

    assert (found.problems, found.lagging) == ((), True)
    assert ledger.read(path).lagging is False


def test_mending_leaves_damage_as_it_is(root: Path) -> None:
    path = filled(root)
    shorter = b"".join(path.read_bytes().splitlines(keepends=True)[:1])
    path.write_bytes(shorter)

    assert ledger.mend(path) == ""
    assert path.read_bytes() == shorter
    assert ledger.read(path).problems


def test_nothing_is_chained_to_a_damaged_last_line(root: Path) -> None:
    path = filled(root)
    path.write_bytes(path.read_bytes()[:-3] + b"??\n")

    with pytest.raises(Damaged, match="last line") as caught:
        ledger.append(root, [Fact.of("d", b"")])

    assert "restore" in caught.value.hint


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    root = tmp_path_factory.mktemp("store")
    (root / "ledger").mkdir()
    path = filled(root, 2)
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)

    found = ledger.read(path)

    assert found.problems or found.torn


def _append_many(root: Path, name: str) -> None:
    for number in range(25):
        ledger.append(root, [Fact.of(f"{name}/{number}", b"")])


def test_two_processes_share_one_chain(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(root, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    found = ledger.read(file_of(root))

    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (len(found.entries), found.problems) == (50, ())
