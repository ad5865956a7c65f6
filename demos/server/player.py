"""What the player is told of an episode: addresses, labels in rows, opinions, one's own track."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from demos import labels as label_rules
from demos import task as tasks
from demos.errors import DemosError
from demos.model import CameraSummary, Episode, Label, Span, Task
from demos.model.records import LabelKind
from demos.server.media import camera_path, signals_path
from demos.server.reviews import KINDS, own
from demos.server.signing import Signer
from demos.store import proxies

_VERDICTS = {
    "good": "Use it.",
    "check": "Somebody should look again.",
    "redo": "Record it again.",
}
_OUTCOMES = {
    "success": "The task was done.",
    "partial": "Part of the task was done.",
    "failure": "The task was not done.",
    "aborted": "It was ended before it was decided.",
}
_MIME = {
    "h264": 'video/mp4; codecs="avc1.42E01E"',
    "hevc": 'video/mp4; codecs="hvc1.1.6.L93.B0"',
    "h265": 'video/mp4; codecs="hvc1.1.6.L93.B0"',
    "av1": 'video/mp4; codecs="av01.0.05M.08"',
    "vp9": 'video/mp4; codecs="vp09.00.10.08"',
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a list of episodes the page stands."""

    number: int = 1
    of: int = 1
    following: str | None = None


def task_of(episode: Episode) -> Task | None:
    """Read the episode's task; None where it has none that is known here."""
    try:
        return tasks.load(episode.task, episode.root)
    except DemosError:
        return None


def moment(text: str) -> float | None:
    """Read a moment in seconds from an address; None where it says none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if isfinite(seconds) else None


def payload(
    episode: Episode,
    signer: Signer,
    *,
    reviewer: str = "",
    place: Place | None = None,
    at_s: float | None = None,
    verdict: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """Describe an episode to the player; moments are float milliseconds since its start.

    `verdict` is the one that holds with its reason, shown where no person gave another.
    """
    place = place or Place()
    task = task_of(episode)
    mine = {kind: own(episode.labels, kind, reviewer) for kind in KINDS} if reviewer else {}
    phases = mine.get("phases") or label_rules.current(episode.labels, "phases")
    rows = _rows(episode.labels, phases, _tiers(episode.labels, task))
    start_ns, end_ns = _range(episode)
    return {
        "episode": episode.id,
        "signals_url": signer.sign(signals_path(episode.id)),
        "next_signals_url": signer.sign(signals_path(place.following)) if place.following else None,
        "start_ms": start_ns / 1e6,
        "end_ms": end_ns / 1e6,
        "t_ms": None if at_s is None else at_s * 1e3,
        "cameras": [
            _camera(episode, name, summary, signer)
            for name, summary in sorted(episode.manifest.cameras.items())
            if not name.startswith("depth")
        ],
        "vocabulary": [
            {"id": phase.id, "color": phase.color} for phase in tasks.vocabulary().phases
        ],
        "tiers": {tier.name: tier.phases for tier in task.tiers} if task else {},
        "rows": rows,
        "phases": _spans(phases.spans) if phases else [],
        "outcomes": task.outcomes if task and task.outcomes else _OUTCOMES,
        "verdicts": _VERDICTS,
        "outcome": _held(episode.labels, "outcome", mine.get("outcome")),
        "verdict": _held(episode.labels, "verdict", mine.get("verdict"), otherwise=verdict),
        "opinions": _opinions(episode.labels, mine.get("outcome")),
        "reviewer": reviewer,
        "base": {kind: label.id if label else None for kind, label in mine.items()}
        or dict.fromkeys(KINDS),
        "position": f"{place.number} of {place.of}",
        "answer": None,
    }


def _range(episode: Episode) -> tuple[int, int]:
    manifest = episode.manifest
    reach = [(part.start_ns, part.end_ns) for part in manifest.streams.values()]
    reach += [(part.start_ns, part.end_ns) for part in manifest.cameras.values()]
    starts = [start for start, _ in reach if start is not None]
    ends = [end for _, end in reach if end is not None]
    return min([0, *starts]), max([manifest.duration_ns, *ends])


def _camera(episode: Episode, name: str, summary: CameraSummary, signer: Signer) -> dict[str, Any]:
    info, codec, file = summary.info, summary.info.codec, summary.file
    with suppress(DemosError):  # a camera that cannot be read says so in its own tile
        index = getattr(episode.cameras[name], "index", None)
        if index is not None and proxies.wanted(index):
            codec, file = "h264", f"{name}.mp4"
    kind = mimetypes.guess_type(file)[0]
    return {
        "name": name,
        "url": signer.sign(camera_path(episode.id, name)),
        "codec": codec,
        "mime": _MIME.get(codec, "") if kind == "video/mp4" else "",
        "images": summary.images,
        "rate_hz": info.rate_hz,
        "start_ms": (summary.start_ns or 0) / 1e6,
        "width": info.width,
        "height": info.height,
    }


def _tiers(labels: Iterable[Label], task: Task | None) -> list[str]:
    named = [tier.name for tier in task.tiers] if task else []
    heard = {span.tier for label in labels for span in label.spans}
    usual = ("task", "left_hand", "right_hand")
    order = [*(tier for tier in usual if tier in named or tier in heard), *named, *sorted(heard)]
    return list(dict.fromkeys(order))


def _rows(
    labels: Sequence[Label], phases: Label | None, tiers: Sequence[str]
) -> list[dict[str, Any]]:
    """Lay labels out: per tier the phases that hold, then the machine's; then events per hand."""
    rows = []
    machine = _newest(label for label in labels if label.of == "phases" and label.role == "machine")
    for tier in tiers:
        rows.append(_row("phases", tier, phases, editable=True))
        if machine is not None and machine is not phases:
            rows.append(_row("phases", tier, machine, editable=False))
    for of in ("contacts", "slips", "grasps"):
        held = label_rules.current(labels, of)
        machine = _newest(label for label in labels if label.of == of and label.role == "machine")
        both = (held, machine if machine is not held else None)
        rows += [_row(of, tier, label, editable=False) for tier in tiers for label in both]
    return [row for row in rows if row["editable"] or row["spans"]]


