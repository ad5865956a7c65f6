"""Images to packets, packets to a playable mp4."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from demos.errors import RecordingFailed, StoreError
from demos.model import Nanoseconds
from demos.store.packets import PacketIndex, index_file

GOP = 10
Rgb = npt.NDArray[np.uint8]
TICKS_PER_S = 1_000_000
_RUN_BYTES = 2**25
_MOST_WORKERS = 8
"""Each holds a run of raw images in memory, up to twice `_RUN_BYTES` or 20 images."""

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

    x264 `veryfast` with `tune=fastdecode,zerolatency`, closed groups of `gop` images, no B-frames:
    no image waits for a later one, so what was encoded survives a crash. RGB (height, width, 3)
    uint8 in.
    Raises RecordingFailed for odd sizes, and where an image changes size.
    """

    codec = "h264"

    def __init__(
        self, width: int, height: int, rate_hz: float, crf: int = 23, *, gop: int = GOP
    ) -> None:
        import av

        if width < 2 or height < 2 or width % 2 or height % 2:
            raise RecordingFailed(
                f"a camera of {width}x{height} cannot be encoded: H.264 needs even sizes"
            ).with_hint("crop or pad the images by one pixel")
        if not rate_hz > 0:
            raise RecordingFailed(f"a camera cannot take {rate_hz} images a second").with_hint(
                "give its nominal rate; stamps say when each image was taken"
            )
        self.width, self.height = width, height
        self._count = 0
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        rate = max(Fraction(rate_hz).limit_denominator(1001), Fraction(1, 1001))
        context.framerate, context.time_base = rate, 1 / rate
        context.gop_size, context.max_b_frames = gop, 0
        context.thread_count = 1
        context.flags |= int(av.codec.context.Flags.global_header)
        context.options = {
            "preset": "veryfast",
            "tune": "fastdecode,zerolatency",
            "crf": str(crf),
            "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=0",
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

    packets: in decode order; a sequence may read each when it is asked for. time_ns: (images,),
    stamps in display order, kept as they are in the index; the mp4 itself starts at zero and
    rounds them to microseconds, each later than the one before. size: (width, height) that the
    packets are claimed to have.

    Raises RecordingFailed where packets are no video, change size, or do not fit the stamps;
    StoreError where the disk refuses or the file exists.
    """
    import av

    if path.exists():
        raise StoreError(f"{path} is there already; video is never overwritten")
    held = packets if isinstance(packets, Sequence) else list(packets)
    if not held or len(held) != len(time_ns):
        raise RecordingFailed(f"{path.name}: {len(held)} packets for {len(time_ns)} stamps")
    if not held[0].key:
        raise RecordingFailed(f"{path.name}: the first packet is not a key image")
    template = _template(held[0], codec, extradata, size, path.name)
    _refuse_changed_size(held, template, codec, path.name)
    pts, dts = _ticks(held, time_ns)
    lasting = _durations(pts)
    base = Fraction(1, TICKS_PER_S)
    options = {"movflags": "faststart", "video_track_timescale": str(TICKS_PER_S)}
    try:
        with av.open(str(path), "w", format="mp4", options=options) as container:
            stream = container.add_stream_from_template(template.streams.video[0], opaque=True)
            stream.time_base = base
            for number, packet in enumerate(held):
                out: Any = av.Packet(packet.data)
                out.stream, out.time_base = stream, base
                out.pts, out.dts = pts[number], dts[number]
                out.duration, out.is_keyframe = lasting[number], packet.key
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
    return index.stamped(time_ns)


def encode(
    path: Path, images: Iterable[npt.NDArray[np.uint8]], time_ns: Nanoseconds, rate_hz: float
) -> PacketIndex:
    """Encode RGB images (height, width, 3) uint8 as the recorder would: with loss.

    Runs of images are encoded side by side, each by an encoder of its own: what a run looks like
    does not depend on how many cores there are. An image must keep its values after it was
    yielded. For sources that hold raw images; say so in the provenance.
    Raises as `Encoder` and `mux` do.
    """
    rest = iter(images)
    first = next(rest, None)
    if first is None:
        raise RecordingFailed(f"{path.name}: there is no image to encode")
    encoder = Encoder(first.shape[1], first.shape[0], rate_hz)  # says what it cannot encode
    size = (encoder.width, encoder.height)
    runs = _runs(chain([first], rest))
    run, more = next(runs), next(runs, None)
    if more is None:
        packets = _encoded(run, encoder)
    else:
        packets = _side_by_side(chain([run, more], runs), size, rate_hz)
    return mux(path, packets, time_ns, extradata=encoder.extradata, size=size)


def _side_by_side(runs: Iterable[list[Rgb]], size: tuple[int, int], rate_hz: float) -> list[Packet]:
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    packets: list[Packet] = []
    with ThreadPoolExecutor(workers, "encode") as pool:
        begun: deque[Future[list[Packet]]] = deque()
        for run in runs:
            begun.append(pool.submit(_encoded, run, Encoder(*size, rate_hz)))
            if len(begun) > workers:
                packets += _after(len(packets), begun.popleft().result())
        while begun:
            packets += _after(len(packets), begun.popleft().result())
    return packets


def _runs(images: Iterable[Rgb]) -> Iterator[list[Rgb]]:
    """Cut images into runs that each keep an encoder busy for much longer than it takes to open.

    A run has an even number of groups: x264 numbers them in turn 0 and 1, and the standard wants
    two that follow each other to differ (ITU-T H.264, 7.4.3, idr_pic_id).
    """
    run: list[Rgb] = []
    for image in images:
        run.append(image)
        if len(run) % (2 * GOP) == 0 and len(run) * image.nbytes >= _RUN_BYTES:
            yield run
            run = []
    if run:
        yield run


def _encoded(run: list[Rgb], encoder: Encoder) -> list[Packet]:
    return [packet for image in run for packet in encoder.encode(image)] + encoder.flush()


def _after(images: int, packets: Iterable[Packet]) -> Iterator[Packet]:
    """Place a run's packets behind so many images; there is no B-frame, so one packet is one."""
    return (replace(p, pts=p.pts + images, dts=p.dts + images) for p in packets)


class _Reel(Sequence[Packet]):
    """Encoded images that are shown in the order in which they are decoded, read when asked for."""

    def __init__(self, images: Sequence[bytes], keys: Sequence[bool]) -> None:
        self._images, self._keys = images, keys

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Packet: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Packet]: ...
    def __getitem__(self, index: int | slice) -> Packet | Sequence[Packet]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return Packet(self._images[index], index, index, self._keys[index])


