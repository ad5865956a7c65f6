"""LeRobot datasets of v2.1 with `modality.json`, as NVIDIA's Isaac-GR00T trains from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from demos.alignment.columns import spans_of
from demos.alignment.datasets import write_dataset
from demos.alignment.offers import Wanted
from demos.alignment.parts import Part, features_of
from demos.alignment.reels import pixels_of
from demos.alignment.schemas import TableSchema
from demos.exporters import Choices, Chosen, LeftOut, Written, exporters
from demos.formats import lerobot_v21 as layout
from demos.formats.lerobot import episode_name
from demos.formats.lerobot_writing import Video
from demos.formats.names import word


@exporters.adding("groot")
class Groot:
    """Write a LeRobot v2.1 dataset with GR00T's modality.json, channels sorted by body part."""

    loses: ClassVar[str] = (
        "all rates but one, device stamps, units, who labelled and how sure "
        "(kept beside it in demos/); video that is not one image a step from a key image on "
        "is encoded anew"
    )
    single_file: ClassVar[bool] = False

    def write(
        self, chosen: Sequence[Chosen], target: Path, choices: Choices
    ) -> Iterator[Written | LeftOut]:
        """Write episodes; each part of one that may be trained on is an episode of the dataset."""
        wanted = Wanted(choices.rate_hz, choices.action, choices.streams, by_part=True)
        with closing(write_dataset(chosen, target, wanted, _Dataset, choices.cited)) as made:
            for laid in made:
                if laid.error is not None:
                    hint = laid.error.hint or "look at the episode with `demos show`"
                    yield LeftOut(laid.episode, str(laid.error), hint)
                    continue
                names = tuple(episode_name(number) for number in laid.numbers)
                yield Written(laid.episode, names, laid.losses, laid.notes)


class _Dataset:
    """A v2.1 folder, to which the videos of each table are moved as they are."""

    exact: ClassVar[bool] = True

    def __init__(self, root: Path, schema: TableSchema) -> None:
        self.root, self.schema = root, schema
        self._folder = layout.Folder(root, features_of(schema), schema.rate_hz)
        self._videos: dict[str, Video] = {}

    def put(self, part: Part, task: str) -> int:
        """Append a table and its video."""
        for name, each in part.footage.items():
            path = self._folder.video_path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            each.file.rename(path)
            if name not in self._videos:
                index = each.reel.video.index
                self._videos[name] = Video(
                    name, index.width, index.height, index.codec, pixels_of(path)
                )
        return self._folder.add(part.table.columns, task, part.images)

    def finish(self, splits: Mapping[str, tuple[int, int]]) -> None:
        """Write the metadata."""
        schema = self.schema
        cameras = {word(column.camera): column.name for column in schema.cameras}
        described = layout.modality(
            spans_of(schema.state.parts),
            spans_of(schema.action.parts),
            cameras,
            [column.name for column in schema.columns if column.words],
        )
        self._folder.finish(schema.embodiment, list(self._videos.values()), splits, described)

    def close(self) -> None:
        """Nothing is open between two tables."""
