"""The ledgers: one line for every file published or withdrawn, each chained to the one before.

`ledger/<writer>.jsonl` is only appended to, under a lock; `previous` is the sha256 of the line
before. `ledger/<writer>.head` names the last line, so that lines cut off at the end are missed.
The head may lag behind after a crash, never run ahead.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from google_crc32c import value as crc32c
from pydantic import ValidationError

from demos.errors import Damaged
from demos.model import LedgerEntry
from demos.provenance import now, sha256_bytes
from demos.store import disk

GENESIS = "0" * 64
_HEAD = re.compile(rb"(\d{20}) ([0-9a-f]{64}) ([0-9a-f]{8})\n")


@dataclass(frozen=True, slots=True)
class Fact:
    """A file that was published or withdrawn; `path` from the store's root."""

    path: str
    size: int = 0
    sha256: str | None = None
    action: Literal["published", "withdrawn"] = "published"
    note: str = ""

    @classmethod
    def of(cls, path: str, content: bytes) -> Fact:
        """Describe a file by its bytes."""
        return cls(path, len(content), sha256_bytes(content))


@dataclass(frozen=True, slots=True)
class Ledger:
    """One ledger as it stands on disk: whole lines, and what is wrong with it.

    `torn` counts the bytes after the last whole line: an append that was cut short. `lagging`
    says that the head names an earlier line than the last, or none.
    """

    path: Path
    entries: tuple[LedgerEntry, ...]
    problems: tuple[str, ...]
    torn: int
    lagging: bool


@cache
def writer() -> str:
    """Name the ledger of this machine and user.

    The variable DEMOS_WRITER names it otherwise: for containers, which have a new host name at
    every start.
    """
    name = os.environ.get("DEMOS_WRITER", "")
    if not name:
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = str(os.getuid())
        name = f"{socket.gethostname()}-{user}"
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-") or "nobody"


def append(root: Path, facts: Sequence[Fact]) -> None:
    """Add lines for `facts` to this writer's ledger; on return they are on disk.

    A torn last line, left by a process that was killed, is removed first. Raises OSError where
    the disk refuses, Damaged where the ledger's last line is no line of a ledger.
    """
    if not facts:
        return
    path = root / "ledger" / f"{writer()}.jsonl"
    with _locked(path) as fd:
        number, previous = _last(fd, path)
        lines = []
        for fact in facts:
            number += 1
            entry = LedgerEntry(
                number=number,
                previous=previous,
                at=now(),
                action=fact.action,
                path=fact.path,
                size=fact.size,
                sha256=fact.sha256,
                note=fact.note,
            )
            line = entry.model_dump_json().encode()
            previous = sha256_bytes(line)
            lines.append(line + b"\n")
        whole = os.fstat(fd).st_size
        try:
            disk.append(fd, b"".join(lines))
            os.fsync(fd)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(fd, whole)
            raise
        _write_head(path, number, previous)


def read(path: Path) -> Ledger:
    """Read a ledger and verify its chain and its head. Raises OSError."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    entries: list[LedgerEntry] = []
    problems: list[str] = []
    previous, number, lines = GENESIS, 0, content[:end].split(b"\n")[:-1]
    hashes = []
    for place, line in enumerate(lines, 1):
        try:
            entry = LedgerEntry.model_validate_json(line)
        except ValidationError:
            problems.append(f"line {place} is damaged")
        else:
            if entry.previous != previous or entry.number != number + 1:
                problems.append(f"line {place} does not follow from the line before it")
            entries.append(entry)
        number, previous = number + 1, hashlib.sha256(line).hexdigest()
        hashes.append(previous)
    head = _read_head(path)
    if head is not None and head[0] > len(hashes):
        problems.append(f"only {len(hashes)} of {head[0]} lines are there")
    elif head is not None and head[0] and hashes[head[0] - 1] != head[1]:
        problems.append(f"line {head[0]} is not what was written")
    lagging = head is None or head[0] < len(hashes)
    return Ledger(path, tuple(entries), tuple(problems), len(content) - end, lagging)


def read_all(root: Path) -> Iterator[Ledger]:
    """Read every ledger of a store."""
    for path in sorted((root / "ledger").glob("*.jsonl")):
        yield read(path)


def known(ledgers: Iterable[Ledger]) -> tuple[dict[str, LedgerEntry], dict[str, LedgerEntry]]:
    """Return what is published and what was withdrawn, by path."""
    published: dict[str, LedgerEntry] = {}
    withdrawn: dict[str, LedgerEntry] = {}
    for ledger in ledgers:
        for entry in ledger.entries:
            (withdrawn if entry.action == "withdrawn" else published)[entry.path] = entry
    return published, withdrawn


def head_problem(path: Path) -> str:
    """Say what is wrong with the head file `path` in itself; empty when it is fine."""
    content = path.read_bytes()
    if not path.with_suffix(".jsonl").exists():
        return "its ledger is gone"
    return "" if _parsed_head(content) is not None else "it is damaged"


def mend(path: Path) -> str:
    """Remove a torn last line and let a lagging head catch up; say what was done.

    Damage is left as it is, for `verify` to name. Raises OSError.
    """
    with _locked(path) as fd:
        found = read(path)
        done = []
        if found.torn:
            os.ftruncate(fd, os.fstat(fd).st_size - found.torn)
            os.fsync(fd)
            done.append("removed a line that was cut short")
        if found.lagging and not found.problems and found.entries:
            _write_head(path, *_last(fd, path))
        return " and ".join(done)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not os.fstat(fd).st_size:
            disk.sync_folder(path.parent)
        yield fd
    finally:
        os.close(fd)


def _last(fd: int, path: Path) -> tuple[int, str]:
    """Return number and hash of the last whole line, after removing a torn one."""
    size = os.fstat(fd).st_size
    reach = min(size, 65536)
    tail = os.pread(fd, reach, size - reach)
    while b"\n" not in tail[:-1] and reach < size:
        reach = min(size, reach * 4)
        tail = os.pread(fd, reach, size - reach)
    end = tail.rfind(b"\n") + 1
    if end < len(tail):
        os.ftruncate(fd, size - (len(tail) - end))
    if not end:
        return 0, GENESIS
    line = tail[:end].rstrip(b"\n").rsplit(b"\n", 1)[-1]
    try:
        return LedgerEntry.model_validate_json(line).number, hashlib.sha256(line).hexdigest()
    except ValidationError as error:
        raise Damaged(f"the last line of {path} is damaged").with_hint(
            "restore the ledger from a copy, or move it away: a new one is begun then, and "
            "`demos verify STORE` names the files that nobody vouches for any more"
        ) from error


def _write_head(path: Path, number: int, sha256: str) -> None:
    text = f"{number:020d} {sha256}"
    content = f"{text} {crc32c(text.encode()):08x}\n".encode()
    fd = os.open(path.with_suffix(".head"), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, content, 0)
    finally:
        os.close(fd)


def _read_head(path: Path) -> tuple[int, str] | None:
    try:
        return _parsed_head(path.with_suffix(".head").read_bytes())
    except FileNotFoundError:
        return None


def _parsed_head(content: bytes) -> tuple[int, str] | None:
    found = _HEAD.fullmatch(content)
    if not found or int(found[3], 16) != crc32c(content[:85]):
        return None
    return int(found[1]), found[2].decode()
