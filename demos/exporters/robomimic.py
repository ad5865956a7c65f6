"""robomimic HDF5: episodes as demonstrations that its SequenceDataset trains on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from demos import alignment, labels, timeline
from demos.alignment.actions import actions_at
from demos.alignment.offers import Wanted, offer_of
from demos.exporters import (
    Choices,
    Chosen,
    ExportFailed,
    LeftOut,
    Written,
    attempt,
    exporters,
)
from demos.formats.names import word
from demos.formats.robomimic import IMAGE, INFO, STREAM
from demos.model import Camera, Episode, Nanoseconds, Stream, StreamInfo
from demos.store.hdf5_disk import Disk

_GZIP_LEVEL = 4
_IMAGES_AT_ONCE = 32
_OWN_PLACE = {"simulation.state": "states", "reward": "rewards", "done": "dones"}
_COMMANDS = ("joint_command", "gripper_command", "base_command", "end_effector_command", "action",
             "teleop")  # fmt: skip
"""Kinds of streams that a policy must not see: they say what it is to do."""


@exporters.adding("robomimic")
class Robomimic:
    """Write one HDF5 file for robomimic: a demonstration for each part that may be trained on."""

    loses: ClassVar[str] = (
        "native rates and stamps, videos' codecs, phases and events; next_obs is not written"
    )
    single_file: ClassVar[bool] = True

    def write(
        self, chosen: Sequence[Chosen], target: Path, choices: Choices
    ) -> Iterator[Written | LeftOut]:
        """Write episodes to `target`; yield what became of each."""
        import h5py

        with Disk(target) as disk:
            with h5py.File(disk, "w") as file:
                out = _File(file.create_group("data"), disk)
                for item in chosen:
                    yield attempt(item.manifest.id, partial(_episode, out, item, choices))
                out.finish(file)
            disk.check()


@dataclass(slots=True)
class _File:
    """The file being written: how many demonstrations, what they share, which masks they are in."""

    data: Any
    disk: Disk
    count: int = 0
    samples: int = 0
    tasks: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    masks: dict[str, list[str]] = field(default_factory=dict)

    def finish(self, file: Any) -> None:
        """Write what is said of all demonstrations."""
        self.data.attrs["total"] = self.samples
        rate = self.rates[0] if len(set(self.rates)) == 1 else None
        environment = {
            "env_name": " ".join(dict.fromkeys(self.tasks)),
            "type": None,
            "env_kwargs": {
                "robots": list(dict.fromkeys(self.bodies)),
                **({"control_freq": rate} if rate else {}),
            },
            "note": "recorded demonstrations, no simulation environment: nothing can be rolled out",
        }
        self.data.attrs["env_args"] = json.dumps(environment)
        for key, names in sorted(self.masks.items()):
            file.create_dataset(f"mask/{key}", data=np.array(names, dtype="S"))


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A part of an episode that may be trained on: the moments of its steps, (n,), and their rate.

    `ends` says that it reaches the end of the episode.
    """

    episode: Episode
    streams: Mapping[str, Stream]
    moments: Nanoseconds
    rate_hz: float
    choices: Choices
    ends: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Action:
    """Actions of a demonstration, (n, A), and what they mean. `note` is for the reader."""

    values: npt.NDArray[Any]
    info: StreamInfo
    stream: str = "action"
    note: str = ""


def _episode(out: _File, item: Chosen, choices: Choices) -> Written:
    episode = item.open()
    streams = _wanted(episode, choices)
    moments, rate = _moments(episode, streams, choices)
    spans = labels.usable(episode.labels, int(moments[0]), int(moments[-1]))
    parts = [moments[(moments >= start) & (moments <= end)] for start, end in spans]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise ExportFailed("it is labelled as not to be trained on").with_hint(
            "change its label of kind `use`, or leave the episode out of the selection"
        )
    notes = [f"there is no stream {name}" for name in choices.streams or () if name not in streams]
    if sum(map(len, parts)) < len(moments):
        notes.append(f"{len(parts)} demonstrations: what is not to be trained on was cut out")
    names = [f"demo_{out.count + n}" for n in range(len(parts))]
    try:
        for name, moments_of in zip(names, parts, strict=True):
            last = bool(moments_of[-1] == moments[-1])
            part = _Part(episode, streams, moments_of, rate, choices, last)
            told = _demo(out.data.create_group(name), part, out.disk)
            notes += [note for note in told if note not in notes]
            out.disk.check()
    except BaseException:
        for name in names:
            if name in out.data:
                del out.data[name]
        raise
    _count(out, item, episode, names, sum(map(len, parts)), rate)
    losses = [
        loss
        for name, stream in streams.items()
        for loss in alignment.loss(name, stream, moments, _how(name, stream))
    ]
    losses += [_images_lost(name, camera, parts) for name, camera in _cameras(episode).items()]
    return Written(episode.id, tuple(names), tuple(losses), tuple(notes))


