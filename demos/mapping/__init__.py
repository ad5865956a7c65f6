"""Connect the channels of a foreign recording to the joints of a body: by name, never by index.

Orders differ between recorders of the very same robot (the G1's right hand is thumb, index,
middle in one place and thumb, middle, index in another), so a channel whose name is not known
stays unconnected and is reported. `conversion` turns a source's numbers into a joint's, `trial`
holds what was connected against the body and against its own commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from demos.errors import ImportFailed
from demos.mapping.conversion import AS_IT_IS, ASSUMED, Conversion, conversion, plain
from demos.mapping.ranges import Reach
from demos.model import (
    ChannelRole,
    Embodiment,
    Finding,
    Joint,
    Nanoseconds,
    SourceMapping,
    Stream,
    StreamInfo,
    Values,
)
from demos.model.records import Clock

Role = ChannelRole
STREAMS: dict[Role, tuple[str, str]] = {
    "state": ("joint_position", "gripper"),
    "command": ("joint_command", "gripper_command"),
    "velocity": ("joint_velocity", "gripper_velocity"),
    "effort": ("joint_effort", "gripper_effort"),
}
"""Per role: the stream of the joints, and the kind of the streams of normalised fingers."""

_ENDINGS = ("joint", "pos", "q")
_EFFORTS = {"rad": "N·m", "deg": "N·m", "m": "N"}


@dataclass(frozen=True, slots=True)
class Link:
    """One channel of the source, its column, the joint it speaks of, and how.

    `role` is None where the channel says what its place in the source says.
    """

    channel: str
    column: int
    joint: Joint
    role: Role | None = None
    how: Conversion = AS_IT_IS


@dataclass(frozen=True, slots=True)
class Connection:
    """Which channels found their joint, which did not, and which are ignored on purpose."""

    links: tuple[Link, ...]
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Say whether every channel is connected or ignored on purpose."""
        return not self.unknown


def connect(
    channels: Sequence[str],
    body: Embodiment,
    *,
    role: Role = "state",
    source: SourceMapping | None = None,
    ignore: Iterable[str] = (),
    keep_repeated: bool = False,
) -> Connection:
    """Connect channels to joints by name or alias; case, `_`, `-`, `.` and spaces do not count.

    `source` comes before the body's own names. Raises ImportFailed where two channels speak of
    one joint, unless `keep_repeated`: then the second counts as unknown.
    """
    by_name, told = _names(body), source or SourceMapping()
    ignored = {*ignore, *told.ignored}
    links: dict[tuple[Role, str], Link] = {}
    unknown = []
    for column, channel in enumerate(channels):
        if channel in ignored:
            continue
        link = _declared(channel, column, body, role, told)
        joint = by_name.get(plain(channel)) or by_name.get(_shortened(channel))
        if link is None and joint is not None:
            link = Link(channel, column, joint)
        other = links.get((link.role or role, link.joint.name)) if link else None
        if link is None or (other is not None and keep_repeated):
            unknown.append(channel)
        elif other is not None:
            raise ImportFailed(
                f"the channels {other.channel!r} and {channel!r} "
                f"both speak of {link.joint.name} of {body.id}"
            ).with_hint(
                "ignore one of them (--ignore), mend the aliases of the embodiment, "
                "or keep the second under its own name (--accept-mapping)"
            )
        else:
            links[link.role or role, link.joint.name] = link
    return Connection(
        tuple(links.values()), tuple(unknown), tuple(c for c in channels if c in ignored)
    )


def _declared(
    channel: str, column: int, body: Embodiment, role: Role, source: SourceMapping
) -> Link | None:
    """Find what a source's mapping says of a channel: best for this role, else for any."""
    said = [
        each
        for each in source.channels
        if plain(channel) in {plain(name) for name in (each.source, *each.aliases)}
    ]
    ranks = {role: 0, None: 1}
    for each in sorted(said, key=lambda each: ranks.get(each.role, 2)):
        joint = next(joint for joint in body.joints if joint.name == each.joint)
        return Link(channel, column, joint, each.role, conversion(each, joint, each.role or role))
    return None


def explain(connection: Connection, body: Embodiment) -> ImportFailed:
    """Build the error for channels that found no joint, offering the closest names."""
    first = connection.unknown[0]
    names = [name for joint in body.joints for name in (joint.name, *joint.aliases)]
    close = get_close_matches(first, names, n=2)
    offer = f"did you mean {' or '.join(close)}? " if close else ""
    listed = ", ".join(connection.unknown[:6]) + (", ..." if len(connection.unknown) > 6 else "")
    return ImportFailed(
        f"{len(connection.unknown)} channels are unknown to {body.id}: {listed}"
    ).with_hint(
        f"{offer}add the names as aliases to the embodiment, "
        "or keep these channels under their own names (--accept-mapping)"
    )


