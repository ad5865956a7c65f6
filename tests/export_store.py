"""A small store with everything an exporter must cope with: rates, force, touch, video, labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import demos
from demos import embodiment
from demos.model import Span, StreamInfo
from demos.store import Recorder
from tests.small_store import CAMERA, IMAGE_NS, image

SECOND = 1_000_000_000
POSE = StreamInfo(
    units=("m", "m", "m", "1", "1", "1", "1"),
    channels=("x", "y", "z", "qx", "qy", "qz", "qw"),
    rate_hz=100.0,
    reference_frame="world",
    of_frame="right_wrist",
)
RATES_HZ = {
    "joint_position": 250,
    "joint_velocity": 250,
    "joint_command": 250,
    "wrench.right_wrist": 500,
    "tactile.right_hand": 200,
    "pose.right_wrist": 100,
}


def make(root: Path) -> demos.Store:
    """Record three episodes: whole, with an interval that is not to be trained on, odd."""
    store = demos.open(root, container="zarr")
    recorder = Recorder(
        store, embodiment="g1_dex3", operator="op-1", task="pick_place", on_full="block"
    )
    for number in range(2):
        record(recorder, number, seconds=2.0)
    with recorder.episode(factors={"object": "cup"}) as odd:
        odd.declare("temperature", StreamInfo(units=("°C",), channels=("motor",), rate_hz=10.0))
        odd.declare("count", StreamInfo(units=("1", "1"), channels=("a", "b")))
        for i in range(30):
            odd.write("temperature", i * SECOND // 10, np.float64(20.0 + i))
            odd.write("count", i * SECOND // 10 + 3, np.array([i, 255 - i], np.uint8))
            reading = np.full(6, np.nan if i == 4 else 0.1 * i, np.float32)
            odd.write("wrench.left_wrist", i * SECOND // 10, reading)
    store.refresh()
    return store


def record(recorder: Recorder, number: int, *, seconds: float) -> str:
    """Record one episode: waves at native rates, a camera, phases, outcome; return its id."""
    body = embodiment.load("g1_dex3")
    with recorder.episode(factors={"object": "box", "number": number}) as taken:
        for name, rate in RATES_HZ.items():
            info = body.streams.get(name, POSE)
            taken.declare(name, info)
            time_ns = (np.arange(round(seconds * rate)) * (SECOND / rate)).astype(np.int64)
            width = len(info.channels)
            phase = np.outer(time_ns / SECOND, np.linspace(0.5, 2.0, width)) + number
            values = (0.2 * np.sin(phase)).astype(np.float32)
            if name.startswith("pose."):
                values[:, 3:] = (0.0, 0.0, 0.0, 1.0)
            taken.write(name, time_ns, values)
        taken.declare_camera("egocentric", CAMERA)
        for i in range(round(seconds * 30)):
            taken.image("egocentric", i * IMAGE_NS, image(i))
        taken.label(
            "phases",
            annotator="op-1",
            role="operator",
            spans=[
                Span(start_ns=0, end_ns=SECOND, tier="task", value="reach"),
                Span(start_ns=SECOND, end_ns=2 * SECOND, tier="task", value="grasp"),
                Span(start_ns=SECOND // 2, end_ns=SECOND, tier="right_hand", value="reach"),
            ],
        )
        outcome = "failure" if number else "success"
        taken.label("outcome", annotator="op-1", role="operator", value=outcome)
        if number:
            not_this = Span(start_ns=SECOND, end_ns=round(1.3 * SECOND), value="exclude")
            taken.label("use", annotator="op-1", role="operator", spans=[not_this])
    return taken.id
