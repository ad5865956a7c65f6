"""One pass through a bag: what each topic says, gathered by kind, not yet named or judged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats.mcap_own import KEY, Own, own
from demos.formats.pictures import Spool
from demos.formats.ros_bags import Bag, Message
from demos.formats.ros_clocks import Moments
from demos.formats.ros_pictures import DEPTH, Pictures, encoded_kind, pixels
from demos.formats.ros_rows import Joints, Vectors
from demos.formats.ros_types import SCALARS, VIDEO, Topic, Types

MOST_WORDS = 1000
MOST_LETTERS = 2000
MOST_NUMBERS_BYTES = 2**28
"""What all messages but images may have: ten minutes of 30 joints at 500 Hz, and twice that."""

_NAN4 = (float("nan"),) * 4


@dataclass(frozen=True, slots=True)
class Told:
    """Something said in words or as true or false, at the moment it changed."""

    topic: str
    time_ns: int
    value: Any


@dataclass(slots=True)
class Gathering:
    """What the topics of a bag say, by the topic's name.

    transforms: by (parent, child). static: the transforms that hold for good. lenses: the first
    camera_info of each topic. unread: topic, type and reason, with the number of messages.
    lost: topics that began and could not be kept, and why. damaged: topics with the number of
    messages that could not be decoded. robot: its name, where a robot description came by.
    seen: when images came, where nobody wants them (`numbers_only`).
    own: what channels say that we wrote ourselves; records: what stands in them, by their kind.
    """

    scratch: Path
    numbers_only: bool = False
    joints: dict[str, Joints] = field(default_factory=dict)
    vectors: dict[tuple[str, str], Vectors] = field(default_factory=dict)
    pictures: dict[str, Pictures] = field(default_factory=dict)
    seen: dict[str, Moments] = field(default_factory=dict)
    transforms: dict[tuple[str, str], Vectors] = field(default_factory=dict)
    static: dict[tuple[str, str], tuple[int, tuple[float, ...]]] = field(default_factory=dict)
    lenses: dict[str, Any] = field(default_factory=dict)
    words: list[Told] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    unread: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    lost: dict[str, str] = field(default_factory=dict)
    heard: Counter[tuple[str, str]] = field(default_factory=Counter)
    own: dict[str, Own] = field(default_factory=dict)
    robot: str = ""
    records: list[tuple[str, str]] = field(default_factory=list)
    _said: dict[str, Any] = field(default_factory=dict)
    _types: dict[bool, Types] = field(default_factory=dict)
    _held: int = 0

    def read(self, bag: Bag) -> None:
        """Read every message of a bag once."""
        readers: dict[int, Callable[[Message], None] | None] = {}
        for message in bag.messages():
            topic = message.topic
            if id(topic) not in readers:
                readers[id(topic)] = self._reader(topic)
            self.heard[topic.name, topic.kind] += 1
            take = readers[id(topic)]
            if take is not None and topic.name not in self.lost:
                take(message)
        for topic in bag.topics:
            self._know(topic)

    def close(self) -> None:
        """Close the files that images lie in."""
        for pictures in self.pictures.values():
            pictures.spool.close()

    def _hold(self, size: int) -> None:
        """Count the numbers that are held. Raises DemosError where they are too many."""
        if self._held + size > MOST_NUMBERS_BYTES:
            raise ImportFailed(
                f"the numbers of the bag have more than {MOST_NUMBERS_BYTES / 1e6:.0f} MB"
            ).with_hint("split the bag: `ros2 bag convert`, or `rosbag filter` by time")
        self._held += size

    def _know(self, topic: Topic) -> None:
        if KEY in topic.about and (found := own(topic.about)) is not None:
            self.own[topic.name] = found

    def _reader(self, topic: Topic) -> Callable[[Message], None] | None:
        self._know(topic)
        ros1 = topic.encoding == "ros1"
        types = self._types.get(ros1)
        if types is None:
            types = self._types[ros1] = Types(ros1=ros1)
        reason = types.problem(topic)
        kind = types.usual_name(topic.kind)
        known = types

        def refuse(_: Message) -> None:
            self.unread[topic.name, topic.kind, reason] += 1

        def take(message: Message) -> None:
            try:
                decoded = known.decode(kind, message.data)
                _TAKE[kind](self, message, decoded)
            except DemosError as error:
                self.lost[topic.name] = str(error)
            except Exception:  # noqa: BLE001  struct, numpy and rosbags raise dozens on damage
                self.damaged[topic.name] += 1

        return refuse if reason else take

    def take_joints(self, message: Message, decoded: Any) -> None:
        """Take a JointState."""
        joints = self.joints.setdefault(message.topic.name, Joints())
        fields = (decoded.position, decoded.velocity, decoded.effort)
        self._hold(24 * len(decoded.name))
        joints.add(message.log_ns, _stamp(decoded.header.stamp), decoded.name, *fields)

    def take_vector(self, message: Message, values: Any, frame: str, stamp_ns: int) -> None:
        """Take a message that is one vector."""
        held = self.vectors.setdefault((message.topic.name, message.topic.kind), Vectors())
        array = np.asarray(values)
        self._hold(array.nbytes)
        held.add(message.log_ns, stamp_ns, array, frame)

    def take_array(self, message: Message, decoded: Any) -> None:
        """Take a MultiArray, its channels named as its layout labels them."""
        self.take_vector(message, np.ravel(decoded.data), "", _published(message))
        held = self.vectors[message.topic.name, message.topic.kind]
        if not held.names and len(decoded.layout.dim) == 1:
            labels = tuple(decoded.layout.dim[0].label.split(","))
            held.names = labels if len(set(labels)) == len(decoded.data) else ()

    def take_transforms(self, message: Message, decoded: Any) -> None:
        """Take a TFMessage: each transform is a pose of its child in its parent."""
        for each in decoded.transforms:
            key = (each.header.frame_id.lstrip("/"), each.child_frame_id.lstrip("/"))
            move, turn = each.transform.translation, each.transform.rotation
            values = (move.x, move.y, move.z, turn.x, turn.y, turn.z, turn.w)
            if message.topic.name.endswith("tf_static"):
                self.static.setdefault(key, (message.log_ns, values))
                continue
            held = self.transforms.setdefault(key, Vectors())
            held.add(message.log_ns, _stamp(each.header.stamp), np.array(values), key[0])

    def take_encoded(self, message: Message, decoded: Any) -> None:
        """Take a CompressedImage or a CompressedVideo."""
        video = message.topic.kind == VIDEO
        stamp = decoded.timestamp if video else decoded.header.stamp
        if self._only_seen(message, stamp):
            return
        data = bytes(decoded.data)
        kind = encoded_kind(data, decoded.format)
        frame = decoded.frame_id if video else decoded.header.frame_id
        held = self._spooled(message.topic.name, kind, decoded.format, frame)
        held.add(message.log_ns, _stamp(stamp), data)

    def take_raw(self, message: Message, decoded: Any) -> None:
        """Take an Image."""
        if self._only_seen(message, decoded.header.stamp):
            return
        image = pixels(decoded)
        kind = "depth" if decoded.encoding in DEPTH else "raw"
        frame = decoded.header.frame_id
        held = self._spooled(message.topic.name, kind, decoded.encoding, frame)
        held.add_raw(message.log_ns, _stamp(decoded.header.stamp), image)

    def take_lens(self, message: Message, decoded: Any) -> None:
        """Take the first CameraInfo of a topic."""
        self.lenses.setdefault(message.topic.name, decoded)

    def take_words(self, message: Message, decoded: Any) -> None:
        """Take a String or a Bool where it changes; of a robot's description only its name."""
        topic, value = message.topic.name, decoded.data
        if (known := self.own.get(topic)) is not None and isinstance(value, str):
            if known.records:
                self.records.append((known.records, value))
            return
        if topic.endswith("robot_description") and isinstance(value, str):
            named = re.search(r"<robot\b[^>]*?\bname\s*=\s*[\"']([^\"']*)", value)
            self.robot = self.robot or (named[1][:200] if named else "")
            self.lost[topic] = "the description itself is not kept, only the robot's name"
            return
        if topic in self._said and self._said[topic] == value:
            return
        self._said[topic] = value
        self.changes[topic] += 1
        if self.changes[topic] <= MOST_WORDS:
            stamp_ns = _published(message) or message.log_ns
            kept = value[:MOST_LETTERS] if isinstance(value, str) else bool(value)
            self.words.append(Told(topic, stamp_ns, kept))

    def _only_seen(self, message: Message, stamp: Any) -> bool:
        if self.numbers_only:
            self.seen.setdefault(message.topic.name, Moments()).add(message.log_ns, _stamp(stamp))
        return self.numbers_only

    def _spooled(self, topic: str, kind: str, encoding: str, frame: str) -> Pictures:
        held = self.pictures.get(topic)
        if held is None:
            spool = Spool(self.scratch / f"{len(self.pictures)}.images")
            held = self.pictures[topic] = Pictures(spool, kind, encoding, frame)
        if (held.kind, held.encoding) != (kind, encoding) and held.kind != kind:
            raise DemosError(f"its images change from {held.encoding!r} to {encoding!r}")
        return held


