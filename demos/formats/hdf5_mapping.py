"""Read an episode of somebody's own HDF5 file by the paths that a mapping file names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import hdf5, held
from demos.formats.hdf5_episode import nominal, numbered
from demos.formats.joints import Columns
from demos.formats.names import counted
from demos.formats.steps import Ticks
from demos.mapping.conversion import Conversion
from demos.model import ChannelRole, MappedClock, MappedStream, Nanoseconds, Stream, StreamInfo
from demos.model.bulk import slabs

_PER_UNIT = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_LONGEST_NS = 10**17
_LATEST_NS = 2**62
_LOOK = "look at it with `h5dump -H` and mend the mapping file"


def groups(file: Any, pattern: str) -> list[str]:
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
class MappedEpisode:
    """The group of one episode in an open file; `digest` hashes all that was read of it."""

    file: Any
    group: str = ""
    digest: Any = field(default_factory=hashlib.sha256)
    zero_ns: int = 0

    def place(self, path: str) -> str:
        """Return a path from the file's root."""
        return path if path.startswith("/") else f"{self.group}/{path}"

    def has(self, path: str) -> bool:
        """Say whether there are numbers at a path: a dataset, or a field of a compound one."""
        place = self.place(path)
        return hdf5.has(self.file, place) or self._compound(place) is not None

    def numbers(self, path: str) -> npt.NDArray[Any]:
        """Read numbers whole: (n, ...) in the source's dtype. Raises ImportFailed."""
        place = self.place(path)
        compound = self._compound(place)
        values = hdf5.array(self.file, place) if compound is None else _field(*compound)
        if values.ndim == 0:
            raise ImportFailed(f"{path} is one number, not one a sample").with_hint(_LOOK)
        self.digest.update(f"{path} {values.dtype.str} {values.shape}\n".encode())
        for _, rows in slabs(np.ascontiguousarray(values)):
            self.digest.update(rows.tobytes())
        return values

    def word(self, path: str) -> str | None:
        """Read an attribute (`group@name`) or a scalar as text; None where it is not there.

        Truth values become `true` and `false`, whole numbers have no point.
        """
        before, at, name = path.rpartition("@")
        place = self.place(before if at else path)
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
                value = hdf5.array(self.file, place).ravel().tolist()
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or isinstance(value, list):
            return None
        said = str(value).lower() if isinstance(value, bool) else str(value)
        if isinstance(value, float) and value.is_integer():
            said = str(int(value))
        self.digest.update(f"{path} {said}\n".encode())
        return said

    def stamps(self, clock: MappedClock) -> Nanoseconds:
        """Read stamps as (n,) ns of the source's own time. Raises ImportFailed."""
        raw = self.numbers(clock.path)
        raw = raw.reshape(len(raw), math.prod(raw.shape[1:]))
        if raw.shape[1] != 1 or raw.dtype.kind not in "iuf":
            raise ImportFailed(
                f"{clock.path} is no list of stamps: {raw.dtype} {raw.shape}"
            ).with_hint(_LOOK)
        column, factor = raw[:, 0], _PER_UNIT[clock.unit]
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

    def set_zero(self, clocks: Iterable[MappedClock]) -> None:
        """Let time begin with the earliest stamp of all clocks. Raises ImportFailed."""
        ends = []
        for clock in {clock.path: clock for clock in clocks if clock.path}.values():
            if self.has(clock.path) and len(stamps := self.stamps(clock)):
                ends += [int(stamps.min()), int(stamps.max())]
        self.zero_ns = min(ends, default=0)
        if ends and max(ends) - min(ends) > _LONGEST_NS:
            raise ImportFailed(
                "the stamps of its clocks lie more than three years apart"
            ).with_hint("are their units right, and do they count from the same moment?")

    def ticks(self, clock: MappedClock | None, rows: int, what: str) -> Ticks:
        """Make the clock of `rows` samples. Raises ImportFailed where stamps and samples differ."""
        if clock is None:
            raise ImportFailed(f"{what} has no clock").with_hint(
                "say `clock` of it, or of the whole file: a path of stamps or rate_hz"
            )
        if clock.rate_hz is not None:
            return nominal(rows, clock.rate_hz)
        if not self.has(clock.path):
            raise ImportFailed(f"the stamps {clock.path} of {what} are not there").with_hint(_LOOK)
        stamps = self.stamps(clock)
        if len(stamps) != rows:
            raise ImportFailed(
                f"{what} has {rows} samples for {len(stamps)} stamps at {clock.path}"
            ).with_hint(_LOOK)
        began = f"time zero is the earliest stamp, {self.zero_ns} ns of the source's clock"
        return Ticks(
            stamps - self.zero_ns,
            "measured",
            None,
            stamps if self.zero_ns else None,
            (began,) if self.zero_ns else (),
        )

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
        raise ImportFailed(f"the field {name} holds {kind}, not plain numbers").with_hint(_LOOK)
    held.bounded(f"the field {name}", found.size * found.dtype.itemsize)
    try:
        values = held.counted(np.ascontiguousarray(found[name]))
    except Exception as error:
        raise ImportFailed(f"the field {name} cannot be read: {error}").with_hint(_LOOK) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def table(source: MappedEpisode, said: MappedStream, name: str) -> npt.NDArray[Any]:
    """Read a stream's datasets side by side, columns picked: (n, C), or (n, ...) of more axes.

    Raises ImportFailed where they have other lengths, or columns that are not there.
    """
    parts = [source.numbers(path) for path in said.paths]
    if len({len(part) for part in parts}) > 1:
        told = ", ".join(f"{p} {len(v)}" for p, v in zip(said.paths, parts, strict=True))
        raise ImportFailed(f"the datasets of {name} have other lengths: {told}").with_hint(_LOOK)
    if len(parts) == 1 and parts[0].ndim > 2:
        if said.columns or said.role:
            raise ImportFailed(
                f"{name} has shape {parts[0].shape}, not samples and columns"
            ).with_hint(_LOOK)
        return parts[0]
    if any(part.ndim > 2 for part in parts):
        raise ImportFailed(
            f"the datasets of {name} cannot be joined: one has three axes or more"
        ).with_hint(_LOOK)
    values = np.hstack([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts])
    if said.columns and max(said.columns) >= values.shape[1]:
        raise ImportFailed(
            f"{name} has {values.shape[1]} columns, column {max(said.columns)} is asked for"
        ).with_hint(_LOOK)
    return values[:, list(said.columns)] if said.columns else values


