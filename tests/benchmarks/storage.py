"""Bytes, write speed and read cost of one episode against raw, gzip HDF5 and 30 Hz parquet.

The content is a made 30 s episode of a humanoid with two hands: 43 joints (position, velocity,
effort) at 500 Hz, two wrist force-torque sensors at 1 kHz, 160 taxels at 200 Hz, 43 commands at
100 Hz, one 640x480 camera at 30 Hz. Every sensor has a least significant bit and noise of a few
of them, as drives and ADCs have; commands are computed and have none. The same numbers are
stored twice: with the steps undeclared (`float32`) and declared (`quantised`). `noise_only` are
the same streams without any steps: what no lossless codec shrinks much, reported for honesty.
Times are CPU milliseconds, the least of several runs, file in the page cache.
"""

from __future__ import annotations

import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from demos.model import CameraInfo, Stream, StreamInfo
from demos.store import containers
from demos.store.containers import zarr_zip
from demos.store.video import Encoder, VideoCamera, mux

Floats = npt.NDArray[np.float64]
POSITION_LSB = 2 * np.pi / 2**15
VELOCITY_LSB = 2 * np.pi / 2**8
EFFORT_LSB = 1 / 2**8
FORCE_LSB, TORQUE_LSB, TAXEL_LSB = 0.01, 0.0005, 0.01


class Content(NamedTuple):
    """One signal: exact values (n, C), its steps and the standard deviation of noise in steps."""

    rate_hz: float
    values: Floats
    steps: Floats | None
    noise: float


def content(seconds: float, random: np.random.Generator) -> dict[str, Content]:
    """Make the signals: strokes of minimum jerk with tremor, contacts that come and go."""
    fast, joints = np.arange(int(500 * seconds)) / 500, 43
    position = np.stack([strokes(fast, 0.5, random) for _ in range(joints)], axis=1)
    velocity = np.gradient(position, axis=0) * 500
    effort = 6 * np.sin(position) + 0.05 * np.gradient(velocity, axis=0) * 500
    wrench_t = np.arange(int(1000 * seconds)) / 1000
    wrench = np.stack([strokes(wrench_t, 4.0, random) for _ in range(12)], axis=1)
    command_t = np.arange(int(100 * seconds)) / 100
    wrench_steps = np.tile([FORCE_LSB] * 3 + [TORQUE_LSB] * 3, 2)
    wrench *= wrench_steps / FORCE_LSB
    return {
        "joint_position": Content(500, position, np.full(joints, POSITION_LSB), 0.3),
        "joint_velocity": Content(500, velocity, np.full(joints, VELOCITY_LSB), 1.0),
        "joint_effort": Content(500, effort, np.full(joints, EFFORT_LSB), 6.0),
        "wrench": Content(1000, wrench, wrench_steps, 5.0),
        "tactile": Content(200, taxels(seconds, random), np.full(160, TAXEL_LSB), 0.6),
        "joint_command": Content(
            100,
            np.stack([strokes(command_t, 0.5, random) for _ in range(joints)], axis=1),
            None,
            0.0,
        ),
    }


def strokes(t: Floats, amplitude: float, random: np.random.Generator) -> Floats:
    """Move between random goals in 0.5 to 2 s each (Flash and Hogan, 1985), 9 Hz tremor on top."""
    ends = np.concatenate([[0.0], np.cumsum(random.uniform(0.5, 2.0, int(2 * t[-1]) + 4))])
    goals = random.normal(0, amplitude, len(ends))
    goals[1::3] = goals[:-1:3][: len(goals[1::3])]
    at = np.searchsorted(ends, t, "right") - 1
    s = (t - ends[at]) / (ends[at + 1] - ends[at])
    blend = s**3 * (10 - 15 * s + 6 * s**2)
    tremor = 0.002 * amplitude * np.sin(2 * np.pi * 9 * t + random.uniform(0, 6))
    moved: Floats = goals[at] + (goals[at + 1] - goals[at]) * blend + tremor
    return moved


def taxels(seconds: float, random: np.random.Generator) -> Floats:
    """Press a quarter of 160 taxels during a few contacts; the others rest near zero."""
    t = np.arange(int(200 * seconds)) / 200
    force = np.zeros((len(t), 160))
    for start in np.arange(2.0, seconds, 8.0):
        pressed = random.choice(160, 40, replace=False)
        hold = np.clip((t - start) / 0.2, 0, 1) * np.clip((start + 4 - t) / 0.2, 0, 1)
        squeeze = 1 + 0.1 * np.sin(2 * np.pi * 1.3 * t)
        force[:, pressed] += (hold * squeeze)[:, None] * random.gamma(2.0, 0.6, 40)
    return force


