"""What happens to any file: bits flip, parts are lost, zeroed, doubled, moved, exchanged."""

from __future__ import annotations

import pickle
from pathlib import Path
from random import Random


def flipped(path: Path, rng: Random, canary: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 2, 8, 40])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def flipped_at_an_end(path: Path, rng: Random, canary: Path) -> None:
    """Flip bits where files describe themselves: in the first and the last pages."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 2, 8, 40])):
        place = rng.randrange(min(8192, len(content)))
        content[rng.choice([place, -1 - place % 4096])] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path: Path, rng: Random, canary: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def zeroed(path: Path, rng: Random, canary: Path) -> None:
    content = bytearray(path.read_bytes())
    start, length = rng.randrange(len(content)), rng.randrange(1, 4096)
    content[start : start + length] = bytes(len(content[start : start + length]))
    path.write_bytes(content)


def filled(path: Path, rng: Random, canary: Path) -> None:
    """Make a length as large as it can be."""
    content = bytearray(path.read_bytes())
    start, length = rng.randrange(len(content)), rng.choice([1, 2, 4, 8])
    content[start : start + length] = b"\xff" * len(content[start : start + length])
    path.write_bytes(content)


def doubled(path: Path, rng: Random, canary: Path) -> None:
    content = bytearray(path.read_bytes())
    start, length = rng.randrange(len(content)), rng.randrange(1, 2000)
    content[start:start] = content[start : start + length]
    path.write_bytes(content)


def moved(path: Path, rng: Random, canary: Path) -> None:
    content = bytearray(path.read_bytes())
    start, length = rng.randrange(len(content)), rng.randrange(1, 200)
    part = content[start : start + length]
    del content[start : start + length]
    place = rng.randrange(len(content) + 1)
    content[place:place] = part
    path.write_bytes(content)


def lost(path: Path, rng: Random, canary: Path) -> None:
    path.unlink()


def emptied(path: Path, rng: Random, canary: Path) -> None:
    path.write_bytes(b"")


def exchanged(path: Path, rng: Random, canary: Path) -> None:
    """Put another file of the folder in its place."""
    others = sorted(each for each in path.parent.rglob("*") if each.is_file() and each != path)
    path.write_bytes(rng.choice(others).read_bytes())


class _Runs:
    """What writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def pickled(path: Path, rng: Random, canary: Path) -> None:
    """Put a pickle in its place that writes a file where none may be."""
    content = pickle.dumps(_Runs(canary.parent / "executed"))
    path.write_bytes(rng.choice([content, b"\x93NUMPY\x01\x00" + content]))


HARMS = (flipped, flipped, flipped_at_an_end, flipped_at_an_end, cut, cut, zeroed, filled,
         doubled, moved, lost, emptied, exchanged, pickled)  # fmt: skip
