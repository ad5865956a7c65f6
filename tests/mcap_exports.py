"""Episodes out to MCAP, looked at with the `mcap` package, and back through our importer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mcap.reader import make_reader

import demos
from demos import model
from demos.exporters import Chosen, Written, export
from demos.importers import import_source
from demos.model import Draft, Event, Facts, Session, Stream, StreamInfo
from demos.model.episode import VideoFile
from demos.provenance import made_by, new_id, new_label, now
from tests.examples import example
from tests.ros_bags import ROS2


def sent(path: Path, topic: str) -> list[tuple[int, int, Any]]:
    """Read a topic with the `mcap` package: when it arrived and was sent, and the message."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = list(reader.iter_messages(topics=[topic], log_time_order=False))
    return [
        (m.log_time, m.publish_time, ROS2.decode(schema.name, m.data)) for schema, _, m in found
    ]


def told(path: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    with path.open("rb") as file:
        reader = make_reader(file)
        [record] = reader.iter_metadata()
        return record.metadata, {a.name: a.data for a in reader.iter_attachments()}


def out(episode: model.Episode, folder: Path) -> Path:
    """Export one episode in memory and return its file."""
    chosen = Chosen(episode.manifest, lambda: episode)
    report = export([chosen], folder / "out", "mcap")
    [written] = report.written
    return folder / "out" / written.names[0]


def back(path: Path, folder: Path) -> demos.library.Episode:
    """Import one file into a store of its own and open its episode."""
    store = demos.open(folder / "back", container="zarr")
    [(_, episode)] = import_source(path, store, format="mcap").episodes
    store.refresh()
    return store[episode]


def same(one: Mapping[str, Stream], other: Mapping[str, Stream]) -> None:
    assert set(one) == set(other)
    for name, stream in one.items():
        again = other[name]
        assert again.info == stream.info
        assert again.values.dtype == stream.values.dtype, name
        np.testing.assert_array_equal(again.values, stream.values)
        for clock in ("time_ns", "source_time_ns", "arrival_ns"):
            mine, theirs = getattr(stream, clock), getattr(again, clock)
            assert (mine is None) == (theirs is None), (name, clock)
            if mine is not None:
                np.testing.assert_array_equal(theirs, mine)


def stream(
    values: npt.NDArray[Any],
    time_ns: Any = None,
    channels: tuple[str, ...] = (),
    *,
    source_time_ns: Any = None,
    arrival_ns: Any = None,
    **more: Any,
) -> Stream:
    names = channels or tuple(f"c{n}" for n in range(values.shape[1]))
    info = StreamInfo(units=("1",) * len(names), channels=names, **more)
    clocks = [
        None if each is None else np.array(each, np.int64)
        for each in (time_ns, source_time_ns, arrival_ns)
    ]
    when = np.arange(len(values), dtype=np.int64) if clocks[0] is None else clocks[0]
    return Stream(when, values, info, clocks[1], clocks[2])


def episode_with(
    folder: Path,
    streams: Mapping[str, Stream],
    videos: Mapping[str, VideoFile] | None = None,
    events: tuple[Event, ...] = (),
) -> demos.library.Episode:
    """Publish an episode into a store of its own and open it."""
    store = demos.open(folder / "lab", container="zarr")
    session = Session(id=new_id(), embodiment="nobody", operator="op-2", started_at=now())
    facts = Facts(task="wave", recorded_at=now(), provenance=made_by("test"))
    label = new_label(new_id(), "outcome", annotator="m", role="machine", value="success")
    published = store.publish(Draft(session, facts, streams, videos or {}, events, (label,)))
    store.refresh()
    return store[published.id]


def left_out(episode: model.Episode, folder: Path) -> str:
    """Export an episode beside a good one; return why it was left out."""
    good = example("clean_pick")
    kept = model.Episode(good.manifest, good.streams, {})
    chosen = [
        Chosen(episode.manifest, lambda: episode),
        Chosen(kept.manifest, lambda: kept),
    ]
    report = export(chosen, folder / "out", "mcap")
    [hurt] = report.left_out
    [written] = report.written
    assert isinstance(written, Written)
    assert [path.name for path in (folder / "out").iterdir()] == list(written.names)
    assert hurt.hint
    return hurt.reason
