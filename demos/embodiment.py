"""Find embodiments: in a store first, then in `schemas/embodiments/`."""

from __future__ import annotations

import re
from pathlib import Path

from demos._content import content
from demos.errors import UnknownName
from demos.model import Embodiment
from demos.schema import read_yaml


def names(store: Path | None = None) -> list[str]:
    """List the embodiments that can be named, those of the store `store` included."""
    return sorted(_files(store))


def file(embodiment_id: str, store: Path | None = None) -> Path:
    """Return the YAML file of an embodiment. Raises UnknownName."""
    files = _files(store)
    if embodiment_id not in files:
        raise UnknownName.among("embodiment", embodiment_id, files)
    return files[embodiment_id]


def load(embodiment_id: str, store: Path | None = None) -> Embodiment:
    """Read an embodiment by its id. Raises UnknownName or SchemaMismatch."""
    path = file(embodiment_id, store)
    return read_yaml(Embodiment, path.read_bytes(), where=str(path))


def recognise(name: str, store: Path | None = None) -> Embodiment | None:
    """Find the embodiment whose id or alias is `name`, case, spaces, `-` and `_` aside."""
    wanted = _plain(name)
    for known in names(store) if wanted else ():
        body = load(known, store)
        if wanted in {_plain(alias) for alias in (body.id, *body.aliases)}:
            return body
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name).casefold()


def _files(store: Path | None) -> dict[str, Path]:
    places = [content("schemas") / "embodiments"]
    if store is not None:
        places.append(store / "embodiments")
    return {
        path.stem: path for place in places for path in place.glob("*.yaml") if "@" not in path.stem
    }
