"""A checksum of the whole file at its very end, so that no bit of it can change unnoticed.

In a zip it is the archive's comment; HDF5 ignores bytes behind its end. Reading does not look
at it (arrays carry their own checksums), `check` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

MARK = b"demos crc32c "
BLANK = MARK + b"00000000"
BLOCK = 2**20


def seal(file: IO[bytes]) -> None:
    """Replace the zeros that end `file` by the checksum of everything before them."""
    end = file.seek(0, 2)
    digits = b"%08x" % _crc32c(file, end - 8)
    file.seek(end - 8)
    file.write(digits)
    file.flush()


def problem(path: Path) -> str | None:
    """Say whether the file differs from what was sealed; None where it does not."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - len(BLANK)))
        stated = file.read()
        if not stated.startswith(MARK):
            return "the file does not end with its checksum: it is cut off or was rewritten"
        found = b"%08x" % _crc32c(file, end - 8)
    if stated[-8:] != found:
        sealed = stated[-8:].decode(errors="replace")
        return f"the file's checksum is {found.decode()}, it was sealed with {sealed}"
    return None


def _crc32c(file: IO[bytes], length: int) -> int:
    import google_crc32c

    file.seek(0)
    value = 0
    while length > 0 and (block := file.read(min(BLOCK, length))):
        value = google_crc32c.extend(value, block)
        length -= len(block)
    return value
