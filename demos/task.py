"""Find tasks, coverage plans and the phase vocabulary: in a store first, then in `schemas/`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from demos._content import content
from demos.errors import UnknownName
from demos.model import PhaseVocabulary, Plan, Task
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
