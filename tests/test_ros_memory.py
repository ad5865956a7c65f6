"""A bag larger than the memory it may take comes in: images go to a file as they come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer

from tests.ros_bags import MS, ROS2, START_NS, Maker, encoded

IMAGES = 500
READER = """
import json, sys
from pathlib import Path
from demos.importers import Found, Options, open_source

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

for item in open_source(Path(sys.argv[1]), Options()):
    assert isinstance(item, Found), item
    lengths = {name: len(video.time_ns) for name, video in item.draft.videos.items()}
    depth = len(item.draft.streams["depth.c"])
    print(json.dumps({"lengths": lengths, "depth": depth, "peak_mb": peak()}))
"""


def fill(path: Path) -> None:
    """Write two JPEG cameras, a raw one and depth: some 900 MB."""
    make, rng = Maker(ROS2), np.random.default_rng(0)
    data = encoded(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8))
    depth = rng.integers(0, 4000, (480, 640)).astype(np.uint16)
    raw = np.zeros((480, 640, 3), np.uint8)
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start("ros2", "test")
        channels: dict[str, int] = {}
        for number in range(IMAGES):
            at_ms = 33 * number
            raw[:, number] = number % 256
            for topic, message in {
                "/a/image_raw/compressed": make.compressed(at_ms, data),
                "/b/image_raw": make.image(at_ms, raw, "rgb8"),
                "/c/depth/image_raw": make.image(at_ms, depth, "16UC1"),
            }.items():
                kind = message.__msgtype__
                if topic not in channels:
                    schema = writer.register_schema(kind, "ros2msg", ROS2.text(kind).encode())
                    channels[topic] = writer.register_channel(topic, "cdr", schema)
                log_ns = START_NS + at_ms * MS
                writer.add_message(channels[topic], log_ns, ROS2.encode(message), log_ns)
        writer.finish()


MAPPING = """
kind: mapping
version: 1
title: large
files: ["*.mcap"]
clock: {path: header.stamp}
streams:
  depth.c: {paths: [/c/depth/image_raw], channels: [depth], units: [mm]}
cameras:
  a: {path: /a/image_raw/compressed}
  b: {path: /b/image_raw}
"""


@pytest.mark.slow
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it asks Linux for the peak")
def test_a_large_bag_is_read_in_little_memory(tmp_path: Path, *, mapped: bool) -> None:
    path = tmp_path / "large.mcap"
    fill(path)
    source = path
    if mapped:
        source = tmp_path / "large.yaml"
        source.write_text(MAPPING)

    answer = subprocess.run(
        [sys.executable, "-c", READER, str(source)], capture_output=True, text=True, check=True
    )

    seen = json.loads(answer.stdout)
    assert path.stat().st_size > 800_000_000
    assert seen["lengths"] == {"a": IMAGES, "b": IMAGES}
    assert seen["depth"] == IMAGES
    assert seen["peak_mb"] < 400