def _row(of: LabelKind, tier: str, label: Label | None, *, editable: bool) -> dict[str, Any]:
    words = tier.replace("_", " ")
    spans = [span for span in label.spans if span.tier == tier] if label else []
    return {
        "kind": of,
        "tier": tier,
        "title": words if of == "phases" else f"{words.replace(' hand', '')} {of}",
        "by": _by(label) if label else "nobody yet",
        "machine": label is not None and label.role == "machine",
        "editable": editable,
        "spans": _spans(spans),
    }


def _spans(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [
        {
            "start": span.start_ns / 1e6,
            "end": span.end_ns / 1e6,
            "tier": span.tier,
            "value": span.value,
            "confidence": span.confidence,
            "notes": span.notes,
        }
        for span in spans
    ]


def _held(
    labels: Sequence[Label],
    kind: LabelKind,
    mine: Label | None,
    otherwise: tuple[str, str] = ("", ""),
) -> dict[str, str]:
    label = mine or label_rules.current(labels, kind)
    if label is None:
        value, reason = otherwise
        return {"value": value, "by": "checks and metrics" if value else "", "reason": reason}
    return {"value": label.value, "by": _by(label), "reason": label.note}


def _opinions(labels: Sequence[Label], mine: Label | None) -> list[dict[str, Any]]:
    """List who else said what of the outcome, the one that holds left out."""
    held = mine or label_rules.current(labels, "outcome")
    gone = {label.supersedes for label in labels}
    newest: dict[tuple[str, str], Label] = {}
    for label in labels:
        if label.of == "outcome" and label.id not in gone:
            newest[label.role, label.annotator] = label
    others = [label for label in newest.values() if held is None or label.id != held.id]
    return [
        {"value": label.value, "by": _by(label), "machine": label.role == "machine"}
        for label in others
    ]


def _newest(labels: Iterable[Label]) -> Label | None:
    return max(labels, key=lambda label: (label.created_at, label.id), default=None)


def _by(label: Label) -> str:
    if label.role in ("machine", "simulator"):
        return label.annotator
    return f"{label.annotator} ({label.role})"
