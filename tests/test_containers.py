"""What goes into a signals file comes out of it bit for bit, from Zarr and from HDF5 alike."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from demos.errors import Damaged, DemosError, NewerVersion, SchemaMismatch, StoreError, UnknownName
from demos.model import Stream, StreamInfo
from demos.store import containers
from demos.store.containers.clock_groups import pack
from demos.store.containers.quantisation import counts, values_of
from demos.store.packets import PacketIndex

Kind = Literal["zarr", "hdf5"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DTYPES = [
    np.dtype(code)
    for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
]
LSB = 2 * np.pi / 2**14


def flat(channels: int, **known: Any) -> StreamInfo:
    names = tuple(f"joint_{n}" for n in range(channels))
    return StreamInfo(units=("rad",) * channels, channels=names, **known)


def regular(count: int, rate_hz: float = 500.0) -> npt.NDArray[np.int64]:
    stamps_ns: npt.NDArray[np.int64] = np.rint(np.arange(count) * 1e9 / rate_hz).astype(np.int64)
    return stamps_ns


def readings(count: int, channels: int, seed: int = 0) -> npt.NDArray[np.float32]:
    walk = np.random.default_rng(seed).normal(size=(count, channels)).cumsum(0) / 50
    return (np.rint(walk / LSB) * LSB + 0.0).astype(np.float32)


def packet_index(images: int = 12) -> PacketIndex:
    whole = np.arange(images, dtype=np.int64)
    return PacketIndex(
        time_ns=regular(images, 30.0) + 7,
        pts=whole * 512,
        dts=whole * 512 - 1024,
        position=whole * 3000 + 48,
        size=2000 + whole,
        key=whole % 10 == 0,
        crc32c=(whole * 123_456_789 % 2**32).astype(np.uint32),
        order=whole[::-1].copy(),
        time_base=(1, 15360),
        extradata=bytes(range(40)),
        codec="h264",
        width=640,
        height=480,
        colour=(1, 1, 1, 1),
    )


def session() -> dict[str, Stream]:
    joints, wrench, n = regular(1500), regular(3000, 1000.0), 1500
    arrival = joints + np.random.default_rng(5).integers(0, 2_000_000, n)
    depth = np.random.default_rng(4).integers(0, 4000, (20, 24, 32)).astype(np.uint16)
    return {
        "joint_position": Stream(
            joints, readings(n, 6), flat(6, quantum=(LSB,) * 6), None, arrival
        ),
        "joint_velocity": Stream(joints, readings(n, 6, 1), flat(6), None, arrival),
        "wrench.left_wrist": Stream(wrench, readings(3000, 6, 2).astype(np.float64), flat(6)),
        "control_authority": Stream(joints[:3], np.array([[0], [1], [2]], np.uint8), flat(1)),
        "depth.egocentric": Stream(
            regular(20, 30.0),
            depth,
            StreamInfo(units=("count",), channels=("depth",), shape=(24, 32), scale=0.001),
        ),
        "空": Stream(joints[:0], np.zeros((0, 3), np.float32), flat(3)),
    }


def assert_same(given_stream: Stream, read: Stream) -> None:
    assert read.info == given_stream.info
    for name in ("time_ns", "source_time_ns", "arrival_ns", "values"):
        mine, theirs = getattr(given_stream, name), getattr(read, name)
        if mine is None:
            assert theirs is None
            continue
        assert theirs.dtype == mine.dtype.newbyteorder("="), name
        assert theirs.shape == mine.shape, name
        assert theirs.tobytes() == mine.astype(theirs.dtype).tobytes(), name


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def signals(kind: Kind, tmp_path: Path) -> Path:
    path = tmp_path / f"signals.{kind}"
    containers.write(path, kind, session(), {"egocentric": packet_index()})
    return path


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
stamps = st.integers(-(2**62), 2**62)


@st.composite
def stream_sets(draw: st.DrawFn) -> dict[str, Stream]:
    clocks = draw(
        st.lists(
            st.integers(0, 9).flatmap(
                lambda n: st.tuples(
                    hnp.arrays(np.int64, n, elements=stamps),
                    st.none() | hnp.arrays(np.int64, n, elements=stamps),
                    st.none() | hnp.arrays(np.int64, n, elements=stamps),
                )
            ),
            min_size=1,
            max_size=3,
        )
    )
    return {
        name: draw(st.sampled_from(clocks).flatmap(_streams))
        for name in draw(st.lists(names, max_size=5, unique=True))
    }


def _streams(clock: tuple[Any, Any, Any]) -> st.SearchStrategy[Stream]:
    time_ns, source_time_ns, arrival_ns = clock

    @st.composite
    def make(draw: st.DrawFn) -> Stream:
        dtype = draw(st.sampled_from(DTYPES))
        if draw(st.integers(0, 3)) == 0:
            shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=5))
            info = StreamInfo(units=("count",), channels=(draw(names),), shape=shape)
            values = draw(hnp.arrays(dtype, (len(time_ns), *shape)))
        else:
            channels = tuple(draw(st.lists(names, max_size=4)))
            quantum = draw(st.none() | st.sampled_from([0.0, 0.25, 0.1, LSB]))
            info = StreamInfo(
                units=("rad",) * len(channels),
                channels=channels,
                note=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
                quantum=None if quantum is None else (quantum,) * len(channels),
            )
            values = draw(hnp.arrays(dtype, (len(time_ns), len(channels))))
            if quantum and dtype.kind == "f" and draw(st.booleans()):
                steps = draw(hnp.arrays(np.int64, values.shape, elements=st.integers(-999, 999)))
                values = (steps * quantum).astype(dtype)
            if draw(st.booleans()):
                values = np.asfortranarray(values)
        return Stream(time_ns, values, info, source_time_ns, arrival_ns)

    return make()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(given_streams=stream_sets())
@example(given_streams={})
def test_zarr_and_hdf5_give_back_the_same_streams_bit_for_bit(
    given_streams: dict[str, Stream],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder) / kind
            containers.write(path, kind, given_streams, {})

            read = containers.open(path, kind)

            assert list(read.streams) == list(given_streams)
            for name, stream in given_streams.items():
                assert_same(stream, read.streams[name])
            assert containers.check(path, kind) == []


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_every_kind_of_number_comes_back(
    dtype: np.dtype[Any], count: int, kind: Kind, tmp_path: Path
) -> None:
    raw = np.random.default_rng(1).integers(0, 255, (count, 3 * dtype.itemsize), np.uint8)
    values = raw % 2 == 1 if dtype == np.bool_ else raw.view(dtype)
    values = np.ascontiguousarray(values[:, :3])
    stream = Stream(regular(count), values, flat(3))

    containers.write(tmp_path / "x", kind, {"s": stream}, {})

    assert_same(stream, containers.open(tmp_path / "x", kind).streams["s"])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("quantum", [None, (0.5, 0.5)])
def test_nan_payloads_infinities_and_negative_zero_keep_their_bits(
    dtype: str, quantum: tuple[float, ...] | None, kind: Kind, tmp_path: Path
) -> None:
    values = np.array([[-0.0, np.inf], [np.nan, -np.inf], [0.5, -1.0]], dtype)
    values.view(f"u{values.itemsize}")[1, 0] |= 5
    stream = Stream(regular(3), values, flat(2, quantum=quantum))

    containers.write(tmp_path / "x", kind, {"s": stream}, {})

    assert_same(stream, containers.open(tmp_path / "x", kind).streams["s"])


def test_big_endian_values_keep_their_meaning(kind: Kind, tmp_path: Path) -> None:
    stream = Stream(regular(100), readings(100, 2).astype(">f4"), flat(2))

    containers.write(tmp_path / "x", kind, {"s": stream}, {})

    assert_same(stream, containers.open(tmp_path / "x", kind).streams["s"])


def test_five_minutes_span_several_chunks(kind: Kind, tmp_path: Path) -> None:
    stream = Stream(regular(3001, 10.0), readings(3001, 2), flat(2))

    containers.write(tmp_path / "x", kind, {"s": stream}, {})

    (chunks,) = {a.chunks for a in pack({"s": stream}, {})[1].values() if a.values.ndim == 2}
    assert chunks == (2, 601)
    assert_same(stream, containers.open(tmp_path / "x", kind).streams["s"])


def test_no_chunk_is_longer_than_its_array_or_than_a_minute() -> None:
    for count, rate_hz in [(1, 1.0), (15_000, 500.0), (30_001, 500.0), (300_000, 1000.0)]:
        stream = Stream(regular(count, rate_hz), np.zeros((count, 1), np.float32), flat(1))

        _, arrays = pack({"s": stream}, {})

        (length,) = {array.chunks[1] for array in arrays.values() if array.values.ndim == 2}
        assert length <= count
        assert length <= 60 * rate_hz + 1


def test_images_lie_in_chunks_of_a_few_megabytes() -> None:
    info = StreamInfo(units=("count",), channels=("depth",), shape=(480, 640))
    depth = Stream(regular(40, 30.0), np.zeros((40, 480, 640), np.uint16), info)

    _, arrays = pack({"depth.egocentric": depth}, {})

    (array,) = (array for array in arrays.values() if array.values.ndim == 3)
    assert 1e6 < np.prod(array.chunks) * 2 < 5e6


def test_images_without_pixels_come_back(kind: Kind, tmp_path: Path) -> None:
    info = StreamInfo(units=("count",), channels=("depth",), shape=(0, 4))
    stream = Stream(regular(3), np.zeros((3, 0, 4), np.uint16), info)

    containers.write(tmp_path / "x", kind, {"s": stream}, {})

    assert_same(stream, containers.open(tmp_path / "x", kind).streams["s"])


def test_streams_of_one_clock_and_kind_share_one_array() -> None:
    contents, _ = pack(session(), {})

    places = {name: place["array"] for name, place in contents["streams"].items()}
    shared = {**session(), "joint_effort": session()["joint_velocity"]}
    joined = {n: p["array"] for n, p in pack(shared, {})[0]["streams"].items()}
    assert joined["joint_effort"] == joined["joint_velocity"] == places["joint_velocity"]
    assert places["joint_position"] != places["joint_velocity"]
    assert len(contents["clocks"]) == 5


def test_declared_steps_are_stored_as_integers_and_make_the_file_smaller(
    kind: Kind, tmp_path: Path
) -> None:
    values, sizes = readings(5000, 8), []
    for quantum in (None, (LSB,) * 8):
        path = tmp_path / f"{quantum is None}"
        stream = Stream(regular(5000), values, flat(8, quantum=quantum))
        containers.write(path, kind, {"s": stream}, {})
        assert_same(stream, containers.open(path, kind).streams["s"])
        sizes.append(path.stat().st_size)

    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize(
    ("values", "quantum"),
    [
        ([[0.5], [np.nan]], (0.5,)),
        ([[0.5], [np.inf]], (0.5,)),
        ([[0.5], [-0.0]], (0.5,)),
        ([[0.5], [0.4999]], (0.5,)),
        ([[0.5], [1.0]], (0.0,)),
        ([[0.5], [1e300]], (0.5,)),
        ([[0.5], [1.0]], None),
    ],
)
def test_values_that_are_not_exact_multiples_stay_floats(
    values: list[list[float]], quantum: tuple[float, ...] | None
) -> None:
    assert counts(np.array(values), quantum) is None


@given(
    steps=hnp.arrays(np.int64, (7, 2), elements=st.integers(-(2**40), 2**40)),
    quantum=st.floats(1e-9, 1e3),
    dtype=st.sampled_from(["f4", "f8"]),
)
def test_counts_rebuild_exactly_the_readings_they_stand_for(
    steps: npt.NDArray[np.int64], quantum: float, dtype: str
) -> None:
    values = (steps * quantum).astype(dtype)

    whole = counts(values, (quantum, quantum))

    if whole is not None:
        back = values_of(whole.T, (quantum, quantum), np.dtype(dtype)).T
        assert np.ascontiguousarray(back).tobytes() == values.tobytes()


def test_a_stranger_reads_everything_with_plain_zarr(tmp_path: Path) -> None:
    import zarr

    streams = session()
    path = tmp_path / "signals.zarr.zip"
    containers.write(path, "zarr", streams, {"egocentric": packet_index()})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        root: Any = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
        described = root.attrs["demos"]
        stranger = _as_described(described, lambda name: root[name][...])
        loose: Any = zarr.open_group(
            zarr.storage.ZipStore(path, mode="r"), mode="r", use_consolidated=False
        )
        assert sorted(loose["clocks"].group_keys()) == [str(n) for n in range(5)]

    for name, stream in streams.items():
        assert_same(stream, stranger[name])


def test_a_stranger_reads_everything_with_plain_h5py(tmp_path: Path) -> None:
    import h5py

    streams = session()
    path = tmp_path / "signals.h5"
    containers.write(path, "hdf5", streams, {"egocentric": packet_index()})

    with h5py.File(path, "r") as root:
        described = json.loads(root.attrs["demos"])
        stranger = _as_described(described, lambda name: root[name][...])
        wanted = described["streams"]["joint_velocity"]["array"]
        assert root[wanted].compression == "gzip"
        assert root[wanted].fletcher32

    for name, stream in streams.items():
        assert_same(stream, stranger[name])


def _as_described(described: Mapping[str, Any], fetch: Any) -> dict[str, Stream]:
    """Follow the file's own words, `about`, with nothing of ours but the record."""
    streams = {}
    for name, place in described["streams"].items():
        info = StreamInfo.model_validate(place["info"])
        values = fetch(place["array"])
        if len(place["shape"]) == 2:
            values = values[place["first_row"] :][: place["rows"]].T
        if place["counts"]:
            values = (values * np.array(info.quantum, np.float64)).astype(place["dtype"])
        clock = described["clocks"][place["clock"]]
        more = [
            None if clock[key] is None else fetch(clock[key])
            for key in ("source_time_ns", "arrival_ns")
        ]
        streams[name] = Stream(fetch(clock["time_ns"]), values, info, *more)
    return streams


