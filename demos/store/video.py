"""The images of a video, reached one by one through its packet index."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, DemosError, UnknownName
from demos.model import CameraInfo, Nanoseconds
from demos.store.decoding import Decoder, Decoders
from demos.store.encoding import Encoder, Packet, mux
from demos.store.packets import PacketIndex, index_file

__all__ = ["Decoders", "Encoder", "Packet", "PacketIndex", "VideoCamera", "index_file", "mux"]

Take = Callable[[int, Any], None]
"""Called with the number of an image and its `av.VideoFrame`."""

_READ_AT_ONCE = 64


class VideoCamera:
    """The images of one video file, decoded on request; a `demos.model.Camera`.

    Wanted images are grouped by the key image they depend on; each group costs one read and one
    run of a decoder that is kept open and goes on where it stopped. Every packet's checksum is
    compared first. The object pickles and survives a fork: each process opens the file for itself.
    Threads take turns. Cameras that share `decoders` share those, too.
    """

    def __init__(
        self,
        path: Path,
        info: CameraInfo,
        index: PacketIndex,
        decoders: Decoders | None = None,
    ) -> None:
        self.path, self.info, self.index = path, info, index
        self.time_ns: Nanoseconds = index.time_ns
        # a packet that shows no image of the episode comes back from the decoder as -1, -2, ...
        self._rank = -1 - np.arange(len(index.pts), dtype=np.int64)
        self._rank[index.order] = np.arange(len(index.order))
        self._keys = np.flatnonzero(index.key)
        self.decoders = decoders or Decoders()

    def __reduce__(self) -> tuple[type[VideoCamera], tuple[Path, CameraInfo, PacketIndex]]:
        return VideoCamera, (self.path, self.info, self.index)

    def __len__(self) -> int:
        return len(self.index)

    def images(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Decode images by index in display order: (k, height, width, 3) uint8 RGB.

        Raises UnknownName for an index outside, Damaged where the file is not what was indexed.
        """
        wanted = [int(i) for i in indices]
        out = np.empty((len(wanted), self.index.height, self.index.width, 3), np.uint8)
        places: dict[int, list[int]] = {}
        for row, i in enumerate(wanted):
            places.setdefault(i, []).append(row)

        def take(image: int, picture: Any) -> None:
            out[places[image]] = self.decoders.rgb(picture, *out.shape[1:3])

        self.decode(places, take)
        return out

    def decode(self, images: Collection[int], take: Take) -> None:
        """Decode images by index, and hand over each as it comes. Raises as `images` does."""
        for i in images:
            if not 0 <= i < len(self):
                raise UnknownName(f"no image {i} in {self.path.name}").with_hint(
                    f"it has {len(self)} images, counted from 0"
                )
        with self.decoders.turn():
            try:
                self._run(images, take)
            except DemosError:
                raise
            except FileNotFoundError as error:
                raise self._damaged("is missing") from error
            except Exception as error:  # FFmpeg raises dozens of kinds on broken packets
                raise self._damaged(f"cannot be decoded: {error}") from error

    def is_key(self, image: int) -> bool:
        """Say whether an image needs no other to be decoded."""
        return bool(self.index.key[self.index.order[image]])

    def group(self, image: int) -> range:
        """Return the images between two keys, in display order, that `image` is one of."""
        packet = int(self.index.order[image])
        number = int(np.searchsorted(self._keys, packet, side="right"))
        packets = slice(*np.append(self._keys, len(self._rank))[number - 1 : number + 1].tolist())
        shown = self._rank[packets]
        shown = shown[shown >= 0]
        return range(int(shown.min()), int(shown.max()) + 1)

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

    def _run(self, images: Collection[int], take: Take) -> None:
        groups: dict[int, set[int]] = {}
        for i in images:
            groups.setdefault(self._start(i), set()).add(i)
        if not groups:
            return
        decoder = self.decoders.lend(self, self.index)
        with self.path.open("rb") as file:
            while groups:
                number = min(groups)
                left = self._decode(decoder, file.fileno(), number, groups.pop(number), take)
                if left and number == 0:
                    raise self._damaged(f"image {min(left)} cannot be decoded")
                if left:  # it leans on images before the key: begin at an earlier one
                    groups.setdefault(number - 1, set()).update(left)

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
        self, decoder: Decoder, descriptor: int, number: int, wanted: set[int], take: Take
    ) -> set[int]:
        """Decode from one key until `wanted` are handed over; return those that did not come."""
        packets = [int(self.index.order[i]) for i in wanted]
        first, last = int(self._keys[number]), max(packets)
        if first < decoder.next <= min(packets):
            first = decoder.next
        else:
            decoder.reset()
        run = slice(first, last + 1)
        ranks, keys = self._rank[run].tolist(), self.index.key[run].tolist()
        parts = self._bytes(descriptor, first, last)
        for packet, (data, rank, key) in enumerate(zip(parts, ranks, keys, strict=True), first):
            for picture in decoder.feed(packet, data, rank, key=key):
                self._hand_over(picture, wanted, take)
        if wanted:
            for picture in decoder.drain():
                self._hand_over(picture, wanted, take)
        return wanted

    def _hand_over(self, picture: Any, wanted: set[int], take: Take) -> None:
        image = picture.pts
        if image not in wanted or picture.is_corrupt:
            return
        if (picture.width, picture.height) != (self.index.width, self.index.height):
            raise self._damaged(
                f"changes from {self.index.width}x{self.index.height} to "
                f"{picture.width}x{picture.height} at image {image}"
            )
        take(image, picture)
        wanted.discard(image)

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
        for number, (part, crc32c) in enumerate(zip(parts, index.crc32c[chosen], strict=True)):
            if google_crc32c.value(part) != crc32c:
                raise self._damaged(
                    f"packet {first + number} at byte {position[number]} fails its checksum"
                )
        return parts

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self.path.name} {what}").with_hint(
            "restore the file from a copy; `demos verify STORE --deep` lists what else is hurt"
        )


def _pairs(position: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(position.tolist(), size.tolist(), strict=True))
