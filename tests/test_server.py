"""The routes beside the pages and the process: signed addresses, byte ranges, refusals."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from demos.errors import StoreError, UnknownName
from demos.library import Store
from demos.model import Episode
from demos.server import app
from demos.server.app import ServerFailed, background, free_port
from demos.server.component import player_component
from demos.server.media import camera_path, routes, signals_path, video_file
from demos.server.signals import MAGIC
from demos.server.signing import LIFETIME_S, Signer
from tests.viewer_store import ViewerStore, make


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerStore:
    return make(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


class Answer(NamedTuple):
    status: int
    headers: Message
    content: bytes


class Client:
    """Asks a server and takes every answer, refusals too; nothing is decompressed."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **headers: str) -> Answer:
        try:
            with urlopen(Request(self.address + path, headers=headers), timeout=10) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def client(lab: ViewerStore, signer: Signer) -> Iterator[Client]:
    store = Store.open(lab.root)
    port = free_port()
    served = Starlette(routes=routes(lambda: store, signer))
    server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Client(f"http://127.0.0.1:{port}")
    server.should_exit = True
    thread.join()


def test_a_signed_video_is_served_whole(client: Client, signer: Signer, lab: ViewerStore) -> None:
    stored = video_file(Store.open(lab.root), lab.picked, "egocentric").read_bytes()

    answer = client.get(signer.sign(camera_path(lab.picked, "egocentric")))

    assert answer.status == 200
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content == stored


def test_a_range_of_a_video_is_answered_with_206(
    client: Client, signer: Signer, lab: ViewerStore
) -> None:
    stored = video_file(Store.open(lab.root), lab.picked, "egocentric").read_bytes()
    address = signer.sign(camera_path(lab.picked, "egocentric"))

    answer = client.get(address, Range="bytes=1000-1999")

    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes 1000-1999/{len(stored)}"
    assert answer.content == stored[1000:2000]


def test_unsigned_addresses_are_refused(client: Client, lab: ViewerStore) -> None:
    for path in (camera_path(lab.picked, "egocentric"), signals_path(lab.picked)):
        answer = client.get(path)

        assert answer.status == 403
        assert "not signed" in answer.content.decode()


def test_an_expired_address_is_refused(client: Client, signer: Signer, lab: ViewerStore) -> None:
    address = signer.sign(signals_path(lab.picked), now_s=1_000_000)

    answer = client.get(address)

    assert answer.status == 403
    assert "expired" in answer.content.decode()


def test_a_signature_opens_no_other_address(
    client: Client, signer: Signer, lab: ViewerStore
) -> None:
    query = signer.sign(signals_path(lab.picked)).partition("?")[2]

    answer = client.get(f"{signals_path(lab.state_only)}?{query}")

    assert answer.status == 403
    assert "wrong signature" in answer.content.decode()


def test_a_later_expiry_needs_a_new_signature(signer: Signer) -> None:
    query = dict(part.split("=") for part in signer.sign("/x", 0).partition("?")[2].split("&"))

    later = str(int(query["expires"]) + 1)

    assert signer.refuse("/x", query["expires"], query["signature"], 0) is None
    assert signer.refuse("/x", later, query["signature"], 0) is not None


def test_addresses_stay_the_same_within_an_hour_and_live_twelve(signer: Signer) -> None:
    assert signer.sign("/x", 7200) == signer.sign("/x", 10_799)
    query = dict(part.split("=") for part in signer.sign("/x", 10_799).partition("?")[2].split("&"))
    assert int(query["expires"]) >= 10_799 + LIFETIME_S


def test_another_key_signs_otherwise() -> None:
    assert Signer().sign("/x", 0) != Signer().sign("/x", 0)


@given(expires=st.text(max_size=30), signature=st.text(max_size=80))
def test_no_made_up_signature_is_taken(expires: str, signature: str) -> None:
    assert Signer(b"k").refuse("/x", expires, signature) is not None


@pytest.mark.parametrize(
    "camera", ["../../../store.json", "..%2f..%2fstore.json", "manifest.json", "/etc/passwd", ""]
)
def test_a_camera_is_a_name_and_never_a_path(
    client: Client, signer: Signer, lab: ViewerStore, camera: str
) -> None:
    answer = client.get(signer.sign(camera_path(lab.picked, camera)))

    assert answer.status in (403, 404)
    assert b"kind" not in answer.content


@pytest.mark.parametrize("episode", ["..", "%2e%2e", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "x" * 26])
def test_an_episode_is_an_id_and_never_a_path(client: Client, signer: Signer, episode: str) -> None:
    assert client.get(signer.sign(signals_path(episode))).status in (403, 404)


def test_a_manifest_that_points_out_of_its_episode_is_refused(lab: ViewerStore) -> None:
    store = Store.open(lab.root)
    manifest = store.manifest(lab.picked)
    camera = manifest.cameras["egocentric"].model_copy(update={"file": "../../../store.json"})

    class Hostile:
        root = lab.root

        def manifest(self, episode: str) -> Any:
            return manifest.model_copy(update={"cameras": {"egocentric": camera}})

        def episode(self, episode: str) -> Episode:
            return store.episode(episode)

    with pytest.raises(UnknownName, match="missing"):
        video_file(Hostile(), lab.picked, "egocentric")


def test_signals_are_compressed_once(client: Client, signer: Signer, lab: ViewerStore) -> None:
    answer = client.get(signer.sign(signals_path(lab.picked)), **{"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.content)[:8] == MAGIC


def test_the_players_modules_join_to_one_script() -> None:
    texts = player_component()

    lines = texts.js.splitlines()
    assert not [line for line in lines if line.startswith(("import ", "export function"))]
    assert sum(line.startswith("export default") for line in lines) == 1
    declared = [
        line.split("(")[0].split("=")[0].split()[1]
        for line in lines
        if line.startswith(("function ", "class ", "const ")) and "{" not in line.split("=")[0][6:8]
    ]
    assert len(declared) == len(set(declared))


def test_the_vendored_curves_are_those_that_were_published() -> None:
    from hashlib import sha256

    from demos._content import content

    folder = content("viewer") / "components" / "vendor" / "uplot"
    for line in (folder / "sha256").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        assert sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        app(tmp_path)


def test_a_process_that_cannot_serve_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="store"), background(tmp_path):
        pass


def test_a_taken_port_is_named(lab: ViewerStore) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ServerFailed, match=str(port)), background(lab.root, port=port):
            pass


def test_a_stranger_host_name_is_not_served(lab: ViewerStore) -> None:
    with background(lab.root) as address:
        ours = Client(address).get("/")
        theirs = Client(address).get("/", Host="evil.example")

    assert (ours.status, theirs.status) == (200, 400)
