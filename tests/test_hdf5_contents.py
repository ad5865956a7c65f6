"""Bytes and paths read out of foreign HDF5 files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats.hdf5_contents import MOST_NODES, blob, leaves
from tests.own_hdf5 import opened_here  # noqa: F401 (a fixture for all tests here)

CONTENT = bytes(range(256)) + b"\0\0"


def test_datasets_are_listed_by_path_and_groups_are_not(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["b/c/d"], file["b/a"], file["z"] = 1, 2, 3
        file.create_group("empty/group")

    with hdf5.opened(tmp_path / "a.h5") as file:
        assert leaves(file) == ["b/a", "b/c/d", "z"]
        assert leaves(file, "b/c") == ["b/c/d"]
        assert leaves(file, "absent") == []


def test_groups_that_hold_one_another_come_to_an_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in range(20):
            file[f"{name}"] = file["/"]

    with (
        hdf5.opened(tmp_path / "a.h5") as file,
        pytest.raises(ImportFailed, match=f"more than {MOST_NODES}") as caught,
    ):
        leaves(file)

    assert caught.value.hint


@pytest.mark.parametrize(
    "kept",
    [np.void(CONTENT), np.frombuffer(CONTENT, np.uint8), np.frombuffer(CONTENT, np.uint8) + 0],
    ids=["opaque", "bytes", "numbers"],
)
def test_bytes_come_back_whatever_they_were_kept_as(kept: object, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["video"] = kept

    with hdf5.opened(tmp_path / "a.h5") as file:
        assert blob(file, "video") == CONTENT


@pytest.mark.parametrize(
    "kept", [np.array([1, 300]), np.array([0.5]), "text", np.zeros((2, 2), int)]
)
def test_what_is_no_bytes_is_refused(kept: object, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["video"] = kept

    with hdf5.opened(tmp_path / "a.h5") as file, pytest.raises(ImportFailed) as caught:
        blob(file, "video")

    assert caught.value.hint
