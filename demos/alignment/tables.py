"""The table of one episode at its steps, and what the steps cannot say of its streams."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from demos import alignment, labels, timeline
from demos.alignment import Loss
from demos.alignment.actions import actions_at
from demos.alignment.columns import Column, NoTable, at_steps, how_of
from demos.alignment.schemas import TableSchema, narrowed
from demos.formats.names import word
from demos.model import Camera, Episode, Nanoseconds, Span, Stream

MOST_STEPS = 5_000_000
"""A table of more steps than that was not meant."""


@dataclass(frozen=True, slots=True, eq=False)
class StepTable:
    """One part of an episode, row by row.

    moments: (n,) int64 ns since the episode's start. columns: as the schema names them,
    (n, *shape) in the schema's dtype. images: camera to the number of the image shown at each
    step, (n,) int64. losses: per stream. notes: in words.
    """

    moments: Nanoseconds
    columns: Mapping[str, npt.NDArray[Any]]
    images: Mapping[str, npt.NDArray[np.int64]]
    losses: tuple[Loss, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.moments)


def tables_of(episode: Episode, schema: TableSchema) -> list[StepTable]:
    """Lay an episode out: one table for each part that may be trained on and has two steps.

    Raises NoTable where there is none, and what reading the episode raises.
    """
    names = {stream for column in schema.columns for stream in column.streams}
    bare = narrowed(episode, schema.cameras)
    if absent := sorted(names - set(bare.streams)):
        raise NoTable(f"it has no {absent[0]}").with_hint("see what it has with `demos show`")
    try:
        # what is no number stays none, and is counted in the notes
        with np.errstate(all="ignore"):
            return _tables(bare, schema, sorted(names))
    except OSError as error:
        raise NoTable(f"it cannot be read: {error}").with_hint(
            "`demos verify STORE --deep` says what is damaged"
        ) from error


def merged(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Add up what the parts of an episode lose: worst of the worst, root mean square of all."""
    found: dict[tuple[str, str, str], Loss] = {}
    for loss in losses:
        key = (loss.stream, loss.how, loss.unit)
        if key in found:
            known = found[key]
            samples = known.samples + loss.samples
            squares = known.samples * known.rms**2 + loss.samples * loss.rms**2
            loss = Loss(
                *key,
                samples,
                max(known.worst, loss.worst),
                math.sqrt(squares / samples) if samples else 0.0,
                known.lost + loss.lost,
            )
        found[key] = loss
    return tuple(found.values())


def _tables(episode: Episode, schema: TableSchema, names: Sequence[str]) -> list[StepTable]:
    start, end = alignment.reach(episode, names)
    if end < start:
        raise NoTable("its streams and cameras never all speak at one time").with_hint(
            "look at it with `demos show`; name the streams that go out (--stream)"
        )
    if (end - start) / 1e9 * schema.rate_hz > MOST_STEPS:
        raise NoTable(
            f"{(end - start) / 1e9:.3g} s at {schema.rate_hz:g} Hz are more than {MOST_STEPS} steps"
        ).with_hint("export at a lower rate (--rate)")
    parts = labels.usable(episode.labels, start, end)
    if not parts:
        raise NoTable("its label says that it is not to be trained on").with_hint(
            "formats that keep streams as they are take it along; or label its use anew"
        )
    found = []
    short = 0
    for first, last in parts:
        moments = _steps(episode, schema, first, last)
        if len(moments) < 2:
            short += 1
            continue
        found.append(_table(episode, schema, moments, last=last == end))
    if not found:
        raise NoTable(
            f"it has fewer than two steps at {schema.rate_hz:g} Hz in "
            f"{(end - start) / 1e9:.3g} s in which all its streams speak"
        ).with_hint("export at a higher rate (--rate), or without it (--where)")
    if parts != [(start, end)]:
        lost = f", {short} are shorter than two steps" if short else ""
        cut = f"what is not to be trained on is cut out: {len(found)} parts are episodes"
        found[0] = replace(found[0], notes=(cut + lost, *found[0].notes))
    return found


def _steps(episode: Episode, schema: TableSchema, start: int, end: int) -> Nanoseconds:
    """The first camera that keeps the rate gives the steps; an even grid where none does."""
    for column in schema.cameras:
        camera = episode.cameras[column.camera]
        inside = camera.time_ns[(camera.time_ns >= start) & (camera.time_ns <= end)]
        if alignment.keeps_rate(inside, schema.rate_hz):
            return alignment.steps(start, end, schema.rate_hz, camera)
    return alignment.steps(start, end, schema.rate_hz)


