"""The steps of all episodes, one row after another: when they are, and what they may hold.

Rows of one part (an interval of one episode that may be trained on) follow each other, parts
follow each other, episodes are in the order of their ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.labels import usable
from demos.loader.choices import IMAGE, LoadFailed
from demos.model import CameraSummary, Episode, Label, Manifest, Nanoseconds, StreamSummary
from demos.store import EpisodeStore

Rows = npt.NDArray[np.int64]
PERIODS = 3
"""How many periods old a sample may be before it no longer counts, where nobody says."""

MOST_STEPS = 10_000_000
"""Days of one episode: a clock that jumped, which no table of steps should be made of."""


@dataclass(frozen=True, slots=True)
class Source:
    """One episode to load from; `labels` are the opinions on its use that count."""

    episode: str
    manifest_sha256: str
    split: str = "all"
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """What one sample is: shape and dtype, and what its channels mean. Images are uint8 RGB."""

    shape: tuple[int, ...]
    dtype: str
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Which moments are steps.

    sources: the episodes that have steps. left_out: id and reason of those that have none.
    part_source (parts,): index into `sources`; part_start_ns, part_steps (parts,): first moment
    and count. limits_ns: per stream or camera and source, how old a sample may be, None for any
    age. layouts: per stream or camera.
    """

    rate_hz: float
    sources: tuple[Source, ...]
    left_out: tuple[tuple[str, str], ...]
    part_source: Rows
    part_start_ns: Nanoseconds
    part_steps: Rows
    limits_ns: Mapping[str, tuple[int | None, ...]]
    layouts: Mapping[str, Layout]

    @property
    def part_first(self) -> Rows:
        """The row of each part's first step, and behind the last the number of rows."""
        return np.concatenate([[0], np.cumsum(self.part_steps)])

    @property
    def rows(self) -> int:
        """How many steps there are."""
        return int(self.part_steps.sum())

    def moments(self, part: int) -> Nanoseconds:
        """Return when the steps of a part are: (steps,) int64."""
        steps = np.rint(np.arange(self.part_steps[part]) * (1e9 / self.rate_hz)).astype(np.int64)
        moments: Nanoseconds = self.part_start_ns[part] + steps
        return moments

    def parts_of(self) -> Iterator[list[int]]:
        """Yield the numbers of the parts of each source."""
        bounds = np.searchsorted(self.part_source, np.arange(len(self.sources) + 1))
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            yield list(range(first, last))

    def key(self, name: str, *more: object) -> str:
        """Hash all that the values of one stream or camera at the steps depend on."""
        what = [
            [s.manifest_sha256, limit, self.part_start_ns[p].tolist(), self.part_steps[p].tolist()]
            for s, limit, p in zip(self.sources, self.limits_ns[name], self.parts_of(), strict=True)
        ]
        text = json.dumps([name, self.rate_hz, what, *more])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def held(
    time_ns: Nanoseconds, moments: Nanoseconds, limit_ns: int | None
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Return per moment the index of the latest stamp at or before it, and whether it is none.

    `time_ns` is in order. Before the first stamp its index is given, and it counts as none; so
    does a stamp older than `limit_ns`.
    """
    last = np.searchsorted(time_ns, moments, side="right") - 1
    pad = last < 0
    last = np.maximum(last, 0)
    if limit_ns is not None:
        pad |= moments - time_ns[last] > limit_ns
    return last, pad


def grid_of(
    store: EpisodeStore,
    sources: Sequence[Source],
    names: Sequence[str],
    rate_hz: float,
    max_age_s: float | None,
) -> Grid:
    """Lay the steps of all episodes. Raises LoadFailed where there are none at all."""
    kept: list[Source] = []
    left_out: list[tuple[str, str]] = []
    parts: list[tuple[int, int, int]] = []
    limits: dict[str, list[int | None]] = {name: [] for name in names}
    layouts: dict[str, tuple[Layout, str]] = {}
    for source in sorted(sources, key=lambda each: each.episode):
        manifest = store.manifest(source.episode)
        heard = {name: _summary(manifest, name) for name in names}
        reason = _silent(heard)
        if reason:
            left_out.append((source.episode, reason))
            continue
        _agree(layouts, heard, source.episode)
        ticking = _ticking(heard, store, source.episode)
        start, end = _reach([heard[name] for name in ticking or names])
        if (end - start) / 1e9 * rate_hz > MOST_STEPS:
            left_out.append((source.episode, f"its clocks span {(end - start) / 8.64e13:.0f} days"))
            continue
        found = [
            (first, len(timeline.grid_ns(first, last, rate_hz)))
            for first, last in (usable(source.labels, start, end) if start <= end else [])
        ]
        if not found:
            left_out.append((source.episode, "no moment at which all of them speak may be used"))
            continue
        parts += [(len(kept), start, count) for start, count in found]
        kept.append(source)
        for name in names:
            limits[name].append(
                _limit_ns(heard[name], rate_hz, max_age_s) if name in ticking else None
            )
    if not kept:
        raise _nothing(left_out)
    table = np.array(parts, np.int64)
    return Grid(
        rate_hz,
        tuple(kept),
        tuple(left_out),
        table[:, 0].copy(),
        table[:, 1].copy(),
        table[:, 2].copy(),
        {name: tuple(of) for name, of in limits.items()},
        {name: layout for name, (layout, _) in layouts.items()},
    )


Summary = StreamSummary | CameraSummary


def _summary(manifest: Manifest, name: str) -> Summary | None:
    if name.startswith(IMAGE):
        return manifest.cameras.get(name.removeprefix(IMAGE))
    return manifest.streams.get(name)


def _silent(heard: Mapping[str, Summary | None]) -> str:
    for name, summary in heard.items():
        if summary is None:
            return f"it has no {name}"
        if summary.start_ns is None:
            return f"its {name} is empty"
        if isinstance(summary, StreamSummary) and 0 in summary.shape[1:]:
            return f"its {name} has no channels"
    return ""


def _count(summary: Summary) -> int:
    return summary.images if isinstance(summary, CameraSummary) else summary.shape[0]


def _ticking(heard: Mapping[str, Summary | None], store: EpisodeStore, episode: str) -> set[str]:
    """Name what is sampled at a rate; what is sampled at changes holds for any time."""
    opened: Episode | None = None
    found = set()
    for name, summary in heard.items():
        if isinstance(summary, StreamSummary) and summary.info.rate_hz is None:
            opened = opened or store.episode(episode)
            if not timeline.periodic(timeline.repaired(opened.streams[name])):
                continue
        found.add(name)
    return found


def _reach(bounding: Sequence[Summary | None]) -> tuple[int, int]:
    """Return the first and the last moment at which all of them speak."""
    start = max(b.start_ns for b in bounding if b is not None and b.start_ns is not None)
    end = min(b.end_ns for b in bounding if b is not None and b.end_ns is not None)
    return start, end


def _limit_ns(summary: Summary | None, rate_hz: float, max_age_s: float | None) -> int:
    """Allow three periods of the stream, or of the steps where those are longer."""
    if max_age_s is not None:
        return round(max_age_s * 1e9)
    period_ns = 1e9 / rate_hz
    if summary is not None and summary.start_ns is not None and summary.end_ns is not None:
        gaps = max(_count(summary) - 1, 1)
        period_ns = max(period_ns, (summary.end_ns - summary.start_ns) / gaps)
    return round(PERIODS * period_ns)


def _agree(
    layouts: dict[str, tuple[Layout, str]], heard: Mapping[str, Summary | None], episode: str
) -> None:
    """Widen the dtype to what all episodes need. Raises LoadFailed where the rest differs."""
    for name, summary in heard.items():
        layout = _layout(summary)
        known, first = layouts.get(name, (layout, episode))
        if known != layout and not name.startswith(IMAGE):
            dtype = np.result_type(np.dtype(known.dtype), np.dtype(layout.dtype))
            widened = Layout(known.shape, _kept(dtype), known.channels, known.units)
            if (layout.shape, layout.channels, layout.units) != (
                (known.shape, known.channels, known.units)
            ):
                raise LoadFailed(
                    f"{name!r} of episode {episode} has {_words(layout)}, "
                    f"of episode {first} {_words(known)}"
                ).with_hint("select the episodes of one embodiment and one recording setup")
            known = widened
        elif known != layout:
            known = Layout((0, 0, 3), "uint8")  # sizes differ, which matters without `size`
        layouts[name] = known, first


def _layout(summary: Summary | None) -> Layout:
    if isinstance(summary, StreamSummary):
        info = summary.info
        dtype = _kept(np.dtype(summary.dtype))
        return Layout(summary.shape[1:], dtype, info.channels, info.units)
    if isinstance(summary, CameraSummary):
        return Layout((summary.info.height, summary.info.width, 3), "uint8")
    raise TypeError(f"{summary!r} says nothing of a stream")


def _kept(dtype: np.dtype[np.generic]) -> str:
    return "float32" if dtype.kind == "f" else dtype.name


def _words(layout: Layout) -> str:
    channels = ", ".join(
        f"{name} [{unit}]" for name, unit in zip(layout.channels, layout.units, strict=True)
    )
    return f"{layout.shape} of {channels}"


def _nothing(left_out: Sequence[tuple[str, str]]) -> LoadFailed:
    if not left_out:
        return LoadFailed("no episode is selected, so there is nothing to load").with_hint(
            "see what there is with `demos ls STORE`"
        )
    episode, reason = left_out[0]
    return LoadFailed(
        f"none of {len(left_out)} episodes can be used: {episode}: {reason}"
    ).with_hint("see what an episode holds with `demos show STORE EPISODE`")
