"""Open a foreign HDF5 file and read what lies at a path in it, or say why that cannot be.

Nothing is trusted: sizes are held against a limit and against the bytes that the file has before
anything is allocated; links, virtual datasets and external storage, through which a file can read
other files of the machine, are refused. Raises ImportFailed, always with a hint.

libhdf5 does not merely fail on some damaged files, it ends the process (one in about 2000 files
with a few bytes changed, libhdf5 2.0). So each file is looked through in a process of its own
before this one opens it (`hdf5_rehearsal`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed
from demos.formats.files import whole_file

MOST_BYTES = 2**27
"""What one row, one chunk, or the texts of one dataset may have; `held` bounds arrays."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_LISTED = 2000
"""How many datasets of a file `places` lists."""

_REHEARSAL_S = 60.0
_DEFLATE = 1100
"""No filter that h5py brings makes data smaller than one byte for this many."""
_SMALL = 2**24
_BLOCK = 2**22
_COPY_AGAIN = "the file is damaged or cut short; copy it again from its source"
_ONE_FILE = "copy the data into one plain file (h5repack does it), then import again"


def is_hdf5(path: Path) -> bool:
    """Say whether a file begins as HDF5 does. Never raises."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except (OSError, ValueError):
        return False


def places(path: Path) -> frozenset[str]:
    """List the datasets in a file by path (`data/demo_0/actions`), the first 2000 of them.

    For sniffing: empty where the file is no HDF5 or cannot be read. Never raises.
    """
    if not is_hdf5(path):
        return frozenset()
    try:
        return _looked_through(path)
    except (DemosError, OSError, ValueError):
        return frozenset()


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file for reading: an `h5py.File`, closed at the end."""
    import h5py

    whole_file(path.parent, path.name)
    if not is_hdf5(path):
        raise ImportFailed(f"{path.name} is no HDF5 file").with_hint(_COPY_AGAIN)
    _looked_through(path)
    try:
        file = h5py.File(path, "r", locking=False)
    except Exception as error:
        raise _damaged(path.name, error) from error
    try:
        yield file
    finally:
        file.close()


def names(file: Any, place: str = "/") -> list[str]:
    """List what lies in a group, in the file's order; an empty list where there is no group."""
    import h5py

    node = node_at(file, place)
    if not isinstance(node, h5py.Group):
        return []
    try:
        found = list(node)
        "".join(found).encode()
    except Exception as error:
        raise _damaged(place, error) from error
    return found


def has(file: Any, place: str) -> bool:
    """Say whether a dataset lies at a path."""
    import h5py

    return isinstance(node_at(file, place), h5py.Dataset)


def dataset(file: Any, place: str) -> Any:
    """Return the dataset at a path, its shape and chunks held against what the file has."""
    import h5py

    found = node_at(file, place)
    if not isinstance(found, h5py.Dataset):
        raise ImportFailed(f"{place} is not there").with_hint(
            "record it, or say with --format which format the file has"
        )
    try:
        elsewhere = found.is_virtual or found.external
        shape, width = found.shape, found.dtype.itemsize
        chunk = int(np.prod(found.chunks or (), dtype=object)) * width
        held = int(found.id.get_storage_size())
    except Exception as error:
        raise _damaged(place, error) from error
    if elsewhere:
        raise ImportFailed(f"{place} keeps its data in another file").with_hint(_ONE_FILE)
    if shape is None:
        raise ImportFailed(f"{place} has no shape").with_hint(_COPY_AGAIN)
    declared = int(np.prod(shape, dtype=object)) * width
    if declared > max(_DEFLATE * held, _SMALL):
        raise ImportFailed(
            f"{place} declares {declared} bytes and the file holds {held}"
        ).with_hint(_COPY_AGAIN)
    _bounded(place, chunk, "a chunk")
    return found


