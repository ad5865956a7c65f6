"""A mapping file: what lies where in somebody's own HDF5 files, written by hand as YAML.

Paths in a file are datasets (`obs/qpos`, a field of a compound one `log/q`) or attributes
(`obs@rate`, `@success`), from the episode's group on, or from the file's root with a `/` before.
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
    """When samples were taken: stamps at a path, in `unit`, or nothing but a rate."""

    path: str = ""
    unit: Literal["ns", "us", "ms", "s"] = "s"
    rate_hz: float | None = Field(default=None, gt=0, le=1e6)

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.path) == (self.rate_hz is not None):
            raise ValueError("say either the path of the stamps or rate_hz")
        return self


class MappedText(Record):
    """A text that holds for all episodes, or the path in the file at which each has its own."""

    text: str = ""
    path: str = ""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.path) == bool(self.text):
            raise ValueError("say either text or path")
        return self


class MappedStream(Record):
    """One stream: datasets joined side by side, what their columns are, and how they become SI.

    `columns` picks and orders (a quaternion wxyz at 3 to 6 becomes xyzw by [0, 1, 2, 4, 5, 6, 3]);
    empty: all. `units` has one for each column, or one for all; it may be left out where a `role`
    says that the channels are joints, whose units the embodiment knows. A number becomes `scale`
    times the number plus `offset`. `clock` None: that of the file.
    """

    paths: tuple[str, ...] = Field(min_length=1)
    columns: tuple[int, ...] = ()
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
        if any(column < 0 for column in self.columns):
            raise ValueError("columns are counted from 0")
        if self.scale == 0:
            raise ValueError("scale is 0")
        return self


class MappedCamera(Record):
    """One camera: a dataset of images, raw or each a JPEG or PNG, or a video file beside.

    `file` is a path below the mapping file's folder, in which `{stem}` stands for the HDF5 file's
    name and `{episode}` for the name of the episode's group. `order` is that of raw colours.
    `clock` None: the file's for a dataset, the video's own stamps for a video.
    """

    path: str = ""
    file: str = ""
    order: Literal["rgb", "bgr"] = "rgb"
    clock: MappedClock | None = None
    intrinsics: Intrinsics | None = None
    pose: Pose | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if bool(self.path) == bool(self.file):
            raise ValueError("say either path or file")
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
    """What lies where in somebody's own HDF5 files.

    `files` are glob patterns below the folder of the mapping file. `episodes` is the pattern of
    the groups that are an episode each (`data/demo_*`), or `/` where a file is one. `mapping` says
    how channels of joints become those of the embodiment, in place of its own `sources`.
    """

    kind: Literal["mapping"] = "mapping"
    title: str
    description: str = ""
    files: tuple[str, ...] = Field(default=("*.hdf5", "*.h5"), min_length=1)
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
