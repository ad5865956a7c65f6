"""Humanoid teleoperation demonstrations: store, check, score, label, replay, look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demos.errors import DemosError

if TYPE_CHECKING:
    from demos import lerobot
    from demos.library import Episode, Selection, Store, open, score
    from demos.model import CameraInfo, Span, Stream, StreamInfo
    from demos.store import Packet, Recorder

_HOMES = {
    "CameraInfo": "demos.model",
    "Episode": "demos.library",
    "Packet": "demos.store",
    "Recorder": "demos.store",
    "Selection": "demos.library",
    "Span": "demos.model",
    "Store": "demos.library",
    "Stream": "demos.model",
    "StreamInfo": "demos.model",
    "open": "demos.library",
    "score": "demos.library",
}

__all__ = [
    "CameraInfo",
    "DemosError",
    "Episode",
    "Packet",
    "Recorder",
    "Selection",
    "Span",
    "Store",
    "Stream",
    "StreamInfo",
    "lerobot",
    "open",
    "score",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing this package is instant."""
    from importlib import import_module

    if name == "lerobot":
        return import_module("demos.lerobot")
    if name not in _HOMES:
        raise AttributeError(f"module 'demos' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
