"""How hard the hands pressed."""

from __future__ import annotations

import numpy as np

from demos.metrics import Measurement, metric, not_assessable
from demos.model import Episode
from demos.signals.bodies import effectors
from demos.signals.conditioning import interpolated, lowpass
from demos.signals.contacts import external_force, touches
from demos.timeline import rate_hz

_FORCE = ("wrench.*", "tactile.*")


@metric(unit="N", better="lower", owns="excessive force", needs=(_FORCE,), min_rate_hz=100.0)
def peak_contact_force(episode: Episode) -> Measurement:
    """Greatest force between a hand and the world, the hand's own weight and swing taken out.

    From the wrench at the wrist below 25 Hz, tared in free motion; of hands without one, from the
    sum of their taxels. A wrench does not see grip: what fingers press against each other cancels.
    """
    peaks: list[tuple[float, int, str]] = []
    for hand in effectors(episode):
        push = external_force(episode, hand)
        if push is not None:
            at = int(np.argmax(push.force))
            remark = "" if push.tare != "bias only" else "tared by its bias only"
            peaks.append((float(push.force[at]), int(push.time_ns[at]), remark))
            continue
        stream = episode.streams.get(hand.tactile)
        felt = touches(stream) if stream is not None and len(stream) >= 2 else []
        if felt:
            rate = rate_hz(felt[0].time_ns)
            total = np.sum([touch.force for touch in felt], axis=0)[:, None]
            even = np.arange(felt[0].time_ns[0], felt[0].time_ns[-1], int(1e9 / rate))
            smooth = lowpass(interpolated(felt[0].time_ns, total, even), rate, 25.0)[:, 0]
            at = int(np.argmax(smooth))
            peaks.append((float(smooth[at]), int(even[at]), "sum of taxels: there is no wrench"))
    if not peaks:
        return not_assessable("no hand has a usable force or touch stream")
    force, at_ns, remark = max(peaks)
    return Measurement(force, ((at_ns, at_ns),), remark)
