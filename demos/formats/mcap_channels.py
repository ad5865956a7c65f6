"""Streams as channels of ROS 2 messages: the usual type where one fits, number arrays otherwise."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.formats.mcap_own import Meant, Own
from demos.formats.ros_rows import JOINT_FIELDS
from demos.formats.ros_streams import IMU, POSE, TWIST, WRENCH
from demos.formats.ros_types import Types
from demos.model import Nanoseconds, Stream

Sent = tuple[int, int, bytes]
"""When a message arrived and was sent, in ns since 1970, and the message."""

Messages = Generator[Sent, None, None]

_ARRAYS = {"bool": "UInt8", "float16": "Float32", "uint8": "UInt8", "uint16": "UInt16",
           "uint32": "UInt32", "uint64": "UInt64"}  # fmt: skip
_IMAGES = {"uint16": "16UC1", "float32": "32FC1"}
_SLOTS = {
    "joint_position": ("/joint_states", "position"),
    "joint_velocity": ("/joint_states", "velocity"),
    "joint_effort": ("/joint_states", "effort"),
    "joint_command": ("/joint_command", "position"),
    "gripper": ("/gripper", "position"),
    "gripper_command": ("/gripper_command", "position"),
}
_UNKNOWN = (0.0,) * 9


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One channel to write: its topic, type, what it is to us, and its messages in order."""

    topic: str
    kind: str
    own: Own
    messages: Messages


def channels_of(streams: Mapping[str, Stream], start_ns: int, types: Types) -> Iterator[Channel]:
    """Yield the channels that hold all streams, exactly; stamps count on from `start_ns`."""
    used: set[str] = set()

    def topic(wanted: str) -> str:
        clean = "/" + "/".join(filter(None, (_ascii(part) for part in wanted.split("/"))))
        ways = [clean, *(f"{clean}_{n}" for n in range(2, len(streams) + 2))]
        chosen = next(each for each in ways if each not in used)
        used.add(chosen)
        return chosen

    for place, group in _joint_groups(streams).items():
        meant = {key: _meant(name, streams[name]) for key, name in group.items()}
        stream = streams[next(iter(group.values()))]
        fields = {key: streams[name].values for key, name in group.items()}
        make = _joint_state(stream, fields, types)
        sent = _sent(stream, start_ns, make, types)
        yield Channel(topic(place), "sensor_msgs/msg/JointState", Own(streams=meant), sent)
    jointed = {name for group in _joint_groups(streams).values() for name in group.values()}
    for name, stream in streams.items():
        if name not in jointed:
            kind, make = _single(name, stream, types)
            own = Own(streams={"": _meant(name, stream)})
            sent = _sent(stream, start_ns, make, types)
            yield Channel(topic(name.replace(".", "/")), kind, own, sent)
    for names in _device_clocks(streams):
        stream = streams[names[0]]
        assert stream.source_time_ns is not None
        sent = _sent(stream, start_ns, _source(stream.source_time_ns, types), types)
        place = topic(f"demos/source_time/{names[0].replace('.', '/')}")
        yield Channel(place, "std_msgs/msg/Int64", Own(source_of=names), sent)


def stamp_of(moment_ns: int, types: Types) -> Any:
    """Make the ROS time of a moment in ns since 1970."""
    return types.make("builtin_interfaces/msg/Time", *divmod(moment_ns, 1_000_000_000))


def text(types: Types, value: str) -> bytes:
    """Encode a String."""
    return types.encode(types.make("std_msgs/msg/String", value))


Make = Callable[[int, Any], Any]
"""Make the message of a row, given its header."""


def _sent(stream: Stream, start_ns: int, make: Make, types: Types) -> Messages:
    frame = stream.info.reference_frame or ""
    arrival = stream.time_ns if stream.arrival_ns is None else stream.arrival_ns
    for row in range(len(stream)):
        moment = start_ns + int(stream.time_ns[row])
        header = types.make("std_msgs/msg/Header", stamp_of(moment, types), frame)
        yield start_ns + int(arrival[row]), moment, types.encode(make(row, header))


def _joint_groups(streams: Mapping[str, Stream]) -> dict[str, dict[str, str]]:
    """Put streams that one JointState can hold together: topic to field to stream."""
    groups: dict[str, dict[str, str]] = {}
    for name, stream in streams.items():
        slot = _slot(name)
        channels = stream.channels
        if slot is None or stream.values.dtype.kind != "f" or stream.values.ndim != 2:
            continue
        if not channels or len(set(channels)) < len(channels):
            continue
        place, key = slot
        group = groups.setdefault(place, {})
        if key in group or (group and not _together(stream, streams[next(iter(group.values()))])):
            groups[f"/{name.replace('.', '/')}"] = {key: name}
        else:
            group[key] = name
    return groups


def _device_clocks(streams: Mapping[str, Stream]) -> list[tuple[str, ...]]:
    """Put together the streams that have one device's stamps at the same moments."""
    found: dict[tuple[bytes, ...], list[str]] = {}
    for name, stream in streams.items():
        if stream.source_time_ns is not None:
            clocks = (stream.time_ns, stream.source_time_ns, stream.arrival_ns)
            key = tuple(b"" if clock is None else clock.tobytes() for clock in clocks)
            found.setdefault(key, []).append(name)
    return [tuple(names) for names in found.values()]


def _slot(name: str) -> tuple[str, str] | None:
    kind, _, where = name.partition(".")
    if kind not in _SLOTS:
        return None
    place, key = _SLOTS[kind]
    first, _, rest = where.partition(".")
    if kind == "joint_command" and first in ("kp", "kd"):
        return None
    if kind == "joint_command" and first in JOINT_FIELDS:
        key, where = first, rest
    return (f"{place}/{where.replace('.', '/')}" if where else place), key


