"""When hands touch: contact intervals from taxels, and forces at the wrist without the hand's own.

Taxels drift, stick, die and let go late (hysteresis). So a finger's force is the sum of its normal
taxels without the constant ones, above a baseline that is followed through the time out of
contact; thresholds come from the noise that remains, and a contact ends at a share of its own peak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from demos import timeline
from demos.errors import require
from demos.model import Effector, Episode, Nanoseconds, Stream
from demos.signals.bodies import effectors, motions
from demos.signals.conditioning import (
    GRID_HZ,
    Flags,
    Floats,
    conditioned,
    hysteresis,
    interpolated,
    lowpass,
    once,
)

_TAXEL = re.compile(r"^(?P<finger>[^.]+)\.(?P<component>[^.]+)\.")
GRAVITY = 9.81


@dataclass(frozen=True, slots=True)
class Contact:
    """One finger (or, with an empty `finger`, one hand) touches something. Half-open, ns and N."""

    hand: str
    finger: str
    start_ns: int
    end_ns: int
    peak_n: float


@dataclass(frozen=True, slots=True, eq=False)
class Touch:
    """What one finger feels: force (n,) N above its baseline, and the noise left in it."""

    finger: str
    time_ns: Nanoseconds
    force: Floats
    noise_n: float


def touches(stream: Stream) -> list[Touch]:
    """Sum a tactile stream's normal taxels per finger; a finger of constant taxels is left out.

    Channels are named `<finger>.<component>.<place>`; of other names all channels together count
    as one finger, `hand`.
    """
    ordered = timeline.repaired(stream)
    values = np.asarray(ordered.values.reshape(len(ordered), -1), np.float64)
    found = []
    for finger, columns in _normal_channels(stream.channels).items():
        taxels = np.nan_to_num(values[:, columns], nan=0.0, posinf=0.0, neginf=0.0)
        alive = np.ptp(taxels, axis=0) > 0 if len(taxels) else np.zeros(len(columns), bool)
        if not alive.any():
            continue
        total = taxels[:, alive].sum(axis=1)
        force, noise = _above_baseline(total, timeline.rate_hz(ordered.time_ns))
        found.append(Touch(finger, ordered.time_ns, force, noise))
    return found


def _normal_channels(channels: tuple[str, ...]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, name in enumerate(channels):
        parts = _TAXEL.match(name)
        if parts is None:
            return {"hand": list(range(len(channels)))}
        if parts["component"] == "normal":
            found.setdefault(parts["finger"], []).append(number)
    return found


def _above_baseline(total: Floats, rate_hz: float) -> tuple[Floats, float]:
    """Subtract the sensor's own offset and drift; return force and noise (standard deviation)."""
    steps = np.abs(np.diff(total))
    # contact makes few large steps, the sensor many small ones: the lower half is the sensor's
    quiet = steps[steps <= np.median(steps)] if len(steps) else np.zeros(1)
    noise = float(np.sqrt(np.mean(quiet**2)) * 2.2 / np.sqrt(2)) if len(quiet) else 0.0
    base = np.full(len(total), np.percentile(total, 10))
    for _ in range(2):
        free = total - base < max(0.15, 5 * noise)
        free &= ~_widened(~free, round(0.1 * rate_hz))
        if free.sum() < 5:
            break
        places = np.flatnonzero(free)
        base = np.interp(np.arange(len(total)), places, total[places])
        base = lowpass(base[:, None], rate_hz, 0.5)[:, 0]
    return total - base, noise


def _widened(flags: Flags, width: int) -> Flags:
    if width < 1:
        return flags
    wide = np.convolve(flags.astype(np.float64), np.ones(2 * width + 1))
    return np.asarray(wide[width : width + len(flags)] > 0.5)


def finger_contacts(
    touch: Touch,
    hand: str,
    *,
    least_n: float = 0.25,
    noises: float = 6.0,
    creep: float = 0.2,
    creep_s: float = 0.25,
    least_s: float = 0.02,
    joined_s: float = 0.05,
) -> list[Contact]:
    """Find the contacts of one finger by hysteresis.

    A contact begins where the force leaves the noise on its way above max(`least_n`, `noises`
    standard deviations) and ends where it sinks into the noise again. Soft skin lets go late: what
    it still says after a release follows the force before (first order, `creep_s`), so `creep` of
    that past force is no contact. Contacts nearer than `joined_s` are one, shorter than `least_s`
    none.
    """
    force, time_ns = touch.force, touch.time_ns
    on = max(least_n, noises * touch.noise_n)
    low = max(0.3 * on, 2.5 * touch.noise_n)
    felt = force - creep * _late(force, timeline.rate_hz(time_ns), creep_s)
    found: list[Contact] = []
    for start, end in hysteresis(felt, on, low):
        peak = float(force[start:end].max())
        begin, finish = int(time_ns[start]), int(time_ns[min(end, len(time_ns) - 1)])
        if found and begin - found[-1].end_ns < joined_s * 1e9:
            last = found.pop()
            begin, peak = last.start_ns, max(peak, last.peak_n)
        found.append(Contact(hand, touch.finger, begin, finish, peak))
    return [contact for contact in found if contact.end_ns - contact.start_ns >= least_s * 1e9]


