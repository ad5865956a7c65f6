"""What LeRobot folders of v2.1 and v3.0 are written alike: rows, features, statistics, JSON.

Written after folders that LeRobot 0.4.4 made and reads; lerobot itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.lerobot import Feature
from demos.formats.lerobot_statistics import (
    ImageStatistics,
    NumberStatistics,
    Statistics,
    quantiles_over_all,
)

Array = npt.NDArray[Any]

KEYS = (
    Feature("timestamp", "float32", (1,)),
    Feature("frame_index", "int64", (1,)),
    Feature("episode_index", "int64", (1,)),
    Feature("index", "int64", (1,)),
    Feature("task_index", "int64", (1,)),
)
"""The columns that every LeRobot table has besides its own."""

CHUNKS_SIZE = 1000


@dataclass(frozen=True, slots=True)
class Video:
    """A camera's column: size, and how its first file is encoded."""

    name: str
    width: int
    height: int
    codec: str
    pixels: str


@dataclass(slots=True)
class Rows:
    """The rows written so far: how many, of which tasks, and their statistics.

    features: the columns without cameras and keys.
    """

    features: Sequence[Feature]
    rate_hz: float
    episodes: int = 0
    rows: int = 0
    tasks: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, NumberStatistics] = field(default_factory=dict)
    images: dict[str, ImageStatistics] = field(default_factory=dict)

    @property
    def all_features(self) -> tuple[Feature, ...]:
        """The columns with keys, without cameras."""
        return (*self.features, *KEYS)

    def task(self, text: str) -> int:
        """Return the number of a task, a new one for a new text."""
        return self.tasks.setdefault(text, len(self.tasks))

    def add(
        self,
        columns: Mapping[str, Array],
        text: str,
        images: Mapping[str, ImageStatistics],
    ) -> tuple[dict[str, Array], dict[str, Statistics]]:
        """Take in one episode: return its columns with keys, and its statistics."""
        count = len(next(iter(columns.values())))
        number = np.arange(count)
        full = {
            **columns,
            "timestamp": (number / self.rate_hz).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(count, self.episodes),
            "index": number + self.rows,
            "task_index": np.full(count, self.task(text)),
        }
        found = {
            f.name: self.numbers.setdefault(f.name, NumberStatistics()).add(full[f.name])
            for f in self.all_features
        }
        for name, own in images.items():
            self.images.setdefault(name, ImageStatistics()).add(own)
            found[name] = own.said()
        self.episodes += 1
        self.rows += count
        return full, found

    def over_all(self, read: Callable[[str], Iterator[Array]]) -> dict[str, Statistics]:
        """Return the statistics of all rows; `read` yields a column again, file by file."""
        found = {
            f.name: self.numbers[f.name].said(
                quantiles_over_all(lambda name=f.name: read(name), self.rows, f.shape)  # type: ignore[misc]
            )
            for f in self.all_features
        }
        return found | {name: images.said() for name, images in self.images.items()}


def arrow_table(features: Sequence[Feature], columns: Mapping[str, Array]) -> Any:
    """Lay columns out as a `pyarrow.Table`: scalars for shape (1,), lists of lists for others."""
    import pyarrow as pa

    arrays = [_arrow(f, np.ascontiguousarray(columns[f.name])) for f in features]
    return pa.table(arrays, names=[f.name for f in features])


def with_hugging_face(table: Any, features: Sequence[Feature]) -> Any:
    """Say in a table's metadata which types of Hugging Face's `datasets` (4 or later) it has."""
    types = {f.name: _hugging_face(f) for f in features}
    said = json.dumps({"info": {"features": types}})
    return table.replace_schema_metadata({"huggingface": said})


def column_of(path: Path, name: str) -> Iterator[Array]:
    """Read one column of a parquet file again, some rows at a time: (n, ...)."""
    import pyarrow.parquet as pq

    from demos.formats.columns import numbers

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=[name]).column(0)
            values = numbers(column, name)
            if values is not None:
                yield values


def described(features: Sequence[Feature], videos: Sequence[Video], rate: int | float) -> Any:
    """Describe the columns as `meta/info.json` does: own columns, cameras, keys."""
    own = {f.name: _described(f) for f in features}
    cameras = {
        v.name: {
            "dtype": "video",
            "shape": [v.height, v.width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": v.height,
                "video.width": v.width,
                "video.codec": v.codec,
                "video.pix_fmt": v.pixels,
                "video.is_depth_map": False,
                "video.fps": rate,
                "video.channels": 3,
                "has_audio": False,
            },
        }
        for v in videos
    }
    return own | cameras | {f.name: _described(f) for f in KEYS}


def plain_rate(rate_hz: float) -> int | float:
    """Return a rate as LeRobot writes it: whole where it is."""
    return int(rate_hz) if float(rate_hz).is_integer() else rate_hz


def write_json(path: Path, content: object) -> None:
    """Write a JSON file; raises ValueError for what JSON cannot hold (NaN)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Sequence[object]) -> None:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    path.write_text("".join(lines))


def _described(feature: Feature) -> dict[str, Any]:
    names = list(feature.words or feature.names) or None
    return {"dtype": feature.dtype, "shape": list(feature.shape), "names": names}


def _arrow(feature: Feature, values: Array) -> Any:
    import pyarrow as pa

    leaf = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}[feature.dtype]
    if feature.shape == (1,):
        return pa.array(values.reshape(-1), leaf)
    flat = pa.array(values.reshape(-1), leaf)
    if len(feature.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, feature.shape[0])
    for size in reversed(feature.shape):
        offsets = np.arange(0, len(flat) + 1, size, dtype=np.int32)
        flat = pa.ListArray.from_arrays(pa.array(offsets), flat)
    return flat


def _hugging_face(feature: Feature) -> dict[str, Any]:
    value = {"dtype": feature.dtype, "_type": "Value"}
    if feature.shape == (1,):
        return value
    if len(feature.shape) == 1:
        return {"feature": value, "length": feature.shape[0], "_type": "List"}
    return {
        "shape": list(feature.shape),
        "dtype": feature.dtype,
        "_type": f"Array{len(feature.shape)}D",
    }