def _together(one: Stream, other: Stream) -> bool:
    clocks = ("time_ns", "source_time_ns", "arrival_ns")
    same = all(_equal(getattr(one, name), getattr(other, name)) for name in clocks)
    return same and one.channels == other.channels and (
        one.info.reference_frame == other.info.reference_frame
    )  # fmt: skip


def _equal(one: Nanoseconds | None, other: Nanoseconds | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _meant(name: str, stream: Stream) -> Meant:
    return Meant(name, stream.values.dtype.newbyteorder("=").name, stream.info)


def _joint_state(stream: Stream, fields: Mapping[str, npt.NDArray[Any]], types: Types) -> Make:
    names, nothing = list(stream.channels), np.zeros(0)

    def make(row: int, header: Any) -> Any:
        told = (
            fields[key][row].astype(np.float64) if key in fields else nothing
            for key in JOINT_FIELDS
        )  # fmt: skip
        return types.make("sensor_msgs/msg/JointState", header, names, *told)

    return make


def _single(name: str, stream: Stream, types: Types) -> tuple[str, Make]:
    """Choose the type of a stream that has a channel of its own."""
    values, channels = stream.values, stream.channels
    if values.ndim == 3 and values.dtype.name in _IMAGES and name.split(".")[0] == "depth":
        return "sensor_msgs/msg/Image", _image(stream, types)
    usual = {WRENCH: _wrench, POSE: _pose, TWIST: _twist, IMU: _imu}.get(channels)
    if usual is not None and values.ndim == 2 and values.dtype.kind == "f":
        return usual(values, types)
    return _array(stream, types)


def _wrench(values: npt.NDArray[Any], types: Types) -> tuple[str, Make]:
    kind = "geometry_msgs/msg/WrenchStamped"

    def make(row: int, header: Any) -> Any:
        told = values[row].tolist()
        parts = (_vector(told[:3], types), _vector(told[3:], types))
        return types.make(kind, header, types.make("geometry_msgs/msg/Wrench", *parts))

    return kind, make


def _twist(values: npt.NDArray[Any], types: Types) -> tuple[str, Make]:
    kind = "geometry_msgs/msg/TwistStamped"

    def make(row: int, header: Any) -> Any:
        told = values[row].tolist()
        parts = (_vector(told[:3], types), _vector(told[3:], types))
        return types.make(kind, header, types.make("geometry_msgs/msg/Twist", *parts))

    return kind, make


def _pose(values: npt.NDArray[Any], types: Types) -> tuple[str, Make]:
    kind = "geometry_msgs/msg/PoseStamped"

    def make(row: int, header: Any) -> Any:
        told = values[row].tolist()
        place = types.make("geometry_msgs/msg/Point", *told[:3])
        turn = types.make("geometry_msgs/msg/Quaternion", *told[3:])
        return types.make(kind, header, types.make("geometry_msgs/msg/Pose", place, turn))

    return kind, make


def _imu(values: npt.NDArray[Any], types: Types) -> tuple[str, Make]:
    kind, unknown = "sensor_msgs/msg/Imu", np.array(_UNKNOWN)

    def make(row: int, header: Any) -> Any:
        told = values[row].tolist()
        turn = types.make("geometry_msgs/msg/Quaternion", *told[:4])
        spin, pull = _vector(told[4:7], types), _vector(told[7:], types)
        return types.make(kind, header, turn, unknown, spin, unknown, pull, unknown)

    return kind, make


def _vector(told: list[float], types: Types) -> Any:
    return types.make("geometry_msgs/msg/Vector3", *told)


def _image(stream: Stream, types: Types) -> Make:
    values = stream.values
    height, width = values.shape[1:]
    encoding, step = _IMAGES[values.dtype.name], width * values.dtype.itemsize

    def make(row: int, header: Any) -> Any:
        data = np.ascontiguousarray(values[row], values.dtype.newbyteorder("<"))
        sizes = (height, width, encoding, 0, step)
        flat = np.frombuffer(data.tobytes(), np.uint8)
        return types.make("sensor_msgs/msg/Image", header, *sizes, flat)

    return make


def _array(stream: Stream, types: Types) -> tuple[str, Make]:
    """Write whatever else as an array of its own dtype, its channels in the layout's label."""
    dtype = stream.values.dtype.name
    name = _ARRAYS.get(dtype, dtype.capitalize())
    kind = f"std_msgs/msg/{name}MultiArray"
    target = np.dtype(name.lower())
    shape = stream.values.shape[1:]
    labels = [",".join(stream.channels)]
    if stream.info.shape is not None:
        labels = [f"axis_{n}" for n in range(1, len(shape) + 1)]
    strides = [int(np.prod(shape[n:])) for n in range(len(shape))]
    dimensions = [
        types.make("std_msgs/msg/MultiArrayDimension", *each)
        for each in zip(labels, shape, strides, strict=True)
    ]
    layout = types.make("std_msgs/msg/MultiArrayLayout", dimensions, 0)

    def make(row: int, header: Any) -> Any:
        del header  # an array has none: when it was sent says the time
        data = np.ascontiguousarray(stream.values[row], target).ravel()
        return types.make(kind, layout, data)

    return kind, make


def _source(source_ns: Nanoseconds, types: Types) -> Make:
    def make(row: int, header: Any) -> Any:
        del header
        return types.make("std_msgs/msg/Int64", int(source_ns[row]))

    return make


def _ascii(part: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in part)
