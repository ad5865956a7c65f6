"""LeRobot folders for tests, written as LeRobot 0.4.4 lays v3.0 out; no lerobot needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FPS = 10
CAMERA = "observation.images.ego"
ROWS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def picture(number: int, size: tuple[int, int] = (48, 64)) -> npt.NDArray[np.uint8]:
    """Draw an image that says its number in its brightness and in where a bright bar stands."""
    height, width = size
    image = np.full((height, width, 3), 40 + (number * 7) % 150, np.uint8)
    image[:, (number * 5) % width : (number * 5) % width + 6] = 250
    image[:, :, 2] = np.linspace(0, 200, height, dtype=np.uint8)[:, None]
    return image


def encode(
    path: Path, count: int, *, keys: Sequence[int] = (0,), b_frames: int = 0, size: Any = (48, 64)
) -> Path:
    """Encode `count` pictures as h264, key images at `keys` and nowhere else."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        # a constant quantiser: what follows an image must not change how it is encoded
        stream.options = {"g": "1000", "bf": str(b_frames), "sc_threshold": "0", "qp": "20"}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts = number
            if number in keys:
                frame.pict_type = av.video.frame.PictureType.I
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode(path: Path) -> npt.NDArray[np.uint8]:
    """Decode all images of a video in sequence, as PyAV does it: (n, height, width, 3)."""
    import av

    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def decoded_at(path: Path, indices: Sequence[int]) -> tuple[int, npt.NDArray[np.uint8]]:
    """Decode a video in sequence; return how many images it has, and those at `indices`."""
    import av

    kept: dict[int, npt.NDArray[np.uint8]] = {}
    count = 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if count in indices:
                kept[count] = frame.to_ndarray(format="rgb24")
            count += 1
    return count, np.stack([kept[index] for index in indices])


def write_v30(
    root: Path,
    lengths: Sequence[int] = (6, 9, 5),
    *,
    keys: Sequence[int] | None = None,
    b_frames: int = 0,
    drift_s: float = 0.0,
) -> Path:
    """Write a v3.0 folder: all episodes in one parquet file and one video.

    keys: where key images stand; by default where each episode begins, as LeRobot writes it.
    drift_s: error of `from_timestamp`, growing by episode.
    """
    import pandas as pd
    import pyarrow as pa

    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    total = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    row = np.arange(total) - np.array(starts)[episode]
    state = np.stack([np.arange(total), np.arange(total) + 0.5], axis=1).astype(np.float32)
    table = pa.table(
        {
            "observation.state": pa.array(state.tolist(), pa.list_(pa.float32(), 2)),
            "action": pa.array((state + 1).tolist(), pa.list_(pa.float32(), 2)),
            "observation.tactile": pa.array(np.zeros((total, 2, 3)).tolist()),
            "note": pa.array(["first" if n < 3 else "later" for n in row]),
            "timestamp": pa.array((row / FPS).astype(np.float32)),
            "frame_index": pa.array(row),
            "episode_index": pa.array(episode),
            "index": pa.array(np.arange(total)),
            "task_index": pa.array(episode % 2),
        }
    )
    _parquet(table, root / "data/chunk-000/file-000.parquet")
    encode(
        root / f"videos/{CAMERA}/chunk-000/file-000.mp4",
        total,
        keys=starts if keys is None else keys,
        b_frames=b_frames,
    )
    (root / "meta").mkdir(exist_ok=True)
    tasks = pd.DataFrame({"task_index": [0, 1]}, index=["lift it", "drop it"])
    tasks.to_parquet(root / "meta/tasks.parquet")
    episodes: list[dict[str, Any]] = [
        {
            "episode_index": n,
            "tasks": [["lift it", "drop it"][n % 2]],
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": starts[n],
            "dataset_to_index": starts[n] + length,
            f"videos/{CAMERA}/chunk_index": 0,
            f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": starts[n] / FPS + n * drift_s,
            f"videos/{CAMERA}/to_timestamp": (starts[n] + length) / FPS + (n + 1) * drift_s,
            "stats/action/min": [0.0, 0.0],
        }
        for n, length in enumerate(lengths)
    ]
    _parquet(pa.Table.from_pylist(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    numbers = {"dtype": "float32", "shape": [2], "names": ["a", "b"]}
    info = {
        "codebase_version": "v3.0",
        "robot_type": "h1",
        "total_episodes": len(lengths),
        "total_frames": total,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            "observation.state": numbers,
            "action": numbers,
            "observation.tactile": {"dtype": "float64", "shape": [2, 3], "names": None},
            "note": {"dtype": "string", "shape": [1], "names": None},
            CAMERA: {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "c"]},
            **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ROWS},
        },
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def edit_info(root: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change `meta/info.json` of a folder in place."""
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))
    return root


def edit_table(root: Path, change: Callable[[Any], Any], episode: int = 0) -> Path:
    """Replace the parquet table of one v2 episode by `change(table)`."""
    import pyarrow.parquet as pq

    path = root / f"data/chunk-000/episode_{episode:06d}.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return root


def column(table: Any, name: str, values: Any) -> Any:
    """Return the table with one column replaced or added."""
    import pyarrow as pa

    array = values if isinstance(values, pa.Array) else pa.array(values)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, array)
    return table.append_column(name, array)


def encoded(image: npt.NDArray[np.uint8], kind: str) -> bytes:
    """Encode one image as PNG or JPEG."""
    import av

    codec, layout = {"png": ("png", "rgb24"), "jpeg": ("mjpeg", "yuvj420p")}[kind]
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt, context.time_base = layout, Fraction(1, 10)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    return b"".join(bytes(p) for part in (frame, None) for p in context.encode(part))


def in_table(root: Path, cells: list[Any]) -> Path:
    """Put a camera whose images lie in the parquet file into a folder."""

    def add(info: dict[str, Any]) -> None:
        info["features"]["observation.images.wrist"] = {"dtype": "image", "shape": [48, 64, 3]}

    edit_table(root, lambda table: column(table, "observation.images.wrist", cells))
    return edit_info(root, add)


def _parquet(table: Any, path: Path) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
