"""Open the files of a foreign folder: JSON, JSON lines; or say why that cannot be.

Every function takes the folder and a path below it, so that errors name the place as its owner
knows it. Raises ImportFailed, always with a hint.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demos.errors import ImportFailed

MOST_TEXT_BYTES = 2**27
"""What one file of JSON may have."""

MOST_JSON_BYTES = 2**29
"""What the values of one file of JSON may take in memory, which is many times their text."""

_MOST_METADATA_BYTES = 2**27

_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LICENCES = {
    "mit license": "mit",
    "apache license version 2.0": "apache-2.0",
    "bsd 3-clause license": "bsd-3-clause",
    "creative commons attribution 4.0": "cc-by-4.0",
    "attribution 4.0 international": "cc-by-4.0",
    "cc0 1.0 universal": "cc0-1.0",
}
"""The first words of licence files, and the names that dataset cards have for them."""

_COPY_AGAIN = "the file is damaged or cut short; copy it again from its source"


def is_pointer(path: Path) -> bool:
    """Say whether a file is what Git LFS leaves in place of the data."""
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def whole_file(root: Path, place: str) -> Path:
    """Return the path of a file that is there, readable, not empty and not a mere pointer."""
    path = root / place
    try:
        there = path.is_file()
        size = path.stat().st_size if there else 0
        if there:
            with path.open("rb"):
                pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImportFailed(f"{place} cannot be read: {reason}").with_hint(
            "check the permissions of the folder and of the file"
        ) from error
    if not there:
        raise ImportFailed(f"{place} is not there").with_hint(
            "copy the folder whole, or take the file from its source"
        )
    if size == 0:
        raise ImportFailed(f"{place} is empty").with_hint(_COPY_AGAIN)
    if is_pointer(path):
        raise ImportFailed(f"{place}: this is a Git LFS pointer, not data").with_hint(
            "run `git lfs pull` in the folder it came from, then import again"
        )
    return path


def file_within(root: Path, place: str) -> Path:
    """Return the path of a whole file that another file names: it must lie in the folder itself."""
    try:
        home, path = root.resolve(), (root / place).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ImportFailed(f"{place[:200]!r} names no file: {error}").with_hint(
            _COPY_AGAIN
        ) from error
    if path == home or not path.is_relative_to(home):
        raise ImportFailed(f"{place[:200]!r} leads out of the folder {root.name}").with_hint(
            "a recording names files of its own folder only; it was changed, or is no recording"
        )
    return whole_file(root, place)


def json_object(root: Path, place: str) -> dict[str, Any]:
    """Read a JSON file that holds one object."""
    plain = json_value(text_of(root, place), place, most=_MOST_METADATA_BYTES)
    if not isinstance(plain, dict):
        raise ImportFailed(f"{place} holds {type(plain).__name__}, not an object").with_hint(
            _COPY_AGAIN
        )
    return plain


def json_list(root: Path, place: str) -> list[Any]:
    """Read a JSON file that holds one list."""
    plain = json_value(text_of(root, place), place, most=_MOST_METADATA_BYTES)
    if not isinstance(plain, list):
        raise ImportFailed(f"{place} holds {type(plain).__name__}, not a list").with_hint(
            _COPY_AGAIN
        )
    return plain


def json_lines(root: Path, place: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Read a file of one JSON object a line: the objects, and what was wrong with the rest."""
    content = text_of(root, place)
    _refuse_crowded(content, place)
    rows, problems = [], []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            plain = json_value(line, f"{place} line {number}")
        except ImportFailed as error:
            problems.append(str(error))
            continue
        if isinstance(plain, dict):
            rows.append(plain)
        else:
            problems.append(f"{place} line {number} is no object")
    return rows, problems


def plain_json(value: object, depth: int = 100) -> Any:
    """Return a value as JSON can hold it: NaN becomes null, the unknown becomes text.

    What is nested deeper than `depth` becomes null, too.
    """
    if not depth:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain_json(part, depth - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(part, depth - 1) for part in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value if isinstance(value, str | int | bool | None) else str(value)


def modified(path: Path) -> datetime:
    """Return when a file was last changed, UTC."""
    seconds = min(max(path.stat().st_mtime, 0.0), 4e9)
    return datetime.fromtimestamp(seconds, UTC)


def licence(root: Path) -> str:
    """Read the licence of a dataset: its card's `license:`, or the title of a LICENSE file."""
    match = re.match(
        r"---\s.*?^license:[ \t]*([\w.\-]+)", _head(root / "README.md"), re.DOTALL | re.MULTILINE
    )
    if match:
        return match[1]
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        head = " ".join(_head(root / name)[:400].split())
        for title, short in _LICENCES.items():
            if head.lower().lstrip("# ").startswith(title):
                return short
    return "unknown"


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4096).decode(errors="replace")
    except OSError:
        return ""


def text_of(root: Path, place: str) -> bytes:
    """Read a file of text whole, of at most `MOST_TEXT_BYTES`."""
    path = whole_file(root, place)
    if (size := path.stat().st_size) > MOST_TEXT_BYTES:
        raise ImportFailed(
            f"{place} has {size / 1e6:,.0f} MB of text, {MOST_TEXT_BYTES / 1e6:,.0f} are read"
        ).with_hint("it is not what such a file holds; if it is, split the recording")
    return path.read_bytes()


def json_value(content: bytes, place: str, *, most: int = MOST_JSON_BYTES) -> object:
    """Parse JSON whose values take at most `most` bytes; NaN and infinities become null."""
    _refuse_crowded(content, place, most)
    try:
        plain = json.loads(content, parse_constant=lambda _: None)
        # a lone surrogate is JSON, but no text that can be written again
        if b"\\u" in content or not content.isascii():
            json.dumps(plain, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ImportFailed(f"{place} is not JSON: {error}").with_hint(_COPY_AGAIN) from error
    return plain


def _refuse_crowded(content: bytes, place: str, most: int = MOST_JSON_BYTES) -> None:
    """Refuse JSON of very many small values, by what CPython's objects take."""
    size = len(content) + sum(
        bytes_each * content.count(sign)
        for sign, bytes_each in ((b"[", 64), (b"{", 200), (b",", 32), (b'"', 30))
    )
    if size > most:
        raise ImportFailed(
            f"{place} holds values that would take {size / 1e6:,.0f} MB of memory, "
            f"{most / 1e6:,.0f} are the most"
        ).with_hint("split the recording into shorter episodes")
