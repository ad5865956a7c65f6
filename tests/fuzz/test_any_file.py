"""Whatever lies in a folder, an import ends in a report or in our own error with a hint."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demos.importers import importers
from tests.fuzz.worker import imported

Files = dict[str, bytes]


@st.composite
def anything(draw: st.DrawFn) -> Files:
    """Draw one file of random bytes under a name that a recorder might give it."""
    name = draw(st.sampled_from(["x.csv", "x.hdf5", "x.mcap", "x", "meta/info.json", "data.json"]))
    head = draw(st.sampled_from([b"", b'{"codebase_version": "v2.1", ', b"\x89HDF\r\n", b"PAR1"]))
    return {name: head + draw(st.binary(max_size=64))}


def survives(files: Files, format: str | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for name, content in files.items():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes(content)
        ended = imported(folder / "source", folder / "store", format)
        assert all(ended["hints"])
        assert not ended.get("wrong")
    finally:
        shutil.rmtree(folder)


FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(FAST, max_examples=1000)
formats = st.none() | st.sampled_from(list(importers))


@FAST
@given(anything(), formats)
def test_no_file_on_earth_causes_anything_but_our_error(files: Files, format: str | None) -> None:
    survives(files, format)


@pytest.mark.slow
@SLOW
@given(anything(), formats)
def test_a_thousand_random_files_cause_nothing_but_our_error(
    files: Files, format: str | None
) -> None:
    survives(files, format)
