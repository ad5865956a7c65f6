"""Importing into a store: reported in full, run again without harm, never half done."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest

from demos.errors import ImportFailed, StoreError, UnknownName
from demos.formats.lerobot_example import write_v21
from demos.importers import import_source
from demos.store import EpisodeStore, publish, recover, verify, withdraw
from tests.lerobot_folders import decode, edit_info, write_v30


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore.create(tmp_path / "store")


@pytest.fixture
def v30(tmp_path: Path) -> Path:
    return write_v30(tmp_path / "v30", (6, 9, 5), keys=[0, 4, 11], b_frames=2)


def test_the_report_names_every_episode_with_its_id(store: EpisodeStore, v30: Path) -> None:
    report = import_source(v30, store)

    assert [name for name, _ in report.episodes] == [f"episode_{n:06d}" for n in range(3)]
    assert sorted(i for _, i in report.episodes) == sorted(store.episode_ids())
    assert report.format == "lerobot"
    assert any("rate" in text or "Hz" in text for text in report.assumed)
    assert not report.skipped


@pytest.mark.parametrize("container", ["zarr", "hdf5"])
def test_published_images_are_the_sources(
    tmp_path: Path, v30: Path, container: Literal["zarr", "hdf5"]
) -> None:
    store = EpisodeStore.create(tmp_path / "other", container)
    truth = decode(next(v30.rglob("*.mp4")))

    report = import_source(v30, store)

    start = 0
    for _, episode_id in report.episodes:
        episode = store.episode(episode_id)
        count = len(episode.streams["state"])
        assert len(episode.cameras["ego"]) == count
        assert (episode.images("ego", range(count)) == truth[start : start + count]).all()
        start += count


def test_episodes_of_one_import_share_a_session(store: EpisodeStore, v30: Path) -> None:
    import_source(v30, store, operator="op-1")

    [session] = store.sessions()
    assert session.operator == "op-1"
    assert {store.manifest(i).session for i in store.episode_ids()} == {session.id}


def test_a_second_import_changes_nothing(store: EpisodeStore, v30: Path) -> None:
    first = import_source(v30, store)

    second = import_source(v30, store)

    assert second.episodes == ()
    assert [(name, reason.split(" as ")[0]) for name, reason, _ in second.skipped] == [
        (name, "imported before") for name, _ in first.episodes
    ]
    assert len(store.episode_ids()) == 3


def test_what_was_withdrawn_does_not_come_back_by_importing_it_again(
    store: EpisodeStore, v30: Path
) -> None:
    first = import_source(v30, store)
    withdraw(store, store.manifest(first.episodes[0][1]).session)

    with pytest.raises(ImportFailed, match="withdrawn from this store") as caught:
        import_source(v30, store)

    assert "not taken back" in caught.value.hint
    assert store.episode_ids() == []


@pytest.mark.parametrize(
    ("owner", "step"),
    [(publish, "stage_draft"), (publish, "release")],
    ids=["written", "published"],
)
def test_an_import_that_was_interrupted_goes_on_in_its_session(
    owner: Any, step: str, store: EpisodeStore, v30: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = getattr(owner, step)
    calls = iter(range(10))

    def full(*given: Any) -> Any:
        if next(calls) == 2:
            raise StoreError("no space left").with_hint("free some")
        return whole(*given)

    monkeypatch.setattr(owner, step, full)
    with pytest.raises(StoreError, match="no space left"):
        import_source(v30, store)
    monkeypatch.setattr(owner, step, whole)
    recover(store)

    report = import_source(v30, store)

    assert [name for name, _ in report.episodes] == ["episode_000002"]
    assert len(report.skipped) == 2
    assert len(store.sessions()) == 1
    assert verify(store, deep=True) == []


def test_a_recording_with_changed_bytes_is_another_recording(
    store: EpisodeStore, tmp_path: Path
) -> None:
    source = write_v21(tmp_path / "v21")
    import_source(source, store)
    shutil.rmtree(source / "videos")

    report = import_source(source, store)

    assert len(report.episodes) == 1
    assert len(store.episode_ids()) == 2


def test_of_a_v30_folder_that_has_grown_only_the_new_episodes_go_in(
    store: EpisodeStore, tmp_path: Path
) -> None:
    import_source(write_v30(tmp_path / "v30", (6, 9)), store)
    shutil.rmtree(tmp_path / "v30")

    report = import_source(write_v30(tmp_path / "v30", (6, 9, 5, 4)), store)

    assert [name for name, _ in report.episodes] == ["episode_000002", "episode_000003"]
    assert len(store.episode_ids()) == 4


def test_metadata_may_change_without_making_another_recording(
    store: EpisodeStore, tmp_path: Path
) -> None:
    source = write_v21(tmp_path / "v21")
    import_source(source, store)
    edit_info(source, lambda info: info.update(splits={}))

    assert import_source(source, store).episodes == ()


def test_the_bad_episode_is_skipped_and_the_rest_goes_in(
    store: EpisodeStore, tmp_path: Path
) -> None:
    source = write_v21(tmp_path / "v21")
    (source / "data/chunk-000/episode_000001.parquet").write_bytes(b"PAR1 and no more")

    report = import_source(source, store)

    assert [name for name, _ in report.episodes] == ["episode_000000"]
    [(name, reason, hint)] = report.skipped
    assert name == "episode_000001"
    assert "not a whole parquet file" in reason
    assert "copy it again" in hint


def test_findings_reach_the_store_under_the_episodes_id(
    store: EpisodeStore, tmp_path: Path
) -> None:
    source = write_v21(tmp_path / "v21")
    shutil.rmtree(source / "videos")

    report = import_source(source, store)

    [(_, episode_id)] = report.episodes
    [(name, finding)] = report.findings
    assert (name, finding.check) == ("episode_000000", "import.missing_video")
    assert list(store.results("findings")["episode"]) == [episode_id]


def test_nothing_readable_is_an_error_and_leaves_no_trace(
    store: EpisodeStore, tmp_path: Path
) -> None:
    source = write_v21(tmp_path / "v21")
    (source / "data/chunk-000/episode_000000.parquet").write_bytes(b"")

    with pytest.raises(ImportFailed, match=r"nothing in .* can be read.*is empty"):
        import_source(source, store)

    assert store.episode_ids() == []
    assert store.sessions() == []


def test_a_folder_without_episodes_is_an_error(store: EpisodeStore, tmp_path: Path) -> None:
    source = write_v21(tmp_path / "v21")
    shutil.rmtree(source / "data")

    with pytest.raises(ImportFailed, match="holds no episode; missing: episode_000000"):
        import_source(source, store)


def test_an_unknown_embodiment_is_answered_before_anything_is_read(
    store: EpisodeStore, v30: Path
) -> None:
    with pytest.raises(UnknownName, match="no embodiment called 'unitree_g1_inspir'"):
        import_source(v30, store, embodiment="unitree_g1_inspir")


def test_an_embodiment_of_the_stores_own_is_found(store: EpisodeStore, v30: Path) -> None:
    (store.root / "embodiments/ours.yaml").write_text(
        "kind: embodiment\nid: ours\ntitle: Ours\njoints:\n"
        "  - {name: a, group: arm, lower: -100, upper: 100}\n"
        "  - {name: b, group: arm, lower: -100, upper: 100}\n"
    )

    report = import_source(v30, store, embodiment="ours")

    manifest = store.manifest(report.episodes[0][1])
    assert manifest.embodiment == "ours"
    assert manifest.streams["joint_position"].info.units == ("rad", "rad")


def test_progress_is_told_after_each_episode(store: EpisodeStore, v30: Path) -> None:
    told: list[tuple[int, int | None, str]] = []

    import_source(v30, store, progress=lambda *step: told.append(step))

    assert told == [(n + 1, 3, f"episode_{n:06d}") for n in range(3)]


@pytest.mark.parametrize("container", ["zarr", "hdf5"])
def test_what_was_imported_verifies(
    tmp_path: Path, v30: Path, container: Literal["zarr", "hdf5"]
) -> None:
    store = EpisodeStore.create(tmp_path / "other", container)

    import_source(v30, store)

    assert verify(store, deep=True) == []


def _imports(source: Path, root: Path) -> None:
    import_source(source, EpisodeStore.open(root))


def test_an_import_that_is_killed_leaves_whole_episodes_and_can_be_run_again(
    store: EpisodeStore, tmp_path: Path
) -> None:
    source = write_v30(tmp_path / "long", (8,) * 12)
    child = multiprocessing.get_context("spawn").Process(target=_imports, args=(source, store.root))
    child.start()
    while child.is_alive() and len(store.episode_ids()) < 3:
        child.join(0.01)
    child.kill()
    child.join()
    left = store.episode_ids()

    report = import_source(source, store)

    assert 3 <= len(left) <= 12
    assert len(report.episodes) == 12 - len(left)
    for episode_id in store.episode_ids():
        assert len(store.episode(episode_id).streams["state"]) == 8
