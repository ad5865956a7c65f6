"""The statistics that LeRobot keeps beside its data: per episode, and over all of it.

Written anew because LeRobot 0.4.4's own are wrong in places: the deviation of images overflows,
and quantiles over all episodes are means of the episodes' quantiles. Here everything is computed
in float64 from the numbers that are written; values that are no numbers (NaN, infinite) are left
out. A window's statistics are per channel, over all samples of all windows, as LeRobot's are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Statistics = dict[str, Any]
"""min, max, mean, std, count, q01, q10, q50, q90, q99: lists as LeRobot writes them."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
SAMPLED_IMAGES = 50
"""How many images of an episode its statistics are taken from, evenly spread."""

_MOST_BYTES = 256_000_000
_ENOUGH_PIXELS = 150
"""So many along the longer side tell what the levels of an image are."""


@dataclass(slots=True)
class NumberStatistics:
    """Statistics of one column, episode by episode, without keeping its values.

    Means and squares are joined as Chan, Golub and LeVeque (1979) do it, which does not cancel.
    """

    rows: int = 0
    count: Floats = field(default_factory=lambda: np.zeros(0))
    least: Floats = field(default_factory=lambda: np.zeros(0))
    greatest: Floats = field(default_factory=lambda: np.zeros(0))
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    squares: Floats = field(default_factory=lambda: np.zeros(0))

    def add(self, values: npt.NDArray[Any]) -> Statistics:
        """Take in the rows of one episode (n, ..., C); return their own statistics."""
        flat = by_channel(values)
        known = np.isfinite(flat)
        count = known.sum(axis=0).astype(np.float64)
        safe = np.maximum(count, 1.0)
        mean = np.where(known, flat, 0.0).sum(axis=0) / safe
        squares = (np.where(known, flat - mean, 0.0) ** 2).sum(axis=0)
        least = np.where(known, flat, np.inf).min(axis=0)
        greatest = np.where(known, flat, -np.inf).max(axis=0)
        self._join(len(values), count, mean, squares, least, greatest)
        own = NumberStatistics(len(values), count, least, greatest, mean, squares)
        return own.said([quantiles(flat[known[:, c], c]) for c in range(flat.shape[1])])

    def said(self, of_channels: list[Floats]) -> Statistics:
        """Write the statistics down, with quantiles (5,) per channel."""
        nothing = self.count == 0
        spread = np.sqrt(self.squares / np.maximum(self.count, 1.0))
        table = np.stack(of_channels, axis=1)
        return {
            "min": np.where(nothing, 0.0, self.least).tolist(),
            "max": np.where(nothing, 0.0, self.greatest).tolist(),
            "mean": self.mean.tolist(),
            "std": spread.tolist(),
            "count": [self.rows],
            **{key: table[n].tolist() for n, key in enumerate(QUANTILES)},
        }

    def _join(
        self, rows: int, count: Floats, mean: Floats, squares: Floats, *bounds: Floats
    ) -> None:
        least, greatest = bounds
        if not self.rows:
            self.rows, self.count, self.mean, self.squares = rows, count, mean, squares
            self.least, self.greatest = least, greatest
            return
        total = np.maximum(self.count + count, 1.0)
        off = mean - self.mean
        self.squares = self.squares + squares + off**2 * self.count * count / total
        self.mean = self.mean + off * count / total
        self.count, self.rows = self.count + count, self.rows + rows
        self.least = np.minimum(self.least, least)
        self.greatest = np.maximum(self.greatest, greatest)


@dataclass(slots=True)
class ImageStatistics:
    """Statistics of a camera from how often each of the 256 levels occurs per colour: exact.

    Of large images every few pixels count, the same as LeRobot counts.
    """

    images: int = 0
    levels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 256), np.int64))

    @classmethod
    def of(cls, batches: Iterable[npt.NDArray[np.uint8]]) -> Self:
        """Count the levels of RGB images, each batch (k, height, width, 3)."""
        found = cls()
        for batch in batches:
            found.images += len(batch)
            every = _pixel_step(*batch.shape[1:3])
            for colour in range(3):
                levels = batch[:, ::every, ::every, colour].ravel()
                found.levels[colour] += np.bincount(levels, minlength=256)
        return found

    def add(self, others: ImageStatistics) -> None:
        """Take in the images of one episode."""
        self.images += others.images
        self.levels += others.levels

    def said(self) -> Statistics:
        """Write the statistics down in [0, 1], each of shape (3, 1, 1)."""
        value = np.arange(256) / 255.0
        total = self.levels.sum(axis=1)
        mean = (self.levels * value).sum(axis=1) / total
        spread = np.sqrt((self.levels * (value - mean[:, None]) ** 2).sum(axis=1) / total)
        there = self.levels > 0
        found = {
            "min": value[there.argmax(axis=1)],
            "max": value[255 - there[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": spread,
            **{key: self._quantile(share, total) for key, share in QUANTILES.items()},
        }
        shaped = {key: row.reshape(3, 1, 1).tolist() for key, row in found.items()}
        return {**shaped, "count": [self.images]}

    def _quantile(self, share: float, total: npt.NDArray[np.int64]) -> Floats:
        """Interpolate between the two pixels around the quantile, as numpy does by default."""
        upto = np.cumsum(self.levels, axis=1)
        found = np.empty(3)
        for colour in range(3):
            place = share * (int(total[colour]) - 1)
            low = int(np.searchsorted(upto[colour], int(place), side="right"))
            high = int(np.searchsorted(upto[colour], int(np.ceil(place)), side="right"))
            found[colour] = (low + (high - low) * (place - int(place))) / 255.0
        return found


def _pixel_step(height: int, width: int) -> int:
    """Return how far apart pixels that count are (LeRobot: `auto_downsample_height_width`)."""
    longest = max(height, width)
    return longest // _ENOUGH_PIXELS if longest >= 2 * _ENOUGH_PIXELS else 1


def by_channel(values: npt.NDArray[Any]) -> Floats:
    """Return values (n, ..., C) as (m, C) float64; a column of scalars (n,) as (n, 1)."""
    flat = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)
    return flat.astype(np.float64)


def quantiles(values: Floats) -> Floats:
    """Return the five quantiles of values (n,), zeros where there is none: (5,)."""
    shares = list(QUANTILES.values())
    found: Floats = np.quantile(values, shares) if len(values) else np.zeros(len(shares))
    return found


def quantiles_over_all(
    read: Callable[[], Iterator[npt.NDArray[Any]]], rows: int, shape: tuple[int, ...]
) -> list[Floats]:
    """Return the quantiles of each channel over all episodes: (5,) per channel, exact.

    read: yields the column again, some rows at a time. It is read once where all its values fit
    into memory together, else once for as many channels as do.
    """
    channels = shape[-1]
    each = rows * int(np.prod(shape[:-1], dtype=np.int64)) * 8
    group = max(int(_MOST_BYTES // max(each, 1)), 1)
    found = []
    for first in range(0, channels, group):
        chosen = slice(first, min(first + group, channels))
        parts = [by_channel(values)[:, chosen] for values in read()]
        together = np.concatenate(parts)
        for column in together.T:
            found.append(quantiles(column[np.isfinite(column)]))
    return found


def sampled(count: int) -> list[int]:
    """Choose the images of an episode that its statistics are taken from."""
    chosen = np.linspace(0, count - 1, min(count, SAMPLED_IMAGES))
    return sorted({round(number) for number in chosen.tolist()})
