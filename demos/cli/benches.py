"""`demos bench`: run one benchmark and print its figures."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import click

from demos._content import content
from demos.cli.output import answer, format_option
from demos.errors import UnknownName


@click.command()
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help="A small run, as in continuous integration.")
@click.option("--seed", type=int, default=0, show_default=True)
@format_option
def bench(name: str | None, output: str, seed: int, *, quick: bool) -> None:
    """Run the benchmark NAME (without a name: list them) and print its figures as JSON."""
    files = {path.stem: path for path in sorted(content("benchmarks").glob("[a-z]*.py"))}
    if name is None:
        about = {stem: _first_line(path) for stem, path in files.items()}
        text = "\n".join(f"{stem:<12} {line}" for stem, line in about.items())
        answer(output, {"benchmarks": about}, text)
        return
    if name not in files:
        raise UnknownName.among("benchmark", name, files)
    figures = _load(files[name]).run(quick=quick, seed=seed)
    # figures are data whoever reads them, so text is the same object, laid out
    answer(output, figures, json.dumps(figures, indent=2, ensure_ascii=False))


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"demos_bench_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UnknownName(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # where dataclasses and pickles of the benchmark look for their module
    sys.modules[spec.name] = module
    # a benchmark imports what lies beside it by name
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def _first_line(path: Path) -> str:
    import ast

    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""
