"""Columns of joint values become streams: under the body's names where it knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos import mapping
from demos.formats import held
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks
from demos.mapping.conversion import assumed_joints
from demos.model import Stream, StreamInfo

OPAQUE = (
    "opaque: what a policy is to put out at this row; "
    "the source does not say whether it is absolute or relative"
)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of one meaning: values (n, C), a name and a unit per column, and what they say.

    `kept_as` names the stream of columns that the body does not know (`state`, `action`).
    Raises ImportFailed for more columns than there are channels anywhere.
    """

    values: npt.NDArray[Any]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    role: mapping.Role
    kept_as: str
    semantics: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        held.few_columns(self.kept_as, len(self.channels))


def joint_streams(
    columns: Columns,
    ticks: Ticks,
    sitting: Sitting,
    *,
    ignore: Sequence[str] = (),
    accept_mapping: bool = False,
) -> dict[str, Stream]:
    """Sort columns into the streams of the body by name; the rest keeps the source's names.

    The rest is called `<kept_as>.unmapped` where the body has a stream of that name. Numbers and
    dtype are the source's own, but for what its mapping converts; joints that it says are absent
    become a stream of their own. Raises ImportFailed where two channels speak of one joint, and
    where a channel is unknown to a body that a person named or that has a mapping for this
    source, unless `accept_mapping`.
    """
    made: dict[str, Stream] = {}
    left = [n for n, name in enumerate(columns.channels) if name not in set(ignore)]
    if sitting.body is not None:
        joined = mapping.connect(
            columns.channels,
            sitting.body,
            role=columns.role,
            source=sitting.source,
            ignore=ignore,
            keep_repeated=accept_mapping,
        )
        strict = sitting.chosen or sitting.source is not None
        if strict and not joined.complete and not accept_mapping:
            raise mapping.explain(joined, sitting.body)
        made |= mapping.streams(
            columns.values,
            joined,
            sitting.body,
            columns.role,
            ticks.time_ns,
            source_time_ns=ticks.source_time_ns,
            clock=ticks.clock,
            rate_hz=ticks.rate_hz,
        )
        if sitting.source is not None and columns.role == "state":
            made |= assumed_joints(sitting.source, sitting.body, made)
        unknown = set(joined.unknown)
        used = {link.column for link in joined.links}
        left = [n for n in left if n not in used and columns.channels[n] in unknown]
    if left:
        taken = columns.kept_as in made
        name = f"{columns.kept_as}.unmapped" if taken else columns.kept_as
        made[name] = kept(columns, left, ticks)
    return made


def known_names(channels: Sequence[str], sitting: Sitting) -> tuple[str, ...]:
    """Return the body's names of channels where it knows them, the source's own elsewhere."""
    if sitting.body is None:
        return tuple(channels)
    links = mapping.connect(channels, sitting.body).links
    ours = {link.channel: link.joint.name for link in links}
    return tuple(ours.get(channel, channel) for channel in channels)


def kept(columns: Columns, chosen: Sequence[int], ticks: Ticks) -> Stream:
    """Keep columns under the source's own names and units."""
    info = StreamInfo(
        units=tuple(columns.units[n] for n in chosen),
        channels=tuple(columns.channels[n] for n in chosen),
        clock=ticks.clock,
        rate_hz=ticks.rate_hz,
        semantics=columns.semantics,
        note=columns.note,
    )
    values = np.ascontiguousarray(columns.values[:, list(chosen)])
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    return Stream(ticks.time_ns, values, info, ticks.source_time_ns)
