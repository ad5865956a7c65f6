"""Harmed files, mapping files and single files of episodes end in a report or in our own error."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from demos.errors import DemosError
from demos.formats.lerobot_example import write_video
from demos.importers import Found, Refused, import_source, importers
from demos.importers.mapped import EXAMPLES, Mapped
from demos.store import EpisodeStore
from tests import test_fuzz_hdf5 as hdf5_harms
from tests.lerobot_folders import encoded, picture
from tests.test_mapped_import import items, recorded, told

Rng = random.Random


def mapped(folder: Path) -> Path:
    """Write the example, and beside its camera one of PNG rows and one that is a video file."""
    file = importers["mapped"]().write_example(folder)
    images = [encoded(picture(n), "png") for n in range(4)]
    rows = np.zeros((4, max(map(len, images))), np.uint8)
    for row, image in zip(rows, images, strict=True):
        row[: len(image)] = np.frombuffer(image, np.uint8)
    with h5py.File(folder / "runs/run_1.h5", "a") as run:
        run["camera/png"] = rows
        run["log"] = np.zeros(8, [("q", "<f4", (2,)), ("t", "<i8")])
    write_video(folder / "runs/run_1.mp4", [picture(n) for n in range(4)], 10)
    plain = yaml.safe_load(file.read_text())
    plain["cameras"] |= {
        "png": {"path": "camera/png", "clock": {"rate_hz": 50}},
        "beside": {"file": "runs/{stem}.mp4"},
    }
    plain["streams"]["log"] = {"paths": ["log/q"], "units": ["1"], "clock": {"rate_hz": 100}}
    file.write_text(yaml.safe_dump(plain, allow_unicode=True))
    return file


def bag(folder: Path) -> Path:
    """Write the example of a bag; what is flipped in it is not noticed by a checksum."""
    file = Mapped().write_example(folder, EXAMPLES[1])
    run = file.parent / "runs/run_1.mcap"
    with run.open("rb") as held, (folder / "plain.mcap").open("wb") as plain:
        writer = Writer(plain, compression=CompressionType.NONE, enable_crcs=False)
        writer.start()
        channels: dict[int, int] = {}
        for schema, channel, message in make_reader(held).iter_messages():
            assert schema is not None
            if channel.id not in channels:
                number = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.id] = writer.register_channel(
                    channel.topic, channel.message_encoding, number
                )
            writer.add_message(
                channels[channel.id], message.log_time, message.data, message.publish_time
            )
        writer.finish()
    (folder / "plain.mcap").replace(run)
    return file


def single(folder: Path) -> Path:
    return importers["hdf5"]().write_example(folder)


SOURCES: dict[str, Callable[[Path], Path]] = {"mapped": mapped, "bag": bag, "hdf5": single}
VALUES: list[Any] = [
    *(None, True, -1, 0, 1.5, float("nan"), 10**30, "", "x", "/", "..", "@", "a@b", [], {}),
    *(["x"], {"path": "x"}, {"text": "x"}, {"rate_hz": 1e-9}, [0, 10**9], "*", "**/*", "bgr"),
    *("camera/images", "control/left_q", "log", "log/t"),
    *("/arms", "/arms.joints[:].name", "/hand.stamp", "/force.count[9:]", "/head", "@operator"),
    *({"time": "log"}, {"time": "publish"}, {"path": "note"}, "h264", "[:]", "/hand[0].x"),
]


def flipped(path: Path, rng: Rng) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 2, 8])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def reworded(path: Path, rng: Rng) -> None:
    """Put an odd value in place of some value of a mapping file."""
    plain = yaml.safe_load(path.read_text())
    for _ in range(rng.randrange(1, 4)):
        place: Any = plain
        for _ in range(rng.randrange(5)):
            inside = list(place.values()) if isinstance(place, dict) else list(place)
            inside = [part for part in inside if isinstance(part, dict | list) and part]
            if not inside:
                break
            place = rng.choice(inside)
        at = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if isinstance(place, dict) and rng.random() < 0.3:
            del place[at]
        else:
            place[at] = rng.choice(VALUES)
        if not plain:
            break
    path.write_text(yaml.safe_dump(plain, allow_unicode=True))


def survives(name: str, seed: int, folder: Path) -> None:
    rng = Rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    source = SOURCES[name](folder / "source")
    runs = source.parent / "runs"
    hdf5 = source if name == "hdf5" else runs / "run_1.h5"
    harms: list[tuple[Callable[[Path, Rng], None], Path]] = []
    if name != "bag":
        harms += [(harm, hdf5) for harm in hdf5_harms.HARMS]
    if name != "hdf5":
        beside = runs / ("run_1.mp4" if name == "mapped" else "run_1.mcap")
        harms += [(reworded, source)] * 5
        harms += [(flipped, source), (hdf5_harms.cut_short, source)]
        harms += [(flipped, beside), (hdf5_harms.cut_short, beside)]
        harms += [(flipped, beside)] * (8 if name == "bag" else 0)
    harm, path = rng.choice(harms)
    with suppress(ValueError):  # a text that was to become rows of numbers is only deleted
        harm(path, rng)
    store = EpisodeStore.create(folder / "store")
    claimed = "hdf5" if name == "hdf5" else "mapped"
    for place, format in ((source, claimed), (source, None), (source.parent, None)):
        try:
            report = import_source(place, store, format=format)
        except DemosError as error:
            hints = [error.hint]
        else:
            hints = [hint for _, _, hint in report.skipped]
        assert all(hints), f"{name} {harm.__name__} {seed}"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", SOURCES)
def test_a_harmed_recording_causes_nothing_but_our_error(
    name: str, seed: int, tmp_path: Path
) -> None:
    survives(name, 1000 + seed, tmp_path / "x")


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
@pytest.mark.parametrize("name", SOURCES)
def test_three_hundred_harmed_recordings_cause_nothing_but_our_error(
    name: str, block: int, tmp_path: Path
) -> None:
    for seed in range(50 * block, 50 * block + 50):
        survives(name, seed, tmp_path / "x")


def test_a_file_that_is_damaged_is_refused_and_the_rest_goes_in(tmp_path: Path) -> None:
    recorded(tmp_path, "run_1.h5")
    (tmp_path / "run_2.h5").write_bytes(b"\x89HDF\r\n\x1a\n not whole")
    (tmp_path / "run_3.h5").write_text("no HDF5")

    one, two, three = items(told(tmp_path))

    assert isinstance(one, Found)
    assert isinstance(two, Refused)
    assert isinstance(three, Refused)
    assert two.hint
    assert "no HDF5 file" in three.reason
