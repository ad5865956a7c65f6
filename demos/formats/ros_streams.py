"""What a bag says becomes streams: named by kind and place, on one clock, in the body's words.

All names are guesses from topics and reference frames but for recordings of our own, and told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from demos import mapping
from demos.errors import DemosError
from demos.formats.joints import Columns, joint_streams
from demos.formats.mcap_own import Own
from demos.formats.notes import Notes
from demos.formats.ros_clocks import Clock, settle
from demos.formats.ros_gathering import Gathering
from demos.formats.ros_names import flat, is_command, place
from demos.formats.ros_rows import JOINT_FIELDS, Joints, Part, Vectors
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks
from demos.model import Stream, StreamInfo

POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
POSE_UNITS = ("m", "m", "m", "1", "1", "1", "1")
WRENCH = ("fx", "fy", "fz", "tx", "ty", "tz")
WRENCH_UNITS = ("N", "N", "N", "N·m", "N·m", "N·m")
TWIST = ("vx", "vy", "vz", "wx", "wy", "wz")
IMU = ("qx", "qy", "qz", "qw", "wx", "wy", "wz", "ax", "ay", "az")
IMU_UNITS = ("1",) * 4 + ("rad/s",) * 3 + ("m/s²",) * 3

_KINDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "geometry_msgs/msg/PoseStamped": ("pose", POSE, POSE_UNITS),
    "geometry_msgs/msg/Twist": ("twist", TWIST, ("m/s",) * 3 + ("rad/s",) * 3),
    "geometry_msgs/msg/TwistStamped": ("twist", TWIST, ("m/s",) * 3 + ("rad/s",) * 3),
    "geometry_msgs/msg/WrenchStamped": ("wrench", WRENCH, WRENCH_UNITS),
    "sensor_msgs/msg/Imu": ("imu", IMU, IMU_UNITS),
}
_UNITS = {
    "position": {"": "rad or m"},
    "velocity": {"": "rad/s or m/s"},
    "effort": {"": "N·m or N", "rad": "N·m", "m": "N"},
}


@dataclass(slots=True)
class Naming:
    """The streams that were made so far, and from which topic each is."""

    sitting: Sitting
    notes: Notes
    ignore: Sequence[str] = ()
    accept_mapping: bool = False
    streams: dict[str, Stream] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, stream: Stream, topic: str, where: str = "") -> None:
        """Add a stream; where its name is taken, the place or the topic is put behind it."""
        at = flat(topic)
        ways = [name, *([f"{name}.{where}"] if where else []), f"{name}.{at}"]
        counted = (f"{name}.{at}_{n}" for n in range(2, 2000))
        chosen = next(each for each in chain(ways, counted) if each not in self.streams)
        self.streams[chosen] = stream
        self.topics[chosen] = topic

    def known(self, kind: str) -> list[str]:
        """Return the places at which the body has streams of a kind."""
        body = self.sitting.body
        names = body.streams if body is not None else ()
        return [name.partition(".")[2] for name in names if name.startswith(f"{kind}.")]

    def told(self, clock: Clock, topic: str) -> None:
        """Say what was taken for the time of a topic."""
        if clock.said:
            self.notes.assumed.append(clock.said)
        if clock.problem:
            self.notes.find("clock", clock.problem, "compare the clocks of the computers")
        if clock.order is not None:
            self.notes.assumed.append(f"{topic}: put in order of arrival, the file is not")


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What one topic says of one thing, its clock settled, not yet named.

    `part` is the joints' share of a topic, `vectors` everything else; `child` is what a
    transform places.
    """

    topic: str
    kind: str
    clock: Clock
    part: Part | None = None
    vectors: Vectors | None = None
    child: str = ""

    @property
    def values(self) -> npt.NDArray[Any]:
        """The vectors in the clock's order."""
        assert self.vectors is not None
        return self.clock.sorted(self.vectors.usual()[0].values())


