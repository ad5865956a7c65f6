"""Numbers of a source become a joint's: by unit, sign, scale and offset, and exactly where alike.

What a source says of a body in other words is its `SourceMapping`; the body's own words need none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.model import (
    AbsentJoint,
    ChannelMapping,
    ChannelRole,
    Embodiment,
    Joint,
    SourceMapping,
    Stream,
    StreamInfo,
    Values,
)

Floats = npt.NDArray[np.float64]

PER_DEGREE = float(np.pi / 180)
ASSUMED = "joint_position.assumed"
"""The stream of joints that a source lacks: held or mimicking, never measured."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """From a source's number to a joint's: `slope` times the number plus `intercept`."""

    slope: float = 1.0
    intercept: float = 0.0

    @property
    def exact(self) -> bool:
        """Say whether numbers are left as they are."""
        return self.slope == 1.0 and self.intercept == 0.0

    def of(self, values: Values) -> Values:
        """Convert numbers: in float64, then rounded once to the source's own float dtype.

        Whole numbers become float64. Where nothing changes, the very numbers are returned.
        """
        if self.exact:
            return values
        if self.slope == -1.0 and self.intercept == 0.0 and values.dtype.kind == "f":
            return -values
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        changed: Values = (values.astype(np.float64) * self.slope + self.intercept).astype(kind)
        return changed


AS_IT_IS = Conversion()


def conversion(channel: ChannelMapping, joint: Joint, role: ChannelRole) -> Conversion:
    """Work out a channel's conversion: positions by their units, rates without the offset.

    An effort is turned by the sign and scaled where a scale is given; units of position say
    nothing of it. Raises ImportFailed where a unit cannot become the joint's.
    """
    if role == "effort":
        return Conversion(channel.sign * (channel.scale or 1.0), channel.offset or 0.0)
    theirs, ours, usual = channel.unit or joint.unit, joint.unit, 0.0
    if channel.scale is not None:
        factor = channel.scale
    elif theirs == ours:
        factor = 1.0
    elif (theirs, ours) in (("deg", "rad"), ("rad", "deg")):
        factor = PER_DEGREE if theirs == "deg" else 1 / PER_DEGREE
    elif theirs == "norm01":
        factor = joint.upper - joint.lower
        usual = joint.lower if channel.sign > 0 else joint.upper
    else:
        raise ImportFailed(
            f"{channel.source} in {theirs} cannot become {joint.name} in {ours}"
        ).with_hint("say by a scale how much of the joint's unit one of the source's is")
    if role == "velocity":
        return Conversion(channel.sign * factor)
    return Conversion(
        channel.sign * factor, channel.offset if channel.offset is not None else usual
    )


def source_for(body: Embodiment, *names: str) -> tuple[str, SourceMapping] | None:
    """Find how a source speaks of a body, by the first of `names` that the body knows it by."""
    known = {plain(name): name for name in body.sources}
    for name in names:
        if name and (found := known.get(plain(name))) is not None:
            return found, body.sources[found]
    return None


def words(name: str, source: SourceMapping, body: Embodiment) -> list[str]:
    """Say for the provenance what a source's mapping changes and what it makes up."""
    joints = {joint.name: joint for joint in body.joints}
    said = []
    for channel in source.channels:
        joint = joints[channel.joint]
        made = conversion(channel, joint, channel.role or "state")
        if not made.exact:
            said.append(
                f"mapping {name}: {channel.source} in {channel.unit or joint.unit} becomes "
                f"{joint.name} = {made.slope:.17g} * {channel.source} + {made.intercept:.17g} "
                f"{joint.unit}"
            )
    if said:
        said.append("converted numbers are rounded once to the source's dtype")
    for joint_name, absent in source.absent.items():
        said.append(f"mapping {name}: the source lacks {joint_name}, {_where(absent)} in {ASSUMED}")
    return said


def assumed_joints(
    source: SourceMapping, body: Embodiment, made: Mapping[str, Stream]
) -> dict[str, Stream]:
    """Make the stream of the joints that a source lacks, at the stamps of `joint_position`.

    A joint whose original was not recorded either is left out. Empty where there is none.
    """
    base = made.get("joint_position")
    if base is None or not source.absent:
        return {}
    columns: dict[str, Floats] = {}
    for joint in body.joints:
        absent = source.absent.get(joint.name)
        if absent is None or joint.name in base.channels:
            continue
        if absent.hold is not None:
            columns[joint.name] = np.full(len(base), absent.hold)
        elif (other := _channel(made.values(), absent.mimic, len(base))) is not None:
            columns[joint.name] = absent.coefficient * other + absent.offset
    if not columns:
        return {}
    units = {joint.name: joint.unit for joint in body.joints}
    info = StreamInfo(
        units=tuple(units[name] for name in columns),
        channels=tuple(columns),
        clock=base.info.clock,
        rate_hz=base.info.rate_hz,
        semantics="assumed joint position, not measured",
        note="; ".join(f"{name} {_where(source.absent[name])}" for name in columns),
    )
    values = np.stack(list(columns.values()), axis=1)
    return {ASSUMED: Stream(base.time_ns, values, info, base.source_time_ns)}


def completed(measured: Stream, assumed: Stream | None) -> Stream:
    """Return measured joints with those behind them that are only assumed, where there are any."""
    if assumed is None or not np.array_equal(assumed.time_ns, measured.time_ns):
        return measured
    info = measured.info.model_copy(
        update={
            "units": measured.units + assumed.units,
            "channels": measured.channels + assumed.channels,
            "quantum": None,
        }
    )
    values = np.hstack([measured.values, assumed.values])
    return replace(measured, values=values, info=info)


def plain(name: str) -> str:
    """Write a name as it is compared: case, `_`, `-`, `.` and spaces do not count."""
    return re.sub(r"[\s_.\-]+", "", name).casefold()


def _where(absent: AbsentJoint) -> str:
    if absent.hold is not None:
        return f"held at {absent.hold:g}"
    after = f" + {absent.offset:g}" if absent.offset else ""
    return f"mimics {absent.coefficient:g} * {absent.mimic}{after}"


def _channel(streams: Iterable[Stream], name: str, rows: int) -> Floats | None:
    for stream in streams:
        if name in stream.channels and len(stream) == rows:
            return stream.values[:, stream.channels.index(name)].astype(np.float64)
    return None
