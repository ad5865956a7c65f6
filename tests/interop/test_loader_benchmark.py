"""The loader's benchmark runs small with the real lerobot on the other side."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_both_sides_are_measured_on_the_same_content() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demos", "bench", "loader", "--quick", "--format", "json"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["ratios"]) == {
        "low_dim_windows",
        "full_size_windows",
        "proxy_windows",
        "sequential",
        "cold",
    }
    assert min(found["ratios"].values()) > 1, found["ratios"]
    assert found["training"].keys() == {"ours", "torchcodec"}
