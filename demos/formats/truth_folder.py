"""`demos/` inside a dataset of another format: the recording that the table was made of.

A table of steps has one rate and no labels' authors. Beside it lies, per episode, the container
with every stream at its own rate, the manifest and the labels; `report.json` says what became of
each. LeRobot does not look into folders that it does not know.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demos.errors import Damaged
from demos.model import Label, Manifest
from demos.provenance import sha256_bytes, sha256_file
from demos.schema import dump

FOLDER = "demos"
REPORT = f"{FOLDER}/report.json"


def put_truth(
    root: Path, manifest: bytes | Manifest, labels: Sequence[Label], signals: Path | None
) -> dict[str, str]:
    """Put one recording beside a dataset; return the sha256 of what it is, by file name.

    signals: the container, copied as it is; None for an episode that is in no store.
    Raises Damaged where its bytes are not those that the manifest knows; nothing is left then.
    """
    known = manifest if isinstance(manifest, Manifest) else Manifest.model_validate_json(manifest)
    content = dump(manifest) if isinstance(manifest, Manifest) else manifest
    folder = root / FOLDER / "episodes" / known.id
    folder.mkdir(parents=True)
    found = {"manifest.json": sha256_bytes(content)}
    (folder / "manifest.json").write_bytes(content)
    plain = [json.loads(dump(label)) for label in labels]
    (folder / "labels.json").write_text(json.dumps(plain, ensure_ascii=False, indent=1) + "\n")
    if signals is not None:
        copy = folder / signals.name
        shutil.copyfile(signals, copy)
        found[signals.name] = sha256_file(copy)
        expected = known.files.get(signals.name)
        if expected is not None and expected.sha256 != found[signals.name]:
            shutil.rmtree(folder)
            raise Damaged(f"{signals.name} of {known.id} is not what was published").with_hint(
                "restore the file from a copy; `demos verify STORE` lists what else is hurt"
            )
    return found


def write_report(root: Path, report: Mapping[str, Any]) -> None:
    """Write `demos/report.json`: a number that JSON cannot hold is null."""
    from demos.formats.files import plain_json

    path = root / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain_json(report), ensure_ascii=False, indent=1, allow_nan=False)
    path.write_text(text + "\n")
