"""Which task and variant each episode of a simulation shows, and which are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from demos.errors import DemosError, UnknownName
from demos.simulate.trial import tasks
from demos.store import EpisodeStore

_SHARES = {"pick_place": 2.0}
"""Tasks get one share of the episodes each, but for these."""

Drawn = tuple[str, tuple[int, ...]]
"""Task, variant and size of the images; the seed, the operator's number and the trial's."""


def recorded(store: EpisodeStore, version: str) -> dict[Drawn, str]:
    """Return the sessions of whole episodes that one version simulated into a store, by what drew
    them.
    """
    found: dict[Drawn, str] = {}
    for episode in store.episode_ids():
        manifest = store.manifest(episode)
        drawn = manifest.provenance.parameters
        if drawn.get("simulator") == version and not manifest.provenance.recovered:
            variant = f"{manifest.task}/{drawn['variant']}/{drawn['images']}"
            found[variant, tuple(drawn["seed"][:-1])] = manifest.session
    return found


def planned(
    episodes: int,
    seed: int,
    wanted: Sequence[str] | None,
    flaws: Mapping[str, float] | Mapping[str, Mapping[str, float]] | None,
) -> list[tuple[str, str]]:
    """Say which task and variant each episode shows: quotas, shuffled, not dice."""
    names = list(wanted) if wanted is not None else list(tasks)
    split = _quota({name: _SHARES.get(name, 1.0) for name in names}, episodes)
    plan = [
        (name, variant)
        for name, share in split.items()
        for variant, count in _quota(_mix(name, flaws), share).items()
        for _ in range(count)
    ]
    np.random.default_rng([seed, 7002]).shuffle(plan)
    return [(str(name), str(variant)) for name, variant in plan]


def _mix(
    task: str, flaws: Mapping[str, float] | Mapping[str, Mapping[str, float]] | None
) -> dict[str, float]:
    known = tasks[task].variants
    given = (flaws or {}).get(task, flaws) if flaws else known
    if not isinstance(given, Mapping):
        raise DemosError(f"the mix of {task} is {given!r}, not shares of variants").with_hint(
            "write, for instance, {success: 0.7, dropped: 0.3}"
        )
    mix = {}
    for name, share in given.items():
        if isinstance(share, Mapping):
            continue
        if name not in known:
            raise UnknownName.among(f"variant of {task}", str(name), known)
        mix[name] = float(share)
    return mix or dict(known)


def _quota(shares: Mapping[str, float], count: int) -> dict[str, int]:
    """Split `count` by shares: largest remainders get what is left over."""
    total = sum(shares.values())
    if total <= 0 or min(shares.values()) < 0:
        raise DemosError(f"shares {dict(shares)} do not add up").with_hint(
            "each must be 0 or more, one of them above 0"
        )
    exact = {name: share / total * count for name, share in shares.items()}
    out = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: out[name] - exact[name])
    for name in rest[: count - sum(out.values())]:
        out[name] += 1
    return out
