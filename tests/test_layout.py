"""The house: public names, what importing costs, what stands where."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import demos
from demos._content import content

ROOT = Path(__file__).parent.parent
HEAVY = [
    "torch",
    "mujoco",
    "dask",
    "distributed",
    "lerobot",
    "av",
    "streamlit",
    "scipy",
    "zarr",
    "h5py",
]
SOURCES = sorted((ROOT / "demos").rglob("*.py"))


def test_public_names_are_listed_in_order_and_load() -> None:
    assert demos.__all__ == sorted(demos.__all__)
    for name in demos.__all__:
        assert getattr(demos, name) is not None


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        f"import json, sys, demos; heavy = {HEAVY} + ['pandas', 'numpy'];"
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert json.loads(answer.stdout) == []


def test_the_commands_start_without_anything_heavy() -> None:
    code = (
        "import json, sys; from demos.cli import command; import click;"
        "[command.get_command(click.Context(command), n) for n in command.list_commands(None)];"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert json.loads(answer.stdout) == []


@pytest.mark.parametrize("folder", ["schemas", "sim", "viewer", "benchmarks"])
def test_content_is_found(folder: str) -> None:
    assert any(content(folder).iterdir())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_says_what_it_is_and_stays_readable(path: Path) -> None:
    source = path.read_text()

    assert ast.get_docstring(ast.parse(source)), "a file starts by saying what it is"
    assert len(source.splitlines()) <= 400, "what two things is this file?"
    assert path.stem not in {"utils", "helpers", "common", "manager", "base", "misc"}
