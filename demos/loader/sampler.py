"""In which order windows are drawn: the same for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Sampler:
    """Draw the indices of windows; a sampler for PyTorch's DataLoader. Made by `Windows.sampler`.

    length: how many indices an epoch has. weights: (length,) how often each is drawn compared to
    others, or None: each exactly once. runs: (length,) which run of pictures each is in, or None
    for no regard to them; `buffer` windows are then shuffled at a time.

    Each iteration is an epoch of its own; set `epoch` to go on where a training run stopped.
    """

    length: int
    seed: int
    weights: npt.NDArray[np.float64] | None = None
    runs: Indices | None = None
    buffer: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        if self.runs is None:
            yield from self._alone(random).tolist()
        else:
            yield from self._buffered(random)

    def _alone(self, random: np.random.Generator) -> Indices:
        if self.weights is None:
            return random.permutation(self.length)
        return _drawn(self.weights, self.length, random)

    def _buffered(self, random: np.random.Generator) -> Iterator[int]:
        """Fill the buffer with whole runs, shuffle it, give all of it away."""
        runs = islice(self._by_run(random), self.length)
        while kept := list(islice(runs, self.buffer)):
            random.shuffle(kept)
            yield from kept

    def _by_run(self, random: np.random.Generator) -> Iterator[int]:
        assert self.runs is not None
        order = np.argsort(self.runs, kind="stable")
        starts = np.flatnonzero(np.diff(self.runs[order], prepend=-1))
        members = np.split(order, starts[1:])
        if self.weights is None:
            for run in random.permutation(len(members)).tolist():
                yield from members[run].tolist()
            return
        # a run gives all its windows at once, so its share is that of one of them
        shares = self.weights[order[starts]]
        while True:
            for run in _drawn(shares, len(members), random).tolist():
                yield from members[run].tolist()


def _drawn(weights: npt.NDArray[np.float64], count: int, random: np.random.Generator) -> Indices:
    bounds = np.cumsum(weights)
    found: Indices = np.searchsorted(bounds, random.random(count) * bounds[-1], side="right")
    return found
