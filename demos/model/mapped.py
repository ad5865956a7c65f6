"""A mapping file: what lies where in somebody's own HDF5 files and bags, written by hand as YAML.

Paths in an HDF5 file are datasets (`obs/qpos`, a field of a compound one `log/q`) or attributes
(`obs@rate`, `@success`), from the episode's group on, or from the file's root with a `/` before.
Paths in a bag (MCAP, rosbag2, ROS 1) are a topic and what lies in its messages: `/arm/state.q`,
`/ee.pose.position.x`, `/imu.values[0:3]` (elements 0 to 2), `/hand.joints[:].angle` (of each),
or a metadata record (`recording@operator`, `@operator` of any).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from demos.model.contracts import ChannelRole, SourceMapping
from demos.model.records import (
    Document,
    Intrinsics,
    LabelKind,
    Name,
    Origin,
    Pose,
    Record,
    Role,
    Scalar,
)


class MappedClock(Record):
    """When samples were taken: stamps at a path, in `unit`, or nothing but a rate.

    In a bag `path` is a field of the very messages (`header.stamp`; of a ROS or protobuf time the
    unit is known), and `time` takes the moment at which a message was recorded (`log`) or sent
    (`publish`) instead.
    """

    path: str = ""
    unit: Literal["ns", "us", "ms", "s"] = "s"
    time: Literal["log", "publish"] | None = None
    rate_hz: float | None = Field(default=None, gt=0, le=1e6)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.path) + (self.time is not None) + (self.rate_hz is not None) != 1:
            raise ValueError("say either the path of the stamps, or time, or rate_hz")
        return self


class MappedText(Record):
    """A text that holds for all episodes, or the path in the file at which each has its own.

    Of a topic, the last message counts.
    """

    text: str = ""
    path: str = ""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.path) == bool(self.text):
            raise ValueError("say either text or path")
        return self


class MappedStream(Record):
    """One stream: what lies at `paths`, side by side, what its columns are, how they become SI.

    `columns` picks and orders (a quaternion wxyz at 3 to 6 becomes xyzw by [0, 1, 2, 4, 5, 6, 3]);
    empty: all. `names` is the path of what the source calls its columns: then `channels` are picked
    by these names, in whatever order they are there. `units` has one for each column, or one for
    all; it may be left out where a `role` says that the channels are joints, whose units the
    embodiment knows. A number becomes `scale` times the number plus `offset`. `clock` None: that
    of the file.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    columns: tuple[int, ...] = ()
    names: str = ""
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    role: ChannelRole | None = None
    scale: float = 1.0
    offset: float = 0.0
    clock: MappedClock | None = None
    reference_frame: str | None = None
    of_frame: str | None = None
    semantics: str | None = None
    note: str = ""

    @model_validator(mode="after")
    def _says_what_it_needs(self) -> Self:
        if self.role is None and not self.units:
            raise ValueError("units are missing: one for each column, or one for all")
        if self.role is not None and not self.channels:
            raise ValueError("channels are missing: the names of the joints")
        if self.role is not None and (self.scale, self.offset) != (1.0, 0.0):
            raise ValueError("joints are converted by `mapping`, not by scale and offset")
        if self.names and (not self.channels or self.columns or len(self.paths) > 1):
            raise ValueError("names go with one path and the channels that are wanted of it")
        if any(column < 0 for column in self.columns):
            raise ValueError("columns are counted from 0")
        if self.scale == 0:
            raise ValueError("scale is 0")
        return self


class MappedCamera(Record):
    """One camera: images at a path, raw or each a JPEG or PNG, or a video file beside.

    A topic of images that say themselves what they are (ROS, Foxglove) needs nothing more. Bytes
    that are packets of a video need their `codec`, raw pixels their `width` and `height`; `order`
    is that of raw colours. `file` is a path below the mapping file's folder, in which `{stem}`
    stands for the recording's name and `{episode}` for the name of the episode's group.
    `clock` None: the file's for images at a path, the video's own stamps for a video.
    """

    path: str = ""
    file: str = ""
    codec: Literal["h264", "hevc", "av1"] | None = None
    width: int | None = Field(default=None, gt=0, le=65535)
    height: int | None = Field(default=None, gt=0, le=65535)
    order: Literal["rgb", "bgr"] = "rgb"
    clock: MappedClock | None = None
    intrinsics: Intrinsics | None = None
    pose: Pose | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.path) == bool(self.file):
            raise ValueError("say either path or file")
        if (self.width is None) != (self.height is None):
            raise ValueError("say both width and height")
        if self.codec is not None and self.width is not None:
            raise ValueError("width and height are those of raw pixels, a codec knows its own")
        return self


class MappedLabel(Record):
    """One word said of a whole episode; `values` turns the source's words into ours.

    Where `values` says something, a word that it does not list is no label.
    """

    of: LabelKind = "outcome"
    path: Name
    values: dict[str, str] = {}
    annotator: Name = "source"
    role: Role = "operator"


class MappingFile(Document):
    """What lies where in somebody's own HDF5 files and bags.

    `files` are glob patterns below the folder of the mapping file. `episodes` is the pattern of
    the groups that are an episode each (`data/demo_*`), or `/` where a file is one, as a bag
    always is. `mapping` says
    how channels of joints become those of the embodiment, in place of its own `sources`.
    """

    kind: Literal["mapping"] = "mapping"
    title: str
    description: str = ""
    files: tuple[str, ...] = Field(default=("*.hdf5", "*.h5", "*.mcap"), min_length=1)
    episodes: str = "/"
    embodiment: str = ""
    robot: str = ""
    task: MappedText | None = None
    instruction: MappedText | None = None
    operator: MappedText | None = None
    origin: Origin = "unknown"
    licence: str = "unknown"
    factors: dict[str, MappedText | Scalar] = {}
    clock: MappedClock | None = None
    streams: dict[Name, MappedStream] = Field(min_length=1)
    cameras: dict[Name, MappedCamera] = {}
    labels: tuple[MappedLabel, ...] = ()
    mapping: SourceMapping = SourceMapping()
