"""The smallest xr_teleoperate folder that has everything: one episode, one camera, six rows."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FPS = 30
ROWS = 6
ARM, HAND = 7, 6


def write_task(root: Path) -> Path:
    """Write a task's folder as the recorder does: arms that swing, hands half open, a camera."""
    episode = root / "episode_0000"
    for name in ("colors", "depths", "audios"):
        (episode / name).mkdir(parents=True)
    rows = []
    for idx in range(ROWS):
        place = f"colors/{idx:06d}_color_0.jpg"
        image = np.full((48, 64, 3), 30 * idx, np.uint8)
        (episode / place).write_bytes(jpeg(image))
        rows.append(row(idx, {"color_0": place}))
    (episode / "data.json").write_text(json.dumps(document(rows), indent=4))
    return root


def document(rows: list[dict[str, Any]], goal: str = "wave with the arm") -> dict[str, Any]:
    """Return what `data.json` holds around its rows."""
    size = {"width": 64, "height": 48, "fps": FPS}
    return {
        "info": {
            "version": "1.0.0",
            "date": "2026-02-03",
            "author": "unitree",
            "image": size,
            "depth": size,
            "audio": {"sample_rate": 16000, "channels": 1, "format": "PCM", "bits": 16},
            "joint_names": {"left_arm": ["kLeftShoulderPitch"], "left_ee": [], "body": []},
            "tactile_names": {"left_ee": [], "right_ee": []},
            "sim_state": "",
        },
        "text": {"goal": goal, "desc": "task description", "steps": "step1: do this"},
        "data": rows,
    }


def row(idx: int, colors: dict[str, str], hand: int = HAND) -> dict[str, Any]:
    """Return one row: arms and hands of both sides, states and actions."""

    def part(width: int, start: float) -> dict[str, list[float]]:
        swing = [round(start + 0.01 * idx + 0.1 * n, 6) for n in range(width)]
        return {"qpos": swing, "qvel": [], "torque": []}

    def side(shift: float) -> dict[str, Any]:
        return {
            "left_arm": part(ARM, shift),
            "right_arm": part(ARM, shift - 0.7),
            "left_ee": part(hand, shift + 0.1),
            "right_ee": part(hand, shift + 0.2),
            "body": {"qpos": []},
        }

    return {
        "idx": idx,
        "colors": colors,
        "depths": {},
        "states": side(0.0),
        "actions": side(0.01),
        "tactiles": None,
        "audios": None,
        "sim_state": None,
    }


def jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """Encode one RGB image (height, width, 3) as JPEG."""
    import av

    context: Any = av.CodecContext.create("mjpeg", "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt, context.time_base = "yuvj420p", Fraction(1, FPS)
    picture = av.VideoFrame.from_ndarray(image, format="rgb24")
    return b"".join(bytes(p) for part in (picture, None) for p in context.encode(part))
