"""Replay buffers of UMI and diffusion policy: Zarr arrays that hold all episodes end to end."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed
from demos.formats import replay_buffer as layout
from demos.formats.files import licence, modified
from demos.formats.joints import OPAQUE
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.formats.rotations import quaternions
from demos.formats.sitting import Sitting, sitting
from demos.formats.steps import Ticks, ticks
from demos.formats.zarr_v2 import Array, open_array, opened
from demos.importers import Item, Options, Remark, attempt, importers
from demos.model import CameraInfo, Draft, Facts, Stream, StreamInfo, VideoFile
from demos.model.bulk import slabs

_MOST_ROWS = 10_000_000
_POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
_POSE_UNITS = ("m", "m", "m", "1", "1", "1", "1")


@importers.adding("umi")
class Umi:
    """Read Zarr replay buffers (version 2, folder or zip) of UMI, diffusion policy and Push-T."""

    loses: ClassVar[str] = (
        "the format has no rate and no texts; raw images are encoded as H.264 with loss, "
        "JPEG XL images need imagecodecs"
    )

    def sniff(self, path: Path) -> bool:
        """Look for the array `meta/episode_ends`."""
        try:
            return layout.is_buffer(path)
        except (OSError, ValueError, RuntimeError):
            return False

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes in the order of their rows."""
        if not path.is_dir() and not path.is_file():
            raise ImportFailed(f"{path.name} is neither a folder nor a file").with_hint(
                "name the folder or the .zarr.zip file of the dataset"
            )
        with opened(path) as files:
            ends = layout.episode_ends(open_array(files, layout.ENDS))
            arrays, lost = layout.arrays_of(files, files.arrays("data"))
            for name, reason in lost.items():
                yield Remark("missing", f"data/{name}: {reason}")
            source = _Source(path, arrays, lost, options)
            for number, end in enumerate(ends.tolist()):
                start = int(ends[number - 1]) if number else 0
                with TemporaryDirectory(prefix="demos-import-") as scratch:
                    share = _Share(f"episode_{number:06d}", start, end, Path(scratch))
                    yield attempt(share.name, partial(_draft, source, share), len(ends))

    def write_example(self, path: Path) -> Path:
        """Write a buffer of two episodes with the zarr package: a pose, a gripper, a camera."""
        from demos.formats.replay_buffer_example import write_umi

        return write_umi(path / "example.zarr")


@dataclass(slots=True)
class _Source:
    """An open buffer and what holds for all of its episodes."""

    root: Path
    arrays: Mapping[str, Array]
    lost: Mapping[str, str]
    options: Options
    flavour: layout.Flavour = field(init=False)
    sitting: Sitting = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        self.flavour = layout.flavour_of(list(self.arrays))
        self.sitting = sitting(
            self.root,
            "umi" if self.flavour == "umi" else "",
            None,
            options,
            format=f"umi ({self.flavour})",
            licence=licence(self.root),
        )


@dataclass(frozen=True, slots=True)
class _Share:
    """One episode's rows [start, end) of every array, and a folder for its videos."""

    name: str
    start: int
    end: int
    scratch: Path


