"""The store: episodes as files, published whole, never changed; and the recorder that fills it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demos.store.episodes import EpisodeStore

if TYPE_CHECKING:
    from demos.store.encoding import Packet
    from demos.store.recorder import EpisodeRecording, Recorder
    from demos.store.recovery import recover
    from demos.store.verification import verify
    from demos.store.withdrawal import withdraw

_HOMES = {
    "EpisodeRecording": "recorder",
    "Packet": "encoding",
    "Recorder": "recorder",
    "recover": "recovery",
    "verify": "verification",
    "withdraw": "withdrawal",
}
__all__ = [
    "EpisodeRecording",
    "EpisodeStore",
    "Packet",
    "Recorder",
    "recover",
    "verify",
    "withdraw",
]


def __getattr__(name: str) -> Any:
    """Load the recorder, or the like, when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
