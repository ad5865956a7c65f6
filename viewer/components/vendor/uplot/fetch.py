"""Fetch the vendored uPlot again with `npm pack` and write or compare it.

python viewer/components/vendor/uplot/fetch.py            compare with what is here
python viewer/components/vendor/uplot/fetch.py --write    replace it and renew the hashes
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.6.32"
FILES = ("LICENSE", "dist/uPlot.iife.min.js", "dist/uPlot.min.css")
HERE = Path(__file__).resolve().parent


def fetched() -> dict[str, bytes]:
    """Return the files of the npm package by their name here."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", f"uplot@{VERSION}"], cwd=folder, check=True)
        with tarfile.open(Path(folder) / f"uplot-{VERSION}.tgz") as archive:
            found = {}
            for name in FILES:
                member = archive.extractfile(f"package/{name}")
                if member is None:
                    raise FileNotFoundError(name)
                found[Path(name).name] = member.read()
    return found


def main() -> int:
    """Compare, or write with `--write`; 1 where something differs."""
    files = fetched()
    if "--write" in sys.argv:
        for name, content in files.items():
            (HERE / name).write_bytes(content)
        lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items()]
        (HERE / "sha256").write_text("\n".join(lines) + "\n", encoding="utf-8")
    different = [name for name, content in files.items() if (HERE / name).read_bytes() != content]
    print(f"differs: {', '.join(different)}" if different else f"uPlot {VERSION}: as published")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
