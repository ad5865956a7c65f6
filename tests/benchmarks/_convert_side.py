"""One side of `demos bench convert`, in a process of its own.

    python _convert_side.py ours|floor|lerobot|forge FOLDER

It reads one JSON request a line and answers one a line. Every answer to a measured request has
`wall_s`, `cpu_s` (of the process and those it started) and `out_bytes`; what was written is deleted
afterwards, and the disk is left in peace (`sync`) before the answer goes out.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
Figures = dict[str, Any]


class Ours:
    """Imports into new stores, and exports."""

    def __init__(self, root: Path) -> None:
        import demos.exporters
        import demos.importers
        import demos.store.encoding  # noqa: F401

        self.root = root

    def prepare(self, content: Figures, small: Figures) -> None:
        """Write the sources, and the stores that exports are made from."""
        make = import_module("_convert_content")
        of = import_module("_loader_content").Content
        make.write_sources(of(**content), of(**small), self.root / "sources")
        make.record_session(of(**content), self.root / "session")

    def export_source(self, store: str, source: str, to: str) -> None:
        """Write a further source out of a store."""
        self._export(store, self.root / "sources" / source, to)

    def import_(self, target: Path, source: str, form: str) -> Callable[[], None]:
        """Return what imports a source into a new store."""
        import demos
        from demos.importers import import_source

        store = demos.open(target, container="zarr")
        place = Path(source) if Path(source).is_absolute() else self.root / "sources" / source

        def work() -> None:
            report = import_source(place, store, format=form, accept_mapping=True)
            left = [reason for _, reason, _ in report.skipped]
            if left or not report.episodes:
                raise RuntimeError(f"{source}: left out: {left}")

        return work

    def export(self, target: Path, store: str, to: str) -> Callable[[], None]:
        """Return what exports a store."""
        return lambda: self._export(store, target / "out", to)

    def _export(self, store: str, target: Path, to: str) -> None:
        import demos

        report = demos.open(self.root / store).select("").export(target, to=to)
        if report.left_out:
            raise RuntimeError(f"{to}: left out: {report.left_out}")


class Floor:
    """What no conversion can avoid: copying the bytes, decoding the images, encoding them."""

    def __init__(self, root: Path) -> None:
        import av
        import h5py  # noqa: F401

        self.av, self.root = av, root
        self.make = import_module("_convert_content")

    def copy(self, target: Path, source: str) -> Callable[[], None]:
        """Return what copies all bytes of a folder or file into one file, synced once."""
        place = self.root / source
        files = sorted(place.rglob("*")) if place.is_dir() else [place]

        def work() -> None:
            with (target / "copy").open("wb") as out:
                for path in files:
                    if path.is_file():
                        with path.open("rb") as file:
                            shutil.copyfileobj(file, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())

        return work

    def decode(self, target: Path, source: str, kind: str) -> Callable[[], None]:
        """Return what decodes all images, one thread, to the decoder's own pixels."""
        del target

        def work() -> None:
            for _ in self._pictures(source, kind):
                pass

        return work

    def encode(self, target: Path, source: str, kind: str) -> Callable[[], None]:
        """Return what reads or decodes all images and encodes them as the store does, one thread.

        Packets are dropped.
        """
        from demos.store.encoding import Encoder

        del target

        def work() -> None:
            encoder: Any = None
            for image in self._raw(source) if kind == "raw" else self._rgb(source, kind):
                size = (image.shape[1], image.shape[0])
                if encoder is None or (encoder.width, encoder.height) != size:
                    encoder = Encoder(*size, 30)
                encoder.encode(image)

        return work

    def _pictures(self, source: str, kind: str) -> Iterator[Any]:
        if kind == "jpeg":
            context: Any = self.av.CodecContext.create("mjpeg", "r")
            context.thread_count = 1
            for image in self._jpegs(source):
                yield from context.decode(self.av.Packet(image))
            return
        for path in sorted((self.root / source).rglob("*.mp4")):
            with self.av.open(str(path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                yield from container.decode(stream)

    def _rgb(self, source: str, kind: str) -> Iterator[Any]:
        return (picture.to_ndarray(format="rgb24") for picture in self._pictures(source, kind))

    def _jpegs(self, source: str) -> Iterator[bytes]:
        for table in self._tables(source):
            for row in table:
                yield row.tobytes().rstrip(b"\0")

    def _raw(self, source: str) -> Iterator[Any]:
        for table in self._tables(source):
            yield from table

    def _tables(self, source: str) -> Iterator[Any]:
        """Yield the datasets of images in HDF5 files."""
        import h5py

        place, found = self.root / source, list[str]()
        for path in sorted(place.rglob("*.hdf5")) if place.is_dir() else [place]:
            with h5py.File(path, "r") as file:
                found.clear()
                file.visit(found.append)
                yield from (file[name] for name in found if "images/" in name or "_image" in name)


class Lerobot:
    """lerobot's own writer, fed with steps from HDF5 files or from memory."""

    def __init__(self, root: Path) -> None:
        import_module("_loader_side").import_lerobot()
        self.root = root
        self.held: list[list[Figures]] = []

    def write_source(self, source: str, to: str) -> None:
        """Write a further source: what lerobot records of an HDF5 source, as H.264."""
        self._write(self.root / "sources" / to, self._steps(source), streaming=True)

    def hold(self, store: str) -> None:
        """Decode all steps of a store into memory, as they go out at 30 Hz."""
        import demos
        from demos import timeline

        self.held = []
        for episode in demos.open(self.root / store):
            cameras = list(episode.cameras)
            moments = episode.cameras[cameras[0]].time_ns
            count = range(len(moments))
            shown = {name: episode.images(name, count) for name in cameras}
            values = {
                key: timeline.at(episode.streams[stream], moments, "previous").astype("float32")
                for key, stream in (("state", "joint_position"), ("action", "joint_command"))
            }
            self.held.append(
                [
                    _step(
                        {key: table[row] for key, table in values.items()},
                        {name: table[row] for name, table in shown.items()},
                    )
                    for row in count
                ]
            )

    def write(self, target: Path, source: str, *, streaming: bool) -> Callable[[], None]:
        """Return what writes a dataset from an HDF5 source, or from what is held (`memory`)."""
        return lambda: self._write(
            target / "out",
            iter(self.held) if source == "memory" else self._steps(source),
            streaming=streaming,
        )

    def _steps(self, source: str) -> Iterator[Any]:
        """Yield episodes, each an iterator of steps that are read one by one."""
        import h5py

        place = self.root / "sources" / source
        for path in sorted(place.rglob("*.hdf5")) if place.is_dir() else [place]:
            with h5py.File(path, "r") as file:
                demos = [file["data"][name] for name in file["data"]] if "data" in file else [file]
                yield from (_rows(demo) for demo in demos)

    def _write(self, root: Path, episodes: Iterator[Any], *, streaming: bool) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        made: Any = None
        for episode in episodes:
            for step in episode:
                if made is None:
                    made = LeRobotDataset.create(
                        "bench/convert",
                        fps=30,
                        root=root,
                        robot_type="bench",
                        features=_features(step),
                        vcodec="h264",
                        streaming_encoding=streaming,
                        image_writer_threads=0 if streaming else 8,
                    )
                made.add_frame(dict(step))
                # it drops images without an error where its encoder is a queue behind
                while streaming and any(
                    q.qsize() > 10 for q in made._streaming_encoder._frame_queues.values()
                ):
                    time.sleep(0.002)
            made.save_episode()
        made.finalize()


def _rows(demo: Any) -> Iterator[Figures]:
    mimic = "obs" in demo
    images = demo["obs"] if mimic else demo["observations/images"]
    cameras = [name for name in images if not mimic or name.endswith("_image")]
    state = demo["obs/robot0_joint_pos" if mimic else "observations/qpos"][:]
    action = demo["actions" if mimic else "action"][:]
    for row in range(len(action)):
        values = {"state": state[row].astype("float32"), "action": action[row].astype("float32")}
        yield _step(values, {name: images[name][row] for name in cameras})


def _step(values: Figures, images: Figures) -> Figures:
    return {
        "observation.state": values["state"],
        "action": values["action"],
        "task": "pick and place",
        **{f"observation.images.{name}": image for name, image in images.items()},
    }


def _features(step: Figures) -> Figures:
    axes = ["height", "width", "channels"]
    found: Figures = {}
    for name, value in step.items():
        if name.startswith("observation.images."):
            found[name] = {"dtype": "video", "shape": value.shape, "names": axes}
        elif name != "task":
            names = [f"j{number}" for number in range(len(value))]
            found[name] = {"dtype": "float32", "shape": value.shape, "names": names}
    return found


class Forge:
    """forge-robotics: its converter as installed, or its writer with an encoder set up like ours.

    The converter hands its writer no settings of the encoder, so those are given to the writer.
    """

    def __init__(self, root: Path) -> None:
        import_module("forge.convert.converter")
        import_module("forge.formats.lerobot_v3.writer")
        self.root = root

    def convert(self, target: Path, source: str, *, alike: bool) -> Callable[[], None]:
        """Return what converts a source to LeRobot v3."""
        place = self.root / "sources" / source
        registry = import_module("forge.formats.registry").FormatRegistry

        def as_installed() -> None:
            converter = import_module("forge.convert.converter").Converter()
            found = converter.convert(place, target / "out", "lerobot-v3")
            if not found.success:
                raise RuntimeError(f"forge: {found.errors}")

        def alike_ours() -> None:
            module = import_module("forge.formats.lerobot_v3.writer")
            config = module.LeRobotV3WriterConfig(fps=30, video_preset="veryfast")
            reader = registry.get_reader("hdf5")
            writer, told = module.LeRobotV3Writer(config), reader.inspect(place)
            told.inferred_fps = 30
            writer.write_dataset(reader.read_episodes(place), target / "out", told)

        return alike_ours if alike else as_installed


def measured(root: Path, make: Callable[[Path], Callable[[], None]]) -> Figures:
    """Do one piece of work in a new folder; say what it took and wrote."""
    target = root / f"made-{os.getpid()}"
    target.mkdir()
    try:
        work = make(target)
        begun, cpu = time.perf_counter(), _cpu_s()
        work()
        wall_s, cpu_s = time.perf_counter() - begun, _cpu_s() - cpu
        written = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(target, ignore_errors=True)
        os.sync()
    return {"wall_s": wall_s, "cpu_s": cpu_s, "out_bytes": written}


def _cpu_s() -> float:
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)


SIDES: dict[str, type[Any]] = {"ours": Ours, "floor": Floor, "lerobot": Lerobot, "forge": Forge}
UNMEASURED = ("prepare", "export_source", "write_source", "hold")


def main(name: str, root: Path) -> None:
    """Serve one side."""
    begun = time.perf_counter()
    side = SIDES[name](root)
    started_s = time.perf_counter() - begun

    def answer(asked: Figures) -> Figures:
        do = asked.pop("do")
        if do == "start":
            return {"start_s": started_s}
        if do in UNMEASURED:
            getattr(side, do)(**asked)
            return {}
        return measured(root, lambda target: getattr(side, do)(target, **asked))

    import_module("_sides").serve(answer)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
