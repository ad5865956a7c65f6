"""Images of many videos at random: decoded once while they are held, within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged
from demos.loader.choices import LoadFailed
from demos.loader.reels import Reel
from demos.store.video import Decoders, VideoCamera

DECODERS = 8
OPEN_VIDEOS = 512
HELD_BYTES = 128 * 2**20

Images = npt.NDArray[np.uint8]


class Pictures:
    """Decoded pictures as the decoder gave them (half the size of RGB), the latest used held.

    With `whole_groups` a group is decoded to its end at once, and all of it held: windows that are
    drawn soon after find it here. `cache` is told where proxies are damaged.
    """

    def __init__(self, reels: Mapping[str, Reel], cache: str) -> None:
        self._reels, self._cache = reels, cache
        self._decoders = Decoders(DECODERS)
        self._videos: OrderedDict[tuple[str, int], VideoCamera] = OrderedDict()
        self._held: OrderedDict[tuple[str, int, int], Any] = OrderedDict()
        self._bytes = 0
        self.whole_groups = False

    def fetch(
        self, camera: str, sources: npt.NDArray[np.int64], numbers: npt.NDArray[Any], out: Images
    ) -> None:
        """Fill `out` (n, height, width, 3) with image `numbers` (n,) of the videos of `sources`.

        Raises LoadFailed where a video is damaged.
        """
        wanted: dict[int, dict[int, list[int]]] = {}
        pairs = zip(sources.tolist(), numbers.tolist(), strict=True)
        for place, (source, number) in enumerate(pairs):
            wanted.setdefault(source, {}).setdefault(number, []).append(place)
        with self._decoders.turn():
            for source, places in wanted.items():
                try:
                    self._fill(camera, source, places, out)
                except Damaged as error:
                    raise LoadFailed(f"camera {camera!r}: {error}").with_hint(
                        f"{error.hint}; if it lies in {self._cache}, delete that folder"
                    ) from error

    def runs(
        self, camera: str, sources: npt.NDArray[np.int64], numbers: npt.NDArray[Any]
    ) -> npt.NDArray[np.int64]:
        """Return per image which run of pictures it is in; see `Reel.runs`."""
        return self._reels[camera].runs(sources, numbers)

    def _fill(self, camera: str, source: int, places: dict[int, list[int]], out: Images) -> None:
        missing = dict(places)
        for number in places:
            picture = self._held.get((camera, source, number))
            if picture is not None:
                self._held.move_to_end((camera, source, number))
                self._put(picture, missing.pop(number), out)
        if not missing:
            return

        def take(number: int, picture: Any) -> None:
            if self.whole_groups or number in missing:
                self._hold((camera, source, number), picture)
            if number in missing:
                self._put(picture, missing.pop(number), out)

        video = self._video(camera, source)
        images = set(missing)
        if self.whole_groups:
            for number in missing:
                images.update(video.group(number))
        video.decode(images, take)

    def _put(self, picture: Any, places: list[int], out: Images) -> None:
        first = out[places[0]]
        self._decoders.rgb(picture, first)
        for place in places[1:]:
            out[place] = first

    def _hold(self, key: tuple[str, int, int], picture: Any) -> None:
        if key not in self._held:
            self._bytes += _bytes(picture)
        self._held[key] = picture
        while self._bytes > HELD_BYTES and len(self._held) > 1:
            self._bytes -= _bytes(self._held.popitem(last=False)[1])

    def _video(self, camera: str, source: int) -> VideoCamera:
        key = camera, source
        if key not in self._videos:
            self._videos[key] = self._reels[camera].open(source, self._decoders)
            if len(self._videos) > OPEN_VIDEOS:
                self._videos.popitem(last=False)
        self._videos.move_to_end(key)
        return self._videos[key]


def _bytes(picture: Any) -> int:
    return picture_bytes(picture.height, picture.width)


def picture_bytes(height: int, width: int) -> int:
    """Return what a decoded picture takes, 8 bits deep with colour at half the resolution."""
    return height * width * 3 // 2
