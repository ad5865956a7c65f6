"""The images of a video, reached one by one through its packet index."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, DemosError, UnknownName
from demos.model import CameraInfo, Nanoseconds
from demos.store.encoding import Encoder, Packet, mux
from demos.store.packets import PacketIndex, index_file

__all__ = ["Encoder", "Packet", "PacketIndex", "VideoCamera", "index_file", "mux"]

_READ_AT_ONCE = 64


class VideoCamera:
    """The images of one video file, decoded on request; a `demos.model.Camera`.

    Wanted images are grouped by the key image they depend on; each group costs one read and one
    run of a decoder that is kept open. Every packet's checksum is compared first. The object
    pickles and survives a fork: each process opens the file for itself. Threads take turns.
    """

    def __init__(self, path: Path, info: CameraInfo, index: PacketIndex) -> None:
        self.path, self.info, self.index = path, info, index
        self.time_ns: Nanoseconds = index.time_ns
        self._rank = np.full(len(index.pts), -1, np.int64)
        self._rank[index.order] = np.arange(len(index.order))
        self._keys = np.flatnonzero(index.key)
        self._turn, self._decoder = (os.getpid(), threading.Lock()), None

    def __reduce__(self) -> tuple[type[VideoCamera], tuple[Path, CameraInfo, PacketIndex]]:
        return VideoCamera, (self.path, self.info, self.index)

    def __len__(self) -> int:
        return len(self.index)

    def images(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Decode images by index in display order: (k, height, width, 3) uint8 RGB.

        Raises UnknownName for an index outside, Damaged where the file is not what was indexed.
        """
        wanted = [int(i) for i in indices]
        for i in wanted:
            if not 0 <= i < len(self):
                raise UnknownName(f"no image {i} in {self.path.name}").with_hint(
                    f"it has {len(self)} images, counted from 0"
                )
        out = np.empty((len(wanted), self.index.height, self.index.width, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for row, i in enumerate(wanted):
            places.setdefault(i, []).append(row)
        if self._turn[0] != os.getpid():  # a fork may have copied a lock that is held
            self._turn, self._decoder = (os.getpid(), threading.Lock()), None
        with self._turn[1]:
            try:
                self._fill(out, places)
            except DemosError:
                self._decoder = None
                raise
            except FileNotFoundError as error:
                raise self._damaged("is missing") from error
            except Exception as error:  # FFmpeg raises dozens of kinds on broken packets
                self._decoder = None
                raise self._damaged(f"cannot be decoded: {error}") from error
        return out

    def packets(self, start: int, end: int) -> Iterator[bytes]:
        """Read packets [start, end) in decode order, each compared with its checksum.

        Raises Damaged where the file is not what was indexed.
        """
        try:
            with self.path.open("rb") as file:
                for first in range(start, end, _READ_AT_ONCE):
                    yield from self._bytes(
                        file.fileno(), first, min(first + _READ_AT_ONCE, end) - 1
                    )
        except FileNotFoundError as error:
            raise self._damaged("is missing") from error

    def problems(self) -> list[str]:
        """Read every packet, compare its checksum and decode every image; say what is wrong."""
        found: list[str] = []
        for first in range(0, len(self), 64):
            try:
                self.images(range(first, min(first + 64, len(self))))
            except DemosError as error:
                if str(error) not in found:
                    found.append(str(error))
        return found

    def _fill(self, out: npt.NDArray[np.uint8], places: dict[int, list[int]]) -> None:
        groups: dict[int, list[int]] = {}
        for i in places:
            groups.setdefault(self._start(i), []).append(i)
        with self.path.open("rb") as file:
            while groups:
                number = max(groups)
                left = self._decode(file.fileno(), number, set(groups.pop(number)), out, places)
                if left and number == 0:
                    raise self._damaged(f"image {min(left)} cannot be decoded")
                if left:  # it leans on images before the key: begin at an earlier one
                    groups.setdefault(number - 1, []).extend(left)

    def _start(self, image: int) -> int:
        """Find the last key (its number among keys) that comes no later in both orders."""
        packet = int(self.index.order[image])
        number = int(np.searchsorted(self._keys, packet, side="right")) - 1
        pts = self.index.pts
        while number > 0 and pts[self._keys[number]] > pts[packet]:
            number -= 1
        if number < 0:
            raise self._damaged("does not begin with a key image")
        return number

    def _decode(
        self,
        descriptor: int,
        number: int,
        wanted: set[int],
        out: npt.NDArray[np.uint8],
        places: dict[int, list[int]],
    ) -> set[int]:
        """Decode from one key until `wanted` are filled in; return those that did not come."""
        import av

        first = int(self._keys[number])
        last = max(int(self.index.order[i]) for i in wanted)
        decoder = self._open_decoder()
        for packet, data in zip(
            range(first, last + 1), self._bytes(descriptor, first, last), strict=True
        ):
            fed: Any = av.Packet(data)
            rank = int(self._rank[packet])
            fed.pts = rank if rank >= 0 else -1 - packet  # comes back on the decoded image
            fed.is_keyframe = bool(self.index.key[packet])  # PNG adds a non-key image to the last
            for image in decoder.decode(fed):
                self._take(image, wanted, out, places)
            if not wanted:
                break
        if wanted:
            for image in decoder.decode(None):
                self._take(image, wanted, out, places)
        decoder.flush_buffers()
        return wanted

    def _take(
        self,
        image: Any,
        wanted: set[int],
        out: npt.NDArray[np.uint8],
        places: dict[int, list[int]],
    ) -> None:
        if image.pts not in wanted:
            return
        if (image.width, image.height) != (self.index.width, self.index.height):
            raise self._damaged(
                f"changes from {self.index.width}x{self.index.height} to "
                f"{image.width}x{image.height} at image {image.pts}"
            )
        if image.is_corrupt:
            return
        rgb = image.to_ndarray(format="rgb24")
        for row in places[image.pts]:
            out[row] = rgb
        wanted.discard(image.pts)

    def _bytes(self, descriptor: int, first: int, last: int) -> list[bytes]:
        """Read packets `first` to `last` in one go where they lie together."""
        import google_crc32c

        index, chosen = self.index, slice(first, last + 1)
        position, size = index.position[chosen], index.size[chosen]
        start, end = int(position.min()), int((position + size).max())
        if end - start <= 2 * int(size.sum()) + 65536:
            block = os.pread(descriptor, end - start, start)
            parts = [block[p - start : p - start + s] for p, s in _pairs(position, size)]
        else:
            parts = [os.pread(descriptor, s, p) for p, s in _pairs(position, size)]
        for number, part in enumerate(parts, first):
            if google_crc32c.value(part) != int(index.crc32c[number]):
                at = int(index.position[number])
                raise self._damaged(f"packet {number} at byte {at} fails its checksum")
        return parts

    def _open_decoder(self) -> Any:
        import av

        if self._decoder is None:
            context: Any = av.CodecContext.create(_decoder_name(self.index.codec), "r")
            context.extradata = self.index.extradata or None
            context.thread_count = 1
            (
                context.color_range,
                context.colorspace,
                context.color_primaries,
                context.color_trc,
            ) = self.index.colour
            self._decoder = context
        return self._decoder

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self.path.name} {what}").with_hint(
            "restore the file from a copy; `demos verify STORE --deep` lists what else is hurt"
        )


def _decoder_name(codec: str) -> str:
    """FFmpeg's decoder named `av1` works with graphics cards only; dav1d does it in software."""
    import av

    software = ("libdav1d", "libaom-av1")
    return next((n for n in software if codec == "av1" and n in av.codecs_available), codec)


def _pairs(position: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(position.tolist(), size.tolist(), strict=True))
