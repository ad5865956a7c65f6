"""How an episode ended: where the object stands, and what the grasp attempts came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demos import timeline
from demos.model import Episode, Stream
from demos.signals.conditioning import Floats
from demos.signals.grasps import Attempt, attempts, holds

_OBJECT = "pose.object."


@dataclass(frozen=True, slots=True)
class Ending:
    """The episode's outcome as far as signals say it, how sure, and why, in words."""

    outcome: str
    confidence: float
    reason: str
    modes: tuple[str, ...] = ()


def ending(episode: Episode, parameters: Mapping[str, float]) -> Ending:
    """Decide success, partial or failure by the task's rules; empty where nothing can be said.

    With a tracked object: lifted, upright, at rest, untouched, and near the goal where the goal is
    known (`declared_start.goal`, `pose.object.goal`, the scene that was simulated, or the task's
    goal_x_m and goal_y_m).
    Without: what became of the last grasp attempt. Aborted where control was stopped.
    """
    if _stopped(episode):
        return Ending("aborted", 0.9, "control was stopped")
    found = attempts(episode)
    moved = moved_object(episode)
    if moved is not None:
        return _by_object(episode, moved, found, parameters)
    if not found:
        feeling = [n for n in episode.streams if n.startswith(("tactile.", "wrench."))]
        if any(len(episode.streams[name]) >= 2 for name in feeling):
            return Ending("failure", 0.6, "nothing was grasped", ("missed_grasp",))
        return Ending("", 0.0, "nothing tells whether anything was grasped")
    last = found[-1]
    sure = 0.6 * last.confidence
    if last.outcome == "held":
        if last.end_ns >= _end_ns(episode) - 100_000_000:
            return Ending("failure", sure, f"{last.hand} still holds the object at the end")
        return Ending("success", sure, f"{last.hand} held and set down; the place was not seen")
    said = "dropped" if last.outcome == "dropped" else "never lifted"
    mode = "dropped" if last.outcome == "dropped" else "missed_grasp"
    return Ending("failure", sure, f"{last.hand} {said} the object", (mode,))


def moved_object(episode: Episode) -> str | None:
    """Name the tracked object that moved farthest, None where none is tracked."""
    ways = {
        name: float(np.linalg.norm(np.ptp(stream.values[:, :3], axis=0)))
        for name, stream in _objects(episode).items()
    }
    return max(ways, key=lambda name: ways[name], default=None)


def _objects(episode: Episode) -> dict[str, Stream]:
    found = {
        name: timeline.repaired(episode.streams[name])
        for name in episode.streams
        if name.startswith(_OBJECT) and name != f"{_OBJECT}goal"
    }
    return {n: s for n, s in found.items() if len(s) >= 2 and s.values.shape[1:] == (7,)}


