"""MCAP itself: damage, order, compression, encodings; files written by the `mcap` package."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer

from demos.errors import ImportFailed
from demos.importers import Found, Refused, import_source, open_source
from demos.model import Draft
from demos.store import EpisodeStore
from tests.ros_bags import MS, ROS1, ROS2, START_NS, Maker, Sent, items, maker, read, write

JOINTS = "sensor_msgs/msg/JointState"


def raw(
    path: Path,
    sent: Sequence[tuple[int, Any]],
    *,
    definition: str | None = None,
    schema: str = "ros2msg",
    ros1: bool = False,
    **more: Any,
) -> Path:
    """Write JointStates (ms after the start, message) as one topic, in the order given."""
    types = ROS1 if ros1 else ROS2
    text = types.store.generate_msgdef(JOINTS, ros_version=1 if ros1 else 2)[0]
    with path.open("wb") as file:
        writer = Writer(file, **more)
        writer.start("ros1" if ros1 else "ros2", "test")
        name = "sensor_msgs/JointState" if ros1 else JOINTS
        told = writer.register_schema(name, schema, (definition or text).encode())
        topic = writer.register_channel("/joint_states", "ros1" if ros1 else "cdr", told)
        for at_ms, message in sent:
            log_ns = START_NS + at_ms * MS
            data = types.store.serialize_ros1(message, JOINTS) if ros1 else types.encode(message)
            writer.add_message(topic, log_ns, bytes(data), log_ns)
        writer.finish()
    return path


def swing(count: int, types: Any = ROS2) -> list[tuple[int, Any]]:
    make = Maker(types)
    return [(n, make.joints(n, ["a", "b"], [n, -n])) for n in range(count)]


def assumed(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.assumed)


def missing(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.missing)


@pytest.mark.parametrize("compression", list(CompressionType))
def test_every_compression_is_read(compression: CompressionType, tmp_path: Path) -> None:
    path = raw(tmp_path / "take.mcap", swing(50), compression=compression, chunk_size=500)

    values = read(path).streams["joint_position"].values

    np.testing.assert_array_equal(values, [[n, -n] for n in range(50)])


@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_that_breaks_off_gives_what_lies_before(chunked: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = raw(tmp_path / "take.mcap", swing(200), use_chunking=chunked, chunk_size=2000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])

    draft = read(path)

    values = draft.streams["joint_position"].values
    assert 10 < len(values) < 200
    np.testing.assert_array_equal(values[:, 0], np.arange(len(values)))
    assert draft.facts.provenance.recovered
    assert any("breaks off near byte" in finding.message for finding in draft.findings)


def test_a_damaged_chunk_is_left_out_and_told(tmp_path: Path) -> None:
    whole = raw(tmp_path / "whole.mcap", swing(200), chunk_size=2000)
    content = bytearray(whole.read_bytes())
    fourth = content.split(b"\x28\xb5\x2f\xfd")[:4]
    content[len(b"".join(fourth)) + 4 * 3 + 60] ^= 0xFF
    hurt = tmp_path / "hurt.mcap"
    hurt.write_bytes(content)

    draft = read(hurt)

    values = draft.streams["joint_position"].values[:, 0]
    assert 100 < len(values) < 200
    assert set(values) < set(range(200))
    assert any("is damaged" in finding.message for finding in draft.findings)


def test_messages_out_of_order_are_put_in_order_of_arrival(tmp_path: Path) -> None:
    make = Maker(ROS2)
    told = [(n, make.joints(None, ["a"], [n])) for n in (0, 3, 1, 2)]

    draft = read(raw(tmp_path / "take.mcap", told))

    assert draft.streams["joint_position"].values.ravel().tolist() == [0, 1, 2, 3]
    assert "put in order of arrival" in assumed(draft)


def test_ros1_messages_in_mcap_are_read(tmp_path: Path) -> None:
    path = raw(tmp_path / "take.mcap", swing(4, ROS1), ros1=True, schema="ros1msg")

    np.testing.assert_array_equal(
        read(path).streams["joint_position"].values, [[n, -n] for n in range(4)]
    )


def test_a_type_that_the_bag_defines_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    other = "std_msgs/Header header\nstring[] name\nfloat32[] position\n"

    [refused] = items(raw(tmp_path / "take.mcap", swing(2), definition=other))

    assert isinstance(refused, Refused)
    assert f"a definition of {JOINTS} that is not the usual one" in refused.reason


def test_a_definition_that_would_run_code_is_only_compared(tmp_path: Path) -> None:
    evil = "string[] name\nimport os; os.abort()\n"

    [refused] = items(raw(tmp_path / "take.mcap", swing(2), definition=evil))

    assert isinstance(refused, Refused)
    assert "a definition that cannot be read" in refused.reason


def test_a_definition_in_idl_is_compared_too(tmp_path: Path) -> None:
    line = "=" * 80
    idl = (
        f"{line}\nIDL: sensor_msgs/msg/JointState\n"
        "module sensor_msgs { module msg { struct JointState {\n"
        "std_msgs::msg::Header header; sequence<string> name;\n"
        "sequence<double> position; sequence<double> velocity; sequence<double> effort; }; }; };\n"
    )

    good = read(raw(tmp_path / "a.mcap", swing(2), definition=idl, schema="ros2idl"))
    [bad] = items(
        raw(tmp_path / "b.mcap", swing(2), definition=idl.replace("double", "float"),
            schema="ros2idl")
    )  # fmt: skip

    assert set(good.streams) == {"joint_position"}
    assert isinstance(bad, Refused)


def test_messages_in_json_and_protobuf_are_named_with_their_count(tmp_path: Path) -> None:
    path = tmp_path / "take.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("", "test")
        text = ROS2.text(JOINTS).encode()
        ours = writer.register_schema(JOINTS, "ros2msg", text)
        topic = writer.register_channel("/joint_states", "cdr", ours)
        for name, encoding, form in (
            ("foxglove.CompressedVideo", "protobuf", "protobuf"),
            ("foxglove.PoseInFrame", "json", "jsonschema"),
        ):
            schema = writer.register_schema(name, form, b"{}")
            other = writer.register_channel(f"/{encoding}", encoding, schema)
            for n in range(3):
                writer.add_message(other, START_NS + n, json.dumps({}).encode(), START_NS + n)
        [(_, message)] = swing(1)
        writer.add_message(topic, START_NS, ROS2.encode(message), START_NS)
        writer.add_attachment(0, 0, "calibration.yaml", "text/yaml", b"a: 1")
        writer.finish()

    draft = read(path)

    assert set(draft.streams) == {"joint_position"}
    assert "/protobuf (foxglove.CompressedVideo): 3 messages, messages in protobuf" in missing(
        draft
    )
    assert "/json (foxglove.PoseInFrame): 3 messages, messages in json" in missing(draft)
    assert "attachment 'calibration.yaml' (4 bytes)" in missing(draft)


def test_the_moment_of_sending_stands_in_for_a_stamp(tmp_path: Path) -> None:
    path = tmp_path / "take.mcap"
    make = Maker(ROS2)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2", "test")
        kind = "std_msgs/msg/Float64"
        schema = writer.register_schema(kind, "ros2msg", ROS2.text(kind).encode())
        topic = writer.register_channel("/battery", "cdr", schema)
        for n in range(3):
            data = ROS2.encode(make.plain("Float64", float(n)))
            writer.add_message(topic, START_NS + n * MS + 7, data, START_NS + n * MS)
        writer.finish()

    stream = read(path).streams["battery"]

    assert stream.time_ns.tolist() == [0, MS, 2 * MS]
    assert stream.arrival_ns is not None
    assert stream.arrival_ns.tolist() == [7, MS + 7, 2 * MS + 7]


def test_a_folder_of_files_is_one_episode_a_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        raw(tmp_path / f"{name}.mcap", swing(3))
    (tmp_path / "c.mcap").write_bytes(b"\x89MCAP0\r\nrubbish")

    found = items(tmp_path)

    assert [item.name for item in found if isinstance(item, Found)] == ["a", "b"]
    [refused] = [item for item in found if isinstance(item, Refused)]
    assert refused.name == "c"


def test_a_split_bag_is_one_episode(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [("/joint_states", n, make.joints(n, ["a"], [n])) for n in range(4)]
    first = write(tmp_path / "x", "mcap", sent[:2])
    second = write(tmp_path / "y", "mcap", sent[2:])
    (second / "take.mcap").rename(first / "take_1.mcap")
    metadata = first / "metadata.yaml"
    listed = metadata.read_text().replace("- take.mcap\n", "- take.mcap\n  - take_1.mcap\n", 1)
    metadata.write_text(listed)

    draft = read(first)

    assert draft.streams["joint_position"].values.ravel().tolist() == [0, 1, 2, 3]
    assert set(draft.facts.provenance.source_sha256) == {"take.mcap", "take_1.mcap"}


def test_a_bag_compressed_by_rosbag2_says_how_to_open_it(tmp_path: Path) -> None:
    make = maker("mcap")
    path = write(tmp_path, "mcap", [("/battery", 0, make.plain("Float32", 1.0))])
    metadata = path / "metadata.yaml"
    text = metadata.read_text()
    metadata.write_text(text.replace("compression_mode: ''", "compression_mode: FILE"))
    assert "FILE" in metadata.read_text()

    with pytest.raises(ImportFailed, match="compressed by rosbag2") as caught:
        list(open_source(path))

    assert "ros2 bag convert" in caught.value.hint


def test_a_chunk_that_says_it_is_huge_fills_no_memory(tmp_path: Path) -> None:
    body = struct.pack("<QQQI", 0, 0, 2**40, 0)
    body += struct.pack("<I", 4) + b"zstd" + struct.pack("<Q", 4) + b"\x28\xb5\x2f\xfd"
    header = struct.pack("<BQ", 1, 8) + struct.pack("<II", 0, 0)
    chunk = struct.pack("<BQ", 6, len(body)) + body
    path = tmp_path / "take.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + header + chunk)

    [refused] = items(path)

    assert isinstance(refused, Refused)


def test_an_import_run_again_finds_everything_there(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")
    path = raw(tmp_path / "take.mcap", swing(5))

    first, second = import_source(path, store), import_source(path, store)

    assert len(first.episodes) == 1
    assert second.episodes == ()
    assert "imported before" in second.skipped[0][1]
