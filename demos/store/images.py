"""The cameras of a recording: images encoded beside the recording thread, or packets as given."""

from __future__ import annotations

import base64
import operator
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from demos.errors import RecordingFailed, UnknownName
from demos.model import CameraInfo
from demos.store.blocks import BlockLog, Kind
from demos.store.encoding import Encoder, Packet, SizeWatch
from demos.store.recording import CameraDeclaration, as_json, packet_bytes
from demos.store.samples import Stamp

OnFull = Literal["block", "drop"]
Report = Callable[[str, int, int, int], None]
NOMINAL_RATE_HZ = 30.0
_ANOTHER_NAME = (
    "a camera keeps one size within an episode: declare_camera() the new size under another "
    "name; what was recorded is safe and recording may go on"
)


class ImageQueue:
    """Images of one camera on their way through the encoder, in a thread of their own.

    `write` is called in that thread with a stamp and its packet. An error there is kept and
    raised by the next `put` or by `close`. Raises RecordingFailed where H.264 cannot have the
    camera's size.
    """

    def __init__(
        self, name: str, info: CameraInfo, write: Callable[[int, Packet], None], size: int
    ) -> None:
        self.name, self.info = name, info
        self.encoder = Encoder(info.width, info.height, info.rate_hz or NOMINAL_RATE_HZ)
        self._write = write
        self._images: queue.Queue[tuple[int, npt.NDArray[np.uint8]] | None] = queue.Queue(size)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._encode, name=f"encode {name}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return self._images.qsize()

    def put(self, time_ns: int, rgb: npt.NDArray[np.uint8], *, wait: bool) -> bool:
        """Queue a copy of an image; False where the queue is full and nobody waits."""
        self._raise_error()
        item = (time_ns, np.array(rgb, copy=True))
        while True:
            try:
                self._images.put(item, block=wait, timeout=0.5)
            except queue.Full:
                if not wait:
                    return False
                self._raise_error()
            else:
                return True

    def close(self) -> None:
        """Encode what is queued and stop. Raises what went wrong in the thread."""
        self.stop()
        self._raise_error()

    def stop(self) -> None:
        """Encode what is queued and stop; errors are kept."""
        if self._thread.is_alive():
            self._images.put(None)
            self._thread.join()

    def _encode(self) -> None:
        while (item := self._images.get()) is not None:
            if self._error is not None:
                continue  # keep emptying, so that nobody waits for space forever
            try:
                for packet in self.encoder.encode(item[1]):
                    self._write(item[0], packet)
            except BaseException as error:  # noqa: BLE001 (the recording thread raises it)
                self._error = error

    def _raise_error(self) -> None:
        if isinstance(self._error, RecordingFailed):
            raise RecordingFailed(str(self._error)).with_hint(self._error.hint)
        if self._error is not None:
            raise RecordingFailed(f"camera {self.name!r}: {self._error}") from self._error


