"""Connect the channels of a foreign recording to the joints of a body: by name, never by index.

Orders differ between recorders of the very same robot (the G1's right hand is thumb, index,
middle in one place and thumb, middle, index in another), so a channel whose name is not known
stays unconnected and is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np

from demos.errors import ImportFailed
from demos.model import Embodiment, Finding, Joint, Nanoseconds, Stream, StreamInfo, Values
from demos.model.records import Clock

Role = Literal["state", "command"]
STREAMS: dict[Role, tuple[str, str]] = {
    "state": ("joint_position", "gripper"),
    "command": ("joint_command", "gripper_command"),
}
"""Per role: the stream of the joints, and the kind of the streams of normalised fingers."""

_SLACK = 1.1
_ENDINGS = ("joint", "pos", "q")


@dataclass(frozen=True, slots=True)
class Link:
    """One channel of the source, its column, and the joint it speaks of."""

    channel: str
    column: int
    joint: Joint


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


def connect(channels: Sequence[str], body: Embodiment, *, ignore: Iterable[str] = ()) -> Connection:
    """Connect channels to joints by name or alias; case, `_`, `-`, `.` and spaces do not count.

    Raises ImportFailed where two channels speak of one joint.
    """
    by_name = _names(body)
    ignored = frozenset(ignore)
    links: dict[str, Link] = {}
    unknown = []
    for column, channel in enumerate(channels):
        if channel in ignored:
            continue
        joint = by_name.get(_plain(channel)) or by_name.get(_shortened(channel))
        if joint is None:
            unknown.append(channel)
        elif joint.name in links:
            raise ImportFailed(
                f"the channels {links[joint.name].channel!r} and {channel!r} "
                f"both speak of {joint.name} of {body.id}"
            ).with_hint("ignore one of them, or mend the aliases of the embodiment")
        else:
            links[joint.name] = Link(channel, column, joint)
    return Connection(
        tuple(links.values()), tuple(unknown), tuple(c for c in channels if c in ignored)
    )


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
    one stream per hand. The dtype is kept; the numbers are not touched.
    """
    links = {link.joint.name: link for link in connection.links}
    sorted_links: dict[str, list[Link]] = {}
    for joint in body.joints:
        if joint.name in links:
            place = _stream_of(joint, body, role)
            sorted_links.setdefault(place, []).append(links[joint.name])
    made = {}
    for name, chosen in sorted_links.items():
        meant = body.streams.get(name)
        info = StreamInfo(
            units=tuple(link.joint.unit for link in chosen),
            channels=tuple(link.joint.name for link in chosen),
            clock=clock,
            rate_hz=rate_hz,
            semantics=meant.semantics if meant else None,
            note=meant.note if meant else "",
        )
        columns = np.ascontiguousarray(values[:, [link.column for link in chosen]])
        made[name] = Stream(time_ns, columns, info, source_time_ns)
    return made


def doubts(recorded: Mapping[str, Stream], body: Embodiment, *, episode: str) -> Iterator[Finding]:
    """Yield a finding for each channel whose numbers contradict the body.

    Values beyond the joint's range stretched by a tenth are hardly in the joint's unit; a
    position that runs against its own command has its sign or its place wrong.
    """
    joints = {joint.name: joint for joint in body.joints}
    for name, stream in recorded.items():
        if not np.issubdtype(stream.values.dtype, np.number) or not len(stream):
            continue
        for column, channel in enumerate(stream.channels):
            joint = joints.get(channel)
            if joint is not None and name.split(".")[0] in _KINDS:
                yield from _beyond(stream, column, joint, name, episode)
    for state, command in zip(STREAMS["state"], STREAMS["command"], strict=True):
        for name in recorded:
            partner = name.replace(state, command, 1)
            if name.split(".")[0] == state and partner in recorded:
                yield from _against(recorded[name], recorded[partner], name, joints, episode)


_KINDS = frozenset(kind for kinds in STREAMS.values() for kind in kinds)


def _beyond(
    stream: Stream, column: int, joint: Joint, name: str, episode: str
) -> Iterator[Finding]:
    values = stream.values[:, column]
    values = values[np.isfinite(values)]
    slack = (_SLACK - 1) * (joint.upper - joint.lower)
    wrong = (values > joint.upper + slack) | (values < joint.lower - slack)
    if wrong.any():
        middle = (joint.upper + joint.lower) / 2
        worst = float(values[np.argmax(np.abs(values - middle))])
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
            other = by_name.setdefault(_plain(name), joint)
            if other.name != joint.name:
                raise ImportFailed(
                    f"{name!r} names both {other.name} and {joint.name} of {body.id}"
                ).with_hint("mend the aliases of the embodiment")
            by_name.setdefault(_shortened(name), joint)
    return by_name


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name).casefold()


def _shortened(name: str) -> str:
    words = [word for word in re.split(r"[\s_.\-]+", name) if word]
    if len(words) > 1 and words[-1].casefold() in _ENDINGS:
        words.pop()
    return "".join(words).casefold()