def streams(
    values: Values,
    connection: Connection,
    body: Embodiment,
    role: Role,
    time_ns: Nanoseconds,
    *,
    source_time_ns: Nanoseconds | None = None,
    clock: Clock = "measured",
    rate_hz: float | None = None,
) -> dict[str, Stream]:
    """Sort the connected columns of `values` (n, channels) into the streams of a body.

    Joints in rad and m go to one stream in the body's own order, fingers in a normalised unit to
    one stream per hand. Numbers that need no conversion are not touched and keep their dtype.
    `role` is that of links which do not say another.
    """
    links = {(link.role or role, link.joint.name): link for link in connection.links}
    sorted_links: dict[tuple[str, Role], list[Link]] = {}
    for joint in body.joints:
        for meant in dict.fromkeys((role, *STREAMS)):
            if (link := links.get((meant, joint.name))) is not None:
                place = _stream_of(joint, body, meant)
                sorted_links.setdefault((place, meant), []).append(link)
    made = {}
    for (name, meant), chosen in sorted_links.items():
        declared = body.streams.get(name)
        info = StreamInfo(
            units=tuple(_unit(link.joint, meant) for link in chosen),
            channels=tuple(link.joint.name for link in chosen),
            clock=clock,
            rate_hz=rate_hz,
            semantics=declared.semantics if declared else None,
            note=declared.note if declared else "",
        )
        columns = np.ascontiguousarray(values[:, [link.column for link in chosen]])
        if not all(link.how.exact for link in chosen):
            parts = [link.how.of(columns[:, n]) for n, link in enumerate(chosen)]
            columns = np.stack(parts, axis=1)
        made[name] = Stream(time_ns, columns, info, source_time_ns)
    return made


def _unit(joint: Joint, role: Role) -> str:
    if role == "velocity":
        return f"{joint.unit}/s"
    return _EFFORTS.get(joint.unit, "1") if role == "effort" else joint.unit


def doubts(recorded: Mapping[str, Stream], body: Embodiment, *, episode: str) -> Iterator[Finding]:
    """Yield a finding for each channel of one episode whose numbers contradict the body.

    Values beyond the joint's range stretched by a tenth are hardly in the joint's unit; a
    position that runs against its own command has its sign or its place wrong.
    """
    joints = {joint.name: joint for joint in body.joints}
    for name, stream in recorded.items():
        if not np.issubdtype(stream.values.dtype, np.number) or not len(stream):
            continue
        for column, channel in enumerate(stream.channels):
            joint = joints.get(channel)
            if joint is not None and name.split(".")[0] in _KINDS and name != ASSUMED:
                yield from _beyond(stream, column, joint, name, episode)
    for state, command in zip(STREAMS["state"], STREAMS["command"], strict=True):
        for name in recorded:
            partner = name.replace(state, command, 1)
            if name.split(".")[0] == state and partner in recorded and name != ASSUMED:
                yield from _against(recorded[name], recorded[partner], name, joints, episode)


_KINDS = frozenset((*STREAMS["state"], *STREAMS["command"]))


def _beyond(
    stream: Stream, column: int, joint: Joint, name: str, episode: str
) -> Iterator[Finding]:
    reach = Reach(joint)
    reach.add(stream.values[:, column].astype(np.float64))
    if not reach.beyond:
        return
    middle = (joint.upper + joint.lower) / 2
    worst = max(reach.least, reach.greatest, key=lambda value: abs(value - middle))
    yield Finding(
        episode=episode,
        check="import.mapping",
        severity="warning",
        message=(
            f"{joint.name} reaches {worst:.4g} {joint.unit}, its range is {joint.lower:g} to "
            f"{joint.upper:g}: degrees or counts?"
        ),
        hint="compare the source's unit with the embodiment's before using this joint",
        stream=name,
        measured=worst,
        unit=joint.unit,
    )


def _against(
    state: Stream, command: Stream, name: str, joints: Mapping[str, Joint], episode: str
) -> Iterator[Finding]:
    if len(state) != len(command) or len(state) < 3:
        return
    for column, channel in enumerate(state.channels):
        if channel not in command.channels or channel not in joints:
            continue
        here = state.values[:, column].astype(np.float64)
        told = command.values[:, command.channels.index(channel)].astype(np.float64)
        known = np.isfinite(here) & np.isfinite(told)
        here, told = here[known], told[known]
        least = 0.02 * (joints[channel].upper - joints[channel].lower)
        # a joint that hardly moves has noise for a sign
        if len(here) < 3 or min(np.ptp(here), np.ptp(told)) <= least:
            continue
        agreement = float(np.corrcoef(here, told)[0, 1])
        if agreement < -0.5:
            yield Finding(
                episode=episode,
                check="import.mapping",
                severity="warning",
                message=f"{channel} runs against its command (correlation {agreement:.2f})",
                hint="check the sign and the order of the channels in the source",
                stream=name,
                measured=agreement,
                unit="1",
            )


def _stream_of(joint: Joint, body: Embodiment, role: Role) -> str:
    joints, fingers = STREAMS[role]
    for effector in body.effectors:
        if joint.name in effector.hand and joint.unit not in ("rad", "m"):
            return f"{fingers}.{effector.name}"
    return joints


def _names(body: Embodiment) -> dict[str, Joint]:
    by_name: dict[str, Joint] = {}
    for joint in body.joints:
        for name in (joint.name, *joint.aliases):
            other = by_name.setdefault(plain(name), joint)
            if other.name != joint.name:
                raise ImportFailed(
                    f"{name!r} names both {other.name} and {joint.name} of {body.id}"
                ).with_hint("mend the aliases of the embodiment")
            by_name.setdefault(_shortened(name), joint)
    return by_name


def _shortened(name: str) -> str:
    words = [word for word in re.split(r"[\s_.\-]+", name) if word]
    if len(words) > 1 and words[-1].casefold() in _ENDINGS:
        words.pop()
    return "".join(words).casefold()
