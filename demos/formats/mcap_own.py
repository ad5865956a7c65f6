"""What an exported MCAP file says beside its standard messages, so that nothing is lost on return.

Each channel carries one JSON object under the key `demos` of its metadata: which stream the
messages are (name, dtype, what the numbers mean), which camera, or which records. The file has one
metadata record `demos` with the moment from which stamps count, and `manifest.json` and
`session.json` attached. Readers that know nothing of it see ordinary ROS 2 messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.ros_clocks import Clock
from demos.model import CameraInfo, Stream, StreamInfo

KEY = "demos"
MANIFEST = "manifest.json"
SESSION = "session.json"
LABELS = "labels"
ATTACHED = frozenset({MANIFEST, SESSION})


@dataclass(frozen=True, slots=True)
class Meant:
    """The stream that one field of a channel's messages holds."""

    name: str
    dtype: str
    info: StreamInfo

    def told(self) -> dict[str, Any]:
        """Say it as JSON can."""
        info = self.info.model_dump(mode="json", exclude_defaults=True)
        return {"name": self.name, "dtype": self.dtype, "info": info}

    def stream(self, values: npt.NDArray[Any], clock: Clock) -> Stream:
        """Give values their dtype and shape back. Raises SchemaMismatch or ValueError."""
        shape = self.info.shape or (len(self.info.channels),)
        held = np.ascontiguousarray(values).reshape(len(values), *shape)
        with np.errstate(invalid="ignore"):
            cast = held.astype(np.dtype(self.dtype), copy=False)
        return Stream(clock.time_ns, cast, self.info, clock.source_time_ns, clock.arrival_ns)

    def empty(self) -> Stream:
        """Make the stream that has no samples."""
        shape = self.info.shape or (len(self.info.channels),)
        nothing = np.zeros((0, *shape), np.dtype(self.dtype))
        return Stream(np.zeros(0, np.int64), nothing, self.info)


@dataclass(frozen=True, slots=True)
class Own:
    """What one channel is to us. Exactly one of the fields is set.

    streams: by the message's field (`position`), or by an empty name where it has only one.
    source_of: the streams whose device stamps these are. shown: for people, derived from records.
    """

    streams: Mapping[str, Meant] | None = None
    camera: tuple[str, CameraInfo] | None = None
    records: str = ""
    source_of: tuple[str, ...] = ()
    shown: str = ""

    def metadata(self) -> dict[str, str]:
        """Say it as a channel's metadata."""
        told: dict[str, Any] = {}
        if self.streams is not None:
            told["streams"] = {key: each.told() for key, each in self.streams.items()}
        if self.camera is not None:
            name, info = self.camera
            told["camera"] = {
                "name": name,
                "info": info.model_dump(mode="json", exclude_defaults=True),
            }
        if self.source_of:
            told["source_of"] = list(self.source_of)
        for key in ("records", "shown"):
            if value := getattr(self, key):
                told[key] = value
        return {KEY: json.dumps(told)}


def own(about: Mapping[str, str]) -> Own | None:
    """Read what a channel's metadata says of us; None where it says nothing that makes sense."""
    try:
        told = json.loads(about[KEY])
        streams = told.get("streams")
        camera = told.get("camera")
        found = Own(
            None if streams is None else {key: _meant(each) for key, each in streams.items()},
            None if camera is None else (camera["name"], CameraInfo(**camera["info"])),
            str(told.get("records", "")),
            tuple(str(name) for name in told.get("source_of", ())),
            str(told.get("shown", "")),
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    said = (found.streams, found.camera, found.records, found.source_of, found.shown)
    return found if any(said) else None


def _meant(told: Mapping[str, Any]) -> Meant:
    dtype = np.dtype(str(told["dtype"]))
    name = told["name"]
    if dtype.kind not in "biuf" or not isinstance(name, str) or not name:
        raise ValueError(f"no stream holds {dtype}")
    return Meant(name, dtype.name, StreamInfo(**told["info"]))