def joints(values: npt.NDArray[Any], said: MappedStream, name: str, role: ChannelRole) -> Columns:
    """Say of a table of joints what its columns are. Raises ImportFailed for other widths."""
    channels, units = _meaning(values, said, name)
    note = said.note or f"HDF5 {' + '.join(said.paths)}"
    return Columns(values, channels, units, role, name, said.semantics, note)


def stream(values: npt.NDArray[Any], said: MappedStream, name: str, clock: Ticks) -> Stream:
    """Make a stream, converted. Raises ImportFailed where names or units do not fit its width."""
    channels, units = _meaning(values, said, name)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    info = StreamInfo(
        units=units,
        channels=channels,
        clock=clock.clock,
        rate_hz=clock.rate_hz,
        shape=values.shape[1:] if values.ndim > 2 else None,
        reference_frame=said.reference_frame,
        of_frame=said.of_frame,
        semantics=said.semantics,
        note=said.note or f"HDF5 {' + '.join(said.paths)}",
    )
    made = Conversion(said.scale, said.offset).of(values)
    return Stream(clock.time_ns, np.ascontiguousarray(made), info, clock.source_time_ns)


def _meaning(
    values: npt.NDArray[Any], said: MappedStream, name: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    width = 1 if values.ndim > 2 else values.shape[1]
    channels = said.channels or numbered(name.rsplit(".", 1)[-1], width)
    units = said.units or ("unknown",)
    units = units * width if len(units) == 1 else units
    for what, found in (("channels", channels), ("units", units)):
        if len(found) != width:
            raise ImportFailed(
                f"{name} has {width} columns, the mapping file gives it {len(found)} {what}"
            ).with_hint(_LOOK)
    return channels, units
