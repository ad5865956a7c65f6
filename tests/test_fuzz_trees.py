"""Three hundred harmed recordings of DROID, AgiBot and REASSEMBLE end in a report or our error.

The files follow the documented layouts (no original recording is at hand); what is harmed is
bytes, and, where bytes would only break the file, single datasets: their length, kind, numbers.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demos.errors import DemosError
from demos.importers import Found, Options, Refused, importers, open_source
from demos.store import EpisodeStore

FORMATS = ("droid", "agibot", "reassemble")
BLOCKS, IN_BLOCK = 6, 50
"""Six blocks of fifty a format; one ends long before the watchdog of hanging tests."""


def datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if hasattr(node, "shape") else None)
    return sorted(found)


def odd_array(rng: random.Random, before: Any) -> Any:
    """Return what a broken or foreign writer might have put in place of an array."""
    shape = getattr(before, "shape", ())
    many = np.array(before) if getattr(before, "dtype", None) is not None else np.zeros(shape)
    numbers = many.dtype.kind in "biuf" and many.size
    choices: list[Any] = [
        np.zeros(0),
        np.float64("nan"),
        np.zeros((0, 7)),
        "a text",
        np.array([b"x", b"y"]),
        np.void(b"\0\1ftyp"),
        np.zeros((3, 2, 2, 2)),
        np.array([2**63 - 1, -(2**63)]),
        np.array([2**64 - 1], np.uint64),
        np.array([1 + 2j]),
    ]
    if numbers and many.ndim:
        cast = many.astype(np.float64)
        with np.errstate(all="ignore"):
            choices.append(cast * rng.choice([1e300, -1.0, np.inf, 0.0]))
        choices += [
            many[: rng.randrange(len(many) + 1)],
            np.concatenate([many, many]),
            np.where(np.arange(cast.size).reshape(cast.shape) % 3 == 0, np.nan, cast),
            many[..., None],
            many.reshape(-1),
            many.astype(np.float32) if abs(cast).max() < 1e30 else many,
            np.flip(many, 0),
        ]
    return rng.choice(choices)


def harm_datasets(path: Path, rng: random.Random) -> None:
    with h5py.File(path, "r+") as file:
        for _ in range(rng.randint(1, 3)):
            place = rng.choice(datasets(file))
            before = file[place][()] if file[place].size < 10**7 else None
            del file[place]
            how = rng.randrange(5)
            if how == 0:
                continue
            if how == 1:
                file[place] = h5py.SoftLink("/nowhere")
            elif how == 2:
                file.create_dataset(place, shape=(2**40, 7), chunks=(64, 7), dtype="f8")
            else:
                file[place] = odd_array(rng, before)


def harm_bytes(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if rng.randrange(3) == 0:
        path.write_bytes(content[: rng.randrange(len(content))])
        return
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(len(content))] ^= rng.randint(1, 255)
    path.write_bytes(bytes(content))


def harm(root: Path, rng: random.Random) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = rng.choice(files) if rng.randrange(4) == 0 else rng.choice(list(root.rglob("*.h5")))
    if path.suffix == ".h5" and rng.randrange(3):
        harm_datasets(path, rng)
    else:
        harm_bytes(path, rng)


def outcome(source: Path, name: str, store: Path) -> None:
    """Read a source into a store; whatever is refused comes with a hint."""
    hints = []
    try:
        for item in open_source(source, Options(), format=name):
            if isinstance(item, Found):
                EpisodeStore.create(store).publish(item.draft)
            elif isinstance(item, Refused):
                hints.append(item.hint)
                assert "it cannot be read:" not in item.reason, item.reason
    except DemosError as error:
        hints.append(error.hint)
    assert all(hints)


def survive(name: str, seeds: range, folder: Path) -> None:
    example = importers[name]().write_example(folder / "example")
    for seed in seeds:
        source, store = folder / "source", folder / "store"
        shutil.copytree(example, source)
        harm(source, random.Random(seed))
        outcome(source, name, store)
        shutil.rmtree(source)
        shutil.rmtree(store, ignore_errors=True)


@pytest.mark.parametrize("name", FORMATS)
def test_a_few_harmed_recordings_cause_nothing_but_our_error(name: str, tmp_path: Path) -> None:
    survive(name, range(4), tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("name", FORMATS)
def test_three_hundred_harmed_recordings_cause_nothing_but_our_error(
    name: str, block: int, tmp_path: Path
) -> None:
    survive(name, range(100 + IN_BLOCK * block, 100 + IN_BLOCK * (block + 1)), tmp_path)
