"""From chosen episodes to a dataset of step tables, whatever the format it is written in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol

from demos.alignment import Loss
from demos.alignment.offers import Wanted
from demos.alignment.parts import Part, described, parts_of, resampled
from demos.alignment.schemas import Offered, Survey, TableSchema, survey
from demos.alignment.tables import merged
from demos.errors import DemosError
from demos.formats import dataset_card
from demos.formats.truth_folder import put_truth, write_report
from demos.model import Episode
from demos.store import layout


class Picked(Offered, Protocol):
    """An episode that may go into a dataset, and the split it belongs to."""

    @property
    def split(self) -> str:
        """The name of its split."""

    @property
    def verdict(self) -> str:
        """What is thought of it, or an empty string."""

    @property
    def licence(self) -> str:
        """Under which licence its session may be used."""


@dataclass(frozen=True, slots=True)
class Cited:
    """Out of which choice episodes go: a frozen selection `name@number`, or a mere filter.

    withdrawn: the selection's episodes that have been deleted since.
    """

    name: str = ""
    sha256: str = ""
    where: str = ""
    withdrawn: tuple[str, ...] = ()


class Dataset(Protocol):
    """A dataset being written: one table after the other, each whole.

    exact: whether it has no offsets into videos (see `footage`).
    """

    exact: ClassVar[bool]

    def put(self, part: Part, task: str) -> int:
        """Append a table; return its number among the dataset's episodes."""

    def finish(self, splits: Mapping[str, tuple[int, int]]) -> None:
        """Write what can be known at the end only; splits are [start, end) by number."""

    def close(self) -> None:
        """Let go of open files."""


@dataclass(frozen=True, slots=True)
class Laid:
    """What became of one episode: its numbers in the dataset, or the error that kept it out."""

    episode: str
    numbers: tuple[int, ...] = ()
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()
    error: DemosError | None = None


@dataclass(slots=True)
class _Report:
    """What `report.json` says, row by row."""

    cited: Cited
    episodes: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, episode: str, error: DemosError) -> Laid:
        """Note that an episode stays behind."""
        said = {"episode": episode, "reason": str(error), "hint": error.hint}
        self.left_out.append(said)
        return Laid(episode, error=error)


def write_dataset(
    picked: Sequence[Picked],
    root: Path,
    wanted: Wanted,
    begin: Callable[[Path, TableSchema], Dataset],
    cited: Cited | None = None,
) -> Generator[Laid, None, None]:
    """Write episodes to the folder `root`, split after split; yield what became of each.

    An episode is prepared whole before anything of it is written. Splits are ranges of numbers,
    in the order in which `picked` names them; beside the dataset lie `demos/` and a card.
    """
    report = _Report(cited or Cited())
    found = survey(picked, wanted)
    for name, error in found.refused.items():
        yield report.refuse(name, error)
    if found.schema is None:
        return
    root.mkdir(parents=True)
    splits: dict[str, tuple[int, int]] = {}
    with (
        closing(begin(root, found.schema)) as dataset,
        TemporaryDirectory(prefix=".making-", dir=root) as scratch,
    ):
        for item in _by_split(picked, found.fitting):
            try:
                episode, parts = _ready(item, found.schema, Path(scratch), exact=dataset.exact)
                sources = _truth(root, episode)
            except DemosError as error:
                yield report.refuse(item.manifest.id, error)
                continue
            laid = _put(dataset, episode, parts, found)
            report.episodes.append(_row(item, episode, parts, laid, found.schema) | sources)
            first = splits.get(item.split, (laid.numbers[0], 0))[0]
            splits[item.split] = (first, laid.numbers[-1] + 1)
            yield laid
        if splits:
            _finish(dataset, root, splits, report, found)


def _by_split(picked: Sequence[Picked], fitting: Sequence[str]) -> list[Picked]:
    kept = set(fitting)
    order = list(dict.fromkeys(item.split for item in picked))
    return sorted(
        (item for item in picked if item.manifest.id in kept),
        key=lambda item: (order.index(item.split), item.manifest.id),
    )


def _ready(
    item: Picked, schema: TableSchema, scratch: Path, *, exact: bool
) -> tuple[Episode, list[Part]]:
    for path in scratch.iterdir():
        shutil.rmtree(path)  # of the episode before
    episode = item.open()
    return episode, parts_of(episode, schema, scratch, exact=exact)


def _truth(root: Path, episode: Episode) -> dict[str, Any]:
    """Copy the recording beside the dataset; say what it is by its hashes."""
    manifest = episode.manifest
    if episode.root is None:
        return {"sha256": put_truth(root, manifest, episode.labels, None)}
    folder = layout.episode_dir(episode.root, manifest.id)
    content = (folder / layout.MANIFEST).read_bytes()
    signals = folder / layout.SIGNALS[manifest.container]
    return {"sha256": put_truth(root, content, episode.labels, signals)}


def _put(dataset: Dataset, episode: Episode, parts: Sequence[Part], found: Survey) -> Laid:
    task = episode.manifest.instruction or episode.manifest.task
    numbers = tuple(dataset.put(part, task) for part in parts)
    notes = (*found.notes[episode.id], *(note for part in parts for note in part.notes))
    losses = merged(loss for part in parts for loss in part.table.losses)
    return Laid(episode.id, numbers, losses, tuple(dict.fromkeys(notes)))


def _row(
    item: Picked, episode: Episode, parts: Sequence[Part], laid: Laid, schema: TableSchema
) -> dict[str, Any]:
    tables = [part.table for part in parts]
    return {
        "episode": laid.episode,
        "split": item.split,
        "verdict": item.verdict,
        "licence": item.licence,
        "task": episode.manifest.instruction or episode.manifest.task,
        "origin": episode.manifest.origin,
        "parts": [
            {
                "episode_index": number,
                "start_ns": int(table.moments[0]),
                "end_ns": int(table.moments[-1]),
                "steps": len(table),
            }
            for number, table in zip(laid.numbers, tables, strict=True)
        ],
        "streams": resampled(episode, laid.losses, schema.rate_hz),
        "notes": list(laid.notes),
    }


def _finish(
    dataset: Dataset,
    root: Path,
    splits: Mapping[str, tuple[int, int]],
    report: _Report,
    found: Survey,
) -> None:
    # one split of all episodes is what LeRobot calls train
    named = {"train": splits["all"]} if set(splits) == {"all"} else splits
    dataset.finish(named)
    assert found.schema is not None
    said = {
        "selection": asdict(report.cited),
        "schema": described(found.schema),
        "splits": {k: list(v) for k, v in named.items()},
        "episodes": report.episodes,
        "left_out": report.left_out,
    }
    write_report(root, said)
    (root / dataset_card.NAME).write_text(dataset_card.card(said))
