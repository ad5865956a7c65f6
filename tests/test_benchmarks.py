"""Every benchmark runs small, prints one JSON object and keeps what must hold at any speed."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from demos._content import content

NAMES = sorted(path.stem for path in content("benchmarks").glob("[a-z]*.py"))
pytestmark = pytest.mark.slow


@cache
def figures(name: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "demos",
            "bench",
            name,
            "--quick",
            "--seed",
            "3",
            "--format",
            "json",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_prints_figures_as_one_json_object(name: str) -> None:
    assert figures(name)


def test_nothing_is_lost_by_kills_and_power_cuts() -> None:
    found = figures("crash")

    assert found["kills"] > 0
    assert found["power_cuts"] > 0
    for name in ("lost_acknowledged", "lost_synced", "half_published", "unreadable"):
        assert found[name] == 0, found
    assert found["seconds_at_risk_max"] <= 1.0


def test_every_change_to_a_store_is_found() -> None:
    found = figures("tamper")

    assert found["tampered"] > 0
    assert found["found"] == found["tampered"], found


def test_storage_is_smaller_than_what_others_use() -> None:
    found = figures("storage")

    assert found["float32"]["ratio_raw"] >= 2.4
    assert found["float32"]["ratio_gzip_hdf5"] >= 1.25
    assert found["quantised"]["ratio_raw"] >= 6
    assert found["quantised"]["ratio_gzip_hdf5"] >= 3


def test_simulated_physics_is_stable_and_ends_as_meant() -> None:
    found = figures("simulate")

    assert found["unstable"] == 0
    assert min(found["success"].values()) >= 0.66, found


def test_the_loader_is_measured_alone_where_lerobot_is_not_installed() -> None:
    found = figures("loader")

    assert set(found["windows_per_s"]) == {"low_dim", "full_size", "proxy", "sequential"}
    assert "is not installed" in found["lerobot"]
    assert ".venv-lerobot" in found["lerobot"]


def test_conversion_is_measured_against_its_floors_where_no_peer_is_installed() -> None:
    found = figures("convert")

    assert {name.split("_")[0] for name in found["floors"]} == {"import", "export"}
    assert all(share > 0 for share in found["floors"].values()), found["floors"]
    assert found["floors_with_encoding"].keys() <= found["floors"].keys()
    assert found["ratios"] == {}
    for name in ("lerobot", "forge"):
        assert "is not installed" in found[name]


@pytest.mark.parametrize("name", ["loader", "convert"])
def test_the_whole_benchmark_says_in_one_line_what_to_install(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demos", "bench", name], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "lerobot 0.4.4" in done.stderr
    assert "make .venv-lerobot/ready" in done.stderr
