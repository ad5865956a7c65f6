"""The smallest ROS bag that has everything: two joints, their commands, a force, a camera."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from demos.errors import require
from demos.formats.ros_types import Types

STEPS = 8
STEP_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000
LATE_NS = 2_000_000
JOINTS = ("shoulder", "elbow")


def write_rosbag2(root: Path, *, storage: str) -> Path:
    """Write a rosbag2 folder of eight messages a topic; `storage` is `mcap` or `sqlite3`."""
    rosbag2 = require("rosbags.rosbag2", extra="ros")
    types = Types(ros1=False)
    root.parent.mkdir(parents=True, exist_ok=True)
    plugin = rosbag2.StoragePlugin.MCAP if storage == "mcap" else rosbag2.StoragePlugin.SQLITE3
    with rosbag2.Writer(root, version=9, storage_plugin=plugin) as bag:
        made = [_messages(types, number) for number in range(STEPS)]
        topics = {
            topic: bag.add_connection(topic, message.__msgtype__, typestore=types.store)
            for topic, message in made[0].items()
        }
        for number, messages in enumerate(made):
            for topic, message in messages.items():
                log_ns = START_NS + number * STEP_NS + LATE_NS
                bag.write(topics[topic], log_ns, types.encode(message))
    return root


def _messages(types: Types, number: int) -> dict[str, Any]:
    stamp_ns = START_NS + number * STEP_NS
    stamp = types.make(
        "builtin_interfaces/msg/Time", stamp_ns // 10**9, stamp_ns % 10**9
    )  # fmt: skip
    swing = np.array([np.sin(number / 3), np.cos(number / 3)])
    nothing = np.zeros(0)

    def header(frame: str) -> Any:
        return types.make("std_msgs/msg/Header", stamp, frame)

    def joints(values: Any, velocity: Any) -> Any:
        return types.make(
            "sensor_msgs/msg/JointState", header(""), list(JOINTS), values, velocity, nothing
        )

    def vector(*values: float) -> Any:
        return types.make("geometry_msgs/msg/Vector3", *values)

    wrench = types.make("geometry_msgs/msg/Wrench", vector(0, 0, -9.81), vector(0, 0.1 * number, 0))
    return {
        "/joint_states": joints(swing, swing / 3),
        "/joint_command": joints(swing + 0.01, nothing),
        "/left_wrist/wrench": types.make(
            "geometry_msgs/msg/WrenchStamped", header("left_wrist_ft"), wrench
        ),
        "/camera/head/image_raw/compressed": types.make(
            "sensor_msgs/msg/CompressedImage",
            header("head_optical"),
            "jpeg",
            np.frombuffer(jpeg(number), np.uint8),
        ),
    }


def jpeg(number: int) -> bytes:
    """Encode a grey image of 64x48 as JPEG."""
    import av

    grey = np.full((48, 64, 3), 20 * number, np.uint8)
    held = io.BytesIO()
    with av.open(held, "w", format="mjpeg") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        image = av.VideoFrame.from_ndarray(grey, format="rgb24")
        container.mux([*stream.encode(image), *stream.encode()])
    return held.getvalue()
