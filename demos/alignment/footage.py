"""The video of a table: per camera the packets that show one image a step, copied or encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from demos.alignment.columns import NoTable
from demos.alignment.offers import CameraColumn
from demos.alignment.reels import Reel, ReelFile, reel
from demos.alignment.schemas import TableSchema
from demos.alignment.tables import StepTable
from demos.errors import Damaged, StoreError
from demos.model import Camera, CameraInfo, Episode
from demos.store.encoding import encode
from demos.store.video import VideoCamera

_AT_ONCE, _NEAR = 16, 5
"""Images decoded at once; how far the image may lie that stands for another in statistics."""


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """The images of one camera at the steps of one table.

    file: the reel by itself, an mp4 whose image `reel.lead` is the first step's. note: why the
    images were encoded anew, empty where the packets are the recorded ones.
    """

    reel: Reel
    file: Path
    note: str

    def samples(self, numbers: Sequence[int]) -> Iterator[npt.NDArray[np.uint8]]:
        """Decode images at about these steps, a few at a time: (k, height, width, 3) RGB.

        Where a key image is near, it stands for the step: it is decoded without any other.
        """
        reel, index = self.reel, self.reel.video.index
        keys = np.flatnonzero(index.key[index.order])
        keys = keys[(keys >= reel.first) & (keys < reel.first + reel.images)]
        wanted = set()
        for number in numbers:
            away = keys - (reel.first + number)
            near = int(away[np.abs(away).argmin()]) if len(keys) else 0
            wanted.add(reel.first + number + (near if abs(near) <= _NEAR else 0))
        chosen = sorted(wanted)
        for start in range(0, len(chosen), _AT_ONCE):
            yield reel.video.images(chosen[start : start + _AT_ONCE])


def footage(
    episode: Episode, schema: TableSchema, table: StepTable, scratch: Path, *, exact: bool = False
) -> dict[str, Footage]:
    """Find the images of a table, by column name; files are made in `scratch`, an empty folder.

    exact: the target has no offsets, so a reel must hold the table's images and no others.
    Raises NoTable, RecordingFailed, and what reading the video raises.
    """
    found = {}
    for number, column in enumerate(schema.cameras):
        camera, shown = episode.cameras[column.camera], table.images[column.camera]
        path = scratch / f"{number}.mp4"
        copied = reel(camera, shown)
        if isinstance(copied, Reel) and exact and not copied.exact:
            copied = "it does not begin at a key image"
        if isinstance(copied, Reel):
            copied = _by_itself(copied, path, schema.rate_hz)
        if isinstance(copied, Reel):
            found[column.name] = Footage(copied, path, "")
            continue
        why = f"image.{column.camera} was encoded anew, with loss: {copied}"
        path.unlink(missing_ok=True)
        again = _encoded(column, camera, shown, scratch / f"{number}.h264.mp4", schema.rate_hz)
        if isinstance(broken := _by_itself(again, path, schema.rate_hz), str):
            raise NoTable(f"the images of {column.camera} make no video: {broken}").with_hint(
                "look at the camera with `demos view`"
            )
        found[column.name] = Footage(again, path, why)
    return found


def _by_itself(copied: Reel, path: Path, rate_hz: float) -> Reel | str:
    """Write a reel as a file of its own; return it, or why FFmpeg does not take its packets."""
    try:
        with ReelFile(path, rate_hz, copied) as file:
            file.add(copied)
    except Damaged:  # to encode what is left of it would hide that
        raise
    except StoreError as error:
        return str(error)
    return copied


def _encoded(
    column: CameraColumn,
    camera: Camera,
    shown: npt.NDArray[np.int64],
    path: Path,
    rate_hz: float,
) -> Reel:
    even_ns = np.rint(np.arange(len(shown)) * (1e9 / rate_hz)).astype(np.int64)
    try:
        index = encode(path, _decoded(camera, shown), even_ns, rate_hz)
    except OSError as error:
        raise NoTable(f"the images of {column.camera} cannot be read: {error}").with_hint(
            "`demos verify STORE --deep` says what is damaged"
        ) from error
    info = CameraInfo(width=index.width, height=index.height, rate_hz=rate_hz)
    video = VideoCamera(path, info, index)
    made = reel(video, np.arange(len(shown)))
    if isinstance(made, str):
        raise NoTable(f"the images of {column.camera} cannot be laid on an even clock: {made}")
    return made


def _decoded(camera: Camera, shown: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(shown), _AT_ONCE):
        yield from camera.images(shown[start : start + _AT_ONCE].tolist())
