"""Write a LeRobot folder of v3.0: many episodes a file, and metadata that says where each lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demos.formats.lerobot import INFO, Feature
from demos.formats.lerobot_statistics import ImageStatistics, Statistics
from demos.formats.lerobot_writing import (
    CHUNKS_SIZE,
    Array,
    Rows,
    Video,
    arrow_table,
    column_of,
    described,
    plain_rate,
    with_hugging_face,
    write_json,
)

DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA_MB, VIDEO_MB = 100, 200
LONGEST_VIDEO_S = 1000
"""LeRobot holds stamps in float32 to within 0.1 ms, which it cannot above 1,024 s."""

_EPISODES_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Span:
    """Where an episode's images lie: [first, first + images) of the file with this number."""

    file: int
    first: int
    images: int


class Folder:
    """A v3.0 folder being written, episode by episode; `finish` makes it whole."""

    def __init__(self, root: Path, features: Sequence[Feature], rate_hz: float) -> None:
        self.root, self.rows = root, Rows(features, rate_hz)
        self._files: list[Path] = []
        self._data: Any = None
        self._sink: Any = None
        self._episodes: Any = None
        self._waiting: list[dict[str, Any]] = []

    def add(
        self,
        columns: Mapping[str, Array],
        task: str,
        videos: Mapping[str, Span],
        images: Mapping[str, ImageStatistics],
    ) -> int:
        """Append an episode; return its index."""
        index, first = self.rows.episodes, self.rows.rows
        full, found = self.rows.add(columns, task, images)
        table = arrow_table(self.rows.all_features, full)
        file = self._write(with_hugging_face(table, self.rows.all_features))
        self._waiting.append(
            {
                "episode_index": index,
                "tasks": [task],
                "length": len(table),
                **_place("data", file),
                "dataset_from_index": first,
                "dataset_to_index": first + len(table),
                **self._videos(videos),
                **_flat(found),
                **_place("meta/episodes", 0),
            }
        )
        if len(self._waiting) >= _EPISODES_AT_ONCE:
            self._write_episodes()
        return index

    def finish(
        self, robot_type: str, videos: Sequence[Video], splits: Mapping[str, tuple[int, int]]
    ) -> None:
        """Write the metadata; nothing can be added afterwards."""
        import pandas as pd

        self._write_episodes()
        self.close()
        rows, rate = self.rows, plain_rate(self.rows.rate_hz)
        tasks = pd.DataFrame({"task_index": list(rows.tasks.values())}, index=list(rows.tasks))
        tasks.to_parquet(self.root / "meta/tasks.parquet")
        write_json(self.root / "meta/stats.json", rows.over_all(self._column))
        info = {
            "codebase_version": "v3.0",
            "robot_type": robot_type,
            "total_episodes": rows.episodes,
            "total_frames": rows.rows,
            "total_tasks": len(rows.tasks),
            "chunks_size": CHUNKS_SIZE,
            "data_files_size_in_mb": DATA_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "fps": rate,
            "splits": {name: f"{start}:{end}" for name, (start, end) in splits.items()},
            "data_path": DATA,
            "video_path": VIDEO,
            "features": described(rows.features, videos, rate),
        }
        write_json(self.root / INFO, info)

    def close(self) -> None:
        """Let go of open files, whole or not."""
        for writer in (self._data, self._episodes, self._sink):
            if writer is not None:
                writer.close()
        self._data = self._episodes = self._sink = None

    def _write(self, table: Any) -> int:
        import pyarrow.parquet as pq

        if self._sink is not None and self._sink.tell() >= DATA_MB * 2**20:
            self._data.close()
            self._sink.close()
            self._data = None
        if self._data is None:
            path = self.root / DATA.format(**_numbers(len(self._files)))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files.append(path)
            self._sink = path.open("wb")
            self._data = pq.ParquetWriter(self._sink, table.schema)
        self._data.write_table(table, row_group_size=len(table))
        return len(self._files) - 1

    def _write_episodes(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        path = self.root / EPISODES
        if self._episodes is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pylist(self._waiting)
            self._episodes = pq.ParquetWriter(path, table.schema)
        else:
            table = pa.Table.from_pylist(self._waiting, schema=self._episodes.schema)
        self._episodes.write_table(table)
        self._waiting = []

    def _videos(self, videos: Mapping[str, Span]) -> dict[str, Any]:
        rate = self.rows.rate_hz
        said: dict[str, Any] = {}
        for name, span in videos.items():
            said |= _place(f"videos/{name}", span.file)
            # whole numbers of images, so that nothing adds up
            said[f"videos/{name}/from_timestamp"] = span.first / rate
            said[f"videos/{name}/to_timestamp"] = (span.first + span.images) / rate
        return said

    def _column(self, name: str) -> Iterator[Array]:
        for path in self._files:
            yield from column_of(path, name)


def video_path(root: Path, name: str, file: int) -> Path:
    """Return the path of a camera's video file with this number."""
    return root / VIDEO.format(video_key=name, **_numbers(file))


def _numbers(file: int) -> dict[str, int]:
    return {"chunk_index": file // CHUNKS_SIZE, "file_index": file % CHUNKS_SIZE}


def _place(prefix: str, file: int) -> dict[str, int]:
    return {f"{prefix}/{key}": number for key, number in _numbers(file).items()}


def _flat(found: Mapping[str, Statistics]) -> dict[str, Any]:
    return {
        f"stats/{name}/{key}": values
        for name, statistics in found.items()
        for key, values in statistics.items()
    }
