"""The cameras of a bag: which topic is which camera, its lens, and its video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from demos.errors import DemosError
from demos.formats.ros_clocks import Clock, settle
from demos.formats.ros_gathering import Gathering
from demos.formats.ros_names import camera, flat, lens
from demos.formats.ros_pictures import DEPTH, Film, Pictures
from demos.formats.ros_streams import Naming
from demos.model import CameraInfo, Intrinsics, Stream, StreamInfo, VideoFile

_MODELS: dict[str, Literal["plumb_bob", "rational", "fisheye"]] = {
    "plumb_bob": "plumb_bob",
    "rational_polynomial": "rational",
    "equidistant": "fisheye",
}
_KEPT = {
    "jpeg": "JPEG images, byte for byte",
    "png": "PNG images, byte for byte",
    "raw": "raw images, encoded as H.264 with loss",
}


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """The images of one topic, their clock settled."""

    topic: str
    pictures: Pictures
    clock: Clock


def shots_of(gathering: Gathering) -> list[Shot]:
    """Settle the clocks of all image topics that can be kept."""
    return [
        Shot(topic, pictures, settle(pictures.moments, topic, asis=topic in gathering.own))
        for topic, pictures in sorted(gathering.pictures.items())
        if topic not in gathering.lost and len(pictures.moments)
    ]


def depth_streams(shots: list[Shot], gathering: Gathering, naming: Naming, start_ns: int) -> None:
    """Make a stream of each topic of depth images, without loss."""
    for shot in shots:
        if shot.pictures.kind != "depth":
            continue
        known = gathering.own.get(shot.topic)
        if known is not None and known.streams:
            [meant] = known.streams.values()
            clock = shot.clock.since(start_ns)
            stream = meant.stream(shot.pictures.depth(clock), clock)
            naming.add(meant.name, stream, shot.topic)
            continue
        naming.told(shot.clock, shot.topic)
        encoding = shot.pictures.encoding
        scale = DEPTH[encoding][1]
        naming.notes.assumed.append(
            f"{shot.topic}: {encoding} is distance along the optical axis, {scale:g} m a count"
        )
        clock = shot.clock.since(start_ns)
        info = StreamInfo(
            units=("count" if scale != 1.0 else "m",),
            channels=("depth",),
            shape=shot.pictures.size,
            scale=scale,
            reference_frame=shot.pictures.frame[:200] or None,
            semantics="distance along the optical axis; 0 where nothing was measured",
            note=f"ROS topic {shot.topic}",
        )
        values = shot.pictures.depth(clock)
        stream = Stream(clock.time_ns, values, info, clock.source_time_ns, clock.arrival_ns)
        naming.add(f"depth.{_name(shot.topic, naming)}", stream, shot.topic, flat(shot.topic))


def videos_of(
    shots: list[Shot], gathering: Gathering, naming: Naming, start_ns: int, film: Film
) -> dict[str, VideoFile]:
    """Write the video of each camera into the scratch folder; one that fails is named."""
    videos: dict[str, VideoFile] = {}
    notes = naming.notes
    for number, shot in enumerate(shots):
        if shot.pictures.kind == "depth":
            continue
        known = gathering.own.get(shot.topic)
        told = known.camera if known is not None else None
        name = told[0] if told is not None else _name(shot.topic, naming)
        if name in videos:
            name = flat(shot.topic)
        path = gathering.scratch / f"{number}.mp4"
        clock = shot.clock.since(start_ns)
        try:
            shot.pictures.write(path, clock, film)
            index = film.index(path)
        except DemosError as error:
            notes.missing.append(f"images of {shot.topic}: {error}")
            notes.find("missing_video", f"no images of {shot.topic}: {error}", error.hint)
            continue
        naming.told(shot.clock, shot.topic)
        if told is None:
            kind = _KEPT.get(shot.pictures.kind, f"{index.codec} packets, byte for byte")
            notes.assumed.append(f"{shot.topic}: camera {name}; {len(clock.time_ns)} {kind}")
        if shot.pictures.early:
            notes.missing.append(
                f"{shot.topic}: {shot.pictures.early} images before the first key image"
            )
        size = (index.width, index.height)
        info = told[1] if told is not None else CameraInfo(width=size[0], height=size[1])
        found = info.intrinsics or _intrinsics(shot.topic, size, gathering, naming)
        update = {"width": size[0], "height": size[1], "codec": index.codec, "intrinsics": found}
        videos[name] = VideoFile(path, info.model_copy(update=update), clock.time_ns)
        naming.topics[f"image.{name}"] = shot.topic
    return videos


def _name(topic: str, naming: Naming) -> str:
    name = camera(topic)
    body = naming.sitting.body
    return body.camera_aliases.get(name, name) if body is not None else name


def _intrinsics(
    topic: str, size: tuple[int, int], gathering: Gathering, naming: Naming
) -> Intrinsics | None:
    """Read the lens of an image topic from the camera_info beside it."""
    beside = {name.rpartition("/")[0]: each for name, each in gathering.lenses.items()}
    told = beside.get(lens(topic))
    if told is None:
        return None
    k, d = (np.asarray(getattr(told, n, getattr(told, n.upper(), ()))) for n in ("k", "d"))
    if (told.width, told.height) != size:
        naming.notes.find(
            "camera_info",
            f"the camera_info of {topic} is for {told.width}x{told.height}, images are "
            f"{size[0]}x{size[1]}: it was not used",
        )
        return None
    if len(k) != 9 or not np.isfinite(k).all() or not np.isfinite(d).all() or not k[0]:
        return None
    model = _MODELS.get(told.distortion_model)
    if model is None and d.any():
        naming.notes.missing.append(
            f"distortion of {topic}: model {told.distortion_model!r} is not known"
        )
    return Intrinsics(
        fx=float(k[0]),
        fy=float(k[4]),
        cx=float(k[2]),
        cy=float(k[5]),
        distortion_model=model or "none",
        distortion=tuple(float(x) for x in d) if model else (),
    )
