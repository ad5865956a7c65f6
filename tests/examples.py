"""A catalogue of named example episodes in memory, the nasty ones included.

`example(name)` builds one, `EXAMPLES` names them all, `CLEAN` those in which no check may find a
warning. `tests/scripted.py` says what happens in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from demos.model import Episode, Event, Label, Pose, Provenance, Role, Span, Stream
from demos.model.records import LabelKind
from tests.scripted import WHEN, ImagesInMemory, Script, episode_of, pick, recorded, ulid_of


def _changed(name: str, **streams: Callable[[Stream], Stream]) -> Episode:
    """Take the clean pick and change streams named with `__` for a dot."""
    parts, cameras = recorded(name, Script())
    for key, change in streams.items():
        stream_name = key.replace("__", ".")
        parts[stream_name] = change(parts[stream_name])
    return episode_of(name, parts, cameras)


def _with_values(part: Stream, change: Callable[[npt.NDArray[np.generic]], None]) -> Stream:
    values = part.values.copy()
    change(values)
    return replace(part, values=values)


def _without(part: Stream, start_s: float, end_s: float) -> Stream:
    keep = (part.time_ns < start_s * 1e9) | (part.time_ns >= end_s * 1e9)
    return replace(part, time_ns=part.time_ns[keep], values=part.values[keep])


def _empty() -> Episode:
    parts, _ = recorded("empty", Script())
    return episode_of(
        "empty",
        {key: replace(p, time_ns=p.time_ns[:0], values=p.values[:0]) for key, p in parts.items()},
    )


def _one_sample() -> Episode:
    parts, _ = recorded("one_sample", Script())
    return episode_of(
        "one_sample",
        {key: replace(p, time_ns=p.time_ns[:1], values=p.values[:1]) for key, p in parts.items()},
    )


def _clock_jumps_back() -> Episode:
    def jump(part: Stream) -> Stream:
        stamps = part.time_ns.copy()
        stamps[600:] -= 250_000_000
        return replace(part, time_ns=stamps)

    return _changed("clock_jumps_back", joint_position=jump)


def _nan_wrench() -> Episode:
    def spoil(values: npt.NDArray[np.generic]) -> None:
        values[1000:1040, 2] = np.nan

    return _changed("nan_wrench", wrench__right_wrist=lambda p: _with_values(p, spoil))


def _frozen_joints() -> Episode:
    def freeze(values: npt.NDArray[np.generic]) -> None:
        values[260:] = values[260]

    return _changed("frozen_joints", joint_position=lambda p: _with_values(p, freeze))


def _dead_taxels() -> Episode:
    def kill(values: npt.NDArray[np.generic]) -> None:
        values[:, 16:32] = 0.0

    return _changed("dead_taxels", tactile__right_hand=lambda p: _with_values(p, kill))


def _degrees() -> Episode:
    parts, cameras = recorded("degrees", Script())
    joints = parts["joint_position"]
    parts["joint_position"] = replace(joints, values=np.rad2deg(joints.values))
    return episode_of("degrees", parts, cameras)


def _images(name: str, change: Callable[[ImagesInMemory], ImagesInMemory]) -> Episode:
    parts, cameras = recorded(name, Script())
    camera = cameras["egocentric"]
    assert isinstance(camera, ImagesInMemory)
    return episode_of(name, parts, {"egocentric": change(camera)})


def _dropped(camera: ImagesInMemory) -> ImagesInMemory:
    keep = np.r_[0:40, 58 : len(camera)]
    return ImagesInMemory(camera.time_ns[keep], camera.pixels[keep])


def _black(camera: ImagesInMemory) -> ImagesInMemory:
    return ImagesInMemory(camera.time_ns, np.zeros_like(camera.pixels))


def _stuck(camera: ImagesInMemory) -> ImagesInMemory:
    return ImagesInMemory(camera.time_ns, np.repeat(camera.pixels[:1], len(camera), axis=0))


class _Unreadable(ImagesInMemory):
    def images(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        raise OSError("moov atom not found")


def _missing_video() -> Episode:
    parts, _ = recorded("missing_video", Script())
    said = Provenance(
        tool="examples", tool_version="1", missing=("the video of camera 'egocentric'",)
    )
    return episode_of("missing_video", parts, provenance=said)


def _cut_short() -> Episode:
    parts, _ = recorded("cut_short", Script())
    kept = {key: _without(part, 2.0, 1e6) for key, part in parts.items()}
    said = Provenance(tool="examples", tool_version="1", recovered=True)
    return episode_of("cut_short", kept, provenance=said)


def _late_wrench() -> Episode:
    return _changed("late_wrench", wrench__right_wrist=lambda p: _without(p, 0.0, 3.0))


def _clock_gap() -> Episode:
    return _changed("clock_gap", joint_position=lambda p: _without(p, 2.6, 3.4))


def _slow_clock() -> Episode:
    def thin(part: Stream) -> Stream:
        return replace(part, time_ns=part.time_ns[::4], values=part.values[::4])

    return _changed("slow_clock", joint_command=thin)


def _state_only() -> Episode:
    parts, _ = recorded("state_only", Script(), rate_hz=30.0)
    kept = {key: parts[key] for key in ("joint_position", "joint_command")}
    return episode_of("state_only", kept, task="unknown")


def _two_hands() -> Episode:
    parts, cameras = recorded("two_hands", Script())
    for kind in ("pose.{}_wrist", "tactile.{}_hand", "wrench.{}_wrist", "teleop.{}_hand"):
        parts[kind.format("left")] = parts[kind.format("right")]
    mirrored = parts["pose.left_wrist"].values * [1, 1, 1, 1, 1, 1, 1] + [0, 0.2, 0, 0, 0, 0, 0]
    parts["pose.left_wrist"] = replace(parts["pose.left_wrist"], values=mirrored)
    return episode_of("two_hands", parts, cameras, task="carry")


def _label(
    name: str, of: LabelKind, role: Role, *, value: str = "", spans: tuple[Span, ...] = ()
) -> Label:
    return Label(
        id=ulid_of(name + of + role),
        episode=ulid_of(name),
        of=of,
        annotator=f"{role}-1",
        role=role,
        guideline="1.0.0",
        created_at=WHEN,
        value=value,
        spans=spans,
    )


def _all_fields() -> Episode:
    name = "all_fields"
    parts, cameras = recorded(name, Script())
    joints = parts["joint_position"]
    parts["joint_position"] = replace(
        joints, source_time_ns=joints.time_ns + 7_000, arrival_ns=joints.time_ns + 900_000
    )
    spans = (Span(start_ns=2_000_000_000, end_ns=5_400_000_000, tier="right_hand", value="held"),)
    labels = [
        _label(name, "outcome", "operator", value="success"),
        _label(name, "grasps", "reviewer", spans=spans),
    ]
    return episode_of(
        name,
        parts,
        cameras,
        labels=labels,
        events=(Event(name="e_stop_tested", time_ns=100_000_000, values={"by": "op-1"}),),
        instruction="Pick up the cup — größer, 杯子",
        trial_index=3,
        minutes_since_break=12.5,
        experience="50 h",
        factors={"object": "cup", "lighting": "bright"},
        declared_start={"cup": Pose(reference_frame="world", position_m=(0.3, -0.1, 0.85))},
    )


_HESITANT = Script(
    there_s=2.7,
    touch_s=3.0,
    lift_s=3.5,
    up_s=4.2,
    over_s=5.2,
    down_s=5.9,
    gone_s=6.4,
    leave_s=6.6,
    home_s=7.6,
    end_s=8.2,
    pause_s=1.0,
)
_DROP = Script(lost_s=3.7)
_MISS = Script(lost_s=2.8, lifts=False)

EXAMPLES: dict[str, Callable[[], Episode]] = {
    "clean_pick": lambda: pick("clean_pick", Script()),
    "two_hands": _two_hands,
    "all_fields": _all_fields,
    "state_only": _state_only,
    "detour": lambda: pick("detour", Script(detour_m=0.25)),
    "hesitation": lambda: pick("hesitation", _HESITANT),
    "waits_holding": lambda: pick("waits_holding", Script(wait_s=1.0)),
    "hard_press": lambda: pick("hard_press", Script(push_n=30.0)),
    "dropped_object": lambda: pick("dropped_object", _DROP),
    "missed_grasp": lambda: pick("missed_grasp", _MISS),
    "no_grasp": lambda: pick("no_grasp", Script(grip_n=0.0, lifts=False)),
    "empty": _empty,
    "one_sample": _one_sample,
    "clock_jumps_back": _clock_jumps_back,
    "clock_gap": _clock_gap,
    "slow_clock": _slow_clock,
    "late_wrench": _late_wrench,
    "nan_wrench": _nan_wrench,
    "frozen_joints": _frozen_joints,
    "dead_taxels": _dead_taxels,
    "degrees": _degrees,
    "dropped_images": lambda: _images("dropped_images", _dropped),
    "black_images": lambda: _images("black_images", _black),
    "stuck_images": lambda: _images("stuck_images", _stuck),
    "unreadable_video": lambda: _images(
        "unreadable_video", lambda c: _Unreadable(c.time_ns, c.pixels)
    ),
    "missing_video": _missing_video,
    "cut_short": _cut_short,
    "no_streams": lambda: episode_of("no_streams", {}),
}
"""Every example by name; each call builds it anew."""

CLEAN = (
    "clean_pick",
    "two_hands",
    "all_fields",
    "state_only",
    "detour",
    "hesitation",
    "waits_holding",
    "hard_press",
    "dropped_object",
)
"""Examples whose recording is sound, whatever the demonstration is worth."""


def example(name: str) -> Episode:
    """Build one example."""
    return EXAMPLES[name]()
