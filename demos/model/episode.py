"""Streams, cameras and episodes in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demos.errors import SchemaMismatch
from demos.model.records import (
    CameraInfo,
    Event,
    Facts,
    Finding,
    Label,
    Manifest,
    Session,
    StreamInfo,
)

Nanoseconds = npt.NDArray[np.int64]
Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """One signal on its own clock.

    time_ns: (n,) int64, nanoseconds since the episode's start, as recorded: not necessarily
        monotone (a check finds disorder, `demos.timeline.repaired` mends it in a view).
    values: (n, C) in the source's dtype, or (n, *info.shape) for layouts such as depth images.
    source_time_ns, arrival_ns: (n,) int64 or None: the device's own stamp and the moment of
        arrival, where they differ from time_ns.

    Raises SchemaMismatch where shapes disagree.
    """

    time_ns: Nanoseconds
    values: Values
    info: StreamInfo
    source_time_ns: Nanoseconds | None = None
    arrival_ns: Nanoseconds | None = None

    def __post_init__(self) -> None:
        n = len(self.time_ns)
        for name in ("time_ns", "source_time_ns", "arrival_ns"):
            stamps = getattr(self, name)
            if stamps is not None and (stamps.shape != (n,) or stamps.dtype != np.int64):
                raise SchemaMismatch(
                    f"{name} is {stamps.dtype} {stamps.shape}; it must be int64 ({n},)"
                )
        if self.values.ndim < 2 or len(self.values) != n:
            raise SchemaMismatch(
                f"values have shape {self.values.shape}; {n} stamps need ({n}, channels)"
            )
        width = self.values.shape[1:]
        expected = self.info.shape or (len(self.info.channels),)
        if width != expected:
            raise SchemaMismatch(f"one sample has shape {width}, the stream declares {expected}")
        if len(self.info.units) != len(self.info.channels):
            raise SchemaMismatch(
                f"{len(self.info.channels)} channels but {len(self.info.units)} units"
            )

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each channel."""
        return self.info.units

    @property
    def channels(self) -> tuple[str, ...]:
        """The name of each channel."""
        return self.info.channels

    @property
    def clock(self) -> str:
        """Say whether stamps are measured, nominal (a rate only) or synthesised."""
        return self.info.clock


class Camera(Protocol):
    """The images of one camera, decoded on request."""

    info: CameraInfo
    time_ns: Nanoseconds

    def __len__(self) -> int:
        """Count the images."""

    def images(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Decode images by index: (k, height, width, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class VideoFile:
    """A playable file on its way into the store; copied byte for byte, never re-encoded.

    time_ns: (images,) int64, stamp of each image in display order.
    shown: (images,) int64 display positions in the file of the episode's images, or None where
        all images of the file belong to it. A span that was cut out of a longer video without
        re-encoding carries the images since the last key image along.
    """

    path: Path
    info: CameraInfo
    time_ns: Nanoseconds
    shown: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An episode on its way into a store, from a recorder or an importer.

    `labels` and `findings` carry any episode id; publishing gives them the real one.
    """

    session: Session
    facts: Facts
    streams: Mapping[str, Stream]
    videos: Mapping[str, VideoFile] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    labels: tuple[Label, ...] = ()
    findings: tuple[Finding, ...] = ()


class Episode:
    """One attempt at one task: its manifest, streams and cameras, read when first used.

    `labels` is every opinion on the episode, oldest first, people's and machines'. `root` is the
    store it came from, whose own embodiments and tasks hold for it; None outside a store.
    """

    def __init__(
        self,
        manifest: Manifest,
        streams: Mapping[str, Stream],
        cameras: Mapping[str, Camera],
        labels: Sequence[Label] = (),
        root: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self.streams = streams
        self.cameras = cameras
        self.labels: tuple[Label, ...] = tuple(labels)
        self.root = root

    @property
    def id(self) -> str:
        """The episode's ULID."""
        return self.manifest.id

    @property
    def task(self) -> str:
        """The task's id."""
        return self.manifest.task

    @property
    def duration_s(self) -> float:
        """Length in seconds, from the first to the last sample of any stream."""
        return self.manifest.duration_ns / 1e9

    def images(self, camera: str, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Decode images of one camera by index: (k, height, width, 3) uint8 RGB."""
        from demos.errors import UnknownName

        if camera not in self.cameras:
            raise UnknownName.among("camera", camera, self.cameras)
        return self.cameras[camera].images(indices)

    def __repr__(self) -> str:
        return f"<Episode {self.id} {self.task} {self.duration_s:.1f} s>"
