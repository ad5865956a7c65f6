"""`demos quickstart`: the whole chain on simulated data, then the viewer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from demos.cli.output import answer, format_option, plural, progress, table

if TYPE_CHECKING:
    from demos.library import Store

PLAN = "pick_place_basic"
REPLAYED = 3


@click.command()
@click.argument(
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("quickstart-lab"),
    metavar="[DIR]",
)
@click.option("--episodes", type=click.IntRange(min=1), default=24, show_default=True)
@click.option("--operators", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Of the viewer.")
@click.option("--no-view", is_flag=True, help="End after the summary.")
@format_option
def quickstart(
    folder: Path,
    episodes: int,
    operators: int,
    seed: int,
    port: int | None,
    output: str,
    *,
    no_view: bool,
) -> None:
    """Simulate sessions, score, label, replay and verify them, then open the viewer.

    Run it again to go on where it was interrupted.
    """
    import demos

    home = demos.open(folder, container="zarr")
    _simulate(home, episodes, operators, seed)
    _analyse(home)
    gaps = _replay(home)
    frozen = _freeze(home)
    problems = _verify(home)
    result = _summary(home, gaps, frozen, problems)
    if no_view:
        answer(output, result, lambda: _told(folder, result))
        return
    from demos.server import serve

    def announce(address: str) -> None:
        seen = f"\nLook at it: {address}  (Ctrl-C ends the viewer)"
        answer(output, {**result, "address": address}, lambda: _told(folder, result) + seen)

    serve(folder, port=port, announce=announce)


def _simulate(home: Store, episodes: int, operators: int, seed: int) -> None:
    from demos.simulate import simulate
    from demos.store import recover

    recover(home)
    home.refresh()
    if len(home) >= episodes:
        return
    with progress("simulate") as step:
        simulate(home, episodes=episodes, operators=operators, seed=seed, progress=step)
    home.refresh()


def _analyse(home: Store) -> None:
    from demos import jobs

    for name, run in (
        ("check", jobs.check_store),
        ("score", jobs.score_store),
        ("propose", jobs.propose_store),
    ):
        with progress(name) as step:
            run(home, progress=step)
    jobs.judge_store(home)
    home.refresh()


def _replay(home: Store) -> dict[str, float]:
    """Replay the newest successes of each task; return the median of each overall gap."""
    from statistics import median

    from demos.provenance import new_id
    from demos.replay import replay, table

    chosen = [
        episode
        for name in sorted({row[0] for row in home.select("").rows(["task"])})
        for episode in home.select(f"task == '{name}' and outcome == 'success'").ids[:REPLAYED]
    ]
    done = []
    with progress("replay") as step:
        for number, episode in enumerate(chosen, 1):
            done.append(replay(home[episode]))
            step(number, len(chosen))
    if done:
        home.add_results("gaps", new_id(), "quickstart", table(done))
    values: dict[str, list[float]] = {}
    for gap in (gap for each in done for gap in each.gaps):
        if gap.value is not None:
            values.setdefault(f"{gap.quantity} [{gap.unit}]", []).append(gap.value)
    return {name: median(of) for name, of in values.items()}


def _freeze(home: Store) -> str:
    picked = home.select("outcome == 'success'")
    if not len(picked):
        return ""
    newest = [n for n in home.selection_names() if n.startswith("quickstart@")]
    if newest:
        known = home.read_selection(newest[-1])
        if {item.episode for item in known.episodes} == set(picked.ids):
            return newest[-1]
    frozen = picked.freeze("quickstart")
    return f"{frozen.name}@{frozen.number}"


def _verify(home: Store) -> int:
    from demos.store import verify

    with progress("verify") as step:
        return len(verify(home, deep=True, progress=step))


def _summary(home: Store, gaps: dict[str, float], frozen: str, problems: int) -> dict[str, Any]:
    from demos import jobs, labels, task

    rows = home.select("").rows(
        ["id", "task", "operator", "outcome", "verdict", "duration_s", "images"]
    )
    agreed, judged = 0, 0
    for row in rows:
        said = home.catalog.opinions(row[0])
        proposed = labels.outcome(label for label in said if label.role == "machine")
        truth = labels.outcome(label for label in said if label.role == "simulator")
        # an episode that was cut short has no truth to agree with
        judged += bool(proposed and truth)
        agreed += bool(truth) and proposed == truth
    filled = jobs.coverage(home, task.load_plan(PLAN, home.root))
    return {
        "store": str(home.root),
        "episodes": len(rows),
        "minutes": sum(row[5] for row in rows) / 60,
        "images": sum(row[6] for row in rows),
        "outcomes": _counted(rows, 1, 3),
        "verdicts": _counted(rows, 2, 4),
        "outcomes_proposed": judged,
        "outcomes_agreed": agreed,
        "coverage": {"plan": PLAN, "filled": filled.filled, "cells": len(filled.possible)},
        "gaps": gaps,
        "selection": frozen,
        "problems": problems,
    }


def _counted(rows: list[tuple[Any, ...]], by: int, what: int) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row[by], Counter())[row[what] or "none"] += 1
    return {name: dict(sorted(counter.items())) for name, counter in sorted(counts.items())}


def _told(folder: Path, result: dict[str, Any]) -> str:
    lines = [
        f"{plural(result['episodes'], 'episode')}, {result['minutes']:.1f} minutes, "
        f"{plural(result['images'], 'image')} in {folder}",
        "",
        _grid("outcomes", result["outcomes"]),
        "",
        _grid("verdicts", result["verdicts"]),
        "",
        f"the machine proposed {result['outcomes_proposed']} outcomes, "
        f"{result['outcomes_agreed']} as physics has them",
        f"coverage of {result['coverage']['plan']}: {result['coverage']['filled']} of "
        f"{result['coverage']['cells']} cells filled",
    ]
    shown = [
        f"{name} {value:.2f}"
        for name, value in result["gaps"].items()
        if name.startswith(("joint_rmse [", "ee_rmse.", "contact_onset."))
    ]
    lines.append(f"replay, median gap: {', '.join(shown) or 'nothing to replay'}")
    lines.append(f"frozen: {result['selection'] or 'nothing, no success yet'}")
    sound = "every byte verified" if not result["problems"] else f"{result['problems']} PROBLEMS"
    lines.append(sound)
    return "\n".join(lines)


def _grid(title: str, counts: dict[str, dict[str, int]]) -> str:
    columns = sorted({name for row in counts.values() for name in row})
    rows = [[name, *[row.get(column, 0) for column in columns]] for name, row in counts.items()]
    return table([title, *columns], rows)
