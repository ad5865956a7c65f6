"""Accuse joints that do not do what they are told: exchanged, turned round, or in another unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from demos.mapping.coupling import Agreement, Coupling
from demos.mapping.suspicion import Suspicion, listed

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Pairs = list[tuple[int, int]]

FEW = 3
"""With fewer episodes than this a turned sign needs a correlation greater by a tenth."""


def can_assign() -> bool:
    """Say whether SciPy is there, without which exchanged channels are not looked for."""
    return find_spec("scipy") is not None


def exchanged(coupling: Coupling, moving: Flags, *, sure: float, gain: float) -> list[Pairs]:
    """Find cycles of joints of which each follows the next one's command better than its own.

    The assignment of joints to commands with the greatest sum of strengths (Kuhn, 1955), of those
    joints of which either moves. It counts where two thirds of the episodes agree, each pair is
    better than its own, together by `gain` a pair of joints, and one correlation reaches `sure`.
    """
    if not can_assign():
        return []
    pooled, chosen = coupling.pooled(), np.flatnonzero(moving.any(axis=0))
    told_and_moving = set(np.flatnonzero(moving.all(axis=0)).tolist())
    while True:
        cycles = _cycles(chosen, pooled)
        # one that moves untold, or is told and does not move, gives away its command for nothing
        losing = {i for pairs in cycles if _worst(pooled, pairs) < 0 for i, _ in pairs}
        if not losing - told_and_moving:
            break
        chosen = np.setdiff1d(chosen, sorted(losing - told_and_moving))
    found = []
    for pairs in cycles:
        votes = [_gain(each, pairs) > 0 for each in coupling.each]
        better = _worst(pooled, pairs) > 0 and _gain(pooled, pairs) >= gain * len(pairs) / 2
        clear = max(pooled.size[i, j] for i, j in pairs) >= sure
        if better and clear and _agreed(votes):
            found.append(pairs)
    return found


def order(pairs: Pairs, coupling: Coupling, what: str) -> Suspicion:
    """Say of a cycle that its channels are exchanged."""
    size, joints = coupling.pooled().size, coupling.joints
    names = [joints[i] for i, _ in pairs]
    said = ", ".join(
        f"{joints[i]} follows the {what} of {joints[j]} "
        f"(correlation {size[i, j]:.2f}, with its own {size[i, i]:.2f})"
        for i, j in pairs
    )
    return Suspicion("order", tuple(names), f"{listed(names)} seem exchanged: {said}")


def turned(own: Indices, coupling: Coupling, what: str, *, against: float) -> Iterator[Suspicion]:
    """Accuse those joints of `own` that run against what they are told, as one."""
    pooled = coupling.pooled()
    low, high = np.diag(pooled.low), np.diag(pooled.high)
    least = against if len(coupling.each) >= FEW else against + 0.1
    found = []
    for i in own.tolist():
        votes = [-each.low[i, i] > each.high[i, i] for each in coupling.each]
        # a wave comes out turned half a period later: only what does not repeat itself is judged
        if low[i] < -least and high[i] < -low[i] - 0.2 and _agreed(votes):
            found.append(i)
    if found:
        names = [coupling.joints[i] for i in found]
        worst = min(float(low[i]) for i in found)
        run = "runs against its" if len(names) == 1 else "run against their"
        message = f"{listed(names)} {run} {what} (correlation {worst:.2f})"
        yield Suspicion("sign", tuple(names), message)


def scaled(own: Indices, coupling: Coupling, *, sure: float, times: float) -> Iterator[Suspicion]:
    """Accuse those joints of `own` that move `times` as far as they are told, or as little."""
    pooled = coupling.pooled()
    for i in own.tolist():
        ratio = float(pooled.ratio[i])
        if pooled.size[i, i] >= sure and max(ratio, 1 / ratio) > times:
            name = coupling.joints[i]
            message = (
                f"{name} moves {ratio:.3g} times as far as it is told: "
                "its state and its command are in different units"
            )
            yield Suspicion("scale", (name,), message)


def _agreed(votes: Sequence[bool]) -> bool:
    return 3 * sum(votes) >= 2 * len(votes)


def _cycles(chosen: Indices, pooled: Agreement) -> list[Pairs]:
    from scipy.optimize import linear_sum_assignment

    _, best = linear_sum_assignment(pooled.strength[np.ix_(chosen, chosen)], maximize=True)
    follows = {int(chosen[i]): int(chosen[j]) for i, j in enumerate(best) if i != j}
    cycles = []
    while follows:
        cycle = [next(iter(follows))]
        while (after := follows.pop(cycle[-1])) != cycle[0]:
            cycle.append(after)
        cycles.append(list(zip(cycle, [*cycle[1:], cycle[0]], strict=True)))
    return cycles


def _gain(agreement: Agreement, pairs: Pairs) -> float:
    strength = agreement.strength
    return float(sum(strength[i, j] - strength[i, i] for i, j in pairs))


def _worst(agreement: Agreement, pairs: Pairs) -> float:
    return min(_gain(agreement, [pair]) for pair in pairs)