@contextmanager
def gathered(bag: Bag, scratch: Path, *, numbers_only: bool = False) -> Iterator[Gathering]:
    """Read a bag; images lie in files below `scratch` until the end."""
    gathering = Gathering(scratch, numbers_only)
    try:
        gathering.read(bag)
        yield gathering
    finally:
        gathering.close()


def _stamp(time: Any) -> int:
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _published(message: Message) -> int:
    """Return when a message without a stamp was sent, 0 where that is not said."""
    return message.publish_ns if message.publish_ns != message.log_ns else 0


def _take_wrench(to: Gathering, message: Message, decoded: Any) -> None:
    f, t = decoded.wrench.force, decoded.wrench.torque
    header = decoded.header
    values = (f.x, f.y, f.z, t.x, t.y, t.z)
    to.take_vector(message, values, header.frame_id, _stamp(header.stamp))


def _take_pose(to: Gathering, message: Message, decoded: Any) -> None:
    p, q, header = decoded.pose.position, decoded.pose.orientation, decoded.header
    values = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
    to.take_vector(message, values, header.frame_id, _stamp(header.stamp))


def _take_twist(to: Gathering, message: Message, decoded: Any) -> None:
    stamped = hasattr(decoded, "twist")
    twist = decoded.twist if stamped else decoded
    v, w = twist.linear, twist.angular
    stamp_ns = _stamp(decoded.header.stamp) if stamped else _published(message)
    frame = decoded.header.frame_id if stamped else ""
    to.take_vector(message, (v.x, v.y, v.z, w.x, w.y, w.z), frame, stamp_ns)


