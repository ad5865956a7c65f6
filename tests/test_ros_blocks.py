"""Messages that are read many at once say what they say one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos.formats.ros_blocks import Block
from demos.formats.ros_gathering import Gathering
from demos.model import Draft
from tests.ros_bags import ROS2, Maker, Sent, read, write

COUNT = 40
MAKE = Maker(ROS2)
RANDOM = np.random.default_rng(5)
NUMBERS: Any = RANDOM.normal(size=(COUNT, 7))
Say = Callable[[int], Any]

KINDS: dict[str, Say] = {
    "joints": lambda n: MAKE.joints(n, ["a", "elbow"], NUMBERS[n, :2], NUMBERS[n, 2:4]),
    "joints of one name": lambda n: MAKE.joints(n, ["a"], NUMBERS[n, :1], (), NUMBERS[n, 1:2]),
    "joints in another order": lambda n: MAKE.joints(
        n, ["a", "b"] if n % 9 else ["b", "a"], NUMBERS[n, :2]
    ),
    "joints that change their speaker": lambda n: MAKE.joints(
        n, ["aa", "b"] if n < COUNT // 2 else ["a", "bb"], NUMBERS[n, :2]
    ),
    "joints without stamps": lambda n: MAKE.joints(None, ["a", "b"], NUMBERS[n, :2]),
    "wrench": lambda n: MAKE.wrench(n, "wrist", *NUMBERS[n, :6]),
    "wrench in frames of one length": lambda n: MAKE.wrench(
        n, "left" if n % 7 else "righ", *NUMBERS[n, :6]
    ),
    "wrench with nothing in it": lambda n: MAKE.wrench(n, "w", *[float("nan")] * 6),
    "pose": lambda n: MAKE.pose(n, "map", *NUMBERS[n]),
    "Float32 array": lambda n: MAKE.array(
        "Float32", NUMBERS[n].astype(np.float32), "a,b,c,d,e,f,g"
    ),
    "Float64 array": lambda n: MAKE.array("Float64", NUMBERS[n]),
    "Int8 array": lambda n: MAKE.array("Int8", np.arange(n, n + 3, dtype=np.int8), "a,b,c"),
    "arrays that grow": lambda n: MAKE.array("UInt16", np.arange(1 + n % 2, dtype=np.uint16)),
    "Int64": lambda n: MAKE.plain("Int64", n * 2**40),
    "imu": lambda n: MAKE.imu(n, "pelvis", oriented=bool(n % 3)),
}


def assert_same(one: Draft, other: Draft) -> None:
    assert one.streams.keys() == other.streams.keys()
    for name, stream in one.streams.items():
        twin = other.streams[name]
        assert stream.info == twin.info
        assert stream.values.dtype == twin.values.dtype
        np.testing.assert_array_equal(stream.values, twin.values)
        for clock in ("time_ns", "source_time_ns", "arrival_ns"):
            np.testing.assert_array_equal(getattr(stream, clock), getattr(twin, clock))
    assert [f.message for f in one.findings] == [f.message for f in other.findings]
    assert one.facts.provenance.missing == other.facts.provenance.missing
    assert one.facts.provenance.parameters == other.facts.provenance.parameters


def bag(folder: Path, say: Sequence[tuple[str, Say]]) -> Path:
    sent: list[Sent] = [
        (topic, n + (n % 3 == 0), told(n)) for n in range(COUNT) for topic, told in say
    ]
    return write(folder, "mcap", sent)


@pytest.mark.parametrize("kind", KINDS)
def test_a_topic_says_the_same_at_once_and_one_by_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # joints beside it, so that there is an episode whatever the other topic says
    path = bag(tmp_path, [("/other", KINDS["joints"]), ("/topic", KINDS[kind])])
    at_once = read(path)
    monkeypatch.setattr(Gathering, "_at_once", lambda *_: False)

    assert_same(at_once, read(path))


AT_ONCE = [
    "joints",
    "joints of one name",
    "joints without stamps",
    "wrench",
    "wrench with nothing in it",
    "pose",
    "Float32 array",
    "Float64 array",
    "Int8 array",
    "Int64",
]


@pytest.mark.parametrize("kind", AT_ONCE)
def test_messages_that_differ_in_numbers_alone_are_read_at_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bag(tmp_path, [("/topic", KINDS[kind])])
    at_once, taken = Gathering._at_once, list[int]()

    def watched(self: Gathering, block: Block) -> bool:
        taken.append(len(block) if at_once(self, block) else 0)
        return taken[-1] > 0

    monkeypatch.setattr(Gathering, "_at_once", watched)
    read(path)

    assert sum(taken) == COUNT - 1
