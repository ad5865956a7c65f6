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
HELD_BYTES = 256 * 2**20
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
        images = 0
        for camera, sources, numbers, out in asked:
            by_source: dict[int, Places] = {}
            for place, (source, number) in enumerate(
                zip(sources.tolist(), numbers.tolist(), strict=True)
            ):
                by_source.setdefault(source, {}).setdefault(number, []).append(place)
            for source, places in by_source.items():
                at = (self._numbers[camera] + source) % len(self._shelves)
                tasks[at].append(partial(self._shelves[at].fill, camera, source, places, out))
                images += len(places)
        _run([each for each in tasks if each], alone=images < WORTH_A_THREAD)

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

    def fill(self, camera: str, source: int, places: Places, out: Images) -> None:
        """Put images of one video at their places in `out`. Raises LoadFailed."""
        missing: Places = {}
        with self._decoders.turn():
            for number, where in places.items():
                image = self._held.get((camera, source, number))
                if image is None:
                    missing[number] = where
                    continue
                self._held.move_to_end((camera, source, number))
                for place in where:
                    out[place] = image
            if missing:
                self._decode(camera, source, missing, out)

    def _decode(self, camera: str, source: int, missing: Places, out: Images) -> None:
        video, images = self._video(camera, source), set(missing)
        height, width = out.shape[1:3]

        def take(number: int, picture: Any) -> None:
            key = camera, source, number
            if key in self._held:  # its group was wanted for others
                return
            image = self._decoders.rgb(picture, height, width)
            for place in missing.get(number, ()):
                out[place] = image
            self._hold(key, image)

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

    def _hold(self, key: tuple[str, int, int], image: Images) -> None:
        self._bytes += image.nbytes
        self._held[key] = image
        while self._bytes > self._most_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.nbytes

    def _video(self, camera: str, source: int) -> VideoCamera:
        key = camera, source
        if key not in self._videos:
            self._videos[key] = self._reels[camera].open(source, self._decoders)
            if len(self._videos) > OPEN_VIDEOS:
                self._videos.popitem(last=False)
        self._videos.move_to_end(key)
        return self._videos[key]
