"""An episode of somebody's own HDF5 file, read by the paths that a mapping file names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import hdf5, held
from demos.formats.hdf5_episode import nominal
from demos.formats.hdf5_images import LOSSY, SWAPPED, Rgb, video
from demos.formats.mapped_pictures import Filming, Reel
from demos.formats.mapped_streams import LOOK, measured, no_clock, picked, table, word_of, zero_ns
from demos.formats.messages import PER_UNIT
from demos.formats.names import counted
from demos.formats.notes import Notes
from demos.formats.ros_clocks import Clock
from demos.formats.steps import Ticks
from demos.model import (
    MappedClock,
    MappedStream,
    MappingFile,
    Nanoseconds,
    VideoFile,
)
from demos.model.bulk import slabs
from demos.provenance import sha256_file

_LATEST_NS = 2**62


def groups_of(file: Any, pattern: str) -> list[str]:
    """List the groups that fit a pattern such as `data/demo_*`, by number; [""] for the root."""
    found = [""]
    for part in (part for part in pattern.split("/") if part):
        found = [
            f"{group}/{name}"
            for group in found
            for name in sorted(hdf5.names(file, group or "/"), key=counted)
            if fnmatchcase(name, part)
        ]
    return found


@dataclass(slots=True)
class MappedGroup:
    """The group of one episode in an open file; `digest` hashes all that was read of it."""

    path: Path
    file: Any
    group: str = ""
    format: str = "mapped hdf5"
    digest: Any = field(default_factory=hashlib.sha256)
    zero_ns: int = 0

    def begin(self, said: MappingFile) -> None:
        """Let time begin with the earliest stamp of all clocks. Raises ImportFailed."""
        clocks = [said.clock, *(each.clock for each in said.streams.values())]
        clocks += [each.clock for each in said.cameras.values()]
        by_path = {clock.path: clock for clock in clocks if clock is not None and clock.path}
        there = [clock for clock in by_path.values() if self._has(clock.path)]
        self.zero_ns = zero_ns(self._stamps(clock) for clock in there)

    def began(self) -> datetime | None:
        """Return no date: stamps of HDF5 files count from anywhere."""
        return None

    def tell(self, notes: Notes) -> None:
        """Say nothing: what is damaged is refused."""

    def sha256(self, root: Path) -> dict[str, str]:
        """Hash the file, or what was read of the group, so that others may be added to the file."""
        place = self.path.relative_to(root).as_posix()
        if self.group:
            return {f"{place}#{self.group}": self.digest.hexdigest()}
        return {place: sha256_file(self.path)}

    def lacking(self, name: str, said: MappedStream) -> list[str]:
        """List the paths of a stream at which there is nothing."""
        del name
        return [path for path in said.paths if not self._has(path)]

    def samples(
        self, name: str, said: MappedStream, clock: MappedClock | None
    ) -> tuple[npt.NDArray[Any], Ticks]:
        """Read the numbers of a stream (n, ...) and their clock. Raises ImportFailed."""
        values = table([self._numbers(path) for path in said.paths], said, name)
        if said.names:
            values = values[:, picked(self._names(said.names, values.shape[1]), said.channels)]
        return values, self.ticks(clock, len(values), name)

    def word(self, path: str) -> str | None:
        """Read an attribute (`group@name`) or a scalar as text; None where it is not there.

        Truth values become `true` and `false`, whole numbers have no point.
        """
        before, at, name = path.rpartition("@")
        place = self._place(before if at else path)
        value: Any
        if at:
            try:
                value = hdf5.attributes(self.file, place).get(name)
            except ImportFailed:
                return None
        elif not hdf5.has(self.file, place):
            return None
        else:
            try:
                value = hdf5.text(self.file, place)
            except ImportFailed:
                value = hdf5.array(self.file, place).ravel()
        if (said := word_of(value)) is not None:
            self.digest.update(f"{path} {said}\n".encode())
        return said

    def images(self, filming: Filming) -> VideoFile:
        """Write the images at a camera's path as a video. Raises ImportFailed, RecordingFailed."""
        name, said, notes = filming.name, filming.said, filming.notes
        place = self._place(said.path)
        ticks = self.ticks(filming.clock, len(hdf5.dataset(self.file, place)), name)
        if said.codec or said.width:
            return self._bytes(filming, ticks)
        swapped = said.order == "bgr"

        def encode(path: Path, images: Iterable[Rgb], *rest: Any) -> Any:
            turned = (image[:, :, ::-1] for image in images) if swapped else images
            return filming.film.encode(path, turned, *rest)

        made = video(self.file, place, ticks, filming.target, encode, digest=self.digest, grey=True)
        if made.info.codec == "h264":
            notes.assumed.append(LOSSY.format(name))
        elif swapped:
            info = made.info.model_copy(update={"note": "red and blue are swapped"})
            return VideoFile(made.path, info, made.time_ns)
        elif made.info.codec == "mjpeg":
            notes.assumed.append(SWAPPED.format(name))
        return made

    def ticks(self, clock: MappedClock | None, rows: int, what: str) -> Ticks:
        """Make the clock of `rows` samples. Raises ImportFailed where stamps and samples differ."""
        if clock is None:
            raise no_clock(what)
        if clock.rate_hz is not None:
            return nominal(rows, clock.rate_hz)
        if clock.time is not None:
            raise ImportFailed(f"{what}: an HDF5 file has no {clock.time} time").with_hint(
                "say the path of the stamps, or rate_hz"
            )
        if not self._has(clock.path):
            raise ImportFailed(f"the stamps {clock.path} of {what} are not there").with_hint(LOOK)
        stamps = self._stamps(clock)
        if len(stamps) != rows:
            raise ImportFailed(
                f"{what} has {rows} samples for {len(stamps)} stamps at {clock.path}"
            ).with_hint(LOOK)
        return measured(stamps, self.zero_ns)

    def _bytes(self, filming: Filming, ticks: Ticks) -> VideoFile:
        """Write rows of bytes of which the mapping file says what they are."""
        said = filming.said
        reel = Reel(said, filming.target.with_suffix(".images"))
        try:
            for moment, row in zip(ticks.time_ns.tolist(), self._rows(said.path), strict=True):
                reel.add(moment, 0, row)
            left = replace(ticks, time_ns=ticks.time_ns[reel.early :])
            return reel.video(filming, Clock(left.time_ns), left)
        finally:
            reel.close()

    def _rows(self, path: str) -> Iterator[npt.NDArray[Any]]:
        for row in hdf5.byte_rows(self.file, self._place(path)):
            self.digest.update(row.tobytes())
            yield row

    def _place(self, path: str) -> str:
        """Return a path from the file's root."""
        return path if path.startswith("/") else f"{self.group}/{path}"

    def _has(self, path: str) -> bool:
        """Say whether there are numbers at a path: a dataset, or a field of a compound one."""
        place = self._place(path)
        return hdf5.has(self.file, place) or self._compound(place) is not None

    def _numbers(self, path: str) -> npt.NDArray[Any]:
        """Read numbers whole: (n, ...) in the source's dtype. Raises ImportFailed."""
        place = self._place(path)
        compound = self._compound(place)
        values = hdf5.array(self.file, place) if compound is None else _field(*compound)
        if values.ndim == 0:
            raise ImportFailed(f"{path} is one number, not one a sample").with_hint(LOOK)
        self.digest.update(f"{path} {values.dtype.str} {values.shape}\n".encode())
        for _, rows in slabs(np.ascontiguousarray(values)):
            self.digest.update(rows.tobytes())
        return values

    def _names(self, path: str, width: int) -> list[str]:
        """Read a list of texts, a dataset or an attribute (`group@name`). Raises ImportFailed."""
        before, at, name = path.rpartition("@")
        found: Any = None
        if at:
            found = hdf5.attributes(self.file, self._place(before)).get(name)
        elif hdf5.has(self.file, self._place(path)):
            found = hdf5.texts(self.file, self._place(path))
        names = [str(each) for each in found] if isinstance(found, list) else []
        if len(names) != width:
            raise ImportFailed(f"{path} has {len(names)} names for {width} columns").with_hint(LOOK)
        self.digest.update(f"{path} {names}\n".encode())
        return names

    def _stamps(self, clock: MappedClock) -> Nanoseconds:
        """Read stamps as (n,) ns of the source's own time. Raises ImportFailed."""
        raw = self._numbers(clock.path)
        raw = raw.reshape(len(raw), math.prod(raw.shape[1:]))
        if raw.shape[1] != 1 or raw.dtype.kind not in "iuf":
            raise ImportFailed(
                f"{clock.path} is no list of stamps: {raw.dtype} {raw.shape}"
            ).with_hint(LOOK)
        column, factor = raw[:, 0], PER_UNIT[clock.unit]
        if column.dtype.kind == "f":
            column = column.astype(np.float64)
        largest = _LATEST_NS // factor
        # NaN fails both comparisons
        if not bool(((column >= -largest) & (column <= largest)).all()):
            raise ImportFailed(
                f"{clock.path} holds stamps that are no moments in {clock.unit}"
            ).with_hint("is its unit right? mend the mapping file, or the stamps in the source")
        if column.dtype.kind != "f":
            return column.astype(np.int64) * factor
        # the whole part by itself: seconds since 1970 in ns do not fit into float64
        whole = np.floor(column)
        rest = np.rint((column - whole) * factor)
        stamps: Nanoseconds = whole.astype(np.int64) * factor + rest.astype(np.int64)
        return stamps

    def _compound(self, place: str) -> tuple[Any, str] | None:
        """Return the compound dataset of which `place` is a field, and the field's name."""
        table, _, name = place.rpartition("/")
        if not table or not hdf5.has(self.file, table):
            return None
        found = hdf5.dataset(self.file, table)
        return (found, name) if name in (found.dtype.names or ()) else None


def _field(found: Any, name: str) -> npt.NDArray[Any]:
    """Read one field of a compound dataset: (n, ...). Raises ImportFailed."""
    kind = found.dtype[name]
    if kind.base.kind not in "biuf" or kind.base.itemsize > 8 or found.ndim != 1:
        raise ImportFailed(f"the field {name} holds {kind}, not plain numbers").with_hint(LOOK)
    held.bounded(f"the field {name}", found.size * found.dtype.itemsize)
    try:
        values = held.counted(np.ascontiguousarray(found[name]))
    except Exception as error:
        raise ImportFailed(f"the field {name} cannot be read: {error}").with_hint(LOOK) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)