def test_the_packet_index_comes_back(kind: Kind, signals: Path) -> None:
    read = containers.open(signals, kind).packets

    assert list(read) == ["egocentric"]
    assert read["egocentric"].equals(packet_index())
    assert not read["egocentric"].equals(packet_index(11))


def test_the_same_streams_give_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    for name in "ab":
        containers.write(tmp_path / name, kind, session(), {"egocentric": packet_index()})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_opening_decodes_nothing_and_a_group_is_decoded_once(
    kind: Kind, signals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = containers.open(signals, kind)
    decoded: list[str] = []
    read = type(opened._file).read

    def counted(self: object, name: str) -> object:
        decoded.append(name)
        return read(self, name)

    monkeypatch.setattr(type(opened._file), "read", counted)

    assert list(opened.streams) == list(session())
    assert "joint_position" in opened.streams
    assert decoded == []
    first = opened.streams["joint_position"]
    assert opened.streams["joint_position"] is first
    assert len(decoded) == len(set(decoded)) == 3
    opened.streams["joint_velocity"]
    assert len(decoded) == 4


def test_what_is_read_cannot_be_changed_by_accident(kind: Kind, signals: Path) -> None:
    stream = containers.open(signals, kind).streams["joint_position"]

    for array in (stream.values, stream.time_ns):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_an_open_container_pickles(kind: Kind, signals: Path) -> None:
    opened = containers.open(signals, kind)

    again = pickle.loads(pickle.dumps(opened))

    assert_same(opened.streams["joint_position"], again.streams["joint_position"])


def test_closing_forgets_and_leaves_arrays_in_use_alone(kind: Kind, signals: Path) -> None:
    with containers.open(signals, kind) as opened:
        stream = opened.streams["joint_position"]

    assert_same(session()["joint_position"], stream)
    assert opened.streams["joint_position"] is not stream


def test_an_unknown_stream_is_named_with_what_is_close(kind: Kind, signals: Path) -> None:
    streams = containers.open(signals, kind).streams

    with pytest.raises(UnknownName) as caught:
        streams["joint_positon"]

    assert "joint_position" in caught.value.hint
    assert streams.get("joint_positon") is None


def test_an_existing_file_is_never_overwritten(kind: Kind, signals: Path) -> None:
    before = signals.read_bytes()

    with pytest.raises(StoreError, match="never overwritten"):
        containers.write(signals, kind, {}, {})

    assert signals.read_bytes() == before


def test_text_is_refused_before_anything_is_written(kind: Kind, tmp_path: Path) -> None:
    stream = Stream(regular(1), np.array([["word"]]), flat(1))

    with pytest.raises(SchemaMismatch, match="'s' holds"):
        containers.write(tmp_path / "x", kind, {"s": stream}, {})

    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_said_and_leaves_nothing_behind(kind: Kind, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[3])\n"
        "from pathlib import Path\n"
        "from demos.errors import StoreError\n"
        "from demos.store import containers\n"
        "import test_containers\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: containers.write(Path(sys.argv[1]), sys.argv[2], test_containers.session(), {})\n"
        "except StoreError as error: print(error, '/', error.hint)\n"
    )
    path = tmp_path / "x"
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path), kind, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.startswith(f"cannot write {path}")
    assert "free space" in answer.stdout
    assert answer.stderr == ""
    assert not path.exists()


