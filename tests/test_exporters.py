"""The contract every exporter keeps. A new file in demos/exporters is tested here unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import demos
from demos.cli import main
from demos.errors import StoreError, UnknownName
from demos.exporters import ExportFailed, exporters
from demos.importers import import_source, importers
from demos.store import layout, verify
from tests import export_store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("made") / "lab")


@pytest.fixture
def lab(made: demos.Store, tmp_path: Path) -> demos.Store:
    """A copy that a test may harm."""
    return demos.open(shutil.copytree(made.root, tmp_path / "lab"))


def facts_of(lab: demos.Store) -> list[tuple[Path, int]]:
    """List the files with their times, without the catalog's: reading it touches its lock."""
    files = (path for path in lab.root.rglob("*") if path.is_file())
    return sorted((p, p.stat().st_mtime_ns) for p in files if not p.name.startswith("catalog."))


@pytest.fixture(params=list(exporters))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_says_what_it_loses_in_one_sentence(name: str) -> None:
    assert len(exporters[name].loses) > 10
    assert "\n" not in exporters[name].loses
    assert (exporters[name].__doc__ or "").strip()


def test_every_episode_goes_out_or_has_a_reason(
    name: str, made: demos.Store, tmp_path: Path
) -> None:
    report = made.select("").export(tmp_path / "out", to=name)

    spoken_of = {w.episode for w in report.written} | {e.episode for e in report.left_out}
    assert spoken_of == set(made.catalog.ids())
    assert len(report.written) >= 2
    assert all(each.reason and each.hint for each in report.left_out)
    assert (tmp_path / "out").is_file() == exporters[name].single_file
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_store_is_not_touched(name: str, lab: demos.Store, tmp_path: Path) -> None:
    before = facts_of(lab)

    lab.select("").export(tmp_path / "out", to=name)

    assert facts_of(lab) == before
    assert verify(lab, deep=True) == []


def test_never_overwrites(name: str, made: demos.Store, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")

    with pytest.raises(StoreError, match="there already") as caught:
        made.select("").export(tmp_path / "out", to=name)

    assert caught.value.hint
    assert (tmp_path / "out").read_text() == "mine"


def test_an_interrupted_export_leaves_nothing(name: str, made: demos.Store, tmp_path: Path) -> None:
    def interrupt(done: int, of: int, episode: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.select("").export(tmp_path / "out", to=name, progress=interrupt)

    assert list(tmp_path.iterdir()) == []


def test_a_damaged_episode_is_left_out_and_the_rest_goes_out(
    name: str, lab: demos.Store, tmp_path: Path
) -> None:
    hurt = lab.select("factor.object == 'box'").ids[0]
    file = layout.episode_dir(lab.root, hurt) / layout.SIGNALS["zarr"]
    content = bytearray(file.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    file.write_bytes(content)

    report = lab.select("").export(tmp_path / "out", to=name)

    [left_out] = [each for each in report.left_out if each.episode == hurt]
    assert "signals" in left_out.reason
    assert report.written


def test_what_went_out_comes_back_in_where_it_can_be_read(
    name: str, made: demos.Store, tmp_path: Path
) -> None:
    if name not in importers:
        pytest.skip(f"{name} is written, not read")
    report = made.select("").export(tmp_path / "out", to=name)
    again = demos.open(tmp_path / "again", container="zarr")

    back = import_source(tmp_path / "out", again)

    assert back.format == name
    assert len(back.episodes) == sum(len(each.names) for each in report.written)
    assert verify(again, deep=True) == []


def test_an_unknown_format_is_answered_with_the_known_ones(
    made: demos.Store, tmp_path: Path
) -> None:
    with pytest.raises(UnknownName):
        made.select("").export(tmp_path / "out", to="no_such_format")


def test_no_episode_is_no_export(made: demos.Store, tmp_path: Path) -> None:
    for name in exporters:
        with pytest.raises(ExportFailed, match="nothing to export") as caught:
            made.select("task == 'carry'").export(tmp_path / "out", to=name)
        assert caught.value.hint


def test_the_command_prints_one_json_object(
    name: str, made: demos.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    code = main(["export", str(made.root), str(out), "--to", name, "--format", "json"])

    report = json.loads(capsys.readouterr().out)
    assert code == (1 if report["left_out"] else 0)
    assert report["format"] == name
    assert out.exists()


def test_a_frozen_selection_goes_out_with_its_splits(
    name: str, made: demos.Store, tmp_path: Path
) -> None:
    frozen = made.select("factor.object == 'box'").freeze("both", split={"train": 0.5, "val": 0.5})

    report = made.selection(f"both@{frozen.number}").export(tmp_path / "out", to=name)

    assert {w.episode for w in report.written} == {e.episode for e in frozen.episodes}
