"""What a user does after `pip install`, run by the wheel's own Python from another folder."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
import urllib.request
from importlib.metadata import files
from pathlib import Path
from typing import Any

DEMOS = str(Path(sys.executable).parent / "demos")


def demos(*arguments: str) -> Any:
    """Run one command with JSON output; a failure is shown whole."""
    done = subprocess.run([DEMOS, *arguments, "--format", "json"], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"demos {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)


def viewer_answers(store: str) -> bool:
    """Start the viewer on a free port and fetch its page."""
    viewer = subprocess.Popen(
        [DEMOS, "view", store, "--format", "json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert viewer.stdout is not None
        address = json.loads(viewer.stdout.readline())["address"]
        for _ in range(60):
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as page:
                    return bool(page.status == 200)
            except OSError:
                time.sleep(0.5)
        return False
    finally:
        viewer.terminate()
        viewer.wait(timeout=20)


def main() -> None:
    """Simulate, list, check, score, propose, verify, look; every part from the wheel alone."""
    import demos as package

    home = Path(sysconfig.get_paths()["purelib"])
    assert Path(package.__file__).is_relative_to(home), package.__file__
    installed = {str(path).split("/")[0] for path in files("teleop-demos") or []}
    ours = {name for name in installed if not name.endswith(".dist-info") and name != ".."}
    assert ours == {"demos"}, ours

    demos("init", "lab")
    made = demos(
        "simulate", "lab", "--episodes", "2", "--operators", "1", "--seed", "1", "--no-video"
    )
    listed = demos("ls", "lab")
    assert listed["total"] == 2, (made, listed)
    demos("check", "lab")
    demos("score", "lab")
    demos("label", "propose", "lab")
    assert demos("verify", "lab", "--deep")["problems"] == []
    assert demos("formats")["importers"]
    assert demos("bench")["benchmarks"]
    assert viewer_answers("lab")
    print("the wheel works from another folder: simulate, ls, check, score, label, verify, view")


if __name__ == "__main__":
    main()
