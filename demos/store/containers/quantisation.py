"""Readings as whole counts of the sensor's least significant bit, where that is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from demos.model import Values

WIDTHS = (np.int16, np.int32, np.int64)
LARGEST = 2**53


def counts(values: Values, quantum: tuple[float, ...] | None) -> Values | None:
    """Return (n, C) integers k with dtype(k * quantum) equal to `values` bit for bit, or None.

    None where a channel's quantum is not declared, and where one reading is not an exact
    multiple: NaN, infinity, -0.0, or a value computed in another order of rounding.
    """
    if quantum is None or values.dtype.kind != "f" or len(quantum) != values.shape[1]:
        return None
    steps = np.asarray(quantum, np.float64)
    if not values.size or not (np.isfinite(steps).all() and (steps > 0).all()):
        return None
    with np.errstate(all="ignore"):
        scaled = np.rint(values.astype(np.float64) / steps)
    if not np.isfinite(scaled).all() or np.abs(scaled).max() > LARGEST:
        return None
    low, high = scaled.min(), scaled.max()
    width = next(w for w in WIDTHS if np.iinfo(w).min <= low and high <= np.iinfo(w).max)
    whole = scaled.astype(width)
    back = values_of(whole.T, quantum, values.dtype).T
    bits = np.dtype(f"u{values.dtype.itemsize}")
    same = np.array_equal(
        np.ascontiguousarray(back).view(bits),
        np.ascontiguousarray(values, dtype=back.dtype).view(bits),
    )
    return whole if same else None


def values_of(
    whole: Values, quantum: tuple[float, ...] | None, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Turn counts (C, n) into readings (C, n): the product in float64, rounded once to `dtype`."""
    if quantum is None:
        raise TypeError("integer counts without a declared quantum")
    steps = np.asarray(quantum, np.float64)[:, None]
    readings = np.empty(whole.shape, dtype.newbyteorder("="))
    with np.errstate(over="ignore"):
        np.multiply(whole, steps, out=readings, dtype=np.float64, casting="unsafe")
    return readings
