"""What happens to HDF5: other kinds and shapes, links that lead out, and bombs of zeros."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

BOMB_BYTES = 3 * 2**30


def _datasets(file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if hasattr(node, "shape") else None)
    return sorted(found)


def _nodes(file: Any) -> list[str]:
    found = ["/"]
    file.visititems(lambda name, node: found.append(name))
    return found


def other_dtype(path: Path, rng: Random, canary: Path) -> None:
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        shape = file[name].shape
        del file[name]
        kind = rng.choice(["S3", "c8", "?", ">i2", "f2", "f8", "u1", "V4", "text", "vlen", "enum"])
        if kind == "text":
            file[name] = np.full(shape[:1], "x", dtype=h5py.string_dtype())
        elif kind == "vlen":
            made = file.create_dataset(name, shape[:1], dtype=h5py.vlen_dtype(np.int32))
            made[0] = np.arange(3)
        elif kind == "enum":
            file.create_dataset(name, shape, h5py.enum_dtype({"a": 0, "b": 1}, "i1"))
        else:
            file[name] = np.zeros(shape, dtype=kind)


def other_shape(path: Path, rng: Random, canary: Path) -> None:
    """Declare another shape, up to far more than there is: nothing of it is in the file."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        dtype = file[name].dtype
        del file[name]
        shape = rng.choice(
            [(), (0,), (0, 14), (1, 1), (12, 0), (3, 14), (10**9, 14), (12, 10**8), (12, 2, 7),
             (2**40, 2**20), (12, 48, 64, 4), (10**6, 480, 640, 3), (1,) * 20, (8, 2_000_000)]
        )  # fmt: skip
        large = int(np.prod(shape, dtype=object)) > 10**6
        chunks = tuple(min(n, 64) for n in shape) or None if large else None
        file.create_dataset(name, shape, dtype, chunks=chunks)


def other_numbers(path: Path, rng: Random, canary: Path) -> None:
    """Put what a broken writer may have put in place of one to three arrays."""
    with h5py.File(path, "r+") as file:
        for _ in range(rng.randint(1, 3)):
            name = rng.choice(_datasets(file))
            before = file[name][()] if file[name].size < 10**7 else None
            del file[name]
            file[name] = _odd(before, rng)


def _odd(before: Any, rng: Random) -> Any:
    choices: list[Any] = [
        np.zeros(0), np.float64("nan"), np.zeros((0, 7)), "a text", np.array([b"x", b"y"]),
        np.void(b"\0\1ftyp"), np.zeros((3, 2, 2, 2)), np.array([2**63 - 1, -(2**63)]),
        np.array([2**64 - 1], np.uint64), np.array([1 + 2j]),
    ]  # fmt: skip
    many = np.array(before) if getattr(before, "dtype", None) is not None else np.zeros(0)
    if many.dtype.kind in "biuf" and many.size and many.ndim:
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


def other_attributes(path: Path, rng: Random, canary: Path) -> None:
    values: list[Any] = [
        b"\xff\xfe", "x" * 5000, 7, -1.5, float("nan"), np.zeros((2, 2)), ["a", "b"], "{", "[]",
        '{"env_kwargs": 3, "env_name": [1]}', h5py.Empty("f4"), np.array([1j]), True, np.int64(-1),
        '{"env_kwargs": {"robots": {"a": 1}, "control_freq": -5, "reward_shaping": "x"}}',
        '{"a": NaN, "b": 1e999}', "../../canary.json", "/etc/passwd", 2**62, 1e300,
    ]  # fmt: skip
    with h5py.File(path, "r+") as file:
        for _ in range(rng.randrange(1, 5)):
            node = file[rng.choice(_nodes(file))]
            known = [*node.attrs, "sim", "fps", "description", "embodiment", "env_args", "outcome",
                     "success", "num_samples", "model_file", "total", "stream", "stream_info",
                     "task", "ep_meta", "date"]  # fmt: skip
            node.attrs[rng.choice(known)] = rng.choice(values)


def lacking(path: Path, rng: Random, canary: Path) -> None:
    with h5py.File(path, "r+") as file:
        for _ in range(rng.randint(1, 2)):
            del file[rng.choice([name for name in _nodes(file) if name != "/"])]


def swapped(path: Path, rng: Random, canary: Path) -> None:
    """Swap two datasets, each of which is fine where it was."""
    with h5py.File(path, "r+") as file:
        one, other = rng.sample(_datasets(file), 2)
        file.move(one, "aside")
        file.move(other, one)
        file.move("aside", other)


