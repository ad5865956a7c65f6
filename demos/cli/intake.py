"""`demos simulate`, `import`, `upload`, `formats`: how episodes come into a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from demos.cli.output import answer, format_option, plural, progress, store_argument, table
from demos.errors import DemosError

if TYPE_CHECKING:
    from demos.library import Store

_MIX = "write YAML such as `success: 0.7` and `missed: 0.3`, or one such mapping per task"


@click.command()
@store_argument
@click.option("--episodes", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--operators", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--task", "tasks", multiple=True, metavar="ID", help="Only this task (repeatable).")
@click.option("--flaws", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="YAML: the share of each variant, such as success: 0.7.")  # fmt: skip
@click.option("--no-video", is_flag=True, help="Leave the egocentric camera out.")
@click.option("--depth", is_flag=True, help="Record depth images too.")
@click.option("--size", default="320x240", show_default=True, metavar="WxH", help="Image size.")
@format_option
def simulate(
    store: Path,
    episodes: int,
    operators: int,
    seed: int,
    tasks: tuple[str, ...],
    flaws: Path | None,
    size: str,
    output: str,
    *,
    no_video: bool,
    depth: bool,
) -> None:
    """Record sessions of simulated operators at a simulated humanoid."""
    import demos
    from demos import simulate as simulation

    width_height = _size(size)
    mix = _mix(flaws) if flaws else None
    home = demos.open(store)
    with progress("simulate") as step:
        made = simulation.simulate(
            home,
            episodes=episodes,
            operators=operators,
            seed=seed,
            tasks=list(tasks) or None,
            flaws=mix,
            video=not no_video,
            size=width_height,
            depth=depth,
            progress=step,
        )
    home.refresh()
    ids = [manifest.id for manifest in made]
    rows = [[m.id, m.task, m.operator, m.duration_ns / 1e9, home[m.id].outcome] for m in made]
    answer(
        output,
        {"episodes": ids},
        lambda: (
            table(["id", "task", "operator", "seconds", "outcome"], rows)
            + f"\n{plural(len(ids), 'episode')} recorded into {store}"
        ),
    )


_accept_mapping = click.option(
    "--accept-mapping", is_flag=True, help="Import in spite of unknown channels and doubts."
)


@click.command(name="import")
@click.argument("source", type=click.Path(path_type=Path))
@store_argument
@click.option("--from", "source_format", metavar="FORMAT", help="Found by looking if left out.")
@click.option("--embodiment", metavar="ID", help="The body that recorded it.")
@click.option("--task", metavar="ID", help="The task it shows.")
@click.option("--operator", metavar="NAME", help="A pseudonym.")
@click.option("--factor", "factors", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
@click.option("--ignore", multiple=True, metavar="CHANNEL", help="Leave out on purpose.")
@_accept_mapping
@format_option
def import_(
    source: Path,
    store: Path,
    source_format: str | None,
    embodiment: str | None,
    task: str | None,
    operator: str | None,
    factors: tuple[str, ...],
    ignore: tuple[str, ...],
    output: str,
    *,
    accept_mapping: bool,
) -> int:
    """Read somebody else's recording into a store, saying what was assumed.

    SOURCE is a recording of a known format, or a mapping file (YAML) that describes HDF5 files or
    bags of one's own. The first episodes are held against the embodiment before any is published.
    Exits with 1 where an episode was left out.
    """
    import demos
    from demos.importers import import_source

    with progress("import") as step:
        report = import_source(
            source,
            demos.open(store),
            format=source_format,
            embodiment=embodiment,
            task=task,
            operator=operator,
            factors=_factors(factors),
            ignore=ignore,
            accept_mapping=accept_mapping,
            progress=lambda done, total, _name: step(done, total or done + 1),
        )
    result = {
        "source": report.source,
        "format": report.format,
        "episodes": [{"source": name, "id": id_} for name, id_ in report.episodes],
        "skipped": [
            {"source": name, "reason": reason, "hint": hint}
            for name, reason, hint in report.skipped
        ],
        "missing": report.missing,
        "contradictions": report.contradictions,
        "assumed": report.assumed,
        "findings": [
            {"source": name, **finding.model_dump(mode="json")} for name, finding in report.findings
        ],
    }

    def text() -> str:
        lines = [f"{plural(len(report.episodes), 'episode')} from {source} ({report.format})"]
        for title, items in (
            ("missing", report.missing),
            ("contradictory", report.contradictions),
            ("assumed", report.assumed),
            ("skipped", [f"{name}: {reason}" for name, reason, _ in report.skipped]),
            ("found", [f"{name}: {f.message}" for name, f in report.findings]),
        ):
            lines += _folded(title, list(items))
        return "\n".join(lines)

    answer(output, result, text)
    left_out = [reason for _, reason, _ in report.skipped if "imported before" not in reason]
    return 1 if left_out else 0


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path, file_okay=False),
              metavar="PATH", help="The team's store.")  # fmt: skip
@_accept_mapping
@format_option
def upload(source: Path, target: Path, output: str, *, accept_mapping: bool) -> int:
    """Bring a rig's session to the team's store, verified, and say what to record again.

    DIR is the rig's own store, or a folder in a format that `demos formats` lists. Exits with 1
    where something is to be redone or could not come.
    """
    import demos
    from demos import jobs
    from demos.store import verify

    home = demos.open(target)
    lines = _recovered(source)
    came, refused = _brought(source, home, accept_mapping=accept_mapping)
    problems = verify(home, came, deep=True) if came else []
    with progress("analyse") as step:
        jobs.analyse_store(home, came, progress=lambda _name, done, total: step(done, total))
    home.refresh()
    wanted = set(came)
    columns = ("id", "verdict", "reasons", "task", "operator", "recorded_at", "trial_index")
    judged = [
        dict(zip(columns, row, strict=True))
        for row in home.catalog.rows(columns)
        if row[0] in wanted
    ]
    redo = [each for each in judged if each["verdict"] == "redo"]
    result = {
        "store": str(home.root),
        "episodes": judged,
        "redo": [each["id"] for each in redo],
        "recordings": lines,
        "refused": [{"source": n, "reason": r, "hint": h} for n, r, h in refused],
        "problems": [asdict(problem) for problem in problems],
    }

    def text() -> str:
        told = [
            f"{verdict:<6} {_which(each)}  {each['reasons']}".rstrip()
            for verdict in ("redo", "check", "good")
            for each in judged
            if each["verdict"] == verdict
        ]
        told += lines
        told += [f"left out: {name}: {reason}" for name, reason, _ in refused]
        told += [f"damaged: {problem.path}: {problem.what}" for problem in problems]
        told.append(f"{plural(len(came), 'episode')} uploaded and verified")
        told.append(f"{len(redo)} to redo before you leave the robot")
        return "\n".join(told)

    answer(output, result, text)
    return 1 if redo or refused or problems else 0


def _which(episode: Mapping[str, Any]) -> str:
    """Name an episode as an operator remembers it: when, who, which task, which trial."""
    trial = episode["trial_index"]
    told = f" trial {trial + 1}" if trial is not None else ""
    when = episode["recorded_at"][11:16]
    return f"{when} {episode['operator']} {episode['task']}{told} ({episode['id'][-8:]})"


def _recovered(source: Path) -> list[str]:
    """Publish on the rig what a killed session left behind, and say so."""
    from demos.store import EpisodeStore, recover

    if not (source / "store.json").exists():
        return []
    done = recover(EpisodeStore.open(source))
    lines = [f"{e}: its recording broke off; it is recovered and comes too" for e in done.published]
    lines += [f"{e}: still being recorded, so it stays on the rig" for e in done.alive]
    return lines + [f"{e}: not recovered: {reason}" for e, reason in done.failed.items()]


def _brought(
    source: Path, home: Store, *, accept_mapping: bool
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Bring a store over, or import a folder: the ids that came, and what did not and why."""
    from demos.importers import import_source
    from demos.store import EpisodeStore
    from demos.store.transfer import transfer

    with progress("upload") as step:
        if (source / "store.json").exists():
            moved = transfer(EpisodeStore.open(source), home, step)
            return list(moved.brought), list(moved.refused)
        report = import_source(
            source,
            home,
            accept_mapping=accept_mapping,
            progress=lambda done, total, _name: step(done, total or done + 1),
        )
    skipped = [each for each in report.skipped if "imported before" not in each[1]]
    return [episode for _, episode in report.episodes], skipped


