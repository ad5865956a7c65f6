"""`demos ls`, `demos show`, `demos select`: find episodes, look at one, freeze a list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from demos.cli.output import answer, format_option, plural, store_argument, table

_DEFAULT = [
    "id", "task", "operator", "recorded_at", "duration_s", "outcome", "outcome_by", "verdict",
    "findings",
]  # fmt: skip


@click.command()
@store_argument
@click.option("--where", default="", metavar="EXPR", help="A filter, such as outcome == 'success'.")
@click.option("--columns", default=",".join(_DEFAULT), metavar="A,B", help="Columns to show.")
@click.option("--limit", type=click.IntRange(min=0), default=None, help="Show at most N episodes.")
@format_option
def ls(store: Path, where: str, columns: str, limit: int | None, output: str) -> None:
    """List episodes, newest first."""
    import demos

    names = list(dict.fromkeys(name.strip() for name in columns.split(",") if name.strip()))
    if not names:
        raise click.UsageError(f"--columns {columns!r} names no column")
    home = demos.open(store)
    picked = home.select(where)
    rows = picked.rows(names, limit=limit if output == "json" or limit is not None else 50)
    unread = home.catalog.unread()
    total = len(picked)
    shown = [dict(zip(names, row, strict=True)) for row in rows]

    def text() -> str:
        return "\n".join([listed(), *_hidden(unread, store)])

    def listed() -> str:
        if not total:
            return "no episode fits" if where else "no episodes yet; add some with `demos import`"
        cut = f", the newest {len(rows)} shown (--limit N for more)" if len(rows) < total else ""
        lines = [[_short(name, cell) for name, cell in row.items()] for row in shown]
        return f"{table(names, lines)}\n{plural(total, 'episode')}{cut}"

    answer(output, {"total": total, "episodes": shown, "unread": unread}, text)


@click.command()
@store_argument
@click.argument("episode")
@format_option
def show(store: Path, episode: str, output: str) -> None:
    """Show one episode: facts, streams, cameras, labels, what was assumed."""
    import demos

    found = demos.open(store)[episode]
    manifest = found.manifest
    result = {
        "episode": manifest,
        "outcome": found.outcome,
        "phases": found.phases,
        "labels": found.labels,
    }

    def text() -> str:
        facts: list[tuple[str, Any]] = [
            ("episode", manifest.id),
            ("task", f"{manifest.task}: {manifest.instruction}"),
            ("outcome", found.outcome or "not labelled"),
            ("operator", f"{manifest.operator} on {manifest.embodiment}"),
            ("recorded", f"{manifest.recorded_at:%Y-%m-%d %H:%M:%S} UTC, {found.duration_s:.2f} s"),
            ("factors", ", ".join(f"{k}={v}" for k, v in manifest.factors.items()) or "none"),
            ("made by", f"{manifest.provenance.tool} {manifest.provenance.tool_version}"),
        ]
        if manifest.provenance.recovered:
            facts.append(("recovered", "the recording broke off; the end is missing"))
        if manifest.provenance.source:
            facts.append(("source", manifest.provenance.source))
        facts += [("assumed", text) for text in manifest.provenance.assumed]
        facts += [("missing", text) for text in manifest.provenance.missing]
        lines = [f"{name:<9} {value}" for name, value in facts]
        streams = [
            [
                name,
                s.shape[0],
                _rate(s.shape[0], s.start_ns, s.end_ns),
                _units(s.info.units),
                s.dtype,
            ]
            for name, s in manifest.streams.items()
        ]
        lines += ["", table(["stream", "samples", "Hz", "unit", "dtype"], streams)]
        cameras = [
            [name, c.images, f"{c.info.width}x{c.info.height}", c.info.codec]
            for name, c in manifest.cameras.items()
        ]
        if cameras:
            lines += ["", table(["camera", "images", "size", "codec"], cameras)]
        spans = [
            [f"{s.start_ns / 1e9:6.2f} to {s.end_ns / 1e9:6.2f} s", s.tier, s.value]
            for s in found.phases
        ]
        if spans:
            lines += ["", table(["when", "tier", "phase"], spans)]
        return "\n".join(lines)

    answer(output, result, text)


@click.command()
@store_argument
@click.argument("name")
@click.option("--where", default="", metavar="EXPR", help="A filter; empty takes every episode.")
@click.option("--split", default="", metavar="A=X,B=Y", help="Shares, such as train=0.8,val=0.2.")
@click.option("--group-by", default="", metavar="KEY", help="Keep one value of it in one split.")
@format_option
def select(store: Path, name: str, where: str, split: str, group_by: str, output: str) -> None:
    """Freeze a selection: hashed, numbered, with its labels and splits."""
    import demos

    picked = demos.open(store).select(where)
    frozen = picked.freeze(name, split=_shares(split), group_by=group_by)
    parts: dict[str, int] = {}
    for item in frozen.episodes:
        parts[item.split] = parts.get(item.split, 0) + 1
    split_text = ", ".join(f"{part} {count}" for part, count in parts.items())
    answer(
        output,
        {"selection": f"{frozen.name}@{frozen.number}", "sha256": frozen.sha256, "splits": parts},
        f"{frozen.name}@{frozen.number}: {plural(len(frozen.episodes), 'episode')} ({split_text})"
        f"\nsha256 {frozen.sha256}",
    )


def _hidden(unread: Mapping[str, str], store: Path) -> list[str]:
    """Say that published files could not be read, so that an episode may be missing."""
    if not unread:
        return []
    path, reason = next(iter(unread.items()))
    return [
        f"NOT LISTED: {plural(len(unread), 'file')} cannot be read, such as {path}: {reason}; "
        f"see `demos verify {store}`"
    ]


def _shares(text: str) -> dict[str, float] | None:
    if not text:
        return None
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError as error:
        raise click.UsageError(
            f"--split {text!r} is not NAME=SHARE,NAME=SHARE; for example train=0.8,val=0.2"
        ) from error


def _short(name: str, cell: Any) -> Any:
    if name == "recorded_at" and isinstance(cell, str):
        return cell[:19].replace("T", " ")
    return cell if cell != "" else None


def _rate(samples: int, start_ns: int | None, end_ns: int | None) -> float | None:
    if start_ns is None or end_ns is None or end_ns <= start_ns or samples < 2:
        return None
    return (samples - 1) * 1e9 / (end_ns - start_ns)


def _units(units: tuple[str, ...]) -> str:
    distinct = list(dict.fromkeys(units))
    return ", ".join(distinct[:3]) + (" …" if len(distinct) > 3 else "")
