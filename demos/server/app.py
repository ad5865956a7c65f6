"""The viewer's process: Streamlit's pages and our routes behind one address of this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

from demos._content import content
from demos.errors import DemosError, require
from demos.library import Store
from demos.server.media import routes
from demos.server.signing import Signer

if TYPE_CHECKING:
    from streamlit import App

HOST = "127.0.0.1"
Announce = Callable[[str], None]


class ServerFailed(DemosError):
    """The viewer could not be started."""


def app(store: Path) -> App:
    """Build the viewer of one store as an ASGI application.

    The pages learn the store and the signing key from Streamlit's secrets, which belong to this
    application alone. Raises StoreError where there is no store.
    """
    root = Path(store).resolve()
    opened = Store.open(root)
    streamlit = require("streamlit", extra="viewer")
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    signer = Signer()
    viewer: App = streamlit.App(
        content("viewer") / "app.py",
        secrets={"demos": {"store": str(root), "key": signer.key.hex()}},
        routes=routes(lambda: opened, signer),
        # a page of another site whose name resolves to this machine is not let in
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
    )
    return viewer


def serve(
    store: Path,
    *,
    port: int | None = None,
    open_browser: bool = False,
    announce: Announce = print,
) -> None:
    """Serve the viewer on this machine only, until interrupted.

    `announce` is given the address once it answers. Raises StoreError, MissingExtra, or
    ServerFailed where the port is taken.
    """
    viewer = app(store)
    chosen = free_port() if port is None else _checked(port)
    ready = threading.Thread(
        target=_tell, args=(chosen, announce), kwargs={"open_browser": open_browser}, daemon=True
    )
    ready.start()
    # an interrupt is how a person ends it: nothing went wrong
    with suppress(KeyboardInterrupt):
        viewer.run(config=_configuration(chosen))


@contextmanager
def background(store: Path, *, port: int | None = None, timeout_s: float = 60) -> Iterator[str]:
    """Serve a store from a process of its own and yield the address once it answers.

    Raises ServerFailed with what the process said where it ends or does not answer in time.
    """
    chosen = free_port() if port is None else _checked(port)
    command = [sys.executable, "-m", "demos.server", str(store), "--port", str(chosen)]
    # a file, not a pipe: nobody reads while the viewer runs, and a full pipe would stop it
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            if not _answers(chosen, timeout_s, alive=lambda: process.poll() is None):
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
                raise ServerFailed(f"the viewer did not start: {said[-2000:] or 'no answer'}")
            yield address(chosen)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()


def address(port: int) -> str:
    """Return the address people open."""
    return f"http://{HOST}:{port}"


def free_port() -> int:
    """Ask the system for a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        number: int = probe.getsockname()[1]
    return number


def _checked(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ServerFailed(f"port {port} cannot be used: {error}").with_hint(
                "choose another with --port, or leave it out to take a free one"
            ) from error
    return port


def _configuration(port: int) -> dict[str, Any]:
    return {
        "server.port": port,
        "server.address": HOST,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        "browser.serverAddress": HOST,
        "client.toolbarMode": "viewer",
        "client.showErrorLinks": False,
        "logger.hideWelcomeMessage": True,
    }


def _tell(port: int, announce: Announce, *, open_browser: bool) -> None:
    if _answers(port, timeout_s=120, alive=lambda: True):
        announce(address(port))
        if open_browser:
            webbrowser.open(address(port))


def _answers(port: int, timeout_s: float, alive: Callable[[], bool]) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and alive():
        with suppress(URLError, OSError), urlopen(f"{address(port)}/_stcore/health", timeout=2):
            return True
        time.sleep(0.1)
    return False
