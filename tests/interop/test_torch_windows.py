"""Windows feed PyTorch's own DataLoader: as tensors, in batches, from workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

import demos
from demos.loader import Windows
from tests import export_store

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("made") / "lab")


def windows(store: demos.Store, **more: Any) -> Windows:
    return store.select("").windows(
        rate_hz=30,
        observe={"joint_position": [-1, 0], "image.egocentric": [0]},
        act={"joint_command": range(4)},
        **more,
    )


def test_tensors_are_the_arrays_with_colour_first(store: demos.Store) -> None:
    arrays, tensors = windows(store)[9], windows(store, format="torch")[9]

    assert arrays.keys() == tensors.keys()
    image = tensors["image.egocentric"]
    assert (tuple(image.shape), image.dtype) == ((1, 3, 48, 64), torch.uint8)
    assert np.array_equal(image.permute(0, 2, 3, 1), arrays["image.egocentric"])
    assert tensors["joint_position"].dtype == torch.float32
    assert tensors["joint_position.is_pad"].dtype == torch.bool
    assert np.array_equal(tensors["joint_command"], arrays["joint_command"])
    assert int(tensors["time_ns"]) == int(arrays["time_ns"])
    assert tensors["episode"] == arrays["episode"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("format", ["numpy", "torch"])
def test_a_loader_collates_windows(format: str, workers: int, store: demos.Store) -> None:
    found = windows(store, format=format)
    sampler = found.sampler(seed=3)
    order = list(found.sampler(seed=3))[:8]

    loader = DataLoader(found, batch_size=8, sampler=sampler, num_workers=workers)
    batch = next(iter(loader))

    expected = windows(store)[order]
    assert torch.equal(batch["joint_position"], torch.from_numpy(expected["joint_position"]))
    assert batch["episode"] == expected["episode"]
    assert batch["image.egocentric"].shape[0] == 8
    assert len(loader) == -(-len(found) // 8)


@pytest.mark.parametrize("order", ["random", "local"])
def test_whole_batches_are_read_at_once(order: str, store: demos.Store) -> None:
    found = windows(store, format="torch", size=32)
    batches = BatchSampler(
        found.sampler(seed=3, local=order == "local"), batch_size=8, drop_last=True
    )

    loader = DataLoader(found, sampler=batches, batch_size=None, num_workers=2)
    seen = list(loader)

    assert len(seen) == len(found) // 8
    assert seen[0]["image.egocentric"].shape == (8, 1, 3, 32, 32)
    drawn = [(e, int(t)) for b in seen for e, t in zip(b["episode"], b["time_ns"], strict=True)]
    assert len(set(drawn)) == len(drawn)
