"""What windows must hold, said slowly: one moment, one stream, one loop at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demos import timeline
from demos.loader import Source
from demos.model import Camera, Episode, Label, Manifest, Stream


@dataclass
class InMemory:
    """As much of a store as a loader asks for: episodes by id, and a folder for the cache."""

    root: Path
    episodes: Mapping[str, Episode] = field(default_factory=dict)

    def manifest(self, episode: str) -> Manifest:
        return self.episodes[episode].manifest

    def episode(self, episode: str) -> Episode:
        return self.episodes[episode]

    def sources(self) -> list[Source]:
        return [Source(name, "0" * 64, "all", e.labels) for name, e in self.episodes.items()]


def samples(part: Stream | Camera) -> list[tuple[int, Any]]:
    """Every sample by its moment, in order; of two at one moment the first. Images by number."""
    values = part.values if isinstance(part, Stream) else range(len(part.time_ns))
    found: dict[int, Any] = {}
    for moment, value in zip(part.time_ns.tolist(), values, strict=True):
        found.setdefault(moment, value)
    return sorted(found.items(), key=lambda item: item[0])


def part_of(episode: Episode, name: str) -> Stream | Camera:
    if name.startswith("image."):
        return episode.cameras[name.removeprefix("image.")]
    return episode.streams[name]


def ticks(part: Stream | Camera) -> bool:
    return not isinstance(part, Stream) or timeline.periodic(timeline.repaired(part))


def parts(episode: Episode, names: Sequence[str], rate_hz: float) -> list[list[int]]:
    """The moments of the steps, part by part."""
    asked = [part_of(episode, name) for name in names]
    bounding = [part for part in asked if ticks(part)] or asked
    begin = max(samples(part)[0][0] for part in bounding)
    end = min(samples(part)[-1][0] for part in bounding)
    cuts = sorted(
        (span.start_ns, span.end_ns)
        for span in _use(episode.labels)
        if span.value in ("exclude", "negative")
    )
    found = []
    while begin <= end:
        inside = next((cut for cut in cuts if cut[0] <= begin <= cut[1]), None)
        if inside is not None:
            begin = inside[1] + 1
            continue
        until = min([end] + [cut[0] - 1 for cut in cuts if cut[0] > begin])
        moments, step = [], 0
        while True:
            moment = begin + round(step * (1e9 / rate_hz))
            if moment > until:
                break
            moments.append(moment)
            step += 1
        found.append(moments)
        begin = until + 1
    return found


def _use(labels: Sequence[Label]) -> Sequence[Any]:
    return labels[-1].spans if labels else ()


def limit_ns(part: Stream | Camera, rate_hz: float, max_age_s: float | None) -> float:
    if not ticks(part):
        return float("inf")
    if max_age_s is not None:
        return round(max_age_s * 1e9)
    stamps: list[int] = part.time_ns.tolist()
    mean = (max(stamps) - min(stamps)) / max(len(stamps) - 1, 1)
    return round(3 * max(mean, 1e9 / rate_hz))


def windows(
    episode: Episode,
    wanted: Mapping[str, Sequence[int]],
    rate_hz: float,
    max_age_s: float | None = None,
) -> list[dict[str, Any]]:
    """All windows of one episode; images by their number."""
    found = []
    for moments in parts(episode, list(wanted), rate_hz):
        for anchor in range(len(moments)):
            window: dict[str, Any] = {"time_ns": moments[anchor]}
            for name, offsets in wanted.items():
                part = part_of(episode, name)
                known = samples(part)
                most = limit_ns(part, rate_hz, max_age_s)
                values, pads = [], []
                for offset in offsets:
                    step = min(max(anchor + offset, 0), len(moments) - 1)
                    outside = step != anchor + offset
                    moment = moments[step]
                    before = [sample for sample in known if sample[0] <= moment]
                    stamp, value = before[-1] if before else known[0]
                    values.append(value)
                    pads.append(outside or not before or moment - stamp > most)
                window[name], window[f"{name}.is_pad"] = np.array(values), pads
            found.append(window)
    return found
