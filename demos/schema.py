"""Read and write documents: JSON or YAML bytes to records, old versions upgraded on the way.

Files are never rewritten: `_UPGRADES[kind][n]` turns the plain dict of version n into that of
version n + 1 while reading. The JSON Schemas under `schemas/` are generated from the records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from demos.errors import NewerVersion, SchemaMismatch
from demos.model import (
    Document,
    Embodiment,
    Finding,
    Gap,
    Label,
    LedgerEntry,
    Manifest,
    MappingFile,
    PhaseVocabulary,
    Plan,
    Record,
    Score,
    SelectionRecord,
    Session,
    StoreInfo,
    Task,
    Tombstone,
)

R = TypeVar("R", bound=Record)
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

RECORDS: dict[str, type[Record]] = {
    "embodiment": Embodiment,
    "episode": Manifest,
    "finding": Finding,
    "gap": Gap,
    "label": Label,
    "ledger_entry": LedgerEntry,
    "mapping": MappingFile,
    "phase_vocabulary": PhaseVocabulary,
    "plan": Plan,
    "score": Score,
    "selection": SelectionRecord,
    "session": Session,
    "store": StoreInfo,
    "task": Task,
    "tombstone": Tombstone,
}
"""Every record that is published, by the name of its schema."""

_MOST_YAML_BYTES, _MOST_YAML_VALUES = 1_000_000, 200_000

_UPGRADES: dict[str, dict[int, Upgrade]] = {
    # version 2 may say how sources speak of the body; version 1 says nothing of them
    "embodiment": {1: lambda old: {**old, "version": 2}},
}


def dump(record: Record) -> bytes:
    """Write a record as UTF-8 JSON with a final newline; equal records give equal bytes."""
    content = record.model_dump(mode="json")
    return (json.dumps(content, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def read(record: type[R], content: bytes, *, where: str) -> R:
    """Read JSON bytes as a record; `where` names the file in errors.

    Raises SchemaMismatch or, for a file of a later release, NewerVersion.
    """
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SchemaMismatch(f"{where} is not JSON: {error}").with_hint(
            "the file is damaged or cut short; restore it from a copy"
        ) from error
    return validate(record, plain, where=where)


def read_yaml(record: type[R], content: bytes, *, where: str) -> R:
    """Read YAML bytes as a record; `where` names the file in errors."""
    found: R = _read_yaml(record, content, where)
    return found


# parsing an embodiment takes a tenth of a second, and a recorder needs it for every episode;
# records are frozen, so that the same bytes may give the same record
@lru_cache(maxsize=64)
def _read_yaml(record: type[R], content: bytes, where: str) -> R:
    return validate(record, plain_yaml(content, where=where), where=where)


def plain_yaml(content: bytes, *, where: str) -> object:
    """Read YAML that is small, and small also when its aliases are spelt out.

    Raises SchemaMismatch.
    """
    if len(content) > _MOST_YAML_BYTES:
        raise SchemaMismatch(f"{where} has {len(content)} bytes of YAML").with_hint(
            f"at most {_MOST_YAML_BYTES:,} are read; is it the file that was meant?"
        )
    try:
        plain: object = yaml.safe_load(content)
        _refuse_endless(plain)
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SchemaMismatch(f"{where} is not YAML: {reason}").with_hint(
            "mend the file; `schemas/README.md` shows the layout"
        ) from error
    return plain


def _refuse_endless(plain: object) -> None:
    """Raise ValueError where aliases, which may hold one another, stand for very many values."""
    waiting, seen = [plain], 0
    while waiting:
        seen += 1
        if seen > _MOST_YAML_VALUES:
            raise ValueError(f"it stands for more than {_MOST_YAML_VALUES:,} values")
        here = waiting.pop()
        if isinstance(here, dict):
            waiting += [*here, *here.values()]
        elif isinstance(here, list):
            waiting += here


def validate(record: type[R], plain: object, *, where: str) -> R:
    """Turn plain data into a record, upgrading an older version first."""
    if not isinstance(plain, dict):
        raise SchemaMismatch(f"{where} holds {type(plain).__name__}, not one record").with_hint(
            f"a {record.__name__} is a mapping of fields to values"
        )
    if issubclass(record, Document):
        plain = _upgraded(record, plain, where)
    try:
        return record.model_validate_json(json.dumps(plain, default=str))
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise SchemaMismatch(f"{where} is no {record.__name__}: {_first(error)}").with_hint(
            "the fields are described in schemas/README.md"
        ) from error


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn what a record refuses into a SchemaMismatch; `what` reads "a label"."""
    try:
        yield
    except ValidationError as error:
        raise SchemaMismatch(f"this is no {what}: {_first(error)}").with_hint(
            "the fields are described in schemas/README.md"
        ) from error


def _upgraded(record: type[Document], plain: dict[str, Any], where: str) -> dict[str, Any]:
    kind = record.model_fields["kind"].default
    current = int(record.model_fields["version"].default)
    version = plain.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SchemaMismatch(f"{where} says version {version!r}, not a whole number").with_hint(
            "the file is damaged; restore it from a copy"
        )
    if version > current:
        raise NewerVersion(
            f"{where} is version {version} of {kind}; this release reads up to {current}"
        ).with_hint("upgrade: pip install -U teleop-demos")
    for step in range(version, current):
        plain = _UPGRADES[kind][step](plain)
    return plain


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the record"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return f"{place}: {first['msg'].lower()}{more}"
    return str(error) or type(error).__name__


def json_schema(name: str) -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of one published record."""
    schema = RECORDS[name].model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_schemas(folder: Path) -> list[Path]:
    """Write `<name>.schema.json` of every published record into `folder`."""
    written = []
    for name in RECORDS:
        path = folder / f"{name}.schema.json"
        path.write_text(json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n")
        written.append(path)
    return written


if __name__ == "__main__":
    from demos._content import content

    for written_path in write_schemas(content("schemas")):
        print(written_path.name)
