"""HDF5 files that a test has just written itself are opened without a process of their own.

What a foreign file may do to that process is tested in `test_hdf5.py` and `fuzz/`.
"""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import pytest

from demos.formats import hdf5


@pytest.fixture(scope="module", autouse=True)
def opened_here() -> Iterator[None]:
    """List a file's datasets in this process; import this fixture to use it."""

    def listed(path: str, *_: int) -> frozenset[str] | str:
        found: list[str] = []
        try:
            with h5py.File(path, "r", locking=False) as file:
                file.visititems(
                    lambda name, node: found.append(name) if hasattr(node, "size") else None
                )
        except OSError as error:
            return str(error)
        return frozenset(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5, "_rehearsal", listed)
        yield