def test_a_codec_that_lies_is_found_when_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numcodecs.pcodec import PCodec

    encode = PCodec.encode
    monkeypatch.setattr(PCodec, "encode", lambda self, block: encode(self, np.sort(block)))
    streams = {"joint_velocity": session()["joint_velocity"]}

    with pytest.raises(DemosError):
        containers.write(tmp_path / "x", "zarr", streams, {})

    assert not (tmp_path / "x").exists()


def test_a_missing_chunk_is_damage_and_not_zeros(tmp_path: Path) -> None:
    path, hurt = tmp_path / "signals.zarr.zip", tmp_path / "hurt.zarr.zip"
    containers.write(path, "zarr", session(), {})
    chunk = pack(session(), {})[0]["streams"]["wrench.left_wrist"]["array"] + "/c/0/0"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(hurt, "w") as target:
        for name in source.namelist():
            if name != chunk:
                target.writestr(name, source.read(name))

    with pytest.raises(Damaged, match=f"{chunk} is missing"):
        containers.open(hurt, "zarr").streams["wrench.left_wrist"]

    assert any(chunk in problem for problem in containers.check(hurt, "zarr"))
    assert_same(
        session()["joint_position"], containers.open(hurt, "zarr").streams["joint_position"]
    )


def test_a_missing_dataset_is_damage(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "signals.h5"
    containers.write(path, "hdf5", session(), {})
    dataset = pack(session(), {})[0]["streams"]["wrench.left_wrist"]["array"]
    with h5py.File(path, "r+") as root:
        del root[dataset]

    with pytest.raises(Damaged):
        containers.open(path, "hdf5").streams["wrench.left_wrist"]

    assert any(f"{dataset} is missing" in problem for problem in containers.check(path, "hdf5"))


def test_values_edited_by_another_program_are_damage(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "signals.h5"
    containers.write(path, "hdf5", session(), {})
    array = containers.open(path, "hdf5")._contents["streams"]["joint_velocity"]["array"]
    with h5py.File(path, "r+") as root:
        root[array][0, 0] += 1.0

    with pytest.raises(Damaged, match="not what was written"):
        containers.open(path, "hdf5").streams["joint_velocity"]


def read_everything(path: Path, kind: Kind) -> dict[str, Stream]:
    opened = containers.open(path, kind)
    for name in opened.packets:
        opened.packets[name]
    return dict(opened.streams.items())


def test_any_flipped_bit_is_found_and_none_reads_as_other_numbers(
    kind: Kind, signals: Path, tmp_path: Path
) -> None:
    whole, random = signals.read_bytes(), np.random.default_rng(2)
    hurt = tmp_path / "hurt"

    for place in random.integers(0, len(whole), 120).tolist():
        broken = bytearray(whole)
        broken[place] ^= 1 << int(random.integers(0, 8))
        hurt.write_bytes(broken)

        assert containers.check(hurt, kind), f"a flip at byte {place} of {len(whole)}"
        with contextlib.suppress(DemosError):
            for name, stream in read_everything(hurt, kind).items():
                assert_same(session()[name], stream)


def test_a_file_that_breaks_off_is_damage(kind: Kind, signals: Path, tmp_path: Path) -> None:
    whole, hurt = signals.read_bytes(), tmp_path / "hurt"

    for length in [0, 1, 30, len(whole) // 2, len(whole) - 40, len(whole) - 1]:
        hurt.write_bytes(whole[:length])

        assert containers.check(hurt, kind), length
        if length < len(whole) - 40:
            with pytest.raises(Damaged) as caught:
                read_everything(hurt, kind)
            assert caught.value.hint


def test_a_file_that_is_gone_says_so(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="is missing"):
        containers.open(tmp_path / "gone", kind)


def test_a_file_of_a_later_release_asks_for_an_upgrade(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr("demos.store.containers.clock_groups.VERSION", 2)
        containers.write(tmp_path / "x", kind, {}, {})

    with pytest.raises(NewerVersion) as caught:
        containers.open(tmp_path / "x", kind)

    assert "upgrade" in caught.value.hint


def test_an_unknown_container_is_named() -> None:
    with pytest.raises(UnknownName, match="parquet"):
        containers.open(Path("x"), "parquet")  # type: ignore[arg-type]  # a user's typing error


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=st.binary(max_size=200)
    | st.binary(max_size=80).map(lambda tail: b"PK\x03\x04" + tail)
    | st.binary(max_size=80).map(lambda tail: b"\x89HDF\r\n\x1a\n" + tail)
    | st.binary(max_size=60).map(lambda tail: b"PK\x05\x06" + tail)
)
def test_random_bytes_give_only_our_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "noise"
        path.write_bytes(content)
        for kind in KINDS:
            with pytest.raises(DemosError) as caught:
                containers.open(path, kind)

            assert caught.value.hint
            assert containers.check(path, kind)


ROOTS = [
    b"null",
    b"[]",
    b"{}",
    b'{"attributes": {"demos": {"format": "demos-signals"}},'
    b' "consolidated_metadata": {"metadata": {}}}',
    b'{"attributes": 3, "consolidated_metadata": {"metadata": []}}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("root", ROOTS)
def test_a_hierarchy_of_somebody_else_is_refused(root: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("zarr.json", root)

    with pytest.raises(Damaged) as caught:
        containers.open(tmp_path / "x", "zarr")

    assert caught.value.hint


def test_importing_containers_loads_nothing_heavy() -> None:
    code = (
        "import sys, demos.store.containers, demos.store.video;"
        "print({'zarr', 'h5py', 'av', 'numcodecs', 'pandas'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "set()"


def test_a_moved_file_is_still_readable(kind: Kind, signals: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(signals, moved)

    assert_same(session()["空"], containers.open(moved, kind).streams["空"])


@pytest.mark.slow
def test_an_episode_is_as_small_as_we_say() -> None:
    path = Path(__file__).parent / "benchmarks" / "storage.py"
    spec = importlib.util.spec_from_file_location("storage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)

    figures = benchmark.run(quick=True, seed=0)

    for way in ("float32", "quantised"):
        for ratio, aim in figures["aim"][way].items():
            assert figures[way][ratio] > aim