def _wanted(episode: Episode, choices: Choices) -> dict[str, Stream]:
    names = list(episode.streams) if choices.streams is None else choices.streams
    found = {name: episode.streams[name] for name in names if name in episode.streams}
    return {name: stream for name, stream in found.items() if len(stream)}


def _cameras(episode: Episode) -> dict[str, Camera]:
    return {name: camera for name, camera in episode.cameras.items() if len(camera.time_ns)}


def _moments(
    episode: Episode, streams: Mapping[str, Stream], choices: Choices
) -> tuple[Nanoseconds, float]:
    needed = dict.fromkeys([*streams, *_sources(episode)[0]])
    start, end = alignment.reach(episode, list(needed) or None)
    rate = choices.rate_hz or alignment.step_rate_hz(episode)
    lead = next(iter(_cameras(episode).values()), None)
    moments = alignment.steps(start, end, rate, lead)
    if not len(moments):
        raise ExportFailed("its streams are never all there at once").with_hint(
            "export fewer streams (--stream), or look at the clocks with `demos check`"
        )
    return moments, rate


def _demo(group: Any, part: _Part, disk: Disk) -> list[str]:
    """Write one demonstration; return what a reader must know of it."""
    episode, moments = part.episode, part.moments
    sources, _ = _sources(episode)
    action = _actions(episode, moments, part.choices)
    _put(group, "actions", action.values, action.stream, action.info)
    notes = [action.note]
    if not np.isfinite(action.values).all():
        notes.append("actions hold values that are not finite")
    if (np.abs(action.values) > 1.0).any():
        notes.append("actions are in their own units and not normalised to -1..1")
    for name, stream in part.streams.items():
        told = name in sources and name.split(".")[0] in _COMMANDS
        if told and part.choices.action == "joint":
            continue
        values = timeline.at(stream, moments, _how(name, stream))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            notes.append(f"{name} holds values that are not finite")
        _put(group, _place(name), values, name, stream.info)
    for name in _cameras(episode):
        _images(group, name, part, disk)
    outcome = labels.outcome(episode.labels)
    if "rewards" not in group:
        rewards = np.zeros(len(moments))
        rewards[-1] = float(part.ends and outcome == "success")
        group["rewards"] = rewards
    if "dones" not in group:
        group["dones"] = (np.arange(len(moments)) == len(moments) - 1).astype(np.int64)
    _describe(group, part, outcome if part.ends or outcome != "success" else "")
    return [note for note in notes if note]


def _describe(group: Any, part: _Part, outcome: str) -> None:
    episode, moments = part.episode, part.moments
    group.attrs["num_samples"] = len(moments)
    group.attrs["episode"], group.attrs["task"] = episode.id, episode.task
    group.attrs["rate_hz"] = part.rate_hz
    group.attrs["start_ns"], group.attrs["end_ns"] = int(moments[0]), int(moments[-1])
    if outcome:
        group.attrs["outcome"] = outcome
    if episode.manifest.instruction:
        group.attrs["ep_meta"] = json.dumps({"lang": episode.manifest.instruction})
    model = episode.manifest.provenance.parameters.get("model_file")
    if isinstance(model, str):
        group.attrs["model_file"] = model


def _count(
    out: _File, item: Chosen, episode: Episode, names: list[str], samples: int, rate: float
) -> None:
    out.count += len(names)
    out.samples += samples
    out.tasks.append(episode.task)
    out.bodies.append(episode.manifest.embodiment)
    out.rates.append(rate)
    success = "success" if labels.outcome(episode.labels) == "success" else ""
    split = item.split if item.split != "all" else ""
    for key in (split, item.verdict, success):
        if key:
            out.masks.setdefault(word(key), []).extend(names)


def _place(name: str) -> str:
    """Say where a stream lies in a demonstration.

    torch refuses names of modules with dots, and robomimic makes modules of observations.
    """
    if name in _OWN_PLACE:
        return _OWN_PLACE[name]
    folder = "commands" if name.split(".")[0] in _COMMANDS else "obs"
    return f"{folder}/{word(name).replace('.', '_')}"


def _put(group: Any, place: str, values: npt.NDArray[Any], stream: str, info: StreamInfo) -> None:
    if place in ("rewards", "dones") and values.shape[1:] == (1,):
        values = values[:, 0]
    if place in group:
        raise ExportFailed(f"two streams are called {place} in this format").with_hint(
            "export one of them only (--stream)"
        )
    made = group.create_dataset(place, data=np.ascontiguousarray(values))
    made.attrs[STREAM] = stream
    made.attrs[INFO] = info.model_dump_json(exclude_defaults=True)


