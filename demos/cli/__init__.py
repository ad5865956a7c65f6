"""The `demos` command. One file here holds one family of commands."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module

import click

from demos.cli.output import fail, wants_json
from demos.errors import DemosError, StoreError

_HOMES = {
    "quickstart": "quickstart",
    "init": "stores",
    "simulate": "intake",
    "import": "intake",
    "upload": "intake",
    "export": "exports",
    "formats": "intake",
    "ls": "episodes",
    "show": "episodes",
    "select": "episodes",
    "check": "quality",
    "score": "quality",
    "label": "quality",
    "coverage": "quality",
    "duplicates": "repeats",
    "replay": "replays",
    "view": "viewing",
    "verify": "stores",
    "recover": "stores",
    "reindex": "stores",
    "withdraw": "stores",
    "bench": "benches",
}


class Commands(click.Group):
    """Commands whose module is imported when they are used, in the order of the work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command."""
        return list(_HOMES)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; a misspelt one is answered with the closest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = get_close_matches(args[0], _HOMES, n=1)
            if not close:
                raise
            told = f"{error.message.rstrip('.')}; did you mean {close[0]!r}?"
            raise click.UsageError(told, ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in _HOMES:
            return None
        module = import_module(f"demos.cli.{_HOMES[cmd_name]}")
        name = f"{cmd_name}_" if cmd_name == "import" else cmd_name
        command: click.Command = getattr(module, name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="teleop-demos", prog_name="demos")
def command() -> None:
    """Keep, score, label, replay and look at a humanoid's demonstrations."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0 where all is well, 1 for a problem, 2 for wrong usage."""
    arguments = sys.argv[1:] if argv is None else argv
    as_json = wants_json(arguments)
    try:
        answer = command.main(args=arguments, prog_name="demos", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "demos"
        return fail(error.format_message(), f"see `{where} --help`", as_json=as_json, code=2)
    except click.ClickException as error:
        return fail(error.format_message(), "", as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        return fail(
            "interrupted",
            "what was finished is kept; run the same command again to go on",
            as_json=as_json,
        )
    except DemosError as error:
        return fail(str(error), error.hint, as_json=as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        told = StoreError(f"{error.filename or 'the disk'}: {error.strerror or error}")
        return fail(str(told), "check free space and permissions", as_json=as_json)
    return answer if isinstance(answer, int) else 0


def run() -> None:
    """Run the command as a program."""
    sys.exit(main())
