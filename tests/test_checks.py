"""The contract every check keeps. A new file in demos/checks is tested here unasked."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from demos.checks import Check, Problem, checks, run
from demos.checks.clocks import clock_gaps
from demos.model import Episode
from tests.examples import CLEAN, EXAMPLES, example


@pytest.fixture(scope="module")
def findings() -> dict[str, list[tuple[str, str]]]:
    return {name: [(f.check, f.severity) for f in run(example(name))] for name in EXAMPLES}


@pytest.mark.parametrize("name", checks)
def test_every_check_is_triggered_by_a_named_bad_example(
    name: str, findings: dict[str, list[tuple[str, str]]]
) -> None:
    triggered = [bad for bad in EXAMPLES if bad not in CLEAN and name in dict(findings[bad])]

    assert triggered


@pytest.mark.parametrize("name", CLEAN)
def test_sound_recordings_get_no_warning(
    name: str, findings: dict[str, list[tuple[str, str]]]
) -> None:
    assert [f for f in findings[name] if f[1] != "info"] == []


@pytest.mark.parametrize("name", checks)
def test_every_check_explains_itself_and_its_thresholds(name: str) -> None:
    chosen = checks[name]

    assert chosen.summary.endswith((".", "?"))
    assert all(value is not None for value in chosen.thresholds.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_check_crashes_on_any_example(name: str) -> None:
    assert [f for f in run(example(name)) if " failed: " in f.message] == []


@pytest.mark.parametrize(
    ("name", "check", "stream", "unit", "measured"),
    [
        ("clock_jumps_back", "clock_disorder", "joint_position", "ms", 245.0),
        ("clock_gap", "clock_gaps", "joint_position", "ms", 805.0),
        ("slow_clock", "clock_rate", "joint_command", "Hz", 50.0),
        ("late_wrench", "clock_span", "wrench.right_wrist", "s", 3.0),
        ("nan_wrench", "not_finite", "wrench.right_wrist", "1", 40 / 3600),
        ("frozen_joints", "frozen", "joint_position", "s", 7.195 - 1.3),
        ("dead_taxels", "dead_taxels", "tactile.right_hand", "1", 1.0),
        ("dropped_images", "images_against_rows", "image.egocentric", "images", 18.0),
    ],
)
def test_a_finding_says_where_and_how_much(
    name: str, check: str, stream: str, unit: str, measured: float
) -> None:
    (found,) = (f for f in run(example(name), [check]))

    assert (found.stream, found.unit) == (stream, unit)
    assert found.measured == pytest.approx(measured, rel=1e-3)
    assert found.message
    assert found.hint


def test_the_place_of_a_gap_is_the_gap() -> None:
    (found,) = run(example("clock_gap"), ["clock_gaps"])

    assert found.start_ns == 2_595_000_000
    assert found.end_ns == 3_400_000_000
    assert found.severity == "error"


def test_thresholds_can_be_moved() -> None:
    assert list(clock_gaps(example("clock_gap"), least_ms=900.0)) == []


def test_a_stream_sampled_at_changes_has_no_gaps() -> None:
    found = run(example("clean_pick"), ["clock_gaps", "clock_span"])

    assert [f for f in found if f.stream == "control_authority"] == []


def test_a_crashing_check_is_a_finding_about_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(episode: Episode) -> Iterator[Problem]:
        """Fail."""
        yield Problem("seen before the crash")
        raise ZeroDivisionError("no samples")

    known = {**checks, "broken": Check("broken", broken, "warning", 1)}
    monkeypatch.setattr("demos.checks.checks", known)

    found = run(example("clock_gap"))

    assert [(f.severity, f.message) for f in found if f.check == "broken"] == [
        ("warning", "seen before the crash"),
        ("error", "the check broken failed: ZeroDivisionError: no samples"),
    ]
    assert [f for f in found if f.check == "clock_gaps"]


def test_findings_survive_pickling() -> None:
    found = run(example("clock_jumps_back"))

    assert pickle.loads(pickle.dumps(found)) == found
