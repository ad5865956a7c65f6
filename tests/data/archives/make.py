"""Make the stores of one schema version, that every later release must open.

    python tests/data/archives/make.py tests/data/archives/v1

Run once, when a schema version is released, and never again for that version.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from demos.model import (
    CameraInfo,
    Draft,
    Facts,
    SelectionRecord,
    Session,
    Stream,
    StreamInfo,
    VideoFile,
)
from demos.model.records import Scalar
from demos.provenance import made_by, new_id, new_label, now
from demos.store import EpisodeStore, Recorder, layout, withdraw

CAMERA = CameraInfo(width=64, height=48, rate_hz=30.0)


def image(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Draw a bar that grows by four columns an image."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, : 4 * number + 4] = 200
    return picture


def make(root: Path, container: layout.Container) -> None:
    """Record an episode with every kind of stream, import another, withdraw a third."""
    store = EpisodeStore.create(root, container)
    recorder = Recorder(store, embodiment="g1_dex3", operator="op-1", task="pick_place")
    factors: dict[str, Scalar] = {"object": "box", "mass_kg": 0.25}
    with recorder.episode(origin="simulated", factors=factors, seed=1) as taken:
        taken.declare_camera("egocentric", CAMERA)
        taken.declare(
            "depth.egocentric",
            StreamInfo(units=("count",), channels=("depth",), shape=(4, 6), scale=0.001),
        )
        stamps = np.arange(20, dtype=np.int64) * 2_000_000
        values = np.arange(20 * 31, dtype=np.float32).reshape(20, 31)
        taken.write("joint_position", stamps, values, source_time_ns=stamps + 10**15)
        taken.write("joint_velocity", stamps[::-1].copy(), values.astype(np.float64) / 3)
        taken.write("depth.egocentric", [0, 1], np.arange(48, dtype=np.uint16).reshape(2, 4, 6))
        taken.authority("operator", 0)
        for number in range(12):
            taken.image("egocentric", number * 33_333_333, image(number))
        taken.label("outcome", annotator="op-1", role="operator", value="success")
        taken.event("e_stop", 5_000_000, reason="test")
    first = store.episode(taken.id)
    video = layout.episode_dir(root, taken.id) / first.manifest.cameras["egocentric"].file
    for _ in range(2):
        session = Session(id=new_id(), embodiment="elsewhere", operator="op-2", started_at=now())
        info = StreamInfo(units=("m",), channels=("höhe",), clock="nominal", rate_hz=10.0)
        store.publish(
            Draft(
                session=session,
                facts=Facts(task="elsewhere", recorded_at=now(), provenance=made_by("archive")),
                streams={"pose.z": Stream(np.arange(3), np.array([[1.0], [np.nan], [3.0]]), info)},
                videos={"left": VideoFile(video, CAMERA, first.cameras["egocentric"].time_ns)},
            )
        )
    withdraw(store, session.id)
    store.add_label(new_label(taken.id, "use", annotator="r", role="reviewer", value="train"))
    table = pd.DataFrame({"episode": [taken.id], "metric": ["m"], "value": [1.5]})
    store.add_results("scores", new_id(), "0", table)
    store.add_selection(
        SelectionRecord(
            name="all", number=1, where="", created_at=now(), episodes=(), sha256="0" * 64
        )
    )


if __name__ == "__main__":
    os.environ["DEMOS_WRITER"] = "archive"
    for kind in layout.SIGNALS:
        make(Path(sys.argv[1]).absolute() / kind, kind)
