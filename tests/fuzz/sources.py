"""What is harmed: the example of every importer, and further layouts that some of them read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import yaml
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from demos.exporters import Chosen, export
from demos.formats.lerobot_example import STEPS, write_video
from demos.importers import importers
from demos.importers.mapped import EXAMPLES, Mapped
from demos.model import Episode, Stream
from tests import lerobot_folders, ros_bags, test_aloha_import, test_television_import
from tests.examples import example

Build = Callable[[Path], Path]
"""Write a recording below an empty folder and return what is imported of it."""


def builders(name: str) -> tuple[Build, ...]:
    """Return what writes recordings for an importer, its own example first."""
    return (lambda folder: importers[name]().write_example(folder), *_MORE.get(name, ()))


def with_pictures(folder: Path) -> Path:
    """Write a LeRobot folder with a camera in its table."""
    root = importers["lerobot"]().write_example(folder)
    pictures = [lerobot_folders.encoded(lerobot_folders.picture(n), "png") for n in range(STEPS)]
    return lerobot_folders.in_table(root, [{"bytes": each, "path": None} for each in pictures])


def with_cameras(folder: Path) -> Path:
    """Write a mapping file with PNG rows, a video beside and a field of a compound dataset."""
    import h5py

    file = importers["mapped"]().write_example(folder)
    pictures = [lerobot_folders.encoded(lerobot_folders.picture(n), "png") for n in range(4)]
    rows = np.zeros((4, max(map(len, pictures))), np.uint8)
    for row, each in zip(rows, pictures, strict=True):
        row[: len(each)] = np.frombuffer(each, np.uint8)
    with h5py.File(folder / "runs/run_1.h5", "a") as run:
        run["camera/png"] = rows
        run["log"] = np.zeros(8, [("q", "<f4", (2,)), ("t", "<i8")])
    write_video(folder / "runs/run_1.mp4", [lerobot_folders.picture(n) for n in range(4)], 10)
    plain = yaml.safe_load(file.read_text())
    plain["cameras"] |= {
        "png": {"path": "camera/png", "clock": {"rate_hz": 50}},
        "beside": {"file": "runs/{stem}.mp4"},
    }
    plain["streams"]["log"] = {"paths": ["log/q"], "units": ["1"], "clock": {"rate_hz": 100}}
    file.write_text(yaml.safe_dump(plain, allow_unicode=True))
    return file


def mapped_bag(folder: Path) -> Path:
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


def zipped(folder: Path) -> Path:
    """Write a replay buffer as a zip file."""
    root = importers["umi"]().write_example(folder / "plain")
    target = folder / "cup.zarr.zip"
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(root).as_posix())
    return target


def bag(folder: Path, storage: str) -> Path:
    """Write a bag that has something of every kind that is read, and return its file."""
    make, picture = ros_bags.maker(storage), lerobot_folders.picture
    video = ros_bags.annex_b([picture(n) for n in range(4)], keys=2)
    sent: list[ros_bags.Sent] = []
    for n in range(4):
        sent += [
            ("/joint_states", n, make.joints(n, ["a", "b"], [n, 1], [0, n])),
            ("/joint_command", n, make.joints(n, ["b", "a"], [1, n])),
            ("/wrench", n, make.wrench(n, "wrist", 1, 2, 3, 4, 5, n)),
            ("/tf", n, make.transforms(n, ("world", "cup", (0, 0, n, 0, 0, 0, 1)))),
            ("/imu", n, make.imu(n, "pelvis")),
            ("/head/compressed", n, make.compressed(n, ros_bags.encoded(picture(n)))),
            ("/raw/image_raw", n, make.image(n, picture(n), "rgb8")),
            ("/depth/image", n, make.image(n, np.full((4, 6), n, np.uint16), "16UC1")),
            ("/video", n, make.video(n, video[n])),
            ("/hand", n, make.array("Float32", np.ones(3, np.float32), "x,y,z")),
            ("/mode", n, make.plain("String", f"mode {n}")),
        ]
    path = ros_bags.write(folder, storage, sent)
    return path if path.is_file() else next(path.glob("take.*"))


def exported(folder: Path) -> Path:
    """Export a short episode that has labels, events, device stamps and touch to MCAP."""
    whole = example("all_fields")
    streams = {name: _begun(stream) for name, stream in whole.streams.items()}
    episode = Episode(whole.manifest, streams, {}, whole.labels)
    [written] = export([Chosen(episode.manifest, lambda: episode)], folder / "out", "mcap").written
    return folder / "out" / written.names[0]


def _begun(stream: Stream) -> Stream:
    clocks = (stream.source_time_ns, stream.arrival_ns)
    device, arrival = (None if clock is None else clock[:20] for clock in clocks)
    return Stream(stream.time_ns[:20], stream.values[:20], stream.info, device, arrival)


_MORE: dict[str, tuple[Build, ...]] = {
    "aloha": (
        lambda folder: test_aloha_import.record(folder / "episode_0.hdf5", mobile=True),
        lambda folder: test_aloha_import.record(folder / "episode_0.hdf5", compress=True),
    ),
    "lerobot": (
        lambda folder: lerobot_folders.write_v30(folder / "v30", (3, 4)),
        with_pictures,
    ),
    "mapped": (with_cameras, mapped_bag),
    "mcap": (partial(bag, storage="mcap"), exported),
    "rosbag": (partial(bag, storage="db3"), partial(bag, storage="bag")),
    "television": (
        lambda folder: test_television_import.processed(folder / "episode_0.hdf5"),
        lambda folder: test_television_import.raw(folder / "episode_0.hdf5"),
    ),
    "umi": (zipped,),
}
