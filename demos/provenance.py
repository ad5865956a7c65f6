"""Who made a file, from which bytes, and when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ulid import ULID

from demos.model import Label, Provenance, Role, Span
from demos.model.records import LabelKind
from demos.schema import refusing


def new_id() -> str:
    """Make a ULID: 26 characters that sort by the time they were made."""
    return str(ULID())


def now() -> datetime:
    """Return the current moment, UTC."""
    return datetime.now(UTC)


@cache
def tool_version() -> str:
    """Return the installed release of this package."""
    try:
        return version("teleop-demos")
    except PackageNotFoundError:
        return "0+checkout"


def made_by(tool: str, **fields: object) -> Provenance:
    """Describe something this release just made; `fields` as in `Provenance`."""
    return Provenance.model_validate(
        {"tool": tool, "tool_version": tool_version(), **fields}, strict=False
    )


def new_label(
    episode: str,
    of: LabelKind,
    *,
    annotator: str,
    role: Role,
    guideline: str = "",
    value: str = "",
    spans: Sequence[Span] = (),
    **more: object,
) -> Label:
    """Make a new label, its id and time set now; `more` as in `Label`. Raises SchemaMismatch."""
    with refusing("label"):
        return Label.model_validate(
            {
                "id": new_id(),
                "episode": episode,
                "of": of,
                "annotator": annotator,
                "role": role,
                "guideline": guideline,
                "created_at": now(),
                "value": value,
                "spans": tuple(spans),
                **more,
            }
        )


def source_identity(provenance: Provenance) -> str | None:
    """Hash by which a recording of a foreign source is known again; None for one of our own."""
    if not provenance.source_sha256:
        return None
    name = str(provenance.parameters.get("source_episode", ""))
    parts = [name, *sorted(set(provenance.source_sha256.values()))]
    return sha256_bytes(json.dumps(parts).encode())


def sha256_bytes(content: bytes) -> str:
    """Hash bytes: 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash a file without loading it whole: 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
