"""The contract every importer keeps. A new file in demos/importers is tested here unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demos.errors import DemosError, ImportFailed, UnknownName
from demos.importers import Found, Importer, Item, Options, importers, locate, open_source


@pytest.fixture(params=list(importers))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def importer(name: str) -> Importer:
    return importers[name]()


def found(items: list[Item]) -> list[Found]:
    return [item for item in items if isinstance(item, Found)]


def test_reads_its_own_example(importer: Importer, tmp_path: Path) -> None:
    episodes = found(list(importer.episodes(importer.write_example(tmp_path), Options())))

    assert episodes
    for episode in episodes:
        assert episode.draft.streams
        for stream in episode.draft.streams.values():
            assert len(stream) > 0
            assert stream.time_ns.min() >= 0
            assert all(stream.units)


def test_says_where_an_episode_comes_from_and_what_it_assumed(
    name: str, importer: Importer, tmp_path: Path
) -> None:
    episodes = found(list(importer.episodes(importer.write_example(tmp_path), Options())))

    for episode in episodes:
        provenance = episode.draft.facts.provenance
        assert provenance.source_format.split(" ")[0] == name
        assert provenance.source_sha256
        assert provenance.parameters["source_episode"] == episode.name
        assert any("operator" in text for text in provenance.assumed)


def test_takes_the_words_of_the_person_who_imports(importer: Importer, tmp_path: Path) -> None:
    said = Options(task="pick_place", operator="op-3", factors={"lighting": "dim"})

    [episode, *_] = found(list(importer.episodes(importer.write_example(tmp_path), said)))

    assert episode.draft.facts.task == "pick_place"
    assert episode.draft.session.operator == "op-3"
    assert episode.draft.facts.factors["lighting"] == "dim"
    assert not any("operator" in text for text in episode.draft.facts.provenance.assumed)


def test_reads_the_same_twice(importer: Importer, tmp_path: Path) -> None:
    source = importer.write_example(tmp_path)

    first, second = (found(list(importer.episodes(source, Options()))) for _ in range(2))

    for one, other in zip(first, second, strict=True):
        assert list(one.draft.streams) == list(other.draft.streams)
        for stream in one.draft.streams:
            a, b = one.draft.streams[stream], other.draft.streams[stream]
            np.testing.assert_array_equal(a.values, b.values)
            np.testing.assert_array_equal(a.time_ns, b.time_ns)


def test_somebody_who_looks_at_the_numbers_alone_sees_the_same_ones_and_no_image(
    name: str, importer: Importer, tmp_path: Path
) -> None:
    source = importer.write_example(tmp_path)

    whole, numbers = (
        found(list(importer.episodes(source, Options(numbers_only=only)))) for only in (False, True)
    )

    if name == "hdf5":  # its channels were held against a body once
        assert numbers == []
        return
    for one, other in zip(whole, numbers, strict=True):
        assert other.draft.videos == {}
        assert list(one.draft.streams) == list(other.draft.streams)
        for name, stream in one.draft.streams.items():
            np.testing.assert_array_equal(stream.values, other.draft.streams[name].values)
            np.testing.assert_array_equal(stream.time_ns, other.draft.streams[name].time_ns)


def test_is_the_only_one_to_claim_its_example(
    name: str, importer: Importer, tmp_path: Path
) -> None:
    source = importer.write_example(tmp_path)

    assert [n for n in importers if importers[n]().sniff(source)] == [name]
    assert locate(source) == (name, source, ())


def test_finds_its_example_one_folder_below_and_says_so(
    name: str, importer: Importer, tmp_path: Path
) -> None:
    source = importer.write_example(tmp_path / "below")

    found_name, path, [remark] = locate(tmp_path)

    assert (found_name, path) == (name, source)
    assert "below the source" in remark.text


def test_sniffing_never_raises(importer: Importer, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)

    for path in (tmp_path, tmp_path / "absent", loop, Path("\0"), Path("x" * 5000)):
        assert importer.sniff(path) is False


def test_two_recordings_in_one_folder_are_named(importer: Importer, tmp_path: Path) -> None:
    importer.write_example(tmp_path / "a")
    importer.write_example(tmp_path / "b")

    with pytest.raises(ImportFailed, match="holds 2 recordings") as caught:
        list(open_source(tmp_path))

    assert "one at a time" in caught.value.hint


def test_unknown_file_names_the_known_formats(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"?")

    with pytest.raises(ImportFailed, match="no known format") as caught:
        list(open_source(tmp_path / "x.bin"))

    assert all(name in caught.value.hint for name in importers)


@pytest.mark.parametrize(
    ("file", "kind"),
    [("a.mcap", "MCAP"), ("a.bag", "ROS 1"), ("x/y/a_0.db3", "ROS 2"), ("data.json", "Unitree")],
)
def test_what_a_foreign_folder_looks_like_is_said(file: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"?")

    with pytest.raises(ImportFailed, match=kind):
        list(open_source(tmp_path))


def test_a_source_that_is_not_there_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed, match="does not exist"):
        list(open_source(tmp_path / "absent"))
    with pytest.raises(ImportFailed, match="empty folder"):
        list(open_source(tmp_path))


def test_an_unknown_format_is_answered_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        list(open_source(tmp_path, format="lerobt"))

    assert caught.value.hint == "did you mean lerobot?"


def test_a_named_format_that_does_not_fit_is_our_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(DemosError) as caught:
        list(open_source(tmp_path, format=name))

    assert caught.value.hint


def test_listing_importers_loads_nothing_heavy() -> None:
    code = (
        "import sys, demos.importers as i; list(i.importers);"
        "print({'torch', 'h5py', 'dask', 'mujoco', 'streamlit', 'av', 'pyarrow', 'lerobot',"
        " 'rosbags', 'mcap', 'zarr', 'numcodecs', 'scipy', 'google.protobuf'}"
        " & set(sys.modules))"
    )

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (answer.stdout.strip(), answer.returncode) == ("set()", 0), answer.stderr
