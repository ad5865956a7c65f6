"""Find tasks, coverage plans and the phase vocabulary: in a store first, then in `schemas/`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from demos._content import content
from demos.errors import SchemaMismatch, UnknownName
from demos.model import PhaseVocabulary, Plan, Span, Task
from demos.schema import read_yaml


def names(store: Path | None = None) -> list[str]:
    """List the tasks that can be named, those of the store `store` included."""
    return sorted({name for place in _folders("tasks", store) for name in _files(place)})


def file(task_id: str, store: Path | None = None) -> Path:
    """Return the YAML file of a task. Raises UnknownName."""
    return _file("task", "tasks", task_id, store)


def load(task_id: str, store: Path | None = None) -> Task:
    """Read a task by its id. Raises UnknownName or SchemaMismatch."""
    path = file(task_id, store)
    return read_yaml(Task, path.read_bytes(), where=str(path))


def load_plan(plan: str, store: Path | None = None) -> Plan:
    """Read a coverage plan by its id or by the path of a YAML file."""
    path = Path(plan)
    if path.suffix != ".yaml" or not path.is_file():
        path = _file("plan", "plans", plan, store)
    return read_yaml(Plan, path.read_bytes(), where=str(path))


@cache
def vocabulary() -> PhaseVocabulary:
    """Read the phases that every task draws from."""
    path = content("schemas") / "phases.yaml"
    return read_yaml(PhaseVocabulary, path.read_bytes(), where=path.name)


def refuse_other_words(task: Task, of: str, value: str, spans: Sequence[Span]) -> None:
    """Hold a label of phases or an outcome against the task's words.

    Raises UnknownName for an outcome, a tier or a phase that the task does not have,
    SchemaMismatch for an interval that ends before it starts.
    """
    if of == "outcome" and task.outcomes and value not in task.outcomes:
        raise UnknownName.among(f"outcome of {task.id}", value, task.outcomes)
    tiers = {tier.name: tier.phases for tier in task.tiers}
    for span in spans:
        if span.end_ns < span.start_ns:
            raise SchemaMismatch(
                f"{span.value!r} ends at {span.end_ns} ns, before it starts at {span.start_ns} ns"
            ).with_hint("give start_ns and end_ns in nanoseconds since the episode's start")
        if of != "phases" or not tiers:
            continue
        if span.tier not in tiers:
            raise UnknownName.among(f"tier of {task.id}", span.tier, tiers)
        if span.value not in tiers[span.tier]:
            raise UnknownName.among(
                f"phase on the tier {span.tier} of {task.id}", span.value, tiers[span.tier]
            )


def _file(kind: str, folder: str, name: str, store: Path | None) -> Path:
    known: set[str] = set()
    for place in _folders(folder, store):
        files = _files(place)
        if name in files:
            return files[name]
        known |= set(files)
    raise UnknownName.among(kind, name, known)


def _files(folder: Path) -> dict[str, Path]:
    # name@hash.yaml are kept copies of what published episodes used, not names of their own
    return {path.stem: path for path in folder.glob("*.yaml") if "@" not in path.stem}


def _folders(folder: str, store: Path | None) -> list[Path]:
    places = [content("schemas") / folder]
    return [store / folder, *places] if store is not None else places
