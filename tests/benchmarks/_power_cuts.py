"""A model of power cuts: write down what is written and synced, then rebuild only what must be.

`Journal` wraps the calls of `os` through which the store writes. `Disk` plays a journal back: a
file keeps the bytes of its last completed sync, and of what was written since any part, zeros in
its place, or nothing; a name survives if its folder was synced afterwards, otherwise at random,
each on its own. A rename is whole or not at all. Files that a library wrote behind `os` are known
by what they held when they were synced.
"""

from __future__ import annotations

import os
import pickle
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Entry = tuple[Any, ...]


class Journal:
    """While open, every call that changes files below `root` is written into `file`, in order."""

    def __init__(self, root: Path, file: Path) -> None:
        self.root, self.file = str(root), file
        self._lock, self._entries = threading.RLock(), list[Entry]()
        self._of_fd: dict[int, int] = {}
        self._paths: dict[int, str] = {}
        self._written: set[str] = set()
        self._originals: dict[str, Callable[..., Any]] = {}
        self._handles = 0

    def say(self, *words: Any) -> None:
        """Write down what a caller was promised at this moment."""
        self._add("say", words)

    def __enter__(self) -> Self:
        wrapped: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "write": self._write,
            "pwrite": self._pwrite,
            "ftruncate": self._ftruncate,
            "fsync": self._sync,
            "fdatasync": self._sync,
            "rename": self._rename,
            "link": self._link,
            "unlink": self._gone,
            "rmdir": self._gone,
            "mkdir": self._mkdir,
        }
        for name, wrapper in wrapped.items():
            original = getattr(os, name)
            self._originals[name] = original
            setattr(os, name, self._bound(wrapper, original))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, original in self._originals.items():
            setattr(os, name, original)
        self.file.write_bytes(pickle.dumps(self._entries))

    def _bound(self, wrapper: Callable[..., Any], original: Callable[..., Any]) -> Any:
        return lambda *args, **kwargs: wrapper(original, *args, **kwargs)

    def _add(self, *entry: Any) -> None:
        with self._lock:
            self._entries.append((*entry, time.monotonic()))

    def _inside(self, path: Any) -> str:
        text = os.fspath(path) if not isinstance(path, int) else ""
        return text if text == self.root or text.startswith(self.root + "/") else ""

    def _open(self, original: Any, path: Any, flags: int, *more: Any, **named: Any) -> int:
        with self._lock:
            name = self._inside(path)
            new = bool(flags & os.O_CREAT) and not os.path.lexists(path)
            fd: int = original(path, flags, *more, **named)
            self._of_fd.pop(fd, None)
            if name:
                self._handles += 1
                self._of_fd[fd] = self._handles
                self._paths[self._handles] = name
                if flags & os.O_CREAT:
                    self._written.add(name)
                self._add("open", self._handles, name, new)
            return fd

    def _write(self, original: Any, fd: int, data: Any) -> int:
        if fd not in self._of_fd:
            return int(original(fd, data))
        with self._lock:
            done = int(original(fd, data))
            self._add("write", self._of_fd[fd], None, bytes(data[:done]))
            return done

    def _pwrite(self, original: Any, fd: int, data: Any, offset: int) -> int:
        with self._lock:
            done = int(original(fd, data, offset))
            if fd in self._of_fd:
                self._add("write", self._of_fd[fd], offset, bytes(data[:done]))
            return done

    def _ftruncate(self, original: Any, fd: int, length: int) -> None:
        with self._lock:
            original(fd, length)
            if fd in self._of_fd:
                self._add("truncate", self._of_fd[fd], length)

    def _sync(self, original: Any, fd: int) -> None:
        handle = self._of_fd.get(fd)
        if handle is None:
            original(fd)
            return
        path, content = self._paths[handle], None
        if path not in self._written and Path(path).is_file():
            content = Path(path).read_bytes()
        self._add("sync", handle, content)
        original(fd)
        self._add("synced", handle)

    def _rename(self, original: Any, source: Any, target: Any, **named: Any) -> None:
        with self._lock:
            original(source, target, **named)
            if self._inside(source):
                self._add("rename", os.fspath(source), os.fspath(target))

    def _link(self, original: Any, source: Any, target: Any, **named: Any) -> None:
        with self._lock:
            original(source, target, **named)
            self._add("link", os.fspath(source), os.fspath(target))
            self._written.add(os.fspath(target))

    def _gone(self, original: Any, path: Any, **named: Any) -> None:
        with self._lock:
            original(path, **named)
            if self._inside(path):
                self._add("gone", os.fspath(path))
                self._written.discard(os.fspath(path))

    def _mkdir(self, original: Any, path: Any, *more: Any, **named: Any) -> None:
        with self._lock:
            original(path, *more, **named)
            if self._inside(path):
                self._add("mkdir", os.fspath(path))


class Node:
    """A file or folder: bytes as they are and as they were last synced; names as they are."""

    def __init__(self, *, folder: bool = False, content: bytes | None = None) -> None:
        self.folder = folder
        self.live = bytearray(content or b"")
        self.safe = content
        self.begun: bytes | None = None
        self.names: dict[str, Node] = {}