def _late(force: Floats, rate_hz: float, seconds: float) -> Floats:
    """Return the positive part of a force through a first-order lag."""
    if not np.isfinite(rate_hz) or not len(force):
        return np.zeros(len(force))
    signal = require("scipy.signal", extra="score")
    keep = float(np.exp(-1.0 / (rate_hz * seconds)))
    return np.asarray(signal.lfilter([1.0 - keep], [1.0, -keep], np.maximum(force, 0.0)))


@once
def contacts(episode: Episode) -> dict[str, list[Contact]]:
    """Return per hand with taxels the contacts of its fingers, ordered by start."""
    found = {}
    for hand in effectors(episode):
        stream = episode.streams.get(hand.tactile)
        if stream is not None and len(stream) >= 2:
            each = [c for touch in touches(stream) for c in finger_contacts(touch, hand.name)]
            found[hand.name] = sorted(each, key=lambda c: (c.start_ns, c.finger))
    return found


def united(contacts: list[Contact], *, joined_s: float = 0.05) -> list[Contact]:
    """Return the intervals in which at least one finger touches; the peak is the largest."""
    found: list[Contact] = []
    for contact in sorted(contacts, key=lambda c: c.start_ns):
        start, end, peak = contact.start_ns, contact.end_ns, contact.peak_n
        if found and start - found[-1].end_ns <= joined_s * 1e9:
            last = found.pop()
            start, end, peak = last.start_ns, max(last.end_ns, end), max(last.peak_n, peak)
        found.append(Contact(contact.hand, "", start, end, peak))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """What the world does to one hand: force (n,) N at the wrist without bias, weight, inertia."""

    hand: str
    time_ns: Nanoseconds
    force: Floats
    vector: Floats
    tare: str


def external_force(
    episode: Episode, hand: Effector, *, rate_hz: float = 200.0, cutoff_hz: float = 25.0
) -> Push | None:
    """Return the force on a hand beyond its own weight and inertia, None without a wrench.

    Where the wrist's orientation is known, free motion gives bias b and mass m by least squares
    of f = b + m R^T (a - g); else the median in free motion is the bias, which leaves the swing
    of the hand's weight in. Free motion: at least 0.1 s from any contact of the hand's taxels or,
    without taxels, the first fifth of the episode.
    """
    stream = episode.streams.get(hand.wrench)
    if stream is None or len(stream) < 2 or stream.values.shape[1:] != (6,):
        return None
    signal = conditioned(stream, columns=slice(0, 3), rate_hz=rate_hz, cutoff_hz=cutoff_hz)
    if not len(signal):
        return None
    free = _free(episode, hand, signal.time_ns)
    if not free.any():
        return None
    own = next((m for m in motions(episode) if m.effector.name == hand.name), None)
    if own is not None and own.turned is not None and own.in_metres:
        loads = _load_directions(own.position, own.turned)
        loads = interpolated(own.time_ns, loads, signal.time_ns)
        design = np.zeros((len(loads), 3, 4))
        design[:, :, :3] = np.eye(3)
        design[:, :, 3] = loads
        known, *_ = np.linalg.lstsq(
            design[free].reshape(-1, 4), signal.values[free].reshape(-1), rcond=None
        )
        rest, tare = signal.values - design @ known, "bias, weight and inertia"
    else:
        rest, tare = signal.values - np.median(signal.values[free], axis=0), "bias only"
    return Push(hand.name, signal.time_ns, np.linalg.norm(rest, axis=1), rest, tare)


def _free(episode: Episode, hand: Effector, time_ns: Nanoseconds) -> Flags:
    known = contacts(episode).get(hand.name)
    free = np.ones(len(time_ns), bool)
    if known is None:
        free[max(len(free) // 5, 1) :] = False
        return free
    for contact in known:
        margin = 100_000_000
        free[(time_ns > contact.start_ns - margin) & (time_ns < contact.end_ns + margin)] = False
    return free


def _load_directions(position: Floats, turned: Floats) -> Floats:
    """Return R^T (a - g) per sample: (n, 3) m/s², what one kilogram of hand adds to the sensor."""
    pull = np.gradient(np.gradient(position, 1 / GRID_HZ, axis=0), 1 / GRID_HZ, axis=0)
    pull[:, 2] += GRAVITY
    unit = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
    # the inverse rotation of v by a quaternion (u, w): v - 2w (u x v) + 2 u x (u x v)
    axis, w = unit[:, :3], unit[:, 3:]
    once_turned = np.cross(axis, pull)
    return np.asarray(pull - 2 * w * once_turned + 2 * np.cross(axis, once_turned))
