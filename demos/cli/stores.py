"""`demos init`, `verify`, `recover`, `reindex`, `withdraw`: look after a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from demos.cli.output import answer, format_option, plural, progress, store_argument
from demos.errors import DemosError, StoreError


@click.command()
@store_argument
@click.option(
    "--container",
    type=click.Choice(["zarr", "hdf5"]),
    default="zarr",
    show_default=True,
    help="How signals are kept; the content is the same.",
)
@format_option
def init(store: Path, container: Literal["zarr", "hdf5"], output: str) -> None:
    """Make an empty store."""
    import demos

    made = demos.Store.create(store, container=container)
    answer(
        output,
        {"store": str(made.root), "id": made.info.id, "container": container},
        f"{store} is a store now, its signals in {container}",
    )


@click.command()
@store_argument
@click.argument("episodes", nargs=-1)
@click.option("--deep", is_flag=True, help="Read every byte: hashes, checksums, records.")
@format_option
def verify(store: Path, episodes: tuple[str, ...], output: str, *, deep: bool) -> int:
    """Compare a store with its ledgers; exits with 1 where anything is wrong."""
    from demos.store import verify as compare

    wanted = _ids(store, episodes) if episodes else None
    with progress("verify") as step:
        problems = compare(store, wanted, deep=deep, progress=step)
    lines = [f"{problem.path}: {problem.what}\n  {problem.hint}" for problem in problems]
    how = "every byte is what was published" if deep else "every file is there, whole"
    answer(
        output,
        {"deep": deep, "problems": [asdict(problem) for problem in problems]},
        "\n".join([*lines, plural(len(problems), "problem")]) if problems else how,
    )
    return 1 if problems else 0


@click.command()
@store_argument
@format_option
def recover(store: Path, output: str) -> int:
    """Bring a store in order after a crash: publish what was recorded, finish what was begun."""
    import demos
    from demos.store import recover as mend

    done = mend(demos.open(store))
    told = {
        "published": "cut short and published from what was acknowledged",
        "completed": "published and completed",
        "withdrawn": "withdrawal finished",
        "removed": "left over and removed",
        "alive": "still being recorded, left alone",
        "mended": "ledger mended",
        "failed": "NOT recovered",
    }
    result = asdict(done)
    lines = []
    for name, meaning in told.items():
        items = result[name]
        for item in items:
            reason = f" ({items[item]})" if isinstance(items, dict) else ""
            lines.append(f"{item}: {meaning}{reason}")
    answer(
        output,
        result,
        "\n".join(lines) or "nothing was interrupted (`demos verify` looks for damage)",
    )
    return 1 if done.failed else 0


@click.command()
@store_argument
@format_option
def reindex(store: Path, output: str) -> int:
    """Rebuild the catalog from the files; exits with 1 where one cannot be read."""
    import demos

    home = demos.open(store)
    if home.catalog.in_memory:
        raise StoreError(f"the catalog of {store} cannot be written").with_hint(
            "the folder must be writable for you; reading works all the same, from memory"
        )
    with progress("reindex") as step:
        files = home.reindex(step)
    unread = home.catalog.unread()
    lines = [f"{path}: not indexed: {reason}" for path, reason in unread.items()]
    lines.append(f"the catalog was rebuilt from {plural(files, 'file')}")
    answer(output, {"files": files, "unread": unread}, "\n".join(lines))
    return 1 if unread else 0


@click.command()
@store_argument
@click.argument("session")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def withdraw(store: Path, session: str, output: str, *, yes: bool) -> None:
    """Delete the data of one session for good, because consent to it was withdrawn."""
    import demos
    from demos.store import withdraw as delete

    home = demos.open(store)
    home.session(session)
    if not yes:
        if output == "json":
            raise click.UsageError("--format json asks no questions: add --yes")
        if not click.confirm(f"delete every episode of session {session} for good?", err=True):
            raise DemosError("nothing was withdrawn").with_hint("answer y, or give --yes")
    done = delete(home, session)
    named = {
        name: len(gone)
        for name in home.selection_names()
        if (gone := {e.episode for e in home.read_selection(name).episodes} & set(done.episodes))
    }
    lines = [f"{plural(len(done.episodes), 'episode')} of session {session} deleted"]
    lines += [f"{name} named {count} of them" for name, count in named.items()]
    answer(output, {**asdict(done), "selections": named}, "\n".join(lines))


def _ids(store: Path, episodes: tuple[str, ...]) -> list[str]:
    import demos

    catalog = demos.open(store).catalog
    return [catalog.full_id(episode) for episode in episodes]
