"""What the values of a stream are like over the steps that are trained on, for normalisation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from demos.loader.cache import Cache
from demos.loader.choices import Normalisation
from demos.loader.views import View

Floats = npt.NDArray[np.float64]
Statistics = dict[str, Floats]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
IMAGES = 100
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

    With `images`, which decodes those of some rows, the colours of `IMAGES` images spread evenly
    over the rows are described, of 0..1.
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
    """Count how often each of 256 values is there: all else follows from that."""
    counts = np.zeros((3, 256), np.int64)
    if len(rows):
        for row in rows[np.unique(np.linspace(0, len(rows) - 1, IMAGES).astype(np.int64))]:
            colours = images(np.array([row])).reshape(-1, 3)
            counts += [np.bincount(colours[:, c], minlength=256) for c in range(3)]
    return np.array([_counted(each) for each in counts]).T


def _counted(counts: npt.NDArray[np.int64]) -> list[float]:
    """Describe values of which value/255 is there `counts[value]` times."""
    total = int(counts.sum())
    if not total:
        return [0.0] + [np.nan] * (len(NAMES) - 1)
    values, below = np.arange(256) / 255, np.cumsum(counts)
    mean = float(values @ counts) / total
    there = values[counts > 0]
    spread = float(np.sqrt((values - mean) ** 2 @ counts / total))
    quantiles = []
    for share in QUANTILES.values():
        low = int(place := share * (total - 1))
        first, second = values[np.searchsorted(below, [low, min(low + 1, total - 1)], "right")]
        quantiles.append(float(first + (second - first) * (place - low)))
    return [float(total), mean, spread, there[0], there[-1], *quantiles]


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
