"""Episodes in memory and the tables that are made of them, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demos.alignment.offers import Wanted
from demos.alignment.schemas import Survey, survey
from demos.alignment.tables import StepTable, tables_of
from demos.exporters import Chosen
from demos.model import Episode, Label, Stream
from tests.scripted import ImagesInMemory, episode_of
from tests.table_store import clock, joints

MS = 1_000_000


def camera(rate_hz: float = 10.0, seconds: float = 2.0, size: tuple[int, int] = (24, 32)) -> Any:
    time_ns = clock(rate_hz, seconds)
    return ImagesInMemory(time_ns, np.zeros((len(time_ns), *size, 3), np.uint8))


def episode(
    name: str,
    streams: Mapping[str, Stream] | None = None,
    cameras: Mapping[str, Any] | None = None,
    labels: Sequence[Label] = (),
    **facts: Any,
) -> Episode:
    own = joints() if streams is None else streams
    own_cameras = {"egocentric": camera()} if cameras is None else cameras
    return episode_of(name, own, own_cameras, labels=labels, **facts)


def surveyed(*episodes: Episode, **wanted: Any) -> Survey:
    chosen = [Chosen(each.manifest, lambda each=each: each) for each in episodes]  # type: ignore[misc]
    return survey(chosen, Wanted(**wanted))


def table(one: Episode, **wanted: Any) -> StepTable:
    found = surveyed(one, **wanted)
    assert found.schema is not None, found.refused
    [only] = tables_of(one, found.schema)
    return only


def refusal(found: Survey, one: Episode) -> str:
    assert found.refused[one.id].hint
    return str(found.refused[one.id])
