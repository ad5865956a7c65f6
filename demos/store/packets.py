"""Where every packet of a video lies, so that images are reached without opening the file anew."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, SchemaMismatch, StoreError
from demos.model import Nanoseconds

Whole = npt.NDArray[np.int64]
PER_PACKET = ("pts", "dts", "position", "size", "key", "crc32c")
PER_IMAGE = ("time_ns", "order")


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """The packets of one video in decode order, and its images in display order.

    time_ns: (images,) int64, stamp of each image since the episode's start, as recorded.
    pts, dts: (packets,) int64 in units of `time_base` (numerator, denominator) seconds.
    position, size: (packets,) int64, bytes in the file.
    key: (packets,) bool, whether decoding may start there.
    crc32c: (packets,) uint32 of the packet's bytes; H.264 and AV1 decode flipped bits silently.
    order: (images,) int64, number of the packet that holds the image shown at each position.
    extradata: the decoder's configuration, as the container stores it.
    colour: the container's range, matrix, primaries and transfer (ISO 23091-2 numbers).

    Raises SchemaMismatch where the arrays disagree.
    """

    time_ns: Nanoseconds
    pts: Whole
    dts: Whole
    position: Whole
    size: Whole
    key: npt.NDArray[np.bool_]
    crc32c: npt.NDArray[np.uint32]
    order: Whole
    time_base: tuple[int, int]
    extradata: bytes
    codec: str
    width: int
    height: int
    colour: tuple[int, int, int, int] = (0, 2, 2, 2)

    def __post_init__(self) -> None:
        packets, images = len(self.pts), len(self.time_ns)
        kinds = {"key": np.bool_, "crc32c": np.uint32}
        for names, length in ((PER_PACKET, packets), (PER_IMAGE, images)):
            for name in names:
                array, kind = getattr(self, name), kinds.get(name, np.int64)
                if array.shape != (length,) or array.dtype != kind:
                    raise SchemaMismatch(
                        f"packet index: {name} is {array.dtype} {array.shape}; "
                        f"it must be {np.dtype(kind)} ({length},)"
                    )
        if ((self.order < 0) | (self.order >= packets)).any():
            raise SchemaMismatch(f"packet index: an image points outside its {packets} packets")

    def __len__(self) -> int:
        return len(self.time_ns)

    def equals(self, other: PacketIndex) -> bool:
        """Compare every field and every element."""
        return all(
            np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
            for mine, theirs in (
                (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)
            )
        )


def index_file(path: Path) -> PacketIndex:
    """Index the first video of a playable file by demuxing it; nothing is decoded.

    Stamps count from the first image shown. Raises Damaged where the file cannot be read, has
    no video, or breaks off; StoreError where packets do not lie in it byte for byte (Matroska
    with header compression): such a file is remuxed to mp4 first.
    """
    import av

    try:
        with path.open("rb") as raw, av.open(str(path)) as container:
            if not container.streams.video:
                raise Damaged(f"{path.name} holds no video")
            rows: list[_Row] = []
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.size:
                    rows.append(_row(packet, raw, path, len(rows)))
            return _index(rows, stream, path)
    except (OSError, av.error.FFmpegError, ValueError) as error:
        raise Damaged(f"{path.name} is not a whole video: {error}").with_hint(
            "copy it again from its source; `demos verify STORE --deep` finds what else is hurt"
        ) from error


_Row = tuple[int, int, int, int, bool, int, bool]


def _row(packet: Any, raw: Any, path: Path, number: int) -> _Row:
    import google_crc32c

    data = bytes(packet)
    if packet.is_corrupt or packet.pos is None or packet.pos < 0:
        raise Damaged(f"{path.name}: packet {number} is cut short or has no place in the file")
    raw.seek(packet.pos)
    if raw.read(len(data)) != data:
        raise StoreError(
            f"{path.name}: packet {number} does not lie at byte {packet.pos} as it is decoded"
        ).with_hint("remux it: ffmpeg -i FILE -c copy -movflags +faststart OUT.mp4")
    dts = packet.dts if packet.dts is not None else number
    pts = packet.pts if packet.pts is not None else dts
    crc = google_crc32c.value(data)
    return pts, dts, packet.pos, len(data), packet.is_keyframe, crc, not packet.is_discard


def _index(rows: list[_Row], stream: Any, path: Path) -> PacketIndex:
    if not rows:
        raise Damaged(f"{path.name} holds no images")
    expected = stream.frames
    if expected and len(rows) < expected:
        raise Damaged(f"{path.name} breaks off: {len(rows)} of {expected} images are there")
    context, base = stream.codec_context, stream.time_base
    pts, dts, position, size, key, crc, shown = zip(*rows, strict=True)
    ticks = np.array(pts, np.int64)
    order = np.argsort(ticks, kind="stable").astype(np.int64)
    order = order[np.array(shown, bool)[order]]
    times = [
        ((tick - int(ticks[order[0]])) * base.numerator * 1_000_000_000 + base.denominator // 2)
        // base.denominator
        for tick in ticks[order].tolist()
    ]
    return PacketIndex(
        time_ns=np.array(times, np.int64),
        pts=ticks,
        dts=np.array(dts, np.int64),
        position=np.array(position, np.int64),
        size=np.array(size, np.int64),
        key=np.array(key, bool),
        crc32c=np.array(crc, np.uint32),
        order=order,
        time_base=(base.numerator, base.denominator),
        extradata=context.extradata or b"",
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        colour=(
            int(context.color_range),
            int(context.colorspace),
            int(context.color_primaries),
            int(context.color_trc),
        ),
    )
