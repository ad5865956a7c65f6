"""Is the recording sound? A generator function in a file here is a check."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from demos._registry import Registry
from demos.errors import StoreError
from demos.model import Episode, Finding, Severity

Examine = Callable[..., Iterator["Problem"]]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a check yields: the finding, less what the runner knows.

    `message` says what is wrong in words, `hint` what to do; `measured` is the number behind it,
    in `unit`. `severity` None takes the check's own.
    """

    message: str
    hint: str = ""
    stream: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    measured: float | None = None
    unit: str = ""
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A question to a recording, and how bad a yes is."""

    name: str
    examine: Examine
    severity: Severity
    version: int

    @property
    def summary(self) -> str:
        """The first line of the check's docstring, shown by the CLI and the viewer."""
        return (self.examine.__doc__ or "").strip().splitlines()[0]

    @property
    def thresholds(self) -> dict[str, Any]:
        """The keyword arguments that can be moved, with their defaults."""
        named = inspect.signature(self.examine).parameters.values()
        return {p.name: p.default for p in named if p.kind is p.KEYWORD_ONLY}


checks: Registry[Check] = Registry("check", __name__)


def check(*, severity: Severity, version: int = 1) -> Callable[[Examine], Examine]:
    """Register the decorated generator as a check under its own name.

    It takes an episode and, as keywords with defaults, its thresholds. Raise `version` when its
    answers change: stored findings are then found anew.
    """

    def register(examine: Examine) -> Examine:
        name = examine.__name__
        checks.add(name, Check(name, examine, severity, version))
        return examine

    return register


def run(episode: Episode, names: Iterable[str] | None = None) -> list[Finding]:
    """Examine an episode with every check, or the named ones.

    A check that crashes becomes a finding of severity error about itself; the others go on.
    Raises StoreError where the episode cannot be read.
    """
    return [found for name in (names or checks) for found in _examined(episode, checks[name])]


def _examined(episode: Episode, chosen: Check) -> list[Finding]:
    problems = []
    try:
        for problem in chosen.examine(episode):
            problems.append(problem)
    except StoreError:
        # damage is not for one check to find, nor for all of them
        raise
    except Exception as error:  # a plug-in may raise anything; the batch must go on
        problems.append(
            Problem(
                f"the check {chosen.name} failed: {type(error).__name__}: {error}",
                hint="this says nothing of the recording; report it to whoever wrote the check",
                severity="error",
            )
        )
    return [
        Finding(
            episode=episode.id,
            check=chosen.name,
            severity=problem.severity or chosen.severity,
            message=problem.message,
            hint=problem.hint,
            stream=problem.stream,
            start_ns=problem.start_ns,
            end_ns=problem.end_ns,
            measured=problem.measured,
            unit=problem.unit,
        )
        for problem in problems
    ]


def in_words(ns: float) -> str:
    """Say a duration: `250 ms`, `1.4 s`."""
    return f"{ns / 1e9:.1f} s" if abs(ns) >= 1e9 else f"{ns / 1e6:.0f} ms"
