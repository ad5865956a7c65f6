"""Derived files under STORE/cache/loader: made whole or not at all, and made again when missing.

Deleting the folder costs the time to fill it again, nothing else. Several processes may fill it
at once. Where the store cannot be written, a temporary folder stands in for it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from demos.store import disk

LEFTOVER_S = 86_400.0
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


class Cache:
    """The cache of one store. Folders and files in it are found by a key of what is in them."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "cache" / "loader"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".{secrets.token_hex(4)}.part"
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            if error.errno not in _REFUSED:
                raise disk.failure(error, f"fill the cache {self.folder}") from error
            self.folder = Path(tempfile.mkdtemp(prefix="demos-loader-"))
            weakref.finalize(self, _remove, self.folder, os.getpid())
        self._sweep()

    def _sweep(self) -> None:
        """Remove what processes that were killed left behind, a day later."""
        for leftover in (*self.folder.glob(".*.part"), *self.folder.glob("*/.*.part")):
            with suppress(OSError):
                if time.time() - leftover.stat().st_mtime > LEFTOVER_S:
                    _drop(leftover)

    def __contains__(self, key: str) -> bool:
        return (self.folder / key).exists()

    def path(self, key: str) -> Path:
        """Return where the folder or file of a key lies once it is made."""
        return self.folder / key

    def forget(self, key: str) -> None:
        """Remove what a key stands for, so that it is made again."""
        _drop(self.folder / key)

    @contextmanager
    def making(self, key: str) -> Iterator[Path]:
        """Give a place to make a folder or file in; it gets its name when the block has ended well.

        Where another process was faster, its work is kept. Raises StoreError where the disk
        refuses.
        """
        target = self.folder / key
        made = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with disk.doing(f"fill the cache {self.folder}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                yield made
                _sync(made)
                with suppress(FileExistsError):
                    _name(made, target)
        finally:
            _drop(made)


def _drop(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _name(made: Path, target: Path) -> None:
    """Rename, unless the name is taken."""
    if not made.is_dir():
        os.link(made, target)
        return
    try:
        made.rename(target)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        raise FileExistsError(target) from error


def _sync(made: Path) -> None:
    """Wait until the bytes are on disk: a power cut must not leave a name with zeros behind it."""
    for path in (made, *made.rglob("*")) if made.is_dir() else (made,):
        disk.sync_file(path)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves its parent's files alone
        shutil.rmtree(folder, ignore_errors=True)
