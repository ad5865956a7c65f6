"""`demos export`: episodes leave into other people's programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from demos.cli.output import answer, format_option, plural, progress, store_argument, table

_ACTIONS = ("joint", "joint_delta", "end_effector", "end_effector_delta", "rotation_6d")


@click.command()
@store_argument
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="FORMAT", help="See `demos formats`.")
@click.option("--where", default="", metavar="EXPR", help="A filter; empty takes every episode.")
@click.option("--selection", default="", metavar="NAME", help="A frozen selection instead.")
@click.option("--rate", "rate_hz", type=click.FloatRange(min=0, min_open=True), default=None,
              metavar="HZ", help="Steps a second, for formats with one clock.")  # fmt: skip
@click.option("--action", type=click.Choice(_ACTIONS), default="joint", show_default=True,
              help="What an action says.")  # fmt: skip
@click.option("--stream", "streams", multiple=True, metavar="NAME", help="Only these; repeatable.")
@format_option
def export(
    store: Path,
    out: Path,
    target: str,
    where: str,
    selection: str,
    rate_hz: float | None,
    action: str,
    streams: tuple[str, ...],
    output: str,
) -> int:
    """Write episodes in another format, saying what each stream loses.

    Exits with 1 where an episode was left out.
    """
    import demos

    if where and selection:
        raise click.UsageError("give --where or --selection, not both")
    home = demos.open(store)
    picked = home.selection(selection) if selection else home.select(where)
    with progress("export") as step:
        report = picked.export(
            out,
            to=target,
            rate_hz=rate_hz,
            action=action,  # type: ignore[arg-type]
            streams=streams or None,
            progress=lambda done, total, _episode: step(done, total),
        )

    def text() -> str:
        lines = [f"{plural(len(report.written), 'episode')} written to {out} ({report.format})"]
        losses = [each for item in report.written for each in item.losses]
        worst = {
            key: max((x for x in losses if (x.stream, x.unit) == key), key=lambda x: x.worst)
            for key in dict.fromkeys((x.stream, x.unit) for x in losses)
        }
        rows = [[x.stream, x.how, x.unit, f"{x.worst:.3g}", x.lost or None] for x in worst.values()]
        if rows:
            header = ["stream", "kept as", "unit", "worst difference", "samples lost"]
            lines.append(table(header, rows))
        notes = dict.fromkeys(note for item in report.written for note in item.notes)
        lines += [f"note: {note}" for note in notes]
        lines += [f"left out: {each.episode}: {each.reason}" for each in report.left_out]
        return "\n".join(lines)

    answer(output, asdict(report), text)
    return 1 if report.left_out else 0
