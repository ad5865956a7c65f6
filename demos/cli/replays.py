"""`demos replay`: run recorded episodes in simulation and measure the gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from demos.cli.output import answer, format_option, progress, store_argument
from demos.errors import ReplayFailed


@click.command()
@store_argument
@click.argument("episodes", nargs=-1)
@click.option("--model", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              default=None, metavar="FILE", help="Another MJCF than the embodiment's.")  # fmt: skip
@format_option
def replay(store: Path, episodes: tuple[str, ...], model: Path | None, output: str) -> int:
    """Replay episodes open-loop in MuJoCo; exits with 1 where one could not be run."""
    import demos
    from demos.provenance import new_id
    from demos.replay import replay as roll_out
    from demos.replay import summary, table

    home = demos.open(store)
    ids = [home.catalog.full_id(e) for e in episodes] if episodes else home.catalog.ids()
    run, done = new_id(), []
    failed: list[dict[str, Any]] = []
    with progress("replay") as step:
        for number, episode in enumerate(ids, 1):
            try:
                done.append(roll_out(home[episode], model_path=model))
            except ReplayFailed as error:
                failed.append({"episode": episode, "error": str(error), "hint": error.hint})
            else:
                home.add_results("gaps", run, episode, table(done[-1:]))
            step(number, len(ids))
    gaps = [gap for each in done for gap in each.gaps]

    def text() -> str:
        lines = [summary(each) for each in done]
        lines += [f"{each['episode']}  not replayed: {each['error']}" for each in failed]
        return "\n".join(lines) or "no episodes"

    answer(output, {"run": run, "gaps": gaps, "failed": failed}, text)
    return 1 if failed else 0
