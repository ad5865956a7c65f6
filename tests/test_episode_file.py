"""One HDF5 file holds all there is of an episode: it goes out and comes back bit for bit."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import demos
from demos.errors import DemosError, ImportFailed, NewerVersion, StoreError
from demos.formats import hdf5
from demos.formats.episode_file import key, name_of
from demos.importers import ImportReport, import_source
from demos.model import Draft, Episode, Facts, Stream, VideoFile
from demos.store import EpisodeStore, verify
from demos.store.encoding import encode
from demos.store.video import VideoCamera
from tests import export_store
from tests.examples import EXAMPLES, example
from tests.lerobot_folders import write_v30
from tests.scripted import ImagesInMemory, draft_of
from tests.test_real_data import DATA, G1

CONTAINERS: list[Literal["zarr", "hdf5"]] = ["zarr", "hdf5"]


def same_bits(one: Stream, other: Stream) -> bool:
    """Compare streams: what they mean, dtypes, shapes and every byte of values and stamps."""

    def bits(values: npt.NDArray[Any] | None) -> tuple[Any, ...]:
        if values is None:
            return ()
        return values.dtype, values.shape, np.ascontiguousarray(values).tobytes()

    return one.info == other.info and all(
        bits(getattr(one, name)) == bits(getattr(other, name))
        for name in ("values", "time_ns", "source_time_ns", "arrival_ns")
    )


def assert_same(before: Episode, after: Episode) -> None:
    """Everything that is known of an episode is the same, but its id and where it came from."""
    assert list(after.streams) == list(before.streams)
    for name, stream in before.streams.items():
        assert same_bits(stream, after.streams[name]), name
    assert list(after.cameras) == list(before.cameras)
    for name, camera in before.cameras.items():
        other = after.cameras[name]
        assert isinstance(camera, VideoCamera)
        assert isinstance(other, VideoCamera)
        assert other.index.equals(camera.index)
        assert other.path.read_bytes() == camera.path.read_bytes()
        assert after.manifest.cameras[name] == before.manifest.cameras[name]
    for field in Facts.model_fields:
        if field != "provenance":
            assert getattr(after.manifest, field) == getattr(before.manifest, field), field
    assert after.manifest.events == before.manifest.events
    assert after.manifest.operator == before.manifest.operator
    assert after.manifest.embodiment == before.manifest.embodiment
    assert after.manifest.session == before.manifest.session
    assert after.manifest.duration_ns == before.manifest.duration_ns
    assert [label.model_copy(update={"episode": ""}) for label in after.labels] == [
        label.model_copy(update={"episode": ""}) for label in before.labels
    ]


@dataclass(frozen=True)
class There:
    """A store, the file it was exported to, and the store that this was imported into."""

    before: demos.Store
    file: Path
    after: demos.Store
    report: ImportReport

    def pairs(self) -> Iterator[tuple[Episode, Episode]]:
        """Yield each episode as it was and as it came back."""
        for name, episode in self.report.episodes:
            yield self.before[name], self.after[episode]


def there_and_back(store: demos.Store, folder: Path, container: Any = "zarr") -> There:
    file = folder / "episodes.h5"
    report = store.select("").export(file, to="hdf5")
    assert report.left_out == ()
    after = demos.open(folder / "after", container=container)
    back = import_source(file, after)
    after.refresh()
    return There(store, file, after, back)


def with_video(episode: Episode, folder: Path) -> Draft:
    """Turn an example into a draft, its images encoded."""
    draft, videos = draft_of(episode), {}
    for name, camera in episode.cameras.items():
        if isinstance(camera, ImagesInMemory) and episode.id != example("unreadable_video").id:
            path = folder / f"{episode.id}.{name}.mp4"
            encode(path, iter(camera.pixels), camera.time_ns, 15.0)
            videos[name] = VideoFile(path, camera.info, camera.time_ns)
    return replace(draft, videos=videos)


@pytest.fixture(scope="module", params=CONTAINERS)
def nasty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> There:
    """The whole catalogue of examples, out of one container and into the other."""
    folder = tmp_path_factory.mktemp("nasty")
    store = demos.open(folder / "before", container=request.param)
    for name in EXAMPLES:
        store.publish(with_video(example(name), folder))
    store.refresh()
    [other] = set(CONTAINERS) - {request.param}
    return there_and_back(store, folder, other)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> There:
    """Three recorded episodes with force, touch, images and labels."""
    folder = tmp_path_factory.mktemp("made")
    return there_and_back(export_store.make(folder / "before"), folder)


def test_every_nasty_example_comes_back_bit_for_bit(nasty: There) -> None:
    pairs = list(nasty.pairs())

    assert len(pairs) == len(EXAMPLES)
    for before, after in pairs:
        assert_same(before, after)
    assert verify(nasty.after, deep=True) == []


def test_recorded_episodes_come_back_bit_for_bit(made: There) -> None:
    pairs = list(made.pairs())

    assert len(pairs) == 3
    for before, after in pairs:
        assert_same(before, after)


def test_an_episode_that_went_out_twice_is_still_the_same(made: There, tmp_path: Path) -> None:
    again = there_and_back(made.after, tmp_path, "hdf5")

    for _, after in again.pairs():
        first = made.before[
            str(after.manifest.provenance.parameters["original"]["parameters"]["source_episode"])
        ]
        assert_same(first, after)


def test_where_it_came_from_is_remembered(made: There) -> None:
    for before, after in made.pairs():
        provenance = after.manifest.provenance
        assert provenance.source_format == "hdf5 1"
        assert provenance.parameters["source_episode"] == before.id
        assert provenance.parameters["original"] == before.manifest.provenance.model_dump(
            mode="json"
        )
        assert provenance.seed == before.manifest.provenance.seed


def test_anybody_with_h5py_reads_it(made: There) -> None:
    name = "wrench.right_wrist"
    episode = next(e for e in made.before if name in e.streams)
    stream = episode.streams[name]

    with h5py.File(made.file) as file:
        assert file.attrs["format"] == "demos-episodes"
        group = file[f"episodes/{episode.id}"]
        assert group.attrs["task"] == "pick_place"
        assert group.attrs["outcome"] == episode.outcome
        force = group[f"streams/{name}"]
        np.testing.assert_array_equal(force["values"][()], stream.values)
        np.testing.assert_array_equal(force["time_ns"][()], stream.time_ns)
        assert list(force.attrs["units"]) == list(stream.units)
        assert list(force.attrs["channels"]) == list(stream.channels)
        assert force["values"].compression == "gzip"
        manifest = json.loads(group["manifest"][()])
        assert manifest["id"] == episode.id


def test_a_video_is_in_it_as_a_playable_file(made: There, tmp_path: Path) -> None:
    import av

    episode = next(e for e in made.before if e.cameras)

    with h5py.File(made.file) as file:
        camera = file[f"episodes/{episode.id}/cameras/egocentric"]
        (tmp_path / "x.mp4").write_bytes(camera["file"][()].tobytes())
        stamps = camera["time_ns"][()]

    with av.open(str(tmp_path / "x.mp4")) as video:
        images = sum(1 for _ in video.decode(video=0))
    assert images == len(stamps) == len(episode.cameras["egocentric"])


def test_streams_of_one_clock_share_their_stamps(made: There) -> None:
    episode = next(e for e in made.before if "joint_velocity" in e.streams)

    with h5py.File(made.file) as file:
        streams = file[f"episodes/{episode.id}/streams"]
        assert streams["joint_velocity/time_ns"] == streams["joint_position/time_ns"]
        assert streams["wrench.right_wrist/time_ns"] != streams["joint_position/time_ns"]


def test_images_cut_out_of_a_longer_video_come_back_as_they_were(tmp_path: Path) -> None:
    store = demos.open(tmp_path / "before", container="zarr")
    import_source(write_v30(tmp_path / "v30", (6, 9, 5), keys=[0, 4, 11], b_frames=2), store)
    store.refresh()

    there = there_and_back(store, tmp_path)

    with h5py.File(there.file) as file:
        shown = [
            name for name in file["episodes"] if "shown" in file[f"episodes/{name}/cameras/ego"]
        ]
    assert len(shown) >= 2
    for before, after in there.pairs():
        assert_same(before, after)
        count = range(len(before.cameras["ego"]))
        np.testing.assert_array_equal(before.images("ego", count), after.images("ego", count))


def test_sessions_are_the_ones_they_were(made: There) -> None:
    before = {session.id: session for session in made.before.sessions()}
    after = {session.id: session for session in made.after.sessions()}

    assert after == {
        name: session
        for name, session in before.items()
        if any(e.manifest.session == name for e in made.before)
    }


def test_an_import_that_was_interrupted_goes_on_in_the_sessions_of_the_file(
    made: There, tmp_path: Path
) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    def stop(done: int, of: int | None, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_source(made.file, store, progress=stop)
    report = import_source(made.file, store)

    assert len(report.episodes) == 1
    assert {store.manifest(e).session for e in store.episode_ids()} == {
        e.manifest.session for e in made.before
    }


def test_another_operator_or_task_is_another_session(made: There, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(made.file, store, operator="op-9", task="carry", factors={"shift": "b"})

    for _, episode in report.episodes:
        manifest = store.manifest(episode)
        assert (manifest.operator, manifest.task) == ("op-9", "carry")
        assert manifest.factors["shift"] == "b"
        assert manifest.session not in {s.id for s in made.before.sessions()}


def test_only_the_streams_that_were_chosen_go_out(made: There, tmp_path: Path) -> None:
    chosen = made.before.select("factor.object == 'box'")

    report = chosen.export(tmp_path / "out.h5", to="hdf5", streams=["joint_position"])

    assert all("left out on purpose" in note for w in report.written for note in w.notes)
    store = EpisodeStore.create(tmp_path / "store")
    for _, episode in import_source(tmp_path / "out.h5", store).episodes:
        assert list(store.manifest(episode).streams) == ["joint_position"]


def test_a_rate_of_steps_changes_nothing_and_says_so(made: There, tmp_path: Path) -> None:
    report = made.before.select("").export(tmp_path / "out.h5", to="hdf5", rate_hz=10)

    assert all("keeps its own rate" in note for w in report.written for note in w.notes)
    assert report.written[0].notes


def test_splits_and_frozen_labels_go_out(made: There, tmp_path: Path) -> None:
    picked = made.before.select("factor.object == 'box'")
    frozen = picked.freeze("both", split={"train": 0.5, "val": 0.5})

    made.before.selection(f"both@{frozen.number}").export(tmp_path / "out.h5", to="hdf5")

    with h5py.File(tmp_path / "out.h5") as file:
        found = {name: group.attrs["split"] for name, group in file["episodes"].items()}
    assert found == {each.episode: each.split for each in frozen.episodes}


def harmed(made: There, folder: Path, episode: str, place: str, byte: int = -1) -> Path:
    """Copy the file and change one byte of what lies at a place of an episode."""
    with h5py.File(made.file) as file:
        found = file[f"episodes/{episode}/{place}"]
        at = found.id.get_offset()
        if at is None:
            at = found.id.get_chunk_info(0).byte_offset
        size = found.id.get_storage_size()
    content = bytearray(made.file.read_bytes())
    content[at + byte % size] ^= 255
    path = folder / "harmed.h5"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "byte"),
    [
        ("streams/joint_position/values", 20),
        ("streams/joint_position/time_ns", 20),
        ("cameras/egocentric/file", 3000),
        ("cameras/egocentric/time_ns", 20),
    ],
)
def test_an_episode_with_a_changed_byte_is_refused_and_the_rest_goes_in(
    made: There, tmp_path: Path, place: str, byte: int
) -> None:
    hurt = next(e.id for e in made.before if e.cameras)
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(harmed(made, tmp_path, hurt, place, byte), store)

    assert [name for name, _, _ in report.skipped] == [hurt]
    [(_, reason, hint)] = report.skipped
    assert "is not what was written" in reason or "cannot be read" in reason
    assert hint
    assert len(report.episodes) == 2


@pytest.fixture
def whole_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the process that looks through each file first: these were written just now."""
    monkeypatch.setattr(hdf5, "_looked_through", lambda path: frozenset())


