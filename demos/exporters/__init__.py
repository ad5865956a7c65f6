"""Write episodes for other people's programs. One file here is one target format."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from demos._registry import Registry
from demos.alignment import Action as Action
from demos.alignment import Loss
from demos.alignment.datasets import Cited as Cited
from demos.errors import DemosError, StoreError
from demos.model import Episode, Manifest
from demos.provenance import new_id
from demos.store import disk

Progress = Callable[[int, int, str], None]
"""Called after each episode with how many are done, of how many, and its id."""


class ExportFailed(DemosError):
    """Episodes could not be written in a foreign format."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person who exports wants of a format with one clock for all.

    `rate_hz` None: what the episodes ask for (see `alignment.step_rate_hz`). `streams` None: all
    that the format can hold. `cited` says out of which choice the episodes go.
    """

    rate_hz: float | None = None
    action: Action = "joint"
    streams: tuple[str, ...] | None = None
    cited: Cited | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """One episode to export. `manifest` says what there is, `open` opens it anew each time.

    The opened episode keeps what was decoded of it: let go of it before the next one. Its labels
    are those that count: all there are, or the ones a selection froze. `licence` is its session's.
    """

    manifest: Manifest
    open: Callable[[], Episode]
    split: str = "all"
    verdict: str = ""
    licence: str = "unknown"


@dataclass(frozen=True, slots=True)
class Written:
    """One episode as it went out: under which names, and what each stream lost on the way.

    `notes` say in words what was done that a reader must know (cut, re-encoded, left out).
    """

    episode: str
    names: tuple[str, ...]
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One episode that could not go out: why, and what to do about it."""

    episode: str
    reason: str
    hint: str = ""


class Exporter(Protocol):
    """What a target format must offer. The class's docstring says what it writes."""

    loses: ClassVar[str]
    """One sentence: what the format cannot hold."""

    single_file: ClassVar[bool]
    """Whether it is one file for all episodes; a folder otherwise."""

    def write(
        self, chosen: Sequence[Chosen], target: Path, choices: Choices
    ) -> Iterator[Written | LeftOut]:
        """Write episodes to `target`, which is not there yet; yield what became of each.

        Episodes are read one at a time. A bad one is left out and the rest goes on.
        """


exporters: Registry[type[Exporter]] = Registry("exporter", __name__)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What went out, what did not and why."""

    target: str
    format: str
    written: tuple[Written, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default=())


def attempt(episode: str, write: Callable[[], Written]) -> Written | LeftOut:
    """Write one episode; whatever is wrong with it becomes a reason, so that the rest goes out."""
    try:
        return write()
    except StoreError as error:
        return LeftOut(episode, str(error), error.hint)
    except DemosError as error:
        return LeftOut(episode, str(error), error.hint or "look at it with `demos show`")


def export(
    chosen: Sequence[Chosen],
    target: Path,
    format: str,
    choices: Choices | None = None,
    *,
    progress: Progress | None = None,
) -> ExportReport:
    """Write episodes in one format: all that can go out, whole, or nothing under that name.

    Everything is made beside `target` and renamed at the end. Raises UnknownName for a format,
    StoreError where `target` exists or the disk refuses, ExportFailed where nothing could go out.
    """
    exporter = exporters[format]()
    target = Path(target)
    if os.path.lexists(target):
        raise StoreError(f"{target} is there already").with_hint(
            "an export never overwrites: name a path that is not there yet"
        )
    if not chosen:
        raise ExportFailed("no episode is chosen, so there is nothing to export").with_hint(
            "see what there is with `demos ls STORE`"
        )
    made = target.with_name(f".{target.name}.{new_id()[-8:]}.part")
    written: list[Written] = []
    left_out: list[LeftOut] = []
    try:
        with disk.doing(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            for item in exporter.write(chosen, made, choices or Choices()):
                (written if isinstance(item, Written) else left_out).append(item)  # type: ignore[arg-type]
                if progress is not None:
                    progress(len(written) + len(left_out), len(chosen), item.episode)
            if not written:
                _refuse(left_out)
            _sync(made)
            made.rename(target)
            disk.sync_folder(target.parent)
    except BaseException:
        if made.is_dir():
            shutil.rmtree(made, ignore_errors=True)
        else:
            made.unlink(missing_ok=True)
        raise
    return ExportReport(str(target), format, tuple(written), tuple(left_out))


def _refuse(left_out: Sequence[LeftOut]) -> None:
    first = left_out[0] if left_out else LeftOut("", "it wrote nothing")
    raise ExportFailed(f"nothing could go out: {first.episode}: {first.reason}").with_hint(
        first.hint or "look at the episode with `demos show`"
    )


def _sync(made: Path) -> None:
    """Wait until all that was made is on disk."""
    for folder, _, names in os.walk(made):
        for name in names:
            disk.sync_file(Path(folder, name))
        disk.sync_folder(Path(folder))
    if made.is_file():
        disk.sync_file(made)
