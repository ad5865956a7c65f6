"""The smallest LeRobot folder that has everything: one episode, one camera, eight steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

FPS = 10
STEPS = 8
CAMERA = "observation.images.head"
JOINTS = ("shoulder", "elbow")
TASK = "wave with the arm"


def write_v21(root: Path) -> Path:
    """Write a v2.1 folder: two joints that swing, their commands, and a grey camera."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.arange(STEPS)
    swing = np.stack([np.sin(rows / 3), np.cos(rows / 3)], axis=1).astype(np.float32)
    lists = pa.list_(pa.float32(), len(JOINTS))
    whole = pa.array(rows, pa.int64())
    table = pa.table(
        {
            "observation.state": pa.array(swing.tolist(), lists),
            "action": pa.array((swing + 0.01).tolist(), lists),
            "timestamp": pa.array((rows / FPS).astype(np.float32)),
            "frame_index": whole,
            "episode_index": pa.array(rows * 0, pa.int64()),
            "index": whole,
            "task_index": pa.array(rows * 0, pa.int64()),
        }
    )
    data = root / "data/chunk-000/episode_000000.parquet"
    data.parent.mkdir(parents=True)
    pq.write_table(table, data)
    video = root / f"videos/chunk-000/{CAMERA}/episode_000000.mp4"
    video.parent.mkdir(parents=True)
    write_video(video, [np.full((48, 64, 3), 20 * n, np.uint8) for n in rows], FPS)
    number = {"dtype": "float32", "shape": [len(JOINTS)], "names": list(JOINTS)}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "two_joint_arm",
        "total_episodes": 1,
        "total_frames": STEPS,
        "total_tasks": 1,
        "total_videos": 1,
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": "0:1"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": number,
            "action": number,
            CAMERA: {
                "dtype": "video",
                "shape": [48, 64, 3],
                "names": ["height", "width", "channels"],
            },
            **{
                name: {"dtype": dtype, "shape": [1], "names": None}
                for name, dtype in (
                    ("timestamp", "float32"),
                    ("frame_index", "int64"),
                    ("episode_index", "int64"),
                    ("index", "int64"),
                    ("task_index", "int64"),
                )
            },
        },
    }
    meta = root / "meta"
    meta.mkdir()
    (meta / "info.json").write_text(json.dumps(info, indent=1))
    (meta / "tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": TASK}) + "\n")
    episode = {"episode_index": 0, "tasks": [TASK], "length": STEPS}
    (meta / "episodes.jsonl").write_text(json.dumps(episode) + "\n")
    return root


def write_video(
    path: Path, images: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], fps: int
) -> None:
    """Encode RGB images (height, width, 3) uint8 as an ordinary h264 mp4."""
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        stream.options = {"preset": "veryfast", "g": "10", "bf": "0"}
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
