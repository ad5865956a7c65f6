"""Pack what one page of the viewer draws of an episode: every sample with its own time stamp.

Layout (little endian): b"DEMOSIG1", uint32 length of the JSON header, the header, padding to 8
bytes, then blobs the header points into, each aligned to 8 bytes.

* A clock is `first_ms` (float64) and either uint32 steps in nanoseconds or float64 milliseconds.
* A stream is int16 `[C, T]`, channel by channel: value = (q + 32767) * scale + low, with -32768 for
  a sample that is not finite. A step is 1/65534 of the channel's range within the episode.
* A camera is the clock of its images and, per image, the moment in the media file (float64 s);
  `media_start` is the moment of the file's first image.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import DemosError
from demos.model import Camera, Embodiment, Episode, Nanoseconds, Stream
from demos.store.packets import PacketIndex

MAGIC = b"DEMOSIG1"
MOST_VALUES = 8_000_000
_SHOWN = ("joint_position", "joint_command", "wrench.", "tactile.", "gripper.")
_TAXEL = re.compile(r"^(?P<finger>.+)\.(?P<component>normal|shear_u|shear_v)\.r(\d+)c(\d+)$")


def pack(
    episode: Episode,
    embodiment: Embodiment | None = None,
    *,
    proxied: Mapping[str, PacketIndex] | None = None,
    most_values: int = MOST_VALUES,
) -> bytes:
    """Pack joints, wrenches, touch, grippers and image stamps of an episode, gzip-compressed.

    `proxied` has the index of each video that is looked at in place of the camera's own.

    A stream that cannot be read is named in the header's `problems`; the others go on. A stream of
    more than `most_values` numbers is thinned to least and greatest values and says so.
    """
    body = _Body()
    streams: dict[str, Any] = {}
    problems: dict[str, str] = {}
    # a body nobody described has its joints in `state`, in an order only its names tell
    posture = "joint_position" if "joint_position" in episode.streams else "state"
    for name in sorted(episode.streams):
        if not (name == posture or name.startswith(_SHOWN)) or name.startswith("joint_command."):
            continue
        try:
            stream = timeline.repaired(episode.streams[name])
        except DemosError as error:
            problems[name] = f"{error}"
            continue
        if stream.values.ndim == 2:
            streams[name] = _stream(body, name, stream, embodiment, most_values)
    cameras: dict[str, Any] = {}
    for name in sorted(episode.cameras):
        try:
            cameras[name] = _camera(body, episode.cameras[name], (proxied or {}).get(name))
        except DemosError as error:
            problems[f"image.{name}"] = f"{error}"
    header = {
        "clocks": body.clocks,
        "streams": streams,
        "cameras": cameras,
        "problems": problems,
        "start_ms": 0.0,
        "end_ms": episode.manifest.duration_ns / 1e6,
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    start = MAGIC + struct.pack("<I", len(text)) + text
    return gzip.compress(start + bytes(-len(start) % 8) + bytes(body.blob), 3, mtime=0)


class _Body:
    def __init__(self) -> None:
        self.blob = bytearray()
        self.clocks: list[dict[str, Any]] = []
        self._known: dict[bytes, int] = {}

    def put(self, array: npt.NDArray[Any]) -> int:
        self.blob.extend(bytes(-len(self.blob) % 8))
        at = len(self.blob)
        self.blob.extend(np.ascontiguousarray(array).tobytes())
        return at

    def clock(self, time_ns: Nanoseconds) -> int:
        """Return the number of a clock; equal ones (position, velocity, effort) are kept once."""
        key = time_ns.tobytes()
        if key not in self._known:
            steps = np.diff(time_ns)
            narrow = bool(np.all((steps >= 0) & (steps < 2**32)))
            self._known[key] = len(self.clocks)
            self.clocks.append(
                {
                    "count": len(time_ns),
                    "first_ns": int(time_ns[0]) if len(time_ns) else 0,
                    "encoding": "step_ns_u32" if narrow else "ms_f64",
                    "at": self.put(
                        steps.astype("<u4") if narrow else (time_ns / 1e6).astype("<f8")
                    ),
                }
            )
        return self._known[key]


def _stream(
    body: _Body, name: str, stream: Stream, embodiment: Embodiment | None, most_values: int
) -> dict[str, Any]:
    time_ns, values = stream.time_ns, stream.values.astype(np.float64).T
    recorded = len(time_ns)
    if values.size > most_values:
        time_ns, values = thinned(time_ns, values, max(1, most_values // (2 * len(values))))
    counts, low, scale = quantised(values)
    described: dict[str, Any] = {
        "clock": body.clock(time_ns),
        "at": body.put(counts),
        "channels": stream.channels,
        "units": stream.units,
        "low": low,
        "scale": scale,
        "samples": recorded,
        "thinned": recorded if len(time_ns) < recorded else 0,
    }
    if name in ("joint_position", "state") or name.startswith("gripper."):
        described["groups"] = joint_groups(stream.channels, embodiment)
    if name.startswith("tactile."):
        described["pads"] = pads(stream.channels)
    return described


def _camera(body: _Body, camera: Camera, proxied: PacketIndex | None) -> dict[str, Any]:
    index = proxied or getattr(camera, "index", None)
    described: dict[str, Any] = {"clock": body.clock(camera.time_ns), "media_at": None}
    if index is not None and len(index.order) == len(camera.time_ns) > 0:
        numerator, denominator = index.time_base
        described["media_at"] = body.put(
            (index.pts[index.order] * (numerator / denominator)).astype("<f8")
        )
        # the file may begin earlier than the episode; images before zero are not shown by players
        begun = index.pts[index.pts >= 0]
        described["media_start"] = float(begun.min() * (numerator / denominator))
    return described


def quantised(
    values: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int16], list[float], list[float]]:
    """Turn (C, T) into int16 with a least value and a scale per channel, as in the layout above."""
    finite = np.isfinite(values)
    some = finite.any(axis=1) if values.size else np.zeros(len(values), bool)
    low = np.where(some, np.min(values, axis=1, where=finite, initial=np.inf), 0.0)
    high = np.where(some, np.max(values, axis=1, where=finite, initial=-np.inf), 0.0)
    scale = (high - low) / 65534
    divisor = np.where(scale > 0, scale, 1.0)[:, None]
    counts = np.rint((np.where(finite, values, low[:, None]) - low[:, None]) / divisor) - 32767
    quanta = np.where(finite, counts, -32768).astype("<i2")
    return quanta, [float(x) for x in low], [float(x) for x in scale]


def thinned(
    time_ns: Nanoseconds, values: npt.NDArray[np.float64], buckets: int
) -> tuple[Nanoseconds, npt.NDArray[np.float64]]:
    """Keep the least and the greatest value of each bucket, (C, T) to (C, 2 * buckets).

    Unlike every n-th sample this loses no peak; only its moment is rounded to half a bucket.
    """
    edges = np.linspace(0, len(time_ns), buckets + 1).astype(np.int64)[:-1]
    middles = np.append((edges[1:] + edges[:-1]) // 2, (edges[-1] + len(time_ns)) // 2)
    least = np.fmin.reduceat(values, edges, axis=1)
    greatest = np.fmax.reduceat(values, edges, axis=1)
    moments = np.stack([time_ns[edges], time_ns[middles]], axis=1).reshape(-1)
    pairs = np.stack([least, greatest], axis=2).reshape(len(values), -1)
    return moments, pairs


def joint_groups(channels: Sequence[str], embodiment: Embodiment | None) -> list[dict[str, Any]]:
    """Group joints into arms, hands and the rest, by the embodiment or, without one, by name."""
    known: Mapping[str, str] = {}
    if embodiment is not None:
        known = {joint.name: joint.group for joint in embodiment.joints}
        for effector in embodiment.effectors:
            side = effector.name.removesuffix("_hand").removesuffix("_gripper")
            arm, hand = f"{side} arm", effector.name.replace("_", " ")
            known = {**known, **dict.fromkeys(effector.arm, arm)}
            known = {**known, **dict.fromkeys(effector.hand, hand)}
    groups: dict[str, list[int]] = {}
    for number, channel in enumerate(channels):
        groups.setdefault(known.get(channel) or _by_name(channel), []).append(number)
    order = {"left arm": 0, "right arm": 1, "left hand": 2, "right hand": 3}
    ordered = sorted(groups.items(), key=lambda group: (order.get(group[0], 4), group[0]))
    return [{"name": name.replace("_", " "), "channels": found} for name, found in ordered]


def pads(channels: Sequence[str]) -> list[dict[str, Any]]:
    """Read taxel layouts from channel names `<finger>.<component>.r<row>c<col>`.

    A pad has, per component, the channel numbers row by row (-1 where a cell has none). Channels
    with other names make one pad, laid out in order, that says `assumed`.
    """
    found: dict[str, dict[str, dict[tuple[int, int], int]]] = {}
    for number, channel in enumerate(channels):
        match = _TAXEL.match(channel)
        if match is None:
            columns = max(1, round(len(channels) ** 0.5))
            rows = -(-len(channels) // columns)
            cells = [n if n < len(channels) else -1 for n in range(rows * columns)]
            return [
                {"name": "all taxels", "rows": rows, "columns": columns, "normal": cells}
                | {"assumed": True}
            ]
        place = int(match[3]), int(match[4])
        found.setdefault(match["finger"], {}).setdefault(match["component"], {})[place] = number
    described = []
    for finger, components in found.items():
        places = {place for cells in components.values() for place in cells}
        rows, columns = (max(place[axis] for place in places) + 1 for axis in (0, 1))
        pad: dict[str, Any] = {"name": finger, "rows": rows, "columns": columns}
        for component, numbers in components.items():
            pad[component] = [numbers.get((r, c), -1) for r in range(rows) for c in range(columns)]
        described.append(pad)
    return described


def _by_name(channel: str) -> str:
    lower = channel.lower()
    side = next((side for side in ("left", "right") if side in lower), "")
    fingers = ("hand", "finger", "thumb", "index", "middle", "ring", "little", "pinky", "gripper")
    if side and any(word in lower for word in fingers):
        return f"{side} hand"
    if side and any(word in lower for word in ("hip", "knee", "ankle", "leg")):
        return f"{side} leg"
    if side:
        return f"{side} arm"
    if any(word in lower for word in ("waist", "torso")):
        return "waist"
    return channel.split(".")[0].replace("_", " ") if "." in channel else "joints"
