"""Three hundred harmed recordings of each folder format: our error with a hint, or a report.

Each harm is one that files meet or that somebody means: flipped bits, a cut, a length or shape that
is huge, a bomb, NaN, a name that leads out of the folder. Whatever file is opened is watched.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos.errors import DemosError
from demos.formats import rlds_example, xr_teleoperate_example
from demos.formats.replay_buffer_example import write_umi
from demos.formats.tfrecord import write_records
from demos.importers import import_source
from demos.store import EpisodeStore
from tests.test_rlds import framed

Harm = Callable[[Path, random.Random], None]
HUGE = (2**31 - 1, 2**32, 2**40, 2**62, 10**30, -1)

_opened: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "open" and isinstance(arguments[0], str | bytes | Path):
        _opened.append(str(arguments[0]))


@contextmanager
def watched() -> Iterator[list[str]]:
    """Record the paths of all files that are opened inside; an audit hook cannot be removed."""
    global _watching
    if not getattr(sys, "_demos_watched", False):
        sys.addaudithook(_watch)
        sys._demos_watched = True  # type: ignore[attr-defined]
    _opened.clear()
    _watching = True
    try:
        yield _opened
    finally:
        _watching = False


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def flip(root: Path, rng: random.Random) -> None:
    path = rng.choice(files(root))
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(root: Path, rng: random.Random) -> None:
    path = rng.choice(files(root))
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def lose(root: Path, rng: random.Random) -> None:
    rng.choice(files(root)).unlink()


def link_out(root: Path, rng: random.Random) -> None:
    path = rng.choice(files(root))
    path.unlink()
    path.symlink_to(root.parent / "secret.jpg")


def reword(root: Path, rng: random.Random) -> None:
    """Put something odd in place of one value of a JSON file."""
    path = rng.choice([p for p in files(root) if p.suffix == ".json" or p.name == ".zarray"])
    plain = json.loads(path.read_text())
    place = plain
    while True:
        inside = [k for k in _keys(place) if isinstance(place[k], dict | list) and place[k]]
        if not inside or rng.random() < 0.2:
            break
        place = place[rng.choice(inside)]
    odd: list[Any] = [
        *HUGE,
        None,
        float("nan"),
        float("inf"),
        "",
        "../../secret.jpg",
        [],
        {},
        [[]],
        True,
        "x",
    ]
    place[rng.choice(_keys(place))] = rng.choice(odd)
    path.write_text(json.dumps(plain))


def _keys(place: Any) -> list[Any]:
    return list(place) if isinstance(place, dict) else list(range(len(place)))


def name_outside(root: Path, rng: random.Random) -> None:
    """Let data.json name files that are not its own."""
    path = root / "episode_0000/data.json"
    plain = json.loads(path.read_text())
    for row in plain["data"]:
        if rng.random() < 0.7:
            row[rng.choice(["colors", "depths"])] = {
                rng.choice(["color_0", "../x", "a/b", "color_99999999999", "\0"]): rng.choice(
                    ["../../secret.jpg", str(root.parent / "secret.jpg"), "/etc/passwd",
                     "colors/../../../secret.jpg", "/dev/zero", "/dev/stdin", "colors"]
                )
            }  # fmt: skip
    path.write_text(json.dumps(plain))


def claim_length(root: Path, rng: random.Random) -> None:
    """Frame a record with a right checksum over a wrong length."""
    path = next(p for p in files(root) if ".tfrecord" in p.name)
    first = rlds_example.record(0)
    huge = [n for n in HUGE if 0 < n < 2**64]
    path.write_bytes(framed(first) + framed(first, rng.choice(huge)))


def rewrite_record(root: Path, rng: random.Random) -> None:
    """Flip bits within a record whose checksum is right again."""
    path = next(p for p in files(root) if ".tfrecord" in p.name)
    content = bytearray(rlds_example.record(0))
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.unlink()
    write_records(path, [bytes(content), rlds_example.record(1)])


def claim_field(root: Path, rng: random.Random) -> None:
    """Write an Example whose inner lengths are larger than it."""
    path = next(p for p in files(root) if ".tfrecord" in p.name)
    length = rng.choice([2**20, 2**31, 2**35, 2**62])
    inner = b"\x0a" + _varint(length) + b"\x0a\x03abc"
    path.unlink()
    write_records(path, [inner, b"\x0a" + _varint(len(inner)) + inner])


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def claim_shape(root: Path, rng: random.Random) -> None:
    path = rng.choice([p for p in files(root) if p.name == ".zarray"])
    plain = json.loads(path.read_text())
    key = rng.choice(["shape", "chunks"])
    plain[key][rng.randrange(len(plain[key]))] = rng.choice(HUGE)
    path.write_text(json.dumps(plain))


def bomb(root: Path, rng: random.Random) -> None:
    """Put a chunk that unpacks to 50 MB in place of one, with the codec to match."""
    array = rng.choice([p for p in (root / "data").iterdir() if p.is_dir()])
    plain = json.loads((array / ".zarray").read_text())
    plain["compressor"] = {"id": "zlib", "level": 9}
    (array / ".zarray").write_text(json.dumps(plain))
    for chunk in array.iterdir():
        if chunk.name != ".zarray":
            chunk.write_bytes(zlib.compress(bytes(50_000_000), 1))


def code(root: Path, rng: random.Random) -> None:
    """Name a codec that runs code, and give it a pickle that would write a file."""
    array = rng.choice([p for p in (root / "data").iterdir() if p.is_dir()])
    plain = json.loads((array / ".zarray").read_text())
    plain[rng.choice(["filters", "compressor"])] = rng.choice(
        [{"id": "pickle"}, [{"id": "pickle"}], [{"id": "json2"}], {"id": "vlen-bytes"}]
    )
    if rng.random() < 0.5:
        plain["dtype"] = "|O"
    (array / ".zarray").write_text(json.dumps(plain))
    target = str(root.parent / "executed")
    pickled = b"cbuiltins\nopen\n(V" + target.encode() + b"\nVw\ntR."
    for chunk in array.iterdir():
        if chunk.name != ".zarray":
            chunk.write_bytes(pickled)


def blosc_head(root: Path, rng: random.Random) -> None:
    chunks = [p for p in files(root) if p.parent.name.startswith("robot") and p.name[0] != "."]
    path = rng.choice(chunks)
    content = bytearray(path.read_bytes().ljust(16, b"\0"))
    at = rng.choice([4, 8, 12])
    content[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 20]))
    path.write_bytes(content)


COMMON: tuple[Harm, ...] = (flip, cut, lose, link_out, reword)
HARMS: dict[str, tuple[Callable[[Path], Path], tuple[Harm, ...]]] = {
    "xr_teleoperate": (
        lambda folder: xr_teleoperate_example.write_task(folder / "task"),
        (*COMMON, reword, name_outside),
    ),
    "rlds": (
        lambda folder: rlds_example.write_dataset(folder / "set" / "1.0.0"),
        (*COMMON, claim_length, rewrite_record, rewrite_record, claim_field),
    ),
    "umi": (
        lambda folder: write_umi(folder / "cup.zarr"),
        (*COMMON, reword, claim_shape, bomb, code, blosc_head),
    ),
}


def survives(source: Path, folder: Path, format: str) -> None:
    """Import; nothing but our error with a hint, nothing of the secret, nothing executed."""
    with watched() as opened:
        store = EpisodeStore.create(folder / "store")
        try:
            report = import_source(source, store, format=format)
        except DemosError as error:
            hints = [error.hint]
        else:
            hints = [hint for _, _, hint in report.skipped]
    assert all(hints)
    assert any(str(store.root) in path for path in opened)  # somebody is watching
    assert not [path for path in opened if "secret" in path or "passwd" in path or "/dev/z" in path]
    assert not (folder / "executed").exists()
    for path in store.root.rglob("*.mp4"):
        assert b"SECRET" not in path.read_bytes()


@pytest.mark.fuzz
@pytest.mark.parametrize("format", list(HARMS))
def test_300_harmed_recordings_cause_nothing_but_our_error(format: str, tmp_path: Path) -> None:
    build, harms = HARMS[format]
    secret = xr_teleoperate_example.jpeg(np.full((48, 64, 3), 90, np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for seed in range(300):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "secret.jpg").write_bytes(secret[:-2] + b"SECRET" + secret[-2:])
        source = build(folder)
        for _ in range(rng.randint(1, 3)):
            try:
                rng.choice(harms)(source, rng)
            except (ValueError, IndexError, KeyError, TypeError, OSError, StopIteration):
                continue  # harmed too much already for this harm
        survives(source, folder, format)

    # nothing was allocated on a stranger's word
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


@pytest.mark.fuzz
def test_100_harmed_zips_cause_nothing_but_our_error(tmp_path: Path) -> None:
    whole = write_umi(tmp_path / "whole.zarr")

    for seed in range(100):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = folder / "cup.zarr.zip"
        with zipfile.ZipFile(
            path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        ) as z:
            for each in files(whole):
                z.write(each, each.relative_to(whole).as_posix())
            if rng.random() < 0.2:
                z.writestr(rng.choice(["../secret", "/secret", "a/../../secret"]), b"x")
        content = bytearray(path.read_bytes())
        for _ in range(rng.randint(0, 6)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content[: rng.choice([len(content), rng.randrange(1, len(content))])])

        survives(path, folder, "umi")