def _draft(source: _Source, share: _Share) -> Draft:
    notes, options = Notes(assumed=list(source.sitting.assumed)), source.options
    if share.start == share.end:
        raise ImportFailed(f"{share.name} has no row").with_hint("nothing to do, it is empty")
    if (rows := share.end - share.start) > _MOST_ROWS:
        raise ImportFailed(f"{share.name} has {rows:,} rows").with_hint(
            "no one demonstrates for days: meta/episode_ends is damaged, copy it again"
        )
    for name, reason in source.lost.items():
        notes.missing.append(f"data/{name}: {reason}")
    numbers = _numbers(source, share, notes)
    clock = _ticks(source, share, numbers, notes)
    notes.assumed += clock.assumed
    for problem in clock.problems:
        notes.find("clock", problem, "compare the timestamps with the recorder's log", "error")
    streams, constants = _streams(source, numbers, clock)
    videos = {} if options.numbers_only else _videos(source, share, clock, notes)
    if not streams and not videos:
        raise ImportFailed(f"nothing of {share.name} can be read").with_hint(
            next(iter(source.lost.values()), "copy the dataset again from its source")
        )
    if source.sitting.body is not None:
        notes.assumed.append("channels have no names here, so none was connected to the body")
    notes.assumed.append("instruction: the format has no texts")
    if options.task is None:
        notes.assumed.append("task: the source has none, it is called after the file")
    facts = Facts(
        task=options.task or word(source.root.name.split(".")[0]),
        recorded_at=modified(source.root),
        factors=dict(options.factors),
        provenance=notes.provenance(
            source.root.name,
            f"umi {source.flavour}",
            parameters={
                "source_episode": share.name,
                "first_row": share.start,
                "rows": share.end - share.start,
                "ignored": list(options.ignore),
                **constants,
            },
        ),
    )
    return Draft(source.sitting.session, facts, streams, videos, (), (), tuple(notes.findings))


def _numbers(source: _Source, share: _Share, notes: Notes) -> dict[str, npt.NDArray[Any]]:
    """Read the rows of every array that is no camera, and hash them."""
    digest = hashlib.sha256()
    found: dict[str, npt.NDArray[Any]] = {}
    for name, array in source.arrays.items():
        if layout.is_camera(array) or name in source.options.ignore:
            continue
        try:
            values = array.rows(share.start, share.end)
        except DemosError as error:
            notes.missing.append(f"data/{name}: {error}")
            notes.find("array", f"{name} could not be kept: {error}", error.hint, "error")
            continue
        _say_absent(array, share, notes)
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        for _, rows in slabs(values):
            digest.update(rows.tobytes())
        if math.prod(values.shape[1:]):
            native = values.dtype.newbyteorder("=")
            found[name] = values.astype(np.uint8 if native.kind == "b" else native, copy=False)
    notes.sha256[f"data#{share.name}"] = digest.hexdigest()
    return found


def _ticks(
    source: _Source, share: _Share, numbers: dict[str, npt.NDArray[Any]], notes: Notes
) -> Ticks:
    rate, why = layout.RATES[source.flavour]
    stamps = numbers.get("timestamp")
    if stamps is not None and stamps.ndim == 1 and stamps.dtype.kind == "f":
        made = ticks(stamps, len(stamps), rate)
        if not made.problems:
            numbers.pop("timestamp")
            own = np.rint(stamps.astype(np.float64) * 1e9).astype(np.int64)
            notes.assumed.append("clock: the array timestamp, in seconds")
            return replace(made, source_time_ns=own)
        notes.find("clock", made.problems[0], "compare the timestamps with the log", "error")
    rows = share.end - share.start
    time_ns = np.rint(np.arange(rows) / rate * 1e9).astype(np.int64)
    said = f"clock: row / {rate:.5g} Hz, {why}; the source keeps neither a rate nor stamps"
    return Ticks(time_ns, "nominal", rate, assumed=(said,))


def _streams(
    source: _Source, numbers: Mapping[str, npt.NDArray[Any]], clock: Ticks
) -> tuple[dict[str, Stream], dict[str, Any]]:
    """Make the streams; poses that hold for the whole episode come back as parameters."""
    made: dict[str, Stream] = {}
    constants: dict[str, Any] = {}
    poses = [p for p in layout.poses(source.arrays) if {p.position, p.rotation} <= set(numbers)]
    for pose in poses:
        made[f"pose.{pose.name}"] = _pose(pose, numbers, clock, source.flavour)
    positions = {pose.position for pose in poses if pose.position != pose.rotation}
    for name, values in numbers.items():
        if name in positions:
            continue
        if name.endswith(("_demo_start_pose", "_demo_end_pose")) and (values == values[0]).all():
            constants[name] = [float(value) for value in values[0]]
            continue
        channels, units, note = layout.meaning(source.arrays[name], source.flavour)
        rows = values if values.ndim > 1 else values[:, None]
        info = StreamInfo(
            units=units,
            channels=channels,
            clock=clock.clock,
            rate_hz=clock.rate_hz,
            shape=rows.shape[1:] if rows.ndim > 2 else None,
            semantics=OPAQUE if name == "action" else None,
            note=note,
        )
        gripper = name.removesuffix("_gripper_width")
        called = f"gripper.{gripper}" if gripper != name else word(name)
        made[called] = Stream(clock.time_ns, np.ascontiguousarray(rows), info, clock.source_time_ns)
    return made, constants