def _table(episode: Episode, schema: TableSchema, moments: Nanoseconds, *, last: bool) -> StepTable:
    streams, losses, notes = episode.streams, [_evened(moments, schema.rate_hz)], []
    columns: dict[str, npt.NDArray[Any]] = {}
    for column in schema.columns:
        values = _values(episode, schema, column, moments, last=last)
        columns[column.name] = values.reshape(len(moments), *column.shape).astype(column.dtype)
        if column.dtype == "float32" and (odd := int((~np.isfinite(columns[column.name])).sum())):
            notes.append(
                f"{column.name} has {odd} values that are no numbers; statistics leave them out"
            )
    for name in dict.fromkeys(stream for column in schema.columns for stream in column.streams):
        losses += _losses(name, streams[name], moments, schema)
    images = {}
    for camera in schema.cameras:
        images[camera.camera], loss = _images(
            camera.camera, episode.cameras[camera.camera], moments
        )
        losses.append(loss)
    return StepTable(moments, columns, images, tuple(losses), tuple(notes))


def _values(
    episode: Episode, schema: TableSchema, column: Column, moments: Nanoseconds, *, last: bool
) -> npt.NDArray[Any]:
    name = column.name
    if name == "observation.state":
        return schema.state.at(episode.streams, moments)
    if name == "action":
        return actions_at(schema.action, episode.streams, moments, schema.rate_hz)
    if name in schema.windows:
        stream = episode.streams[column.streams[0]]
        return alignment.windows(stream, moments, schema.windows[name])
    if column.streams:
        return at_steps(column.streams[0], episode.streams[column.streams[0]], moments)
    if column.words:
        return _numbered(episode, column, moments)
    ends = np.zeros(len(moments), bool)
    ends[-1] = name == "next.done" or (last and labels.outcome(episode.labels) == "success")
    return ends


def _numbered(episode: Episode, column: Column, moments: Nanoseconds) -> npt.NDArray[np.int64]:
    """Say at each step which word of an annotation holds: its number, -1 for none."""
    numbers = np.full(len(moments), -1, np.int64)
    # a label may have been given since the schema was made
    known = {value: number for number, value in enumerate(column.words)}
    if column.name == "annotation.outcome":
        numbers[:] = known.get(labels.outcome(episode.labels), -1)
        return numbers
    kind, tier = column.name.split(".", 2)[1:]
    label = labels.current(episode.labels, "phases" if kind == "phase" else "grasps")
    spans: Sequence[Span] = label.spans if label is not None else ()
    for span in sorted(spans, key=lambda span: span.start_ns):
        if word(span.tier) == tier:
            inside = (moments >= span.start_ns) & (moments <= span.end_ns)
            numbers[inside] = known.get(span.value, -1)
    return numbers


def _losses(name: str, stream: Stream, moments: Nanoseconds, schema: TableSchema) -> list[Loss]:
    for column, length in schema.windows.items():
        if schema.column(column).streams == (name,):
            return [alignment.windows_loss(name, stream, moments, length)]
    if stream.values.dtype.kind == "b":
        stream = Stream(stream.time_ns, stream.values.astype(np.uint8), stream.info)
    held = name in schema.action.targets.streams and schema.action.commanded
    how = "previous" if held else how_of(name, timeline.repaired(stream))
    return alignment.loss(name, stream, moments, how)


def _evened(moments: Nanoseconds, rate_hz: float) -> Loss:
    """How far steps lie from the row / rate that stands in the table for their moment."""
    off_s = (moments - moments[0]) / 1e9 - np.arange(len(moments)) / rate_hz
    worst, rms = float(np.abs(off_s).max()), float(np.sqrt(np.mean(off_s**2)))
    return Loss("time of the steps", f"row / {rate_hz:g} Hz", "s", len(moments), worst, rms)


def _images(name: str, camera: Camera, moments: Nanoseconds) -> tuple[npt.NDArray[np.int64], Loss]:
    """Choose the latest image at each step; the loss is its age, and the images never shown."""
    order = np.argsort(camera.time_ns, kind="stable").astype(np.int64)
    stamps = camera.time_ns[order]
    shown = alignment.latest(stamps, moments)
    age_s = np.maximum(moments - stamps[shown], 0) / 1e9
    never = int(shown[-1] - shown[0] + 1 - len(np.unique(shown)))
    how = "one image a step" if (np.diff(order[shown]) == 1).all() else "latest image"
    rms = float(np.sqrt(np.mean(age_s**2)))
    return order[shown], Loss(
        f"image.{name}", how, "s", len(moments), float(age_s.max()), rms, never
    )
