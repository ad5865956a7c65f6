from __future__ import annotations

import pytest

from demos.model import Finding, Label, Score
from demos.verdict import judge
from tests.scripted import WHEN, ulid_of

E = ulid_of("judged")


def finding(severity: str) -> Finding:
    return Finding.model_validate(
        {"episode": E, "check": "c", "severity": severity, "message": f"a {severity}"}
    )


def outcome(value: str, confidence: float | None = 0.9, note: str = "") -> Label:
    return Label(
        id=ulid_of("l"),
        episode=E,
        of="outcome",
        annotator="m/1",
        role="machine",
        created_at=WHEN,
        value=value,
        confidence=confidence,
        note=note,
    )


def score(metric: str, value: float | None, unit: str = "1") -> Score:
    return Score(episode=E, metric=metric, value=value, unit=unit, better="lower")


@pytest.mark.parametrize(
    ("severity", "verdict"),
    [("info", "good"), ("warning", "check"), ("error", "redo"), ("critical", "redo")],
)
def test_the_worst_finding_decides(severity: str, verdict: str) -> None:
    found = judge([finding("info"), finding(severity)], [], outcome("success"))

    assert found.verdict == verdict
    assert found.reasons == (() if severity == "info" else (f"a {severity}",))


@pytest.mark.parametrize(
    ("value", "confidence", "verdict"),
    [
        ("success", 0.9, "good"),
        ("partial", 0.9, "check"),
        ("failure", 0.9, "redo"),
        ("aborted", None, "redo"),
        ("failure", 0.4, "check"),
        ("", 0.0, "good"),
    ],
)
def test_a_failed_task_is_redone_unless_the_machine_is_unsure(
    value: str, confidence: float | None, verdict: str
) -> None:
    assert judge([], [], outcome(value, confidence)).verdict == verdict


def test_the_reason_is_said_in_words() -> None:
    found = judge([], [], outcome("failure", note="right_hand dropped the object"))

    assert found.reasons == ("outcome failure: right_hand dropped the object",)


def test_a_negative_example_may_fail() -> None:
    assert judge([], [], outcome("failure"), intent="negative").verdict == "good"


def test_a_score_beyond_its_limit_is_looked_at() -> None:
    found = judge([], [score("pause_fraction", 0.52), score("path_excess", None)], None)

    assert found.verdict == "check"
    assert found.reasons == ("pause fraction is 0.52, above 0.35",)


def test_limits_can_be_moved() -> None:
    assert judge([], [score("pause_fraction", 0.5)], None, limits={}).verdict == "good"
