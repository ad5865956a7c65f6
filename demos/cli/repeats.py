"""`demos duplicates`: which episodes are in a store, or in a selection's splits, more than once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from demos.cli.output import answer, format_option, plural, progress, store_argument, table
from demos.cli.quality import scheduler_option, workers_option


@click.command()
@store_argument
@click.option("--selection", default="", metavar="NAME",
              help="Only a frozen selection; pairs across its splits are leaks.")  # fmt: skip
@workers_option
@scheduler_option
@format_option
def duplicates(
    store: Path, selection: str, workers: int | None, scheduler: str | None, output: str
) -> int:
    """Find episodes that are the same, or one motion written twice; exits with 1 where some are.

    same: every number and image is equal, ids and stamps aside. near: the motions, aligned in
    time, are less than 0.03 apart, as a share of each joint's spread over all episodes.
    """
    import demos
    from demos import duplicates as copies
    from demos import jobs

    home = demos.open(store)
    picked = home.selection(selection) if selection else None
    ids = picked.ids if picked is not None else home.catalog.ids()
    with progress("duplicates") as step:
        report = jobs.fingerprint_store(
            home, ids, scheduler=scheduler, workers=workers, progress=step
        )
    found = jobs.repeated(home, ids)
    splits = {item.episode: item.split for item in picked.record.episodes} if picked else {}
    leaks = copies.leaks(found, splits)
    same = sum(pair.kind == "same" for pair in found)

    def text() -> str:
        rows = [
            [pair.kind, pair.a[-8:], pair.b[-8:], pair.distance, pair.offset_s, pair.speed,
             pair.overlap]
            for pair in found
        ]  # fmt: skip
        header = ["kind", "episode", "copy", "distance", "offset s", "speed", "overlap"]
        lines = [table(header, rows)] if rows else []
        lines.append(
            f"{plural(same, 'pair')} the same, {plural(len(found) - same, 'pair')} near, "
            f"in {plural(len(ids), 'episode')}"
        )
        lines += [
            f"leak: {leak.pair.a[-8:]} in {leak.split_a} is {leak.pair.b[-8:]} in {leak.split_b}"
            f" ({leak.pair.kind})"
            for leak in leaks
        ]
        if picked is not None:
            lines.append(f"{plural(len(leaks), 'leak')} between the splits of {selection}")
        lines += [f"failed: {each.episode}: {each.error}" for each in report.failed]
        return "\n".join(lines)

    result = {
        "report": asdict(report),
        "limit": copies.LIMIT,
        "pairs": [asdict(pair) for pair in found],
        "leaks": [asdict(leak) for leak in leaks],
    }
    answer(output, result, text)
    return 1 if found or report.failed else 0
