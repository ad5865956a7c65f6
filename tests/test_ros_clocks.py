"""The stamp in a message and the moment it was recorded: which is the time, and what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demos.importers import Refused
from demos.model import Draft
from tests.ros_bags import MS, START_NS, STORAGES, Sent, items, maker, read, write

NAN = np.nan


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assumed(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.assumed)


def missing(draft: Draft) -> str:
    return "\n".join(draft.facts.provenance.missing)


def test_the_stamp_is_the_time_and_the_arrival_is_kept_beside_it(
    storage: str, tmp_path: Path
) -> None:
    make = maker(storage)
    late_ms = (2, 4, 3)
    sent: list[Sent] = [
        ("/joint_states", 10 * n + late, make.joints(10 * n, ["a"], [n]))
        for n, late in enumerate(late_ms)
    ]

    draft = read(write(tmp_path, storage, sent))

    stream = draft.streams["joint_position"]
    assert stream.time_ns.tolist() == [0, 10 * MS, 20 * MS]
    assert stream.arrival_ns is not None
    assert stream.arrival_ns.tolist() == [2 * MS, 14 * MS, 23 * MS]
    assert stream.source_time_ns is None
    assert "log_time came 3 ms later at the median" in assumed(draft)
    assert draft.facts.provenance.parameters["start_ns"] == START_NS
    assert draft.facts.recorded_at.timestamp() == START_NS / 1e9


def test_stamps_out_of_order_stay_as_they_are(tmp_path: Path) -> None:
    make = maker("mcap")
    stamps = (0, 30, 20, 40)
    sent: list[Sent] = [
        ("/joint_states", 50 + n, make.joints(at, ["a"], [n])) for n, at in enumerate(stamps)
    ]

    stream = read(write(tmp_path, "mcap", sent)).streams["joint_position"]

    assert stream.time_ns.tolist() == [at * MS for at in stamps]


def test_an_unset_stamp_gives_way_to_the_arrival(tmp_path: Path) -> None:
    make = maker("mcap")
    sent: list[Sent] = [
        ("/joint_states", 10 * n + 1, make.joints(None if n == 1 else 10 * n, ["a"], [n]))
        for n in range(3)
    ]

    draft = read(write(tmp_path, "mcap", sent))

    stream = draft.streams["joint_position"]
    assert stream.time_ns.tolist() == [0, 11 * MS, 20 * MS]
    assert stream.source_time_ns is not None
    assert stream.source_time_ns.tolist() == [START_NS, 0, START_NS + 20 * MS]
    assert "1 of 3 stamps" in draft.findings[0].message


def test_stamps_of_another_clock_are_kept_as_the_devices(tmp_path: Path) -> None:
    make = maker("mcap")
    hour_ms = 3_600_000
    sent: list[Sent] = [
        ("/joint_states", 10 * n, make.joints(10 * n - hour_ms, ["a"], [n])) for n in range(3)
    ]

    draft = read(write(tmp_path, "mcap", sent))

    stream = draft.streams["joint_position"]
    assert stream.time_ns.tolist() == [0, 10 * MS, 20 * MS]
    assert stream.source_time_ns is not None
    assert stream.source_time_ns[0] == START_NS - hour_ms * MS
    assert "3600 s from their arrival" in draft.findings[0].message


def test_a_bag_whose_stamps_reach_over_a_month_is_refused(tmp_path: Path) -> None:
    make = maker("mcap")
    days = 86_400_000
    sent: list[Sent] = [("/battery", at, make.plain("Float32", 1.0)) for at in (0, 40 * days)]

    [refused] = items(write(tmp_path, "mcap", sent))

    assert isinstance(refused, Refused)
    assert "over 40 days" in refused.reason
