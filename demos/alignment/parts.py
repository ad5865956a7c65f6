"""One episode made ready for a table, before a byte of it is in the target.

What can be wrong with an episode shows here: afterwards only the disk can fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from demos.alignment import Loss
from demos.alignment.columns import Column
from demos.alignment.footage import Footage, footage
from demos.alignment.schemas import TableSchema, narrowed
from demos.alignment.tables import StepTable, tables_of
from demos.formats.lerobot import Feature
from demos.formats.lerobot_statistics import ImageStatistics, sampled
from demos.model import Episode
from demos.provenance import tool_version


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One table of an episode with its video, and the levels of its sampled images."""

    table: StepTable
    footage: Mapping[str, Footage]
    images: Mapping[str, ImageStatistics]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done that a reader must know."""
        return (*self.table.notes, *(each.note for each in self.footage.values() if each.note))


def parts_of(
    episode: Episode, schema: TableSchema, scratch: Path, *, exact: bool = False
) -> list[Part]:
    """Make everything that goes out of one episode; video is in files in `scratch`.

    exact: see `footage`. Raises DemosError for whatever is wrong with the episode.
    """
    bare = narrowed(episode, schema.cameras)
    found = []
    for table in tables_of(bare, schema):
        own = footage(bare, schema, table, Path(mkdtemp(dir=scratch)), exact=exact)
        chosen = sampled(len(table))
        images = {name: ImageStatistics.of(each.samples(chosen)) for name, each in own.items()}
        found.append(Part(table, own, images))
    return found


def features_of(schema: TableSchema) -> list[Feature]:
    """Describe the columns of a schema as LeRobot does; cameras are not among them."""
    return [
        Feature(column.name, column.dtype, column.shape, _names(column), column.words)
        for column in schema.columns
    ]


def described(schema: TableSchema) -> dict[str, Any]:
    """Describe a schema in plain values, with the units that LeRobot has no place for."""
    return {
        "rate_hz": schema.rate_hz,
        "embodiment": schema.embodiment,
        "action": {
            "kind": schema.action.kind,
            "from": "commands" if schema.action.commanded else "states",
            "note": schema.action.note,
        },
        "columns": [asdict(column) for column in schema.columns],
        "cameras": [asdict(column) | {"name": column.name} for column in schema.cameras],
        "windows": dict(schema.windows),
        "words": {column.name: list(column.words) for column in schema.columns if column.words},
        "tool": f"demos export {tool_version()}",
    }


def resampled(episode: Episode, losses: Sequence[Loss], rate_hz: float) -> list[dict[str, Any]]:
    """Say per stream how it was put on the steps, from which rate, and what that lost."""
    own = {
        name: (summary.shape[0], summary.start_ns, summary.end_ns)
        for name, summary in episode.manifest.streams.items()
    } | {
        f"image.{name}": (camera.images, camera.start_ns, camera.end_ns)
        for name, camera in episode.manifest.cameras.items()
    }
    rows = []
    for loss in losses:
        count, start, end = own.get(loss.stream, (0, None, None))
        span_s = ((end or 0) - (start or 0)) / 1e9
        rate_in = round((count - 1) / span_s, 6) if span_s > 0 else None
        rows.append(asdict(loss) | {"rate_in_hz": rate_in, "rate_out_hz": rate_hz})
    return rows


def _names(column: Column) -> tuple[str, ...]:
    return column.channels if column.shape == (len(column.channels),) else ()