def series_of(gathering: Gathering, notes: Notes) -> list[Series]:
    """Settle the clock of everything that is numbers, in the order in which it is named."""
    found: list[Series] = []
    for topic, joints in sorted(gathering.joints.items()):
        _judge(topic, joints, notes)
        for part in joints.parts():
            clock = settle(joints.moments, topic, part.numbers, asis=topic in gathering.own)
            found.append(Series(topic, "joints", clock, part=part))
    # of two that would have one name the one with more joints keeps it
    found.sort(key=lambda each: -len(each.part.names) if each.part else 0)
    for (topic, kind), vectors in sorted(gathering.vectors.items()):
        rows, odd = vectors.usual()
        if odd:
            notes.missing.append(f"{topic}: {odd} messages of another length than the rest")
        numbers = np.frombuffer(rows.numbers, np.int64).copy()
        clock = settle(vectors.moments, topic, numbers, asis=topic in gathering.own)
        found.append(Series(topic, kind, clock, vectors=vectors))
    for (parent, child), vectors in sorted(gathering.transforms.items()):
        clock = settle(vectors.moments, f"transform of {child} in {parent}")
        found.append(Series("tf", "transform", clock, vectors=vectors, child=child))
    return found


def _judge(topic: str, joints: Joints, notes: Notes) -> None:
    if joints.damaged:
        notes.find(
            "joint_state",
            f"{joints.damaged} messages of {topic} contradict themselves and are left out",
            "names and values differ in number, or a joint is named twice: mend the publisher",
        )
    if joints.nameless:
        notes.assumed.append(
            f"{topic}: {joints.nameless} messages name no joint; they are numbered as they come"
        )


def name_series(each: Series, naming: Naming, start_ns: int) -> None:
    """Turn one series into its streams."""
    clock = each.clock.since(start_ns)
    naming.told(each.clock, each.topic)
    if each.part is not None:
        _joints(each, each.part, clock, naming)
    elif each.kind == "transform":
        _transform(each, clock, naming)
    elif each.kind in _KINDS:
        _vector(each, clock, naming)
    else:
        _plain(each, clock, naming)


def restore(each: Series, known: Own, naming: Naming, start_ns: int) -> None:
    """Make the streams that a channel of ours says it holds."""
    clock = each.clock.since(start_ns)
    for key, meant in (known.streams or {}).items():
        if each.part is not None:
            count = len(each.part.numbers)
            nothing = np.full((count, len(each.part.names)), np.nan)
            values = each.part.fields.get(key, nothing)
        else:
            values = each.values
        try:
            naming.add(meant.name, meant.stream(values, clock), each.topic)
        except (DemosError, ValueError, TypeError, OverflowError) as error:
            naming.notes.missing.append(f"{each.topic}: not what its channel says: {error}")


def _stream(
    values: npt.NDArray[Any], channels: tuple[str, ...], units: tuple[str, ...], clock: Clock,
    **more: Any,
) -> Stream:  # fmt: skip
    info = StreamInfo(units=units, channels=channels, **more)
    values = np.ascontiguousarray(values)
    return Stream(clock.time_ns, values, info, clock.source_time_ns, clock.arrival_ns)


def _joints(each: Series, part: Part, clock: Clock, naming: Naming) -> None:
    role = _role(each.topic)
    what = "commands" if role == "command" else "states"
    where = place(each.topic) or flat(part.names[0])
    naming.notes.assumed.append(f"{each.topic}: joint {what}, by the topic's name")
    for name, count in part.unsaid.items():
        naming.notes.find(
            "joint_state",
            f"{name} is not in {count} of the {len(part.numbers)} messages of {each.topic}",
            "NaN stands in for what was not said",
            "info",
        )
    for key in JOINT_FIELDS:
        values = part.fields.get(key)
        if values is None:
            continue
        values = clock.sorted(values)
        if key == "position":
            made = _positions(each.topic, part, values, clock, naming)
        else:
            made = _derived(key, part, values, clock, naming)
            if role == "command":
                made = {name.replace("joint_", "joint_command.", 1): s for name, s in made.items()}
        for name, stream in made.items():
            naming.add(name, replace(stream, arrival_ns=clock.arrival_ns), each.topic, where)


def _role(topic: str) -> mapping.Role:
    return "command" if is_command(topic) else "state"


