"""What the rows of a LeRobot episode say: names of channels, order of rows, texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from demos import mapping
from demos.formats.lerobot import Entry, Survey
from demos.formats.notes import Notes
from demos.formats.steps import Steps, counts_on
from demos.model import Embodiment, Event, Label, Nanoseconds, Span, Stream, StreamInfo
from demos.model.records import LabelKind
from demos.provenance import new_label

_KINDS: dict[str, LabelKind] = {"phase": "phases", "grasp": "grasps", "outcome": "outcome"}
"""Columns `annotation.<this>` become labels of that kind, which is how we write them."""

_NONE = "none"


def channel_names(
    survey: Survey, column: str, values: Any, notes: Notes, body: Embodiment | None = None
) -> tuple[str, ...]:
    """Name the channels of a column (n, C): as the source does, GR00T's group before the name.

    A name that the body knows needs no group.
    """
    width = values.shape[1]
    short = column.rsplit(".", 1)[-1]
    if values.ndim > 2:
        return (short,)
    feature = survey.info.features.get(column)
    names = feature.names if feature else ()
    if len(names) != width or len(set(names)) != width:
        names = (short,) if width == 1 else tuple(f"{short}_{n}" for n in range(width))
        if width > 1:
            notes.assumed.append(f"{column}: its channels have no names of their own")
    groups = survey.modality.get({"observation.state": "state"}.get(column, column))
    prefix = [""] * width
    for group, span in groups.items() if isinstance(groups, dict) else ():
        if not isinstance(span, dict) or span.get("original_key", column) != column:
            continue
        start, end = span.get("start"), span.get("end")
        if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= width:
            prefix[start:end] = [f"{group}."] * (end - start)
    bare = set(names) - set(mapping.connect(names, body).unknown) if body is not None else set()
    return tuple(
        name if name in bare else f"{before}{name}"
        for before, name in zip(prefix, names, strict=True)
    )


def repeated(survey: Survey, column: str) -> str:
    """Return a name that stands for two channels of a column, empty where there is none."""
    feature = survey.info.features.get(column)
    names = feature.names if feature else ()
    return next((name for n, name in enumerate(names) if name in names[:n]), "")


def hold_against(entry: Entry, steps: Steps, notes: Notes) -> None:
    """Find rows that the metadata does not know, that are missing or out of order."""
    n = len(steps)
    if entry.length is not None and entry.length != n:
        notes.find("rows", f"the metadata says {entry.length} rows, the file has {n}")
    for key in ("frame_index", "index"):
        numbers = steps.keys.get(key)
        if numbers is None:
            notes.assumed.append(f"no column {key}: rows are in the order of recording")
            continue
        if not counts_on(key, numbers):
            with np.errstate(invalid="ignore", over="ignore"):
                jumps = np.flatnonzero(np.diff(numbers) != 1)
            row = int(jumps[0]) + 1 if len(jumps) else 0
            notes.find(
                "rows",
                f"{key} does not count on in {max(len(jumps), 1)} places, first at row {row}",
                "rows were lost or reordered before this copy was made",
                "error",
                start_ns=int(steps.ticks.time_ns[row]),
                end_ns=int(steps.ticks.time_ns[row]),
            )
    episode = steps.keys.get("episode_index")
    if episode is not None and (episode != entry.index).any():
        notes.find("rows", f"{entry.data} holds rows of other episodes than {entry.index}")


def words_of(
    survey: Survey, entry: Entry, steps: Steps, notes: Notes
) -> tuple[str, tuple[Label, ...], tuple[Event, ...]]:
    """Turn indices into texts: the instruction, labels of people, and events where words change."""
    time_ns = steps.ticks.time_ns
    runs: dict[str, list[tuple[int, Any]]] = dict(steps.words)
    for column, values in {**steps.numbers, **steps.keys}.items():
        texts = survey.subtasks if column == "subtask_index" else survey.tasks
        if (feature := survey.info.features.get(column)) is not None and feature.words:
            texts = dict(enumerate(feature.words)) | {-1: _NONE}
        worded = column in ("task_index", "subtask_index") or column.startswith("annotation.")
        if worded and values.dtype.kind in "iu" and values.size == len(values) and texts:
            flat = values.reshape(-1)
            starts = np.flatnonzero(np.r_[True, np.diff(flat) != 0])
            runs[column] = [(int(row), texts.get(int(flat[row]))) for row in starts]
            if any(text is None for _, text in runs[column]):
                notes.find("words", f"{column} has indices that no text belongs to")
    by_task = [text for _, text in runs.get("task_index", ()) if isinstance(text, str)]
    instruction = (by_task or list(entry.tasks) or [""])[0]
    labels, events = [], []
    tracks: dict[LabelKind, dict[str, list[tuple[int, Any]]]] = {}
    for column, run in runs.items():
        if column == "task_index" and len(run) == 1:
            continue
        kind = _KINDS.get(column.split(".")[1]) if column.startswith("annotation.") else None
        if kind is not None:
            tracks.setdefault(kind, {})[column] = run
        elif column.startswith("annotation.") and column.endswith("task_description"):
            labels.append(_instruction(column, run, time_ns, notes.id))
        else:
            events += [
                Event(name=column[:200], time_ns=int(time_ns[row]), values={"value": value})
                for row, value in run
            ]
    labels += [_track(kind, columns, time_ns, notes.id) for kind, columns in tracks.items()]
    return instruction, tuple(labels), tuple(sorted(events, key=lambda e: e.time_ns))


def _track(
    kind: LabelKind,
    columns: dict[str, list[tuple[int, Any]]],
    time_ns: Nanoseconds,
    episode: str,
) -> Label:
    """Make one label of the columns `annotation.<kind>.<tier>`, or of a word for all rows."""
    spans, value = [], ""
    for column, run in columns.items():
        tier = ".".join(column.split(".")[2:])
        ends = [*(int(time_ns[row]) for row, _ in run[1:]), int(time_ns[-1])]
        for (row, word), end in zip(run, ends, strict=True):
            if not isinstance(word, str) or word == _NONE:
                continue
            if tier:
                start = int(time_ns[row])
                spans.append(Span(start_ns=start, end_ns=end, tier=tier, value=word[:200] or "-"))
            else:
                value = word
    return new_label(
        episode,
        kind,
        annotator="unknown (source)",
        role="machine",
        value=value,
        spans=sorted(spans, key=lambda span: (span.start_ns, span.tier)),
        note=f"LeRobot column {', '.join(columns)}",
    )


def _instruction(
    column: str, run: list[tuple[int, Any]], time_ns: Nanoseconds, episode: str
) -> Label:
    ends = [*(int(time_ns[row]) for row, _ in run[1:]), int(time_ns[-1])]
    spans = tuple(
        Span(start_ns=int(time_ns[row]), end_ns=end, value=str(text)[:200] or "-")
        for (row, text), end in zip(run, ends, strict=True)
    )
    annotator = column.split(".")[1]
    return new_label(
        episode,
        "instruction",
        annotator=f"{annotator} (source)",
        role="reviewer" if annotator == "human" else "machine",
        value=str(run[0][1] or "") if len(run) == 1 else "",
        spans=spans if len(run) > 1 else (),
        note=f"LeRobot column {column}",
    )


def kept_stream(column: str, values: Any, channels: tuple[str, ...], steps: Steps) -> Stream:
    """Keep a column that is neither state nor action: the source's own names, units unknown."""
    note = f"LeRobot column {column}"
    if values.dtype == np.bool_:
        values, note = values.astype(np.uint8), f"{note}, false and true as 0 and 1"
    ticks = steps.ticks
    info = StreamInfo(
        units=("unknown",) * len(channels),
        channels=channels,
        clock=ticks.clock,
        rate_hz=ticks.rate_hz,
        shape=values.shape[1:] if values.ndim > 2 else None,
        note=note,
    )
    return Stream(ticks.time_ns, np.ascontiguousarray(values), info, ticks.source_time_ns)
