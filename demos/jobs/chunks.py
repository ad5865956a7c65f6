"""Send work over episodes through Dask, in chunks of a few seconds, and take the answers back.

Threads of this process are the default; `processes` starts workers on this machine, `tcp://...`
uses a cluster that sees the store under the same path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

from demos.errors import DemosError, require

T = TypeVar("T")
P = TypeVar("P")
Progress = Callable[[int, int], None]

CHUNK_S = 2.5
"""How long a chunk should take: long beside what sending it costs, short beside a Ctrl-C."""
LARGEST = 500


@dataclass(frozen=True, slots=True)
class Task:
    """One episode and the plug-ins that have not spoken of it yet."""

    episode: str
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one task: rows, or an error in words and what to do about it."""

    episode: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    hint: str = ""
    seconds: float = 0.0


One = Callable[[str, Task], list[dict[str, Any]]]


def answered(one: One, root: str, tasks: Sequence[Task]) -> list[Answer]:
    """Do a chunk: call `one(root, task)` for each task; an exception is an answer too."""
    answers = []
    for task in tasks:
        started = perf_counter()
        try:
            rows = one(root, task)
        except DemosError as error:
            answers.append(Answer(task.episode, error=str(error), hint=error.hint))
        except Exception as error:  # noqa: BLE001 - one episode must not end the run
            said = f"{type(error).__name__}: {error}"
            answers.append(Answer(task.episode, error=said, hint="run `demos verify --deep`"))
        else:
            answers.append(Answer(task.episode, rows, seconds=perf_counter() - started))
    return answers


def dispatch(
    one: One,
    root: str,
    tasks: Sequence[Task],
    take: Callable[[list[Answer]], None],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
) -> None:
    """Do all tasks and hand each chunk's answers to `take`, in this thread, as they come back."""
    if not tasks:
        return
    count = workers or os.cpu_count() or 1
    if scheduler is None:
        _in_threads(one, root, tasks, take, count)
    else:
        with _client(scheduler, count) as client:
            _on_cluster(client, one, root, tasks, take)


def _in_threads(
    one: One, root: str, tasks: Sequence[Task], take: Callable[[list[Answer]], None], workers: int
) -> None:
    dask = require("dask", extra="score")
    callbacks = require("dask.callbacks", extra="score")

    def back(_key: object, answers: object, *_: object) -> None:
        if isinstance(answers, list):
            seen.extend(answers)
            take(answers)

    seen: list[Answer] = []
    probes, rest = tasks[:workers], tasks[workers:]
    for chunks in ([[task] for task in probes], None):
        cut = chunks if chunks is not None else _cut(rest, _length(seen, len(rest), workers))
        work = [dask.delayed(answered, pure=False)(one, root, chunk) for chunk in cut]
        with callbacks.Callback(posttask=back):
            dask.compute(*work, scheduler="threads", num_workers=workers, optimize_graph=False)


def _on_cluster(
    client: Any,
    one: One,
    root: str,
    tasks: Sequence[Task],
    take: Callable[[list[Answer]], None],
) -> None:
    distributed = require("distributed", extra="score")
    workers = max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
    left = list(tasks)
    seen: list[Answer] = []
    sent: dict[Any, list[Task]] = {}
    coming = distributed.as_completed(raise_errors=False)

    def send(chunk: list[Task]) -> None:
        future = client.submit(answered, one, root, chunk, pure=False, retries=0)
        sent[future.key] = chunk
        coming.add(future)

    def refill() -> None:
        # twice as many chunks as workers are on their way, so that none waits for us
        while left and len(sent) < 2 * workers:
            size = _length(seen, len(left), workers) if seen else 1
            chunk, left[:] = left[:size], left[size:]
            send(chunk)

    suspects: list[Task] = []
    refill()
    for future in coming:
        chunk = sent.pop(future.key)
        if future.status == "finished":
            answers = future.result()
            seen.extend(answers)
            take(answers)
        elif len(chunk) > 1:
            # the chunk killed its worker, or waited there for one that did: halve it
            middle = len(chunk) // 2
            send(chunk[:middle])
            send(chunk[middle:])
        else:
            suspects += chunk
        refill()
    for suspect in suspects:
        # alone on the cluster, it can only have killed its worker itself
        future = client.submit(answered, one, root, [suspect], pure=False, retries=0)
        error = future.exception()
        said = f"its worker died: {type(error).__name__}"
        alone = Answer(suspect.episode, error=said, hint="run `demos verify --deep` on it")
        take([alone] if error is not None else future.result())


@contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Any]:
    dask = require("dask", extra="score")
    distributed = require("distributed", extra="score")
    if scheduler == "processes":
        with (
            # a chunk that killed one worker would kill the next three as well
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    if "://" not in scheduler:
        raise DemosError(f"{scheduler!r} is no scheduler").with_hint(
            "give `processes` or the address of a Dask scheduler, tcp://host:8786"
        )
    try:
        client = distributed.Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise DemosError(f"no Dask scheduler answers at {scheduler}: {error}").with_hint(
            "start one with `dask scheduler` and workers with `dask worker ADDRESS`"
        ) from error
    with client:
        yield client


def _length(seen: Sequence[Answer], left: int, workers: int) -> int:
    """Return how many episodes take about CHUNK_S, and leave none of the workers without any."""
    times = [answer.seconds for answer in seen if not answer.error]
    each = sum(times) / len(times) if times else CHUNK_S
    fair = -(-left // workers)
    return max(1, min(int(CHUNK_S / max(each, 1e-6)), fair, LARGEST))


def _cut(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    return [list(tasks[i : i + size]) for i in range(0, len(tasks), size)]


def reduced(
    count: Callable[[P], T],
    parts: Sequence[P],
    add: Callable[[list[T]], T],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    fan_in: int = 8,
) -> T:
    """Count each part on its own and add up the counts in a tree; `add([])` is nothing."""
    dask = require("dask", extra="score")
    counts = [dask.delayed(count)(part) for part in parts]
    while len(counts) > 1:
        counts = [dask.delayed(add)(counts[i : i + fan_in]) for i in range(0, len(counts), fan_in)]
    if not counts:
        return add([])
    total: T
    if scheduler is None:
        (total,) = dask.compute(counts[0], scheduler="threads", num_workers=workers)
    else:
        with _client(scheduler, workers or os.cpu_count() or 1) as client:
            total = client.compute(counts[0]).result()
    return total
