"""What a mapping file says of numbers and words, whatever kind of file they came from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.hdf5_episode import numbered
from demos.formats.joints import Columns
from demos.formats.steps import Ticks
from demos.mapping.conversion import Conversion
from demos.model import ChannelRole, MappedStream, Nanoseconds, Stream, StreamInfo

LOOK = "look at the recording and mend the mapping file"
_LONGEST_NS = 10**17


def table(parts: Sequence[npt.NDArray[Any]], said: MappedStream, name: str) -> npt.NDArray[Any]:
    """Join what lies at a stream's paths, columns picked: (n, C), or (n, ...) of more axes.

    Raises ImportFailed where they have other lengths, or columns that are not there.
    """
    if len({len(part) for part in parts}) > 1:
        told = ", ".join(f"{p} {len(v)}" for p, v in zip(said.paths, parts, strict=True))
        raise ImportFailed(f"the parts of {name} have other lengths: {told}").with_hint(LOOK)
    if len(parts) == 1 and parts[0].ndim > 2:
        if said.columns or said.role or said.names:
            raise ImportFailed(
                f"{name} has shape {parts[0].shape}, not samples and columns"
            ).with_hint(LOOK)
        return parts[0]
    if any(part.ndim > 2 for part in parts):
        raise ImportFailed(
            f"the parts of {name} cannot be joined: one has three axes or more"
        ).with_hint(LOOK)
    values = np.hstack([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts])
    if said.columns and max(said.columns) >= values.shape[1]:
        raise ImportFailed(
            f"{name} has {values.shape[1]} columns, column {max(said.columns)} is asked for"
        ).with_hint(LOOK)
    return values[:, list(said.columns)] if said.columns else values


def picked(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the columns that have the wanted names. Raises ImportFailed where one has not."""
    twice = [name for name, count in Counter(names).items() if count > 1 and name in wanted]
    if lacking := [name for name in wanted if name not in names]:
        told = ", ".join(names[:12]) or "none"
        raise ImportFailed(f"nothing is called {lacking[0]}; there are {told}").with_hint(LOOK)
    if twice:
        raise ImportFailed(f"two columns are called {twice[0]}").with_hint(LOOK)
    return [names.index(name) for name in wanted]


def joints(values: npt.NDArray[Any], said: MappedStream, name: str, role: ChannelRole) -> Columns:
    """Say of a table of joints what its columns are. Raises ImportFailed for other widths."""
    channels, units = _meaning(values, said, name)
    return Columns(values, channels, units, role, name, said.semantics, _note(said))


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
        note=_note(said),
    )
    made = Conversion(said.scale, said.offset).of(values)
    return Stream(clock.time_ns, np.ascontiguousarray(made), info, clock.source_time_ns)


def word_of(value: Any) -> str | None:
    """Return one plain value as a word: `true` and `false`, whole numbers without a point."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str | bool | int | float):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def zero_ns(clocks: Iterable[Nanoseconds]) -> int:
    """Return the earliest stamp of all clocks, with which time begins. Raises ImportFailed."""
    ends = [int(end) for clock in clocks if len(clock) for end in (clock.min(), clock.max())]
    if ends and max(ends) - min(ends) > _LONGEST_NS:
        raise ImportFailed("the stamps of its clocks lie more than three years apart").with_hint(
            "are their units right, and do they count from the same moment?"
        )
    return min(ends, default=0)


def measured(stamps: Nanoseconds, zero: int) -> Ticks:
    """Make a clock of stamps (n,) in ns that counts from `zero`; they are kept beside it."""
    began = f"time zero is the earliest stamp, {zero} ns of the source's clock"
    source = stamps if zero else None
    return Ticks(stamps - zero, "measured", None, source, (began,) if zero else ())


def no_clock(what: str) -> ImportFailed:
    """Say that nothing tells when samples were taken."""
    return ImportFailed(f"{what} has no clock").with_hint(
        "say `clock` of it, or of the whole file: a path of stamps, time (in a bag) or rate_hz"
    )


def _note(said: MappedStream) -> str:
    return said.note or f"from {' + '.join(said.paths)}"


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
            ).with_hint(LOOK)
    return channels, units
