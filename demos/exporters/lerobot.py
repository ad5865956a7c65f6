"""LeRobot datasets of v3.0, written without lerobot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from demos.alignment.datasets import write_dataset
from demos.alignment.offers import Wanted
from demos.alignment.parts import Part, features_of
from demos.alignment.reels import Reel, ReelFile, pixels_of
from demos.alignment.schemas import TableSchema
from demos.exporters import Choices, Chosen, LeftOut, Written, exporters
from demos.formats import lerobot_v30 as layout
from demos.formats.lerobot import episode_name
from demos.formats.lerobot_writing import Video


@exporters.adding("lerobot")
class LeRobot:
    """Write a LeRobot v3.0 dataset: one table at one rate, video copied, the whole truth beside."""

    loses: ClassVar[str] = (
        "all rates but one, device stamps, units, who labelled and how sure "
        "(kept beside it in demos/); video that does not keep the rate is encoded anew"
    )
    single_file: ClassVar[bool] = False

    def write(
        self, chosen: Sequence[Chosen], target: Path, choices: Choices
    ) -> Iterator[Written | LeftOut]:
        """Write episodes; each part of one that may be trained on is an episode of LeRobot's."""
        wanted = Wanted(choices.rate_hz, choices.action, choices.streams)
        with closing(write_dataset(chosen, target, wanted, _Dataset, choices.cited)) as made:
            for laid in made:
                if laid.error is not None:
                    yield LeftOut(laid.episode, str(laid.error), laid.error.hint or _LOOK)
                    continue
                names = tuple(episode_name(number) for number in laid.numbers)
                yield Written(laid.episode, names, laid.losses, laid.notes)


_LOOK = "look at the episode with `demos show`"


class _Dataset:
    """A v3.0 folder and, per camera, the video file that is being filled."""

    exact: ClassVar[bool] = False

    def __init__(self, root: Path, schema: TableSchema) -> None:
        self.root, self.schema = root, schema
        self._folder = layout.Folder(root, features_of(schema), schema.rate_hz)
        self._shelves = {
            column.name: _Shelf(root, column.name, schema) for column in schema.cameras
        }

    def put(self, part: Part, task: str) -> int:
        """Append a table and its video."""
        spans = {name: self._shelves[name].put(each.reel) for name, each in part.footage.items()}
        return self._folder.add(part.table.columns, task, spans, part.images)

    def finish(self, splits: Mapping[str, tuple[int, int]]) -> None:
        """Close the videos and write the metadata."""
        for shelf in self._shelves.values():
            shelf.close()
        videos = [shelf.video for shelf in self._shelves.values() if shelf.video is not None]
        self._folder.finish(self.schema.embodiment, videos, splits)

    def close(self) -> None:
        """Let go of open files."""
        self._folder.close()
        for shelf in self._shelves.values():
            shelf.close()


class _Shelf:
    """The video files of one camera; `video` describes the first."""

    def __init__(self, root: Path, name: str, schema: TableSchema) -> None:
        self._root, self._name, self._rate_hz = root, name, schema.rate_hz
        self._number = -1
        self._column = next(column for column in schema.cameras if column.name == name)
        self.video: Video | None = None
        self._file: ReelFile | None = None

    def put(self, reel: Reel) -> layout.Span:
        """Append a reel, to a new file where the open one is full or of another encoder."""
        if self._file is None or not self._takes(self._file, reel):
            self.close()
            self._number += 1
            path = layout.video_path(self._root, self._name, self._number)
            self._file = ReelFile(path, self._rate_hz, reel)
        if self.video is None:
            pixels = pixels_of(reel.video.path)
            size = self._column.width, self._column.height
            self.video = Video(self._name, *size, reel.video.index.codec, pixels)
        return layout.Span(self._number, self._file.add(reel), reel.images)

    def close(self) -> None:
        """Finish the open file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _takes(self, file: ReelFile, reel: Reel) -> bool:
        full = file.size + reel.size > layout.VIDEO_MB * 2**20
        length_s = (file.images + len(reel.rank)) / self._rate_hz
        return not full and length_s <= layout.LONGEST_VIDEO_S and file.fits(reel)
