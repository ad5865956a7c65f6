"""How good is the demonstration? A function in a file here measures one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from demos._registry import Registry
from demos.errors import DemosError, MissingExtra, StoreError
from demos.model import Episode, Score
from demos.timeline import rate_hz

Better = Literal["lower", "higher", "neither"]
Measure = Callable[[Episode], "Measurement"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One answer: the number, the spans (ns) it comes from, and what must be said beside it.

    `value` None means not assessable, and `reason` says why; with a value, `reason` is a remark.
    """

    value: float | None
    spans: tuple[tuple[int, int], ...] = ()
    reason: str = ""


def not_assessable(reason: str) -> Measurement:
    """Answer that there is no answer, and why."""
    return Measurement(None, (), reason)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure and what a reader must know to trust it.

    needs: groups of stream name patterns; each group must be met by one stream at least.
    min_rate_hz: what such a stream must run at. owns: the flaw this metric answers for.
    """

    name: str
    measure: Measure
    unit: str
    better: Better
    needs: tuple[tuple[str, ...], ...]
    min_rate_hz: float
    owns: str
    version: int

    @property
    def summary(self) -> str:
        """The first line of the measure's docstring, shown by the CLI and the viewer."""
        return (self.measure.__doc__ or "").strip().splitlines()[0]

    def lacks(self, episode: Episode) -> str:
        """Say what the episode lacks for this metric, empty when nothing."""
        for group in self.needs:
            found = [
                stream
                for name, stream in episode.streams.items()
                if any(fnmatchcase(name, pattern) for pattern in group)
            ]
            if not found:
                return f"needs {' or '.join(group)}"
            rates = [rate_hz(np.sort(stream.time_ns)) for stream in found]
            fastest = max((rate for rate in rates if np.isfinite(rate)), default=0.0)
            # a declared 30 Hz stream has a median step of 33,333,334 ns now and then
            if fastest < 0.98 * self.min_rate_hz:
                return f"needs {' or '.join(group)} at {self.min_rate_hz:g} Hz, has {fastest:.3g}"
        return ""


metrics: Registry[Metric] = Registry("metric", __name__)


def metric(
    *,
    unit: str,
    better: Better,
    owns: str,
    needs: tuple[str | tuple[str, ...], ...] = (),
    min_rate_hz: float = 0.0,
    version: int = 1,
) -> Callable[[Measure], Measure]:
    """Register the decorated function as a metric under its own name.

    `needs` holds patterns of stream names; a tuple inside it is a choice. Raise `version` when
    the answers change: stored scores are then measured anew.
    """
    groups = tuple((need,) if isinstance(need, str) else need for need in needs)

    def register(measure: Measure) -> Measure:
        name = measure.__name__
        metrics.add(name, Metric(name, measure, unit, better, groups, min_rate_hz, owns, version))
        return measure

    return register


def measure(episode: Episode, names: Iterable[str] | None = None) -> list[Score]:
    """Measure an episode with every metric, or the named ones.

    A metric that cannot answer says why; one that crashes says so and the others go on. Raises
    StoreError where the episode cannot be read, MissingExtra where a package is not installed.
    """
    return [_measured(episode, metrics[name]) for name in (names or metrics)]


def _measured(episode: Episode, chosen: Metric) -> Score:
    lack = chosen.lacks(episode)
    if lack:
        answer = not_assessable(lack)
    else:
        try:
            answer = chosen.measure(episode)
        except (StoreError, MissingExtra):
            # damage and a missing package say nothing of the demonstration
            raise
        except DemosError as error:
            answer = not_assessable(f"{error} ({error.hint})" if error.hint else str(error))
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the batch goes on
            answer = not_assessable(f"failed: {type(error).__name__}: {error}")
    value = answer.value
    if value is not None and not np.isfinite(value):
        value, answer = None, not_assessable("the measure is not finite")
    return Score(
        episode=episode.id,
        metric=chosen.name,
        value=value,
        unit=chosen.unit,
        better=chosen.better,
        reason=answer.reason,
        spans=answer.spans,
    )
