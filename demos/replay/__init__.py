"""Replay of recorded episodes in MuJoCo, and how far simulation departs from the recording."""

from __future__ import annotations

from demos.replay.open_loop import Replay, replay, summary, table
from demos.replay.plant import Plant, plant

__all__ = ["Plant", "Replay", "plant", "replay", "summary", "table"]
