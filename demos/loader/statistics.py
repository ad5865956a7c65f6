"""What the values of a stream are like over the steps that are trained on, for normalisation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from demos.formats.lerobot_statistics import QUANTILES, ImageStatistics
from demos.loader.cache import Cache
from demos.loader.choices import Normalisation
from demos.loader.views import View

Floats = npt.NDArray[np.float64]
Statistics = dict[str, Floats]

AT_ONCE = 16
NAMES = ("count", "mean", "std", "min", "max", *QUANTILES)


def statistics(
    view: View,
    rows: npt.NDArray[np.int64],
    cache: Cache,
    images: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]] | None = None,
) -> Statistics:
    """Describe a view over some rows: name of a statistic to (channels,) float64; cached.

    Each step counts once; steps at which the stream had nothing to say, and values that are not
    finite, do not count. `std` is that of the population, quantiles lie between neighbours
    linearly. A channel without any value has NaN, and a count of 0.

    With `images`, which decodes those of some rows, their colours are described, of 0..1; the
    count is that of images.
    """
    chosen = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]
    key = f"{view.folder.name}-{chosen}.npy"
    if key in cache:
        try:
            return dict(zip(NAMES, np.load(cache.path(key)), strict=True))
        except (OSError, ValueError, EOFError):
            cache.forget(key)
    if view.pad is not None:
        rows = rows[~view.pad[rows]]
    table = _table(view, rows) if images is None else _colours(rows, images)
    with cache.making(key) as path, path.open("wb") as file:
        np.save(file, table)
    return dict(zip(NAMES, table, strict=True))


def _table(view: View, rows: npt.NDArray[np.int64]) -> Floats:
    flat = view.values.reshape(len(view.values), -1)
    columns = []
    for channel in range(flat.shape[1]):
        values = flat[rows, channel].astype(np.float64)
        columns.append(_column(values[np.isfinite(values)]))
    return np.array(columns).T.reshape(len(NAMES), *view.values.shape[1:])


def _colours(
    rows: npt.NDArray[np.int64], images: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.uint8]]
) -> Floats:
    if not len(rows):
        return np.array([_column(np.zeros(0))] * 3).T
    some = (images(rows[first : first + AT_ONCE]) for first in range(0, len(rows), AT_ONCE))
    said = ImageStatistics.of(some).said()
    return np.stack([np.broadcast_to(np.ravel(said[name]), 3) for name in NAMES])


def _column(values: Floats) -> list[float]:
    if not len(values):
        return [0.0] + [np.nan] * (len(NAMES) - 1)
    low, high = values.min(), values.max()
    # a mean that is off by its last bit must not make a deviation out of nothing
    spread = [values.mean(), values.std() if low < high else 0.0, low, high]
    return [float(len(values)), *spread, *np.quantile(values, list(QUANTILES.values()))]


def shift_and_scale(found: Statistics, kind: Normalisation) -> tuple[Floats, Floats]:
    """Return what to subtract and what to divide by, per channel.

    mean_std: to mean 0 and deviation 1; min_max and quantile (1 % to 99 %): to -1..1. A channel
    that never changes becomes 0.
    """
    if kind == "mean_std":
        shift, scale = found["mean"], found["std"]
    else:
        low, high = ("min", "max") if kind == "min_max" else ("q01", "q99")
        shift, scale = (found[low] + found[high]) / 2, (found[high] - found[low]) / 2
    usable = np.isfinite(scale) & (scale > 0)
    return np.where(np.isfinite(shift), shift, 0.0), np.where(usable, scale, 1.0)
