"""Small bags for tests, written by rosbags and mcap as their recorders lay them out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags import rosbag1, rosbag2

from demos.formats.ros_types import Types
from demos.importers import Found, Item, Options, open_source
from demos.model import Draft

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
STORAGES = ("mcap", "db3", "bag")

ROS2 = Types(ros1=False)
ROS1 = Types(ros1=True)

Sent = tuple[str, int, Any]
"""A topic, when it was recorded (ms after the start) and what, as a function of the types."""


class Maker:
    """Make messages of one ROS; every stamp in ms after the start, or None for an unset one."""

    def __init__(self, types: Types) -> None:
        self.types, self._seq = types, 0

    def header(self, at_ms: float | None, frame: str = "") -> Any:
        stamp = self.time(at_ms)
        seq = (0,) if self.types.ros1 else ()
        return self.types.make("std_msgs/msg/Header", *seq, stamp, frame)

    def time(self, at_ms: float | None) -> Any:
        ns = 0 if at_ms is None else START_NS + round(at_ms * MS)
        return self.types.make("builtin_interfaces/msg/Time", *divmod(ns, 10**9))

    def joints(
        self,
        at_ms: float | None,
        names: Sequence[str],
        position: Sequence[float] = (),
        velocity: Sequence[float] = (),
        effort: Sequence[float] = (),
    ) -> Any:
        told = (np.array(each, np.float64) for each in (position, velocity, effort))
        return self.types.make("sensor_msgs/msg/JointState", self.header(at_ms), list(names), *told)

    def vector(self, *values: float) -> Any:
        return self.types.make("geometry_msgs/msg/Vector3", *values)

    def quaternion(self, *values: float) -> Any:
        return self.types.make("geometry_msgs/msg/Quaternion", *values)

    def wrench(self, at_ms: float | None, frame: str, *values: float) -> Any:
        parts = (self.vector(*values[:3]), self.vector(*values[3:]))
        held = self.types.make("geometry_msgs/msg/Wrench", *parts)
        return self.types.make("geometry_msgs/msg/WrenchStamped", self.header(at_ms, frame), held)

    def pose(self, at_ms: float | None, frame: str, *values: float) -> Any:
        point = self.types.make("geometry_msgs/msg/Point", *values[:3])
        held = self.types.make("geometry_msgs/msg/Pose", point, self.quaternion(*values[3:]))
        return self.types.make("geometry_msgs/msg/PoseStamped", self.header(at_ms, frame), held)

    def transforms(self, at_ms: float | None, *told: tuple[str, str, Sequence[float]]) -> Any:
        made = [
            self.types.make(
                "geometry_msgs/msg/TransformStamped",
                self.header(at_ms, parent),
                child,
                self.types.make(
                    "geometry_msgs/msg/Transform",
                    self.vector(*values[:3]),
                    self.quaternion(*values[3:]),
                ),
            )
            for parent, child, values in told
        ]
        return self.types.make("tf2_msgs/msg/TFMessage", made)

    def imu(self, at_ms: float | None, frame: str, *, oriented: bool = True) -> Any:
        nothing = np.zeros(9)
        covariance = nothing if oriented else np.array([-1.0, *([0.0] * 8)])
        return self.types.make(
            "sensor_msgs/msg/Imu",
            self.header(at_ms, frame),
            *(self.quaternion(0.0, 0.0, 0.6, 0.8), covariance),
            *(self.vector(0.1, 0.2, 0.3), nothing, self.vector(0.0, 0.0, 9.81), nothing),
        )

    def compressed(self, at_ms: float | None, data: bytes, form: str = "jpeg") -> Any:
        held = np.frombuffer(data, np.uint8)
        return self.types.make(
            "sensor_msgs/msg/CompressedImage", self.header(at_ms, "optical"), form, held
        )

    def video(self, at_ms: float, data: bytes, form: str = "h264") -> Any:
        held = np.frombuffer(data, np.uint8)
        kind = "foxglove_msgs/msg/CompressedVideo"
        return self.types.make(kind, self.time(at_ms), "optical", held, form)

    def image(
        self,
        at_ms: float | None,
        pixels: npt.NDArray[Any],
        encoding: str,
        *,
        padding: int = 0,
        bigendian: bool = False,
    ) -> Any:
        height, width = pixels.shape[:2]
        raw = pixels.astype(pixels.dtype.newbyteorder(">" if bigendian else "<"))
        lines = np.frombuffer(raw.tobytes(), np.uint8).reshape(height, -1)
        lines = np.pad(lines, ((0, 0), (0, padding)))
        sizes = (height, width, encoding, int(bigendian), lines.shape[1])
        return self.types.make(
            "sensor_msgs/msg/Image", self.header(at_ms, "optical"), *sizes, lines.ravel()
        )

    def camera_info(self, width: int, height: int, k: Sequence[float], d: Sequence[float]) -> Any:
        numbers = (np.array(k, float), np.eye(3).ravel(), np.zeros(12))
        region = self.types.make("sensor_msgs/msg/RegionOfInterest", *(0, 0, 0, 0, False))
        return self.types.make(
            "sensor_msgs/msg/CameraInfo",
            *(self.header(0), height, width, "plumb_bob", np.array(d, float), *numbers),
            *(0, 0, region),
        )

    def array(self, kind: str, values: npt.NDArray[Any], label: str = "") -> Any:
        size = len(values)
        dimension = self.types.make("std_msgs/msg/MultiArrayDimension", label, size, size)
        layout = self.types.make("std_msgs/msg/MultiArrayLayout", [dimension] if label else [], 0)
        return self.types.make(f"std_msgs/msg/{kind}MultiArray", layout, values)

    def plain(self, kind: str, value: Any) -> Any:
        return self.types.make(f"std_msgs/msg/{kind}", value)


def maker(storage: str) -> Maker:
    return Maker(ROS1 if storage == "bag" else ROS2)


def write(folder: Path, storage: str, sent: Sequence[Sent]) -> Path:
    """Write messages (topic, ms after the start, message) as a bag named `take`."""
    folder.mkdir(parents=True, exist_ok=True)
    writer: Any
    if storage == "bag":
        path = folder / "take.bag"
        writer, types, encode = rosbag1.Writer(path), ROS1, ROS1.store.serialize_ros1
    else:
        path = folder / "take"
        plugin = rosbag2.StoragePlugin.MCAP if storage == "mcap" else rosbag2.StoragePlugin.SQLITE3
        writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
        types, encode = ROS2, ROS2.store.serialize_cdr
    with writer as bag:
        topics: dict[str, Any] = {}
        for topic, at_ms, message in sent:
            kind = message.__msgtype__
            if topic not in topics:
                topics[topic] = bag.add_connection(topic, kind, typestore=types.store)
            log_ns = START_NS + round(at_ms * MS)
            bag.write(topics[topic], log_ns, encode(message, kind))
    return path


def read(path: Path, **options: Any) -> Draft:
    """Import the one episode of a bag."""
    [draft] = [item.draft for item in items(path, **options) if isinstance(item, Found)]
    return draft


def items(path: Path, **options: Any) -> list[Item]:
    return list(open_source(path, Options(**options)))


def encoded(image: npt.NDArray[np.uint8], codec: str = "mjpeg") -> bytes:
    """Encode one RGB image as JPEG or PNG, as a camera driver would."""
    import av

    held = io.BytesIO()
    form = {"mjpeg": "mjpeg", "png": "image2pipe"}[codec]
    with av.open(held, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}[codec]
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode()])
    return held.getvalue()


def annex_b(images: Sequence[npt.NDArray[np.uint8]], keys: int = 4) -> list[bytes]:
    """Encode RGB images as H.264 with start codes, SPS and PPS before every key image."""
    import av

    context: Any = av.CodecContext.create("libx264", "w")
    context.height, context.width = images[0].shape[:2]
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 10)
    context.framerate = Fraction(10, 1)
    context.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "x264-params": f"keyint={keys}:min-keyint={keys}:scenecut=0:bframes=0:annexb=1",
    }
    made = []
    for number, image in enumerate(images):
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts = number
        made += [bytes(packet) for packet in context.encode(picture)]
    return made + [bytes(packet) for packet in context.encode(None)]
