"""The clock of a step table: what was made of a rate, what was measured, what is no clock."""

from __future__ import annotations

import numpy as np
import pytest

from demos.formats.steps import ticks


def test_uneven_timestamps_are_taken_as_measured() -> None:
    stamps = np.array([0.0, 0.1, 0.35, 0.4])

    found = ticks(stamps, 4, 10.0)

    assert found.clock == "measured"
    assert found.rate_hz is None
    np.testing.assert_array_equal(found.time_ns, [0, 100_000_000, 350_000_000, 400_000_000])


def test_disorder_in_the_timestamps_is_kept() -> None:
    found = ticks(np.array([5.0, 5.3, 5.1, 5.4]), 4, 10.0)

    np.testing.assert_array_equal(found.time_ns, [0, 300_000_000, 100_000_000, 400_000_000])


def test_timestamps_that_begin_later_are_kept_beside_the_nominal_clock() -> None:
    stamps = 0.05 + np.arange(400) * 0.04999995

    found = ticks(stamps, 400, 20.0)

    assert found.clock == "nominal"
    assert found.source_time_ns is not None
    assert found.source_time_ns[0] == 50_000_000
    assert any("begins at 0.05 s" in text for text in found.assumed)


def test_a_long_float32_clock_is_still_recognised_as_made() -> None:
    stamps = (np.arange(60_000) / 30).astype(np.float32)

    assert ticks(stamps, 60_000, 30.0).clock == "nominal"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_stamps_that_are_no_numbers_are_found_and_not_used(bad: float) -> None:
    found = ticks(np.array([0.0, bad, 0.2]), 3, 10.0)

    assert found.clock == "nominal"
    assert found.problems
