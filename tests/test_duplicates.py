"""Copies are found whatever was done to them, and what is alike by nature is not taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import demos
from demos import duplicates
from demos.cli import main
from demos.duplicates import LIMIT, Fingerprint, Leak, Motion, Pair, compared, leaks, spreads
from demos.library import Store
from demos.model import Episode, Selected, SelectionRecord, Stream, StreamInfo
from demos.provenance import new_id, now
from demos.store import EpisodeStore
from tests.examples import EXAMPLES, example
from tests.scripted import ImagesInMemory
from tests.small_store import fill, recorder_of
from tests.test_real_folders import nearest

RATE_HZ = 50
NUMBERS = count()
Floats = npt.NDArray[np.float64]


def wander(seed: int, seconds: float = 12.0, joints: int = 7) -> tuple[Floats, Floats]:
    """Move smoothly through random configurations, from one common pose: (n,) s, (n, C) rad."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    speed, phase = rng.uniform(0.2, 1.2, (4, joints)), rng.uniform(0, 2 * np.pi, (4, joints))
    waves = np.sin(2 * np.pi * time_s[:, None, None] * speed + phase) / (1 + np.arange(4))[:, None]
    return time_s, (waves.sum(axis=1) - waves.sum(axis=1)[0]) * 0.5


def episode_with(time_s: Floats, values: Floats) -> Episode:
    """Build an episode whose joints move as given."""
    width = values.shape[1]
    info = StreamInfo(units=("rad",) * width, channels=tuple(f"j{n}" for n in range(width)))
    stream = Stream(np.rint(time_s * 1e9).astype(np.int64), values, info)
    manifest = example("clean_pick").manifest.model_copy(update={"id": f"{next(NUMBERS):026d}"})
    return Episode(manifest, {"joint_position": stream}, {})


def found(episodes: list[Episode]) -> list[Pair]:
    by_id = {each.id: each for each in episodes}
    prints = [duplicates.fingerprint(each) for each in episodes]
    return list(duplicates.pairs(prints, lambda name: duplicates.motion_of(by_id[name])))


def resampled(time_s: Floats, values: Floats, rate_hz: float) -> tuple[Floats, Floats]:
    grid = np.arange(time_s[0], time_s[-1], 1 / rate_hz)
    return grid, np.stack([np.interp(grid, time_s, column) for column in values.T], axis=1)


def held(time_s: Floats, values: Floats, seconds: float) -> tuple[Floats, Floats]:
    count = int(seconds * RATE_HZ)
    still = np.repeat(values[:1], count, axis=0)
    return np.arange(count + len(time_s)) / RATE_HZ, np.vstack([still, values])


COPIES: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "other rate": lambda t, v: resampled(t, v, 20.0),
    "rounded to 5 mrad": lambda t, v: (t, np.round(v / 0.005) * 0.005),
    "float32": lambda t, v: (t, v.astype(np.float32).astype(np.float64)),
    "noise of 2 mrad": lambda t, v: (t, v + np.random.default_rng(9).normal(0, 0.002, v.shape)),
    "a fifth cut off": lambda t, v: (t[: int(0.8 * len(t))], v[: int(0.8 * len(t))]),
    "begun later": lambda t, v: (t[100:] - t[100], v[100:]),
    "cut at both ends": lambda t, v: (t[90:-90] - t[90], v[90:-90]),
    "waited before": lambda t, v: held(t, v, 2.0),
    "stamps of another clock": lambda t, v: (t + 1000.0, np.round(v, 4)),
    "written at another speed": lambda t, v: (t * 30 / 50, np.round(v, 4)),
    "other rate, cut": lambda t, v: resampled(t[60:-60] - t[60], v[60:-60], 25.0),
}  # fmt: skip


# ------------------------------------------------------------------------ near


@pytest.mark.parametrize("kind", list(COPIES))
def test_a_copy_is_found_among_others_and_nothing_else_is(kind: str) -> None:
    originals = [wander(seed) for seed in range(12)]
    copy = COPIES[kind](*originals[5])
    episodes = [episode_with(*each) for each in [*originals, copy]]

    [pair] = found(episodes)

    assert (pair.a, pair.b, pair.kind) == (episodes[5].id, episodes[12].id, "near")
    assert pair.distance < 0.75 * LIMIT