def _pose(
    pose: layout.Pose, numbers: Mapping[str, npt.NDArray[Any]], clock: Ticks, flavour: str
) -> Stream:
    rotation = numbers[pose.rotation][:, -3:]
    position = numbers[pose.position][:, :3].astype(np.float64)
    umi = flavour == "umi"
    info = StreamInfo(
        units=_POSE_UNITS,
        channels=_POSE,
        clock=clock.clock,
        rate_hz=clock.rate_hz,
        reference_frame="table_tag" if umi else "robot_base",
        of_frame=f"{pose.name}_tcp",
        semantics="pose of the tool centre point",
        note=f"data/{pose.position} and data/{pose.rotation}; the rotation is kept raw as well, "
        "quaternions are computed from it",
    )
    values = np.hstack([position, quaternions(rotation)])
    return Stream(clock.time_ns, values, info, clock.source_time_ns)


def _videos(source: _Source, share: _Share, clock: Ticks, notes: Notes) -> dict[str, VideoFile]:
    made: dict[str, VideoFile] = {}
    for name, array in source.arrays.items():
        if not layout.is_camera(array) or name in source.options.ignore:
            continue
        camera = word(name.removesuffix("_rgb"))
        try:
            made[camera] = _video(array, share, clock, notes)
            _say_absent(array, share, notes)
        except DemosError as error:
            notes.missing.append(f"video of {camera}: {error}")
            notes.find(
                "missing_video", f"no images of {camera}: {error}",
                error.hint or "pad the images to even sizes", stream=f"image.{camera}",
            )  # fmt: skip
    return made


def _say_absent(array: Array, share: _Share, notes: Notes) -> None:
    """Name chunks that are not there: empty ones need not be written, lost ones look the same."""
    if lacking := array.absent(share.start, share.end):
        notes.find(
            "chunks",
            f"data/{array.name}: {lacking} chunks are missing, {array.fill} stands for them",
            "compare with the source: a chunk of nothing need not be written",
            "warning" if layout.is_camera(array) else "info",
        )


def _video(array: Array, share: _Share, clock: Ticks, notes: Notes) -> VideoFile:
    from demos.store.encoding import encode

    rate = clock.rate_hz or layout.RATES["diffusion policy"][0]
    target, digest = share.scratch / f"{array.name}.mp4", hashlib.sha256()
    encode(target, _images(array, share, digest), clock.time_ns, rate)
    notes.sha256[f"data/{array.name}#{share.name}"] = digest.hexdigest()
    notes.assumed.append(f"data/{array.name}: raw images were encoded as H.264, with loss")
    height, width = array.shape[1:3]
    info = CameraInfo(
        width=width, height=height, rate_hz=clock.rate_hz, clock=clock.clock,
        note=f"data/{array.name}, {array.dtype} {width}x{height}; encoded on import, with loss",
    )  # fmt: skip
    return VideoFile(target, info, clock.time_ns)


def _images(array: Array, share: _Share, digest: Any) -> Iterator[npt.NDArray[np.uint8]]:
    """Read images one by one; floats must be the whole numbers 0 to 255 that Push-T has."""
    for batch in array.batches(share.start, share.end):
        digest.update(batch.tobytes())
        with np.errstate(invalid="ignore", over="ignore"):
            images = batch.astype(np.uint8)
        if (images != batch).any():
            raise ImportFailed(
                f"{array.name} has values that are no whole numbers 0..255"
            ).with_hint("store the images as uint8 and import again")
        yield from images