def _positions(
    topic: str, part: Part, values: npt.NDArray[np.float64], clock: Clock, naming: Naming
) -> Mapping[str, Stream]:
    body, role = naming.sitting.body, _role(topic)
    columns = Columns(
        values,
        part.names,
        (_UNITS["position"][""],) * len(part.names),
        role,
        # what a known body does not know stands beside its joints under the topic's name
        kept_as=flat(topic) if body is not None else mapping.STREAMS[role][0],
        note=f"ROS topic {topic}",
    )
    return joint_streams(
        columns,
        Ticks(clock.time_ns, "measured", None, clock.source_time_ns),
        naming.sitting,
        ignore=naming.ignore,
        accept_mapping=naming.accept_mapping,
    )


def _derived(
    key: str, part: Part, values: npt.NDArray[np.float64], clock: Clock, naming: Naming
) -> Mapping[str, Stream]:
    """Name velocities and efforts by the joints they are of, those of the body first."""
    body = naming.sitting.body
    left = [name for name in part.names if name not in set(naming.ignore)]
    chosen = [(name, name, _UNITS[key][""]) for name in left]
    if body is not None:
        joined = mapping.connect(part.names, body, ignore=naming.ignore)
        order = {joint.name: n for n, joint in enumerate(body.joints)}
        links = sorted(joined.links, key=lambda link: order[link.joint.name])
        chosen = [(k.channel, k.joint.name, _unit(key, k.joint.unit)) for k in links]
        chosen += [(name, name, _UNITS[key][""]) for name in joined.unknown]
    if not chosen:
        return {}
    columns = [part.names.index(source) for source, _, _ in chosen]
    channels = tuple(channel for _, channel, _ in chosen)
    units = tuple(unit for _, _, unit in chosen)
    return {f"joint_{key}": _stream(values[:, columns], channels, units, clock)}


def _unit(key: str, unit: str) -> str:
    return f"{unit}/s" if key == "velocity" else _UNITS[key].get(unit, "unknown")


def _vector(each: Series, clock: Clock, naming: Naming) -> None:
    assert each.vectors is not None
    kind, channels, units = _KINDS[each.kind]
    values, frame = each.values, each.vectors.frame[:200]
    own_frame = "" if kind in ("pose", "twist") else frame
    where = place(each.topic, own_frame, naming.known(kind))
    if kind in ("pose", "twist") and is_command(each.topic):
        kind = f"{kind}_command"
    if each.kind.endswith("Imu") and np.isnan(values[:, :4]).all():
        values, channels, units = values[:, 4:], channels[4:], units[4:]
        naming.notes.assumed.append(f"{each.topic}: it says that it has no orientation")
    if kind == "wrench":
        naming.notes.assumed.append(
            f"{each.topic}: a wrench on the robot in {frame or 'an unnamed frame'}; "
            "the message does not say which side it is exerted on"
        )
    if len(each.vectors.frames) > 1:
        listed = ", ".join(repr(name) for name, _ in each.vectors.frames.most_common(5))
        naming.notes.find(
            "reference_frame",
            f"{each.topic} names {len(each.vectors.frames)} reference frames: {listed}",
            f"all values are kept as in {frame!r}",
        )
    stream = _stream(
        values, channels, units, clock, reference_frame=frame or None,
        note=f"ROS topic {each.topic}",
    )  # fmt: skip
    naming.add(f"{kind}.{where}" if where else kind, stream, each.topic, flat(each.topic))


def _transform(each: Series, clock: Clock, naming: Naming) -> None:
    assert each.vectors is not None
    child, parent = each.child[:200] or "unnamed", each.vectors.frame[:200]
    stream = _stream(
        each.values, POSE, POSE_UNITS, clock, reference_frame=parent or None, of_frame=child
    )
    naming.add(f"pose.{flat(child)}", stream, each.topic, f"in_{flat(parent)}")


def _plain(each: Series, clock: Clock, naming: Naming) -> None:
    assert each.vectors is not None
    values = each.values
    width = values.shape[1]
    if not width:
        naming.notes.missing.append(f"{each.topic}: its arrays are empty")
        return
    if each.kind.endswith("MultiArray"):
        numbered = tuple(str(n) for n in range(width))
        channels = each.vectors.names if len(each.vectors.names) == width else numbered
    else:
        channels = ("data",)
    stream = _stream(values, channels, ("unknown",) * width, clock, note=f"ROS topic {each.topic}")
    naming.add(flat(each.topic), stream, each.topic)
