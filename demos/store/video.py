"""Video of a camera: encoded packet by packet, kept as a playable mp4, read image by image."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, DemosError, RecordingFailed, StoreError, UnknownName
from demos.model import CameraInfo, Nanoseconds
from demos.store.packets import PacketIndex, index_file

__all__ = ["Encoder", "Packet", "PacketIndex", "VideoCamera", "index_file", "mux"]

GOP = 10
TICKS_PER_S = 1_000_000
ELEMENTARY = {"h264": "h264", "hevc": "hevc", "av1": "obu"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded image. H.264 and HEVC in Annex B form (start codes), AV1 as a temporal unit.

    pts, dts: whole numbers that order images for display and for decoding, in any unit.
    """

    data: bytes
    pts: int
    dts: int
    key: bool


class Encoder:
    """Encode images as H.264 that decodes fast from any tenth image, one packet an image.

    x264 `veryfast` with `tune=fastdecode,zerolatency`, closed groups of 10, no B-frames: no image
    waits for a later one, so what was encoded survives a crash. RGB (height, width, 3) uint8 in.
    Raises RecordingFailed for odd sizes, and where an image changes size.
    """

    codec = "h264"

    def __init__(self, width: int, height: int, rate_hz: float, crf: int = 23) -> None:
        import av

        if width < 2 or height < 2 or width % 2 or height % 2:
            raise RecordingFailed(
                f"a camera of {width}x{height} cannot be encoded: H.264 needs even sizes"
            ).with_hint("crop or pad the images by one pixel")
        self.width, self.height = width, height
        self._count = 0
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        rate = Fraction(rate_hz).limit_denominator(1001)
        context.framerate, context.time_base = rate, 1 / rate
        context.gop_size, context.max_b_frames = GOP, 0
        context.thread_count = 1
        context.flags |= int(av.codec.context.Flags.global_header)
        context.options = {
            "preset": "veryfast",
            "tune": "fastdecode,zerolatency",
            "crf": str(crf),
            "x264-params": f"keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0:bframes=0",
        }
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise RecordingFailed(
                f"H.264 of {width}x{height} cannot be encoded: {error}"
            ) from error
        self._context = context

    @property
    def extradata(self) -> bytes:
        """The decoder's configuration (SPS and PPS); key packets do not repeat it."""
        return bytes(self._context.extradata or b"")

    def encode(self, rgb: npt.NDArray[np.uint8]) -> list[Packet]:
        """Encode one image; its packet is there at once."""
        import av

        if rgb.dtype != np.uint8 or rgb.shape != (self.height, self.width, 3):
            raise RecordingFailed(_size_changed(rgb, self.width, self.height)).with_hint(
                "a camera keeps one size for an episode: record the new size as another camera"
            )
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        image.pts = self._count
        self._count += 1
        return self._packets(image)

    def flush(self) -> list[Packet]:
        """End the video; nothing can be encoded afterwards."""
        return self._packets(None)

    def _packets(self, image: object) -> list[Packet]:
        import av

        try:
            made = self._context.encode(image)
        except (av.error.FFmpegError, ValueError) as error:
            raise RecordingFailed(f"an image could not be encoded: {error}") from error
        return [
            Packet(bytes(p), int(p.pts), int(p.dts if p.dts is not None else p.pts), p.is_keyframe)
            for p in made
        ]


def _size_changed(rgb: npt.NDArray[Any], width: int, height: int) -> str:
    if rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3:
        return f"the camera changed from {width}x{height} to {rgb.shape[1]}x{rgb.shape[0]}"
    return f"an image is {rgb.dtype} {rgb.shape}; it must be uint8 ({height}, {width}, 3)"


