"""The README's tables, made from the registries; `python -m tests.readme` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

import click

from demos import embodiment, task
from demos._content import content
from demos.checks import checks
from demos.cli import command
from demos.exporters import exporters
from demos.importers import importers
from demos.metrics import metrics
from demos.proposals import proposals

README = Path(__file__).parent.parent / "README.md"
MARK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """Return each table of the README as Markdown, by the name in its mark."""
    return {
        "commands": _commands(),
        "formats": _formats(),
        "plugins": _plugins(),
        "benchmarks": _benchmarks(),
    }


def filled(text: str) -> str:
    """Return the README with every marked table as it should be."""
    made = tables()
    return MARK.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", text)


def _commands() -> str:
    context = click.Context(command)
    rows = []
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        leaves = found.commands if isinstance(found, click.Group) else {"": found}
        for leaf_name, leaf in leaves.items():
            words = " ".join(part for part in ("demos", name, leaf_name) if part)
            arguments = [
                p.make_metavar(context) for p in leaf.params if isinstance(p, click.Argument)
            ]
            rows.append([f"`{' '.join([words, *arguments])}`", _first(leaf.help or "")])
    return _table(["command", "what it does"], rows)


def _formats() -> str:
    rows = [
        [way, f"`{name}`", _first(plugin.__doc__ or ""), plugin.loses]
        for way, plugins in (("in", importers), ("out", exporters))
        for name, plugin in plugins.items()
    ]
    return _table(["", "format", "what", "loses"], rows)


def _plugins() -> str:
    rows = [["check", f"`{name}`", each.summary] for name, each in checks.items()]
    rows += [["metric", f"`{name}` [{each.unit}]", each.summary] for name, each in metrics.items()]
    rows += [["proposal", f"`{name}`", each.summary] for name, each in proposals.items()]
    rows += [
        ["embodiment", f"`{name}`", embodiment.load(name).title] for name in embodiment.names()
    ]
    rows += [["task", f"`{name}`", task.load(name).title] for name in task.names()]
    return _table(["kind", "name", "what it does"], rows)


def _benchmarks() -> str:
    import ast

    rows = []
    for path in sorted(content("benchmarks").glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        rows.append([f"`demos bench {path.stem}`", _first(doc)])
    return _table(["command", "what it measures"], rows)


def _first(doc: str) -> str:
    return " ".join(doc.strip().split("\n\n")[0].split())


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
