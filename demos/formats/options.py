"""What the person who imports says about a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demos.model import Embodiment
from demos.model.records import Scalar


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who imports says about a source; everything else must be in it.

    `embodiment` None: the body is recognised by the source's own name for it, or recorded under
    that name. `ignore`: channels left out on purpose. `accept_mapping`: channels that the
    embodiment does not know are kept under their own names instead of being refused, and doubts
    about the mapping become findings. `store`: the store's folder, whose own embodiments count
    too. `numbers_only`: somebody looks at the numbers alone, so images are left alone.
    """

    embodiment: Embodiment | None = None
    task: str | None = None
    operator: str | None = None
    factors: Mapping[str, Scalar] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    accept_mapping: bool = False
    store: Path | None = None
    numbers_only: bool = False