def array(file: Any, place: str) -> npt.NDArray[Any]:
    """Read numbers whole: the dataset's own shape and dtype, in the machine's byte order.

    Images (three axes or more) that are many come in a file, mapped: `demos.model.bulk`.
    """
    # not above: the process that looks through a file first imports this module, and no more
    from demos.formats import held
    from demos.model.bulk import give_back

    found = _numbers(file, place)
    values = held.room(place, found.shape, found.dtype.newbyteorder("="))
    if found.ndim == 0:
        values[()] = _read(found, place, ())
    for block in _blocks(found):
        values[block] = _read(found, place, block)
        give_back(values)
    return values


def rows(file: Any, place: str) -> Iterator[npt.NDArray[Any]]:
    """Yield numbers row by row, (n, ...) one at a time: what is read at once stays small."""
    found = _numbers(file, place)
    if found.ndim == 0:
        raise ImportFailed(f"{place} has no rows").with_hint(_COPY_AGAIN)
    row = int(np.prod(found.shape[1:], dtype=object)) * found.dtype.itemsize
    _bounded(place, row, "a row")
    for block in _blocks(found):
        yield from _read(found, place, block)


def is_ragged(found: Any) -> bool:
    """Say whether the rows of a dataset are bytes, each row as many as it likes."""
    import h5py

    return bool(h5py.check_vlen_dtype(found.dtype) == np.uint8 and found.ndim == 1)


def byte_rows(file: Any, place: str) -> Iterator[npt.NDArray[Any]]:
    """Yield rows of bytes, (n,) uint8 one at a time, of one length or of many."""
    found = dataset(file, place)
    if not is_ragged(found):
        if found.dtype != np.uint8 or found.ndim != 2:
            raise ImportFailed(f"{place} holds {found.dtype} {found.shape}, not rows of bytes")
        yield from rows(file, place)
        return
    for number in range(len(found)):
        row = _read(found, place, number)
        _bounded(place, row.nbytes, "a row")
        yield row


def blocks(file: Any, place: str) -> Iterator[npt.NDArray[Any]]:
    """Yield numbers in blocks of about 4 MB, (k, ...) one at a time."""
    found = _numbers(file, place)
    for block in _blocks(found):
        yield _read(found, place, block)


def last_row(file: Any, place: str) -> npt.NDArray[Any]:
    """Read the last row of numbers."""
    found = _numbers(file, place)
    if found.ndim == 0 or not found.size:
        raise ImportFailed(f"{place} has no rows").with_hint(_COPY_AGAIN)
    _bounded(place, found.size // found.shape[0] * found.dtype.itemsize, "a row")
    row: npt.NDArray[Any] = _read(found, place, slice(found.shape[0] - 1, None))[0]
    return row


def text(file: Any, place: str) -> str:
    """Read one text: a scalar or the only element of an array."""
    found = texts(file, place)
    if len(found) != 1:
        raise ImportFailed(f"{place} holds {len(found)} texts, one is expected").with_hint(
            "look at it with `h5dump -d`"
        )
    return found[0]


def texts(file: Any, place: str) -> list[str]:
    """Read a list of texts; numbers and bytes that are not UTF-8 are refused."""
    import h5py

    found = dataset(file, place)
    # a text in Python takes 60 bytes besides its letters
    _bounded(place, found.size * (found.dtype.itemsize + 60), "it")
    if h5py.check_string_dtype(found.dtype) is None:
        raise ImportFailed(f"{place} holds {found.dtype}, not text").with_hint(_COPY_AGAIN)
    try:
        read = np.asarray(found.asstr()[()], dtype=object).ravel().tolist()
        "".join(read).encode()
    except Exception as error:
        raise _damaged(place, error) from error
    return [str(part).rstrip("\0") for part in read]


def attributes(file: Any, place: str = "/") -> dict[str, Any]:
    """Read the attributes of a group or dataset as plain values: text, numbers, lists of them.

    Those that are neither are left out.
    """
    node = node_at(file, place)
    if node is None:
        raise ImportFailed(f"{place} is not there").with_hint(_COPY_AGAIN)
    try:
        plain = {}
        for name in node.attrs:
            kept = node.attrs.get_id(name)
            width = max(kept.dtype.itemsize, 1)
            if int(np.prod(kept.shape or (1,), dtype=object)) * width <= _SMALL:
                value = _plain(node.attrs[name])
                if value is not None:
                    plain[name] = value
        "".join(plain).encode()
    except Exception as error:
        raise _damaged(f"the attributes of {place}", error) from error
    return plain


def _looked_through(path: Path) -> frozenset[str]:
    state = path.stat()
    found = _rehearsal(str(path.absolute()), state.st_ino, state.st_mtime_ns, state.st_size)
    if isinstance(found, str):
        raise ImportFailed(f"{path.name} cannot be read: {found}").with_hint(_COPY_AGAIN)
    return found


@lru_cache(maxsize=64)
def _rehearsal(path: str, inode: int, modified_ns: int, size: int) -> frozenset[str] | str:
    """Look through a file in another process; what is wrong in words where that does not survive.

    All of a file's identity is asked for, so that a file that changed is looked at again.
    """
    code = "import sys; from demos.formats.hdf5_rehearsal import rehearse; rehearse(sys.argv[1])"
    here = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, path],
            capture_output=True,
            timeout=_REHEARSAL_S + size / 1e7,
            check=False,
            env=here,
        )
        if done.returncode == 0:
            return frozenset(json.loads(done.stdout))
        if -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
            return "the HDF5 library does not come to an end with it"
    except subprocess.TimeoutExpired:
        return "the HDF5 library does not come to an end with it"
    except (OSError, ValueError) as error:
        return f"it could not be looked through: {error}"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    why = said[-1] if said and done.returncode > 0 else f"signal {-done.returncode}"
    return f"it ends the HDF5 library ({why})"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        parts = [_plain(part) for part in value]
        return None if None in parts else parts
    if isinstance(value, str):
        value.encode()
    return value if isinstance(value, str | bool | int | float) else None


