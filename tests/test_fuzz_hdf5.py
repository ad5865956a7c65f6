"""Whatever happened to an HDF5 recording, an import ends in a report or in our own error."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from demos.errors import DemosError
from demos.formats import robomimic_example
from demos.importers import import_source
from demos.store import EpisodeStore
from tests import test_aloha_import, test_television_import

Rng = random.Random
SOURCES: dict[str, tuple[Callable[[Path], Path], ...]] = {
    "aloha": (
        lambda path: test_aloha_import.record(path, mobile=True),
        lambda path: test_aloha_import.record(path, compress=True),
    ),
    "television": (test_television_import.raw, test_television_import.processed),
    "robomimic": (robomimic_example.write,),
}


def datasets(file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if hasattr(node, "shape") else None)
    return found


def groups(file: Any) -> list[str]:
    found = ["/"]
    file.visititems(lambda name, node: found.append(name))
    return found


def flipped(path: Path, rng: Rng) -> None:
    content = bytearray(path.read_bytes())
    # what describes the data lies in the first and the last pages, and is what can harm
    for _ in range(rng.choice([1, 2, 8, 40])):
        ends = (rng.randrange(min(8192, len(content))), len(content) - 1 - rng.randrange(4096))
        place = rng.choice([*ends, rng.randrange(len(content))])
        content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut_short(path: Path, rng: Rng) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def other_dtype(path: Path, rng: Rng) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(datasets(file))
        shape = file[name].shape
        del file[name]
        kind = rng.choice(["S3", "c8", "?", ">i2", "f2", "f8", "u1", "V4", "text", "vlen"])
        if kind == "text":
            file[name] = np.full(shape[:1], "x", dtype=h5py.string_dtype())
        elif kind == "vlen":
            made = file.create_dataset(name, shape[:1], dtype=h5py.vlen_dtype(np.int32))
            made[0] = np.arange(3)
        else:
            file[name] = np.zeros(shape, dtype=kind)


def other_shape(path: Path, rng: Rng) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(datasets(file))
        dtype = file[name].dtype
        del file[name]
        shape = rng.choice(
            [(), (0,), (0, 14), (1, 1), (12, 0), (3, 14), (10**9, 14), (12, 10**8), (12, 2, 7),
             (2**40, 2**20), (12, 48, 64, 4), (10**6, 480, 640, 3), (1,) * 20]
        )  # fmt: skip
        large = int(np.prod(shape, dtype=object)) > 10**6
        file.create_dataset(name, shape, dtype, chunks=tuple(min(n, 64) for n in shape) or None
                            if large else None)  # fmt: skip


def other_attributes(path: Path, rng: Rng) -> None:
    values: list[Any] = [
        b"\xff\xfe", "x" * 5000, 7, -1.5, float("nan"), np.zeros((2, 2)), ["a", "b"], "{", "[]",
        '{"env_kwargs": 3, "env_name": [1]}', h5py.Empty("f4"), np.array([1j]), True, np.int64(-1),
        '{"env_kwargs": {"robots": {"a": 1}, "control_freq": -5, "reward_shaping": "x"}}',
    ]  # fmt: skip
    with h5py.File(path, "r+") as file:
        for _ in range(rng.randrange(1, 5)):
            node = file[rng.choice(groups(file))]
            known = [*node.attrs, "sim", "fps", "description", "embodiment", "env_args", "outcome",
                     "success", "num_samples", "model_file", "total", "stream", "stream_info",
                     "task", "ep_meta", "date"]  # fmt: skip
            node.attrs[rng.choice(known)] = rng.choice(values)


def moved(path: Path, rng: Rng) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice([name for name in groups(file) if name != "/"])
        del file[name]
        file[name] = rng.choice(
            [
                h5py.SoftLink("/"),
                h5py.SoftLink(f"/{name}"),
                h5py.ExternalLink("/etc/passwd", "/"),
                h5py.ExternalLink(path.name, "/"),
                np.void(b"\0" * 40),
                "text",
            ]
        )


HARMS = (flipped, cut_short, other_dtype, other_shape, other_attributes, moved)


def survives(name: str, seed: int, folder: Path, harms: tuple[Any, ...] = HARMS) -> None:
    """Harm one file and import it, both by looking and by name."""
    rng = Rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "source").mkdir(parents=True)
    path = rng.choice(SOURCES[name])(folder / "source/episode_0.hdf5")
    harm = rng.choice(harms)
    harm(path, rng)
    store = EpisodeStore.create(folder / "store")
    source = path if name == "robomimic" else path.parent
    for format in (name, None):
        try:
            report = import_source(source, store, format=format)
        except DemosError as error:
            hints = [error.hint]
        else:
            hints = [hint for _, _, hint in report.skipped]
        assert all(hints), f"{name} {harm.__name__} {seed}"


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_file_causes_nothing_but_our_error(name: str, harm: Any, tmp_path: Path) -> None:
    survives(name, 1, tmp_path / "x", (harm,))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
@pytest.mark.parametrize("name", SOURCES)
def test_three_hundred_harmed_files_cause_nothing_but_our_error(
    name: str, block: int, tmp_path: Path
) -> None:
    for seed in range(50 * block, 50 * block + 50):
        survives(name, seed, tmp_path / "x")
