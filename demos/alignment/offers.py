"""What one episode could put into a learning table: its state, its action, its other streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from demos import labels
from demos.alignment import Action
from demos.alignment.actions import (
    ActionPlan,
    arm_of,
    command_streams,
    plan_action,
    state_streams,
)
from demos.alignment.columns import Joined, NoTable, joined
from demos.formats.names import word
from demos.model import Episode, Manifest, StreamSummary
from demos.signals import bodies

MOST_VALUES = 20_000
"""A step of one stream has at most as many values; depth images have more."""

_SPANS = {"phases": "phase", "grasps": "grasp"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants of the table; None: what the episodes ask for.

    by_part: whether the channels of one body part stand side by side.
    """

    rate_hz: float | None = None
    action: Action = "joint"
    streams: tuple[str, ...] | None = None
    by_part: bool = False


@dataclass(frozen=True, slots=True)
class CameraColumn:
    """A camera of the table: the stream's name without `image.`, and the size of its images."""

    camera: str
    width: int
    height: int

    @property
    def name(self) -> str:
        """The name of its column."""
        return f"observation.images.{word(self.camera)}"


@dataclass(slots=True)
class Offer:
    """What one episode could put into a table.

    others: streams besides state and action. words: column of an annotation to the words in it.
    """

    manifest: Manifest
    state: Joined
    action: ActionPlan
    others: dict[str, StreamSummary]
    words: dict[str, set[str]]
    outcome: str
    notes: list[str] = field(default_factory=list)

    @property
    def kind(self) -> tuple[object, ...]:
        """What episodes of one table must have in common."""
        action = self.action
        return (
            self.manifest.embodiment,
            self.state.channels,
            self.state.units,
            action.channels,
            action.units,
            action.commanded,
            action.poses,
            action.chain is None,
        )


def offer_of(episode: Episode, wanted: Wanted) -> Offer:
    """Look at manifest and labels only. Raises NoTable where a table needs more."""
    manifest = episode.manifest
    recorded = {name for name, summary in manifest.streams.items() if summary.shape[0] > 1}
    parts = _parts(episode)
    state = joined(manifest, state_streams(manifest), parts)
    if state is None:
        raise NoTable("it has no joint_position, gripper or state of two samples").with_hint(
            "a learning table needs a state; formats that keep streams as they are do not"
        )
    action = plan_action(episode, wanted.action, state, parts)
    if wanted.by_part:
        state = state.only(_order(state.parts, episode))
        action = _by_part(action, episode)
    said = [action.note] if action.note else []
    others = {}
    inside = {*state.streams, *action.streams}
    for name in sorted(recorded - inside):
        summary = manifest.streams[name]
        asked = wanted.streams is None or name in wanted.streams
        if asked and (why := _left_out(name, summary, manifest)):
            said.append(f"{name} is left out: {why}")
        elif asked:
            others[name] = summary
    words: dict[str, set[str]] = {}
    for of, kind in _SPANS.items():
        label = labels.current(episode.labels, of)  # type: ignore[arg-type]
        for span in label.spans if label else ():
            words.setdefault(f"annotation.{kind}.{word(span.tier)}", set()).add(span.value)
    outcome = labels.outcome(episode.labels)
    return Offer(manifest, state, action, others, words, outcome, said)


def _left_out(name: str, summary: StreamSummary, manifest: Manifest) -> str:
    size = math.prod(summary.shape[1:])
    if name in command_streams(manifest):
        return "the action says it in another way"
    if name in ("next.done", "next.success"):
        return "the table's own end of the episode says it"
    if name.startswith("annotation."):
        return "its numbers stand for words of another table; events and labels say them"
    if summary.dtype == "uint64" or not summary.dtype.startswith(("float", "int", "uint", "bool")):
        return f"a table has no {summary.dtype}"
    if not 0 < size <= MOST_VALUES:
        return f"a sample has {size} values, a step has from 1 to {MOST_VALUES}"
    return ""


def _parts(episode: Episode) -> dict[str, str]:
    """Name the body part of each channel: hands and arms of the effectors, groups of the rest."""
    described = bodies.body(episode)
    found = {joint.name: joint.group for joint in described.joints} if described else {}
    for hand in bodies.effectors(episode):
        found |= dict.fromkeys(hand.arm, arm_of(hand)) | dict.fromkeys(hand.hand, hand.name)
    return found


def _order(parts: Sequence[str], episode: Episode) -> list[int]:
    """Return channel numbers with equal parts side by side: arm and hand of each effector first."""
    first: list[str] = []
    for hand in bodies.effectors(episode):
        first += [arm_of(hand), hand.name]
    ranks = {part: n for n, part in enumerate(dict.fromkeys((*first, *parts)))}
    return sorted(range(len(parts)), key=lambda n: ranks[parts[n]])


def _by_part(action: ActionPlan, episode: Episode) -> ActionPlan:
    if action.hands:
        return action
    targets = action.targets.only(_order(action.targets.parts, episode))
    return replace(
        action,
        targets=targets,
        channels=targets.channels,
        units=targets.units,
        parts=targets.parts,
    )


def cameras_of(manifest: Manifest) -> list[CameraColumn]:
    """List the cameras with two images or more."""
    return [
        CameraColumn(name, camera.info.width, camera.info.height)
        for name, camera in manifest.cameras.items()
        if camera.images > 1
    ]
