"""`demos check`, `score`, `label`, `coverage`: what is sound, how good, what happened."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from demos.cli.output import answer, format_option, plural, progress, store_argument, table
from demos.model.records import LabelKind

if TYPE_CHECKING:
    from demos.jobs import Report
    from demos.library import Store

KINDS = get_args(LabelKind)

workers_option = click.option(
    "--workers", type=click.IntRange(min=1), default=None, help="Processes on this machine."
)
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", default=None, help="A Dask cluster, such as tcp://host:8786."
)


@click.command()
@store_argument
@click.argument("episodes", nargs=-1)
@workers_option
@scheduler_option
@format_option
def check(
    store: Path,
    episodes: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    output: str,
) -> int:
    """Look for what is wrong with the recordings; exits with 1 where something is."""
    import demos
    from demos import jobs

    home = demos.open(store)
    ids = _ids(home, episodes)
    with progress("check") as step:
        report = jobs.check_store(home, ids, scheduler=scheduler, workers=workers, progress=step)
    wanted = set(ids)
    found = [f for f in jobs.findings(home) if f.episode in wanted and f.severity != "info"]
    home.refresh()

    def text() -> str:
        rows = [
            [f.episode[-8:], f.severity, f.stream or "-", _when(f.start_ns), f.message]
            for f in found
        ]
        shown = table(["episode", "severity", "stream", "at", "finding"], rows) if rows else ""
        summary = f"{plural(len(found), 'finding')} in {plural(len(ids), 'episode')}"
        return "\n".join(part for part in (shown, summary, _told(report)) if part)

    answer(output, {"report": asdict(report), "findings": found}, text)
    return 1 if found or report.failed else 0


@click.command()
@store_argument
@click.argument("episodes", nargs=-1)
@click.option("--metrics", default="", metavar="A,B", help="Only these; all if left out.")
@workers_option
@scheduler_option
@format_option
def score(
    store: Path,
    episodes: tuple[str, ...],
    metrics: str,
    workers: int | None,
    scheduler: str | None,
    output: str,
) -> int:
    """Measure how good the demonstrations are, each quality on its own axis."""
    import demos
    from demos import jobs
    from demos.metrics import metrics as known

    home = demos.open(store)
    ids = _ids(home, episodes)
    names = [name.strip() for name in metrics.split(",") if name.strip()] or list(known)
    with progress("score") as step:
        report = jobs.score_store(
            home, ids, names=names, scheduler=scheduler, workers=workers, progress=step
        )
    jobs.judge_store(home, ids)
    home.refresh()
    wanted, chosen = set(ids), set(names)
    scores = [s for s in jobs.scores(home) if s.episode in wanted and s.metric in chosen]

    def text() -> str:
        by = {(s.episode, s.metric): s for s in scores}
        units = {s.metric: s.unit for s in scores}
        header = ["episode", *[f"{name} [{units[name]}]" for name in names if name in units]]
        rows = []
        for episode in sorted(wanted):
            values = [by.get((episode, name)) for name in names if name in units]
            rows.append([episode[-8:], *[value.value if value else None for value in values]])
        unknown = sum(s.value is None for s in scores)
        note = f"{plural(unknown, 'value')} not assessable (-)" if unknown else ""
        return "\n".join(part for part in (table(header, rows), note, _told(report)) if part)

    answer(output, {"report": asdict(report), "scores": scores}, text)
    return 1 if report.failed else 0


@click.group()
def label() -> None:
    """Labels: what people and machines say happened."""


@label.command()
@store_argument
@click.argument("episodes", nargs=-1)
@workers_option
@scheduler_option
@format_option
def propose(
    store: Path,
    episodes: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    output: str,
) -> int:
    """Let the machine propose contacts, phases, grasps and outcomes."""
    import demos
    from demos import jobs

    home = demos.open(store)
    ids = _ids(home, episodes)
    with progress("propose") as step:
        report = jobs.propose_store(home, ids, scheduler=scheduler, workers=workers, progress=step)
    jobs.judge_store(home, ids)
    home.refresh()
    answer(output, {"report": asdict(report)}, _told(report))
    return 1 if report.failed else 0


@label.command(name="list")
@store_argument
@click.argument("episodes", nargs=-1)
@click.option("--of", "kind", type=click.Choice(KINDS), default=None, metavar="KIND",
              help=f"Only one of: {', '.join(KINDS)}.")  # fmt: skip
@format_option
def list_(store: Path, episodes: tuple[str, ...], kind: str | None, output: str) -> None:
    """List every opinion on episodes, oldest first."""
    import demos

    home = demos.open(store)
    found = [
        opinion
        for episode in _ids(home, episodes)
        for opinion in home.catalog.opinions(episode)
        if kind in (None, opinion.of)
    ]
    rows = [
        [o.episode[-8:], o.of, o.value or plural(len(o.spans), "span"), o.role, o.annotator,
         o.confidence]
        for o in found
    ]  # fmt: skip
    header = ["episode", "of", "says", "role", "annotator", "confidence"]
    answer(output, {"labels": found}, lambda: table(header, rows) if rows else "no labels yet")


@click.command()
@store_argument
@click.option("--plan", required=True, metavar="PLAN", help="An id, or a YAML file.")
@click.option("--next", "count", type=click.IntRange(min=0), default=0, metavar="N",
              help="Propose N episodes to record next.")  # fmt: skip
@format_option
def coverage(store: Path, plan: str, count: int, output: str) -> int:
    """Count successful episodes over a plan's cells; exits with 1 while there are holes."""
    import demos
    from demos import coverage as grid
    from demos import jobs, task

    home = demos.open(store)
    found = jobs.coverage(home, task.load_plan(plan, home.root))
    todo = grid.proposed(found, count)
    cells = json.loads(found.table().to_json(orient="records"))
    result = {
        "plan": found.plan.id,
        "filled": found.filled,
        "cells": cells,
        "holes": [dict(zip(found.names, cell.levels, strict=True)) for cell in found.holes],
        "next": todo,
        "unknown": found.unknown,
        "not_counted": found.other,
    }

    def text() -> str:
        rows = [[*cell.levels, cell.count, cell.target, _hole(cell)] for cell in found.cells]
        lines = [table([*found.names, "episodes", "target", ""], rows)]
        lines.append(f"{found.filled} of {plural(len(found.possible), 'cell')} filled")
        lines += [f"not counted: {reason} ({number})" for reason, number in found.other]
        lines += [f"unknown {name}: {level} ({number})" for name, level, number in found.unknown]
        for number, cell in enumerate(todo, 1):
            lines.append(f"next {number}: " + ", ".join(f"{k}={v}" for k, v in cell.items()))
        return "\n".join(lines)

    answer(output, result, text)
    return 1 if found.holes else 0


def _hole(cell: Any) -> str:
    return "forbidden" if cell.forbidden else "hole" if cell.lacks else ""


def _ids(home: Store, episodes: tuple[str, ...]) -> list[str]:
    return [home.catalog.full_id(e) for e in episodes] if episodes else home.catalog.ids()


def _when(start_ns: int | None) -> str:
    return "-" if start_ns is None else f"{start_ns / 1e9:.2f} s"


def _told(report: Report) -> str:
    done = plural(report.done, "episode")
    lines = [f"{report.kind}: {done} done, {report.reused} known, {report.seconds:.1f} s"]
    lines += [f"failed: {f.episode}: {f.error}" for f in report.failed]
    return "\n".join(lines)
