"""Small copies of videos for training: scaled once, a key every fifth image.

They are encoded with loss, from images that were. Nothing but windows with `size` reads them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import Damaged, DemosError
from demos.loader.cache import Cache
from demos.loader.choices import LoadFailed, Progress
from demos.loader.grid import Source
from demos.model import Manifest
from demos.store import EpisodeStore
from demos.store.encoding import Encoder, Packet
from demos.store.packets import PacketIndex
from demos.store.video import VideoCamera, index_file, mux

GOP = 5
CRF = 23
VERSION = 1
_AT_ONCE = 40


def name(manifest: Manifest, camera: str, size: tuple[int, int]) -> str:
    """Name the proxy of one camera of an episode, after all that it is made of."""
    video = manifest.cameras[camera].file
    what = [manifest.id, camera, manifest.files[video].sha256, size, GOP, CRF, VERSION]
    return f"proxies/{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]}.mp4"


def make(
    store: EpisodeStore,
    sources: Sequence[Source],
    cameras: Sequence[str],
    size: tuple[int, int],
    cache: Cache,
    progress: Progress | None = None,
) -> None:
    """Make all proxies that are missing. Processes that do so at once share the work.

    Raises LoadFailed with the episode whose video cannot be read.
    """
    missing = []
    for source in sources:
        manifest = store.manifest(source.episode)
        missing += [
            (source.episode, camera, named)
            for camera in cameras
            if (named := name(manifest, camera, size)) not in cache
        ]
    random.SystemRandom().shuffle(missing)
    for done, (episode, camera, named) in enumerate(missing, 1):
        try:
            if named not in cache:
                opened = store.episode(episode).cameras[camera]
                if isinstance(opened, VideoCamera):
                    proxy(opened, named, size, cache)
        except Damaged as error:
            raise LoadFailed(f"episode {episode}: {error}").with_hint(
                f"leave it out (id != '{episode}'), or {error.hint or 'repair it'}"
            ) from error
        if progress is not None:
            progress(done, len(missing))


def proxy(camera: VideoCamera, named: str, size: tuple[int, int], cache: Cache) -> PacketIndex:
    """Return the packet index of a camera's proxy, made where it is missing."""
    if named in cache:
        try:
            return index_file(cache.path(named)).stamped(camera.time_ns)
        except DemosError:
            cache.forget(named)
    height, width = size
    encoder = Encoder(width, height, camera.info.rate_hz or 30.0, CRF, gop=GOP)
    packets: list[Packet] = []
    for image in _scaled(camera, size):
        packets += encoder.encode(image)
    packets += encoder.flush()
    with cache.making(named) as path:
        return mux(path, packets, camera.time_ns, extradata=encoder.extradata, size=(width, height))


def _scaled(camera: VideoCamera, size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a camera's images in order, scaled to (height, width)."""
    for first in range(0, len(camera), _AT_ONCE):
        wanted = range(first, min(first + _AT_ONCE, len(camera)))
        out = np.empty((len(wanted), *size, 3), np.uint8)

        def take(number: int, picture: Any, out: Any = out, first: int = first) -> None:
            out[number - first] = camera.decoders.rgb(picture, *size)

        camera.decode(wanted, take)
        yield from out
