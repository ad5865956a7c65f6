"""Decoders that stay open: lent to one video after another, each remembers how far it has come."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.store.packets import PacketIndex

_NOWHERE = -1


class Decoder:
    """One open decoder. `reader` is whose packets it was fed last, `next` the packet it expects.

    Fed with `next`, it goes on; for any other packet it is reset and begins at a key.
    """

    def __init__(self, index: PacketIndex) -> None:
        import av

        context: Any = av.CodecContext.create(_decoder_name(index.codec), "r")
        context.extradata = index.extradata or None
        context.thread_count = 1
        (
            context.color_range,
            context.colorspace,
            context.color_primaries,
            context.color_trc,
        ) = index.colour
        self.kind = _kind(index)
        self.reader: object = None
        self.next, self._fed = _NOWHERE, False
        self._context = context

    def reset(self) -> None:
        """Forget what was fed; the next packet must be a key."""
        if self._fed:
            self._context.flush_buffers()
        self.next, self._fed = _NOWHERE, False

    def feed(self, number: int, data: bytes, pts: int, *, key: bool) -> list[Any]:
        """Decode packet `number`; return the `av.VideoFrame`s that come out, `pts` on each."""
        import av

        fed: Any = av.Packet(data)
        fed.pts = pts
        if key:  # PNG adds an image without this mark to the last
            fed.is_keyframe = True
        self.next, self._fed = number + 1, True
        pictures: list[Any] = self._context.decode(fed)
        return pictures

    def drain(self) -> list[Any]:
        """Return the pictures that wait for later packets; the decoder begins anew afterwards."""
        pictures: list[Any] = self._context.decode(None)
        self.reset()
        return pictures


class Decoders:
    """At most `most` open decoders of each kind; the one used longest ago is taken over.

    Videos of one encoder and size share a kind. Readers take turns under `turn`; after a fork
    each process opens its own.
    """

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._fresh()

    def __reduce__(self) -> tuple[type[Decoders], tuple[int]]:
        return Decoders, (self._most,)

    def _fresh(self) -> None:
        self._process, self._lock = os.getpid(), threading.RLock()
        self._open: list[Decoder] = []
        self._scaler: Any = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the decoders for one thread; where it fails, they are thrown away."""
        if self._process != os.getpid():  # a fork may have copied a lock that is held
            self._fresh()
        with self._lock:
            try:
                yield
            except BaseException:
                self._open.clear()
                raise

    def lend(self, reader: object, index: PacketIndex) -> Decoder:
        """Return the decoder that `reader` used last, or another of its kind, reset."""
        kind = _kind(index)
        alike = [decoder for decoder in self._open if decoder.kind == kind]
        chosen = next((decoder for decoder in alike if decoder.reader is reader), None)
        if chosen is None:
            if len(alike) < self._most:
                chosen = Decoder(index)
            else:
                chosen = alike[0]
                chosen.reset()
            chosen.reader = reader
        if chosen in self._open:
            self._open.remove(chosen)
        self._open.append(chosen)
        return chosen

    def rgb(self, picture: Any, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Convert an `av.VideoFrame` to RGB, scaled: (height, width, 3) uint8, not contiguous.

        The scaler is kept: making one takes as long as decoding an image.
        """
        self._scaler = self._scaler or _scaler()
        plane = self._scaler(picture, width, height, "rgb24", interpolation="AREA").planes[0]
        return np.ndarray((height, width, 3), np.uint8, plane, strides=(plane.line_size, 3, 1))


def _scaler() -> Callable[..., Any]:
    """Return a reformatter; newer PyAV starts threads, which cost more than such images do."""
    import av
    from av.video.reformatter import VideoReformatter

    reformat: Callable[..., Any] = VideoReformatter().reformat
    try:
        reformat(av.VideoFrame(2, 2, "yuv420p"), 2, 2, "rgb24", threads=1)
    except TypeError:
        return reformat
    return partial(reformat, threads=1)


def _kind(index: PacketIndex) -> tuple[object, ...]:
    return index.codec, index.extradata, index.colour, index.width, index.height


def _decoder_name(codec: str) -> str:
    """FFmpeg's decoder named `av1` works with graphics cards only; dav1d does it in software."""
    import av

    software = ("libdav1d", "libaom-av1")
    return next((n for n in software if codec == "av1" and n in av.codecs_available), codec)
