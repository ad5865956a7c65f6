"""The packets of an mp4 as they stand by themselves: each can be sent, and a key image decoded.

An mp4 keeps the decoder's configuration apart and counts bytes before each unit. Messages need
start codes (Annex B of H.264 and HEVC) and the configuration before every key image; AV1 needs
its sequence header there, in the low-overhead format (AV1 specification, 5.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged

FORMATS = {"h264": "h264", "hevc": "h265", "av1": "av1"}
"""Codecs that can be taken apart, and what foxglove.CompressedVideo calls them."""

_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
_SEQUENCE_HEADER = 1
_VERIFY = "run `demos verify STORE --deep`"


def packets(path: Path, codec: str, crc32c: npt.NDArray[np.uint32]) -> Iterator[bytes]:
    """Yield the packets of the first video in decode order, each held against its checksum.

    Raises Damaged.
    """
    import av
    import google_crc32c
    from av.bitstream import BitStreamFilterContext

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            header = _av1_header(bytes(stream.codec_context.extradata or b""))
            change = BitStreamFilterContext(_FILTERS[codec], stream) if codec in _FILTERS else None
            taken = (packet for packet in container.demux(stream) if packet.size)
            for number, packet in enumerate(taken):
                data = bytes(packet)
                if number >= len(crc32c) or google_crc32c.value(data) != crc32c[number]:
                    raise Damaged(
                        f"image {number} of {path.name} is not what was recorded"
                    ).with_hint(_VERIFY)
                if change is not None:
                    yield b"".join(bytes(part) for part in change.filter(packet))
                    continue
                if packet.is_keyframe and data[:1] and data[0] >> 3 & 15 != _SEQUENCE_HEADER:
                    data = header + data
                yield data
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise Damaged(f"{path.name} cannot be taken apart: {error}").with_hint(_VERIFY) from error


def _av1_header(configuration: bytes) -> bytes:
    """Return the open bitstream units of an `av1C` box: all behind its four bytes of flags."""
    return configuration[4:] if configuration[:1] == b"\x81" else configuration
