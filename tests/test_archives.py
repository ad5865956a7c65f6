"""Stores written by released schema versions open forever."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from demos.provenance import new_label
from demos.store import EpisodeStore, recover, verify

ARCHIVES = sorted((Path(__file__).parent / "data" / "archives").glob("v*/*"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: f"{path.parent.name}-{path.name}")
def archive(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_is_an_archive_of_each_container() -> None:
    assert {path.name for path in ARCHIVES} == {"zarr", "hdf5"}


def test_an_archive_is_whole_to_the_last_byte(archive: Path) -> None:
    assert verify(archive, deep=True) == []


def test_an_archived_recording_reads_as_it_was_written(archive: Path) -> None:
    store = EpisodeStore.open(archive)
    (recorded,) = [e for e in store.episode_ids() if store.manifest(e).task == "pick_place"]

    episode = store.episode(recorded)

    values = np.arange(20 * 31, dtype=np.float32).reshape(20, 31)
    position, velocity = episode.streams["joint_position"], episode.streams["joint_velocity"]
    assert np.array_equal(position.values, values)
    assert position.source_time_ns is not None
    assert position.source_time_ns[0] == 10**15
    assert position.info.rate_hz == 500
    assert np.array_equal(velocity.values, values.astype(np.float64) / 3)
    assert velocity.time_ns[0] == 19 * 2_000_000
    assert episode.streams["depth.egocentric"].values[1, 3, 5] == 47
    assert episode.streams["control_authority"].values.tolist() == [[1]]
    bright = (episode.images("egocentric", range(12))[:, 24, :, 0] > 100).sum(axis=1)
    assert bright.tolist() == [4 * number + 4 for number in range(12)]
    assert [label.of for label in episode.labels] == ["outcome", "use"]
    assert episode.manifest.factors == {"object": "box", "mass_kg": 0.25}
    assert episode.manifest.events[0].values == {"reason": "test"}


def test_an_archived_import_results_and_selection_read_as_they_were_written(
    archive: Path,
) -> None:
    store = EpisodeStore.open(archive)
    (imported,) = [e for e in store.episode_ids() if store.manifest(e).task == "elsewhere"]

    stream = store.episode(imported).streams["pose.z"]

    assert (stream.channels, stream.clock) == (("höhe",), "nominal")
    assert np.array_equal(stream.values, [[1.0], [np.nan], [3.0]], equal_nan=True)
    assert store.episode(imported).images("left", [11]).shape == (1, 48, 64, 3)
    assert store.results("scores")["value"].tolist() == [1.5]
    assert store.read_selection("all").number == 1
    assert len(store.sessions()) == 3


def test_an_archive_takes_in_new_files(archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "lab")
    store = EpisodeStore.open(tmp_path / "lab")
    episode = store.episode_ids()[0]

    store.add_label(new_label(episode, "intent", annotator="a", role="reviewer", value="nominal"))

    assert recover(store).failed == {}
    assert verify(store, deep=True) == []
