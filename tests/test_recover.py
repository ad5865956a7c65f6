"""Recovery: after a death at any moment, everything promised is there, and nothing by halves."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.errors import DemosError
from demos.provenance import new_label
from demos.store import (
    EpisodeStore,
    disk,
    layout,
    ledger,
    publish,
    recording,
    recover,
    verify,
    withdraw,
)
from demos.store.blocks import BlockLog, Kind
from demos.store.recovery import Recovery
from tests.benchmarks import crash
from tests.small_store import (
    CAMERA,
    IMAGE_NS,
    PAIR,
    draft,
    fill,
    forked,
    packets,
    positions,
    recorder_of,
)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore.create(tmp_path / "lab")


def killed(work: Callable[[], object]) -> None:
    """Do `work` in a process that then dies as by kill -9."""
    child = forked()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def dying_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Let the process die when it reaches a certain call."""
    monkeypatch.setattr(module, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))


def test_a_killed_recording_is_published_with_all_that_was_acknowledged(
    store: EpisodeStore,
) -> None:
    def work() -> None:
        taken = recorder_of(store).episode(origin="simulated")
        fill(taken, samples=200, images=0)
        taken.declare_camera("egocentric", CAMERA)
        for number, packet in enumerate(packets(15)):
            taken.packet("egocentric", number * IMAGE_NS, packet)
        taken.label("outcome", annotator="op-1", role="operator", value="failure")
        taken.event("e_stop", 5)

    killed(work)
    done = recover(store)

    (episode_id,) = store.episode_ids()
    episode = store.episode(episode_id)
    assert done.published == [episode_id]
    assert episode.manifest.provenance.recovered is True
    assert np.array_equal(episode.streams["joint_position"].values, positions(200))
    assert len(episode.cameras["egocentric"]) == 15
    assert episode.labels[0].value == "failure"
    assert episode.manifest.events[0].name == "e_stop"
    assert verify(store, deep=True) == []
    assert recover(store) == Recovery()


def test_damage_inside_a_recording_costs_only_what_it_hit(store: EpisodeStore) -> None:
    def work() -> None:
        taken = recorder_of(store).episode()
        fill(taken, samples=100, images=0)
        taken.declare_camera("egocentric", CAMERA)
        for number, packet in enumerate(packets(15)):
            taken.packet("egocentric", number * IMAGE_NS, packet)

    killed(work)
    (log,) = store.root.glob("recordings/*/recording.log")
    content = bytearray(log.read_bytes())
    content[content.index(positions(100)[60].tobytes()) + 3] ^= 1
    at = content.index(packets(15)[4].data)
    content[at + 1] ^= 1
    log.write_bytes(content)
    recover(store)

    episode = store.episode(store.episode_ids()[0])
    assert len(episode.streams["joint_position"]) == 99
    # images 5 to 9 build on the one that was hit; 10 is a key image
    assert episode.cameras["egocentric"].time_ns.tolist() == [
        number * IMAGE_NS for number in (0, 1, 2, 3, 10, 11, 12, 13, 14)
    ]
    assert len(episode.manifest.provenance.missing) == 3
    assert verify(store, deep=True) == []


