"""The block log: what is being recorded, in one append-only file that any death leaves readable.

    block = magic (4) | crc32c (4) of all that follows | kind (1) | flags (1) | source (2)
            | length (4) | payload (length)                                  little-endian

A block is *acknowledged* when write(2) has returned: from then on it survives the death of the
process. A thread of the log syncs it to the disk well within a second: from then on it survives a
power cut. A torn last block is the normal end of a recording that was killed; a damaged one in the
middle is passed over and its place named.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from google_crc32c import value as crc32c

from demos.errors import RecordingFailed, StoreError
from demos.store import disk

MAGIC = b"\xd3blk"
SYNC_INTERVAL_S = 0.2
MAX_PAYLOAD = 2**31
_FRAME = struct.Struct("<4sI")
_HEAD = struct.Struct("<BBHI")
OVERHEAD = _FRAME.size + _HEAD.size


class Kind(IntEnum):
    """What a block holds. Numbers are written to disk: add, never change."""

    HEADER = 1
    STREAM = 2
    SAMPLES = 3
    CAMERA = 4
    PACKET = 5
    EVENT = 6
    LABEL = 7
    END = 8
    DISCARD = 9


class Block(NamedTuple):
    """One whole block and where it lies in its log (`offset`, bytes)."""

    kind: int
    flags: int
    source: int
    payload: bytes
    offset: int


class Scar(NamedTuple):
    """Bytes of a log that are no whole block; `tail` says that nothing whole follows them."""

    offset: int
    length: int
    tail: bool


@dataclass(frozen=True, slots=True)
class LogCounters:
    """What of a log is acknowledged and what is on disk.

    at_risk_s: the longest that any acknowledged block waited to be on disk, until now, seconds.
    """

    acknowledged_blocks: int
    acknowledged_bytes: int
    synced_blocks: int
    synced_bytes: int
    at_risk_s: float


class BlockLog:
    """A log being written. Any thread may append; one thread of its own syncs.

    Raises StoreError where the file cannot be made; it must not exist.
    """

    def __init__(self, path: Path, *, sync_interval_s: float = SYNC_INTERVAL_S) -> None:
        self.path = path
        with disk.doing(f"start the recording {path}"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            disk.sync_folder(path.parent)
        self._interval_s = sync_interval_s
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        self._blocks = self._size = 0
        self._synced_blocks = self._synced_size = 0
        self._torn = False
        self._waiting_since_s: float | None = None
        self._at_risk_s = 0.0
        self._failed: OSError | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_synced, name="log sync", daemon=True)
        self._thread.start()

    def append(self, kind: int, source: int, payload: bytes, flags: int = 0) -> None:
        """Write one block; on return it is acknowledged.

        Raises RecordingFailed where the disk refuses: nothing of the block is kept then, all
        before it is, and writing may go on once there is space.
        """
        if len(payload) > MAX_PAYLOAD:
            raise RecordingFailed(f"a block of {len(payload)} bytes is too long").with_hint(
                f"hand over fewer samples at once: at most {MAX_PAYLOAD} bytes"
            )
        head = _HEAD.pack(kind, flags, source, len(payload)) + payload
        block = _FRAME.pack(MAGIC, crc32c(head)) + head
        with self._writing:
            if self._fd < 0 or self._failed is not None or self._torn:
                self._check_open()
            try:
                done = os.write(self._fd, block)
                if done < len(block):
                    disk.append(self._fd, block[done:])
                if self._waiting_since_s is None:
                    self._waiting_since_s = time.monotonic()
                self._size += len(block)
                self._blocks += 1
            except BaseException as error:
                # a part of a block, or a whole one that nobody will hear of, must not stay
                self._torn = True
                self._mend()
                if isinstance(error, OSError):
                    raise self._refused(error) from error
                raise

    def sync(self) -> None:
        """Wait until every acknowledged block is on disk. Raises RecordingFailed."""
        with self._syncing:
            with self._writing:
                blocks, size = self._blocks, self._size
                since_s, self._waiting_since_s = self._waiting_since_s, None
                fd = self._fd
            if since_s is None or fd < 0:
                return
            try:
                os.fdatasync(fd)
            except OSError as error:
                # after a failed sync the kernel may have dropped the pages: no later one helps
                self._failed = error
                raise self._refused(error) from error
            with self._writing:
                self._synced_blocks, self._synced_size = blocks, size
                self._at_risk_s = max(self._at_risk_s, time.monotonic() - since_s)

    @property
    def counters(self) -> LogCounters:
        """What is acknowledged and what is on disk, now."""
        with self._writing:
            return LogCounters(
                self._blocks,
                self._size,
                self._synced_blocks,
                self._synced_size,
                self._at_risk_s,
            )

    def close(self) -> None:
        """Sync and close. Closing twice is no error. Raises RecordingFailed."""
        self._closing.set()
        self._thread.join()
        try:
            self.sync()
        finally:
            with self._writing:
                if self._fd >= 0:
                    os.close(self._fd)
                    self._fd = -1

    def _keep_synced(self) -> None:
        while not self._closing.wait(self._interval_s):
            try:
                self.sync()
            except RecordingFailed:
                return  # the next append says so

    def _check_open(self) -> None:
        if self._fd < 0:
            raise RecordingFailed(f"the recording {self.path.parent.name} is closed").with_hint(
                "begin another episode"
            )
        if self._failed is not None:
            raise self._refused(self._failed)
        if self._torn:
            self._mend()
        if self._torn:
            raise RecordingFailed(f"the end of {self.path} cannot be mended").with_hint(
                "what was acknowledged is safe: `demos recover STORE` publishes it"
            )

    def _mend(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
            self._torn = False
        except OSError:
            self._torn = True

    def _refused(self, error: OSError) -> RecordingFailed:
        reason = disk.failure(error, f"write to the recording {self.path.parent.name}")
        return RecordingFailed(str(reason)).with_hint(
            "what was acknowledged before is safe: make the disk writable or free some space and "
            "go on, or publish what there is with `demos recover STORE`"
        )


def blocks(path: Path) -> Iterator[Block | Scar]:
    """Yield the whole blocks of a log in order, and a Scar where bytes are not whole blocks.

    Every checksum is verified. Raises StoreError where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _blocks(content)
    except OSError as error:
        raise disk.failure(error, f"read the recording {path}") from error
    except ValueError as error:
        raise StoreError(f"cannot read the recording {path}: {error}") from error


def _blocks(content: mmap.mmap) -> Iterator[Block | Scar]:
    at, end = 0, len(content)
    frame, head, overhead, verify = _FRAME.unpack_from, _HEAD.unpack_from, OVERHEAD, crc32c
    while at + overhead <= end:
        magic, crc = frame(content, at)
        kind, flags, source, length = head(content, at + 8)
        stop = at + overhead + length
        if magic == MAGIC and stop <= end:
            body = content[at + 8 : stop]
            if verify(body) == crc:
                yield Block(kind, flags, source, body[8:], at)
                at = stop
                continue
        following = _next_whole(content, at + 1)
        yield Scar(at, following - at, following == end)
        at = following
    if at < end:
        yield Scar(at, end - at, tail=True)


def _next_whole(content: mmap.mmap, start: int) -> int:
    """Find where the next whole block begins; the end of the log where there is none."""
    at, end = content.find(MAGIC, start), len(content)
    while 0 <= at <= end - OVERHEAD:
        crc = _FRAME.unpack_from(content, at)[1]
        stop = at + OVERHEAD + _HEAD.unpack_from(content, at + 8)[3]
        if stop <= end and crc32c(content[at + 8 : stop]) == crc:
            return at
        at = content.find(MAGIC, at + 1)
    return end
