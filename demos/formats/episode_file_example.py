"""The smallest file of our own that has everything but a camera: one episode of eight samples."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from demos.formats.episode_file import Writing, begin, labels_text
from demos.model import Label, Manifest, Provenance, Session, Stream, StreamInfo, StreamSummary
from demos.schema import dump

EPISODE, SESSION, LABEL = (f"01JBN4C8Q0EXAMP{end:0>11}" for end in ("1", "2", "3"))
WHEN = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def write(path: Path) -> Path:
    """Write a joint that swings, as the exporter writes it."""
    import h5py

    time_ns = np.arange(8, dtype=np.int64) * 10_000_000
    info = StreamInfo(units=("rad",), channels=("elbow",), rate_hz=100.0)
    swing = Stream(time_ns, np.sin(np.arange(8.0))[:, None], info)
    summary = StreamSummary(
        info=info, shape=(8, 1), dtype="float64", start_ns=0, end_ns=int(time_ns[-1])
    )
    session = Session(id=SESSION, embodiment="one_joint", operator="op-1", started_at=WHEN)
    manifest = Manifest(
        id=EPISODE,
        session=SESSION,
        embodiment="one_joint",
        operator="op-1",
        container="zarr",
        duration_ns=int(time_ns[-1]),
        streams={"joint_position": summary},
        task="swing",
        recorded_at=WHEN,
        provenance=Provenance(tool="example", tool_version="1"),
    )
    label = Label(
        id=LABEL,
        episode=EPISODE,
        of="outcome",
        annotator="op-1",
        role="operator",
        created_at=WHEN,
        value="success",
    )
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        begin(file)
        writing = Writing(file.create_group(f"episodes/{EPISODE}"))
        writing.stream("joint_position", swing)
        writing.text("manifest", dump(manifest))
        writing.text("session", dump(session))
        writing.text("labels", labels_text((label,)))
        writing.finish()
    return path
