"""Stores of small imported episodes for tests of learning tables: streams made up, videos real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import demos
from demos.model import (
    CameraInfo,
    Draft,
    Facts,
    Label,
    Session,
    Stream,
    StreamInfo,
    VideoFile,
)
from demos.model.records import LabelKind
from demos.provenance import made_by, new_id, new_label, now
from demos.store.video import index_file
from tests.lerobot_folders import picture

SECOND = 1_000_000_000


def clock(rate_hz: float, seconds: float, start_s: float = 0.0) -> npt.NDArray[np.int64]:
    count = round(seconds * rate_hz)
    return np.rint((start_s + np.arange(count) / rate_hz) * SECOND).astype(np.int64)


def stream(
    time_ns: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    channels: Sequence[str] = (),
    units: str | Sequence[str] = "rad",
    **info: Any,
) -> Stream:
    names = tuple(channels) or tuple(f"c{n}" for n in range(values.shape[1]))
    each = (units,) * len(names) if isinstance(units, str) else tuple(units)
    return Stream(time_ns, values, StreamInfo(units=each, channels=names, **info))


def waves(time_ns: npt.NDArray[np.int64], channels: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return smooth values (n, channels), other ones for another seed."""
    speeds = np.random.default_rng(seed).uniform(0.5, 3.0, channels)
    return np.sin(np.outer(time_ns / SECOND, speeds) + seed).astype(np.float32)


def joints(
    seconds: float = 2.0,
    rate_hz: float = 100.0,
    seed: int = 0,
    channels: Sequence[str] = ("a", "b"),
) -> dict[str, Stream]:
    """Return joint_position and joint_command of a body that nobody has described."""
    time_ns = clock(rate_hz, seconds)
    here, there = waves(time_ns, len(channels), seed), waves(time_ns, len(channels), seed + 1)
    return {
        "joint_position": stream(time_ns, here, channels, rate_hz=rate_hz),
        "joint_command": stream(time_ns, there, channels, rate_hz=rate_hz),
    }


def label(of: LabelKind, **fields: Any) -> Label:
    return new_label(new_id(), of, annotator="op-1", role="operator", **fields)


def draft(
    streams: Mapping[str, Stream],
    videos: Mapping[str, VideoFile] | None = None,
    labels: Sequence[Label] = (),
    *,
    embodiment: str = "two_joint_arm",
    **facts: Any,
) -> Draft:
    """Make an episode of its own session."""
    known = {"task": "pick_place", "recorded_at": now(), "provenance": made_by("test"), **facts}
    return Draft(
        Session(id=new_id(), embodiment=embodiment, operator="op-1", started_at=now()),
        Facts.model_validate(known),
        streams,
        videos or {},
        labels=tuple(labels),
    )


def store_of(root: Path, *drafts: Draft) -> demos.Store:
    """Publish episodes in a new store."""
    made = demos.open(root, container="zarr")
    for each in drafts:
        made.publish(each)
    made.refresh()
    return made


def video_file(
    path: Path,
    count: int,
    rate_hz: float = 10.0,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (48, 64),
    first: int = 0,
    **options: str,
) -> VideoFile:
    """Encode `count` pictures, numbered from `first`; options are the encoder's."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        coded = container.add_stream(codec, rate=round(rate_hz))
        coded.height, coded.width = size
        coded.pix_fmt = pixels
        coded.codec_context.time_base = Fraction(1, round(rate_hz))
        coded.options = options
        for number in range(count):
            image = av.VideoFrame.from_ndarray(picture(first + number, size), format="rgb24")
            image.pts = number
            container.mux(coded.encode(image))
        container.mux(coded.encode())
    index = index_file(path)
    info = CameraInfo(width=index.width, height=index.height, rate_hz=rate_hz, codec=index.codec)
    return VideoFile(path, info, clock(rate_hz, count / rate_hz))
