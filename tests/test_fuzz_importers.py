"""Whatever lies in a folder, an import ends in a report or in our own error with a hint."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demos.errors import DemosError
from demos.formats.lerobot_example import STEPS
from demos.importers import import_source, importers
from demos.store import EpisodeStore
from tests.lerobot_folders import encoded, in_table, picture, write_v30

Files = dict[str, bytes]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["../..", "video", "float32", "v2.0", "v3.0", "{episode_index}", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip


@cache
def examples() -> dict[str, Files]:
    """Read the files of one example of every importer, and of a v3.0 LeRobot folder."""
    with tempfile.TemporaryDirectory() as folder:
        roots = {name: importers[name]().write_example(Path(folder) / name) for name in importers}
        roots["mapped"] = roots["mapped"].parent  # a mapping file's data lie beside it
        roots["lerobot v3.0"] = write_v30(Path(folder) / "v30", (3, 4))
        pictures = importers["lerobot"]().write_example(Path(folder) / "pictures")
        cells = [{"bytes": encoded(picture(n), "png"), "path": None} for n in range(STEPS)]
        roots["lerobot with pictures"] = in_table(pictures, cells)
        return {name: files_of(root) for name, root in roots.items()}


def files_of(root: Path) -> Files:
    """Read the files of a source: of a folder, or of itself where it is one file."""
    if root.is_file():
        return {root.name: root.read_bytes()}
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def flipped(content: bytes, draw: st.DrawFn) -> bytes:
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    return bytes(changed)


def cut_short(content: bytes, draw: st.DrawFn) -> bytes:
    return content[: draw(st.integers(0, len(content) - 1))]


def replaced(content: bytes, draw: st.DrawFn) -> bytes:
    return draw(st.binary(max_size=64) | st.binary(max_size=64).map(lambda b: content[:16] + b))


def reworded(content: bytes, draw: st.DrawFn) -> bytes:
    """Put an arbitrary value in place of one value of a JSON file, or of its first line."""
    try:
        plain = json.loads(content.splitlines()[0] if b"\n{" in content else content)
    except ValueError:
        plain = None
    if not isinstance(plain, dict) or not plain:
        return flipped(content, draw)
    place = plain
    for _ in range(draw(st.integers(0, 4))):
        inside = [key for key, part in place.items() if isinstance(part, dict) and part]
        if not inside:
            break
        place = place[draw(st.sampled_from(inside))]
    if draw(st.booleans()):
        del place[draw(st.sampled_from(sorted(place)))]
    else:
        place[draw(st.sampled_from(sorted(place)) | st.text(max_size=8))] = draw(values)
    return json.dumps(plain).encode()


HARMS: tuple[Callable[[bytes, st.DrawFn], bytes], ...] = (flipped, cut_short, replaced, reworded)


@st.composite
def harmed(draw: st.DrawFn) -> Files:
    """Draw an example with one to three files harmed, some deleted."""
    files = dict(examples()[draw(st.sampled_from(sorted(examples())))])
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(files)))
        if len(files) > 1 and draw(st.integers(0, 5)) == 0:
            del files[name]
        elif files[name]:
            files[name] = draw(st.sampled_from(HARMS))(files[name], draw)
    return files


@st.composite
def anything(draw: st.DrawFn) -> Files:
    """Draw one file of random bytes under a name that a recorder might give it."""
    name = draw(st.sampled_from(["x.csv", "x.hdf5", "x.mcap", "x", "meta/info.json", "data.json"]))
    head = draw(st.sampled_from([b"", b'{"codebase_version": "v2.1", ', b"\x89HDF\r\n", b"PAR1"]))
    return {name: head + draw(st.binary(max_size=64))}


def survives(files: Files, format: str | None = None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for name, content in files.items():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes(content)
        store = EpisodeStore.create(folder / "store")
        try:
            report = import_source(folder / "source", store, format=format)
        except DemosError as error:
            hints: list[Any] = [error.hint]
        else:
            hints = [hint for _, _, hint in report.skipped]
            assert sorted(store.episode_ids()) == sorted(i for _, i in report.episodes)
            for _, episode in report.episodes:
                for stream in store.episode(episode).streams.values():
                    assert len(stream.time_ns) == len(stream.values)
        assert all(hints)
    finally:
        shutil.rmtree(folder)


FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(FAST, max_examples=1000)


formats = st.none() | st.sampled_from(list(importers))


@FAST
@given(harmed(), formats)
def test_a_harmed_recording_causes_nothing_but_our_error(files: Files, format: str | None) -> None:
    survives(files, format)


@FAST
@given(anything(), formats)
def test_no_file_on_earth_causes_anything_but_our_error(files: Files, format: str | None) -> None:
    survives(files, format)


@pytest.mark.slow
@SLOW
@given(harmed(), formats)
def test_a_thousand_harmed_recordings_cause_nothing_but_our_error(
    files: Files, format: str | None
) -> None:
    survives(files, format)


@pytest.mark.slow
@SLOW
@given(anything(), formats)
def test_a_thousand_random_files_cause_nothing_but_our_error(
    files: Files, format: str | None
) -> None:
    survives(files, format)
