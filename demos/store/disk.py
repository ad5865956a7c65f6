"""The few functions through which a store writes: whole, synced, and never over something else.

What must survive a power cut passes through here and nowhere else: a file's bytes are synced
before its name appears, and a folder is synced after a name in it changed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from demos.errors import DemosError, StoreError

STAGED = ".new-"
"""How a file is called until its line is in the ledger; `demos recover` completes or removes it."""

_LOCK = "lock"
_AT_ONCE = 4
_SYNCED: set[Path] = set()
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def failure(error: OSError, what: str) -> StoreError:
    """Say in our words what the operating system refused: `what` reads "cannot <what>"."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in _FULL:
        return StoreError(f"cannot {what}: {reason}").with_hint(
            "free some space; what was published or acknowledged before is safe, and "
            "`demos recover STORE` completes what was interrupted"
        )
    if error.errno in _REFUSED:
        place = f" ({error.filename})" if error.filename else ""
        return StoreError(f"cannot {what}: {reason}{place}").with_hint(
            "the folder must be writable for you: check its owner, its mode and how it is mounted"
        )
    place = f" ({error.filename})" if error.filename else ""
    return StoreError(f"cannot {what}: {reason}{place}").with_hint(
        "check the disk and the path, then run `demos verify STORE`"
    )


def explain(error: BaseException, what: str) -> None:
    """Say beside an error what became of the data: in its traceback, and in the hint of ours."""
    error.add_note(what)
    if isinstance(error, DemosError):
        error.hint = f"{error.hint}; {what}" if error.hint else what


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn every OSError inside into a StoreError that says what could not be done."""
    try:
        yield
    except OSError as error:
        raise failure(error, what) from error


def append(fd: int, content: bytes) -> None:
    """Write all of `content` at the end of an open file. Raises OSError, maybe after a part."""
    done = os.write(fd, content)
    while done < len(content):
        done += os.write(fd, content[done:])


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on disk, whoever wrote them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on disk."""
    sync_file(path)


def sync_all(paths: Iterable[Path]) -> None:
    """Wait until files, then the names in folders, are on disk; of each all at once.

    One after the other each waits for a write of its own; together they share it.
    """
    wanted = list(dict.fromkeys(paths))
    folders = [path for path in wanted if path.is_dir()]
    for kind in ([path for path in wanted if path not in folders], folders):
        if len(kind) == 1:
            sync_file(kind[0])
        elif kind:
            with ThreadPoolExecutor(min(len(kind), _AT_ONCE)) as pool:
                for _ in pool.map(sync_file, kind):
                    pass


def tree(folder: Path) -> list[Path]:
    """List a folder and all files and folders in it."""
    inside = sorted(folder.iterdir())
    below = [each for path in inside for each in (tree(path) if path.is_dir() else [path])]
    return [*below, folder]


def make_folder(path: Path, *, inside: Path) -> None:
    """Make a folder and its parents below `inside`; on return they survive a power cut."""
    sync_all(new_names(path, inside=inside))


def new_names(path: Path, *, inside: Path) -> list[Path]:
    """Make a folder and its parents below `inside`; return the folders that are to be synced.

    A folder that is there already is synced into its parent too, once by each process: whoever
    made it may be about to do so still.
    """
    missing = []
    at = path
    while at != inside:
        missing.append(at)
        at = at.parent
    unsynced = []
    for folder in reversed(missing):
        try:
            folder.mkdir()
        except FileExistsError:
            if folder in _SYNCED:
                continue
            _SYNCED.add(folder)
        unsynced.append(folder.parent)
    return unsynced


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not exist; neither its bytes nor its name are synced yet."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        append(fd, content)
    finally:
        os.close(fd)


@contextmanager
def staged(path: Path, content: bytes) -> Iterator[None]:
    """Put `content` at `path`, synced, with a second name while the `with` block runs.

    The block enters the file into the ledger. Where it does not end, the second name stays and
    tells `demos recover` that the ledger may lack the file. A lock on it says that its writer
    lives. Raises FileExistsError where `path` exists: nothing is ever overwritten.
    """
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    second, fd = _second_name(path)
    try:
        try:
            append(fd, content)
            os.fsync(fd)
            # the second name first: a file system may keep later names and lose earlier ones
            sync_folder(path.parent)
            os.link(second, path)
        except BaseException:
            with suppress(OSError):
                second.unlink()
            raise
        sync_folder(path.parent)
        yield
        second.unlink()
    finally:
        os.close(fd)


def _second_name(path: Path) -> tuple[Path, int]:
    while True:
        second = path.with_name(f"{STAGED}{secrets.token_hex(4)}-{path.name}")
        fd = os.open(second, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return second, fd
        os.close(fd)  # a `recover` that ran at this very moment took it for a leftover


def final_name(second: Path) -> Path:
    """Return the path that a second name stands for."""
    return second.with_name(second.name[len(STAGED) + 9 :])


def rename_folder(source: Path, target: Path, *, inside: Path) -> None:
    """Give a synced folder its final name, in one step and durably; its parents are made.

    Raises OSError where `target` is a folder with anything in it: nothing is overwritten.
    """
    unsynced = new_names(target.parent, inside=inside)
    source.rename(target)
    sync_all([*unsynced, target.parent, source.parent])


def listed(folder: Path) -> list[Path]:
    """List what a folder holds, in order; a folder that is missing holds nothing."""
    with suppress(FileNotFoundError):
        return sorted(folder.iterdir())
    return []


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; what is gone already is no error.

    A claimed folder's lock goes last: nobody takes up a folder that is being removed.
    """
    try:
        children = sorted(path.iterdir(), key=lambda child: child.name == _LOCK)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        path.unlink(missing_ok=True)
        return
    for child in children:
        if child.is_dir() and not child.is_symlink():
            remove(child)
        else:
            child.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        path.rmdir()


def is_locked(path: Path) -> bool:
    """Say whether a living process holds the lock of a file; False where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Claim:
    """An exclusive lock on a folder, held until `release` or until its process dies."""

    def __init__(self, folder: Path, fd: int) -> None:
        self.folder, self._fd = folder, fd

    @classmethod
    def make(cls, folder: Path) -> Self | None:
        """Claim a folder just made, still empty; None where somebody cleared it away."""
        return cls._locked(folder, os.O_RDWR | os.O_CREAT)

    @classmethod
    def take(cls, folder: Path) -> Self | None:
        """Claim a folder that somebody left; None where a living process holds it or it is no more.

        Its owner locks a folder before anything is in it and removes the lock last: content
        without a lock was left by a power cut, and a folder without either is none of ours.
        """
        create = 0 if (folder / _LOCK).exists() or not listed(folder) else os.O_CREAT
        return cls._locked(folder, os.O_RDWR | create)

    @classmethod
    def _locked(cls, folder: Path, flags: int) -> Self | None:
        path = folder / _LOCK
        try:
            fd = os.open(path, flags, 0o644)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the folder may have been cleared away between the open and the lock
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return cls(folder, fd)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return None

    @classmethod
    def peek(cls, folder: Path) -> bool:
        """Say whether a living process holds a folder, without changing anything."""
        return is_locked(folder / _LOCK)

    @property
    def held(self) -> bool:
        """Whether the folder is still claimed."""
        return self._fd >= 0

    def release(self) -> None:
        """Let go; the folder stays as it is."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