def join(
    path: Path, images: Sequence[bytes], keys: Sequence[bool], time_ns: Nanoseconds, codec: str
) -> PacketIndex:
    """Copy encoded images without B-frames into an mp4 and index it, as `mux` does.

    images: in their order, each read when it is asked for. keys: whether decoding may start there.
    """
    return mux(path, _Reel(images, keys), time_ns, codec=codec)


class SizeWatch:
    """Read the size that packets of one camera state, as they come and before they are kept."""

    def __init__(self, codec: str) -> None:
        self.codec, self._seen = codec, b""

    def stated(self, packet: Packet) -> tuple[int, int] | None:
        """Return (width, height) where a key packet states it anew, else None.

        Raises RecordingFailed for a codec that is not taken, or a packet that is not of it.
        """
        if not packet.key:
            return None
        parameters = _parameters(packet, self.codec) if self.codec in ELEMENTARY else b"unknown"
        if not parameters or parameters == self._seen:
            return None
        template = _template(packet, self.codec, b"", None, "a packet")
        context = template.streams.video[0].codec_context
        size = (context.width, context.height)
        template.close()
        self._seen = parameters
        return size


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


def _refuse_changed_size(held: Sequence[Packet], template: Any, codec: str, name: str) -> None:
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
    """Return what states the picture's size (SPS, PPS, sequence header), empty where it is not."""
    if codec == "av1":
        return b"".join(_sequence_headers(packet.data))
    units = [unit for unit in packet.data.split(b"\x00\x00\x01") if unit]
    if codec == "hevc":
        return b"".join(unit for unit in units if unit[0] >> 1 & 63 in (32, 33, 34))
    return b"".join(unit for unit in units if unit[0] & 31 in (7, 8))


def _sequence_headers(data: bytes) -> Iterator[bytes]:
    """Walk the open bitstream units of a temporal unit (AV1 specification, 5.3 and 4.10.5)."""
    place = 0
    while place < len(data):
        start, header, size = place, data[place], 0
        place += 2 if header & 4 else 1
        for shift in range(0, 56, 7):
            byte = data[place] if place < len(data) else 0
            place += 1
            size |= (byte & 127) << shift
            if byte < 128:
                break
        place += size if header & 2 else len(data)
        if header >> 3 & 15 == 1:
            yield data[start:place]


def _ticks(held: Sequence[Packet], time_ns: Nanoseconds) -> tuple[list[int], list[int]]:
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


def _durations(pts: list[int]) -> list[int]:
    """Let each image last until the next; without it FFmpeg 7 cuts the last off as past the end."""
    shown = sorted(pts)
    steps = np.diff(shown)
    usual = int(np.median(steps)) if len(steps) else TICKS_PER_S // 30
    follows = dict(zip(shown, [*steps.tolist(), usual], strict=True))
    return [follows[tick] for tick in pts]