def test_the_offset_and_the_speed_of_a_copy_are_told() -> None:
    time_s, values = wander(1)
    original = episode_with(time_s, values)
    others = [episode_with(*wander(seed)) for seed in range(2, 8)]
    later = episode_with(time_s[75:] - time_s[75], values[75:])
    slower = episode_with(time_s * 2, np.round(values, 4))

    [cut] = found([original, *others, later])
    [slow] = found([original, *others, slower])

    assert cut.offset_s == pytest.approx(-1.5, abs=0.02)
    assert cut.speed == 1.0
    assert cut.overlap == pytest.approx(1.0, abs=0.02)
    assert slow.speed == pytest.approx(2.0, abs=0.01)


def test_a_fifth_in_common_is_no_copy() -> None:
    time_s, one = wander(1)
    _, other = wander(2)
    fifth = len(time_s) // 5
    joined = np.vstack([one[:fifth], other[fifth:] - other[fifth] + one[fifth - 1]])

    assert found([episode_with(time_s, one), episode_with(time_s, joined)]) == []


def test_standing_still_at_one_place_is_nothing_in_common() -> None:
    time_s = np.arange(30 * RATE_HZ) / RATE_HZ
    episodes = []
    for seed in range(6):
        _, moves = wander(seed, 3.0)
        still = np.zeros((len(time_s) - len(moves), moves.shape[1]))
        episodes.append(episode_with(time_s, np.vstack([still, moves])))

    assert found(episodes) == []


def test_an_episode_that_does_not_move_is_near_to_nothing() -> None:
    time_s = np.arange(200) / RATE_HZ
    episodes = [episode_with(time_s, np.full((200, 7), 0.25 * n)) for n in range(3)]

    assert found(episodes) == []


def test_noise_of_an_arm_at_rest_does_not_hide_a_copy() -> None:
    rng = np.random.default_rng(3)
    originals = []
    for seed in range(6):
        time_s, values = wander(seed)
        values[:, 4:] = rng.normal(0, 0.001, (len(values), 3))
        originals.append((time_s, values))
    time_s, values = originals[2]
    copy = values.copy()
    copy[:, 4:] = rng.normal(0, 0.001, (len(values), 3))

    [pair] = found([episode_with(*each) for each in [*originals, (time_s, copy)]])

    assert pair.distance < LIMIT


def test_motions_of_other_channels_are_not_held_against_each_other() -> None:
    time_s, values = wander(1)

    assert found([episode_with(time_s, values), episode_with(time_s, values[:, :6])]) == []


def test_the_distance_is_the_root_mean_square_in_spreads_worked_out_by_hand() -> None:
    time_s = np.arange(101) / 20
    ramp = np.stack([time_s, -time_s], axis=1)  # both channels move evenly: even weights
    a = Motion("m", ("rad", "rad"), time_s, ramp)
    b = Motion("m", ("rad", "rad"), time_s, ramp + np.array([0.03, 0.0]))

    pair = compared(a, b, np.array([2.0, 3.0]), [0.0])

    # at offset 0 it is 0.03 / 2 / sqrt(2) = 0.0106; shifting time mends a part of it
    d = np.array([0.03 / 2, 0.0])
    slope = np.array([1 / 2, -1 / 3])
    best = np.linalg.norm(d - slope * (d @ slope) / (slope @ slope)) / np.sqrt(2)
    assert best < 0.0106
    assert pair.distance == pytest.approx(best, rel=0.02)
    assert pair.offset_s == pytest.approx(-(d @ slope) / (slope @ slope), abs=0.003)


def test_a_spread_is_from_the_5th_to_the_95th_part_with_a_floor_per_unit() -> None:
    path = np.zeros((16, 3), np.float32)
    path[:, 0] = np.linspace(0, 16, 16)
    path[:, 2] = 5.0
    none = np.zeros((0, 3), np.float32)
    taken = Fingerprint("e", "c", "b", ("rad", "rad", "m"), path, none, np.zeros(0, np.float32))

    width = spreads([taken])

    assert width[0] == pytest.approx(0.9 * 16, rel=1e-6)
    assert width[1] == pytest.approx(0.05 * 0.9 * 16, rel=1e-6)
    assert width[2] == np.inf


def test_episodes_alike_by_nature_are_far_beyond_the_limit() -> None:
    episodes = [episode_with(*wander(seed, joints=5)) for seed in range(10)]
    prints = [duplicates.fingerprint(each) for each in episodes]
    motions = {each.id: duplicates.motion_of(each) for each in episodes}

    assert nearest(prints, motions) > 3 * LIMIT


