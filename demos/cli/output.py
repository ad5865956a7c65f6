"""What commands print: text for people, one JSON object for programs, progress on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

Progress = Callable[[int, int], None]

store_argument = click.argument(
    "store", type=click.Path(path_type=Path, file_okay=False), metavar="STORE"
)
format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text for people; json is one object on standard output.",
)


def wants_json(arguments: Sequence[str]) -> bool:
    """Say whether the command line asks for JSON, also where it is wrong otherwise."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=False)
    return any(a == "--format=json" or (a == "--format" and b == "json") for a, b in pairs)


def answer(output: str, result: Mapping[str, Any], text: str | Callable[[], str]) -> None:
    """Print one result, as JSON or in words."""
    if output == "json":
        click.echo(json.dumps(_plain(result), ensure_ascii=False, allow_nan=False))
    else:
        click.echo(text if isinstance(text, str) else text())


def fail(message: str, hint: str, *, as_json: bool, code: int = 1) -> int:
    """Say what went wrong and what to do next; return the exit code."""
    if as_json:
        click.echo(json.dumps({"error": message, "hint": hint}, ensure_ascii=False))
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return code


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay rows out in columns as wide as they need to be."""
    cells = [list(header), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(header))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def plural(count: int, noun: str) -> str:
    """Write `1 episode`, `2 episodes`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Show a bar on a terminal's standard error, nothing elsewhere; yields `step(done, total)`."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(
        length=1, label=f"{label:<12}", file=sys.stderr, show_pos=True, width=30
    ) as bar:

        def step(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield step


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        shown = f"{value:.2f}" if abs(value) < 999.995 else f"{value:.0f}"
        return "0.00" if shown == "-0.00" else shown
    return " ".join(str(value).split())


def _plain(value: Any) -> Any:
    """Make anything that commands report into what JSON can say; NaN becomes null."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    return str(value)