def node_at(file: Any, place: str) -> Any:
    """Walk to a path by hard links only; None where there is nothing."""
    import h5py

    node, walked = file, ""
    for part in (part for part in place.split("/") if part):
        walked += f"/{part}"
        try:
            link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                return None
            if isinstance(link, h5py.HardLink):
                node = node[part]
                continue
        except Exception as error:
            raise _damaged(walked, error) from error
        raise ImportFailed(f"{walked} is a link to another place").with_hint(_ONE_FILE)
    return node


def _numbers(file: Any, place: str) -> Any:
    found = dataset(file, place)
    if found.dtype.kind not in "biuf" or found.dtype.itemsize > 8:
        raise ImportFailed(f"{place} holds {found.dtype}, not plain numbers").with_hint(
            "keep numbers as floats or integers of at most 64 bits"
        )
    return found


def _blocks(found: Any) -> Iterator[slice]:
    """Cut the rows of a dataset into slices of about 4 MB, whole chunks where it has them.

    A chunk of which a part is asked for is unpacked whole, and again for the next part.
    """
    if found.ndim == 0 or found.size == 0:
        return
    width = found.size // found.shape[0] * found.dtype.itemsize
    many = max(_BLOCK // max(width, 1), 1)
    if found.chunks and found.chunks[0] * width <= MOST_BYTES:
        many = max(many - many % found.chunks[0], found.chunks[0])
    for start in range(0, found.shape[0], many):
        yield slice(start, start + many)


def _read(found: Any, place: str, part: Any) -> npt.NDArray[Any]:
    try:
        values = np.asarray(found[part])
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    except Exception as error:
        raise _damaged(place, error) from error


def _bounded(place: str, size: int, what: str) -> None:
    if size > MOST_BYTES:
        raise ImportFailed(
            f"{place} is too large: {what} has {size / 1e6:.0f} MB, {MOST_BYTES / 1e6:.0f} are read"
        ).with_hint("split the recording into episodes, images in chunks of one image")


def _damaged(place: str, error: Exception) -> ImportFailed:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ImportFailed(f"{place} cannot be read: {reason}").with_hint(_COPY_AGAIN)