# ------------------------------------------------------------------------ same


def test_the_content_is_the_numbers_and_images_not_ids_or_stamps() -> None:
    base = example("clean_pick")
    other_id = base.manifest.model_copy(update={"id": new_id(), "operator": "somebody"})
    late = {
        name: replace(stream, time_ns=stream.time_ns + 7) for name, stream in base.streams.items()
    }

    again = Episode(other_id, dict(reversed(late.items())), base.cameras)

    assert duplicates.content_sha256(again) == duplicates.content_sha256(base)


@pytest.mark.parametrize("what", ["number", "channel", "dtype", "stream", "image"])
def test_whatever_is_changed_makes_another_content(what: str) -> None:
    base = example("clean_pick")
    streams, cameras = dict(base.streams), dict(base.cameras)
    joints, camera = streams["joint_position"], cameras["egocentric"]
    if what == "number":
        values = joints.values.copy()
        values[3, 1] = np.nextafter(values[3, 1], 9)
        streams["joint_position"] = replace(joints, values=values)
    elif what == "channel":
        named = joints.info.model_copy(update={"channels": tuple(reversed(joints.channels))})
        streams["joint_position"] = replace(joints, info=named)
    elif what == "dtype":
        values = joints.values.astype(">f8" if joints.values.dtype != np.float64 else "<f4")
        streams["joint_position"] = replace(joints, values=values)
    elif what == "stream":
        del streams["joint_command"]
    else:
        assert isinstance(camera, ImagesInMemory)
        pixels = camera.pixels.copy()
        pixels[2, 0, 0, 0] ^= 1
        cameras["egocentric"] = ImagesInMemory(camera.time_ns, pixels)

    changed = Episode(base.manifest, streams, cameras)

    assert duplicates.content_sha256(changed) != duplicates.content_sha256(base)


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_every_example_however_odd_has_a_fingerprint_that_survives_its_row(name: str) -> None:
    if name == "unreadable_video":
        pytest.skip("its images cannot be read at all")

    taken = duplicates.fingerprint(example(name))

    back = duplicates.from_row(json.loads(json.dumps(duplicates.as_row(taken), default=list)) | {
        key: value for key, value in duplicates.as_row(taken).items() if isinstance(value, bytes)
    })  # fmt: skip
    for field in ("path", "turns", "turns_s"):
        np.testing.assert_array_equal(getattr(back, field), getattr(taken, field))
    assert (back.content, back.body, back.units) == (taken.content, taken.body, taken.units)


# ----------------------------------------------------------------------- leaks


def test_a_leak_is_a_pair_whose_episodes_are_in_different_splits() -> None:
    pairs = [Pair("same", "a", "b"), Pair("same", "c", "d"), Pair("near", "a", "e", 0.01)]
    split = {"a": "train", "b": "val", "c": "train", "d": "train", "e": "val", "f": "val"}

    told = leaks(pairs, split)

    assert told == [
        Leak(Pair("same", "a", "b"), "train", "val"),
        Leak(Pair("near", "a", "e", 0.01), "train", "val"),
    ]


def test_of_many_that_are_the_same_each_leak_is_told_once_per_split() -> None:
    pairs = [Pair("same", "a", name) for name in "bcd"]
    split = {"a": "train", "b": "train", "c": "val", "d": "test"}

    told = leaks(pairs, split)

    assert {(x.split_a, x.split_b) for x in told} == {
        ("train", "val"), ("train", "test"), ("val", "test"),
    }  # fmt: skip
    assert {x.pair.b for x in told} | {x.pair.a for x in told} == {"a", "b", "c", "d"}


# --------------------------------------------------------------------- command


@pytest.fixture
def lab(tmp_path: Path) -> Store:
    store = demos.open(tmp_path / "lab", container="zarr")
    recorder = recorder_of(store)
    for samples in (50, 60, 50):
        with recorder.episode() as taken:
            fill(taken, samples)
    store.refresh()
    return store


