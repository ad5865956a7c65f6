"""What may have happened to a file, by its kind: every harm takes a path, chance, and a canary.

A canary is a whole file of the same kind outside of the recording: what leads there is a
harm, what opens it a defect. A harm that does not fit raises one of `MISFIT` and nothing happened.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz import (
    harms_bytes,
    harms_hdf5,
    harms_pictures,
    harms_records,
    harms_tables,
    harms_words,
    harms_zarr,
)

Harm = Callable[[Path, Random, Path], None]
MISFIT = (LookupError, OSError, RuntimeError, TypeError, ValueError, StopIteration, sqlite3.Error,
          struct.error, zlib.error)  # fmt: skip

KINDS: dict[str, tuple[Harm, ...]] = {
    "words": harms_words.HARMS,
    "hdf5": harms_hdf5.HARMS,
    "zarr": harms_zarr.FOLDER,
    "zip": harms_zarr.ZIP,
    "tfrecord": harms_records.TFRECORD,
    "mcap": harms_records.MCAP,
    "bag": harms_records.BAG,
    "db3": harms_tables.SQLITE,
    "parquet": harms_tables.PARQUET,
    "mp4": harms_pictures.MP4,
    "picture": harms_pictures.PICTURE,
}
_BEGINS = {
    b"\x89HDF": "hdf5",
    b"PK\x03\x04": "zip",
    b"\x89MCAP": "mcap",
    b"#ROSBAG": "bag",
    b"SQLite f": "db3",
    b"PAR1": "parquet",
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
}
_WORDS = {".json", ".jsonl", ".yaml", ".yml"}


def kind_of(path: Path) -> str:
    """Say what a file is by its name and first bytes; empty for whatever else."""
    if path.name == ".zarray" or ".zarr" in path.parent.as_posix():
        return "zarr"
    if ".tfrecord" in path.name:
        return "tfrecord"
    if path.suffix in _WORDS:
        return "words"
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"ftyp":
        return "mp4"
    return next((kind for begin, kind in _BEGINS.items() if head.startswith(begin)), "")


def harm(root: Path, rng: Random, canaries: Path) -> list[str]:
    """Harm a recording in one to three ways and say which: `name of the harm path`.

    Each file is harmed once: most harms need a whole one.
    """
    done: list[str] = []
    broken: list[Path] = []
    many = rng.choice([1, 1, 1, 2, 3])
    for _ in range(100):
        if len(done) == many:
            break
        whole = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        files = [path for path in whole if path not in broken]
        if not files:
            break
        path = rng.choice(files)
        kind = kind_of(path)
        canary = canaries / f"canary{path.suffix}"
        chosen: Harm
        if kind in KINDS and rng.random() < 0.7:
            chosen = rng.choice(KINDS[kind])
        else:
            chosen = rng.choice(harms_bytes.HARMS)
        broken.append(path)
        try:
            chosen(path, rng, canary)
        except MISFIT:
            continue
        room = chosen.__module__.rpartition("_")[2]
        done.append(f"{room}.{chosen.__name__} {path.relative_to(root).as_posix()}")
    return done
