"""The README says what is so: its tables are the registries', its commands and its code run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme import README, filled

TEXT = README.read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.startswith("demos ")
]


def test_tables_are_those_of_the_registries() -> None:
    assert filled(TEXT) == TEXT, "run `python -m tests.readme`"


def test_linked_files_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if "://" not in target:
            assert (README.parent / target).exists(), target


@pytest.mark.slow
def test_commands_and_code_run_in_the_order_they_are_read(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    start = ["demos quickstart --no-view"]
    for language, block in BLOCKS:
        if language == "bash":
            for line in block.splitlines():
                words = line.split("#")[0].strip()
                if words.startswith("demos ") and "view" not in words:
                    start.append(words)
        else:
            script = tmp_path / f"block_{len(start)}.py"
            script.write_text(block)
            start.append(f"{sys.executable} {script.name}")

    for words in start:
        done = subprocess.run(
            words, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        # 1 is an answer too (something is to be redone), an error is not
        assert done.returncode in (0, 1), f"{words}\n{done.stdout}\n{done.stderr}"
        assert "error:" not in done.stderr.lower(), f"{words}\n{done.stderr}"
