"""Small recordings and imports for the tests of the store."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.model import CameraInfo, Draft, Facts, Finding, Session, Stream, StreamInfo, VideoFile
from demos.provenance import made_by, new_id, new_label, now
from demos.store import EpisodeStore, Recorder
from demos.store.encoding import Encoder, Packet, mux
from demos.store.episode_recording import EpisodeRecording

CAMERA = CameraInfo(width=64, height=48, rate_hz=30.0)
STEP_NS = 2_000_000
IMAGE_NS = 33_333_333
PAIR = StreamInfo(units=("m", "m"), channels=("x", "y"))


def recorder_of(store: EpisodeStore, **more: Any) -> Recorder:
    return Recorder(store, embodiment="g1_dex3", operator="op-1", task="pick_place", **more)


def positions(count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, 31)).astype(np.float32)


def image(number: int, width: int = 64, height: int = 48) -> npt.NDArray[np.uint8]:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : number * 4 % width + 1] = 200
    return picture


def fill(taken: EpisodeRecording, samples: int = 50, images: int = 3) -> None:
    values = positions(samples)
    for i in range(samples):
        taken.write("joint_position", i * STEP_NS, values[i])
    if images:
        taken.declare_camera("egocentric", CAMERA)
    for i in range(images):
        taken.image("egocentric", i * IMAGE_NS, image(i))


def packets(count: int, width: int = 64, height: int = 48) -> list[Packet]:
    encoder, made = Encoder(width, height, 30.0), []
    for number in range(count):
        made += encoder.encode(image(number, width, height))
    first = made[0]
    made[0] = Packet(encoder.extradata + first.data, first.pts, first.dts, first.key)
    return made


def draft(folder: Path, images: int = 12) -> Draft:
    """An import: one stream, one video file, one label, one finding."""
    video, nobody = folder / "camera 1.mp4", new_id()
    stamps = np.arange(images, dtype=np.int64) * IMAGE_NS
    if not video.exists():
        mux(video, packets(images), stamps, size=(64, 48))
    time_ns = np.arange(20, dtype=np.int64) * STEP_NS + 7
    return Draft(
        session=Session(id=new_id(), embodiment="g1_dex3", operator="op-2", started_at=now()),
        facts=Facts(task="pick_place", recorded_at=now(), provenance=made_by("test")),
        streams={"pose.x": Stream(time_ns, np.arange(40.0).reshape(20, 2), PAIR)},
        videos={"egocentric": VideoFile(video, CAMERA, stamps)},
        labels=(new_label(nobody, "outcome", annotator="m", role="machine", value="success"),),
        findings=(Finding(episode=nobody, check="gaps", severity="warning", message="a gap"),),
    )


def forked() -> int:
    """Fork; Python 3.12 warns where libraries have threads, which the children never touch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