def _take_imu(to: Gathering, message: Message, decoded: Any) -> None:
    q, w, a = decoded.orientation, decoded.angular_velocity, decoded.linear_acceleration
    # the message's own word for a reading that it has not: the covariance begins with -1
    turn = _NAN4 if decoded.orientation_covariance[0] == -1 else (q.x, q.y, q.z, q.w)
    header = decoded.header
    values = (*turn, w.x, w.y, w.z, a.x, a.y, a.z)
    to.take_vector(message, values, header.frame_id, _stamp(header.stamp))


def _take_scalar(to: Gathering, message: Message, decoded: Any) -> None:
    dtype = SCALARS[message.topic.kind.rpartition("/")[2]]
    to.take_vector(message, np.array([decoded.data], dtype), "", _published(message))


_TAKE: dict[str, Callable[[Gathering, Message, Any], None]] = {
    "geometry_msgs/msg/PoseStamped": _take_pose,
    "geometry_msgs/msg/Twist": _take_twist,
    "geometry_msgs/msg/TwistStamped": _take_twist,
    "geometry_msgs/msg/WrenchStamped": _take_wrench,
    "sensor_msgs/msg/CameraInfo": Gathering.take_lens,
    "sensor_msgs/msg/CompressedImage": Gathering.take_encoded,
    "sensor_msgs/msg/Image": Gathering.take_raw,
    "sensor_msgs/msg/Imu": _take_imu,
    "sensor_msgs/msg/JointState": Gathering.take_joints,
    "std_msgs/msg/String": Gathering.take_words,
    "std_msgs/msg/Bool": Gathering.take_words,
    "tf2_msgs/msg/TFMessage": Gathering.take_transforms,
    VIDEO: Gathering.take_encoded,
    **{f"std_msgs/msg/{n}": _take_scalar for n in SCALARS if n != "Bool"},
    **{f"std_msgs/msg/{n}MultiArray": Gathering.take_array for n in SCALARS if n != "Bool"},
}