@click.command()
@format_option
def formats(output: str) -> None:
    """List what can be imported and exported, and what each format loses."""
    from demos.exporters import exporters
    from demos.importers import importers

    def told(plugins: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        return {
            name: {"what": " ".join((plugin.__doc__ or "").split()), "loses": plugin.loses}
            for name, plugin in plugins.items()
        }

    reads, writes = told(importers), told(exporters)
    rows = [["import", name, each["what"], each["loses"]] for name, each in reads.items()]
    rows += [["export", name, each["what"], each["loses"]] for name, each in writes.items()]
    header = ["", "format", "what", "loses"]
    answer(output, {"importers": reads, "exporters": writes}, lambda: table(header, rows))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise click.UsageError(f"--size {text!r} is not WIDTHxHEIGHT; for example 640x480")
    size = int(width), int(height)
    if any(side % 2 or not 16 <= side <= 1920 for side in size):
        raise click.UsageError(f"--size {text!r}: both sides are even, from 16 to 1920 pixels")
    return size


def _mix(path: Path) -> dict[str, Any]:
    """Read which share of the episodes shows which variant, for all tasks or per task."""
    import yaml

    try:
        mix = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise DemosError(f"{path} cannot be read: {error}").with_hint(_MIX) from error
    shares = [
        share
        for value in (mix.values() if isinstance(mix, dict) else [None])
        for share in (value.values() if isinstance(value, dict) else [value])
    ]
    if not all(isinstance(share, int | float) and 0 <= share < float("inf") for share in shares):
        raise DemosError(f"{path} is no mix of variants").with_hint(_MIX)
    return dict(mix)


def _factors(pairs: tuple[str, ...]) -> dict[str, Any]:
    factors: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.UsageError(f"--factor {pair!r} is not KEY=VALUE")
        factors[key] = value
    return factors


def _folded(title: str, items: list[str], most: int = 6) -> list[str]:
    more = [f"  … and {len(items) - most} more (--format json lists all)"]
    shown = [f"  {item}" for item in items[:most]] + (more if len(items) > most else [])
    return [f"{title} ({len(items)}):", *shown] if items else []
