"""Cut one episode's images out of an mp4 that holds several, without encoding anything again.

LeRobot v3.0 appends the videos of many episodes to one file and says of each episode
[from_timestamp, to_timestamp) in seconds. The sums behind those numbers drift by rounding, so an
image belongs to an episode when its stamp lies within half an image of the span.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed

_COPY_AGAIN = "the video is damaged or cut short; copy it again from its source"


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """The packets of an mp4's video stream in decode order; `order` lists them as displayed.

    pts, dts, duration: (packets,) int64 in units of `time_base` (numerator, denominator).
    position, size: (packets,) int64 bytes. key: (packets,) bool.
    """

    pts: npt.NDArray[np.int64]
    dts: npt.NDArray[np.int64]
    duration: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    key: npt.NDArray[np.bool_]
    time_base: tuple[int, int]

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The number of the packet shown at each display position."""
        return np.argsort(self.pts, kind="stable").astype(np.int64)

    def __len__(self) -> int:
        return len(self.pts)


def is_mp4(path: Path) -> bool:
    """Say whether a file begins as an mp4 does (ISO/IEC 14496-12: a box called `ftyp`)."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:8] == b"ftyp"
    except OSError:
        return False


def packets_of(path: Path) -> Packets:
    """List the packets of an mp4's first video stream. Raises ImportFailed."""
    import av

    if not is_mp4(path):  # FFmpeg would follow a playlist that is merely called .mp4
        raise ImportFailed(f"{path.name} is no mp4 file").with_hint(_COPY_AGAIN)
    rows = []
    try:
        with av.open(str(path), format="mp4") as container:
            stream = container.streams.video[0]
            base = stream.time_base
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and packet.dts is not None:
                    place = (packet.pts, packet.dts, packet.duration or 0, packet.pos)
                    rows.append((*place, packet.size, packet.is_keyframe))
    except (av.error.FFmpegError, IndexError, ValueError, OSError) as error:
        raise ImportFailed(f"{path.name} cannot be read as video: {error}").with_hint(
            _COPY_AGAIN
        ) from error
    if not rows:
        raise ImportFailed(f"{path.name} holds no image").with_hint(_COPY_AGAIN)
    table = np.array(rows, dtype=np.int64)
    pts, dts, duration, position, size, key = table.T
    rate = (base.numerator, base.denominator)
    return Packets(pts, dts, duration, position, size, key.astype(np.bool_), rate)


def span_of(packets: Packets, from_s: float, to_s: float) -> tuple[int, int]:
    """Return the display positions [first, end) whose stamps lie in [from_s, to_s)."""
    numerator, denominator = packets.time_base
    time_s = np.sort(packets.pts) * (numerator / denominator)
    half_s = float(np.median(np.diff(time_s))) / 2 if len(time_s) > 1 else 0.0
    first, end = np.searchsorted(time_s, (from_s - half_s, to_s - half_s))
    return int(first), int(end)


def sha256_of(path: Path, packets: Packets, span: tuple[int, int]) -> str:
    """Hash the encoded images at display positions [first, end): 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number in packets.order[span[0] : span[1]].tolist():
            file.seek(int(packets.position[number]))
            digest.update(file.read(int(packets.size[number])))
    return digest.hexdigest()


def cut(
    source: Path, packets: Packets, span: tuple[int, int], target: Path
) -> npt.NDArray[np.int64]:
    """Copy the packets of display positions [first, end) into an mp4 of their own.

    Where the span does not begin at a key image, the packets since the last one go along: the
    decoder needs them. Returns the display positions in the new file that belong to the span.
    Raises ImportFailed for an empty span and for a source that cannot be copied.
    """
    import av

    order = packets.order
    wanted = order[span[0] : span[1]]
    if not len(wanted):
        raise ImportFailed(f"{source.name} holds no image of this episode").with_hint(
            "the metadata points behind the end of the video; copy both again from one source"
        )
    # a key image that is shown later than the span's first one would not let it be decoded
    starts = np.flatnonzero(packets.key & (packets.pts <= packets.pts[wanted[0]]))
    starts = starts[starts <= wanted.min()]
    taken = np.arange(starts[-1] if len(starts) else 0, wanted.max() + 1)
    shift = int(packets.pts[taken].min())
    try:
        with (
            source.open("rb") as content,
            av.open(str(source), format="mp4") as before,
            av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as after,
        ):
            template = before.streams.video[0]
            stream = after.add_stream_from_template(template)
            for number in taken:
                after.mux(_packet(content, packets, int(number), shift, stream))
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise ImportFailed(f"{source.name} cannot be copied: {error}").with_hint(
            _COPY_AGAIN
        ) from error
    shown = taken[np.argsort(packets.pts[taken], kind="stable")]
    return np.flatnonzero(np.isin(shown, wanted)).astype(np.int64)


def _packet(content: Any, packets: Packets, number: int, shift: int, stream: Any) -> Any:
    from fractions import Fraction

    import av

    content.seek(int(packets.position[number]))
    packet = av.Packet(content.read(int(packets.size[number])))
    packet.time_base = Fraction(*packets.time_base)
    packet.pts = int(packets.pts[number]) - shift
    packet.dts = int(packets.dts[number]) - shift
    packet.duration = int(packets.duration[number])
    packet.is_keyframe = bool(packets.key[number])
    packet.stream = stream
    return packet
