"""Anybody's bags are read as a mapping file says: JSON, protobuf and ROS types of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos.cli import main
from demos.formats.mapped_bag_example import BEGAN_NS, STEP_NS, STEPS
from demos.formats.messages import decoder
from demos.formats.ros_types import Topic
from demos.importers import Found, import_source
from demos.importers.mapped import EXAMPLES, Mapped
from demos.store import EpisodeStore, verify
from tests import ros_bags
from tests.mapped_bags import JSON, Channel, RosType, items, only, refused, told, write_mcap
from tests.ros_bags import MS, ROS1, ROS2, START_NS, Maker

ARMS = [
    {"name": "elbow", "group": "arm", "lower": -1.0, "upper": 2.0},
    {"name": "wrist", "group": "arm", "lower": -1.0, "upper": 1.0},
]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Mapped().write_example(tmp_path / "rig", EXAMPLES[1])


def jsons(root: Path, *values: Any, **more: Any) -> Path:
    """Write one message of the topic `/f` for each value, 10 ms apart."""
    sent = [("/f", 10 * n, value) for n, value in enumerate(values)]
    return write_mcap(root / "run_1.mcap", {"/f": JSON}, sent, **more)


def test_the_example_is_json_protobuf_and_a_ros_type_of_its_own(example: Path) -> None:
    draft = only(example)

    step = np.arange(STEPS)
    left = np.outer(step, np.arange(1, 8)) * np.pi / 180
    left[:, 3] += 0.5
    np.testing.assert_allclose(draft.streams["joint_position"].values, left, rtol=1e-12)
    wrench = draft.streams["wrench.left_wrist"]
    np.testing.assert_allclose(wrench.values, np.outer(step, np.arange(1, 7)) / 1000)
    touch = draft.streams["tactile.left_hand"]
    np.testing.assert_array_equal(touch.values, step[:, None] + [0, 100, 200])
    assert touch.values.dtype == np.uint16
    assert draft.streams["gripper_angle.left_hand"].values.dtype == np.float32
    assert set(draft.videos) == {"egocentric"}


def test_the_clock_is_a_field_of_the_message_and_arrival_stands_beside_it(example: Path) -> None:
    streams = only(example).streams

    for name in ("joint_position", "wrench.left_wrist", "tactile.left_hand"):
        stream = streams[name]
        np.testing.assert_array_equal(stream.time_ns, np.arange(STEPS) * STEP_NS)
        np.testing.assert_array_equal(stream.source_time_ns, BEGAN_NS + stream.time_ns)
        np.testing.assert_array_equal(stream.arrival_ns, stream.time_ns + 3 * MS)
    by_log = streams["gripper_angle.left_hand"]
    np.testing.assert_array_equal(by_log.time_ns, np.arange(STEPS) * STEP_NS + 3 * MS)
    assert by_log.arrival_ns is None


def test_words_come_from_metadata_and_from_the_last_message(example: Path) -> None:
    draft = only(example)

    assert draft.session.operator == "op-7"
    assert draft.facts.factors == {"object": "cup"}
    assert draft.facts.recorded_at.year == 2025
    [label] = draft.labels
    assert (label.of, label.value) == ("outcome", "success")
    assert set(draft.facts.provenance.source_sha256) == {"three_encodings.yaml", "runs/run_1.mcap"}


def test_the_example_goes_into_a_store_once(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    code = main(["import", str(example), str(store.root), "--format", "json"])

    report = json.loads(capsys.readouterr().out)
    assert (code, report["format"]) == (0, "mapped")
    assert verify(store, deep=True) == []
    again = import_source(example, store)
    assert again.episodes == ()
    assert "imported before" in again.skipped[0][1]


def test_a_folder_with_a_mapping_file_says_that_it_is_two_things(example: Path) -> None:
    beside = example.parent / "runs/rig.yaml"
    beside.write_text(example.read_text().replace("runs/*", "*"))

    assert Mapped().sniff(beside.parent)
    [item] = items(beside.parent)
    assert isinstance(item, Found)
    (beside.parent / "other.yaml").write_text(beside.read_text())
    assert not Mapped().sniff(beside.parent)


@pytest.mark.parametrize("ros1", [False, True])
def test_ros_messages_are_decoded_as_rosbags_decodes_them(*, ros1: bool) -> None:
    types = ROS1 if ros1 else ROS2
    make = Maker(types)
    made = [
        make.joints(1, ["a", "bcd"], [1.5, 2.5], [], [3.5, 4.5]),
        make.joints(1, [], [], [], []),
        make.wrench(2, "wrist", *range(6)),
        make.transforms(3, ("world", "cup", range(7)), ("w", "spoon", range(7))),
        make.imu(4, "pelvis"),
        make.camera_info(640, 480, range(9), [0.1, 0.2, 0.3]),
        make.image(5, np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "rgb8"),
        make.compressed(6, b"\xff\xd8\xff1"),
        make.array("Float32", np.arange(3, dtype=np.float32), "x"),
        make.array("UInt64", np.arange(2, dtype=np.uint64)),
        make.plain("Bool", np.bool_(1)),
        make.plain("String", "größer"),
    ]
    for message in made:
        kind = message.__msgtype__
        text = types.store.generate_msgdef(kind, ros_version=1 if ros1 else 2)[0]
        language = "ros1msg" if ros1 else "ros2msg"
        topic = Topic("/t", kind, "ros1" if ros1 else "cdr", text, language)
        encode = types.store.serialize_ros1 if ros1 else types.store.serialize_cdr
        found = decoder(topic)(bytes(encode(message, kind)))
        _alike(found, message)
        if not ros1:
            turned = bytes(encode(message, kind, little_endian=False))
            _alike(decoder(topic)(turned), message)


def _alike(found: Any, expected: Any) -> None:
    if isinstance(found, dict):
        for name, value in found.items():
            _alike(value, getattr(expected, name))
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _alike(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


ODD = RosType(
    "rig_msgs/msg/Odd",
    "uint8 a\nfloat64[] none\nuint8 b\nfloat64 c\nstring[] words\nint16[3] three\n"
    "rig_msgs/Pair[] pairs\nrig_msgs/Pair[2] two\nbool d\nint64 e\n"
    "string<=8 f\nfloat32[<=4] g\nuint8 h\n"
    + "=" * 80
    + "\nMSG: rig_msgs/Pair\nuint8 x\nint64 y\n",
)


@pytest.mark.parametrize("ros1", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_gaps_between_the_fields_of_a_type_of_ones_own_are_right(*, ros1: bool, some: bool) -> None:
    text = ODD.text.replace("<=8", "").replace("<=4", "") if ros1 else ODD.text
    odd = RosType(ODD.kind, text, ros1=ros1)

    def pair(n: int) -> Any:
        return odd.make("rig_msgs/msg/Pair", x=n, y=-n)

    fields: dict[str, Any] = {
        "a": 1,
        "none": np.arange(3.0) if some else np.zeros(0),
        "b": 2,
        "c": 3.5,
        "words": ["a", "bcde"] if some else [],
        "three": np.array([1, -2, 3], np.int16),
        "pairs": [pair(4), pair(5)] if some else [],
        "two": [pair(6), pair(7)],
        "d": True,
        "e": 2**62 + 1,
        "f": "xyz" if some else "",
        "g": np.arange(2, dtype=np.float32) if some else np.zeros(0, np.float32),
        "h": 9,
    }
    channel = odd.channel
    topic = Topic("/t", odd.kind, channel.encoding, odd.text, channel.language)

    message = odd.make(**fields)
    _alike(decoder(topic)(odd.data(message)), message)


@pytest.mark.parametrize("storage", ros_bags.STORAGES)
def test_bags_of_every_storage_are_read_by_the_same_words(tmp_path: Path, storage: str) -> None:
    make = ros_bags.maker(storage)
    sent = [("/f", 10 * n, make.joints(10 * n - 2, ["a"], [n / 2])) for n in range(5)]
    bag = ros_bags.write(tmp_path, storage, sent)
    bag.rename(tmp_path / f"bag_1{bag.suffix}")
    streams = {"q": {"paths": ["/f.position"], "units": ["rad"]}}

    draft = only(told(tmp_path, streams=streams, clock={"path": "header.stamp"}))

    stream = draft.streams["q"]
    np.testing.assert_array_equal(stream.values[:, 0], np.arange(5) / 2)
    np.testing.assert_array_equal(stream.time_ns, np.arange(5) * 10 * MS)
    np.testing.assert_array_equal(stream.arrival_ns, stream.time_ns + 2 * MS)
    kind = {"mcap": "mcap", "db3": "db3", "bag": "bag"}[storage]
    assert draft.facts.provenance.source_format == f"mapped {kind}"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/f.v", [3.0]),
        ("/f.list", [1.0, 2.5, 3.0, 4.0]),
        ("/f.list[1]", [2.5]),
        ("/f.list[-1]", [4.0]),
        ("/f.list[1:3]", [2.5, 3.0]),
        ("/f.list[:2]", [1.0, 2.5]),
        ("/f.deep.er[0].x", [7.0]),
        ("/f.deep.er[:].x", [7.0, 8.0]),
        ("/f.deep.er[1:].y", [9.0]),
        ("/f.table", [1.0, 2.0, 3.0, 4.0]),
        ("/f.truth", [1]),
        ("/f.hole", [np.nan]),
        ("/f.text", [0.25]),
        ("/f.big", [2.0**53]),
    ],
)
def test_paths_reach_into_messages(tmp_path: Path, path: str, expected: list[float]) -> None:
    message = {
        "v": 3,
        "list": [1, 2.5, 3, 4],
        "deep": {"er": [{"x": 7, "y": 1}, {"x": 8, "y": 9}]},
        "table": [[1, 2], [3, 4]],
        "truth": True,
        "hole": None,
        "text": "0.25",
        "big": 2**53,
    }
    jsons(tmp_path, message)

    values = only(told(tmp_path, streams={"s": {"paths": [path], "units": ["1"]}})).streams["s"]

    np.testing.assert_array_equal(values.values, [expected])
    assert values.values.dtype == (np.uint8 if path == "/f.truth" else np.float64)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/g.v", "no such topic; there are /f"),
        ("/f.w", "no field 'w'; there are v, o, l, s"),
        ("/f.o", "it holds no numbers but the fields a: name one of them"),
        ("/f.v.x", "'x' is asked of"),
        ("/f.l.x", "'x' is asked of a list"),
        ("/f.l[5]", "element 5 is asked of 2"),
        ("/f.v[0]", "an element is asked of"),
        ("/f.s", "it holds text, not numbers"),
        ("/f.l[a]", "is no path within a message"),
        ("/f.", "is no path within a message"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(tmp_path: Path, path: str, reason: str) -> None:
    jsons(tmp_path, {"v": 3, "o": {"a": 1}, "l": [1, 2], "s": "word"})

    item = refused(told(tmp_path, streams={"s": {"paths": [path], "units": ["1"]}}))

    assert "none of the streams" in item.reason
    assert reason in item.hint


def test_a_stream_that_is_not_there_is_missing_and_the_rest_goes_in(tmp_path: Path) -> None:
    jsons(tmp_path, {"v": 3})
    both = {n: {"paths": [f"/f.{n}"], "units": ["1"]} for n in "vw"}

    draft = only(told(tmp_path, streams=both))

    assert set(draft.streams) == {"v"}
    [missing] = draft.facts.provenance.missing
    assert missing.startswith("stream w: /f.w (no field 'w'")


@pytest.mark.parametrize(
    ("clock", "late", "expected"),
    [
        ({"time": "log"}, None, [0, 10, 20]),
        ({"time": "publish"}, 4, [0, 10, 20]),
        ({"path": "t", "unit": "s"}, None, [0, 500, 1000]),
        ({"path": "ms", "unit": "ms"}, None, [0, 500, 1000]),
        ({"path": "text", "unit": "ns"}, None, [0, 500, 1000]),
        ({"path": "header.stamp"}, None, [0, 500, 1000]),
        ({"rate_hz": 50}, None, [0, 20, 40]),
    ],
)
def test_the_clock_is_the_one_that_is_chosen(
    tmp_path: Path, clock: dict[str, Any], late: float | None, expected: list[float]
) -> None:
    stamps = [START_NS + n * 500 * MS for n in range(3)]
    values = [
        {
            "v": n,
            "t": ns / 1e9,
            "ms": ns // MS,
            "text": str(ns),
            "header": {"stamp": {"sec": ns // 10**9, "nsec": ns % 10**9}},
        }
        for n, ns in enumerate(stamps)
    ]
    jsons(tmp_path, *values, late_ms=late or 0)

    stream = only(told(tmp_path, clock=clock)).streams["force"]

    # float64 seconds since 1970 are good to 240 ns
    np.testing.assert_allclose(stream.time_ns, np.array(expected) * MS, atol=240)
    assert stream.clock == ("nominal" if "rate_hz" in clock else "measured")
    if late:
        assert stream.arrival_ns is not None
        np.testing.assert_array_equal(stream.arrival_ns - stream.time_ns, late * MS)


def test_stamps_since_the_robot_was_switched_on_keep_no_arrival(tmp_path: Path) -> None:
    jsons(tmp_path, {"v": 1, "t": 12.5}, {"v": 2, "t": 12.75})

    draft = only(told(tmp_path, clock={"path": "t"}))

    stream = draft.streams["force"]
    assert stream.time_ns.tolist() == [0, 250 * MS]
    assert stream.source_time_ns is not None
    assert stream.source_time_ns.tolist() == [12_500 * MS, 12_750 * MS]
    assert stream.arrival_ns is None
    assert any("force: arrival is up to 1.7e+09 s" in t for t in draft.facts.provenance.assumed)
    assert draft.facts.recorded_at.year == 2023


def test_a_file_out_of_order_is_put_in_order_of_arrival(tmp_path: Path) -> None:
    sent = [("/f", at, {"v": at}) for at in (0, 20, 10, 30)]
    write_mcap(tmp_path / "a.mcap", {"/f": JSON}, sent)

    draft = only(told(tmp_path))

    assert draft.streams["force"].values.ravel().tolist() == [0, 10, 20, 30]
    assert "force: put in order of arrival, the file is not" in draft.facts.provenance.assumed


@pytest.mark.parametrize(
    ("changes", "values", "reason"),
    [
        ({"clock": None}, [{"v": 1}], "force has no clock"),
        ({"clock": {"path": "t"}}, [{"v": 1}], "none of the streams"),
        ({"clock": {"path": "t"}}, [{"v": 1, "t": "noon"}], "none of the streams"),
        ({"clock": {"path": "t"}}, [{"v": 1, "t": 0}, {"v": 1, "t": 1e9}], "three years apart"),
        (
            {"streams": {"a": {"paths": ["/f.v", "/f.w"], "units": ["N"]}}},
            [{"v": 1, "w": 1}, {"v": 1}],
            "other lengths: /f.v 2, /f.w 1",
        ),
        (
            {"streams": {"a": {"paths": ["/f.v"], "units": ["N", "m"]}}},
            [{"v": 1}],
            "gives it 2 units",
        ),
        ({"episodes": "data/*"}, [{"v": 1}], "a bag is one episode"),
    ],
)
def test_a_bag_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], values: list[Any], reason: str
) -> None:
    jsons(tmp_path, *values)

    assert reason in refused(told(tmp_path, **changes)).reason


def test_a_bag_without_a_time_of_sending_says_so(tmp_path: Path) -> None:
    make = ros_bags.maker("db3")
    ros_bags.write(tmp_path, "db3", [("/f", 0, make.plain("Float64", 1.0))])
    (tmp_path / "take").rename(tmp_path / "bag_1")
    streams = {"s": {"paths": ["/f.data"], "units": ["1"]}}

    item = refused(told(tmp_path, streams=streams, clock={"time": "publish"}))

    assert "has no time of sending" in item.reason


def test_messages_of_another_length_are_left_out_and_told(tmp_path: Path) -> None:
    jsons(tmp_path, {"v": [1, 2]}, {"v": [3]}, {"v": [5, 6]}, {"w": 1})

    draft = only(told(tmp_path))

    assert draft.streams["force"].values.tolist() == [[1, 2], [5, 6]]
    assert draft.streams["force"].time_ns.tolist() == [0, 20 * MS]
    said = " / ".join(finding.message for finding in draft.findings)
    assert "1 messages have another length at /f.v" in said
    assert "1 messages have nothing at /f.v: no field 'v'" in said


def test_columns_are_picked_by_the_names_that_the_source_gives_them(tmp_path: Path) -> None:
    jsons(
        tmp_path,
        {"q": [1, 2, 3], "n": ["a", "b", "c"]},
        {"q": [6, 5, 4], "n": ["c", "b", "a"]},
        {"q": [7], "n": ["a"]},
    )
    stream = {"paths": ["/f.q"], "names": "/f.n", "channels": ["c", "a"], "units": ["1"]}

    draft = only(told(tmp_path, streams={"s": stream}))

    assert draft.streams["s"].values.tolist() == [[3, 1], [6, 4]]
    assert draft.streams["s"].channels == ("c", "a")
    assert "1 messages have nothing at /f.q: nothing is called c" in draft.findings[0].message


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a"], "two columns are called a"),
        (["b", "c"], "nothing is called a; there are b, c"),
        (["a"], "1 names for 2 values"),
        ("ab", "0 names for 2 values"),
    ],
)
def test_names_that_do_not_fit_say_why(tmp_path: Path, names: Any, reason: str) -> None:
    jsons(tmp_path, {"q": [1, 2], "n": names})
    stream = {"paths": ["/f.q"], "names": "/f.n", "channels": ["a"], "units": ["1"]}

    assert reason in refused(told(tmp_path, streams={"s": stream})).hint


def test_two_arms_with_clocks_of_their_own_are_two_streams(tmp_path: Path) -> None:
    sent = [(f"/{side}", 10 * n + k, {"q": n}) for n in range(3) for k, side in enumerate("lr")]
    write_mcap(tmp_path / "a.mcap", {"/l": JSON, "/r": JSON}, sent)
    arm = {"role": "state", "units": ["rad"]}
    apart = {
        "state.left": {"paths": ["/l.q"], "channels": ["elbow"], **arm},
        "state.right": {"paths": ["/r.q"], "channels": ["wrist"], **arm},
    }
    together = {"s": {"paths": ["/l.q", "/r.q"], "channels": ["elbow", "wrist"], **arm}}
    body = tmp_path / "store/embodiments/arm.yaml"
    body.parent.mkdir(parents=True)
    body.write_text(json.dumps({"kind": "embodiment", "version": 1, "id": "arm", "title": "a",
                                "joints": ARMS}))  # fmt: skip

    options = {"store": tmp_path / "store"}
    made = only(told(tmp_path, streams=apart, embodiment="arm"), **options).streams

    assert list(made) == ["joint_position", "joint_position.right"]
    assert made["joint_position.right"].channels == ("wrist",)
    assert made["joint_position.right"].time_ns.tolist() == [MS, 11 * MS, 21 * MS]
    reason = refused(told(tmp_path, streams=together, embodiment="arm"), **options).reason
    assert "have other stamps" in reason


def test_damaged_messages_are_counted_and_left_out(tmp_path: Path) -> None:
    jsons(tmp_path, {"v": 1}, b"{", b"[]", {"v": 2})

    draft = only(told(tmp_path))

    assert draft.streams["force"].values.ravel().tolist() == [1, 2]
    assert "2 messages of /f cannot be decoded" in draft.findings[0].message


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        (Channel("cbor"), "messages in cbor are not read"),
        (Channel("protobuf", "x.Y", "protobuf", b"not it"), "the definition of x.Y"),
        (Channel("protobuf", "x.Y", "protobuf", b""), "the definition of x.Y"),
        (Channel("cdr", "a/msg/B", "ros2msg", b"a/C c"), "the definition of a/msg/C is not in"),
        (Channel("cdr", "a/msg/B", "ros2msg", b"wstring w"), "the definition of a/msg/wstring"),
        (Channel("cdr", "a/msg/B", "ros2msg", b"a/B b"), "a/msg/B holds itself"),
        (Channel("cdr", "a/msg/B", "ros2msg", b"\xff&%"), "cannot be read"),
    ],
)
def test_a_topic_that_cannot_be_decoded_says_why(
    tmp_path: Path, channel: Channel, reason: str
) -> None:
    write_mcap(tmp_path / "a.mcap", {"/f": channel}, [("/f", 0, b"\0\1\0\0abcd")])

    assert reason in refused(told(tmp_path)).hint


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """Ten seconds in which a joint runs against its command, and a store that knows the body."""
    angle = np.sin(np.arange(500) / 20)
    sent = [("/f", 20 * n, {"q": q, "told": -q}) for n, q in enumerate(angle.tolist())]
    write_mcap(tmp_path / "run_1.mcap", {"/f": JSON}, sent)
    joint = {"channels": ["elbow"], "units": ["rad"]}
    streams = {
        "state": {"paths": ["/f.q"], "role": "state", **joint},
        "action": {"paths": ["/f.told"], "role": "command", **joint},
    }
    body = EpisodeStore.create(tmp_path / "team").root / "embodiments/arm.yaml"
    body.parent.mkdir(exist_ok=True)
    body.write_text(json.dumps({"kind": "embodiment", "version": 1, "id": "arm", "title": "a",
                                "joints": ARMS[:1]}))  # fmt: skip
    return told(tmp_path, files=["*.mcap"], streams=streams, embodiment="arm")


@pytest.mark.parametrize("command", ["import", "upload"])
def test_a_doubtful_mapping_comes_in_only_where_a_person_accepts_it(
    turned: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    team = turned.parent / "team"
    call = [str(turned), str(team)] if command == "import" else [str(turned), "--to", str(team)]

    code = main([command, *call])

    assert code == 1
    assert "--accept-mapping" in capsys.readouterr().err
    store = EpisodeStore.open(team)
    assert store.episode_ids() == []

    main([command, *call, "--accept-mapping"])

    [episode] = store.episode_ids()
    assumed = store.manifest(episode).provenance.assumed
    assert any(text.startswith("mapping accepted, though") for text in assumed)