class Change:
    """Names that change at once: removed and added, each in its folder."""

    def __init__(self, removed: list[tuple[Node, str]], added: list[tuple[Node, str, Node]]):
        self.removed, self.added, self.safe = removed, added, False

    @property
    def decides(self) -> Node:
        """The folder whose sync makes this safe: that of the new name, if there is one."""
        return self.added[0][0] if self.added else self.removed[0][0]


class Disk:
    """A store on a disk that loses what was not synced, played back from a journal."""

    def __init__(self, root: Path, copy: Path) -> None:
        """Begin with the folder `copy`, all of it safe, as what was at `root`."""
        self.prefix = str(root)
        self.root = Node(folder=True)
        self.changes: list[Change] = []
        self.handles: dict[int, Node] = {}
        self.syncing: dict[int, list[Change]] = {}
        self.said: list[tuple[Any, ...]] = []
        self._load(self.root, copy)

    def play(self, entry: Entry) -> None:
        """Take in one entry of a journal."""
        getattr(self, f"_{entry[0]}")(*entry[1:-1])

    def cut(self, target: Path, chance: random.Random) -> None:
        """Write into the new folder `target` what a power cut at this moment leaves."""
        keep = chance.choice((0.0, 0.5, 1.0))
        left: dict[int, dict[str, Node]] = {}
        for change in self.changes:
            if change.safe or chance.random() < keep:
                for folder, name in change.removed:
                    left.setdefault(id(folder), {}).pop(name, None)
                for folder, name, node in change.added:
                    left.setdefault(id(folder), {})[name] = node
        self._put(self.root, target, left, {}, chance)

    def _put(
        self,
        folder: Node,
        target: Path,
        left: dict[int, dict[str, Node]],
        placed: dict[int, Path],
        chance: random.Random,
    ) -> None:
        target.mkdir()
        for name, node in left.get(id(folder), {}).items():
            path = target / name
            if node.folder:
                self._put(node, path, left, placed, chance)
            elif id(node) in placed:
                os.link(placed[id(node)], path)
            else:
                path.write_bytes(_survived(node, chance))
                placed[id(node)] = path

    def _load(self, folder: Node, path: Path) -> None:
        for child in sorted(path.iterdir()):
            node = Node(folder=True) if child.is_dir() else Node(content=child.read_bytes())
            self._change([], [(folder, child.name, node)])
            self.changes[-1].safe = True
            if node.folder:
                self._load(node, child)

    def _change(self, removed: list[tuple[Node, str]], added: list[tuple[Node, str, Node]]) -> None:
        self.changes.append(Change(removed, added))
        for folder, name in removed:
            folder.names.pop(name, None)
        for folder, name, node in added:
            folder.names[name] = node

    def _find(self, path: str) -> tuple[Node, str]:
        """Return the folder of a path and its last part."""
        parts = [part for part in path[len(self.prefix) :].split("/") if part]
        folder = self.root
        for part in parts[:-1]:
            folder = folder.names[part]
        return folder, parts[-1] if parts else ""

    def _node(self, path: str, *, new: bool = False) -> Node:
        folder, name = self._find(path)
        if not name:
            return folder
        if new or name not in folder.names:
            # what is not known yet was made by a library behind `os`
            self._change([], [(folder, name, Node())])
        return folder.names[name]

    def _say(self, words: tuple[Any, ...]) -> None:
        self.said.append(words)

    def _open(self, handle: int, path: str, new: bool) -> None:  # noqa: FBT001 (from a journal)
        self.handles[handle] = self._node(path, new=new)

    def _write(self, handle: int, offset: int | None, data: bytes) -> None:
        live = self.handles[handle].live
        start = len(live) if offset is None else offset
        live[start : start + len(data)] = data

    def _truncate(self, handle: int, length: int) -> None:
        del self.handles[handle].live[length:]

    def _sync(self, handle: int, content: bytes | None) -> None:
        node = self.handles[handle]
        if content is not None:
            node.live = bytearray(content)
        node.begun = bytes(node.live)
        self.syncing[handle] = [change for change in self.changes if change.decides is node]

    def _synced(self, handle: int) -> None:
        node = self.handles[handle]
        node.safe = node.begun
        for change in self.syncing.pop(handle):
            change.safe = True

    def _rename(self, source: str, target: str) -> None:
        (old, name), (new, other) = self._find(source), self._find(target)
        self._change([(old, name)], [(new, other, old.names[name])])

    def _link(self, source: str, target: str) -> None:
        old, name = self._find(source)
        new, other = self._find(target)
        self._change([], [(new, other, old.names[name])])

    def _gone(self, path: str) -> None:
        folder, name = self._find(path)
        self._change([(folder, name)], [])

    def _mkdir(self, path: str) -> None:
        folder, name = self._find(path)
        self._change([], [(folder, name, Node(folder=True))])


def _survived(node: Node, chance: random.Random) -> bytes:
    """Choose what is left of a file: all that was synced, and of the rest what may be."""
    live, safe = bytes(node.live), node.safe
    if safe is not None and live[: len(safe)] != safe:
        return chance.choice((safe, live))
    start = len(safe or b"")
    end = chance.randint(start, len(live))
    rest = live[start:end]
    if rest and chance.random() < 0.3:
        # the file has grown, a part of its new blocks was never written
        hole = chance.randint(0, len(rest))
        rest = rest[:hole] + bytes(len(rest) - hole)
    return (safe or b"") + rest
