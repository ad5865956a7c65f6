"""Write a LeRobot folder of v2.1, one file an episode, with GR00T's `meta/modality.json`.

Layout of LeRobot 0.3 and of NVIDIA's Isaac-GR00T ("LeRobot v2 with modality.json"): channels of
state and action are named by body part, and columns `annotation.*` hold a line of `tasks.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demos.formats.lerobot import INFO, Feature
from demos.formats.lerobot_statistics import ImageStatistics
from demos.formats.lerobot_writing import (
    CHUNKS_SIZE,
    Array,
    Rows,
    Video,
    arrow_table,
    column_of,
    described,
    plain_rate,
    write_json,
    write_json_lines,
)

DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
TASK = "annotation.human.task_description"
NO_WORD = "none"
_OF_V21 = ("min", "max", "mean", "std", "count")


class Folder:
    """A v2.1 folder being written, episode by episode; `finish` makes it whole.

    Annotations with words of their own become lines of `tasks.jsonl`, as GR00T reads them.
    """

    def __init__(self, root: Path, features: Sequence[Feature], rate_hz: float) -> None:
        features = (*features, Feature(TASK, "int64", (1,)))
        self.root, self.rows = root, Rows(features, rate_hz)
        self._lines: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Any]] = []

    def add(
        self,
        columns: Mapping[str, Array],
        task: str,
        images: Mapping[str, ImageStatistics],
    ) -> int:
        """Append an episode; return its index."""
        import pyarrow.parquet as pq

        index = self.rows.episodes
        full, found = self.rows.add(self._worded(columns, task), task, images)
        table = arrow_table(self.rows.all_features, full)
        path = self.root / DATA.format(**_numbers(index))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        self._lines.append({"episode_index": index, "tasks": [task], "length": len(table)})
        own = {name: {key: said[key] for key in _OF_V21} for name, said in found.items()}
        self._statistics.append({"episode_index": index, "stats": own})
        return index

    def finish(
        self,
        robot_type: str,
        videos: Sequence[Video],
        splits: Mapping[str, tuple[int, int]],
        modality: Mapping[str, Any],
    ) -> None:
        """Write the metadata; nothing can be added afterwards."""
        rows, meta, rate = self.rows, self.root / "meta", plain_rate(self.rows.rate_hz)
        tasks = [{"task_index": number, "task": text} for text, number in rows.tasks.items()]
        write_json_lines(meta / "tasks.jsonl", tasks)
        write_json_lines(meta / "episodes.jsonl", self._lines)
        write_json_lines(meta / "episodes_stats.jsonl", self._statistics)
        write_json(meta / "stats.json", rows.over_all(self._column))
        write_json(meta / "modality.json", modality)
        info = {
            "codebase_version": "v2.1",
            "robot_type": robot_type,
            "total_episodes": rows.episodes,
            "total_frames": rows.rows,
            "total_tasks": len(rows.tasks),
            "total_videos": rows.episodes * len(videos),
            "total_chunks": -(-rows.episodes // CHUNKS_SIZE),
            "chunks_size": CHUNKS_SIZE,
            "fps": rate,
            "splits": {name: f"{start}:{end}" for name, (start, end) in splits.items()},
            "data_path": DATA,
            "video_path": VIDEO,
            "features": described(self._plain(), videos, rate),
        }
        write_json(self.root / INFO, info)

    def video_path(self, name: str) -> Path:
        """Return the path of the next episode's video of a camera."""
        return self.root / VIDEO.format(video_key=name, **_numbers(self.rows.episodes))

    def _worded(self, columns: Mapping[str, Array], task: str) -> dict[str, Array]:
        said = np.full(len(next(iter(columns.values()))), self.rows.task(task))
        found = {**columns, TASK: said}
        for feature in self.rows.features:
            if feature.words:
                lines = [self.rows.task(word) for word in (*feature.words, NO_WORD)]
                found[feature.name] = np.array(lines, np.int64)[columns[feature.name]]
        return found

    def _plain(self) -> list[Feature]:
        return [Feature(f.name, f.dtype, f.shape, f.names) for f in self.rows.features]

    def _column(self, name: str) -> Iterator[Array]:
        for index in range(self.rows.episodes):
            yield from column_of(self.root / DATA.format(**_numbers(index)), name)


def modality(
    state: Mapping[str, tuple[int, int]],
    action: Mapping[str, tuple[int, int]],
    cameras: Mapping[str, str],
    annotations: Sequence[str] = (),
) -> dict[str, Any]:
    """Make GR00T's description: [start, end) by body part, column by camera, annotations."""
    spans = {
        kind: {part: {"start": start, "end": end} for part, (start, end) in parts.items()}
        for kind, parts in (("state", state), ("action", action))
    }
    return {
        **spans,
        "video": {name: {"original_key": column} for name, column in cameras.items()},
        "annotation": {name.removeprefix("annotation."): {} for name in (TASK, *annotations)},
    }


def _numbers(index: int) -> dict[str, int]:
    return {"episode_chunk": index // CHUNKS_SIZE, "episode_index": index}
