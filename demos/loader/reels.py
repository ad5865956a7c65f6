"""Where the packets of one camera's videos lie, for all episodes in a few memory-mapped arrays.

Opening an episode's own signals file for its packet index costs milliseconds; with thousands of
episodes at random that would be the price of every image.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.loader import proxies
from demos.loader.cache import Cache
from demos.loader.choices import IMAGE, LoadFailed
from demos.loader.grid import Grid, held
from demos.model import CameraInfo, Episode, Nanoseconds
from demos.store.packets import PER_IMAGE, PER_PACKET, PacketIndex
from demos.store.video import Decoders, VideoCamera

_PACKETS = np.dtype(
    [
        ("pts", "<i8"),
        ("dts", "<i8"),
        ("position", "<i8"),
        ("size", "<i8"),
        ("key", "?"),
        ("crc32c", "<u4"),
    ]
)
RUN_IMAGES = 8
_IMAGES = np.dtype([("time_ns", "<i8"), ("order", "<i8")])


class ReelWriter:
    """Write down which image a camera shows at each step, and where its packets lie."""

    def __init__(
        self, folder: Path, grid: Grid, name: str, cache: Cache, size: tuple[int, int] | None
    ) -> None:
        self._folder, self._limits = folder, grid.limits_ns[name]
        self._camera, self._cache, self._size = name.removeprefix(IMAGE), cache, size
        self._numbers: list[npt.NDArray[np.int32]] = []
        self._pads: list[npt.NDArray[np.bool_]] = []
        self._packets: list[npt.NDArray[Any]] = []
        self._images: list[npt.NDArray[Any]] = []
        self._videos: list[dict[str, Any]] = []

    def add(self, episode: Episode, number: int, moments: Sequence[Nanoseconds]) -> None:
        """Take in one episode; its proxy is made where there is none yet."""
        camera = episode.cameras[self._camera]
        if not isinstance(camera, VideoCamera) or episode.root is None:
            raise LoadFailed(f"camera {self._camera!r} is no file of a store")
        # stamps in disorder, or twice: as `timeline.repaired` does for streams
        in_order, first = np.unique(camera.time_ns, return_index=True)
        for steps in moments:
            last, pad = held(in_order, steps, self._limits[number])
            self._numbers.append(first[last].astype(np.int32))
            self._pads.append(pad)
        if self._size is None:
            index, path = camera.index, Path(os.path.relpath(camera.path, episode.root))
        else:
            name = proxies.name(episode.manifest, self._camera, self._size)
            index = proxies.proxy(camera, name, self._size, self._cache)
            path = Path(name)
        self._videos.append(_described(index, path))
        self._packets.append(_table(index, PER_PACKET, _PACKETS))
        self._images.append(_table(index, PER_IMAGE, _IMAGES))

    def close(self) -> None:
        """Write all of it."""
        np.save(self._folder / "values.npy", np.concatenate(self._numbers))
        np.save(self._folder / "pad.npy", np.concatenate(self._pads))
        np.save(self._folder / "packets.npy", np.concatenate(self._packets))
        np.save(self._folder / "images.npy", np.concatenate(self._images))
        (self._folder / "videos.json").write_text(json.dumps(self._videos))


def _table(index: PacketIndex, names: Sequence[str], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    table = np.empty(len(getattr(index, names[0])), dtype)
    for name in names:
        table[name] = getattr(index, name)
    return table


def _described(index: PacketIndex, path: Path) -> dict[str, Any]:
    return {
        "path": path.as_posix(),
        "packets": len(index.pts),
        "images": len(index),
        "time_base": index.time_base,
        "extradata_base64": base64.b64encode(index.extradata).decode(),
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "colour": index.colour,
    }


class Reel:
    """The videos of one camera, one of each source; opened in microseconds.

    `folder` is the camera's view, `root` where the paths of the videos begin.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._root = root
        self._packets = np.load(folder / "packets.npy", mmap_mode="r").view(np.ndarray)
        self._images = np.load(folder / "images.npy", mmap_mode="r").view(np.ndarray)
        self._videos = json.loads((folder / "videos.json").read_text())
        self._first_packet = _starts(self._videos, "packets")
        self._first_image = _starts(self._videos, "images")

    def whole(self) -> bool:
        """Say whether every packet is listed and every file there."""
        listed = self._first_packet[-1], self._first_image[-1]
        return listed == (len(self._packets), len(self._images)) and all(
            os.path.exists(self._root / video["path"])  # noqa: PTH110 (hot)
            for video in self._videos
        )

    def open(self, number: int, decoders: Decoders) -> VideoCamera:
        """Open the video of one source."""
        video = self._videos[number]
        packets = self._packets[self._first_packet[number] : self._first_packet[number + 1]]
        images = self._images[self._first_image[number] : self._first_image[number + 1]]
        index = PacketIndex(
            **{name: np.ascontiguousarray(packets[name]) for name in PER_PACKET},
            **{name: np.ascontiguousarray(images[name]) for name in PER_IMAGE},
            time_base=tuple(video["time_base"]),
            extradata=base64.b64decode(video["extradata_base64"]),
            codec=video["codec"],
            width=video["width"],
            height=video["height"],
            colour=tuple(video["colour"]),
        )
        info = CameraInfo(width=index.width, height=index.height, codec=index.codec)
        return VideoCamera(self._root / video["path"], info, index, decoders)

    def runs(
        self, sources: npt.NDArray[np.int64], numbers: npt.NDArray[Any]
    ) -> npt.NDArray[np.int64]:
        """Return per image which run it is in, counted over all videos: (n,).

        A run is a group of pictures, or several in a row where they are shorter than 8 images.
        """
        first = self._first_packet[:-1]
        packets = self._images["order"] + np.repeat(first, np.diff(self._first_image))
        group = np.cumsum(self._packets["key"])
        in_a_row = int(np.ceil(RUN_IMAGES * group[-1] / len(group)))
        begin = np.repeat(group[first], np.diff(self._first_packet))
        run = begin + (group - begin) // in_a_row
        found: npt.NDArray[np.int64] = run[packets[self._first_image[sources] + numbers]]
        return found


def _starts(videos: Sequence[dict[str, Any]], what: str) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([video[what] for video in videos])]).astype(np.int64)