@pytest.mark.usefixtures("whole_files")
@pytest.mark.parametrize("document", ["manifest", "session", "labels", "checksums"])
def test_a_document_that_was_edited_is_refused(made: There, tmp_path: Path, document: str) -> None:
    path = tmp_path / "edited.h5"
    path.write_bytes(made.file.read_bytes())
    with h5py.File(path, "r+") as file:
        for group in file["episodes"].values():
            text = group[document][()].decode()
            del group[document]
            # a space where JSON does not care; in the checksums another digit
            group[document] = text.replace("a", "b") if document == "checksums" else f"{text} "

    with pytest.raises(ImportFailed) as caught:
        import_source(path, EpisodeStore.create(tmp_path / "store"), format="hdf5")

    assert caught.value.hint


@pytest.mark.usefixtures("whole_files")
@pytest.mark.parametrize("document", ["manifest", "labels", "checksums"])
@pytest.mark.parametrize("text", ["", "{", "[1]", "7", '{"kind": "episode"}', "[" * 100_000])
def test_a_document_of_anything_else_is_our_error(
    made: There, tmp_path: Path, document: str, text: str
) -> None:
    path = tmp_path / "edited.h5"
    path.write_bytes(made.file.read_bytes())
    with h5py.File(path, "r+") as file:
        for group in file["episodes"].values():
            del group[document]
            group[document] = text
            if document != "checksums":
                sums = json.loads(group["checksums"][()])
                sums[document] = hashlib.sha256(text.encode()).hexdigest()
                del group["checksums"]
                group["checksums"] = json.dumps(sums)

    with pytest.raises(DemosError) as caught:
        import_source(path, EpisodeStore.create(tmp_path / "store"), format="hdf5")

    assert caught.value.hint


