"""The routes beside the pages: an episode's video files and its packed signals.

An address names an episode and a camera; the file is looked up in the manifest. Nothing of an
address is ever used as a path.
"""

from __future__ import annotations

import mimetypes
import re
import threading
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from demos import embodiment as bodies
from demos.errors import DemosError, EpisodeNotFound, UnknownName
from demos.model import Embodiment, Episode, Manifest
from demos.server.signals import pack
from demos.server.signing import Signer
from demos.store import proxies
from demos.store.layout import episode_dir
from demos.store.packets import PacketIndex
from demos.store.video import VideoCamera

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    Endpoint = Callable[[Request], Awaitable[Response]]

_KEPT_PACKS = 12
_making = threading.Lock()
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


class Source(Protocol):
    """What the routes need of a store."""

    @property
    def root(self) -> Path:
        """The store's folder."""

    def manifest(self, episode: str) -> Manifest:
        """Read the manifest of one episode."""

    def episode(self, episode: str) -> Episode:
        """Open one episode."""


def camera_path(episode: str, camera: str) -> str:
    """Name the address of one camera's video."""
    return f"/api/episodes/{episode}/cameras/{camera}"


def signals_path(episode: str) -> str:
    """Name the address of an episode's packed signals."""
    return f"/api/episodes/{episode}/signals"


def video_file(source: Source, episode: str, camera: str) -> Path:
    """Find the video of one camera by the manifest. Raises EpisodeNotFound or UnknownName."""
    manifest = source.manifest(episode)
    if camera not in manifest.cameras:
        raise UnknownName.among("camera", camera, manifest.cameras)
    folder = episode_dir(source.root, manifest.id).resolve()
    path = (folder / manifest.cameras[camera].file).resolve()
    # a manifest comes from whoever wrote the store: it may not point out of its own episode
    if path.parent != folder or not path.is_file():
        raise UnknownName(f"the video of camera {camera!r} is missing from the store")
    return path


def routes(source: Callable[[], Source], signer: Signer) -> list[Route]:
    """Build the signed routes. `source` gives the store for the calling thread."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Route

    @lru_cache(maxsize=_KEPT_PACKS)
    def packed(episode: str) -> bytes:
        found = source().episode(episode)
        proxied = {
            name: made[1]
            for name in found.cameras
            if (made := _proxy(source(), found, name)) is not None
        }
        return pack(found, _body_of(found.manifest, source().root), proxied=proxied)

    def looked_at(episode: str, camera: str) -> Path:
        path = video_file(source(), episode, camera)
        made = _proxy(source(), source().episode(episode), camera)
        return made[0] if made is not None else path

    async def video(request: Request) -> Response:
        names = request.path_params
        path = await run_in_threadpool(looked_at, names["episode"], names["camera"])
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return FileResponse(path, media_type=kind, headers=_HEADERS)

    async def signals(request: Request) -> Response:
        content = await run_in_threadpool(packed, request.path_params["episode"])
        headers = {**_HEADERS, "Content-Encoding": "gzip"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    def guarded(answer: Endpoint) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            query = request.query_params
            refusal = signer.refuse(
                request.scope["path"], query.get("expires", ""), query.get("signature", "")
            )
            if refusal is not None:
                return PlainTextResponse(refusal, 403)
            try:
                if not _ULID.fullmatch(request.path_params["episode"]):
                    raise EpisodeNotFound.among(request.path_params["episode"], ())
                return await answer(request)
            except (EpisodeNotFound, UnknownName) as error:
                return PlainTextResponse(str(error), 404)
            except DemosError as error:
                return PlainTextResponse(str(error), 500)

        return endpoint

    return [
        Route("/api/episodes/{episode}/cameras/{camera:path}", guarded(video)),
        Route("/api/episodes/{episode}/signals", guarded(signals)),
    ]


def _proxy(source: Source, episode: Episode, name: str) -> tuple[Path, PacketIndex] | None:
    """Return the quick video beside one that seeks badly; None where none is wanted."""
    try:
        camera = episode.cameras[name]
    except DemosError:
        return None  # the route of the signals says what is wrong with it
    if not isinstance(camera, VideoCamera) or not proxies.wanted(camera.index):
        return None
    with _making:
        return proxies.proxy(source.root, episode.id, name, camera)


def _body_of(manifest: Manifest, store: Path) -> Embodiment | None:
    try:
        return bodies.load(manifest.embodiment, store)
    except DemosError:
        return None  # joints are then grouped by their names