def streams_of(
    made: Mapping[str, Content], random: np.random.Generator, *, stepped: bool
) -> dict[str, Stream]:
    """Add noise, round to steps if `stepped`, and stamp with 50 us of jitter; steps declared."""
    clocks: dict[float, npt.NDArray[np.int64]] = {}
    streams = {}
    for name, signal in made.items():
        n, channels = signal.values.shape
        if signal.rate_hz not in clocks:
            late = random.normal(0, 50_000, n)
            clocks[signal.rate_hz] = np.rint(np.arange(n) * 1e9 / signal.rate_hz + late).astype(
                np.int64
            )
        values, quantum = signal.values, None
        if signal.steps is not None:
            values = values + random.normal(0, 1, values.shape) * signal.noise * signal.steps
            if stepped:
                # adding zero turns -0.0, which no ADC gives, into 0.0
                values = np.rint(values / signal.steps) * signal.steps + 0.0
                quantum = tuple(signal.steps.tolist())
        info = StreamInfo(
            units=("",) * channels,
            channels=tuple(f"{name}_{c}" for c in range(channels)),
            rate_hz=signal.rate_hz,
            quantum=quantum,
        )
        streams[name] = Stream(clocks[signal.rate_hz], values.astype(np.float32), info)
    return streams


def run(*, quick: bool, seed: int) -> dict[str, Any]:
    """Measure; the keys `float32` and `quantised` hold the figures, `aim` what was aimed at."""
    seconds = 10.0 if quick else 30.0
    made = content(seconds, np.random.default_rng(seed))
    declared = streams_of(made, np.random.default_rng(seed + 1), stepped=True)
    undeclared = {
        name: replace(stream, info=stream.info.model_copy(update={"quantum": None}))
        for name, stream in declared.items()
    }
    smooth = streams_of(made, np.random.default_rng(seed + 1), stepped=False)
    with tempfile.TemporaryDirectory() as folder:
        place, runs = Path(folder), 3 if quick else 9
        figures = {
            "float32": figures_of(undeclared, place / "f", runs),
            "quantised": figures_of(declared, place / "q", runs),
            "noise_only": figures_of(smooth, place / "n", runs),
            "parquet_30hz": parquet(declared, place / "episode.parquet", runs),
            **video(place / "camera.mp4", 90 if quick else int(30 * seconds), seed),
        }
    return {
        "seconds": seconds,
        "raw_bytes": raw_bytes(declared),
        **figures,
        "read_over_codec": max(figures[k]["read_over_codec"] for k in ("float32", "quantised")),
        "aim": {
            "float32": {"ratio_raw": 2.4, "ratio_gzip_hdf5": 1.25},
            "quantised": {"ratio_raw": 6.0, "ratio_gzip_hdf5": 3.0},
            "read_over_codec": 2.0,
        },
    }


def raw_bytes(streams: Mapping[str, Stream]) -> int:
    """Count values of every stream and stamps of every clock, as they are in memory."""
    clocks = {id(stream.time_ns): stream.time_ns.nbytes for stream in streams.values()}
    return sum(stream.values.nbytes for stream in streams.values()) + sum(clocks.values())


def figures_of(streams: Mapping[str, Stream], folder: Path, runs: int) -> dict[str, float]:
    """Store the streams in each way and compare."""
    folder.mkdir()
    raw, zarr, hdf5 = raw_bytes(streams), folder / "s.zarr.zip", folder / "s.h5"
    wrote = cpu_ms(lambda: containers.write(zarr, "zarr", streams, {}), 1)
    wrote_hdf5 = cpu_ms(lambda: containers.write(hdf5, "hdf5", streams, {}), 1)
    usual = folder / "usual.h5"
    wrote_usual = cpu_ms(lambda: gzip_hdf5(usual, streams), 1)
    read, codec = cpu_ms(lambda: read_all(zarr, "zarr"), runs), codec_ms(zarr, runs)
    sizes = {"zarr": zarr.stat().st_size, "usual": usual.stat().st_size}
    return {
        "bytes": sizes["zarr"],
        "bytes_gzip_hdf5": sizes["usual"],
        "bytes_hdf5_container": hdf5.stat().st_size,
        "ratio_raw": round(raw / sizes["zarr"], 3),
        "ratio_gzip_hdf5": round(sizes["usual"] / sizes["zarr"], 3),
        "write_mb_per_s": round(raw / wrote / 1e3, 1),
        "write_mb_per_s_hdf5_container": round(raw / wrote_hdf5 / 1e3, 1),
        "write_mb_per_s_gzip_hdf5": round(raw / wrote_usual / 1e3, 1),
        "read_cpu_ms": read,
        "codec_cpu_ms": codec,
        "read_over_codec": round(read / codec, 3),
        "read_cpu_ms_hdf5_container": cpu_ms(lambda: read_all(hdf5, "hdf5"), runs),
        "read_cpu_ms_gzip_hdf5": cpu_ms(lambda: read_gzip_hdf5(usual), runs),
        "read_cpu_ms_raw": read_raw_ms(streams, folder / "raw.bin", runs),
    }


def cpu_ms(job: Callable[[], object], runs: int) -> float:
    """Run a job and return the least CPU milliseconds that it took."""
    least = float("inf")
    for _ in range(runs):
        start = time.process_time()
        job()
        least = min(least, time.process_time() - start)
    return round(least * 1e3, 3)


def read_all(path: Path, kind: containers.Kind) -> None:
    """Open the file and decode every stream, as opening an episode does."""
    with containers.open(path, kind) as opened:
        for name in opened.streams:
            opened.streams[name]