def mux(
    path: Path,
    packets: Iterable[Packet],
    time_ns: Nanoseconds,
    *,
    codec: str = "h264",
    extradata: bytes = b"",
    size: tuple[int, int] | None = None,
) -> PacketIndex:
    """Copy packets into a faststart mp4 and index it; nothing is encoded again.

    packets: in decode order. time_ns: (images,), stamps in display order, kept as they are in the
    index; the mp4 itself starts at zero and rounds them to microseconds, each later than the one
    before. size: (width, height) that the packets are claimed to have.

    Raises RecordingFailed where packets are no video, change size, or do not fit the stamps.
    """
    import av

    held = list(packets)
    if not held or len(held) != len(time_ns):
        raise RecordingFailed(f"{path.name}: {len(held)} packets for {len(time_ns)} stamps")
    if not held[0].key:
        raise RecordingFailed(f"{path.name}: the first packet is not a key image")
    template = _template(held[0], codec, extradata, size, path.name)
    _refuse_changed_size(held, template, codec, path.name)
    pts, dts = _ticks(held, time_ns)
    base = Fraction(1, TICKS_PER_S)
    options = {"movflags": "faststart", "video_track_timescale": str(TICKS_PER_S)}
    try:
        with av.open(str(path), "w", format="mp4", options=options) as container:
            stream = container.add_stream_from_template(template.streams.video[0])
            stream.time_base = base
            for number, packet in enumerate(held):
                out: Any = av.Packet(packet.data)
                out.stream, out.time_base = stream, base
                out.pts, out.dts = pts[number], dts[number]
                out.is_keyframe = packet.key
                container.mux_one(out)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}").with_hint(
            "check free space and permissions"
        ) from error
    except (av.error.FFmpegError, ValueError) as error:
        raise RecordingFailed(f"{path.name}: the packets make no mp4: {error}") from error
    finally:
        template.close()
    index = index_file(path)
    if len(index) != len(time_ns):
        raise RecordingFailed(f"{path.name} shows {len(index)} images for {len(time_ns)} stamps")
    return replace(index, time_ns=np.array(time_ns, np.int64))


def _template(
    first: Packet, codec: str, extradata: bytes, size: tuple[int, int] | None, name: str
) -> Any:
    """Open the first image as a stream of its own: its parameters become the mp4's."""
    import av

    if codec not in ELEMENTARY:
        known = ", ".join(ELEMENTARY)
        raise RecordingFailed(f"{name}: packets of codec {codec!r} are not taken").with_hint(
            f"send one of {known}, or images"
        )
    hint = "send H.264 and HEVC packets with start codes (Annex B) and SPS and PPS before them"
    try:
        raw = io.BytesIO(extradata + first.data)
        template = av.open(raw, format=ELEMENTARY[codec])
        context = template.streams.video[0].codec_context
        found = (context.width, context.height)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise RecordingFailed(f"{name}: the first packet is not {codec}: {error}").with_hint(
            hint
        ) from error
    if not all(found) or (size is not None and found != size):
        template.close()
        told = f", declared {size[0]}x{size[1]}" if size else ""
        raise RecordingFailed(f"{name}: the packets are {found[0]}x{found[1]}{told}").with_hint(
            hint
        )
    return template


def _refuse_changed_size(held: list[Packet], template: Any, codec: str, name: str) -> None:
    context = template.streams.video[0].codec_context
    size, seen = (context.width, context.height), _parameters(held[0], codec)
    for number, packet in enumerate(held):
        parameters = _parameters(packet, codec) if packet.key else b""
        if parameters and parameters != seen:
            seen = parameters
            try:
                _template(packet, codec, b"", size, name).close()
            except RecordingFailed as error:
                raise RecordingFailed(
                    f"the camera changed size at image {number}: {error}"
                ).with_hint("record the new size as another camera") from error


def _parameters(packet: Packet, codec: str) -> bytes:
    """Return what precedes the picture itself in an H.264 packet: its SPS and PPS, if any."""
    if codec != "h264":
        return packet.data[:64]
    units = packet.data.split(b"\x00\x00\x01")
    return b"".join(unit for unit in units if unit and unit[0] & 31 in (7, 8))


def _ticks(held: list[Packet], time_ns: Nanoseconds) -> tuple[list[int], list[int]]:
    """Put each packet at its image's microsecond, and decode stamps early enough for B-frames."""
    shown = np.argsort([packet.pts for packet in held], kind="stable")
    micro = ((np.asarray(time_ns) - time_ns[0]) // (1_000_000_000 // TICKS_PER_S)).tolist()
    for i in range(1, len(micro)):
        micro[i] = max(micro[i], micro[i - 1] + 1)
    pts = [0] * len(held)
    for position, number in enumerate(shown.tolist()):
        pts[number] = micro[position]
    early = max(decoded - shown_at for decoded, shown_at in zip(micro, pts, strict=True))
    return pts, [decoded - early for decoded in micro]


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
            except Exception as error:  # FFmpeg raises dozens of kinds on broken packets
                self._decoder = None
                raise self._damaged(f"cannot be decoded: {error}") from error
        return out

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
        while number > 0 and self._rank[self._keys[number]] > image:
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
            fed.pts = fed.dts = None
            rank = int(self._rank[packet])
            fed.pts = rank if rank >= 0 else -1 - packet
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
