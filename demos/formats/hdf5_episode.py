"""One HDF5 file that holds one episode: which files those are, and what else lies in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed
from demos.formats import hdf5
from demos.formats.files import plain_json
from demos.formats.hdf5_images import LOSSY, SWAPPED, Encode, video
from demos.formats.names import counted, word
from demos.formats.notes import Notes
from demos.formats.steps import Ticks, refuse_endless, ticks
from demos.model import Stream, StreamInfo, VideoFile

_SUFFIXES = frozenset({".hdf5", ".h5"})
_LOOKED_AT = 5
_MOST_CHANNELS = 4096
_FEW = 64


def files(path: Path) -> list[Path]:
    """List the episode files: `path` itself, or the HDF5 files in it, by number.

    Raises ImportFailed for a folder without any.
    """
    if not path.is_dir():
        return [path]
    inside = [file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file()]
    if not inside:
        raise ImportFailed(f"{path.name} holds no HDF5 file").with_hint(
            "name the folder in which the episodes' .hdf5 files lie"
        )
    return sorted(inside, key=lambda file: counted(file.stem))


def claimed(path: Path, fits: Callable[[frozenset[str]], bool]) -> bool:
    """Say whether one of the first files of a source has the datasets that `fits` asks for."""
    try:
        return any(fits(hdf5.places(file)) for file in files(path)[:_LOOKED_AT])
    except (DemosError, OSError, ValueError):
        return False


@dataclass(slots=True)
class EpisodeFile:
    """An open file on its way into an episode. What was `used` of it is not read again.

    `encode` is `demos.store.encoding.encode`; `scratch` is a folder for videos; `numbers_only`
    leaves the images alone.
    """

    path: Path
    file: Any
    notes: Notes
    encode: Encode
    scratch: Path
    numbers_only: bool = False
    used: set[str] = field(default_factory=set)

    def has(self, place: str) -> bool:
        """Say whether a dataset is there."""
        return hdf5.has(self.file, place)

    def table(self, place: str) -> npt.NDArray[Any]:
        """Read numbers as (n, C), a column for plain rows. Raises ImportFailed."""
        self.used.add(place)
        values = hdf5.array(self.file, place)
        if values.dtype == np.bool_:
            values = values.astype(np.uint8)
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2 or not values.size:
            raise ImportFailed(f"{place} has shape {values.shape}, not steps and values").with_hint(
                "look at it with `h5dump -H`; the file was damaged or has another layout"
            )
        return values

    def camera(self, place: str, name: str, clock: Ticks) -> VideoFile | None:
        """Make the video of a dataset of images, one a step; a finding where that fails."""
        self.used.add(place)
        if self.numbers_only:
            return None
        target = self.scratch / f"{len(self.used)}_{word(name)}.mp4"
        try:
            made = video(self.file, place, clock, target, self.encode)
        except DemosError as error:
            self.notes.missing.append(f"images of {place}")
            hint = error.hint or "look at the images in the source"
            self.notes.find(
                "missing_video", f"no images of {name}: {error}", hint, stream=f"image.{name}"
            )
            return None
        saying = SWAPPED if made.info.codec == "mjpeg" else LOSSY
        if made.info.codec != "png":
            self.notes.assumed.append(saying.format(name))
        return made

    def rest(self, steps: int, clock: Ticks) -> tuple[dict[str, Stream], dict[str, Any]]:
        """Keep whatever is left: numbers of one row a step as streams, few values as parameters.

        What can be neither is named as missing.
        """
        streams: dict[str, Stream] = {}
        parameters: dict[str, Any] = {}
        places = hdf5.places(self.path)
        if len(places) >= hdf5.MOST_LISTED:
            self.notes.missing.append(f"all datasets but the first {hdf5.MOST_LISTED}")
        for place in sorted(places - self.used, key=counted):
            self.used.add(place)
            name = _stream_name(place)
            try:
                found = hdf5.dataset(self.file, place)
                if found.dtype.kind not in "biuf":
                    texts = hdf5.texts(self.file, place)
                    if len(texts) > _FEW:
                        raise ImportFailed(f"{len(texts)} texts")
                    parameters[place] = texts if len(texts) > 1 else "".join(texts)
                elif found.ndim and found.shape[0] == steps and steps > 1:
                    streams[name] = kept(place, hdf5.array(self.file, place), clock)
                elif found.size <= _FEW:
                    parameters[place] = plain_json(hdf5.array(self.file, place).tolist())
                else:
                    raise ImportFailed(f"shape {found.shape} for {steps} steps")
            except DemosError as error:
                self.notes.missing.append(f"{place}: {error}")
                self.notes.find("dataset", f"{place} could not be kept: {error}")
        return streams, parameters


def _stream_name(place: str) -> str:
    short = re.sub(r"^(observations|obs|observation)[/.]", "", place)
    short = re.sub(r"^(images_depth|depth_images)/", "depth/", short)
    return word(short.replace("/", "."))


def kept(place: str, values: npt.NDArray[Any], clock: Ticks) -> Stream:
    """Keep a dataset of one row a step under names made of its own, units unknown."""
    short = place.rsplit("/", 1)[-1]
    values = values[:, None] if values.ndim == 1 else values
    shape = values.shape[1:] if values.ndim > 2 else None
    channels = numbered(short, 1 if shape else values.shape[1])
    if len(channels) > _MOST_CHANNELS or not values.size:
        raise ImportFailed(f"it has shape {values.shape}")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    info = StreamInfo(
        units=("unknown",) * len(channels),
        channels=channels,
        clock=clock.clock,
        rate_hz=clock.rate_hz,
        shape=shape,
        note=f"HDF5 dataset {place}",
    )
    return Stream(clock.time_ns, np.ascontiguousarray(values), info, clock.source_time_ns)


def numbered(name: str, width: int) -> tuple[str, ...]:
    """Name the columns of a dataset that has no names: `name`, or `name_0`, `name_1`, ..."""
    return (name,) if width == 1 else tuple(f"{name}_{n}" for n in range(width))


def same_length(found: Iterable[tuple[str, int]]) -> int:
    """Return how many steps an episode has. Raises ImportFailed where datasets disagree."""
    lengths = dict(found)
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{place} {length}" for place, length in lengths.items())
        raise ImportFailed(f"the datasets have different numbers of steps: {told}").with_hint(
            "the file was edited or cut short; copy it again from its source"
        )
    steps = next(iter(lengths.values()))
    refuse_endless(steps)
    return steps


def rows_of(file: Any, place: str, count: int, noun: str, notes: Notes) -> npt.NDArray[Any] | None:
    """Read a table of at least `count` rows: (rows, ...); None, and a note, where it has fewer."""
    from demos.formats import held

    try:
        shape = hdf5.dataset(file, place).shape
        held.few_columns(place, math.prod(shape[1:]))  # however many axes: no images are here
        held.bounded(place, 8 * math.prod(shape))
        table = hdf5.array(file, place)
        if table.ndim == 0 or len(table) < count or not table.size:
            raise ImportFailed(f"{table.shape} values for {count} {noun}").with_hint(
                f"it is not said which {noun} they belong to; look at the file with `h5dump -d`"
            )
    except ImportFailed as error:
        notes.missing.append(f"{place}: {error}")
        notes.find("column", f"{place} could not be kept: {error}", error.hint)
        return None
    return table


def nominal(steps: int, rate_hz: float) -> Ticks:
    """Make the clock of steps that have nothing but a rate."""
    return ticks(None, steps, rate_hz)


def plain_attributes(file: Any) -> dict[str, Any]:
    """Return the short attributes of a file, fit for `parameters`."""
    return {
        name: plain_json(value)
        for name, value in hdf5.attributes(file).items()
        if not isinstance(value, str | list) or len(value) <= 1000
    }
