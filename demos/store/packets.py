"""Where every packet of a video lies, so that images are reached without opening the file anew."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, DemosError, SchemaMismatch, StoreError
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

    def stamped(
        self, time_ns: Nanoseconds, shown: npt.NDArray[np.int64] | None = None
    ) -> PacketIndex:
        """Give the images their recorded stamps; `shown` picks those that belong to the episode.

        time_ns: (images,) int64. shown: (images,) display positions in the file, None for all.
        Raises SchemaMismatch where stamps and images are not one to one.
        """
        order = self.order if shown is None else self.order[_within(shown, len(self.order))]
        if len(order) != len(time_ns):
            raise SchemaMismatch(f"the video has {len(order)} images for {len(time_ns)} stamps")
        return replace(self, order=order, time_ns=np.array(time_ns, np.int64))

    def equals(self, other: PacketIndex) -> bool:
        """Compare every field and every element."""
        return all(
            np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
            for mine, theirs in (
                (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)
            )
        )


def _within(shown: npt.NDArray[np.int64], images: int) -> npt.NDArray[np.int64]:
    outside = (shown < 0) | (shown >= images)
    if outside.any():
        raise SchemaMismatch(f"image {shown[outside][0]} is asked of a video of {images} images")
    return shown


def index_file(path: Path) -> PacketIndex:
    """Index the first video of a playable file by demuxing it; nothing is decoded.

    Stamps count from the first image shown. Raises Damaged where the file cannot be read, has
    no video, or breaks off; StoreError where packets do not lie in it byte for byte (Matroska
    with header compression): such a file is remuxed to mp4 first.
    """
    import av

    try:
        with path.open("rb") as raw, av.open(str(path)) as container:
            if "mp4" in container.format.name:
                _refuse_cut_off(raw, path)
            return _index(*_rows(container, raw, path), path)
    except DemosError:
        raise
    except Exception as error:  # FFmpeg raises dozens of kinds on broken files
        raise Damaged(f"{path.name} is not a whole video: {error}").with_hint(
            "copy it again from its source; `demos verify STORE --deep` finds what else is hurt"
        ) from error


def _refuse_cut_off(raw: IO[bytes], path: Path) -> None:
    """Walk the boxes of an mp4 (ISO 14496-12, 4.2): the last must end where the file ends.

    FFmpeg leaves out packets behind the end without a word; an edit list does so rightly.
    """
    end, place = raw.seek(0, 2), 0
    while place < end:
        raw.seek(place)
        header = raw.read(16).ljust(16, b"\0")
        size = int.from_bytes(header[:4], "big")
        size = int.from_bytes(header[8:], "big") if size == 1 else size or end - place
        if size < 8 or place + size > end:
            raise Damaged(f"{path.name} breaks off: the box at byte {place} has {size} bytes")
        place += size


_Row = tuple[int, int, int, int, bool, int, bool]


def _rows(container: Any, raw: IO[bytes], path: Path) -> tuple[list[_Row], Any]:
    if not container.streams.video:
        raise Damaged(f"{path.name} holds no video")
    rows: list[_Row] = []
    stream = container.streams.video[0]
    for packet in container.demux(stream):
        if packet.size:
            rows.append(_row(packet, raw, path, len(rows)))
    return rows, stream


def _row(packet: Any, raw: IO[bytes], path: Path, number: int) -> _Row:
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
    context, base = stream.codec_context, stream.time_base
    if context is None:
        raise Damaged(f"{path.name} is coded in a way that is not known here")
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
