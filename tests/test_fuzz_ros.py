"""Whatever happened to a bag, an import ends in a report or in our own error with a hint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from demos.errors import DemosError
from demos.exporters import Chosen, export
from demos.importers import import_source
from demos.model import Episode, Stream
from demos.store import EpisodeStore
from tests.examples import example
from tests.lerobot_folders import picture
from tests.ros_bags import STORAGES, Sent, annex_b, encoded, maker, write

Rng = np.random.Generator


def sound(folder: Path, storage: str) -> Path:
    """Write a bag that has something of every kind that is read."""
    make = maker(storage)
    video = annex_b([picture(n) for n in range(4)], keys=2)
    sent: list[Sent] = []
    for n in range(4):
        sent += [
            ("/joint_states", n, make.joints(n, ["a", "b"], [n, 1], [0, n])),
            ("/joint_command", n, make.joints(n, ["b", "a"], [1, n])),
            ("/wrench", n, make.wrench(n, "wrist", 1, 2, 3, 4, 5, n)),
            ("/tf", n, make.transforms(n, ("world", "cup", (0, 0, n, 0, 0, 0, 1)))),
            ("/imu", n, make.imu(n, "pelvis")),
            ("/head/compressed", n, make.compressed(n, encoded(picture(n)))),
            ("/raw/image_raw", n, make.image(n, picture(n), "rgb8")),
            ("/depth/image", n, make.image(n, np.full((4, 6), n, np.uint16), "16UC1")),
            ("/video", n, make.video(n, video[n])),
            ("/hand", n, make.array("Float32", np.ones(3, np.float32), "x,y,z")),
            ("/mode", n, make.plain("String", f"mode {n}")),
        ]
    path = write(folder, storage, sent)
    return path if path.is_file() else next(path.glob("take.*"))


def own(folder: Path) -> Path:
    """Export a short episode that has labels, events, device stamps and touch."""
    whole = example("all_fields")
    first = {name: cut(stream) for name, stream in whole.streams.items()}
    episode = Episode(whole.manifest, first, {}, whole.labels)
    [written] = export([Chosen(episode.manifest, lambda: episode)], folder / "out", "mcap").written
    return folder / "out" / written.names[0]


def cut(stream: Stream) -> Stream:
    clocks = (stream.source_time_ns, stream.arrival_ns)
    device, arrival = (None if clock is None else clock[:20] for clock in clocks)
    return Stream(stream.time_ns[:20], stream.values[:20], stream.info, device, arrival)


def flipped(content: bytearray, rng: Rng) -> None:
    for _ in range(rng.integers(1, 6)):
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))


def cut_short(content: bytearray, rng: Rng) -> None:
    del content[rng.integers(len(content)) :]


def zeroed(content: bytearray, rng: Rng) -> None:
    start, length = rng.integers(len(content)), rng.integers(1, 200)
    content[start : start + length] = bytes(len(content[start : start + length]))


def full(content: bytearray, rng: Rng) -> None:
    """Make a length as large as it can be."""
    start = int(rng.integers(len(content)))
    content[start : start + 8] = b"\xff" * len(content[start : start + 8])


def doubled(content: bytearray, rng: Rng) -> None:
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 2000))
    content[start:start] = content[start : start + length]


def moved(content: bytearray, rng: Rng) -> None:
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 200))
    part = content[start : start + length]
    del content[start : start + length]
    place = int(rng.integers(len(content) + 1))
    content[place:place] = part


HARMS: tuple[Callable[[bytearray, Rng], None], ...] = (
    flipped,
    cut_short,
    zeroed,
    full,
    doubled,
    moved,
)


def survives(path: Path, folder: Path) -> None:
    store = EpisodeStore.create(folder / "store")
    try:
        report = import_source(path, store)
    except DemosError as error:
        hints = [error.hint]
    else:
        hints = [hint for _, _, hint in report.skipped]
        for _, episode in report.episodes:
            for stream in store.episode(episode).streams.values():
                assert len(stream.time_ns) == len(stream.values)
    assert all(hints)


def harm(source: Path, folder: Path, times: int) -> None:
    content = source.read_bytes()
    for seed in range(times):
        rng = np.random.default_rng(seed)
        hurt = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            if hurt:
                HARMS[rng.integers(len(HARMS))](hurt, rng)
        place = folder / str(seed)
        place.mkdir()
        (place / source.name).write_bytes(hurt)
        survives(place / source.name, place)
        shutil.rmtree(place)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_few_harmed_bags_cause_nothing_but_our_error(storage: str, tmp_path: Path) -> None:
    harm(sound(tmp_path / "sound", storage), tmp_path, 8)


@pytest.mark.fuzz
@pytest.mark.parametrize("storage", STORAGES)
def test_300_harmed_bags_cause_nothing_but_our_error(storage: str, tmp_path: Path) -> None:
    harm(sound(tmp_path / "sound", storage), tmp_path, 300)


@pytest.mark.fuzz
def test_300_harmed_exports_cause_nothing_but_our_error(tmp_path: Path) -> None:
    harm(own(tmp_path), tmp_path, 300)
