"""One schema for many episodes: which columns a learning table has, decided before it is written.

A table has the same columns in every row, episodes do not. What most episodes of a choice have in
common decides; an episode that does not fit is left out with a reason, a stream that not all of
the rest have is left out with a note.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from demos import alignment, task
from demos.alignment.actions import ActionPlan
from demos.alignment.columns import (
    Column,
    Joined,
    NoTable,
    column_name,
    is_window,
    window_of,
)
from demos.alignment.offers import CameraColumn, Offer, Wanted, cameras_of, offer_of
from demos.errors import DemosError, UnknownName
from demos.formats.names import word
from demos.model import Episode, Manifest, StreamSummary

OUTCOMES = ("success", "partial", "failure", "aborted")


class Offered(Protocol):
    """An episode that may go into a table, opened anew each time."""

    @property
    def manifest(self) -> Manifest:
        """What there is of it."""

    @property
    def open(self) -> Callable[[], Episode]:
        """Open it anew."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table and the rate of its steps.

    columns: all but the images, state and action first. windows: column to samples a step.
    """

    rate_hz: float
    embodiment: str
    state: Joined
    action: ActionPlan
    columns: tuple[Column, ...]
    cameras: tuple[CameraColumn, ...]
    windows: Mapping[str, int]

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Survey:
    """A schema for those episodes that fit it; why the others do not, and what each leaves behind.

    fitting: in the order they were offered. refused and notes are by episode id.
    """

    schema: TableSchema | None
    fitting: tuple[str, ...]
    refused: Mapping[str, DemosError]
    notes: Mapping[str, tuple[str, ...]]


def survey(offered: Sequence[Offered], wanted: Wanted) -> Survey:
    """Decide on a schema from manifests and labels; video stamps are read for the rate only.

    Raises UnknownName for a wanted stream that no episode has.
    """
    if wanted.streams is not None:
        _refuse_unknown(offered, wanted.streams)
    refused: dict[str, DemosError] = {}
    offers: dict[str, Offer] = {}
    for item in offered:
        try:
            offers[item.manifest.id] = offer_of(item.open(), wanted)
        except DemosError as error:
            refused[item.manifest.id] = error
    _keep_complete(offers, refused, wanted.streams or ())
    _keep_most_alike(offers, refused)
    cameras = _keep_with_cameras(offers, refused, wanted)
    asked_hz, gap_s = _pace(offered, offers, refused, cameras)
    if not offers:
        return Survey(None, (), refused, {})
    rate_hz = wanted.rate_hz or asked_hz
    # images that keep a rate are never more than one and a half of its periods apart
    longest_s = max(1.0, min(gap_s * rate_hz, 1.5)) / rate_hz
    schema = _schema(offers, cameras, rate_hz, longest_s)
    notes = {name: tuple(offer.notes) for name, offer in offers.items()}
    return Survey(schema, tuple(offers), refused, notes)


def narrowed(episode: Episode, cameras: Sequence[CameraColumn]) -> Episode:
    """Return an episode without the cameras that do not go out: they bound nothing."""
    kept = {column.camera: episode.cameras[column.camera] for column in cameras}
    return Episode(episode.manifest, episode.streams, kept, episode.labels, episode.root)


def _keep_complete(
    offers: dict[str, Offer], refused: dict[str, DemosError], names: Sequence[str]
) -> None:
    for name, offer in list(offers.items()):
        own = {*offer.manifest.streams, *(f"image.{c}" for c in offer.manifest.cameras)}
        if lacking := [stream for stream in names if stream not in own]:
            refused[name] = NoTable(f"it has no {lacking[0]}, which is to go out").with_hint(
                "choose episodes that have it (--where), or name fewer streams (--stream)"
            )
            del offers[name]


def _keep_most_alike(offers: dict[str, Offer], refused: dict[str, DemosError]) -> None:
    counts = Counter(offer.kind for offer in offers.values())
    if len(counts) < 2:
        return
    kept = counts.most_common(1)[0][0]
    for name, offer in list(offers.items()):
        if offer.kind != kept:
            why = "its body" if offer.kind[0] != kept[0] else "what its state and action consist of"
            refused[name] = NoTable(
                f"a table has one schema, and {why} differs from that of "
                f"{counts[kept]} of {counts.total()} episodes"
            ).with_hint("export it by itself: choose with --where")
            del offers[name]


def _keep_with_cameras(
    offers: dict[str, Offer], refused: dict[str, DemosError], wanted: Wanted
) -> tuple[CameraColumn, ...]:
    counts: Counter[CameraColumn] = Counter()
    for offer in offers.values():
        counts.update(cameras_of(offer.manifest))
    kept: list[CameraColumn] = []
    for column, count in sorted(counts.items(), key=lambda item: (-item[1], item[0].camera)):
        asked = wanted.streams is None or f"image.{column.camera}" in wanted.streams
        enough = 2 * count >= len(offers) or (wanted.streams is not None and asked)
        if asked and enough and column.name not in {other.name for other in kept}:
            kept.append(column)
    total = len(offers)
    for name, offer in list(offers.items()):
        own = cameras_of(offer.manifest)
        lacking = [column for column in kept if column not in own]
        if lacking:
            refused[name] = NoTable(
                f"it has no images of {lacking[0].camera} of {lacking[0].width}x"
                f"{lacking[0].height}, as {counts[lacking[0]]} of {total} episodes have"
            ).with_hint("export without that camera: name the streams that go out (--stream)")
            del offers[name]
        elif wanted.streams is None:
            for column in (column for column in own if column not in kept):
                offer.notes.append(
                    f"image.{column.camera} is left out: {counts[column]} of {total} "
                    f"episodes have it in {column.width}x{column.height}"
                )
    return tuple(sorted(kept, key=lambda column: (column.camera != "egocentric", column.camera)))


def _pace(
    offered: Sequence[Offered],
    offers: dict[str, Offer],
    refused: dict[str, DemosError],
    cameras: Sequence[CameraColumn],
) -> tuple[float, float]:
    """Return the slowest rate that an episode asks for, and the longest step between images, s."""
    rates, gap_ns = [], 0
    for item in offered:
        if item.manifest.id in offers:
            try:
                bare = narrowed(item.open(), cameras)
                rates.append(alignment.step_rate_hz(bare))
                steps = [np.diff(np.sort(camera.time_ns)) for camera in bare.cameras.values()]
                gap_ns = max([gap_ns, *(int(each.max()) for each in steps if len(each))])
            except DemosError as error:
                refused[item.manifest.id] = error
                del offers[item.manifest.id]
    return min(rates, default=alignment.USUAL_HZ), gap_ns / 1e9


def _schema(
    offers: Mapping[str, Offer],
    cameras: tuple[CameraColumn, ...],
    rate_hz: float,
    longest_s: float,
) -> TableSchema:
    every = list(offers.values())
    first = every[0]
    state, action = first.state, first.action
    columns = [
        _numbers("observation.state", state.channels, state.units, state.streams),
        _numbers("action", action.channels, action.units, action.streams),
    ]
    windows: dict[str, int] = {}
    for name in _shared(every, len(offers)):
        info = first.others[name].info
        own = first.others[name].shape[1:]
        column = word(column_name(name))
        if column in {known.name for known in columns}:
            for offer in every:
                offer.notes.append(f"{name} is left out: another stream has its column {column}")
            continue
        channels = info.channels if len(own) == 1 else ()
        units = info.units if len(own) == 1 or len(set(info.units)) == 1 else ()
        whole = not first.others[name].dtype.startswith("float")
        if is_window(name):
            windows[column] = max(window_of(offer.others[name], longest_s) for offer in every)
            shape: tuple[int, ...] = (windows[column], math.prod(own))
            columns.append(Column(column, "float32", shape, channels, units, (name,)))
        else:
            shape = own if len(own) <= 5 else (math.prod(own),)
            dtype = "int64" if whole else "float32"
            columns.append(Column(column, dtype, shape, channels, units, (name,)))  # type: ignore[arg-type]
    columns += _annotations(every)
    return TableSchema(
        rate_hz, first.manifest.embodiment, state, action, tuple(columns), cameras, windows
    )


def _shared(every: Sequence[Offer], total: int) -> list[str]:
    """Name the streams that all episodes have alike; the rest becomes a note where it is."""
    shapes: Counter[tuple[str, object]] = Counter()
    for offer in every:
        shapes.update((name, _alike(summary)) for name, summary in offer.others.items())
    shared = {name for (name, _), count in shapes.items() if count == total}
    for offer in every:
        for name, summary in offer.others.items():
            if name not in shared:
                count = shapes[name, _alike(summary)]
                offer.notes.append(
                    f"{name} is left out: {count} of {total} episodes have it like this"
                )
    return [name for name in every[0].others if name in shared]


def _alike(summary: StreamSummary) -> object:
    info = summary.info
    meant = info.channels, info.units, info.reference_frame
    return summary.shape[1:], meant, summary.dtype.startswith("float")


def _annotations(every: Sequence[Offer]) -> list[Column]:
    values: dict[str, set[str]] = {}
    for offer in every:
        for column, found in offer.words.items():
            values.setdefault(column, set()).update(found)
    columns = [_worded(column, _vocabulary(column, values[column])) for column in sorted(values)]
    known = [offer.outcome for offer in every]
    if any(known):
        columns.append(_worded("annotation.outcome", _extended(OUTCOMES, known)))
    columns.append(Column("next.done", "bool", (1,)))
    if all(known):
        columns.append(Column("next.success", "bool", (1,)))
    return columns


def _vocabulary(column: str, values: Iterable[str]) -> tuple[str, ...]:
    # the shared vocabulary whole, so that a number means the same in every export
    if column.startswith("annotation.phase."):
        return _extended([phase.id for phase in task.vocabulary().phases], values)
    return _extended(("held", "dropped", "missed"), values)


def _extended(known: Sequence[str], values: Iterable[str]) -> tuple[str, ...]:
    return (*known, *sorted(set(values) - set(known) - {""}))


def _worded(name: str, words: tuple[str, ...]) -> Column:
    return Column(name, "int64", (1,), words=words)


def _numbers(
    name: str, channels: tuple[str, ...], units: tuple[str, ...], streams: tuple[str, ...]
) -> Column:
    return Column(name, "float32", (len(channels),), channels, units, streams)


def _refuse_unknown(offered: Sequence[Offered], names: Sequence[str]) -> None:
    known = {name for item in offered for name in item.manifest.streams}
    known |= {f"image.{name}" for item in offered for name in item.manifest.cameras}
    for name in names:
        if name not in known:
            raise UnknownName.among("stream", name, known)