def codec_ms(path: Path, runs: int) -> float:
    """Decode every chunk of the file from memory with numcodecs alone."""
    opened = zarr_zip.ZarrZip.open(path)
    jobs = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            array, found, _ = name.partition("/c/")
            if found:
                codec = zarr_zip.numcodec(opened.metadata[array]["codecs"])
                jobs.append((codec, archive.read(name)[:-4]))
    return cpu_ms(lambda: [codec.decode(data) for codec, data in jobs], runs)


def gzip_hdf5(path: Path, streams: Mapping[str, Stream]) -> None:
    """Write as most people do: one dataset (n, C) a stream, gzip 4 and shuffle, default chunks."""
    import h5py

    with h5py.File(path, "w") as root:
        settings = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
        clocks: dict[int, str] = {}
        for name, stream in streams.items():
            root.create_dataset(f"{name}/values", data=stream.values, **settings)
            if id(stream.time_ns) not in clocks:
                clocks[id(stream.time_ns)] = name
                root.create_dataset(f"{name}/time_ns", data=stream.time_ns, **settings)


def read_gzip_hdf5(path: Path) -> None:
    """Read every dataset whole."""
    import h5py

    with h5py.File(path, "r") as root:
        for group in root.values():
            for dataset in group.values():
                dataset[...]


def read_raw_ms(streams: Mapping[str, Stream], path: Path, runs: int) -> float:
    """Read the same bytes uncompressed: the floor of any format."""
    path.write_bytes(b"".join(stream.values.tobytes() for stream in streams.values()))
    return cpu_ms(path.read_bytes, runs)


def parquet(streams: Mapping[str, Stream], path: Path, runs: int) -> dict[str, float]:
    """Keep one row per camera image, as LeRobot does: most samples are gone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.arange(0, max(int(s.time_ns[-1]) for s in streams.values()), 33_333_333)
    columns, kept = {}, 0
    for name, stream in streams.items():
        at = np.searchsorted(stream.time_ns, rows).clip(0, len(stream) - 1)
        aligned = stream.values[at]
        kept += aligned.nbytes
        columns[name] = pa.FixedSizeListArray.from_arrays(aligned.reshape(-1), aligned.shape[1])
    table = pa.table(columns)
    wrote = cpu_ms(lambda: pq.write_table(table, path, compression="zstd"), 1)
    return {
        "bytes": path.stat().st_size,
        "share_of_samples": round(kept / sum(s.values.nbytes for s in streams.values()), 4),
        "write_mb_per_s": round(kept / wrote / 1e3, 1),
        "read_cpu_ms": cpu_ms(lambda: pq.read_table(path), runs),
    }


def video(path: Path, images: int, seed: int) -> dict[str, Any]:
    """Encode a moving texture with noise, then reach single images of it."""
    random = np.random.default_rng(seed)
    texture: npt.NDArray[Any] = random.integers(0, 255, (160, 160, 3)).astype(np.float64)
    for axis in (0, 1):
        texture = (texture + np.roll(texture, 1, axis) + np.roll(texture, -1, axis)) / 3
    texture = np.kron(texture, np.ones((8, 8, 1)))
    encoder, packets = Encoder(640, 480, 30.0), []
    start = time.process_time()
    made = 0.0
    for i in range(images):
        began = time.process_time()
        y, x = int(300 + 250 * np.sin(i / 40)), int(300 + 250 * np.cos(i / 55))
        noisy = texture[y : y + 480, x : x + 640] + random.normal(0, 3, (480, 640, 1))
        image = noisy.clip(0, 255).astype(np.uint8)
        made += time.process_time() - began
        packets += encoder.encode(image)
    encoding = time.process_time() - start - made
    packets += encoder.flush()
    time_ns = np.arange(images, dtype=np.int64) * 33_333_333
    index = mux(path, packets, time_ns, extradata=encoder.extradata)
    camera = VideoCamera(path, CameraInfo(width=640, height=480), index)
    wanted = random.integers(0, images - 1, 60).tolist()
    camera.images(wanted[:1])
    return {
        "image_access_ms": round(cpu_ms(lambda: [camera.images([i]) for i in wanted], 3) / 60, 3),
        "two_images_access_ms": round(
            cpu_ms(lambda: [camera.images([i, i + 1]) for i in wanted], 3) / 60, 3
        ),
        "image_access_reopening_ms": round(
            cpu_ms(lambda: [seek_anew(path, i) for i in wanted[:20]], 1) / 20, 3
        ),
        "encode_images_per_s": round(images / encoding, 1),
        "video_mbit_per_s": round(path.stat().st_size * 8 / (images / 30) / 1e6, 3),
    }


def seek_anew(path: Path, image: int) -> npt.NDArray[np.uint8]:
    """Open the mp4, seek to the key image before and decode on, without our index."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        target = int(image * 33_333_333 / 1e9 / stream.time_base)
        container.seek(target, stream=stream)
        for decoded in container.decode(stream):
            if decoded.pts is not None and decoded.pts >= target:
                rgb: npt.NDArray[np.uint8] = decoded.to_ndarray(format="rgb24")
                return rgb
    raise LookupError(image)
