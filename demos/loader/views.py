"""What each stream and camera says at the steps: made once, memory-mapped from then on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demos import timeline
from demos.errors import Damaged
from demos.loader import proxies
from demos.loader.cache import Cache
from demos.loader.choices import IMAGE, LoadFailed, Progress
from demos.loader.grid import Grid, held
from demos.loader.reels import Reel, ReelWriter
from demos.model import Episode, Nanoseconds
from demos.store import EpisodeStore

VERSION = 1
VALUES, PAD = "values.npy", "pad.npy"
Pad = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One stream or camera at all steps.

    values: (rows, ...) of the stream, or (rows,) int32 numbers of images. pad: (rows,) bool,
    whether there was nothing to say at that step; None where there always was. folder: where the
    view lies. reel: the videos of a camera.
    """

    values: npt.NDArray[Any]
    pad: Pad | None
    folder: Path
    reel: Reel | None = None


def views(
    store: EpisodeStore,
    grid: Grid,
    cache: Cache,
    size: tuple[int, int] | None,
    progress: Progress | None = None,
) -> dict[str, View]:
    """Open the view of every stream and camera of the grid; make those that are missing."""
    keys = {
        name: grid.key(name, VERSION, layout.dtype, size if name.startswith(IMAGE) else None)
        for name, layout in grid.layouts.items()
    }
    videos = store.root if size is None else cache.folder
    for _ in range(2):
        missing = {name: key for name, key in keys.items() if key not in cache}
        if missing:
            _make(store, grid, cache, missing, size, progress)
        opened = {
            name: _open(cache.path(key), grid.rows, videos if name.startswith(IMAGE) else None)
            for name, key in keys.items()
        }
        broken = [name for name, view in opened.items() if view is None]
        if not broken:
            break
        for name in broken:
            cache.forget(keys[name])
    found = {name: view for name, view in opened.items() if view is not None}
    if len(found) < len(keys):
        raise LoadFailed(f"the cache {cache.folder} does not keep what is written to it").with_hint(
            "check the disk; the folder may be deleted at any time"
        )
    return found


def _open(folder: Path, rows: int, videos: Path | None) -> View | None:
    """Open a view, or None where its files are not whole. `videos` is where a camera's begin."""
    try:
        values = np.load(folder / VALUES, mmap_mode="r")
        pad = np.load(folder / PAD, mmap_mode="r")
        reel = None if videos is None else Reel(folder, videos)
    except (OSError, ValueError, EOFError):
        return None
    if len(values) != rows or pad.shape != (rows,) or (reel is not None and not reel.whole()):
        return None
    # plain arrays over the same memory: indexing a memmap costs as much again for its subclass
    known = pad.view(np.ndarray) if pad.any() else None
    return View(values.view(np.ndarray), known, folder, reel)


class Writer(Protocol):
    """What fills a view, one episode after another."""

    def add(self, episode: Episode, number: int, moments: Sequence[Nanoseconds]) -> None:
        """Take in the parts of source `number`, whose steps are at `moments`."""

    def close(self) -> None:
        """Write what is left."""


def _make(
    store: EpisodeStore,
    grid: Grid,
    cache: Cache,
    missing: Mapping[str, str],
    size: tuple[int, int] | None,
    progress: Progress | None,
) -> None:
    cameras = [name.removeprefix(IMAGE) for name in missing if name.startswith(IMAGE)]
    if size is not None and cameras:
        proxies.make(store, grid.sources, cameras, size, cache, progress)
    with ExitStack() as stack:
        writers: dict[str, Writer] = {}
        for name, key in missing.items():
            folder = stack.enter_context(cache.making(key))
            folder.mkdir()
            about = {"of": name, "rate_hz": grid.rate_hz, "rows": grid.rows, "version": VERSION}
            (folder / "about.json").write_text(json.dumps(about))
            if name.startswith(IMAGE):
                writers[name] = ReelWriter(folder, grid, name, cache, size)
            else:
                writers[name] = StreamWriter(folder, grid, name)
        for number, (source, parts) in enumerate(zip(grid.sources, grid.parts_of(), strict=True)):
            moments = [grid.moments(part) for part in parts]
            try:
                episode = store.episode(source.episode)
                for writer in writers.values():
                    writer.add(episode, number, moments)
            except Damaged as error:
                raise LoadFailed(f"episode {source.episode}: {error}").with_hint(
                    f"leave it out (id != '{source.episode}'), or {error.hint or 'repair it'}"
                ) from error
            if progress is not None:
                progress(number + 1, len(grid.sources))
        for writer in writers.values():
            writer.close()


class StreamWriter:
    """Hold a stream at the steps: its latest sample at or before each."""

    def __init__(self, folder: Path, grid: Grid, name: str) -> None:
        self._name, self._limits, self._folder = name, grid.limits_ns[name], folder
        self._dtype = np.dtype(grid.layouts[name].dtype)
        self._pads: list[Pad] = []
        shape = (grid.rows, *grid.layouts[name].shape)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        with (folder / VALUES).open("xb") as file:
            np.lib.format.write_array_header_1_0(file, header)

    def add(self, episode: Episode, number: int, moments: Sequence[Nanoseconds]) -> None:
        """Take in one episode."""
        stream = timeline.repaired(episode.streams[self._name])
        # written, not mapped: a full disk is an error for a file, and a signal for a map
        with (self._folder / VALUES).open("ab") as file:
            for steps in moments:
                last, pad = held(stream.time_ns, steps, self._limits[number])
                self._pads.append(pad)
                file.write(np.ascontiguousarray(stream.values[last], self._dtype).data)

    def close(self) -> None:
        """Write which steps are padded."""
        np.save(self._folder / PAD, np.concatenate(self._pads))
