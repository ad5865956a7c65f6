"""What is kept of an episode to find its copies: a hash of it all, landmarks of its motion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import require
from demos.model import Camera, Episode, Stream
from demos.signals.conditioning import conditioned

VERSION = 1
GRID_HZ = 20.0
CUTOFF_HZ = 3.0
POINTS = 16
MOST_TURNS = 200
STILL = 0.2
"""A channel that moves by less than this share of the widest is not asked where it turns."""

_FEW = 8

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How an episode moved: values (n, C) at time_s (n,), evenly 20 a second, low-passed at 3 Hz.

    `body` names the stream and its channels; only motions of one body are compared.
    """

    body: str
    units: tuple[str, ...]
    time_s: Floats
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is kept of an episode to find its copies.

    content: hash of numbers and images. path: (16, C) float32, the motion at even moments. turns:
    (k, C) float32 configurations at turning points, turns_s (k,) when; an episode that hardly turns
    round gives every other sample instead. Empty where nothing moves.
    """

    episode: str
    content: str
    body: str
    units: tuple[str, ...]
    path: npt.NDArray[np.float32]
    turns: npt.NDArray[np.float32]
    turns_s: npt.NDArray[np.float32]


def fingerprint(episode: Episode) -> Fingerprint:
    """Take the fingerprint of one episode. Raises StoreError where it cannot be read."""
    content, motion = content_sha256(episode), motion_of(episode)
    if motion is None:
        none = np.zeros((0, 0), np.float32)
        return Fingerprint(episode.id, content, "", (), none, none, np.zeros(0, np.float32))
    even = np.linspace(motion.time_s[0], motion.time_s[-1], POINTS)
    path = at(motion, even).astype(np.float32)
    turns = _turns(motion.values)
    return Fingerprint(
        episode.id,
        content,
        motion.body,
        motion.units,
        path,
        motion.values[turns].astype(np.float32),
        motion.time_s[turns].astype(np.float32),
    )


def as_row(taken: Fingerprint) -> dict[str, Any]:
    """Write a fingerprint as a row of results; arrays as their bytes."""
    return {
        "episode": taken.episode,
        "content": taken.content,
        "body": taken.body,
        "units": list(taken.units),
        "path": taken.path.tobytes(),
        "turns": taken.turns.tobytes(),
        "turns_s": taken.turns_s.tobytes(),
    }


def from_row(row: Mapping[str, Any]) -> Fingerprint:
    """Read a fingerprint back from a row of results."""
    units = tuple(row["units"])
    path, turns, turns_s = (np.frombuffer(row[k], np.float32) for k in ("path", "turns", "turns_s"))
    width = len(units)
    return Fingerprint(
        row["episode"],
        row["content"],
        row["body"],
        units,
        path.reshape(-1, width) if width else path.reshape(0, 0),
        turns.reshape(-1, width) if width else turns.reshape(0, 0),
        turns_s,
    )


def content_sha256(episode: Episode) -> str:
    """Hash all numbers and encoded images; ids, stamps and the container are no part of it."""
    digest = hashlib.sha256()
    for name in sorted(episode.streams):
        stream = episode.streams[name]
        values = np.ascontiguousarray(stream.values)
        native = values.astype(values.dtype.newbyteorder("<"), copy=False)
        head = (name, stream.info.channels, stream.info.units, native.dtype.str, native.shape)
        digest.update(repr(head).encode())
        digest.update(native.tobytes())
    for name in sorted(episode.cameras):
        digest.update(f"{name} {_pictures(episode.cameras[name])}".encode())
    return digest.hexdigest()


def motion_of(episode: Episode) -> Motion | None:
    """Return how an episode moved: its joints, else a pose, else its state; None if it did not."""
    poses = sorted(name for name in episode.streams if name.startswith("pose."))
    for name in ("joint_position", *poses, "state"):
        stream = episode.streams.get(name)
        if stream is not None and (motion := _motion(name, stream)) is not None:
            return motion
    return None


def at(motion: Motion, time_s: Floats) -> Floats:
    """Read a motion at other moments: (len(time_s), C); the ends are held."""
    columns = [np.interp(time_s, motion.time_s, column) for column in motion.values.T]
    return np.stack(columns, axis=1)


def _motion(name: str, stream: Stream) -> Motion | None:
    if stream.values.ndim != 2 or not np.issubdtype(stream.values.dtype, np.number):
        return None
    even = conditioned(stream, rate_hz=GRID_HZ, cutoff_hz=CUTOFF_HZ)
    if len(even) < 4 or not np.ptp(even.values, axis=0).any():
        return None
    body = f"{name} {' '.join(stream.channels)}"
    return Motion(body, stream.units, even.time_ns / 1e9, even.values)


def _turns(values: Floats) -> npt.NDArray[np.int64]:
    """Return the samples at which a channel turns round by a tenth of its range, each once.

    Where there are too few of them, every other sample is a landmark.
    """
    signal = require("scipy.signal", extra="score")
    found: list[npt.NDArray[Any]] = []
    extent = np.ptp(values, axis=0)
    for column in np.flatnonzero(extent > STILL * extent.max()):
        for sign in (1.0, -1.0):
            peaks, _ = signal.find_peaks(sign * values[:, column], prominence=extent[column] / 10)
            found.append(peaks)
    at = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    if len(at) < _FEW:
        at = np.arange(0, len(values), 2)
    return np.asarray(at[:MOST_TURNS], np.int64)


def _pictures(camera: Camera) -> str:
    """Hash a camera's images: sizes and checksums of the encoded ones in order, where there are."""
    index = getattr(camera, "index", None)
    digest = hashlib.sha256()
    if index is not None:
        digest.update(index.codec.encode() + index.extradata)
        digest.update(index.size[index.order].astype("<i8").tobytes())
        digest.update(index.crc32c[index.order].astype("<u4").tobytes())
    else:
        for start in range(0, len(camera), 16):
            digest.update(camera.images(range(start, min(start + 16, len(camera)))).tobytes())
    return digest.hexdigest()