def test_a_recording_in_which_nothing_was_acknowledged_is_cleared_away(
    store: EpisodeStore,
) -> None:
    killed(lambda: recorder_of(store).episode())
    (store.root / "recordings" / "01ARZ3NDEKTSV4RRFFQ69G5FAV").mkdir()

    done = recover(store)

    assert len(done.removed) == 2
    assert store.episode_ids() == []
    assert verify(store, deep=True) == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (publish, "put_episode"),
        (publish, "put_beside"),
        (disk, "rename_folder"),
        (publish, "complete"),
        (ledger, "append"),
        (disk, "remove"),
    ],
)
def test_a_kill_at_any_step_of_publishing_publishes_once_and_whole(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    taken = recorder_of(store).episode()
    fill(taken)
    taken.label("outcome", annotator="op-1", role="operator", value="success")
    taken.write("joint_position", 7, np.zeros(31))
    with pytest.raises(KeyboardInterrupt), taken:
        raise KeyboardInterrupt  # frees the recording for the process that will die

    def work() -> None:
        dying_at(monkeypatch, module, name)
        recover(store)

    killed(work)
    recover(store)

    assert store.episode_ids() == [taken.id]
    episode = store.episode(taken.id)
    assert len(episode.streams["joint_position"]) == 51
    assert len(episode.labels) == 1
    assert verify(store, deep=True) == []
    assert recover(store) == Recovery()


@pytest.mark.parametrize("name", ["put_episode", "put_beside", "complete"])
def test_a_killed_import_is_there_whole_or_not_at_all(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given = draft(tmp_path)

    def work() -> None:
        dying_at(monkeypatch, publish, name)
        store.publish(given)

    killed(work)
    recover(store)

    whole = name == "complete"
    assert len(store.episode_ids()) == whole
    assert [len(store.labels(episode)) for episode in store.episode_ids()] == [1] * whole
    assert len(store.results("findings")) == whole
    assert verify(store, deep=True) == []


def test_a_label_whose_writer_died_before_the_ledger_knew_it_is_entered(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = store.publish(draft(tmp_path)).id
    label = new_label(episode, "use", annotator="a", role="reviewer", value="train")

    def work() -> None:
        dying_at(monkeypatch, ledger, "append")
        store.add_label(label)

    killed(work)
    found = verify(store)
    done = recover(store)

    assert sorted(problem.what.split()[0] for problem in found) == ["nobody", "was"]
    assert done.completed == [
        layout.relative(store.root, layout.label_file(store.root, episode, label.id))
    ]
    assert label in store.labels(episode)
    assert verify(store, deep=True) == []


def test_a_file_that_never_got_its_name_is_forgotten(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = store.publish(draft(tmp_path)).id
    label = new_label(episode, "use", annotator="a", role="reviewer", value="train")

    def work() -> None:
        dying_at(monkeypatch, os, "link")
        store.add_label(label)

    killed(work)
    (problem,) = verify(store)
    done = recover(store)

    assert "interrupted" in problem.what
    assert len(done.removed) == 1
    assert label not in store.labels(episode)
    assert verify(store, deep=True) == []


def test_a_ledger_line_cut_short_is_mended(store: EpisodeStore) -> None:
    (path,) = (store.root / "ledger").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"number":')

    (problem,) = verify(store)
    done = recover(store)

    assert "cut short" in problem.what
    assert done.mended == {layout.relative(store.root, path): "removed a line that was cut short"}
    assert verify(store, deep=True) == []


@pytest.mark.parametrize("step", ["publish_file", "remove"])
def test_an_interrupted_withdrawal_is_finished(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from demos.store import withdrawal

    given = draft(tmp_path)
    episode = store.publish(given).id

    def work() -> None:
        dying_at(monkeypatch, withdrawal if step == "publish_file" else disk, step)
        withdraw(store, given.session.id)

    killed(work)
    assert "a withdrawal was interrupted" in {problem.what for problem in verify(store)}
    done = recover(store)

    assert done.withdrawn == [given.session.id]
    assert store.is_withdrawn(episode)
    left = [path.name for path in store.root.rglob("*") if episode in str(path) and path.is_file()]
    assert left == ["tombstone.json"]
    assert verify(store, deep=True) == []


def test_a_recording_that_cannot_be_published_stays_and_is_named(store: EpisodeStore) -> None:
    taken = recorder_of(store).episode()
    fill(taken, samples=3, images=0)
    with pytest.raises(KeyboardInterrupt), taken:
        raise KeyboardInterrupt
    log = store.root / "recordings" / taken.id / "recording.log"
    content = bytearray(log.read_bytes())
    content[30] ^= 1
    log.write_bytes(content)

    done = recover(store)

    assert "header" in done.failed[taken.id]
    assert log.exists()


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.2])
def test_control_c_at_any_moment_keeps_what_was_acknowledged(
    store: EpisodeStore, delay_s: float
) -> None:
    reader, writer = os.pipe()
    child = forked()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with recorder_of(store).episode() as taken:
                for number in range(1_000_000):
                    taken.write("joint_position", number, np.full(31, number, np.float32))
                    os.write(writer, number.to_bytes(4, "little"))
        except KeyboardInterrupt as error:
            os._exit(3 if "demos recover" in error.__notes__[0] else 4)
        os._exit(5)
    os.close(writer)
    told = os.read(reader, 4)
    pump = threading.Thread(target=lambda: chunks.extend(iter(lambda: os.read(reader, 65536), b"")))
    chunks: list[bytes] = []
    pump.start()
    time.sleep(delay_s)
    os.kill(child, signal.SIGINT)
    _, status = os.waitpid(child, 0)
    pump.join()
    os.close(reader)
    told += b"".join(chunks)

    recover(store)

    assert os.waitstatus_to_exitcode(status) == 3
    stream = store.episode(store.episode_ids()[0]).streams["joint_position"]
    assert stream.time_ns.tolist() == list(range(len(stream)))
    assert len(stream) >= len(told) // 4
    assert verify(store, deep=True) == []


def test_processes_that_record_and_recover_at_once_do_not_meet(store: EpisodeStore) -> None:
    children = []
    for number in range(3):
        child = forked()
        if child == 0:
            try:
                for _ in range(12):
                    with recorder_of(store).episode() as taken:
                        fill(taken, samples=10 * (number + 1), images=0)
                    recover(store)
            except BaseException:  # noqa: BLE001 (told to the parent)
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert codes == [0, 0, 0]
    streams = [store.episode(e).streams["joint_position"] for e in store.episode_ids()]
    assert sorted(len(stream) for stream in streams) == [10] * 12 + [20] * 12 + [30] * 12
    assert not any(store.manifest(e).provenance.recovered for e in store.episode_ids())
    assert verify(store, deep=True) == []


def test_nobody_takes_up_a_folder_whose_owner_is_removing_it(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    owner = disk.Claim.make(folder)
    assert owner is not None
    assert disk.Claim.take(folder) is None
    (folder / "lock").unlink()  # the last thing in it

    assert disk.Claim.take(folder) is None

    folder.rmdir()
    owner.release()


def test_what_a_power_cut_left_without_a_lock_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "recording").mkdir()
    (tmp_path / "recording/recording.log").write_bytes(b"")

    taken = disk.Claim.take(tmp_path / "recording")

    assert taken is not None
    taken.release()


@given(kind=st.integers(1, 9), source=st.integers(0, 2), payload=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_blocks_that_make_no_sense_are_our_error(
    tmp_path_factory: pytest.TempPathFactory, kind: int, source: int, payload: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "recording.log"
    declared = recording.StreamDeclaration(index=0, name="x", info=PAIR, dtype="<f8", shape=(2,))
    camera = recording.CameraDeclaration(index=0, name="c", info=CAMERA)
    log = BlockLog(path)
    log.append(Kind.STREAM, 0, recording.as_json(declared))
    log.append(Kind.CAMERA, 0, recording.as_json(camera))
    log.append(kind, source, payload)
    log.close()

    with pytest.raises(DemosError) as caught:
        recording.read(path)

    assert caught.value.hint


def test_tampering_is_not_mended_away(store: EpisodeStore, tmp_path: Path) -> None:
    store.publish(draft(tmp_path))
    (path,) = (store.root / "ledger").glob("*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    before = verify(store, deep=True)

    recover(store)

    assert before == verify(store, deep=True)
    assert layout.relative(store.root, path) in {problem.path for problem in before}


@pytest.mark.slow
def test_the_benchmark_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # it imports what lies beside it by name, as `demos bench` lets it
    monkeypatch.syspath_prepend(Path(crash.__file__).parent)

    figures = crash.run(quick=True, seed=11)

    assert figures["problems"] == []
    for key in ("lost_acknowledged", "lost_synced", "half_published", "unreadable"):
        assert figures[key] == 0
    assert figures["promises_checked"] > 20
