"""The card of an exported dataset: `README.md`, with what the Hugging Face Hub reads at its head.

Everything in it is also in `demos/report.json`; it says no more than that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

NAME = "README.md"

_HUB = (
    *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "unknown"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cdla-permissive-2.0", "odc-by", "odbl"),
)
"""Names of licences that the Hub knows (huggingface.co/docs/hub/repositories-licenses), the usual
ones of data; another one goes by `other` and its own name."""

_MOST_LISTED = 40


def card(report: Mapping[str, Any]) -> str:
    """Write the card of a dataset of step tables from its report."""
    schema, episodes = report["schema"], report["episodes"]
    licences = Counter(str(row["licence"]) for row in episodes)
    tables = [part for row in episodes for part in row["parts"]]
    steps, rate_hz = sum(part["steps"] for part in tables), schema["rate_hz"]
    lines = [
        *_front_matter(licences),
        "",
        f"# Demonstrations of {_plain(schema['embodiment'])}",
        "",
        *_table(
            ("", ""),
            [
                ("robot", schema["embodiment"]),
                ("episodes", f"{len(tables)}, of {_many(len(episodes), 'recording')}"),
                ("steps", f"{steps} at {rate_hz:g} Hz, {steps / rate_hz / 60:.1f} minutes"),
                ("tasks", _counted(row["task"] for row in episodes)),
                ("origin", _counted(row["origin"] for row in episodes)),
                ("licence", _counted(row["licence"] for row in episodes)),
                (
                    "splits",
                    ", ".join(f"{k} {a} to {b - 1}" for k, (a, b) in report["splits"].items()),
                ),
                ("selection", _selection(report["selection"])),
                (
                    "action",
                    f"{schema['action']['kind']}, from the robot's {schema['action']['from']}",
                ),
            ],
        ),
        "",
        "## Columns",
        "",
        *_table(("column", "shape", "unit", "from"), _columns(schema)),
        "",
        "## What was lost",
        "",
        "Of every stream that went in, how it was put on the steps, how far the result is from the "
        "recording at the worst, and how many of its samples are in no step.",
        "",
        *_table(("stream", "how", "worst", "samples lost"), _losses(episodes)),
        "",
        *_listed("Notes", Counter(note for row in episodes for note in row["notes"])),
        *_listed("Left out", Counter(row["reason"] for row in report["left_out"])),
        "## How it was made",
        "",
        f"By `{schema['tool']}`. `demos/` holds each recording as it was, every stream at its own "
        "rate with its labels and its hashes, and `demos/report.json` what became of each.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(licences: Mapping[str, int]) -> list[str]:
    """Name the licence that all sessions have; several become `other`."""
    names = {
        re.sub(r"[^a-z0-9.]+", "-", name.casefold()).strip("-") or "unknown" for name in licences
    }
    one = names.pop() if len(names) == 1 else "mixed"
    told = [f"license: {one}"] if one in _HUB else ["license: other", f"license_name: {one}"]
    more = ["task_categories:", "- robotics", "tags:", "- LeRobot"]
    tables = ["configs:", "- config_name: default", "  data_files: data/*/*.parquet"]
    return ["---", *told, *more, *tables, "---"]


def _selection(said: Mapping[str, Any]) -> str:
    where = f"where `{said['where']}`" if said["where"] else "every episode"
    if not said["name"]:
        return f"not frozen: {where}"
    gone = len(said["withdrawn"])
    more = f"; {_many(gone, 'episode')} of it withdrawn since" if gone else ""
    return f"{said['name']}, sha256 `{said['sha256']}`, {where}{more}"


def _columns(schema: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for column in schema["columns"]:
        units = ", ".join(dict.fromkeys(column["units"]))
        shape = " x ".join(str(size) for size in column["shape"])
        yield column["name"], shape, units, ", ".join(column["streams"])
    for column in schema["cameras"]:
        yield column["name"], f"{column['height']} x {column['width']} x 3", "", column["camera"]


def _losses(episodes: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[object]]:
    """Yield each stream's worst over all episodes."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in episodes:
        for loss in row["streams"]:
            found.setdefault((loss["stream"], loss["unit"]), []).append(loss)
    for (stream, unit), losses in found.items():
        hows = ", ".join(dict.fromkeys(loss["how"] for loss in losses))
        worst = max(loss["worst"] for loss in losses)
        yield stream, hows, f"{worst:.3g} {unit}", sum(loss["lost"] for loss in losses)


def _listed(title: str, counted: Counter[str]) -> list[str]:
    items = [f"- {_plain(text)} ({count}x)" for text, count in counted.most_common(_MOST_LISTED)]
    return [f"## {title}", "", *items, ""] if items else []


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines]


def _counted(texts: Iterable[str]) -> str:
    found = Counter(texts)
    told = [f"{text} ({count})" for text, count in found.most_common(_MOST_LISTED)]
    return ", ".join(told) + (", ..." if len(found) > _MOST_LISTED else "")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _plain(cell: object) -> str:
    """Keep a text from being taken for Markdown's table or HTML."""
    text = " ".join(str(cell).split())[:500]
    return text.replace("|", "\\|").replace("<", "&lt;")
