"""Windows of a real store: images, the cache, other processes, splits and statistics."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

import demos
from demos.errors import UnknownName
from demos.loader import LoadFailed, Windows, pictures
from demos.loader.cache import Cache
from demos.model import CameraInfo, Span, StreamInfo
from demos.provenance import new_label
from demos.store import Recorder, withdraw
from demos.store.decoding import Decoder
from demos.store.packets import index_file

WIDTH, HEIGHT = 64, 48
IMAGE_NS, SAMPLE_NS = 33_333_333, 4_000_000
OBSERVE = {"joint_position": [-1, 0], "image.egocentric": [-1, 0], "image.wrist": [0]}
ACT = {"joint_command": range(4)}
INFO = StreamInfo(units=("rad",) * 3, channels=("a", "b", "still"), rate_hz=250.0)


def picture(episode: int, number: int, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    image = np.full((HEIGHT, width, 3), 40 + 30 * episode, np.uint8)
    image[:, (2 * number) % width :] = (20, 200 - 2 * number, 3 * number)
    return image


def record(recorder: Recorder, number: int, images: int = 34, width: int = WIDTH) -> str:
    with recorder.episode(factors={"number": number}) as taken:
        time_ns = np.arange(images * IMAGE_NS // SAMPLE_NS, dtype=np.int64) * SAMPLE_NS
        values = np.outer(time_ns / 1e9, [1.0, -2.0, 0.0]).astype(np.float32) + number
        values[:, 2] = 0.7
        for name in ("joint_position", "joint_command"):
            taken.declare(name, INFO)
            taken.write(name, time_ns, values + (name == "joint_command"))
        for camera in ("egocentric", "wrist"):
            info = CameraInfo(width=width, height=HEIGHT, rate_hz=30.0)
            taken.declare_camera(camera, info)
            for i in range(images):
                taken.image(camera, i * IMAGE_NS, picture(number, i, width))
    return taken.id


def recorder_of(store: demos.Store, **more: Any) -> Recorder:
    return Recorder(
        store, embodiment="g1_dex3", operator="op", task="pick_place", on_full="block", **more
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    store = demos.open(tmp_path_factory.mktemp("made") / "lab", container="zarr")
    recorder = recorder_of(store)
    for number in range(3):
        record(recorder, number)
    store.refresh()
    return store


@pytest.fixture
def store(template: demos.Store, tmp_path: Path) -> demos.Store:
    shutil.copytree(template.root, tmp_path / "lab")
    return demos.open(tmp_path / "lab")


def windows(store: demos.Store, **more: Any) -> Windows:
    return store.select("").windows(**{"rate_hz": 30, "observe": OBSERVE, "act": ACT, **more})


def content(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith("catalog")
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def sequential(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]


def test_images_are_those_that_pyav_decodes_from_the_start(store: demos.Store) -> None:
    found = windows(store)
    expected = {
        (episode, camera): sequential(next(store.root.glob(f"episodes/*/{episode}/{camera}.mp4")))
        for episode in store.catalog.ids()
        for camera in ("egocentric", "wrist")
    }
    shuffled = np.random.default_rng(0).permutation(len(found))

    for index in shuffled[:40].tolist():
        window = found[index]
        # the anchor's image is the last whose stamp has come; steps round to 33,333,333.3 ns
        number = int(window["time_ns"]) // IMAGE_NS
        ego = expected[window["episode"], "egocentric"]
        assert np.array_equal(window["image.egocentric"][1], ego[number])
        assert np.array_equal(window["image.egocentric"][0], ego[max(number - 1, 0)])
        assert np.array_equal(
            window["image.wrist"][0], expected[window["episode"], "wrist"][number]
        )
        assert window["image.egocentric.is_pad"].tolist() == [number == 0, False]


def test_images_read_together_alone_and_locally_are_the_same(store: demos.Store) -> None:
    found, local = windows(store), windows(store)
    order = list(local.sampler(5, local=True, buffer=20))

    together = found[order]

    for row, index in enumerate(order):
        assert same(local[index], {key: values[row] for key, values in together.items()})


def test_memory_is_bounded_and_what_fell_out_is_decoded_again(
    store: demos.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = windows(store)
    monkeypatch.setattr(pictures, "HELD_BYTES", 3 * WIDTH * HEIGHT * 3)
    monkeypatch.setattr(pictures, "OPEN_VIDEOS", 2)
    monkeypatch.setattr(pictures, "DECODERS", 1)

    found = windows(store)

    for index in [0, 50, 3, 80, 2, 1, 50]:
        assert same(found[index], expected[index])
    for shelf in found._pictures._shelves:
        assert len(shelf._held) <= 3
        assert len(shelf._videos) <= 2


def test_steps_in_order_decode_each_image_once(
    store: demos.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = Decoder.feed

    def counted(self: Decoder, number: int, data: bytes, pts: int, *, key: bool) -> list[Any]:
        fed.append(number)
        return feed(self, number, data, pts, key=key)

    monkeypatch.setattr(Decoder, "feed", counted)
    found = windows(store)

    for index in range(33):
        found[index]

    assert len(fed) == 2 * 33


def test_local_order_decodes_each_group_about_once(
    store: demos.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = Decoder.feed

    def counted(self: Decoder, number: int, data: bytes, pts: int, *, key: bool) -> list[Any]:
        fed.append(number)
        return feed(self, number, data, pts, key=key)

    monkeypatch.setattr(Decoder, "feed", counted)
    found = windows(store)

    for index in found.sampler(1, local=True):
        found[index]

    images, keys = 3 * 2 * 34, 3 * 2 * 4
    assert images <= len(fed) <= images + keys


def test_a_damaged_video_is_told_with_its_camera_and_what_to_do(store: demos.Store) -> None:
    found = windows(store)
    path = next(store.root.glob("episodes/*/*/wrist.mp4"))
    path.write_bytes(path.read_bytes()[:-2000] + bytes(2000))

    with pytest.raises(LoadFailed, match="camera 'wrist'") as caught:
        found[range(len(found))]

    assert "restore" in caught.value.hint


def test_damaged_signals_are_told_with_the_episode(store: demos.Store) -> None:
    path = next(store.root.glob("episodes/*/*/signals.zarr.zip"))
    broken = bytearray(path.read_bytes())
    broken[200:-3000] = bytes(len(broken) - 3200)
    path.write_bytes(broken)

    with pytest.raises(LoadFailed, match=path.parent.name) as caught:
        windows(store)

    assert f"id != '{path.parent.name}'" in caught.value.hint
    assert not list((store.root / "cache" / "loader").iterdir())


def test_nothing_of_the_store_but_the_cache_is_touched(store: demos.Store) -> None:
    before = content(store.root)

    found = windows(store, size=(32, 48), normalise={"joint_position": "mean_std"})
    found[0]

    after = content(store.root)
    assert {name: after[name] for name in after if not name.startswith("cache/loader/")} == before
    assert not list(store.root.rglob("*.part"))


def test_the_cache_is_found_again_by_other_windows_of_the_same_steps(store: demos.Store) -> None:
    windows(store)
    before = {path: path.stat().st_mtime_ns for path in (store.root / "cache").rglob("*.npy")}

    windows(store, observe={"joint_position": [0], "image.wrist": [0]}, anchors="whole")

    assert {
        path: path.stat().st_mtime_ns for path in (store.root / "cache").rglob("*.npy")
    } == before


def test_a_cache_that_is_deleted_in_use_is_made_again(store: demos.Store) -> None:
    found = windows(store, size=32)
    expected = [found[index] for index in (0, 40)]
    shutil.rmtree(store.root / "cache")

    again = pickle.loads(pickle.dumps(found))

    assert all(same(again[index], of) for index, of in zip((0, 40), expected, strict=True))
    assert same(windows(store, size=32)[40], expected[1])


@pytest.mark.parametrize("name", ["values.npy", "pad.npy", "packets.npy", "videos.json"])
@pytest.mark.parametrize("left", [0, 100])
def test_a_cache_that_is_cut_short_is_made_again(name: str, left: int, store: demos.Store) -> None:
    expected = windows(store)[5]
    for path in (store.root / "cache").rglob(name):
        path.write_bytes(path.read_bytes()[:left])

    assert same(windows(store)[5], expected)


def test_a_lost_proxy_is_made_again(store: demos.Store) -> None:
    expected = windows(store, size=32)[5]
    for path in (store.root / "cache" / "loader" / "proxies").iterdir():
        path.unlink()

    assert same(windows(store, size=32)[5], expected)


def test_a_damaged_proxy_says_that_the_cache_may_be_deleted(store: demos.Store) -> None:
    found = windows(store, size=32)
    for path in (store.root / "cache" / "loader" / "proxies").iterdir():
        path.write_bytes(path.read_bytes()[:-300] + bytes(300))

    with pytest.raises(LoadFailed) as caught:
        found[range(len(found))]

    assert str(store.root / "cache" / "loader") in caught.value.hint


def test_a_store_that_cannot_be_written_is_loaded_from_a_temporary_folder(
    store: demos.Store,
) -> None:
    expected = windows(store, size=32)[5]
    shutil.rmtree(store.root / "cache")
    (store.root / "cache").write_text("in the way")

    found = windows(store, size=32)
    folder = found._cache.folder
    again = pickle.loads(pickle.dumps(found))

    assert same(found[5], expected)
    assert same(again[5], expected)
    assert not folder.is_relative_to(store.root)
    del found
    assert not folder.exists()


@pytest.mark.parametrize("most", [200, 1000, 3000])
def test_a_full_disk_is_a_store_error_and_leaves_nothing(most: int, store: demos.Store) -> None:
    code = (
        "import resource, signal, sys, demos\n"
        "from demos.errors import StoreError\n"
        "picked = demos.open(sys.argv[1]).select('')\n"
        "picked.ids\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: picked.windows(rate_hz=30, size=32,"
        " observe={'joint_position': [0], 'image.egocentric': [0]})\n"
        "except StoreError as error: print('StoreError', error.hint)\n"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code, str(store.root), str(most)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "free" in answer.stdout
    assert "space" in answer.stdout
    assert not list((store.root / "cache" / "loader").rglob("*.part"))
    assert not list((store.root / "cache" / "loader").rglob("*.npy"))


def test_what_a_killed_process_left_behind_is_swept_away_a_day_later(
    store: demos.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = store.root / "cache" / "loader" / ".abc.12345678.part"
    left.mkdir(parents=True)

    Cache(store.root)
    assert left.exists()
    monkeypatch.setattr("demos.loader.cache.LEFTOVER_S", -1.0)
    Cache(store.root)

    assert not left.exists()


def test_two_processes_fill_the_cache_at_once(store: demos.Store) -> None:
    code = (
        "import sys, hashlib, demos\n"
        "w = demos.open(sys.argv[1]).select('').windows(rate_hz=30, size=32,"
        " observe={'joint_position': [0], 'image.egocentric': [0]})\n"
        "print(hashlib.sha256(w[range(len(w))]['image.egocentric'].tobytes()).hexdigest())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    answers = [process.communicate(timeout=120)[0] for process in running]

    assert [process.returncode for process in running] == [0, 0]
    assert answers[0] == answers[1] != ""
    assert not [p for p in (store.root / "cache" / "loader").rglob("*") if p.suffix == ".part"]


def test_withdrawing_a_session_empties_the_cache(store: demos.Store) -> None:
    found = windows(store, size=32)
    expected = found[0]

    withdraw(store, store.manifest(found.episodes[0]).session)
    store.refresh()

    assert list((store.root / "cache").iterdir()) == []
    assert len(store.select("")) == 0
    assert same(found[0], expected)


def _window_in_child(found: Windows) -> dict[str, Any]:
    return found[7]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_windows_in_use_work_in_another_process(
    method: str, size: int | None, store: demos.Store
) -> None:
    found = windows(store, size=size, normalise={"joint_position": "min_max"})
    expected = found[7]

    with multiprocessing.get_context(method).Pool(1) as pool:
        answer = pool.apply_async(_window_in_child, (found,)).get(60)

    assert same(answer, expected)
    assert len(pickle.dumps(found)) < 20_000


def test_threads_share_windows(store: demos.Store) -> None:
    found = windows(store)
    expected = [found[index] for index in range(40)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(found.__getitem__, list(range(40)) * 2))

    assert all(same(a, b) for a, b in zip(answers, expected * 2, strict=True))


@pytest.mark.parametrize(("size", "shape"), [(32, (32, 32)), ((24, 32), (24, 32))])
def test_scaled_images_look_like_the_whole_ones(
    size: int | tuple[int, int], shape: tuple[int, int], store: demos.Store
) -> None:
    found, whole = windows(store, size=size), windows(store)

    small, large = found[20]["image.egocentric"], whole[20]["image.egocentric"]

    height, width = shape
    assert small.shape == (2, height, width, 3)
    rows, columns = (np.arange(n) * m // n for n, m in ((height, HEIGHT), (width, WIDTH)))
    nearest = large[:, rows][:, :, columns]
    # an edge may lie a pixel apart, and x264 loses a little
    assert np.median(np.abs(small.astype(int) - nearest)) <= 4
    proxy = next((store.root / "cache" / "loader" / "proxies").iterdir())
    assert index_file(proxy).key.tolist() == [i % 5 == 0 for i in range(34)]


def test_cameras_of_different_sizes_need_a_size(store: demos.Store) -> None:
    record(recorder_of(store), 3, width=96)
    store.refresh()

    with pytest.raises(LoadFailed, match="differ in size") as caught:
        windows(store)

    assert "size=224" in caught.value.hint
    assert windows(store, size=32)[-1]["image.wrist"].shape == (1, 32, 32, 3)


def test_an_image_that_is_late_is_masked(store: demos.Store) -> None:
    recorder = recorder_of(store)
    with recorder.episode() as taken:
        taken.declare("joint_position", INFO)
        time_ns = np.arange(0, 1_000_000_000, SAMPLE_NS)
        taken.write("joint_position", time_ns, np.zeros((len(time_ns), 3), np.float32))
        taken.declare_camera("egocentric", CameraInfo(width=WIDTH, height=HEIGHT, rate_hz=30.0))
        for i in (*range(10), *range(20, 30)):
            taken.image("egocentric", i * IMAGE_NS, picture(0, i))
    store.refresh()

    found = store.select("cameras == 1").windows(rate_hz=30, observe={"image.egocentric": [0]})
    batch = found[range(len(found))]

    # 20 images in 29 periods: one is good for 3 * 29 / 19 periods, which is 4 steps
    assert np.flatnonzero(batch["image.egocentric.is_pad"]).tolist() == list(range(14, 20))
    assert np.array_equal(batch["image.egocentric"][14], batch["image.egocentric"][9])


def test_a_frozen_selection_is_loaded_by_split_with_its_own_labels(store: demos.Store) -> None:
    ids = store.catalog.ids()
    excluded = Span(start_ns=0, end_ns=500_000_000, value="exclude")
    store.add_label(new_label(ids[0], "use", annotator="a", role="operator", spans=[excluded]))
    store.refresh()
    frozen = store.select("").freeze("paper", split={"train": 0.67, "val": 0.33})
    store.add_label(new_label(ids[1], "use", annotator="a", role="operator", value="exclude"))
    store.refresh()
    picked = store.selection("paper")

    found = {
        split: picked.windows(rate_hz=30, observe={"joint_position": [0]}, split=split)
        for split in ("train", "val", None)
    }

    of_split = {
        split: tuple(sorted(e.episode for e in frozen.episodes if split in (e.split, None)))
        for split in found
    }
    assert {split: each.episodes for split, each in found.items()} == of_split
    assert len(found["train"]) + len(found["val"]) == len(found[None]) == 34 + 34 + 19
    assert len(store.select("").windows(rate_hz=30, observe={"joint_position": [0]})) == 34 + 19
    with pytest.raises(UnknownName, match="test"):
        picked.windows(rate_hz=30, observe={"joint_position": [0]}, split="test")


def test_statistics_are_of_the_steps_of_the_training_split(store: demos.Store) -> None:
    store.select("").freeze("paper", split={"train": 0.67, "val": 0.33})
    picked = store.selection("paper")
    asked: dict[str, Any] = {"rate_hz": 30, "observe": {"joint_position": [0, 5]}}
    train = picked.windows(split="train", **asked)
    steps = train[range(len(train))]["joint_position"][:, 0].astype(np.float64)

    for split in ("train", "val"):
        found = picked.windows(split=split, **asked).statistics["joint_position"]

        assert found["count"].tolist() == [68.0] * 3
        assert found["mean"] == pytest.approx(steps.mean(0), rel=1e-12)
        assert found["std"][:2] == pytest.approx(steps.std(0)[:2], rel=1e-12)
        assert found["std"][2] == 0.0
        assert np.array_equal(found["min"], steps.min(0))
        assert np.array_equal(found["max"], steps.max(0))
        for name, share in (("q01", 0.01), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q99", 0.99)):
            assert np.array_equal(found[name], np.quantile(steps, share, axis=0))
        assert {values.dtype for values in found.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("kind", ["mean_std", "min_max", "quantile"])
def test_normalised_values_have_the_range_they_promise(kind: Any, store: demos.Store) -> None:
    plain = windows(store, observe={"joint_position": [0]}, act={})
    found = windows(
        store, observe={"joint_position": [0]}, act={}, normalise={"joint_position": kind}
    )

    values = found[range(len(found))]["joint_position"][:, 0]
    units = plain[range(len(plain))]["joint_position"][:, 0]

    assert values.dtype == np.float32
    assert (values[:, 2] == 0).all(), "a channel that never changes"
    if kind == "mean_std":
        assert values[:, :2].mean(0) == pytest.approx([0, 0], abs=1e-5)
        assert values[:, :2].std(0) == pytest.approx([1, 1], abs=1e-5)
    elif kind == "min_max":
        assert values[:, :2].min(0) == pytest.approx([-1, -1], abs=1e-6)
        assert values[:, :2].max(0) == pytest.approx([1, 1], abs=1e-6)
    else:
        low, high = np.quantile(values[:, 0].astype(float), [0.01, 0.99])
        assert (low, high) == pytest.approx((-1, 1), abs=1e-5)
    assert found.denormalise("joint_position", values) == pytest.approx(units, abs=1e-5)


def test_values_that_are_not_finite_or_padded_do_not_count(store: demos.Store) -> None:
    recorder = recorder_of(store)
    with recorder.episode() as taken:
        taken.declare(
            "wrench.left_wrist", StreamInfo(units=("N", "N"), channels=("x", "y"), rate_hz=10.0)
        )
        values = np.array([[1.0, np.nan], [2.0, np.nan], [np.inf, np.nan], [4.0, np.nan]])
        taken.write("wrench.left_wrist", np.arange(4) * 100_000_000, values)
    store.refresh()

    found = store.select("cameras == 0").windows(
        rate_hz=10,
        observe={"wrench.left_wrist": [-1, 0]},
        normalise={"wrench.left_wrist": "min_max"},
    )
    known = found.statistics["wrench.left_wrist"]

    assert known["count"].tolist() == [3, 0]
    assert known["mean"][0] == pytest.approx(7 / 3)
    assert np.isnan(known["mean"][1])
    assert found[3]["wrench.left_wrist"][1, 0] == pytest.approx(1.0)


def test_weights_say_how_often_episodes_are_drawn(store: demos.Store) -> None:
    ids = sorted(store.catalog.ids())
    found = windows(store, weights={ids[0]: 3.0, ids[1]: 0.0}, observe={"joint_position": [0]})

    for local in (False, True):
        if local:
            found = windows(store, weights={ids[0]: 3.0, ids[1]: 0.0})
        each = len(found) // 3
        sampler = found.sampler(1, local=local)
        drawn = [index // each for _ in range(40) for index in sampler]

        assert len(sampler) == len(found)
        assert len(drawn) == 40 * len(found)
        # 3:0:1, give or take five deviations of a draw of 4000 (runs of 10: of 400)
        assert np.mean(np.array(drawn) == 0) == pytest.approx(0.75, abs=0.11 if local else 0.035)
        assert 1 not in drawn


def test_weights_that_mean_nothing_are_refused(store: demos.Store) -> None:
    ids = store.catalog.ids()

    with pytest.raises(LoadFailed, match="all weights are zero"):
        windows(store, weights=dict.fromkeys(ids, 0.0)).sampler()
    with pytest.raises(UnknownName, match="01ABC"):
        windows(store, weights={"01ABC": 1.0}).sampler()


def test_an_order_is_that_of_its_seed_and_epoch(store: demos.Store) -> None:
    found = windows(store)

    for local in (False, True):
        one, other, same_seed, next_seed = (
            found.sampler(seed, local=local, buffer=12) for seed in (3, 3, 3, 4)
        )
        first, second = list(one), list(one)
        other.epoch = 1

        assert sorted(first) == sorted(second) == list(range(99))
        assert first != second
        assert list(other) == second
        assert list(same_seed) == first
        assert list(next_seed) != first


def test_local_order_keeps_a_run_within_the_buffer_and_says_how_alike_a_batch_is(
    store: demos.Store,
) -> None:
    found = windows(store)
    run = np.concatenate([[0] * 10, [1] * 10, [2] * 10, [3] * 3])
    runs = np.concatenate([run, run + 4, run + 8])
    mates = []
    for epoch in range(300):
        sampler = found.sampler(0, local=True, buffer=40)
        sampler.epoch = epoch
        order = runs[list(sampler)]
        for place in range(0, 40, 8):
            batch = order[place : place + 8]
            mates.append(np.mean([(batch == each).sum() - 1 for each in batch]))
    places = [np.flatnonzero(order == each) for each in range(12)]

    assert max(np.ptp(each) for each in places) < 2 * 40
    # runs of 10, 10, 10 and 3: a window is in one of 10 with 10/11, of 3 with 1/11; a run that the
    # buffer cuts has fewer, which is why this is a little less than (g - 1)(B - 1) / (buffer - 1)
    g = (30 * 9 + 3 * 2) / 33
    assert np.mean(mates) == pytest.approx(g * 7 / 39, rel=0.15)


def test_local_order_without_images_is_refused(store: demos.Store) -> None:
    with pytest.raises(LoadFailed, match="no camera") as caught:
        windows(store, observe={"joint_position": [0]}).sampler(local=True)

    assert "leave `local` out" in caught.value.hint


def test_progress_is_told_and_loading_imports_nothing_heavy(store: demos.Store) -> None:
    told: list[tuple[int, int]] = []

    windows(store, size=32, progress=lambda done, total: told.append((done, total)))

    assert told[:6] == [(n, 6) for n in range(1, 7)]
    assert told[6:] == [(1, 3), (2, 3), (3, 3)]
    code = (
        "import sys, demos.loader; print([m for m in ('av', 'torch', 'zarr') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_torch_that_is_not_installed_is_told(
    store: demos.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(demos.DemosError, match="needs torch") as caught:
        windows(store, format="torch")

    assert "teleop-demos[torch]" in caught.value.hint
