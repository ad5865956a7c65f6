"""Are the numbers what a sensor of this body can say?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demos.checks import Problem, check
from demos.model import Episode, Joint, Stream
from demos.signals.bodies import body


@check(severity="critical")
def no_samples(episode: Episode) -> Iterator[Problem]:
    """Find streams without a sample, and episodes without a stream."""
    if not episode.streams:
        yield Problem(
            "the episode has no stream at all", hint="record it again; nothing can be learned"
        )
    for name, stream in episode.streams.items():
        if not len(stream):
            yield Problem(
                f"{name} holds no sample",
                hint="was the sensor plugged in, and its topic subscribed?",
                stream=name,
            )


@check(severity="error")
def too_short(episode: Episode, *, least_s: float = 0.5) -> Iterator[Problem]:
    """Find episodes that ended before anything could be done."""
    filled = any(len(stream) for stream in episode.streams.values())
    if filled and episode.duration_s < least_s:
        yield Problem(
            f"the episode lasts {episode.duration_s:.2f} s, less than {least_s:g} s",
            hint="an accidental start: discard it",
            measured=episode.duration_s,
            unit="s",
        )


@check(severity="warning")
def cut_short(episode: Episode) -> Iterator[Problem]:
    """Find episodes whose recording broke off and was recovered: the end is missing."""
    if episode.manifest.provenance.recovered:
        end_ns = episode.manifest.duration_ns
        yield Problem(
            f"the recording broke off after {episode.duration_s:.1f} s; what was acknowledged "
            "until then is here",
            hint="look at how far the task had come; an outcome says nothing of what was lost",
            start_ns=end_ns,
            end_ns=end_ns,
        )


@check(severity="error")
def not_finite(episode: Episode) -> Iterator[Problem]:
    """Find values that are no numbers: NaN and infinity."""
    for name, stream in episode.streams.items():
        if not np.issubdtype(stream.values.dtype, np.floating):
            continue
        flat = stream.values.reshape(len(stream), -1) if len(stream) else stream.values
        bad = ~np.isfinite(flat)
        if not bad.any():
            continue
        rows = np.flatnonzero(bad.any(axis=1))
        columns = [_channel(stream, int(i)) for i in np.flatnonzero(bad.any(axis=0))]
        yield Problem(
            f"{name} has {len(rows)} samples that are no numbers, in {_listed(columns)}",
            hint="a driver that answers NaN when it has no reading; such samples are left out "
            "of every computation",
            stream=name,
            start_ns=int(stream.time_ns[rows[0]]),
            end_ns=int(stream.time_ns[rows[-1]]),
            measured=len(rows) / len(stream),
            unit="1",
        )


@check(severity="error")
def frozen(episode: Episode, *, least_s: float = 1.0) -> Iterator[Problem]:
    """Find streams in which every channel keeps one value, to the last bit, for a long time.

    A real sensor has noise. A body that is commanded to stand still may repeat itself too: streams
    that never change at all are only named when another stream shows motion.
    """
    for name in ("joint_position", "joint_velocity", "joint_effort"):
        yield from _frozen(episode, name, least_s)
    for name in episode.streams:
        if name.startswith(("wrench.", "tactile.", "imu.")):
            yield from _frozen(episode, name, least_s)


def _frozen(episode: Episode, name: str, least_s: float) -> Iterator[Problem]:
    stream = episode.streams.get(name)
    if stream is None or len(stream) < 10:
        return
    flat = stream.values.reshape(len(stream), -1)
    same = (flat[1:] == flat[:-1]).all(axis=1) if flat.shape[1] else np.ones(0, bool)
    edges = np.flatnonzero(np.diff(np.r_[False, same, False].astype(np.int8)))
    lengths = [
        (int(stream.time_ns[b] - stream.time_ns[a]), int(a), int(b))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]
    longest, start, end = max(lengths, default=(0, 0, 0))
    if longest < least_s * 1e9:
        return
    if name.startswith("tactile.") and not flat[start].any():
        # taxels with a dead band say an exact zero out of contact
        return
    if not _moved_meanwhile(episode, name, int(stream.time_ns[start]), int(stream.time_ns[end])):
        return
    yield Problem(
        f"{name} repeats one sample for {longest / 1e9:.1f} s while the robot moves",
        hint="the driver lost its device and sent the last reading again; restart it and redo",
        stream=name,
        start_ns=int(stream.time_ns[start]),
        end_ns=int(stream.time_ns[end]),
        measured=longest / 1e9,
        unit="s",
    )


def _moved_meanwhile(episode: Episode, name: str, start_ns: int, end_ns: int) -> bool:
    for other in ("joint_command", "joint_position", "teleop.right_wrist", "teleop.left_wrist"):
        stream = episode.streams.get(other)
        if stream is None or other == name:
            continue
        inside = (stream.time_ns >= start_ns) & (stream.time_ns <= end_ns)
        values = stream.values[inside]
        if len(values) > 2 and np.ptp(np.nan_to_num(values), axis=0).max(initial=0.0) > 0.02:
            return True
    return False


@check(severity="warning")
def dead_taxels(
    episode: Episode, *, loaded_n: float = 1.0, tolerated: float = 0.25
) -> Iterator[Problem]:
    """Find fingers whose taxels stay constant while the hand is loaded.

    Single dead taxels are named for information; a finger that has lost more than `tolerated` of
    its taxels is a warning.
    """
    for name, stream in episode.streams.items():
        if not name.startswith("tactile.") or len(stream) < 10 or stream.values.ndim != 2:
            continue
        spread = np.ptp(np.nan_to_num(stream.values), axis=0)
        normal = [i for i, c in enumerate(stream.channels) if ".normal." in c] or [
            *range(len(stream.channels))
        ]
        if float(spread[normal].sum()) < loaded_n:
            continue
        fingers: dict[str, list[int]] = {}
        for i in normal:
            fingers.setdefault(stream.channels[i].split(".")[0], []).append(i)
        dead = {finger: [i for i in own if spread[i] == 0] for finger, own in fingers.items()}
        count = sum(len(own) for own in dead.values())
        if not count:
            continue
        worst = max(dead, key=lambda finger: len(dead[finger]) / len(fingers[finger]))
        share = len(dead[worst]) / len(fingers[worst])
        yield Problem(
            f"{count} of {len(normal)} taxels of {name} never change; "
            f"{worst} has lost {len(dead[worst])} of {len(fingers[worst])}",
            hint="sums of taxels read low; have the pad looked at",
            stream=name,
            measured=share,
            unit="1",
            severity=None if share > tolerated else "info",
        )


@check(severity="error")
def out_of_limits(episode: Episode, *, slack: float = 0.1) -> Iterator[Problem]:
    """Find joint positions that the body cannot take: degrees for radians, or a lost zero."""
    limits = _limits(episode)
    for name in ("joint_position", "joint_command"):
        stream = episode.streams.get(name)
        if stream is None or not len(stream):
            continue
        values = np.nan_to_num(np.asarray(stream.values, np.float64))
        low, high = values.min(axis=0), values.max(axis=0)
        beyond = []
        for i, channel in enumerate(stream.channels):
            joint = limits.get(channel)
            if joint is None:
                # no joint of a body that we do not know turns by more than two turns
                over = max(abs(low[i]), abs(high[i])) > 4 * np.pi
                beyond += [(channel, 1.0)] if over and stream.units[i] == "rad" else []
                continue
            room = slack * (joint.upper - joint.lower)
            over_by = max(joint.lower - room - low[i], high[i] - joint.upper - room)
            if over_by > 0:
                beyond.append((channel, over_by / (joint.upper - joint.lower)))
        if beyond:
            yield Problem(
                f"{len(beyond)} channels of {name} leave the joints' limits: "
                f"{_listed([channel for channel, _ in beyond])}",
                hint="are these degrees? is a joint's zero or sign wrong? see the embodiment",
                stream=name,
                measured=max(share for _, share in beyond),
                unit="1",
            )


def _limits(episode: Episode) -> dict[str, Joint]:
    described = body(episode)
    return {joint.name: joint for joint in described.joints} if described is not None else {}


def _channel(stream: Stream, number: int) -> str:
    return stream.channels[number] if number < len(stream.channels) else f"value {number}"


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
