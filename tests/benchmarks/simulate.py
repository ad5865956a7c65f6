"""Simulated sessions: how fast they are recorded, and whether attempts end as they are meant to.

`realtime_*` is simulated seconds per CPU second of this process and its threads, everything
included: physics, rendering, encoding, sensors, writing, publishing. The limits it is held
against are 3 (320x240) and 1.7 (640x480) on one core. Yields are physics only: the share of
seeds whose physical outcome is the one the variant is named after.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def run(*, quick: bool, seed: int) -> dict[str, Any]:
    """Measure speed and yields; quick takes 3 seeds instead of 40 and shorter sessions."""
    from demos import physics

    seeds = 3 if quick else 40
    physics.engine()
    jobs = list(_jobs(seeds, seed))
    # forked, because a file that is loaded by its path cannot be imported in a spawned child; and
    # first, because a forked child must not inherit the threads of renderer and encoder
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
        done = list(pool.map(_yields, jobs, chunksize=4))
    speed = {
        f"realtime_{width}x{height}": _speed((width, height), 2 if quick else 8, seed)
        for width, height in ((320, 240), (640, 480))
    }
    success: dict[str, list[bool]] = defaultdict(list)
    variants: dict[str, list[bool]] = defaultdict(list)
    lifts: list[float] = []
    unstable = 0
    for (task, variant, _, _), (thing, intended, height_m, redrawn) in zip(jobs, done, strict=True):
        unstable += redrawn
        variants[f"{task}/{variant}"].append(intended)
        if variant == "success":
            success[f"{task}/{thing}"].append(intended)
        if variant in ("dropped", "slip_dropped"):
            lifts.append(height_m)
    return {
        **speed,
        "unstable": unstable,
        "success": {name: _share(flags) for name, flags in sorted(success.items())},
        "variants": {name: _share(flags) for name, flags in sorted(variants.items())},
        "lifted_5_cm_before_drop": _share([height > 0.05 for height in lifts]),
        "attempts": len(jobs),
    }


def _jobs(seeds: int, seed: int) -> list[tuple[str, str, int, int]]:
    """Take `seeds` attempts of every variant, and of success as many for each object."""
    import numpy as np

    from demos.simulate import tasks
    from demos.simulate.operator import crew

    person = crew(1, seed)[0]
    jobs = []
    for task, simulated in tasks.items():
        objects: dict[str, int] = defaultdict(int)
        things = _objects(task)
        for number in range(50 * seeds):
            rng = np.random.default_rng([seed, number, 0])
            thing = str(simulated.draw("success", person, rng).factors["object"])
            if objects[thing] < seeds:
                objects[thing] += 1
                jobs.append((task, "success", seed, number))
            if len(objects) == len(things) and min(objects.values()) == seeds:
                break
        others = [variant for variant in simulated.variants if variant != "success"]
        jobs += [(task, variant, seed, number) for variant in others for number in range(seeds)]
    return jobs


def _objects(task: str) -> tuple[Any, ...]:
    from demos import task as files

    factors = {factor.name: factor.levels for factor in files.load(task).factors}
    return factors["object"]


def _yields(job: tuple[str, str, int, int]) -> tuple[str, bool, float, int]:
    from demos.simulate import attempt, tasks
    from demos.simulate.operator import crew

    task, variant, seed, number = job
    # six people, as different as they come
    operator = crew(6, seed)[number % 6]
    done = attempt(task, variant, operator, [seed, number])
    intended = bool(tasks[task].intended(variant, done.rollout, done.truth))
    thing = str(done.trial.factors["object"])
    return thing, intended, done.truth.height_m, done.redrawn


def _speed(size: tuple[int, int], episodes: int, seed: int) -> float:
    from demos.simulate import simulate
    from demos.store import EpisodeStore

    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore.create(Path(folder) / "store")
        before = _cpu_s()
        recorded = simulate(store, episodes=episodes, operators=2, seed=seed, size=size)
        spent = _cpu_s() - before
    return round(sum(manifest.duration_ns for manifest in recorded) / 1e9 / spent, 2)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _share(flags: list[bool]) -> float:
    return round(sum(flags) / len(flags), 3)
