"""Statistics beside a LeRobot dataset, against numpy on all values at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.formats import lerobot_statistics
from demos.formats.lerobot_statistics import (
    QUANTILES,
    ImageStatistics,
    NumberStatistics,
    quantiles_over_all,
    sampled,
)


def told(values: np.ndarray) -> dict[str, list[float]]:
    """Compute with numpy in float64 what should be said of values (n, C)."""
    rows = values.astype(np.float64)
    shares = {key: np.quantile(rows, share, axis=0).tolist() for key, share in QUANTILES.items()}
    return {
        "min": rows.min(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "mean": rows.mean(axis=0).tolist(),
        "std": rows.std(axis=0).tolist(),
        **shares,
    }


def agree(found: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    assert set(found) == {*expected, "count"}
    for key, row in expected.items():
        np.testing.assert_allclose(found[key], row, rtol=1e-9, atol=1e-9, err_msg=key)


def test_an_episode_is_described_as_numpy_does() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (101, 3)).astype(np.float32)

    found = NumberStatistics().add(values)

    agree(found, told(values))
    assert found["count"] == [101]


def test_all_episodes_together_are_described_as_one_long_one() -> None:
    rng = np.random.default_rng(1)
    episodes = [rng.normal(offset, 1.0, (size, 2)) for offset, size in ((0, 7), (1e4, 50), (-5, 2))]
    all_ = NumberStatistics()

    for values in episodes:
        all_.add(values)
    found = all_.said(quantiles_over_all(lambda: iter(episodes), 59, (2,)))

    agree(found, told(np.concatenate(episodes)))
    assert found["count"] == [59]


def test_quantiles_of_all_are_no_means_of_quantiles() -> None:
    # 99 zeros and, in another episode, one thousand: the median of all is zero
    episodes = [np.zeros((99, 1)), np.full((1, 1), 1000.0)]

    [found] = quantiles_over_all(lambda: iter(episodes), 100, (1,))

    assert found.tolist()[:4] == [0.0, 0.0, 0.0, 0.0]
    assert found[4] == pytest.approx(10.0)  # 1 % of the way from rank 98 to rank 99


def test_quantiles_are_the_same_when_channels_are_read_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(2).normal(size=(40, 6, 5)).astype(np.float32)
    reads = []

    def read() -> Iterator[np.ndarray]:
        reads.append(1)
        yield values[:25]
        yield values[25:]

    at_once = quantiles_over_all(read, 40, (6, 5))
    monkeypatch.setattr(lerobot_statistics, "_MOST_BYTES", 40 * 6 * 8 * 2)
    in_turn = quantiles_over_all(read, 40, (6, 5))

    assert len(reads) == 1 + 3
    np.testing.assert_array_equal(at_once, in_turn)
    expected = np.quantile(
        values.reshape(-1, 5).astype(np.float64), list(QUANTILES.values()), axis=0
    )
    np.testing.assert_allclose(np.transpose(at_once), expected)


def test_a_window_is_described_per_channel_over_all_its_samples() -> None:
    values = np.arange(24.0).reshape(2, 4, 3)

    found = NumberStatistics().add(values)

    agree(found, told(values.reshape(8, 3)))
    assert found["count"] == [2]


def test_what_is_no_number_is_left_out() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan], [np.nan, np.nan]])

    found = NumberStatistics().add(values)

    assert found["mean"] == [2.0, 0.0]
    assert (found["min"], found["max"]) == ([1.0, 0.0], [3.0, 0.0])
    assert found["std"] == [1.0, 0.0]
    assert found["q50"] == [2.0, 0.0]


def test_a_column_of_true_and_false_counts_as_zeros_and_ones() -> None:
    found = NumberStatistics().add(np.array([False, False, False, True])[:, None])

    assert (found["mean"], found["max"], found["std"]) == ([0.25], [1.0], [np.sqrt(3) / 4])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_images_are_described_exactly(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, levels, (3, 4, 5, 3), dtype=np.uint8)

    found = ImageStatistics.of([images[:1], images[1:]]).said()

    assert found.pop("count") == [3]
    expected = told(images.reshape(-1, 3) / 255.0)
    for key, shaped in found.items():
        assert np.shape(shaped) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(shaped), expected[key], atol=1e-12, err_msg=key)


def test_noise_has_the_deviation_of_noise() -> None:
    # LeRobot 0.4.4 says 0.0 here: its squares of uint8 overflow
    images = np.random.default_rng(3).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

    spread = ImageStatistics.of([images]).said()["std"]

    assert np.ravel(spread) == pytest.approx([0.2898] * 3, abs=0.01)


def test_images_are_sampled_from_end_to_end() -> None:
    assert sampled(3) == [0, 1, 2]
    many = sampled(1000)
    assert (many[0], many[-1], len(many)) == (0, 999, lerobot_statistics.SAMPLED_IMAGES)
