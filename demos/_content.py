"""Where `schemas/`, `sim/`, `viewer/` and `tests/benchmarks/` are: beside us or in the wheel."""

from __future__ import annotations

from pathlib import Path

from demos.errors import DemosError

_PACKAGE = Path(__file__).resolve().parent


def content(folder: str) -> Path:
    """Return the folder `folder` of a checkout, or its copy inside an installed wheel."""
    beside = {"benchmarks": "tests/benchmarks"}.get(folder, folder)
    for path in (_PACKAGE / "_content" / folder, _PACKAGE.parent / beside):
        if path.is_dir():
            return path
    raise DemosError(f"the folder {folder!r} that belongs to this package is missing").with_hint(
        "reinstall: pip install --force-reinstall teleop-demos"
    )
