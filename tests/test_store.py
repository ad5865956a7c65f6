"""The store: what is published is whole, found again, and never written over."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demos.errors import (
    DemosError,
    EpisodeNotFound,
    ImportFailed,
    NewerVersion,
    StoreError,
    UnknownName,
)
from demos.model import SelectionRecord, Stream, VideoFile
from demos.provenance import new_id, new_label, now, sha256_file
from demos.store import EpisodeStore, layout, recover, verify, withdraw
from tests.small_store import CAMERA, PAIR, draft, fill, forked, recorder_of


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore.create(tmp_path / "lab")


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let the operating system refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def without_rights(work: Callable[[], object]) -> str:
    """Do `work` as a user who owns nothing; return what went wrong, as text."""
    reader, writer = os.pipe()
    child = forked()
    if child == 0:
        os.close(reader)
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            answer = "nothing went wrong"
        except BaseException as error:  # noqa: BLE001 (told to the parent)
            answer = f"{type(error).__name__}: {error} [{getattr(error, 'hint', '')}]"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        answer = told.read()
    os.waitpid(child, 0)
    return answer


def selection(name: str, number: int) -> SelectionRecord:
    return SelectionRecord(
        name=name, number=number, where="", created_at=now(), episodes=(), sha256="0" * 64
    )


@pytest.mark.parametrize("container", ["zarr", "hdf5"])
def test_an_import_is_published_with_its_video_labels_and_findings(
    tmp_path: Path, container: layout.Container
) -> None:
    store = EpisodeStore.create(tmp_path / "lab", container)
    given = draft(tmp_path)

    manifest = store.publish(given)

    episode = store.episode(manifest.id)
    video = layout.episode_dir(store.root, manifest.id) / manifest.cameras["egocentric"].file
    assert video.name == "egocentric.mp4"
    assert sha256_file(video) == sha256_file(given.videos["egocentric"].path)
    assert np.array_equal(episode.streams["pose.x"].values, given.streams["pose.x"].values)
    assert len(episode.cameras["egocentric"]) == 12
    assert episode.images("egocentric", [11]).shape == (1, 48, 64, 3)
    assert [(label.value, label.episode) for label in episode.labels] == [("success", manifest.id)]
    findings = store.results("findings")
    assert findings[["episode", "check", "run"]].values.tolist() == [
        [manifest.id, "gaps", "published"]
    ]
    assert manifest.duration_ns == 11 * 33_333_333
    assert store.session(manifest.session) == given.session
    assert verify(store, deep=True) == []


def test_episodes_open_again_in_another_store_object(store: EpisodeStore, tmp_path: Path) -> None:
    first = store.publish(draft(tmp_path))
    second = store.publish(draft(tmp_path))

    again = EpisodeStore.open(store.root)

    assert again.info == store.info
    assert again.episode_ids() == sorted([first.id, second.id])
    assert [s.id for s in again.sessions()] == sorted([first.session, second.session])
    assert again.manifest(first.id) == first


def test_images_that_do_not_belong_to_the_episode_are_not_shown(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = draft(tmp_path)
    stamps = np.arange(4, dtype=np.int64)
    shown = np.arange(3, 7, dtype=np.int64)
    part = VideoFile(given.videos["egocentric"].path, CAMERA, stamps, shown)

    manifest = store.publish(replace(given, videos={"egocentric": part}))

    camera = store.episode(manifest.id).cameras["egocentric"]
    bright = (camera.images(range(4))[:, 24, :, 0] > 100).sum(axis=1)
    assert bright.tolist() == [number * 4 + 1 for number in range(3, 7)]


def test_stamps_that_do_not_fit_the_video_leave_nothing_behind(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = draft(tmp_path)
    wrong = replace(given.videos["egocentric"], time_ns=np.arange(5, dtype=np.int64))

    with pytest.raises(ImportFailed, match="12 images for 5 stamps"):
        store.publish(replace(given, videos={"egocentric": wrong}))

    assert store.episode_ids() == []
    assert not list((store.root / "recordings").iterdir())
    assert verify(store, deep=True) == []


def test_an_unknown_episode_is_named_with_what_was_meant(
    store: EpisodeStore, tmp_path: Path
) -> None:
    known = store.publish(draft(tmp_path)).id

    with pytest.raises(EpisodeNotFound) as caught:
        store.episode(known[:-1] + ("0" if known[-1] != "0" else "1"))

    assert known in caught.value.hint


@pytest.mark.parametrize("name", ["", "..", "../../etc", "x" * 300, "nul\0"])
def test_no_id_leads_out_of_the_store(store: EpisodeStore, name: str) -> None:
    for look in (store.episode, store.labels, store.manifest):
        with pytest.raises(EpisodeNotFound):
            look(name)
    with pytest.raises(UnknownName):
        store.session(name)
    assert not store.is_withdrawn(name)


def test_labels_are_kept_oldest_first_and_only_for_known_episodes(
    store: EpisodeStore, tmp_path: Path
) -> None:
    episode = store.publish(replace(draft(tmp_path), labels=())).id
    made = [
        new_label(episode, "outcome", annotator=name, role="reviewer", value="success")
        for name in ("a", "b")
    ]
    for label in reversed(made):
        store.add_label(label)

    assert store.labels(episode) == made
    with pytest.raises(StoreError, match="exists"):
        store.add_label(made[0])
    with pytest.raises(EpisodeNotFound):
        store.add_label(made[0].model_copy(update={"episode": new_id()}))


def test_selections_are_numbered_and_never_replaced(store: EpisodeStore) -> None:
    assert store.next_selection_number("paper") == 1

    store.add_selection(selection("paper", 1))
    store.add_selection(selection("paper", 2))
    store.add_selection(selection("paper-b", 10))

    with pytest.raises(StoreError, match="paper@2") as caught:
        store.add_selection(selection("paper", 2))
    assert "3" in caught.value.hint
    assert store.read_selection("paper").number == 2
    assert store.read_selection("paper@1").number == 1
    assert store.selection_names() == ["paper@1", "paper@2", "paper-b@10"]
    with pytest.raises(UnknownName):
        store.read_selection("pape")
    with pytest.raises(StoreError, match="file name"):
        store.add_selection(selection("../x", 1))


def test_results_of_all_runs_come_as_one_table(store: EpisodeStore) -> None:
    one = pd.DataFrame({"episode": ["a"], "value": [1.5]})
    two = pd.DataFrame({"episode": ["b"], "value": [None], "reason": ["too short"]})

    path = store.add_results("scores", "r1", "0", one)
    store.add_results("scores", "r2", "0", two)

    assert store.add_results("scores", "r1", "0", one) == path
    with pytest.raises(StoreError, match="other content"):
        store.add_results("scores", "r1", "0", two)
    found = store.results("scores")
    assert found["run"].tolist() == ["r1", "r2"]
    assert found["value"].isna().tolist() == [False, True]
    assert store.results("nothing").empty
    assert verify(store, deep=True) == []


def test_contracts_an_episode_used_are_kept_as_they_were(
    store: EpisodeStore, tmp_path: Path
) -> None:
    manifest = store.publish(draft(tmp_path))

    for use, sha256 in manifest.uses.items():
        folder, name = use.split("/")
        assert sha256_file(layout.used_file(store.root, folder, name, sha256)) == sha256


def test_a_session_is_published_once_and_never_changed(store: EpisodeStore, tmp_path: Path) -> None:
    session = draft(tmp_path).session
    store.add_session(session)
    store.add_session(session)

    with pytest.raises(StoreError, match="other content"):
        store.add_session(session.model_copy(update={"operator": "another"}))


def test_what_is_no_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreError) as caught:
            EpisodeStore.open(path)
        assert "demos init" in caught.value.hint

    (tmp_path / "photo.jpg").touch()
    with pytest.raises(StoreError, match=r"photo\.jpg"):
        EpisodeStore.create(tmp_path)


def test_a_store_is_not_made_over_another(store: EpisodeStore) -> None:
    with pytest.raises(StoreError, match="already"):
        EpisodeStore.create(store.root)


def test_a_store_of_a_later_release_is_refused(store: EpisodeStore) -> None:
    path = store.root / "store.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))

    with pytest.raises(NewerVersion) as caught:
        EpisodeStore.open(store.root)

    assert "pip install" in caught.value.hint


def test_a_read_only_store_is_read_and_says_that_it_cannot_be_written(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = draft(tmp_path)
    episode = store.publish(given).id
    recorder = recorder_of(store)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    store.episode(episode).streams["pose.x"]
    for folder in [store.root, *store.root.rglob("*")]:
        folder.chmod(folder.stat().st_mode & ~0o222)

    read = without_rights(lambda: store.episode(episode).streams["pose.x"].values)
    label = new_label(episode, "use", annotator="a", role="reviewer", value="train")
    refused = [
        without_rights(lambda: store.publish(given)),
        without_rights(lambda: store.add_label(label)),
        without_rights(lambda: recorder.episode()),
        without_rights(lambda: recover(store)),
        without_rights(lambda: EpisodeStore.create(store.root / "cache" / "new")),
    ]

    assert read == "nothing went wrong"
    for answer in refused:
        assert answer.startswith("StoreError: cannot")
        assert "permission denied" in answer
        assert "writable" in answer


def test_a_full_disk_while_importing_leaves_nothing_behind(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = draft(tmp_path)
    long = Stream(np.arange(20_000), np.random.default_rng(0).normal(size=(20_000, 2)), PAIR)

    with files_at_most(60_000), pytest.raises(StoreError) as caught:
        store.publish(replace(given, streams={"pose.x": long}))

    assert caught.value.hint
    assert store.episode_ids() == []
    assert verify(store, deep=True) == []
    assert store.publish(given).id in store.episode_ids()


def test_a_full_disk_while_publishing_a_recording_keeps_it(store: EpisodeStore) -> None:
    taken = recorder_of(store).episode()
    fill(taken, samples=2_000, images=0)
    before = taken.counters.acknowledged_bytes

    with files_at_most(before + 1_000), pytest.raises(DemosError) as caught:
        taken.write("joint_position", np.arange(100), np.zeros((100, 31), np.float32))
    with files_at_most(100_000), pytest.raises(DemosError) as failed:
        taken.finish()

    assert "demos recover" in caught.value.hint
    assert "demos recover" in failed.value.__notes__[0]
    assert not (store.root / "recordings" / taken.id / "episode").exists()
    assert store.episode_ids() == []
    assert recover(store).published == [taken.id]
    assert len(store.episode(taken.id).streams["joint_position"]) == 2_000
    assert verify(store, deep=True) == []


def test_an_import_that_fails_after_it_is_published_says_so(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = replace(draft(tmp_path), videos={}, findings=())
    first = store.publish(given).id
    for _ in range(40):
        store.add_label(new_label(first, "use", annotator="a", role="reviewer", value="train"))
    (path,) = (store.root / "ledger").glob("*.jsonl")

    # the ledger has become the largest file, so it alone cannot grow
    with files_at_most(path.stat().st_size + 10), pytest.raises(StoreError) as caught:
        store.publish(given)

    assert "do not import it again" in caught.value.hint
    assert len(store.episode_ids()) == 2
    assert len(recover(store).completed) == 1
    assert verify(store, deep=True) == []


def test_withdrawing_deletes_the_bytes_and_leaves_a_tombstone(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = draft(tmp_path)
    gone, kept = store.publish(given).id, store.publish(draft(tmp_path)).id

    done = withdraw(store, given.session.id)

    assert done.episodes == (gone,)
    assert store.episode_ids() == [kept]
    assert store.is_withdrawn(gone)
    assert not store.is_withdrawn(kept)
    left = [path for path in store.root.rglob("*") if gone in str(path) and path.is_file()]
    assert [path.name for path in left] == ["tombstone.json"]
    with pytest.raises(EpisodeNotFound, match="withdrawn"):
        store.episode(gone)
    assert gone not in set(store.results("findings")["episode"])
    assert verify(store, deep=True) == []
    assert withdraw(store, given.session.id).episodes == ()


def test_what_was_computed_of_a_withdrawn_episode_is_deleted_too(
    store: EpisodeStore, tmp_path: Path
) -> None:
    given = draft(tmp_path)
    gone, kept = store.publish(given).id, store.publish(draft(tmp_path)).id
    rows = pd.DataFrame({"episode": [gone, kept], "value": [1.0, 2.0]})
    store.add_results("scores", new_id(), "0", rows)
    store.add_results("verdicts", new_id(), "0", rows[rows["episode"] == gone])
    copy = store.root / "cache/proxies" / gone / "egocentric.mp4"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"a copy")

    withdraw(store, given.session.id)

    left = store.results("scores")
    assert left["episode"].tolist() == [kept]
    assert left["value"].tolist() == [2.0]
    assert store.results("verdicts").empty
    assert not copy.exists()
    for path in store.root.rglob("*.parquet"):
        assert gone.encode() not in path.read_bytes()
    assert verify(store, deep=True) == []


def test_a_session_that_is_being_recorded_is_not_withdrawn(store: EpisodeStore) -> None:
    recorder = recorder_of(store)
    taken = recorder.episode()

    with pytest.raises(StoreError, match="being recorded"):
        withdraw(store, recorder.session.id)

    taken.discard()
    with pytest.raises(UnknownName):
        withdraw(store, new_id())


def test_a_withdrawn_sessions_unpublished_recordings_go_too(store: EpisodeStore) -> None:
    recorder = recorder_of(store)
    taken = recorder.episode()
    with pytest.raises(KeyboardInterrupt), taken:
        raise KeyboardInterrupt

    done = withdraw(store, recorder.session.id)

    assert done.recordings == (taken.id,)
    assert not list((store.root / "recordings").iterdir())


def test_a_store_can_be_copied_elsewhere(store: EpisodeStore, tmp_path: Path) -> None:
    episode = store.publish(draft(tmp_path)).id

    shutil.copytree(store.root, tmp_path / "copy")

    assert verify(tmp_path / "copy", deep=True) == []
    assert EpisodeStore.open(tmp_path / "copy").episode(episode).images("egocentric", [0]).any()
