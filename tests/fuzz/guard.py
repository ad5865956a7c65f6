"""The guarded folder in which one harmed recording is imported, and what is noticed there.

<case>/canary.*     whole files of the recording's kinds, where `../` lands
<case>/source/      the harmed recording
<case>/store/       the only place where anything may be written
<case>/home, tmp, work    HOME, TMPDIR and the current folder of who imports
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

State = dict[str, tuple[object, ...]]
_HASHED_BYTES = 4_000_000
_IN_OPEN, _IN_ISDIR, _IN_NONBLOCK = 0x20, 0x40000000, 0o4000


@dataclass(frozen=True, slots=True)
class Guarded:
    """The folder of one case."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @classmethod
    def make(cls, root: Path, recording: Path) -> Guarded:
        """Copy a whole recording into a new folder, and a canary of each kind of its files."""
        shutil.rmtree(root, ignore_errors=True)
        for name in ("home", "tmp", "work"):
            (root / name).mkdir(parents=True)
        shutil.copytree(recording, root / "source")
        for path in sorted(recording.rglob("*")):
            canary = root / f"canary{path.suffix}"
            if path.is_file() and not canary.exists():
                shutil.copyfile(path, canary)
        return cls(root)

    def state(self) -> State:
        """List all that lies in the folder but the store: kinds, sizes, times, content."""
        found: State = {}
        for folder, inner, files in os.walk(self.root):
            if folder == str(self.root):
                inner.remove("store") if "store" in inner else None
            for name in [*inner, *files]:
                path = Path(folder, name)
                found[path.relative_to(self.root).as_posix()] = _state(path)
        return found

    def changes(self, before: State) -> list[str]:
        """Say what was written, changed or removed since `before`."""
        after = self.state()
        return [f"{name} was written" for name in sorted(after.keys() - before.keys())] + [
            f"{name} was changed or removed"
            for name in sorted(before)
            if after.get(name) != before[name]
        ]


def _state(path: Path) -> tuple[object, ...]:
    told = path.lstat()
    if path.is_symlink():
        return "link", str(path.readlink())
    if path.is_dir():
        return ("folder",)
    digest = ""
    if told.st_size <= _HASHED_BYTES:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return "file", told.st_size, told.st_mtime_ns, told.st_mode, digest


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Name the files of a folder (not those below) that anybody opens, as inotify tells it.

    An empty list where the system has no inotify.
    """
    opened: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = int(libc.inotify_init1(_IN_NONBLOCK))
    except AttributeError:
        descriptor = -1
    if descriptor < 0:
        yield opened
        return
    try:
        libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_OPEN)
        yield opened
        opened += sorted(set(_names(descriptor)))
    finally:
        os.close(descriptor)


def _names(descriptor: int) -> Iterator[str]:
    while True:
        try:
            events = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        place = 0
        while place < len(events):
            _, mask, _, length = struct.unpack_from("iIII", events, place)
            name = events[place + 16 : place + 16 + length].rstrip(b"\0").decode()
            if not mask & _IN_ISDIR and name:
                yield name
            place += 16 + length