def _how(name: str, stream: Stream) -> timeline.How:
    position = name.split(".")[0] == "joint_position" and stream.values.dtype.kind == "f"
    return "linear" if position else "previous"


def _sources(episode: Episode) -> tuple[list[str], str]:
    """List the streams that an action is made of, in its order, and what must be said of that."""
    there = sorted(name for name, s in episode.streams.items() if len(s) and s.values.ndim == 2)
    grippers = [name for name in there if name.startswith("gripper_command.")]
    told = [name for name in ("joint_command", *grippers) if name in there]
    if told := told or [name for name in ("action",) if name in there]:
        return told, ""
    kinds = ("joint_position", "gripper")
    found = [name for kind in kinds for name in there if name.split(".")[0] == kind]
    return found, "no command was recorded: an action is the position one step later"


def _actions(episode: Episode, moments: Nanoseconds, choices: Choices) -> _Action:
    if choices.action not in ("joint", "joint_delta"):
        return _hands(episode, moments, choices)
    sources, note = _sources(episode)
    if not any(name.startswith(("joint_", "action")) for name in sources):
        raise ExportFailed("it has neither commands nor positions of joints").with_hint(
            "robomimic needs an action a step: leave out episodes without joints"
        )
    delta = choices.action == "joint_delta"
    if sources == ["action"] and delta:
        raise ExportFailed("what its actions say is not known, so they have no change").with_hint(
            "export with --action joint, which writes them as they are"
        )
    chosen = [episode.streams[name] for name in sources]
    # one moment more than there are steps: the target before the first one, or the state after
    if note:
        asked = np.concatenate([moments[:1], moments[1:], moments[-1:]])
    else:
        step = int(moments[1] - moments[0]) if len(moments) > 1 else 0
        asked = np.concatenate([moments[:1] - step, moments])
    columns = [
        timeline.at(stream, asked, _how(name, stream) if note else "previous")
        for name, stream in zip(sources, chosen, strict=True)
    ]
    targets = np.concatenate(columns, axis=1)
    values = np.diff(targets, axis=0) if delta else targets[1:]
    single = len(sources) == 1 and not note and not delta
    info = chosen[0].info if single else _meaning(sources, chosen, delta=delta)
    return _Action(values, info, sources[0] if single else "action", note)


def _hands(episode: Episode, moments: Nanoseconds, choices: Choices) -> _Action:
    """Say where the hands are to go, as the tables of other formats do."""
    plan = offer_of(episode, Wanted(action=choices.action)).action
    step_ns = int(moments[1] - moments[0]) if len(moments) > 1 else 0
    rate_hz = 1e9 / step_ns if step_ns else choices.rate_hz or alignment.USUAL_HZ
    info = StreamInfo(
        units=plan.units,
        channels=plan.channels,
        semantics=f"{plan.kind} of {', '.join(hand.name for hand, _ in plan.hands)}",
        note=plan.note,
    )
    return _Action(actions_at(plan, episode.streams, moments, rate_hz), info, note=plan.note)


def _meaning(sources: list[str], chosen: list[Stream], *, delta: bool) -> StreamInfo:
    what = "the change of the target since the step before" if delta else "the target"
    return StreamInfo(
        units=tuple(unit for stream in chosen for unit in stream.units),
        channels=tuple(name for stream in chosen for name in stream.channels),
        semantics=f"{what} of each joint, of {', '.join(sources)}",
    )


def _images(group: Any, name: str, part: _Part, disk: Disk) -> None:
    camera = part.episode.cameras[name]
    order = np.argsort(camera.time_ns, kind="stable")
    shown = order[alignment.latest(camera.time_ns[order], part.moments)]
    made = None
    for start in range(0, len(shown), _IMAGES_AT_ONCE):
        wanted = shown[start : start + _IMAGES_AT_ONCE]
        images = part.episode.images(name, wanted.tolist())
        if made is None:
            shape = images.shape[1:]
            made = group.create_dataset(
                f"obs/{word(name).replace('.', '_')}{IMAGE}",
                (len(shown), *shape),
                np.uint8,
                chunks=(1, *shape),
                compression="gzip",
                compression_opts=_GZIP_LEVEL,
            )
        made[start : start + len(wanted)] = images
        disk.check()


def _images_lost(name: str, camera: Camera, parts: list[Nanoseconds]) -> alignment.Loss:
    order = np.argsort(camera.time_ns, kind="stable")
    shown = {int(n) for part in parts for n in alignment.latest(camera.time_ns[order], part)}
    lost = len(camera.time_ns) - len(shown)
    return alignment.Loss(
        f"image.{name}", "previous", "images", len(camera.time_ns), 0.0, 0.0, lost
    )
