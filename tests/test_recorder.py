"""The recorder: every sample as given, from any thread, and nothing lost when things go wrong."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from demos.errors import DemosError, RecordingFailed, SchemaMismatch, StoreError, UnknownName
from demos.model import CameraInfo, Session, Span, StreamInfo
from demos.provenance import new_id, now
from demos.store import EpisodeStore, Recorder, recover, verify
from tests.small_store import CAMERA, IMAGE_NS, PAIR, fill, image, packets, positions, recorder_of


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore.create(tmp_path / "lab")


@pytest.mark.parametrize("container", ["zarr", "hdf5"])
def test_an_episode_is_published_as_it_was_recorded(
    tmp_path: Path, container: Literal["zarr", "hdf5"]
) -> None:
    store = EpisodeStore.create(tmp_path / "lab", container)
    with recorder_of(store).episode(
        factors={"object": "box"}, declared_start={}, seed=3, origin="simulated"
    ) as taken:
        fill(taken, samples=50, images=3)
        taken.label("outcome", annotator="op-1", role="operator", value="success")
        taken.event("e_stop", 12, reason="a hand", force_n=np.float32(2.5))
        taken.authority("operator", 0)

    episode = store.episode(taken.id)
    manifest = episode.manifest
    assert np.array_equal(episode.streams["joint_position"].values, positions(50))
    assert episode.streams["joint_position"].values.dtype == np.float32
    assert episode.streams["joint_position"].info.rate_hz == 500
    assert episode.streams["joint_position"].time_ns[-1] == 98_000_000
    assert episode.streams["control_authority"].values.tolist() == [[1]]
    assert episode.images("egocentric", [0, 2]).shape == (2, 48, 64, 3)
    assert (manifest.cameras["egocentric"].images, manifest.duration_ns) == (3, 98_000_000)
    assert [label.value for label in episode.labels] == ["success"]
    assert manifest.events[0].values == {"reason": "a hand", "force_n": 2.5}
    assert (manifest.factors, manifest.provenance.seed) == ({"object": "box"}, 3)
    assert manifest.provenance.recovered is False
    assert manifest.instruction
    assert set(manifest.uses) == {"embodiments/g1_dex3", "tasks/pick_place"}
    assert verify(store, deep=True) == []
    assert not list((store.root / "recordings").iterdir())


def test_blocks_disorder_and_device_stamps_are_kept_raw(store: EpisodeStore) -> None:
    stamps = np.array([10, 5, 5, 30], np.int64)
    values = np.arange(8.0).reshape(4, 2)

    with recorder_of(store).episode() as taken:
        taken.declare("pose.table", PAIR)
        taken.write("pose.table", stamps, values, source_time_ns=stamps + 100)
        taken.write("pose.table", np.int64(7), [8.0, 9.0])
        taken.write("pose.table", [40, 41], [[1, 2], [3, 4]], arrival_ns=[50, 51])

    stream = store.episode(taken.id).streams["pose.table"]
    assert stream.time_ns.tolist() == [10, 5, 5, 30, 7, 40, 41]
    assert stream.source_time_ns is not None
    assert stream.source_time_ns.tolist() == [110, 105, 105, 130, 7, 40, 41]
    assert stream.arrival_ns is not None
    assert stream.arrival_ns.tolist() == [10, 5, 5, 30, 7, 50, 51]
    assert stream.values.tolist()[4:] == [[8, 9], [1, 2], [3, 4]]


def test_stamps_of_the_robots_own_clock_count_from_the_start(store: EpisodeStore) -> None:
    start = 1_700_000_000_000_000_000

    with recorder_of(store).episode(start_ns=start) as taken:
        taken.write("joint_position", start + 5, np.zeros(31))
        taken.write("joint_position", [start + 6, start + 7], np.zeros((2, 31)))
        taken.event("beep", start + 6)

    episode = store.episode(taken.id)
    assert episode.streams["joint_position"].time_ns.tolist() == [5, 6, 7]
    assert episode.manifest.events[0].time_ns == 6


def test_shaped_samples_and_small_integers_keep_shape_and_dtype(store: EpisodeStore) -> None:
    depth = StreamInfo(units=("count",), channels=("depth",), shape=(4, 6), scale=0.001)
    first = np.arange(24, dtype=np.uint16).reshape(4, 6)

    with recorder_of(store).episode() as taken:
        taken.declare("depth.egocentric", depth)
        taken.write("depth.egocentric", 0, first)
        taken.write("depth.egocentric", [1, 2], np.stack([first, first + 1]))

    stream = store.episode(taken.id).streams["depth.egocentric"]
    assert stream.values.shape == (3, 4, 6)
    assert stream.values.dtype == np.uint16
    assert np.array_equal(stream.values[2], first + 1)


def test_threads_write_at_once_and_every_stream_stays_in_order(store: EpisodeStore) -> None:
    names = ["joint_position", "joint_velocity", "joint_effort"]
    with recorder_of(store).episode() as taken:

        def work(name: str) -> None:
            for i in range(300):
                taken.write(name, i, np.full(31, i, np.float32))

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    streams = store.episode(taken.id).streams
    assert all(streams[name].time_ns.tolist() == list(range(300)) for name in names)
    assert all(streams[name].values[:, 0].tolist() == list(range(300)) for name in names)


def test_already_encoded_packets_are_kept_byte_for_byte(store: EpisodeStore) -> None:
    given = packets(12)

    with recorder_of(store).episode() as taken:
        taken.declare_camera("egocentric", CAMERA)
        for number, packet in enumerate(given):
            taken.packet("egocentric", number * IMAGE_NS, packet)

    camera = store.episode(taken.id).cameras["egocentric"]
    assert camera.time_ns.tolist() == [number * IMAGE_NS for number in range(12)]
    bright = camera.images(range(12))[:, 24, :, 0] > 100
    assert bright.sum(axis=1).tolist() == [number * 4 % 64 + 1 for number in range(12)]


def test_packets_that_do_not_begin_with_a_key_image_are_refused(store: EpisodeStore) -> None:
    taken = recorder_of(store).episode()
    taken.declare_camera("egocentric", CAMERA)

    with pytest.raises(RecordingFailed, match="key image"):
        taken.packet("egocentric", 0, packets(2)[1])

    taken.discard()


def test_what_was_done_while_paused_is_not_taken_in(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        taken.write("joint_position", 0, np.zeros(31))
        taken.pause()
        taken.write("joint_position", 10, np.ones(31))
        taken.image("egocentric", 10, image(0))
        taken.resume(20)
        taken.write("joint_position", 30, np.zeros(31))
        skipped = taken.counters.skipped_while_paused

    episode = store.episode(taken.id)
    assert skipped == 2
    assert episode.streams["joint_position"].time_ns.tolist() == [0, 30]
    assert [(e.name, e.time_ns) for e in episode.manifest.events] == [("pause", 0), ("resume", 20)]


def test_a_discarded_recording_leaves_nothing(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        fill(taken)
        taken.discard()

    assert store.episode_ids() == []
    assert not list((store.root / "recordings").iterdir())
    assert verify(store, deep=True) == []
    with pytest.raises(RecordingFailed, match="closed"):
        taken.finish()


def test_counters_tell_what_is_acknowledged_and_what_is_on_disk(store: EpisodeStore) -> None:
    taken = recorder_of(store).episode()
    before = taken.counters
    taken.write("joint_position", 0, np.zeros(31, np.float32))

    after = taken.counters
    taken.sync()
    synced = taken.counters

    assert after.acknowledged_blocks == before.acknowledged_blocks + 2
    assert after.acknowledged_bytes > before.acknowledged_bytes + 31 * 4
    assert synced.synced_blocks == synced.acknowledged_blocks == after.acknowledged_blocks
    assert synced.synced_bytes == synced.acknowledged_bytes
    taken.discard()


def test_a_robot_drops_images_that_come_too_fast_and_reports_them(store: EpisodeStore) -> None:
    recorder = recorder_of(store, on_full="drop", queue_images=1)
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    with recorder.episode() as taken:
        taken.declare_camera("egocentric", CameraInfo(width=1280, height=720, rate_hz=30))
        for number in range(25):
            taken.image("egocentric", number, noise)
        dropped = taken.counters.images_dropped

    manifest = store.manifest(taken.id)
    reports = [event for event in manifest.events if event.name == "images_dropped"]
    assert dropped > 0
    assert sum(event.values["count"] for event in reports) == dropped
    assert manifest.cameras["egocentric"].images == 25 - dropped


def test_a_simulation_waits_and_loses_no_image(store: EpisodeStore) -> None:
    with recorder_of(store, queue_images=1).episode(origin="simulated") as taken:
        taken.declare_camera("egocentric", CAMERA)
        for number in range(40):
            taken.image("egocentric", number, image(number))

    assert store.manifest(taken.id).cameras["egocentric"].images == 40
    assert taken.counters.images_dropped == 0


def test_an_embodiments_camera_fits_itself_to_a_smaller_image(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        taken.image("egocentric", 0, image(0, 320, 240))

    info = store.manifest(taken.id).cameras["egocentric"].info
    assert (info.width, info.height) == (320, 240)
    assert info.intrinsics is not None
    assert (info.intrinsics.cx, info.intrinsics.cy) == (160, 120)


def test_a_camera_that_changes_size_is_refused_and_recording_goes_on(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        fill(taken, images=2)

        with pytest.raises(RecordingFailed, match=r"\(96, 128, 3\)") as caught:
            taken.image("egocentric", 3 * IMAGE_NS, image(3, 128, 96))

        taken.image("egocentric", 4 * IMAGE_NS, image(4))

    assert "another name" in caught.value.hint
    assert store.manifest(taken.id).cameras["egocentric"].images == 3


def test_packets_that_change_size_are_refused_and_recording_goes_on(store: EpisodeStore) -> None:
    small, large = packets(11), packets(2, 128, 96)
    with recorder_of(store).episode() as taken:
        taken.declare_camera("egocentric", CAMERA)
        taken.packet("egocentric", 0, small[0])

        with pytest.raises(RecordingFailed, match="128x96"):
            taken.packet("egocentric", 1, large[0])
        with pytest.raises(RecordingFailed, match="refused"):
            taken.packet("egocentric", 2, large[1])

        taken.packet("egocentric", 3, small[10])

    camera = store.episode(taken.id).cameras["egocentric"]
    assert camera.time_ns.tolist() == [0, 3]
    assert (camera.images([1])[0, 24, :, 0] > 100).sum() == 41


@pytest.mark.parametrize(
    ("stream", "stamp", "values", "message"),
    [
        ("joint_positio", 0, np.zeros(31), "no stream"),
        ("joint_position", 0, np.zeros(30), "shape"),
        ("joint_position", [0, 1], np.zeros((3, 31)), "2 stamps"),
        ("joint_position", 0.5, np.zeros(31), "whole nanoseconds"),
        ("joint_position", 2**63, np.zeros(31), "int64"),
        ("joint_position", 0, ["a"] * 31, "cannot be recorded"),
        ("joint_position", 0, np.zeros(31, complex), "cannot be recorded"),
    ],
)
def test_what_does_not_fit_is_refused_and_recording_goes_on(
    store: EpisodeStore, stream: str, stamp: object, values: object, message: str
) -> None:
    with recorder_of(store).episode() as taken:
        with pytest.raises(DemosError, match=message) as caught:
            taken.write(stream, stamp, values)  # type: ignore[arg-type]
        taken.write("joint_position", 1, np.zeros(31))

    assert caught.value.hint
    assert len(store.episode(taken.id).streams["joint_position"]) == 1


def test_a_stream_keeps_the_dtype_it_began_with(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        taken.write("joint_position", 0, np.zeros(31, np.float32))
        taken.write("joint_position", 1, np.ones(31, np.float64))
        with pytest.raises(RecordingFailed, match="complex128"):
            taken.write("joint_position", 2, np.ones(31, complex))

    assert store.episode(taken.id).streams["joint_position"].values.dtype == np.float32


def test_an_exception_leaves_a_recording_that_can_be_recovered(store: EpisodeStore) -> None:
    taken = recorder_of(store).episode()

    def record() -> None:
        with taken:
            fill(taken, samples=20, images=2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        record()

    assert "demos recover" in caught.value.__notes__[0]
    assert taken.id in caught.value.__notes__[0]
    assert store.episode_ids() == []
    assert recover(store).published == [taken.id]
    episode = store.episode(taken.id)
    assert len(episode.streams["joint_position"]) == 20
    assert len(episode.cameras["egocentric"]) == 2
    assert episode.manifest.provenance.recovered is True


def test_two_recorders_on_one_store_do_not_meet(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as one, recorder_of(store).episode() as two:
        one.write("joint_position", 0, np.zeros(31))
        two.write("joint_position", 0, np.ones(31))
        alive = recover(store).alive

    assert sorted(alive) == sorted([one.id, two.id])
    assert sorted(store.episode_ids()) == sorted([one.id, two.id])
    assert store.episode(two.id).streams["joint_position"].values[0, 0] == 1
    assert verify(store, deep=True) == []


def test_names_that_nobody_declared_are_refused_with_a_suggestion(store: EpisodeStore) -> None:
    from demos.store import Recorder

    with pytest.raises(UnknownName) as caught:
        Recorder(store, embodiment="g1_dex", operator="o", task="pick_place")
    assert "g1_dex3" in caught.value.hint

    with pytest.raises(UnknownName) as caught:
        Recorder(store, embodiment="g1_dex3", operator="o", task="pick_plac")
    assert "pick_place" in caught.value.hint


@pytest.mark.parametrize(
    "facts",
    [{"intent": "wrong"}, {"origin": "martian"}, {"factors": {"a": [1]}}, {"colour": "red"}],
)
def test_facts_that_are_none_are_refused_in_our_words(
    store: EpisodeStore, facts: dict[str, Any]
) -> None:
    with pytest.raises(SchemaMismatch, match="description of an episode") as caught:
        recorder_of(store).episode(**facts)

    assert caught.value.hint


def test_an_operator_without_a_name_is_refused(store: EpisodeStore) -> None:
    with pytest.raises(SchemaMismatch, match="no session"):
        Recorder(store, embodiment="g1_dex3", operator="", task="pick_place")


@pytest.mark.parametrize(
    ("label", "error"),
    [
        ({"of": "outcome", "value": "superb"}, UnknownName),
        ({"of": "outcome", "value": "success", "role": "king"}, SchemaMismatch),
        ({"of": "outcome", "value": "success", "annotator": ""}, SchemaMismatch),
        ({"of": "mood", "value": "good"}, SchemaMismatch),
        ({"of": "phases", "spans": [Span(start_ns=0, end_ns=9, value="juggle")]}, UnknownName),
        (
            {"of": "phases", "spans": [Span(start_ns=0, end_ns=9, tier="tail", value="reach")]},
            UnknownName,
        ),
        ({"of": "slips", "spans": [Span(start_ns=9, end_ns=0, value="slip")]}, SchemaMismatch),
    ],
)
def test_a_label_in_other_words_than_the_tasks_is_refused_and_recording_goes_on(
    store: EpisodeStore, label: dict[str, Any], error: type[DemosError]
) -> None:
    with recorder_of(store).episode() as taken:
        fill(taken, images=0)
        with pytest.raises(error) as caught:
            taken.label(**{"annotator": "op-1", "role": "operator", **label})

    assert caught.value.hint
    assert store.episode(taken.id).labels == ()


def test_bytes_that_are_no_packet_are_refused(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        fill(taken, images=0)
        with pytest.raises(RecordingFailed, match="no packet") as caught:
            taken.packet("egocentric", 0, b"\x00\x00\x00\x01")  # type: ignore[arg-type]

    assert "Packet" in caught.value.hint


def test_nothing_is_taken_silently_after_the_end(store: EpisodeStore) -> None:
    with recorder_of(store).episode() as taken:
        fill(taken)

    with pytest.raises(RecordingFailed, match="closed"):
        taken.image("egocentric", 0, image(0))
    with pytest.raises(RecordingFailed, match="closed"):
        taken.packet("egocentric", 0, packets(1)[0])
    with pytest.raises(RecordingFailed, match="closed"):
        taken.write("joint_position", 0, positions(1)[0])


def test_a_session_is_of_one_operator(store: EpisodeStore) -> None:
    session = Session(id=new_id(), embodiment="g1_dex3", operator="another", started_at=now())

    with pytest.raises(StoreError, match="another"):
        recorder_of(store, session=session)


def test_episodes_of_one_recorder_share_a_session_and_count_their_trials(
    store: EpisodeStore,
) -> None:
    recorder = recorder_of(store)
    for _ in range(2):
        with recorder.episode() as taken:
            taken.write("joint_position", 0, np.zeros(31))

    manifests = [store.manifest(episode) for episode in store.episode_ids()]
    assert {manifest.session for manifest in manifests} == {recorder.session.id}
    assert [manifest.trial_index for manifest in manifests] == [0, 1]
    assert store.session(recorder.session.id).operator == "op-1"


def test_finishing_twice_gives_the_same_manifest_and_published_is_not_discarded(
    store: EpisodeStore,
) -> None:
    taken = recorder_of(store).episode()
    fill(taken)

    first = taken.finish()

    assert taken.finish() == first
    with pytest.raises(RecordingFailed, match="published"):
        taken.discard()


@pytest.mark.slow
def test_a_humanoids_streams_cost_a_small_part_of_one_core(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "lab")
    samples = positions(1000)
    with recorder_of(store).episode() as taken:
        began_s = time.process_time()
        for i in range(20_000):
            taken.write("joint_position", i * 2_000_000, samples[i % 1000])
        spent_s = time.process_time() - began_s

    # 500 Hz x 8 + 1 kHz + 200 Hz x 2 is 5,400 calls a second
    assert spent_s / 20_000 * 5_400 < 0.15
