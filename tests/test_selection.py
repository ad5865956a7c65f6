"""Filters find what they say and can do nothing else."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.errors import BadExpression, DemosError, UnknownName
from demos.selection import compile_where

ROWS = [
    {"id": "A", "task": "pick_place", "outcome": "success", "duration_s": 4.0, "trial_index": 1,
     "streams": "joint_position wrench.left_wrist", "factors": '{"object": "box", "n": 3}',
     "scores": '{"pause": 0.25}'},
    {"id": "B", "task": "pick_place", "outcome": "failure", "duration_s": 8.0, "trial_index": None,
     "streams": "joint_position", "factors": '{"object": "cylinder"}', "scores": "{}"},
    {"id": "C", "task": "carry", "outcome": "", "duration_s": 6.0, "trial_index": 3,
     "streams": "", "factors": "{}", "scores": "{}"},
]  # fmt: skip


@pytest.fixture(scope="module")
def base() -> sqlite3.Connection:
    base = sqlite3.connect(":memory:")
    names = list(ROWS[0])
    base.execute(f"create table episodes ({', '.join(names)})")
    marks = ", ".join("?" * len(names))
    base.executemany(
        f"insert into episodes values ({marks})", [tuple(row.values()) for row in ROWS]
    )
    return base


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("", "ABC"),
        ("task == 'pick_place'", "AB"),
        ("task != 'pick_place'", "C"),
        ("task == 'pick_place' and outcome == 'success'", "A"),
        ("outcome in ['success', 'failure']", "AB"),
        ("outcome not in ('success',)", "BC"),
        ("duration_s > 4 and duration_s <= 8", "BC"),
        ("4 < duration_s < 8", "C"),
        ("not (task == 'carry')", "AB"),
        ("trial_index == None", "B"),
        ("trial_index != None", "AC"),
        ("not trial_index > 1", "AB"),
        ("factor.object == 'box'", "A"),
        ("factor.object != 'box'", "BC"),
        ("factor.n >= 3", "A"),
        ("score.pause < 0.5", "A"),
        ("'wrench.left_wrist' in streams", "A"),
        ("'joint_position' not in streams", "C"),
        ("outcome", "AB"),
        ("duration_s > -1e3", "ABC"),
        ("task == 'it''s' or task == \"; drop table episodes; --\"", ""),
    ],
)
def test_filter_finds_exactly_what_it_says(
    base: sqlite3.Connection, where: str, found: str
) -> None:
    condition = compile_where(where)

    rows = base.execute(f"select id from episodes where {condition.sql}", condition.values)

    assert "".join(row[0] for row in rows) == found


@pytest.mark.parametrize(
    "hostile",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd').read() == ''",
        "task.__class__ == 1",
        "().__class__.__bases__[0] == 1",
        "[x for x in (1,)] == 1",
        "(lambda: 1)() == 1",
        "task == f'{1}'",
        "task == 'a' if 1 else 'b'",
        "(x := 1) == 1",
        "task[0] == 'p'",
        "duration_s + 1 > 2",
        "duration_s ** 99 > 2",
        "1; drop table episodes",
        "task == 'a'; import os",
        "@task",
        "task is 'a'",
        "await task == 1",
        "yield",
        "*task",
        "task == b'bytes'",
        "task == 1j",
        "9" * 40 + " == duration_s",
        "factor.a.b == 1",
        "factor == 1",
        "sqlite_version() == 1",
        "(" * 900 + "task" + ")" * 900,
        "not " * 900 + "task",
        "task == '\0'; drop",
        "x" * 5000,
    ],
)
def test_expression_that_is_not_a_filter_is_refused_with_a_hint(hostile: str) -> None:
    with pytest.raises(DemosError) as caught:
        compile_where(hostile)

    assert caught.value.hint


def test_nothing_of_the_text_reaches_the_sql() -> None:
    condition = compile_where("task == 'zq7' and factor.object in ['zq8']")

    assert "zq" not in condition.sql
    assert condition.values == ("zq7", "zq8")


def test_misspelt_column_offers_the_right_one() -> None:
    with pytest.raises(UnknownName) as caught:
        compile_where("outcom == 'success'")

    assert "outcome" in caught.value.hint


def test_unknown_factor_is_told_when_the_store_knows_its_factors() -> None:
    with pytest.raises(UnknownName):
        compile_where("factor.colour == 'red'", {"factor": ["object"]})


def test_a_metric_without_its_prefix_is_told_how_to_write_it() -> None:
    with pytest.raises(UnknownName) as caught:
        compile_where("path_excess < 1", {"score": ["path_excess"]})

    assert "score.path_excess" in caught.value.hint


@pytest.mark.parametrize(
    "mixed", ["duration_s > 'a'", "task == 3", "score.pause < 'x'", "hardware.robot > 1"]
)
def test_text_is_not_compared_with_numbers(mixed: str) -> None:
    with pytest.raises(BadExpression, match="text and a number") as caught:
        compile_where(mixed)

    assert caught.value.hint


@given(st.text(max_size=60) | st.text("()[]{}'\"=<>!andornti task.factor0123,;", max_size=60))
def test_any_text_either_compiles_or_is_refused(text: str) -> None:
    base = sqlite3.connect(":memory:")
    base.execute("create table episodes (id, task, factors, scores, hardware)")

    try:
        condition = compile_where(text)
    except BadExpression as error:
        assert error.hint  # noqa: PT017
    except DemosError:
        return
    else:
        try:
            base.execute(f"select id from episodes where {condition.sql}", condition.values)
        except sqlite3.OperationalError as error:
            assert "no such column" in str(error)  # noqa: PT017
    finally:
        base.close()
