"""From what a caller hands over to sample blocks: streams declared, shapes and stamps checked."""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import RecordingFailed, UnknownName
from demos.model import Nanoseconds, StreamInfo, Values
from demos.store.blocks import BlockLog, Kind
from demos.store.recording import ARRIVAL_STAMPS, SOURCE_STAMPS, StreamDeclaration, as_json

Stamp = int | np.integer[Any]
Stamps = Stamp | Sequence[int] | npt.NDArray[Any]
_STAMP = struct.Struct("<q").pack


@dataclass(slots=True)
class _Track:
    index: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class SampleWriter:
    """The streams of one recording: each is declared in the log with its first sample."""

    def __init__(self, log: BlockLog, declared: Mapping[str, StreamInfo], start_ns: int) -> None:
        self.last_ns = 0
        self._log, self._start_ns = log, start_ns
        self._declared = dict(declared)
        self._tracks: dict[str, _Track] = {}
        self._declaring = threading.Lock()

    def declare(self, stream: str, info: StreamInfo) -> None:
        """Say what a stream means. Raises RecordingFailed after its first sample."""
        if len(info.units) != len(info.channels):
            raise RecordingFailed(
                f"stream {stream!r}: {len(info.channels)} channels but {len(info.units)} units"
            ).with_hint("give one unit a channel")
        with self._declaring:
            if stream in self._tracks and self._declared[stream] != info:
                raise RecordingFailed(f"stream {stream!r} is being recorded already").with_hint(
                    "declare it before its first sample"
                )
            self._declared[stream] = info

    def knows(self, stream: str) -> bool:
        """Say whether a stream is declared."""
        return stream in self._declared

    def write(
        self,
        stream: str,
        time_ns: Stamps,
        values: npt.ArrayLike,
        source_time_ns: Stamps | None,
        arrival_ns: Stamps | None,
    ) -> None:
        """Append one sample or a block of samples to the log."""
        array = np.asarray(values)
        track = self._tracks.get(stream) or self._begin(stream, array)
        if array.dtype != track.dtype:
            array = _cast(stream, array, track)
        if (
            type(time_ns) is int
            and array.shape == track.shape
            and source_time_ns is None
            and arrival_ns is None
        ):
            # the usual case, one sample: as few steps as can be
            moment = time_ns - self._start_ns
            try:
                payload = _STAMP(moment) + array.tobytes()
            except struct.error as error:
                raise RecordingFailed(f"stream {stream!r}: {time_ns} ns is no int64").with_hint(
                    "give nanoseconds since the episode's start, or `start_ns`"
                ) from error
            self._log.append(Kind.SAMPLES, track.index, payload)
            self.last_ns = moment
            return
        stamps = _stamps(stream, time_ns) - self._start_ns
        parts, flags = [stamps.tobytes()], 0
        for flag, more in ((SOURCE_STAMPS, source_time_ns), (ARRIVAL_STAMPS, arrival_ns)):
            if more is not None:
                raw = _stamps(stream, more)
                if len(raw) != len(stamps):
                    raise RecordingFailed(
                        f"stream {stream!r}: {len(raw)} device stamps for {len(stamps)} samples"
                    ).with_hint("give one a sample, or none")
                parts.append(raw.tobytes())
                flags |= flag
        parts.append(_block(stream, array, track, len(stamps)).tobytes())
        if len(stamps):
            self._log.append(Kind.SAMPLES, track.index, b"".join(parts), flags)
            self.last_ns = int(stamps[-1])

    def _begin(self, stream: str, array: Values) -> _Track:
        """Declare a stream in the log, its dtype that of its first sample."""
        with self._declaring:
            if stream in self._tracks:
                return self._tracks[stream]
            if stream not in self._declared:
                raise UnknownName.among("stream", stream, self._declared).with_hint(
                    f"declare it first: recording.declare({stream!r}, StreamInfo(...))"
                )
            info = self._declared[stream]
            shape = info.shape or (len(info.channels),)
            if array.dtype.kind not in "fiub":
                raise RecordingFailed(
                    f"stream {stream!r}: {array.dtype} values cannot be recorded"
                ).with_hint("give numbers of one kind: floats, whole numbers or truth values")
            if array.ndim < len(shape) or array.shape[array.ndim - len(shape) :] != shape:
                # a scalar or a column for a stream of one channel is fine
                _block(stream, array, _Track(0, array.dtype, shape), array.size)
            dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype
            dtype = dtype.newbyteorder("<")
            track = _Track(len(self._tracks), dtype, shape)
            declaration = StreamDeclaration(
                index=track.index, name=stream, info=info, dtype=dtype.str, shape=shape
            )
            self._log.append(Kind.STREAM, 0, as_json(declaration))
            self._tracks[stream] = track
            return track


def _cast(stream: str, array: Values, track: _Track) -> Values:
    if not np.can_cast(array.dtype, track.dtype, "same_kind") or array.dtype.kind not in "fiub":
        raise RecordingFailed(
            f"stream {stream!r} began with {track.dtype} values, now they are {array.dtype}"
        ).with_hint("a stream keeps one dtype: convert the values before writing them")
    cast = array.astype(track.dtype)
    if track.dtype.kind in "iu" and not np.array_equal(cast, array):
        raise RecordingFailed(
            f"stream {stream!r}: {array.dtype} values do not fit {track.dtype}"
        ).with_hint("the first sample sets the dtype: begin with a wider one")
    return cast


def _stamps(stream: str, given: Stamps) -> Nanoseconds:
    stamps = np.atleast_1d(np.asarray(given))
    if not stamps.size:
        return np.empty(0, np.int64)
    if stamps.ndim != 1 or stamps.dtype.kind not in "iu":
        raise RecordingFailed(
            f"stream {stream!r}: stamps are {stamps.dtype} {stamps.shape}, not whole nanoseconds"
        ).with_hint("give int64 nanoseconds: round(seconds * 1e9)")
    return stamps.astype("<i8")


def _block(stream: str, array: Values, track: _Track, count: int) -> Values:
    """Return values as (count, *shape); a scalar or (count,) is fine for one channel."""
    wanted = (count, *track.shape)
    single_sample = count == 1 and array.shape == track.shape
    one_channel = track.shape == (1,) and array.shape in ((), (count,)) and array.size == count
    if array.shape != wanted and not single_sample and not one_channel:
        raise RecordingFailed(
            f"stream {stream!r}: values have shape {array.shape}; {count} stamps need {wanted}"
        ).with_hint(f"one sample of it has shape {track.shape}")
    return array.reshape(wanted)
