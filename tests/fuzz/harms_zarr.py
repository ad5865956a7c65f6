"""What happens to arrays of Zarr version 2, in a folder or a zip: shapes, codecs, bombs, names."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz import harms_words

HUGE = (2**31 - 1, 2**32, 2**40, 2**62, 10**30, -1, 0, 1, 100_000_000)


def _array(path: Path) -> Path:
    """Return the description of the array that a file is part of."""
    return path if path.name == ".zarray" else path.parent / ".zarray"


def reworded(path: Path, rng: Random, canary: Path) -> None:
    harms_words.reworded(_array(path), rng, canary)


def claimed(path: Path, rng: Random, canary: Path) -> None:
    """Declare a huge shape, or huge chunks, of which there is nothing."""
    place = _array(path)
    plain = json.loads(place.read_text())
    for key in rng.choice([["shape"], ["chunks"], ["shape", "chunks"]]):
        plain[key][rng.randrange(len(plain[key]))] = rng.choice(HUGE)
    place.write_text(json.dumps(plain))


def unpacked(path: Path, rng: Random, canary: Path) -> None:
    """Put chunks that unpack to very much in place of one array's, the codec to match."""
    place = _array(path)
    plain = json.loads(place.read_text())
    plain["compressor"] = {"id": rng.choice(["zlib", "gzip"]), "level": 9}
    size = rng.choice([50_000_000, 250_000_000, 2_000_000_000])
    if rng.random() < 0.6:  # what the chunk says of itself
        plain["dtype"] = "|u1"
        plain["chunks"] = [size, *([1] * (len(plain["chunks"]) - 1))]
        plain["shape"] = [size * rng.choice([1, 1, 4]), *plain["shape"][1:]]
    place.write_text(json.dumps(plain))
    content = deflated(size, gzip=plain["compressor"]["id"] == "gzip")
    for chunk in place.parent.iterdir():
        if chunk.name != ".zarray":
            chunk.write_bytes(content)


def coded(path: Path, rng: Random, canary: Path) -> None:
    """Name a codec that runs code, and give it a pickle that would write a file."""
    place = _array(path)
    plain = json.loads(place.read_text())
    plain[rng.choice(["filters", "compressor"])] = rng.choice(
        [{"id": "pickle"}, [{"id": "pickle"}], [{"id": "json2"}], {"id": "vlen-bytes"}]
    )
    if rng.random() < 0.5:
        plain["dtype"] = "|O"
    place.write_text(json.dumps(plain))
    target = str(canary.parent / "executed")
    pickled = b"cbuiltins\nopen\n(V" + target.encode() + b"\nVw\ntR."
    for chunk in place.parent.iterdir():
        if chunk.name != ".zarray":
            chunk.write_bytes(pickled)


def headed(path: Path, rng: Random, canary: Path) -> None:
    """Change what Blosc says of sizes in the head of a chunk."""
    chunks = sorted(each for each in _array(path).parent.iterdir() if each.name != ".zarray")
    chosen = rng.choice(chunks)
    content = bytearray(chosen.read_bytes().ljust(16, b"\0"))
    at = rng.choice([4, 8, 12])
    content[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 20]))
    chosen.write_bytes(content)


def linked_out(path: Path, rng: Random, canary: Path) -> None:
    path.unlink()
    path.symlink_to(next(iter(sorted(canary.parent.glob("canary.*")))))


def deflated(size: int, *, gzip: bool = False, raw: bool = False) -> bytes:
    """Pack zeros as zlib, gzip or raw deflate would, without packing all of them."""
    body = _block() * (size // 2**20) + b"\x03\x00"
    if raw:
        return body
    if gzip:
        return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + struct.pack("<II", 0, size % 2**32)
    return b"\x78\x9c" + body + b"\0\0\0\1"


@cache
def _block() -> bytes:
    """Deflate a megabyte of zeros so that it can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)


def member_unpacked(path: Path, rng: Random, canary: Path) -> None:
    """Let one member of a zip unpack to gigabytes, whatever it says."""
    content = _members(path)
    name = rng.choice(sorted(content))
    size = rng.choice([50_000_000, 2_000_000_000, 3_000_000_000])
    packed, said = deflated(size, raw=True), rng.choice([size, 100, len(content[name])])
    _write(path, {**content, name: b""}, {name: (packed, said)})


def member_named_outside(path: Path, rng: Random, canary: Path) -> None:
    """Give a member a name that leads out of the zip."""
    content = _members(path)
    outside = ["../canary", "/canary", "a/../../canary", "..\\canary", "C:/canary", "data/../../x"]
    if rng.random() < 0.5:
        content[rng.choice(outside)] = b"x"
    else:
        name = rng.choice(sorted(content))
        content[rng.choice([f"../{name}", f"/{name}", f"data/../{name}"])] = content.pop(name)
    _write(path, content)


def member_harmed(path: Path, rng: Random, canary: Path) -> None:
    """Unpack a zip, harm one array in it, pack it again."""
    content = _members(path)
    name = rng.choice([each for each in sorted(content) if each.endswith(".zarray")])
    plain = json.loads(content[name])
    key = rng.choice(sorted(plain))
    odd = [*harms_words.ODD, *harms_words.outside(canary, path)]
    if key in ("shape", "chunks") and rng.random() < 0.7:
        plain[key][rng.randrange(len(plain[key]))] = rng.choice(HUGE)
    else:
        plain[key] = rng.choice(odd)
    content[name] = json.dumps(plain).encode()
    _write(path, content)


def member_twice(path: Path, rng: Random, canary: Path) -> None:
    content = _members(path)
    name = rng.choice(sorted(content))
    _write(path, content)
    packed = content[name]
    with zipfile.ZipFile(path, "a") as archive:
        archive.start_dir = archive.fp.tell() if archive.fp else 0
        archive.NameToInfo.pop(name, None)
        archive.writestr(name, packed[::-1])


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(
    path: Path, content: dict[str, bytes], packed: dict[str, tuple[bytes, int]] | None = None
) -> None:
    """Write a zip; of `packed` members the bytes are given as they lie, and the size they say."""
    rows, body = [], bytearray()
    for name, plain in content.items():
        data, said = (packed or {}).get(name, (plain, len(plain)))
        method = 8 if packed and name in packed else 0
        crc = zlib.crc32(plain)
        encoded = name.encode()
        sizes = struct.pack("<IIIHH", crc, len(data), said % 2**32, len(encoded), 0)
        rows.append((struct.pack("<HHHHHH", 20, 20, 0, method, 0, 33), sizes, encoded, len(body)))
        body += b"PK\3\4" + struct.pack("<HHHHH", 20, 0, method, 0, 33) + sizes + encoded + data
    start = len(body)
    for head, sizes, encoded, place in rows:
        body += b"PK\1\2" + head + sizes + struct.pack("<HHHII", 0, 0, 0, 0, place) + encoded
    end = struct.pack("<HHHHIIH", 0, 0, len(rows), len(rows), len(body) - start, start, 0)
    path.write_bytes(bytes(body) + b"PK\5\6" + end)


Harms = tuple[Callable[[Path, Random, Path], None], ...]
FOLDER: Harms = (reworded, reworded, reworded, claimed, claimed, unpacked, unpacked, coded, headed,
                 linked_out)  # fmt: skip
ZIP: Harms = (member_unpacked, member_unpacked, member_named_outside, member_harmed, member_harmed,
              member_harmed, member_twice)  # fmt: skip