def test_the_command_names_what_is_in_the_store_twice(
    lab: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _, third = lab.episode_ids()

    code = main(["duplicates", str(lab.root), "--format", "json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [(p["kind"], p["a"], p["b"]) for p in result["pairs"]] == [("same", first, third)]
    assert result["leaks"] == []
    assert result["limit"] == LIMIT


def test_a_store_without_copies_is_fine_and_a_second_run_reads_nothing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = demos.open(tmp_path / "lab", container="hdf5")
    for samples in (50, 60):
        with recorder_of(store).episode() as taken:
            fill(taken, samples)

    codes = [main(["duplicates", str(store.root), "--format", "json"]) for _ in range(2)]

    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert codes == [0, 0]
    assert (first["report"]["done"], first["report"]["reused"]) == (2, 0)
    assert (second["report"]["done"], second["report"]["reused"]) == (0, 2)


def test_one_episode_in_two_containers_is_the_same(tmp_path: Path) -> None:
    contents = set()
    for container in ("zarr", "hdf5"):
        store = EpisodeStore.create(tmp_path / container, container)
        with recorder_of(store).episode() as taken:
            fill(taken)
        contents.add(duplicates.content_sha256(store.episode(taken.id)))

    assert len(contents) == 1


def test_leaks_of_a_selection_are_named_in_words(
    lab: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = lab.episode_ids()
    chosen = tuple(
        Selected(episode=e, manifest_sha256="0" * 64, split=split)
        for e, split in ((first, "train"), (second, "train"), (third, "val"))
    )
    lab.add_selection(
        SelectionRecord(
            name="paper", number=1, where="", created_at=now(), episodes=chosen, sha256="0" * 64
        )
    )

    code = main(["duplicates", str(lab.root), "--selection", "paper"])

    text = capsys.readouterr().out
    assert code == 1
    assert f"leak: {first[-8:]} in train is {third[-8:]} in val (same)" in text
    assert "1 pair the same, 0 pairs near, in 3 episodes" in text
    assert text.splitlines()[-1] == "1 leak between the splits of paper"


def test_only_the_episodes_of_a_selection_are_looked_at(
    lab: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = lab.episode_ids()
    chosen = tuple(Selected(episode=e, manifest_sha256="0" * 64) for e in (first, second))
    lab.add_selection(
        SelectionRecord(
            name="two", number=1, where="", created_at=now(), episodes=chosen, sha256="0" * 64
        )
    )

    assert main(["duplicates", str(lab.root), "--selection", "two"]) == 0
    assert "in 2 episodes" in capsys.readouterr().out


def test_an_episode_that_cannot_be_read_is_reported_and_the_rest_is_compared(
    lab: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = lab.episode_ids()
    [signals] = lab.root.rglob(f"{second}/signals.zarr.zip")
    signals.write_bytes(b"PK no more")

    code = main(["duplicates", str(lab.root), "--format", "json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [f["episode"] for f in result["report"]["failed"]] == [second]
    assert [(p["a"], p["b"]) for p in result["pairs"]] == [(first, third)]


@pytest.mark.slow
def test_a_hundred_copies_among_ten_thousand_episodes_are_found_in_a_minute() -> None:
    from time import process_time

    from demos.duplicates import fingerprints

    def motion(seed: int) -> Motion:
        time_s, values = wander(seed, seconds=6 + seed % 8, joints=14)
        return Motion("m", ("rad",) * 14, time_s[::5], values[::5])

    def taken(number: int, moved: Motion) -> Fingerprint:
        turns = fingerprints._turns(moved.values)
        even = np.linspace(moved.time_s[0], moved.time_s[-1], fingerprints.POINTS)
        path, points = fingerprints.at(moved, even), moved.values[turns]
        return Fingerprint(
            f"{number:06d}", str(number), "m", moved.units, path.astype(np.float32),
            points.astype(np.float32), moved.time_s[turns].astype(np.float32),
        )  # fmt: skip

    prints, motions = [], {}
    for number in range(10_000):
        moved = motion(number - 500 if 9_000 <= number < 9_100 else number)
        if 9_000 <= number < 9_100:
            moved = replace(moved, time_s=moved.time_s[20:], values=moved.values[20:] + 0.002)
        motions[f"{number:06d}"] = moved
        prints.append(taken(number, moved))
    started = process_time()

    told = list(duplicates.pairs(prints, motions.get))

    assert process_time() - started < 60
    assert sorted(int(pair.a) for pair in told) == list(range(8_500, 8_600))
    assert all(int(pair.b) - int(pair.a) == 500 for pair in told)
