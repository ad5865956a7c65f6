"""Did time run as it should: in order, without holes, at the declared rate, from start to end?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demos.checks import Problem, check, in_words
from demos.model import Episode
from demos.timeline import periodic, rate_hz


@check(severity="error")
def clock_disorder(episode: Episode) -> Iterator[Problem]:
    """Find stamps that jump back or repeat."""
    for name, stream in episode.streams.items():
        steps = np.diff(stream.time_ns)
        back = np.flatnonzero(steps < 0)
        if len(back):
            at = int(back[np.argmin(steps[back])])
            yield Problem(
                f"the clock of {name} jumps back {len(back)} times, "
                f"by up to {in_words(-steps[back].min())}",
                hint="look at the host's clock (NTP steps, two writers); the samples are kept "
                "as recorded and sorted in every view",
                stream=name,
                start_ns=int(stream.time_ns[at + 1]),
                end_ns=int(stream.time_ns[at]),
                measured=float(-steps[back].min() / 1e6),
                unit="ms",
            )
        same = np.flatnonzero(steps == 0)
        if len(same):
            yield Problem(
                f"{len(same)} samples of {name} carry the stamp of the one before",
                hint="two messages in one tick, or a driver that repeats its last reading; of "
                "equal stamps every view keeps the first",
                stream=name,
                start_ns=int(stream.time_ns[same[0]]),
                end_ns=int(stream.time_ns[same[-1] + 1]),
                measured=float(len(same)),
                unit="samples",
                severity="warning",
            )


@check(severity="warning")
def clock_gaps(
    episode: Episode, *, periods: float = 5.0, least_ms: float = 20.0, serious_ms: float = 300.0
) -> Iterator[Problem]:
    """Find holes: no sample for several periods of a stream that ticks."""
    for name, stream in episode.streams.items():
        if len(stream) < 3 or not periodic(stream):
            continue
        stamps = np.sort(stream.time_ns)
        steps = np.diff(stamps)
        usual = 1e9 / (stream.info.rate_hz or rate_hz(stamps))
        wide = np.flatnonzero(steps > max(periods * usual, least_ms * 1e6))
        if not len(wide):
            continue
        worst = int(wide[np.argmax(steps[wide])])
        length = float(steps[worst])
        lost = int(np.sum(np.rint(steps[wide] / usual) - 1))
        yield Problem(
            f"{name} has {len(wide)} {'gap' if len(wide) == 1 else 'gaps'}, the longest "
            f"{in_words(length)} where {in_words(usual)} is usual: about {lost} samples are lost",
            hint="look at the load of the recording machine and at the bus; "
            "nothing is invented in the gap",
            stream=name,
            start_ns=int(stamps[worst]),
            end_ns=int(stamps[worst + 1]),
            measured=length / 1e6,
            unit="ms",
            severity="error" if length > serious_ms * 1e6 else None,
        )


@check(severity="warning")
def clock_rate(episode: Episode, *, tolerance: float = 0.1) -> Iterator[Problem]:
    """Compare the rate of each stream with the one it declares."""
    for name, stream in episode.streams.items():
        declared = stream.info.rate_hz
        if declared is None or len(stream) < 10:
            continue
        found = rate_hz(np.sort(stream.time_ns))
        if np.isfinite(found) and abs(found / declared - 1.0) > tolerance:
            yield Problem(
                f"{name} runs at {found:.4g} Hz, its stream declares {declared:.4g} Hz",
                hint="correct the declaration in the embodiment, or the driver's rate",
                stream=name,
                measured=found,
                unit="Hz",
            )


@check(severity="warning")
def clock_span(episode: Episode, *, tolerance_s: float = 0.5) -> Iterator[Problem]:
    """Find streams that start late or end early, beside the rest of the episode."""
    spans = {
        name: (int(stream.time_ns.min()), int(stream.time_ns.max()))
        for name, stream in episode.streams.items()
        if len(stream) >= 2 and periodic(stream)
    }
    if len(spans) < 2:
        return
    first = min(start for start, _ in spans.values())
    last = max(end for _, end in spans.values())
    for name, (start, end) in spans.items():
        for what, short, edge in (
            ("starts", start - first, (first, start)),
            ("ends", last - end, (end, last)),
        ):
            if short > tolerance_s * 1e9:
                yield Problem(
                    f"{name} {what} {in_words(short)} {'late' if what == 'starts' else 'early'}",
                    hint="start recording when all sensors answer, and stop before switching off",
                    stream=name,
                    start_ns=edge[0],
                    end_ns=edge[1],
                    measured=short / 1e9,
                    unit="s",
                )
