"""The machine's verdict: redo, check or good, with the reason in words.

Thin on purpose: a few declared rules over findings, scores and the outcome. Axes are never added
up; the worst of them speaks. A reviewer's verdict stands above this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from demos.model import Finding, Label, Score, Verdict

VERSION = 2
SURE = 0.6
"""An outcome that a machine proposed with less confidence is to be looked at, not redone."""

LIMITS: Mapping[str, float] = {
    "path_excess": 1.0,
    "pause_fraction": 0.35,
    "peak_contact_force": 60.0,
}
"""Beyond these, in each metric's own unit, a demonstration is to be looked at."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and why."""

    verdict: Verdict
    reasons: tuple[str, ...]


def judge(
    findings: Iterable[Finding],
    scores: Iterable[Score],
    outcome: Label | None,
    *,
    intent: str = "nominal",
    limits: Mapping[str, float] = LIMITS,
) -> Judgement:
    """Say whether an episode must be recorded again.

    redo: the recording is not sound (a finding of severity error or critical), or the task
    failed and was not meant to. check: a warning, a partial outcome or one that a machine is not
    sure of, a score beyond its limit. good: neither.
    """
    redo: list[str] = []
    check: list[str] = []
    for finding in findings:
        if finding.severity in ("error", "critical"):
            redo.append(finding.message)
        elif finding.severity == "warning":
            check.append(finding.message)
    if outcome is not None and outcome.value and intent != "negative":
        said = f"outcome {outcome.value}" + (f": {outcome.note}" if outcome.note else "")
        unsure = outcome.confidence is not None and outcome.confidence < SURE
        if outcome.value in ("failure", "aborted"):
            (check if unsure else redo).append(f"{said} (unsure)" if unsure else said)
        elif outcome.value == "partial" or unsure:
            check.append(f"{said} (unsure)" if unsure else said)
    for score in scores:
        limit = limits.get(score.metric)
        if limit is not None and score.value is not None and score.value > limit:
            what = score.metric.replace("_", " ")
            unit = "" if score.unit == "1" else f" {score.unit}"
            check.append(f"{what} is {score.value:.2g}{unit}, above {limit:g}{unit}")
    if redo:
        return Judgement("redo", tuple(redo + check))
    if check:
        return Judgement("check", tuple(check))
    return Judgement("good", ())
