"""A second, quick video beside one that seeks badly; what is stored stays as it was recorded.

Imported video is kept byte for byte, whatever wrote it: two key images in a whole episode, or a
codec that no browser plays. For looking at it a proxy is made, once, under `cache/proxies/`: the
same images, encoded anew with a key image every tenth. Reading images never uses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError
from demos.provenance import new_id
from demos.store import layout
from demos.store.encoding import encode
from demos.store.packets import PacketIndex, index_file
from demos.store.video import VideoCamera

MOST_BETWEEN_KEYS = 60
"""Two seconds of images: a browser decodes them all to show the last."""

PLAYED = ("h264", "vp9", "av1")
"""The codecs that every current browser plays."""

_AT_ONCE = 64


def wanted(index: PacketIndex) -> bool:
    """Say whether a video is to be looked at through a proxy."""
    keys = np.flatnonzero(index.key)
    between = np.diff([*keys.tolist(), len(index.pts)])
    return index.codec not in PLAYED or bool(between.max(initial=0) > MOST_BETWEEN_KEYS)


def proxy(root: Path, episode: str, name: str, camera: VideoCamera) -> tuple[Path, PacketIndex]:
    """Return the video to look at, and its index: a proxy made now or before.

    Where one cannot be made (a store that is read-only, a full disk, a damaged image) the video
    itself is returned.
    """
    path = root / "cache" / "proxies" / episode / layout.video_name(name)
    try:
        if not path.is_file():
            _make(path, camera)
        return path, index_file(path).stamped(camera.time_ns)
    except (DemosError, OSError):
        return camera.path, camera.index


def _make(path: Path, camera: VideoCamera) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{new_id()}-{path.name}")
    try:
        encode(made, _images(camera), camera.time_ns, camera.info.rate_hz or 30.0)
        os.replace(made, path)  # noqa: PTH105 (whoever is second replaces it by its like)
    finally:
        with suppress(OSError):
            made.unlink(missing_ok=True)


def _images(camera: VideoCamera) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield all images, cropped to even sizes, which H.264 needs."""
    for first in range(0, len(camera), _AT_ONCE):
        for image in camera.images(range(first, min(first + _AT_ONCE, len(camera)))):
            height, width = image.shape[0] & ~1, image.shape[1] & ~1
            yield image[:height, :width]
