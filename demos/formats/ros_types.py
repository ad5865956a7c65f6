"""The ROS message types that are read, decoded by their usual definitions only.

A bag may bring definitions along. They are compared with the usual ones and never compiled: a
type that a bag defines otherwise is refused by name. The usual definitions of these types are the
same in every ROS 2 distribution from Dashing on, so a bag without any is read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demos.errors import require

VIDEO = "foxglove_msgs/msg/CompressedVideo"
SCALARS = {
    "Bool": "bool",
    "Float32": "float32",
    "Float64": "float64",
    "Int8": "int8",
    "Int16": "int16",
    "Int32": "int32",
    "Int64": "int64",
    "UInt8": "uint8",
    "UInt16": "uint16",
    "UInt32": "uint32",
    "UInt64": "uint64",
}
"""The scalars of std_msgs and the dtype of each; all but Bool have a MultiArray beside them."""

READ = frozenset(
    {
        "geometry_msgs/msg/PoseStamped",
        "geometry_msgs/msg/Twist",
        "geometry_msgs/msg/TwistStamped",
        "geometry_msgs/msg/WrenchStamped",
        "sensor_msgs/msg/CameraInfo",
        "sensor_msgs/msg/CompressedImage",
        "sensor_msgs/msg/Image",
        "sensor_msgs/msg/Imu",
        "sensor_msgs/msg/JointState",
        "std_msgs/msg/String",
        "tf2_msgs/msg/TFMessage",
        VIDEO,
        *(f"std_msgs/msg/{name}" for name in SCALARS),
        *(f"std_msgs/msg/{name}MultiArray" for name in SCALARS if name != "Bool"),
    }
)

_TF = "tf2_msgs/msg/TFMessage"
_TF_FIELDS = "geometry_msgs/TransformStamped[] transforms\n"
_ALIASES = {"tf/msg/tfMessage": _TF}
_VIDEO_FIELDS = "{time} timestamp\nstring frame_id\nuint8[] data\nstring format\n"
_IDL_BREAK = "=" * 80 + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """One topic of a bag; `kind` is its type as ROS 2 writes it (`std_msgs/msg/String`).

    encoding: `cdr` (ROS 2), `ros1`, or what else the bag says. definition: the type as the bag
    defines it, in the language `language` (`ros2msg`, `ros2idl`, `ros1msg`, empty for none).
    about: the channel's metadata. schema: a definition that is no text, as it lies in the bag.
    """

    name: str
    kind: str
    encoding: str
    definition: str = ""
    language: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    schema: bytes = b""


class Types:
    """The usual definitions of the types in `READ`, as ROS 1 or as ROS 2 lays them out.

    Raises MissingExtra where rosbags is not installed.
    """

    def __init__(self, *, ros1: bool) -> None:
        typesys = require("rosbags.typesys", extra="ros")
        self.ros1 = ros1
        name = typesys.Stores.ROS1_NOETIC if ros1 else typesys.Stores.ROS2_FOXY
        self.store: Any = typesys.get_typestore(name)
        time = "time" if ros1 else "builtin_interfaces/Time"
        for kind, fields in ((VIDEO, _VIDEO_FIELDS.format(time=time)), (_TF, _TF_FIELDS)):
            self.store.register(typesys.get_types_from_msg(fields, kind))

    def usual_name(self, kind: str) -> str:
        """Return the usual name of a type that has two."""
        return _ALIASES.get(kind, kind)

    def decode(self, kind: str, data: bytes) -> Any:
        """Decode one message. Raises whatever rosbags raises for damaged bytes."""
        if self.ros1:
            return self.store.deserialize_ros1(data, kind)
        return self.store.deserialize_cdr(data, kind)

    def encode(self, message: Any) -> bytes:
        """Encode one message as CDR."""
        return bytes(self.store.serialize_cdr(message, message.__msgtype__))

    def make(self, kind: str, *fields: Any) -> Any:
        """Make a message of its fields in their order."""
        return self.store.types[kind](*fields)

    def text(self, kind: str) -> str:
        """Return the definition of a type with all it refers to, as ROS 2 writes it."""
        text: str = self.store.generate_msgdef(kind, ros_version=2)[0]
        return text

    def problem(self, topic: Topic) -> str:
        """Say why the messages of a topic are not read, or nothing where they are."""
        if topic.encoding != ("ros1" if self.ros1 else "cdr"):
            coded = topic.encoding or "no encoding"
            return f"messages in {coded}, which is not read"
        kind = self.usual_name(topic.kind)
        if kind not in READ:
            return "a type that is not read"
        if not topic.definition.strip():
            return ""
        try:
            told = parsed(topic)
        except Exception as error:  # noqa: BLE001  rosbags' grammars raise a dozen kinds
            return f"a definition that cannot be read: {' '.join(str(error).split())[:120]}"
        usual = self.store.fielddefs
        for name in self._needed(kind):
            other = told.get(topic.kind if name == kind else name)
            if other is not None and _plain(other[1]) != _plain(usual[name][1]):
                return f"a definition of {name} that is not the usual one"
        return ""

    def _needed(self, kind: str) -> list[str]:
        found, left = [], [kind]
        while left:
            name = left.pop()
            if name in found:
                continue
            found.append(name)
            for _, description in self.store.fielddefs[name][1]:
                left += _named(description)
        return found


def parsed(topic: Topic) -> Mapping[str, Any]:
    """Parse the definition that a topic brings: type to constants and fields, as rosbags says it.

    Raises whatever rosbags' grammars raise.
    """
    typesys = require("rosbags.typesys", extra="ros")
    if topic.language != "ros2idl":
        found: Mapping[str, Any] = typesys.get_types_from_msg(topic.definition, topic.kind)
        return found
    parts = topic.definition.split(_IDL_BREAK)
    texts = [p.split("\n", 1)[-1] for p in parts[1:]] if len(parts) > 1 else parts
    return {name: one for t in texts for name, one in typesys.get_types_from_idl(t).items()}


def _named(description: Any) -> list[str]:
    """Return the types that a field's description refers to."""
    if isinstance(description[1], str):
        return [description[1]]
    inner = description[1][0]
    return _named(inner) if isinstance(inner, tuple) else []


def _plain(fields: Any) -> list[tuple[str, Any]]:
    return [(name.lower(), description) for name, description in fields]