def led_elsewhere(path: Path, rng: Random, canary: Path) -> None:
    """Replace a node by a link: to itself, to a group above, to another file."""
    with h5py.File(path, "r+") as file:
        name = rng.choice([name for name in _nodes(file) if name != "/"])
        data = rng.choice(_datasets(file))
        shape, dtype = file[data].shape, file[data].dtype
        ways: list[Any] = [
            h5py.SoftLink("/"),
            h5py.SoftLink(f"/{name}"),
            h5py.SoftLink("/nowhere"),
            h5py.ExternalLink("/etc/passwd", "/"),
            h5py.ExternalLink(path.name, "/"),
            h5py.ExternalLink(str(canary), name),
            h5py.ExternalLink(f"../{canary.name}", name),
            h5py.ExternalLink(f"../../{canary.name}", name),
        ]
        how = rng.randrange(len(ways) + 3)
        if how < len(ways):
            del file[name]
            file[name] = ways[how]
            return
        del file[data]
        if how == len(ways):
            layout = h5py.VirtualLayout(shape or (1,), dtype)
            layout[...] = h5py.VirtualSource(str(canary), data, shape or (1,), dtype)
            file.create_virtual_dataset(data, layout)
        elif how == len(ways) + 1:
            size = int(np.prod(shape or (1,))) * dtype.itemsize
            outer = [(rng.choice([str(canary), "/etc/passwd", "/dev/zero"]), 0, size)]
            file.create_dataset(data, shape or (1,), dtype, external=outer)
        else:
            for number in range(20):
                file[f"again_{number}"] = file["/"]


def zeros(path: Path, rng: Random, canary: Path) -> None:
    """Put gigabytes of zeros that are in the file, packed, in place of one dataset."""
    with h5py.File(path, "r+") as file:
        name = rng.choice(_datasets(file))
        _put_zeros(file, name, rng, BOMB_BYTES)


def zeros_everywhere(path: Path, rng: Random, canary: Path) -> None:
    """Let every dataset be large, none of them too large by itself."""
    with h5py.File(path, "r+") as file:
        each = rng.choice([50_000_000, 120_000_000, 500_000_000])
        for name in _datasets(file)[:20]:
            _put_zeros(file, name, rng, each)


def zeros_in_many(path: Path, rng: Random, canary: Path) -> None:
    """Add datasets that nobody asked for, which are as long as one that is wanted."""
    with h5py.File(path, "r+") as file:
        first = rng.choice(_datasets(file))
        parent = file[first].parent.name
        rows = (file[first].shape or (8,))[0]
        width = 100_000_000 // (8 * max(rows, 1))
        for number in range(20):
            name = f"{parent}/more_{number}"
            with_ = file.create_dataset(name, (rows, width), "f8", chunks=(1, width),
                                        compression="gzip")  # fmt: skip
            _fill(with_, 8 * width, rows)


def _put_zeros(file: Any, name: str, rng: Random, size: int) -> None:
    before = file[name]
    shape, dtype = before.shape, before.dtype
    if dtype.kind not in "biuf" or not before.size:
        dtype, shape = np.dtype("f8"), (8, 2)
    rows, *inner = shape or (1,)
    del file[name]
    row = max(int(np.prod(inner)), 1) * dtype.itemsize
    if rng.random() < 0.5 or not inner:
        rows = max(size // row, 1)
        many = max(2**24 // row, 1)
        chunks = (min(many, rows), *inner)
        chunk = chunks[0] * row
    else:
        width = size // dtype.itemsize // max(rows * int(np.prod(inner[1:])), 1)
        inner = [max(width, 1), *inner[1:]]
        chunks = (1, *inner)
        chunk = int(np.prod(inner)) * dtype.itemsize
    made = file.create_dataset(name, (rows, *inner), dtype, chunks=chunks, compression="gzip")
    _fill(made, chunk, -(-rows // chunks[0]))


def _fill(made: Any, chunk: int, count: int) -> None:
    packed = _packed_zeros(chunk)
    step = made.chunks[0]
    rest = (0,) * (made.ndim - 1)
    for number in range(count):
        made.id.write_direct_chunk((number * step, *rest), packed)


@cache
def _packed_zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 1)


_USUAL = (
    *[other_dtype, other_shape, other_attributes, lacking, swapped] * 2,
    *[other_numbers, led_elsewhere] * 4,
)
HARMS: tuple[Callable[[Path, Random, Path], None], ...] = (
    *_USUAL, *_USUAL, zeros, zeros_everywhere, zeros_in_many,
)  # fmt: skip
