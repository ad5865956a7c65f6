"""The sides of a benchmark, each in a process of its own: asked and answering in JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
Answer = Callable[[Figures], Figures]


@contextmanager
def side(script: Path, name: str, root: Path, environment: Mapping[str, str]) -> Iterator[Any]:
    """Run `script name root`; give a function that asks it. What it prints goes to a log."""
    said = root / f"{name}.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), name, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **environment},
        )

    def ask(**request: Any) -> Figures:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended at {request}:\n{said.read_text()[-2000:]}")
        answer: Figures = json.loads(line)
        return answer

    try:
        yield ask
    finally:
        process.communicate()


def serve(answer: Answer) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; answers alone go out
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()