def test_a_file_of_a_later_release_says_to_upgrade(made: There, tmp_path: Path) -> None:
    path = tmp_path / "later.h5"
    path.write_bytes(made.file.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = 2

    with pytest.raises(NewerVersion, match="version 2; this release reads up to 1") as caught:
        import_source(path, EpisodeStore.create(tmp_path / "store"))

    assert "upgrade" in caught.value.hint


def test_hdf5_of_another_kind_says_what_to_do(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.zeros(3)

    with pytest.raises(ImportFailed, match="no HDF5 file of episodes") as caught:
        import_source(tmp_path / "x.h5", EpisodeStore.create(tmp_path / "s"), format="hdf5")

    assert "mapping file" in caught.value.hint


def test_a_damaged_video_is_left_out_of_an_export(made: There, tmp_path: Path) -> None:
    lab = demos.open(shutil.copytree(made.before.root, tmp_path / "lab"))
    hurt = next(e.id for e in lab if e.cameras)
    [video] = lab.root.rglob(f"episodes/*/{hurt}/egocentric.mp4")
    content = bytearray(video.read_bytes())
    content[-3] ^= 1
    video.chmod(0o644)
    video.write_bytes(content)

    report = lab.select("").export(tmp_path / "out.h5", to="hdf5")

    [left] = report.left_out
    assert left.episode == hurt
    assert "egocentric.mp4" in left.reason
    assert left.hint
    with h5py.File(tmp_path / "out.h5") as file:
        assert hurt not in file["episodes"]
        assert len(file["episodes"]) == 2


def test_a_full_disk_is_an_error_and_leaves_nothing(
    made: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def full(descriptor: int, content: Any, place: int) -> int:
        nonlocal written
        written += len(content)
        if written > 20_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, content, place)

    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(StoreError, match="space") as caught:
        made.before.select("").export(tmp_path / "out.h5", to="hdf5")

    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=12) | st.sampled_from([".", "..", "...", "a/b", "%2F", "%", "/", "\0", ""]))
def test_any_name_becomes_a_group_and_comes_back(name: str) -> None:
    group = key(name)

    assert name_of(group) == name
    assert group
    assert not set(group) & {"/", "\0"}
    assert set(group) != {"."}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real recordings in {DATA}")
def test_the_real_g1_goes_out_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = demos.open(tmp_path / "before", container="zarr")
    import_source(G1, store)
    store.refresh()

    there = there_and_back(store, tmp_path, "hdf5")

    pairs = list(there.pairs())
    assert len(pairs) == 20
    assert sum(len(before.cameras) for before, _ in pairs) == 6
    for before, after in pairs:
        assert_same(before, after)
        for name, camera in before.cameras.items():
            few = [0, len(camera) // 2, len(camera) - 1]
            np.testing.assert_array_equal(before.images(name, few), after.images(name, few))
