"""Find episodes that are in a store twice: the same to the bit, or the same motion once more.

The same: every number and every encoded image is equal, whatever the ids, stamps and container.
Split over a training and a validation set, such pairs make a validation worthless.

Near: one motion recorded once and written twice, with another rate, rounding, offset or length. A
joint that turns round does so at one configuration of the whole body however the recording was
cut or resampled, so turning points are the landmarks by which copies are found; whole paths of
16 points find the rest. What is found is aligned in time and compared. Distances have no unit: per
channel, the difference over the spread of that channel in all episodes compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from demos.duplicates.comparison import LIMIT, OVERLAP, Pair, compared, spreads
from demos.duplicates.fingerprints import (
    POINTS,
    STILL,
    VERSION,
    Fingerprint,
    Floats,
    Motion,
    as_row,
    content_sha256,
    fingerprint,
    from_row,
    motion_of,
)
from demos.errors import require

__all__ = [
    "LIMIT",
    "OVERLAP",
    "VERSION",
    "Fingerprint",
    "Leak",
    "Motion",
    "Pair",
    "as_row",
    "compared",
    "content_sha256",
    "fingerprint",
    "from_row",
    "leaks",
    "motion_of",
    "pairs",
    "spreads",
]

_NEIGHBOURS = 12
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Leak:
    """A pair whose episodes are in different splits."""

    pair: Pair
    split_a: str
    split_b: str


def pairs(prints: Sequence[Fingerprint], motion: Callable[[str], Motion | None]) -> Iterator[Pair]:
    """Yield the pairs among episodes: the same first, each with the oldest it equals, then near.

    `motion` reads an episode's motion again, for the few pairs that are to be compared.
    """
    first: dict[str, Fingerprint] = {}
    for each in sorted(prints, key=lambda p: p.episode):
        held = first.setdefault(each.content, each)
        if held is not each:
            yield Pair("same", held.episode, each.episode)
    bodies: dict[tuple[str, int], list[Fingerprint]] = {}
    for each in first.values():
        if len(each.path):
            bodies.setdefault((each.body, each.path.shape[1]), []).append(each)
    for alike in bodies.values():
        yield from _near(alike, motion)


def leaks(found: Iterable[Pair], split_of: Mapping[str, str]) -> list[Leak]:
    """Return the pairs that lie in different splits.

    Of several that are the same each is named with one in every other split.
    """
    groups: dict[str, list[str]] = {}
    near: list[Pair] = []
    for pair in found:
        if pair.kind == "same":
            groups.setdefault(pair.a, [pair.a]).append(pair.b)
        else:
            near.append(pair)
    told: list[Leak] = []
    for members in groups.values():
        told += _across([Pair("same", a, b) for a in members for b in members if a < b], split_of)
    for pair in near:
        ones, others = groups.get(pair.a, [pair.a]), groups.get(pair.b, [pair.b])
        told += _across(
            [Pair(pair.kind, a, b, pair.distance, pair.offset_s, pair.speed, pair.overlap)
             for a in ones for b in others], split_of,
        )  # fmt: skip
    return told


def _near(prints: list[Fingerprint], motion: Callable[[str], Motion | None]) -> Iterator[Pair]:
    spread = spreads(prints)
    moving = [p for p in prints if (np.ptp(p.path, axis=0) / spread).max() >= STILL]
    for (i, j), offsets in sorted(_candidates(moving, spread).items()):
        a, b = motion(moving[i].episode), motion(moving[j].episode)
        if a is None or b is None:
            continue
        found = compared(a, b, spread, offsets)
        if found.distance <= LIMIT and found.overlap >= OVERLAP:
            yield replace(found, a=moving[i].episode, b=moving[j].episode)


def _candidates(prints: list[Fingerprint], spread: Floats) -> dict[tuple[int, int], list[float]]:
    """Return the pairs (older, newer) worth comparing, each with the offsets in s to try."""
    if len(prints) < 2:
        return {}
    found: dict[tuple[int, int], list[float]] = {pair: [] for pair in _by_path(prints, spread)}
    for pair, offset in _by_turns(prints, spread):
        found.setdefault(pair, []).append(offset)
    return found


def _by_path(prints: list[Fingerprint], spread: Floats) -> set[tuple[int, int]]:
    """Find the pairs whose paths of 16 points are nearly the same, a block at a time."""
    rows = np.stack([p.path / spread for p in prints]).reshape(len(prints), -1).astype(np.float32)
    rows -= rows.mean(axis=0)
    square = (rows**2).sum(axis=1)
    most = POINTS * max(int(np.isfinite(spread).sum()), 1) * (1.5 * LIMIT) ** 2
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        apart = square[start : start + _BLOCK, None] + square[None] - 2 * part @ rows.T
        found |= {(start + i, j) for i, j in np.argwhere(apart <= most).tolist() if start + i < j}
    return found


def _by_turns(prints: list[Fingerprint], spread: Floats) -> Iterator[tuple[tuple[int, int], float]]:
    """Let each landmark vote for where it is nearly met again, and count votes that agree in time.

    So copies are found among music (Wang 2003, "An Industrial-Strength Audio Search Algorithm").
    Yields pairs and the offset in s that at least half of the fewer landmarks vote for.
    """
    owner = np.repeat(np.arange(len(prints)), [len(p.turns) for p in prints])
    if not len(owner):
        return
    moment = np.concatenate([p.turns_s for p in prints]).astype(np.float64)
    width = np.sqrt(max(int(np.isfinite(spread).sum()), 1))
    points = np.concatenate([p.turns for p in prints]) / spread / width
    tree = require("scipy.spatial", extra="score").cKDTree(points)
    _, near = tree.query(points, k=_NEIGHBOURS, distance_upper_bound=LIMIT, workers=-1)
    mine, column = np.nonzero(near < len(points))
    other = near[mine, column]
    mine, other = np.minimum(mine, other), np.maximum(mine, other)
    chosen = owner[mine] != owner[other]
    mine, other = np.unique(np.stack([mine, other])[:, chosen], axis=1)
    late = moment[other] - moment[mine]
    counts = np.array([len(p.turns) for p in prints])
    # two ways of cutting time into halves of a second, so that no agreement is cut in two
    for shift in (0.0, 0.25):
        slot = np.floor((late + shift) / 0.5).astype(np.int64)
        ballots, votes = np.unique(
            np.stack([owner[mine], owner[other], slot]), axis=1, return_counts=True
        )
        needed = np.maximum(3, 0.5 * np.minimum(counts[ballots[0]], counts[ballots[1]]))
        for i, j, bin_ in ballots[:, votes >= needed].T.tolist():
            yield (i, j), 0.5 * bin_ + 0.25 - shift


def _across(found: list[Pair], split_of: Mapping[str, str]) -> list[Leak]:
    told: list[Leak] = []
    seen: set[tuple[str, str]] = set()
    for pair in found:
        a, b = split_of.get(pair.a), split_of.get(pair.b)
        if a is None or b is None or a == b or {(pair.a, b), (pair.b, a)} <= seen:
            continue
        seen |= {(pair.a, b), (pair.b, a)}
        told.append(Leak(pair, a, b))
    return told
