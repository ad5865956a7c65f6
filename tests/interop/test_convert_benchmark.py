"""The conversion benchmark runs small with the real lerobot and forge on the other sides."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.slow


def test_all_sides_convert_the_same_content() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demos", "bench", "convert", "--quick", "--format", "json"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    peers = {"lerobot", *(["forge"] if find_spec("forge") else [])}
    assert found["ratios"]["import_aloha_raw"].keys() == peers
    assert found["ratios"]["import_robomimic_raw"].keys() == peers
    assert found["ratios"]["export_lerobot"].keys() == {"lerobot"}
    # at this size start-up counts most, but beside lerobot's writer that is little
    assert found["ratios_cpu"]["import_aloha_raw"]["lerobot"] > 1, found["ratios_cpu"]
    assert all(took["ours"]["out_mb"] > 0 for took in found["cases"].values())
