"""Foreign names and texts made fit for ids, file names and filters."""

from __future__ import annotations

import re


def word(name: str) -> str:
    """Keep of a foreign name what may stand in a file name and in a filter."""
    return re.sub(r"[^\w.\-]+", "_", name).strip(".")[:100] or "unnamed"


def slug(text: str) -> str:
    """Write a text in lower case, letters and digits of any script joined by `_`."""
    return re.sub(r"[\W_]+", "_", text.casefold()).strip("_")[:200]


def task_id(instruction: str) -> str:
    """Make an id of at most 60 characters of whole words."""
    whole = slug(instruction)
    if len(whole) > 60:
        whole = whole[:61].rpartition("_")[0] or whole[:60]
    return whole or "unknown"


def counted(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts demo_10 after demo_9, and names without numbers as text."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((int(part[:18]), "") if part.isdecimal() else (-1, part) for part in parts)