def _by_object(
    episode: Episode, name: str, found: tuple[Attempt, ...], parameters: Mapping[str, float]
) -> Ending:
    stream = _objects(episode)[name]
    what = name.removeprefix(_OBJECT)
    time_ns, pose = stream.time_ns, np.asarray(stream.values, np.float64)
    last = pose[time_ns >= time_ns[-1] - 200_000_000]
    third = max(len(last) // 3, 1)
    ends = [np.median(part[:, :3], axis=0) for part in (last[:third], last[-third:])]
    still = float(np.linalg.norm(ends[1] - ends[0])) < 0.002
    tilt = _turned_from(pose[: max(len(last), 1)], last)
    upright = tilt <= parameters.get("upright_deg", 10.0)
    lifted = any(attempt.outcome != "missed" for attempt in found)
    modes = tuple(
        {"missed": "missed_grasp", "dropped": "dropped"}[a.outcome]
        for a in found
        if a.outcome != "held"
    )
    lost = [a for a in found if a.outcome == "dropped"]
    if lost and lost[-1] is found[-1]:
        what = f"{what}, dropped by {lost[-1].hand},"
    if not lifted:
        return Ending("failure", 0.9, f"{what} was never lifted", modes or ("missed_grasp",))
    if _touched_at_the_end(episode):
        return Ending("failure", 0.8, f"{what} is still in the hand at the end", modes)
    if not still:
        return Ending("failure", 0.7, f"{what} is not at rest at the end", modes)
    if not upright:
        mode = "tilted" if "tilted" in parameters else "toppled"
        return Ending("failure", 0.9, f"{what} lies turned by {tilt:.0f} degrees", (*modes, mode))
    ended_low = float(ends[1][2]) <= float(np.median(pose[: len(last), 2])) + 0.01
    if not ended_low:
        return Ending("failure", 0.6, f"{what} does not stand on the table", modes)
    goal = _goal(episode, parameters)
    if goal is None:
        if lost and lost[-1] is found[-1]:
            return Ending("failure", 0.7, f"{what} was not taken again", modes)
        return Ending("success", 0.55, f"{what} was set down; the goal is not known", modes)
    distance = float(np.linalg.norm(ends[1][:2] - goal))
    close = parameters.get("goal_radius_m", 0.05)
    far = parameters.get("partial_radius_m", 2 * close)
    said = f"{what} stands {distance * 100:.1f} cm from the goal"
    edge = min(abs(distance - close), abs(distance - far))
    sure = 0.95 - 0.35 * float(np.exp(-((edge / 0.004) ** 2)))
    if distance <= close:
        return Ending("success", sure, said, modes)
    if distance <= far:
        return Ending("partial", sure, said, (*modes, "off_goal"))
    return Ending("failure", sure, said, (*modes, "off_goal"))


def _goal(episode: Episode, parameters: Mapping[str, float]) -> Floats | None:
    """Return x and y of the goal in the world, m."""
    declared = episode.manifest.declared_start.get("goal")
    if declared is not None:
        return np.array(declared.position_m[:2])
    tracked = episode.streams.get(f"{_OBJECT}goal")
    if tracked is not None and len(tracked) and tracked.values.shape[1:] == (7,):
        return np.asarray(np.median(tracked.values[:, :2], axis=0))
    # a simulated scene says how it was set up
    scene = episode.manifest.provenance.parameters.get("scene")
    if isinstance(scene, Mapping) and len(scene.get("goal_m", ())) >= 2:
        return np.array([float(number) for number in scene["goal_m"][:2]])
    if "goal_x_m" in parameters and "goal_y_m" in parameters:
        return np.array([parameters["goal_x_m"], parameters["goal_y_m"]])
    return None


def _turned_from(first: Floats, last: Floats) -> float:
    """Return the angle in degrees between the object's up at the start and at the end."""
    ups = []
    for pose in (first, last):
        x, y, z, w = np.median(pose[:, 3:7], axis=0)
        size = max(float(np.sqrt(x * x + y * y + z * z + w * w)), 1e-12)
        x, y, z, w = x / size, y / size, z / size, w / size
        ups.append(np.array([2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]))
    return float(np.degrees(np.arccos(np.clip(ups[0] @ ups[1], -1.0, 1.0))))


def _touched_at_the_end(episode: Episode) -> bool:
    end = _end_ns(episode) - 60_000_000
    return any(hold.end_ns >= end for hold in holds(episode) if hold.evidence == "touch")


def _stopped(episode: Episode) -> bool:
    authority = episode.streams.get("control_authority")
    if authority is not None and len(authority) > 1 and authority.values.shape[1:] == (1,):
        ordered = timeline.repaired(authority)
        if int(ordered.values[-1, 0]) == 0 and (ordered.values[:, 0] != 0).any():
            return True
    stops = ("e_stop", "estop", "emergency_stop", "stop", "stopped", "aborted")
    return any(event.name.lower() in stops for event in episode.manifest.events)


def _end_ns(episode: Episode) -> int:
    return max((int(s.time_ns.max()) for s in episode.streams.values() if len(s)), default=0)
