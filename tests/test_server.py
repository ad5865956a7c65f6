"""The routes beside the pages: signed addresses, byte ranges, packed signals, saved reviews."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from demos.errors import SchemaMismatch, StoreError, UnknownName
from demos.library import Store
from demos.model import Episode, Stream
from demos.server import app
from demos.server.app import ServerFailed, background, free_port
from demos.server.component import player_component
from demos.server.listing import UNSET, expression, facets, most_limiting
from demos.server.media import camera_path, routes, signals_path, video_file
from demos.server.player import Place, moment, payload
from demos.server.reviews import ReviewConflict, own, read_review, save
from demos.server.signals import MAGIC, joint_groups, pack, pads, quantised, thinned
from demos.server.signing import LIFETIME_S, Signer
from tests.examples import EXAMPLES, example
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


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float64]]]:
    """Decode a pack by its documented layout: header, and per stream (C, T) values."""
    assert content[:8] == MAGIC
    (length,) = struct.unpack_from("<I", content, 8)
    header = json.loads(content[12 : 12 + length])
    base = 12 + length + -(12 + length) % 8
    values = {}
    for name, stream in header["streams"].items():
        shape = len(stream["channels"]), header["clocks"][stream["clock"]]["count"]
        counts = np.frombuffer(content, "<i2", shape[0] * shape[1], base + stream["at"])
        low, scale = (np.array(stream[key])[:, None] for key in ("low", "scale"))
        read = (counts.reshape(shape).astype(np.float64) + 32767) * scale + low
        values[name] = np.where(counts.reshape(shape) == -32768, np.nan, read)
    header["base"] = base
    return header, values


def stamps(content: bytes, header: dict[str, Any], number: int) -> npt.NDArray[np.float64]:
    """Decode one clock to nanoseconds."""
    clock = header["clocks"][number]
    at = header["base"] + clock["at"]
    if clock["encoding"] == "ms_f64":
        return np.asarray(np.frombuffer(content, "<f8", clock["count"], at) * 1e6)
    steps = np.frombuffer(content, "<u4", max(clock["count"] - 1, 0), at).astype(np.float64)
    counted = np.concatenate([[0.0], np.cumsum(steps)])[: clock["count"]]
    return np.asarray(clock["first_ns"] + counted)


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


def test_every_sample_is_sent_with_its_own_stamp(lab: ViewerStore) -> None:
    episode = Store.open(lab.root).episode(lab.picked)

    content = gzip.decompress(pack(episode))

    header, values = unpacked(content)
    for name, stream in header["streams"].items():
        recorded = episode.streams[name]
        true = recorded.values.astype(np.float64).T
        step = (true.max(axis=1) - true.min(axis=1)) / 65534
        assert np.abs(values[name] - true).max(axis=1) == pytest.approx(0, abs=step.max())
        assert np.array_equal(stamps(content, header, stream["clock"]), recorded.time_ns)
    assert set(header["streams"]) == {
        name
        for name in episode.streams
        if name.startswith(("joint_position", "wrench.", "tactile.", "gripper."))
        and name != "joint_velocity"
    }


def test_images_carry_their_stamps_and_their_place_in_the_file(lab: ViewerStore) -> None:
    content = gzip.decompress(pack(Store.open(lab.root).episode(lab.picked)))

    header, _ = unpacked(content)

    camera = header["cameras"]["egocentric"]
    assert np.array_equal(stamps(content, header, camera["clock"]), lab.stamps_ns)
    media = np.frombuffer(content, "<f8", len(lab.stamps_ns), header["base"] + camera["media_at"])
    assert media - media[0] == pytest.approx((lab.stamps_ns - lab.stamps_ns[0]) / 1e9, abs=2e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_packed(name: str) -> None:
    episode = example(name)

    header, values = unpacked(gzip.decompress(pack(episode)))

    assert header["problems"] == {}
    assert set(values) <= set(episode.streams)


def test_disordered_stamps_are_sent_in_order() -> None:
    content = gzip.decompress(pack(example("clock_jumps_back")))

    header, _ = unpacked(content)

    number = header["streams"]["joint_position"]["clock"]
    assert (np.diff(stamps(content, header, number)) > 0).all()


def test_a_stream_that_cannot_be_read_does_not_take_the_others_along() -> None:
    episode = example("clean_pick")

    class Broken(dict[str, Stream]):
        def __getitem__(self, name: str) -> Stream:
            if name == "joint_position":
                raise StoreError("the chunk fails its checksum")
            return super().__getitem__(name)

    broken = Episode(episode.manifest, Broken(episode.streams), {})

    header, values = unpacked(gzip.decompress(pack(broken)))

    assert header["problems"] == {"joint_position": "the chunk fails its checksum"}
    assert "wrench.right_wrist" in values


@given(
    st.lists(
        st.floats(width=32) | st.just(float("nan")) | st.just(float("inf")), min_size=1, max_size=40
    )
)
def test_quantising_keeps_values_within_a_step_and_marks_what_is_not_finite(
    numbers: list[float],
) -> None:
    true = np.array([numbers], np.float64)
    finite = np.isfinite(true)

    counts, low, scale = quantised(true)

    read = (counts.astype(np.float64) + 32767) * scale[0] + low[0]
    assert np.array_equal(counts == -32768, ~finite)
    assert np.abs(read - true)[finite] == pytest.approx(0, abs=scale[0] * 0.51 + 1e-30)


def test_thinning_keeps_the_peak() -> None:
    time_ns = np.arange(10_000, dtype=np.int64) * 1_000_000
    values = np.zeros((2, 10_000))
    values[1, 6_543] = 40.0

    moments, pairs = thinned(time_ns, values, 100)

    assert pairs.shape == (2, 200)
    assert pairs[1].max() == 40.0
    assert abs(int(moments[int(pairs[1].argmax())]) - 6_543_000_000) <= 100_000_000
    assert (np.diff(moments) > 0).all()


def test_a_long_episode_is_thinned_and_says_so() -> None:
    header, values = unpacked(gzip.decompress(pack(example("clean_pick"), most_values=3_000)))

    joints = header["streams"]["joint_position"]
    assert joints["thinned"] == joints["samples"] > values["joint_position"].shape[1]


def test_joints_are_grouped_by_arm_and_hand_without_an_embodiment() -> None:
    names = ["waist_yaw", "kLeftElbow", "kRightElbow", "left_thumb_0", "RightHandIndex", "grip"]

    groups = {group["name"]: group["channels"] for group in joint_groups(names, None)}

    assert groups == {
        "left arm": [1],
        "right arm": [2],
        "left hand": [3],
        "right hand": [4],
        "joints": [5],
        "waist": [0],
    }


def test_joints_of_a_known_body_are_grouped_by_its_effectors() -> None:
    from demos import embodiment

    body = embodiment.load("g1_dex3")

    groups = joint_groups([joint.name for joint in body.joints], body)

    sizes = {group["name"]: len(group["channels"]) for group in groups}
    assert [sizes[name] for name in ("left arm", "right arm", "left hand", "right hand")] == [7] * 4


def test_taxels_are_laid_out_by_their_names() -> None:
    names = [f"thumb.{c}.r{r}c{k}" for c in ("normal", "shear_u") for r in (0, 1) for k in (0, 1)]

    found = pads(names)

    assert found == [
        {"name": "thumb", "rows": 2, "columns": 2, "normal": [0, 1, 2, 3], "shear_u": [4, 5, 6, 7]}
    ]


def test_taxels_with_other_names_are_laid_out_in_order_and_say_so() -> None:
    (found,) = pads(["a", "b", "c", "d", "e"])

    assert found["assumed"]
    assert [cell for cell in found["normal"] if cell >= 0] == [0, 1, 2, 3, 4]


def test_the_page_is_told_rows_opinions_and_addresses(lab: ViewerStore, signer: Signer) -> None:
    episode = Store.open(lab.root)[lab.picked]

    told = payload(episode, signer, place=Place(1, 4, lab.state_only), at_s=3.5)

    rows = [(row["kind"], row["tier"], row["machine"]) for row in told["rows"]]
    assert rows == [
        ("phases", "task", False),
        ("phases", "left_hand", False),
        ("phases", "right_hand", False),
        ("phases", "right_hand", True),
        ("contacts", "right_hand", False),
        ("slips", "right_hand", False),
        ("grasps", "right_hand", False),
    ]
    assert told["outcome"] == {"value": "success", "by": "simulator", "reason": ""}
    assert told["opinions"] == [{"value": "partial", "by": "outcome_rules/1.0", "machine": True}]
    assert told["t_ms"] == 3500
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_a_page(name: str, signer: Signer) -> None:
    told = payload(example(name), signer)

    assert told["end_ms"] >= told["start_ms"]
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("9.5", 9.5), ("", None), ("x", None), ("inf", None)]
)
def test_a_moment_in_an_address_is_a_finite_number(text: str, seconds: float | None) -> None:
    assert moment(text) == seconds


def sent(episode: str, **more: Any) -> dict[str, Any]:
    base = {"phases": None, "outcome": None, "verdict": None}
    return {"request": "r", "episode": episode, "base": base, **more}


@pytest.fixture
def own_lab(tmp_path: Path) -> ViewerStore:
    return make(tmp_path)


def test_a_review_becomes_labels_of_the_reviewer(own_lab: ViewerStore) -> None:
    store = Store.open(own_lab.root)
    spans = [{"start": 0.0, "end": 2000.25, "tier": "task", "value": "reach"}]

    review = read_review(sent(own_lab.picked, phases=spans, outcome="failure"), " ann ")
    made = save(store, store[own_lab.picked], review, "1.0.0")

    assert [(label.of, label.annotator, label.role) for label in made] == [
        ("phases", "ann", "reviewer"),
        ("outcome", "ann", "reviewer"),
    ]
    store.refresh()
    held = store[own_lab.picked]
    assert held.outcome == "failure"
    assert [(span.start_ns, span.end_ns) for span in held.phases] == [(0, 2_000_250_000)]
    assert len(held.labels) == 9


def test_saving_again_supersedes_only_ones_own_label(own_lab: ViewerStore) -> None:
    store = Store.open(own_lab.root)
    episode = store[own_lab.picked]
    first = save(store, episode, read_review(sent(episode.id, outcome="failure"), "ann"))[0]
    base = {"phases": None, "outcome": first.id, "verdict": None}

    second = save(
        store, episode, read_review(sent(episode.id, outcome="partial", base=base), "ann")
    )[0]
    other = save(store, episode, read_review(sent(episode.id, outcome="success"), "bob"))[0]

    assert second.supersedes == first.id
    assert other.supersedes is None
    assert own(store.labels(episode.id), "outcome", "ann") == second


def test_a_save_upon_an_old_page_is_refused_and_saves_nothing(own_lab: ViewerStore) -> None:
    store = Store.open(own_lab.root)
    episode = store[own_lab.picked]
    save(store, episode, read_review(sent(episode.id, outcome="failure"), "ann"))
    before = len(store.labels(episode.id))

    with pytest.raises(ReviewConflict, match="ann saved other outcome") as caught:
        save(
            store,
            episode,
            read_review(sent(episode.id, outcome="success", verdict="good"), "ann"),
        )

    assert "your edit is kept" in caught.value.hint
    assert len(store.labels(episode.id)) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "splendid"},
        {"phases": [{"start": "x", "end": 1, "tier": "task", "value": "reach"}]},
        {"phases": [{"start": 5.0, "end": 1.0, "tier": "task", "value": "reach"}]},
        {"surprise": 1},
    ],
)
def test_what_the_browser_sends_is_checked(lab: ViewerStore, wrong: dict[str, Any]) -> None:
    store = Store.open(lab.root)
    before = len(store.labels(lab.picked))

    with pytest.raises(SchemaMismatch):
        save(store, store[lab.picked], read_review(sent(lab.picked, **wrong), "ann"))

    assert len(store.labels(lab.picked)) == before


def test_a_review_needs_a_name(lab: ViewerStore) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        read_review(sent(lab.picked, outcome="success"), "  ")

    assert "Reviewer" in caught.value.hint


def test_filters_become_one_expression_that_select_takes(lab: ViewerStore) -> None:
    store = Store.open(lab.root)

    where = expression({"task": ["pick_place"], "outcome": ["success"]}, "duration_s > 5")

    assert store.select(where).ids == [lab.picked]
    assert facets(store)["outcome"] == [UNSET, "success"]
    assert len(store.select(expression({"outcome": [UNSET]}))) == 3


def test_a_quote_in_a_value_stays_a_value(lab: ViewerStore) -> None:
    where = expression({"operator": ["o'brien", 'a"b', "x' or 1 == 1 or '"]})

    assert Store.open(lab.root).select(where).ids == []


def test_the_filter_that_removes_most_is_named(lab: ViewerStore) -> None:
    store = Store.open(lab.root)

    name = most_limiting(store, {"task": ["pick_place"], "operator": ["nobody"]}, "")

    assert name == "operator"


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
