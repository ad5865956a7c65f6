"""The player as Streamlit takes it: one HTML, one CSS and one JavaScript text.

The sources are ES modules under `viewer/components/`. Streamlit mounts a single script, so they
are joined in the order of their imports; `import` and `export` fall away, because one script is
one scope. Names at the top of a module are therefore unique over all of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from demos._content import content

_MODULES = (
    "vendor/uplot/uPlot.iife.min.js",
    "elements.js",
    "signals.js",
    "clock.js",
    "touch.js",
    "lanes.js",
    "tracks.js",
    "keys.js",
    "review.js",
    "player.js",
)
_STYLES = ("vendor/uplot/uPlot.min.css", "player.css")


class Component(NamedTuple):
    """The three texts of a component."""

    html: str
    css: str
    js: str


def player_component(folder: Path | None = None) -> Component:
    """Read and join the player's files; `folder` is `viewer/components/` unless given."""
    folder = content("viewer") / "components" if folder is None else folder
    parts = [(folder / name).read_text(encoding="utf-8") for name in _MODULES]
    scripts = [re.sub(r"^import .*$\n?", "", part, flags=re.MULTILINE) for part in parts]
    joined = [re.sub(r"^export (?!default)", "", part, flags=re.MULTILINE) for part in scripts]
    return Component(
        (folder / "player.html").read_text(encoding="utf-8"),
        "\n".join((folder / name).read_text(encoding="utf-8") for name in _STYLES),
        "\n".join(joined),
    )