class CameraWriter:
    """The cameras of one recording: each is declared in the log with its first packet.

    `report(camera, count, start_ns, end_ns)` is called when dropping images has ended.
    """

    def __init__(
        self,
        log: BlockLog,
        declared: Mapping[str, CameraInfo],
        start_ns: int,
        on_full: OnFull,
        queue_images: int,
        report: Report,
    ) -> None:
        self.last_ns = 0
        self.dropped = 0
        self._log, self._start_ns, self._report = log, start_ns, report
        self._wait, self._size = on_full == "block", queue_images
        self._declared, self._chosen = dict(declared), set[str]()
        self._queues: dict[str, ImageQueue] = {}
        self._reels: dict[str, int] = {}
        self._watches: dict[str, SizeWatch] = {}
        self._refused = set[str]()
        self._dropping: dict[str, list[int]] = {}
        self._declaring = threading.RLock()

    @property
    def queued(self) -> int:
        """Count the images that wait for the encoder."""
        return sum(len(images) for images in self._queues.values())

    def declare(self, camera: str, info: CameraInfo) -> None:
        """Say what a camera is. Raises RecordingFailed after its first image."""
        with self._declaring:
            if camera in self._reels or camera in self._queues:
                raise RecordingFailed(f"camera {camera!r} is being recorded already").with_hint(
                    "declare it before its first image"
                )
            self._declared[camera] = info
            self._chosen.add(camera)

    def image(self, camera: str, time_ns: Stamp, rgb: npt.NDArray[np.uint8]) -> None:
        """Queue an image for the encoder."""
        images = self._queues.get(camera) or self._begin(camera, rgb)
        expected = (images.info.height, images.info.width, 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise RecordingFailed(
                f"camera {camera!r} gives {rgb.dtype} {rgb.shape}, declared is uint8 {expected}"
            ).with_hint(_ANOTHER_NAME)
        moment = operator.index(time_ns) - self._start_ns
        if images.put(moment, rgb, wait=self._wait):
            self.last_ns = moment
            self._end_of_drop(camera)
        else:
            self.dropped += 1
            drop = self._dropping.setdefault(camera, [0, moment, moment])
            drop[0], drop[2] = drop[0] + 1, moment

    def packet(self, camera: str, time_ns: Stamp, packet: Packet) -> None:
        """Append an encoded image to the log."""
        if camera not in self._declared:
            raise self._unknown(camera)
        if camera in self._queues:
            raise RecordingFailed(f"camera {camera!r} gave images before, now packets")
        moment = operator.index(time_ns) - self._start_ns
        if camera not in self._reels:
            if not packet.key:
                raise RecordingFailed(
                    f"camera {camera!r} does not begin with a key image"
                ).with_hint("ask the encoder for a key image when an episode begins")
            self._watches[camera] = SizeWatch(self._declared[camera].codec)
        if camera in self._refused and not packet.key:
            raise RecordingFailed(
                f"camera {camera!r}: this packet builds on one that was refused"
            ).with_hint(_ANOTHER_NAME)
        self._refuse_other_size(camera, packet)
        self._refused.discard(camera)
        self._put(camera, moment, packet, b"")
        self.last_ns = moment

    def close(self) -> None:
        """Encode what is queued; report what was dropped. Raises RecordingFailed."""
        for camera, images in self._queues.items():
            images.close()
            self._end_of_drop(camera)

    def stop(self) -> None:
        """Encode what is queued; say nothing of errors."""
        for images in self._queues.values():
            images.stop()

    def _begin(self, camera: str, first: npt.NDArray[np.uint8]) -> ImageQueue:
        with self._declaring:
            if camera in self._queues:
                return self._queues[camera]
            if camera not in self._declared:
                raise self._unknown(camera)
            if camera in self._reels:
                raise RecordingFailed(f"camera {camera!r} gave packets before, now images")
            info = self._declared[camera].model_copy(update={"codec": Encoder.codec})
            if camera not in self._chosen:
                info = _scaled(info, first.shape)

            def write(time_ns: int, packet: Packet) -> None:
                self._put(camera, time_ns, packet, self._queues[camera].encoder.extradata)

            self._declared[camera] = info
            self._queues[camera] = ImageQueue(camera, info, write, self._size)
            return self._queues[camera]

    def _refuse_other_size(self, camera: str, packet: Packet) -> None:
        size, info = self._watches[camera].stated(packet), self._declared[camera]
        if size is None and camera not in self._reels:
            raise RecordingFailed(
                f"camera {camera!r}: the first packet does not state its size"
            ).with_hint("put SPS and PPS (a sequence header for AV1) before the first key image")
        if size is None:
            return
        if camera not in self._reels and camera not in self._chosen:
            self._declared[camera] = info = _scaled(info, (size[1], size[0], 3))
        if size != (info.width, info.height):
            # the next key image states it again, so it is refused too
            self._watches[camera] = SizeWatch(info.codec)
            self._refused.add(camera)
            raise RecordingFailed(
                f"camera {camera!r} gives {size[0]}x{size[1]}, declared is "
                f"{info.width}x{info.height}"
            ).with_hint(_ANOTHER_NAME)

    def _put(self, camera: str, time_ns: int, packet: Packet, extradata: bytes) -> None:
        index = self._reels.get(camera)
        if index is None:
            with self._declaring:
                index = len(self._reels)
                declaration = CameraDeclaration(
                    index=index,
                    name=camera,
                    info=self._declared[camera],
                    extradata=base64.b64encode(extradata).decode(),
                )
                self._log.append(Kind.CAMERA, 0, as_json(declaration))
                self._reels[camera] = index
        payload = packet_bytes(time_ns, packet.data, packet.pts, packet.dts, key=packet.key)
        self._log.append(Kind.PACKET, index, payload)

    def _end_of_drop(self, camera: str) -> None:
        if camera in self._dropping:
            self._report(camera, *self._dropping.pop(camera))

    def _unknown(self, camera: str) -> UnknownName:
        return UnknownName.among("camera", camera, self._declared).with_hint(
            f"declare it first: recording.declare_camera({camera!r}, CameraInfo(...))"
        )


def _scaled(info: CameraInfo, shape: tuple[int, ...]) -> CameraInfo:
    """Fit a camera of the embodiment to images of its proportions but another size."""
    if len(shape) != 3 or shape[1] * info.height != shape[0] * info.width:
        return info
    scale, intrinsics = shape[1] / info.width, info.intrinsics
    if intrinsics is not None:
        intrinsics = intrinsics.model_copy(
            update={
                "fx": intrinsics.fx * scale,
                "fy": intrinsics.fy * scale,
                "cx": intrinsics.cx * scale,
                "cy": intrinsics.cy * scale,
            }
        )
    update = {"width": shape[1], "height": shape[0], "intrinsics": intrinsics}
    return info.model_copy(update=update)
