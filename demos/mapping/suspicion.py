"""What may be wrong with a mapping, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Cause = Literal[
    "degrees", "counts", "norm01", "range", "scale", "sign", "order", "twice", "missing"
]

_REMEDIES: Mapping[Cause, str] = {
    "degrees": "say `unit: deg` of these channels",
    "counts": "say `unit: counts` and their `scale`",
    "norm01": "say `unit: norm01` of these channels",
    "range": "give the channels their right joint, sign and offset",
    "scale": "say the right unit or `scale` of these channels",
    "sign": "say `sign: -1` of these channels, or give them their right joints",
    "order": "give the channels their right joints",
    "twice": "give one of the channels its right joint, or ignore it",
    "missing": "name their channels, or say under `absent` that they hold or mimic",
}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One thing that is hardly right with a mapping: the cause, the joints, the evidence."""

    cause: Cause
    joints: tuple[str, ...]
    message: str

    @property
    def hint(self) -> str:
        """What to do about it."""
        where = "under `sources` of the embodiment (`mapping` of a mapping file)"
        return f"{_REMEDIES[self.cause]}, {where}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """List names, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
