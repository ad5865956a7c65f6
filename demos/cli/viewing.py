"""`demos view`: look at a store in the browser."""

from __future__ import annotations

import json
from pathlib import Path

import click

from demos.cli.output import format_option, store_argument


@click.command()
@store_argument
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="A free one if left out.")
@click.option("--browser", is_flag=True, help="Open the page in the default browser.")
@format_option
def view(store: Path, port: int | None, output: str, *, browser: bool) -> None:
    """Serve the viewer on this machine until interrupted (Ctrl-C)."""
    from demos.server import serve

    def announce(address: str) -> None:
        told = json.dumps({"address": address}) if output == "json" else _welcome(store, address)
        click.echo(told)

    serve(store, port=port, open_browser=browser, announce=announce)


def _welcome(store: Path, address: str) -> str:
    return f"{store} is at {address}  (Ctrl-C ends it)"
