"""How fast a store of 10,000 episodes lists, from a cold process; what importing costs.

The episodes are real manifests in a real store, vouched for by its ledger; they share no streams.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


def run(*, quick: bool, seed: int) -> dict[str, Any]:
    """Measure seconds of wall time; `limit` is what the project promises."""
    count = 1_000 if quick else 10_000
    with tempfile.TemporaryDirectory(prefix="demos-bench-") as folder:
        root = Path(folder) / "lab"
        _make(root, count, seed)
        first = _timed(["ls", str(root), "--format", "json", "--limit", "20"])
        where = "task == 'pick_place' and outcome == None and factor.object == 'box'"
        return {
            "episodes": count,
            "import_s": round(min(_import_s() for _ in range(3)), 3),
            "import_limit_s": 0.5,
            "first_ls_with_indexing_s": round(first, 3),
            "ls_s": round(max(_timed(["ls", str(root)]) for _ in range(3)), 3),
            "ls_where_s": round(
                max(_timed(["ls", str(root), "--where", where]) for _ in range(3)), 3
            ),
            "ls_limit_s": 1.5,
            "first_page_ms": round(_first_page_ms(root, where.replace(" == None", " == ''")), 2),
            "dataframe_s": round(_dataframe_s(root), 3),
        }


def _make(root: Path, count: int, seed: int) -> None:
    import numpy as np

    import demos
    from demos.model import Facts, FileInfo, Manifest
    from demos.provenance import made_by, new_id, sha256_bytes
    from demos.schema import dump
    from demos.store import layout, ledger

    store = demos.open(root, container="zarr")
    rng = np.random.default_rng(seed)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    facts, session = [], new_id()
    for number in range(count):
        known = Facts(
            task=str(rng.choice(["pick_place", "carry"])),
            origin="simulated",
            recorded_at=start + timedelta(minutes=number),
            factors={
                "object": str(rng.choice(["box", "cylinder"])),
                "lighting": str(rng.choice(["bright", "dim"])),
            },
            provenance=made_by("demos bench", seed=seed),
        )
        manifest = Manifest(
            **known.model_dump(),
            id=new_id(),
            session=session,
            embodiment="g1_dex3",
            operator=f"op-{rng.integers(12)}",
            container="zarr",
            duration_ns=int(rng.integers(5_000_000_000, 20_000_000_000)),
            files={"signals.zarr.zip": FileInfo(size=1_000_000, sha256="0" * 64)},
        )
        path = layout.episode_dir(store.root, manifest.id) / layout.MANIFEST
        path.parent.mkdir(parents=True)
        content = dump(manifest)
        path.write_bytes(content)
        name = path.relative_to(store.root).as_posix()
        facts.append(ledger.Fact(name, len(content), sha256_bytes(content)))
    ledger.append(store.root, facts)


def _timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "demos", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def _import_s() -> float:
    code = "import time; t = time.perf_counter(); import demos; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _first_page_ms(root: Path, where: str) -> float:
    import demos

    store = demos.open(root)
    len(store)
    start = time.perf_counter()
    store.select(where).rows(["id", "task", "outcome"], limit=50)
    return (time.perf_counter() - start) * 1e3


def _dataframe_s(root: Path) -> float:
    import pandas as pd

    import demos

    store = demos.open(root)
    assert isinstance(pd.DataFrame(), pd.DataFrame)
    len(store)
    start = time.perf_counter()
    assert len(store.episodes) == len(store)
    return time.perf_counter() - start
