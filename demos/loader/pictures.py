"""Images of many videos at random: decoded once while they are held, within a bound of memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
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
MOST_SHELVES = 4
WORTH_A_THREAD = 8

Images = npt.NDArray[np.uint8]
Places = dict[int, list[int]]
Asked = tuple[str, npt.NDArray[np.int64], npt.NDArray[Any], Images]
"""A camera, sources (n,) and numbers of images (n,), and where they go (n, height, width, 3)."""


class Pictures:
    """What the cameras of many videos show, decoded on several cores where there are any to use.

    Each video belongs to one of a few shelves; shelves decode side by side, each in one thread.
    Processes that were started as one of several (PyTorch's workers) use one core each. `cache` is
    told where proxies are damaged.
    """

    def __init__(self, reels: Mapping[str, Reel], cache: str) -> None:
        count = min(MOST_SHELVES, os.cpu_count() or 1)
        self._reels, self._numbers = reels, {camera: n for n, camera in enumerate(reels)}
        self._shelves = [Shelf(reels, cache, HELD_BYTES // count) for _ in range(count)]

    def decode_whole_groups(self, *, whole: bool) -> None:
        """Decode groups of pictures to their end at once, for orders that use all of them."""
        for shelf in self._shelves:
            shelf.whole_groups = whole

    def fetch(self, asked: Sequence[Asked]) -> None:
        """Fill the images of several cameras. Raises LoadFailed where a video is damaged."""
        tasks: list[list[Callable[[], None]]] = [[] for _ in self._shelves]
        missing = 0
        for camera, sources, numbers, out in asked:
            by_source: dict[int, Places] = {}
            for place, (source, number) in enumerate(
                zip(sources.tolist(), numbers.tolist(), strict=True)
            ):
                by_source.setdefault(source, {}).setdefault(number, []).append(place)
            for source, places in by_source.items():
                at = (self._numbers[camera] + source) % len(self._shelves)
                shelf = self._shelves[at]
                if left := shelf.take_out(camera, source, places, out):
                    missing += len(left)
                    tasks[at].append(partial(shelf.decode, camera, source, left, out))
        _run([each for each in tasks if each], alone=missing < WORTH_A_THREAD)

    def runs(
        self, camera: str, sources: npt.NDArray[np.int64], numbers: npt.NDArray[Any]
    ) -> npt.NDArray[np.int64]:
        """Return per image which run of pictures it is in; see `Reel.runs`."""
        return self._reels[camera].runs(sources, numbers)


def _run(tasks: Sequence[Sequence[Callable[[], None]]], *, alone: bool) -> None:
    """Run each list of tasks in a thread, or all in this one.

    That is so in a process that is one of several, and for the few images of one window: where
    cores are busy, threads that hand the interpreter to each other cost more than they spare.
    """
    if alone or len(tasks) < 2 or multiprocessing.parent_process() is not None:
        for task in chain.from_iterable(tasks):
            task()
        return
    errors: list[BaseException] = []

    def run(own: Sequence[Callable[[], None]]) -> None:
        try:
            for task in own:
                task()
        except BaseException as error:  # noqa: BLE001 (raised below, in the thread that asked)
            errors.append(error)

    # begun anew each time, in microseconds: threads that wait would not survive a fork
    others = [threading.Thread(target=run, args=(own,)) for own in tasks[1:]]
    for thread in others:
        thread.start()
    run(tasks[0])
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]


class Shelf:
    """Some of the videos, and the pictures of them that were used last.

    Pictures are held as the decoder gave them, half the size of RGB. With `whole_groups` a group is
    decoded to its end at once, and all of it held: windows that are drawn soon after find it here.
    """

    def __init__(self, reels: Mapping[str, Reel], cache: str, most_bytes: int) -> None:
        self.whole_groups = False
        self._reels, self._cache, self._most_bytes = reels, cache, most_bytes
        self._decoders = Decoders(DECODERS)
        self._videos: OrderedDict[tuple[str, int], VideoCamera] = OrderedDict()
        self._held: OrderedDict[tuple[str, int, int], Any] = OrderedDict()
        self._bytes = 0

    def take_out(self, camera: str, source: int, places: Places, out: Images) -> Places:
        """Put what is held of one video at its places in `out`; return what is missing."""
        missing = dict(places)
        with self._decoders.turn():
            for number in places:
                picture = self._held.get((camera, source, number))
                if picture is not None:
                    self._held.move_to_end((camera, source, number))
                    self._put(picture, missing.pop(number), out)
        return missing

    def decode(self, camera: str, source: int, missing: Places, out: Images) -> None:
        """Decode images of one video to their places in `out`. Raises LoadFailed."""
        left = dict(missing)

        def take(number: int, picture: Any) -> None:
            if self.whole_groups or number in left:
                self._hold((camera, source, number), picture)
            if number in left:
                self._put(picture, left.pop(number), out)

        with self._decoders.turn():
            video = self._video(camera, source)
            images = set(missing)
            if self.whole_groups:
                for number in missing:
                    # a key alone costs no more now than when its group is wanted
                    if not video.is_key(number):
                        images.update(video.group(number))
            try:
                video.decode(images, take)
            except Damaged as error:
                raise LoadFailed(f"camera {camera!r}: {error}").with_hint(
                    f"{error.hint}; if it lies in {self._cache}, delete that folder"
                ) from error

    def _put(self, picture: Any, places: list[int], out: Images) -> None:
        first = out[places[0]]
        self._decoders.rgb(picture, first)
        for place in places[1:]:
            out[place] = first

    def _hold(self, key: tuple[str, int, int], picture: Any) -> None:
        if key not in self._held:
            self._bytes += picture_bytes(picture.height, picture.width)
        self._held[key] = picture
        while self._bytes > self._most_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= picture_bytes(oldest.height, oldest.width)

    def _video(self, camera: str, source: int) -> VideoCamera:
        key = camera, source
        if key not in self._videos:
            self._videos[key] = self._reels[camera].open(source, self._decoders)
            if len(self._videos) > OPEN_VIDEOS:
                self._videos.popitem(last=False)
        self._videos.move_to_end(key)
        return self._videos[key]


def picture_bytes(height: int, width: int) -> int:
    """Return what a decoded picture takes, 8 bits deep with colour at half the resolution."""
    return height * width * 3 // 2
