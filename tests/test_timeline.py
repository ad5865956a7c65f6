"""Clocks, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from demos import timeline
from demos.errors import SchemaMismatch
from demos.model import Stream, StreamInfo


def stream(time_ns: list[int], values: list[float]) -> Stream:
    info = StreamInfo(units=("rad",), channels=("elbow",))
    return Stream(np.array(time_ns, np.int64), np.array(values, np.float32)[:, None], info)


def test_linear_reading_between_samples_and_held_beyond_the_ends() -> None:
    read = timeline.at(stream([0, 10, 30], [0, 1, 5]), np.array([-5, 0, 5, 20, 99]))

    assert read[:, 0].tolist() == [0, 0, 0.5, 3, 5]


def test_previous_reading_holds_the_last_sample() -> None:
    read = timeline.at(stream([0, 10, 30], [0, 1, 5]), np.array([-5, 9, 10, 29, 99]), "previous")

    assert read[:, 0].tolist() == [0, 0, 1, 1, 5]


def test_nearest_reading_takes_the_closest() -> None:
    read = timeline.at(stream([0, 10, 30], [0, 1, 5]), np.array([4, 6, 19, 21]), "nearest")

    assert read[:, 0].tolist() == [0, 1, 1, 5]


def test_disorder_is_mended_in_a_view_and_kept_in_the_stream() -> None:
    raw = stream([0, 20, 10, 20], [0, 2, 1, 9])

    view = timeline.repaired(raw)

    assert view.time_ns.tolist() == [0, 10, 20]
    assert view.values[:, 0].tolist() == [0, 1, 2]
    assert raw.time_ns.tolist() == [0, 20, 10, 20]


def test_rate_is_the_median_one() -> None:
    assert timeline.rate_hz(np.array([0, 10, 20, 90], np.int64) * 1_000_000) == pytest.approx(100)


def test_rate_of_one_sample_is_not_a_number() -> None:
    assert np.isnan(timeline.rate_hz(np.array([5], np.int64)))


def test_grid_has_no_drift() -> None:
    grid = timeline.grid_ns(0, 10_000_000_000, 30)

    assert len(grid) == 301
    assert grid[300] == 10_000_000_000


@pytest.mark.parametrize("rate_hz", [15.0, 29.97, 30.0, 60.0, 120.0])
def test_the_grid_of_an_even_clock_is_that_clock(rate_hz: float) -> None:
    stamps = 7 + np.rint(np.arange(3000) * (1e9 / rate_hz)).astype(np.int64)

    for count in range(1, 3000):
        found = timeline.grid_ns(7, int(stamps[count - 1]), rate_hz)
        assert len(found) == count
    np.testing.assert_array_equal(found, stamps[:-1])


def test_empty_stream_has_no_value() -> None:
    with pytest.raises(ValueError, match="empty"):
        timeline.at(stream([], []), np.array([0]))


def test_stream_refuses_shapes_that_disagree() -> None:
    info = StreamInfo(units=("rad", "rad"), channels=("a", "b"))

    with pytest.raises(SchemaMismatch, match="one sample has shape"):
        Stream(np.zeros(3, np.int64), np.zeros((3, 3)), info)
    with pytest.raises(SchemaMismatch, match="3 stamps"):
        Stream(np.zeros(3, np.int64), np.zeros((2, 2)), info)
    with pytest.raises(SchemaMismatch, match="int64"):
        Stream(np.zeros(3), np.zeros((3, 2)), info)  # type: ignore[arg-type]
