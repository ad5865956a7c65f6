"""The smallest bag that the published example of a mapping file for bags describes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from demos.errors import require
from demos.formats.ros_example import jpeg

STEPS, IMAGES = 8, 4
BEGAN_NS = 1_760_000_000_000_000_000
STEP_NS = 10_000_000
LATE_NS = 3_000_000
FORCE = "rig.Force"
HAND = "rig_msgs/msg/Hand"
HAND_FIELDS = (
    "builtin_interfaces/Time stamp\nrig_msgs/Finger[] fingers\nstring note\n"
    + "=" * 80
    + "\nMSG: rig_msgs/Finger\nfloat32 angle\nuint16 pressure\n"
)


def write(path: Path) -> Path:
    """Write 0.08 s: arms in JSON, a force in protobuf, a hand in a ROS type of its own, images."""
    mcap = require("mcap.writer", extra="ros")
    with path.open("wb") as file:
        writer = mcap.Writer(file)
        writer.start("rig", "example")
        channels = {
            "/arms": _channel(writer, "/arms", "json", "jsonschema", "Arms", b'{"type": "object"}'),
            "/force": _channel(writer, "/force", "protobuf", "protobuf", FORCE, _descriptors()),
            "/hand": _channel(writer, "/hand", "cdr", "ros2msg", HAND, HAND_FIELDS.encode()),
            "/head": _channel(
                writer, "/head", "json", "jsonschema", "Image", b'{"type": "object"}'
            ),
            "/result": _channel(writer, "/result", "json", "jsonschema", "Result", b"{}"),
        }
        for step in range(STEPS):
            told = {"/arms": _arms(step), "/force": _force(step), "/hand": _hand(step)}
            if step < IMAGES:
                told["/head"] = _image(step)
            for topic, data in told.items():
                sent_ns = BEGAN_NS + step * STEP_NS
                writer.add_message(channels[topic], sent_ns + LATE_NS, data, sent_ns)
        end_ns = BEGAN_NS + STEPS * STEP_NS
        writer.add_message(channels["/result"], end_ns, b'{"done": true}', end_ns)
        writer.add_metadata("recording", {"operator": "op-7", "object": "cup"})
        writer.finish()
    return path


def force_type() -> Any:
    """Return the class of the force's messages."""
    pools = require("google.protobuf.descriptor_pool", extra="ros")
    factory = require("google.protobuf.message_factory", extra="ros")
    pool = pools.DescriptorPool()
    pool.Add(_file())
    return factory.GetMessageClass(pool.FindMessageTypeByName(FORCE))


def _channel(
    writer: Any, topic: str, encoding: str, language: str, kind: str, schema: bytes
) -> int:
    number = writer.register_schema(kind, language, schema)
    channel: int = writer.register_channel(topic, encoding, number)
    return channel


def _arms(step: int) -> bytes:
    joints = [{"name": f"l{n}", "angle": float(step * (n + 1))} for n in range(7)]
    joints = joints[step % 7 :] + joints[: step % 7]  # their order says nothing
    target = [float(step * n) + 1 for n in range(1, 8)]
    stamp_us = (BEGAN_NS + step * STEP_NS) // 1000
    return json.dumps({"stamp_us": stamp_us, "joints": joints, "target": target}).encode()


def _force(step: int) -> bytes:
    message = force_type()(count=[step * n for n in range(1, 7)])
    message.stamp.seconds, message.stamp.nanos = divmod(BEGAN_NS + step * STEP_NS, 10**9)
    return bytes(message.SerializeToString())


def _hand(step: int) -> bytes:
    """Encode the hand by hand, as CDR lays it out: little-endian, every number at its multiple."""
    import struct

    seconds, nanoseconds = divmod(BEGAN_NS + step * STEP_NS, 10**9)
    fingers = b"".join(struct.pack("<fHxx", step / 10 + n, 100 * n + step) for n in range(3))
    return b"\0\1\0\0" + struct.pack("<iII", seconds, nanoseconds, 3) + fingers + b"\1\0\0\0\0"


def _image(step: int) -> bytes:
    return json.dumps({"jpg": base64.b64encode(jpeg(step)).decode()}).encode()


def _file() -> Any:
    """Describe the force's type, as `protoc` would of a .proto file."""
    descriptors = require("google.protobuf.descriptor_pb2", extra="ros")
    file = descriptors.FileDescriptorProto(name="rig.proto", package="rig", syntax="proto3")
    stamp = file.message_type.add(name="Stamp")
    stamp.field.add(name="seconds", number=1, type=3, label=1)
    stamp.field.add(name="nanos", number=2, type=5, label=1)
    force = file.message_type.add(name="Force")
    force.field.add(name="stamp", number=1, type=11, type_name=".rig.Stamp", label=1)
    force.field.add(name="count", number=2, type=5, label=3)
    return file


def _descriptors() -> bytes:
    descriptors = require("google.protobuf.descriptor_pb2", extra="ros")
    return bytes(descriptors.FileDescriptorSet(file=[_file()]).SerializeToString())
