"""Write HDF5 so that a full disk is an error and not the end of the process."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any


class Disk(io.RawIOBase):
    """A new file on which no write fails while HDF5 looks: libhdf5 2.0 ends the process then.

    `place`: where to make it, or the descriptor of one that was just made and stays open.
    What the disk refused is kept for `check`; from then on nothing is written. Hand it to
    `h5py.File(disk, "w")`, and close that one first.
    """

    def __init__(self, place: Path | int) -> None:
        super().__init__()
        new = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self._fd = os.dup(place) if isinstance(place, int) else os.open(place, new, 0o666)
        self._place = 0
        self._refused: OSError | None = None

    def check(self) -> None:
        """Raise the OSError of the first write that failed."""
        if self._refused is not None:
            raise self._refused

    def write(self, content: Any, /) -> int:
        """Write all of it, or nothing once the disk refused something."""
        rest = memoryview(content).cast("B")
        size = len(rest)
        while self._refused is None and len(rest):
            try:
                done = os.pwrite(self._fd, rest, self._place + size - len(rest))
            except OSError as error:
                self._refused = error
            else:
                rest = rest[done:]
        self._place += size
        return size

    def readinto(self, target: Any, /) -> int:
        """Read what is there, zeros where nothing is."""
        view = memoryview(target).cast("B")
        found = os.pread(self._fd, len(view), self._place)
        view[: len(found)] = found
        view[len(found) :] = bytes(len(view) - len(found))
        self._place += len(view)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place in the file."""
        start = {os.SEEK_CUR: self._place, os.SEEK_END: os.fstat(self._fd).st_size}
        self._place = start.get(whence, 0) + offset
        return self._place

    def tell(self) -> int:
        """Return the place in the file."""
        return self._place

    def truncate(self, size: int | None = None, /) -> int:
        """Set the file's length, unless the disk refused something before."""
        size = self._place if size is None else size
        try:
            if self._refused is None:
                os.ftruncate(self._fd, size)
        except OSError as error:
            self._refused = error
        return size

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._fd)
        super().close()
