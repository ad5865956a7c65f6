"""One DROID trajectory read: its steps as streams, and who was in control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import droid as layout
from demos.formats import hdf5
from demos.formats.droid_clocks import Clocks, clocks, raw_stream
from demos.formats.files import json_object
from demos.formats.hdf5_contents import leaves
from demos.formats.hdf5_episode import rows_of
from demos.formats.joints import OPAQUE, Columns, joint_streams, kept, known_names
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.formats.poses import from_euler_xyz, pose_stream
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks
from demos.model import Label, Span, Stream, StreamInfo
from demos.provenance import new_label, sha256_file

_POSES = {
    "cartesian_position": ("pose.flange", "where the flange is"),
    "action.cartesian_position": ("pose_command.flange", "where the flange is told to be"),
    "teleop.target_cartesian_position": ("teleop.flange", "where the operator wants the flange"),
}
_JOINTS = {"joint_position": "state", "joint_command": "command"}
_ENABLED, _SKIPPED = "movement_enabled", "skip_action"


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """The steps of one trajectory: datasets by path, (steps, ...), and when the steps were.

    said: the file's attributes, and DROID's metadata where it lies beside.
    """

    folder: Path
    said: dict[str, Any]
    steps: int
    tables: dict[str, npt.NDArray[Any]]
    clocks: Clocks

    @property
    def joints(self) -> tuple[str, ...]:
        """Name the arm's joints as Franka does; the file has no names."""
        return tuple(f"{layout.robot_of(self.said)[0]}_joint{n}" for n in range(1, 8))

    @property
    def base(self) -> str:
        """Name the reference frame of poses: the arm's first link."""
        return f"{layout.robot_of(self.said)[0]}_link0"

    @property
    def flange(self) -> str:
        """Name what is posed: Polymetis' end effector, the arm's last link."""
        return f"{layout.robot_of(self.said)[0]}_link8"

    def below(self, group: str) -> dict[str, npt.NDArray[Any]]:
        """Return the datasets below a group, by what is left of their path."""
        return {p.removeprefix(group): t for p, t in self.tables.items() if p.startswith(group)}


def read(folder: Path, notes: Notes) -> Trajectory:
    """Read a trajectory whole. Raises ImportFailed where it holds no step."""
    with hdf5.opened(folder / layout.TRAJECTORY) as file:
        said = _said(folder, hdf5.attributes(file), notes)
        places = leaves(file)
        rows = (layout.STATE, layout.ACTION)
        steps = layout.steps(file, [p for p in places if p.startswith(rows) or p == "action"])
        tables = {}
        for place in places:
            if place != "action" and not place.startswith(("observation/", layout.ACTION)):
                notes.missing.append(f"{place}: not known in DROID's layout")
            elif (table := _table(file, place, steps, notes)) is not None:
                tables[place] = table
    notes.sha256[layout.TRAJECTORY] = sha256_file(folder / layout.TRAJECTORY)
    stamps = {p.removeprefix(layout.STAMPS): t for p, t in tables.items() if _is_stamp(p, t)}
    return Trajectory(folder, said, steps, tables, clocks(stamps, steps, notes))


def streams(
    run: Trajectory, sitting: Sitting, ignore: Sequence[str], *, accept_mapping: bool
) -> dict[str, Stream]:
    """Make a stream of each dataset of states and actions, and poses of what is written as angles.

    The source's numbers stay; poses stand beside the rows they were made of.
    """
    made: dict[str, Stream] = {}
    for place, table in run.tables.items():
        state = place.startswith(layout.STATE)
        if not state and not place.startswith(layout.ACTION) and place != "action":
            continue
        ticks = run.clocks.state if state else run.clocks.command
        columns = _columns(place, table, run)
        if columns.kept_as in _JOINTS:
            found = joint_streams(
                columns, ticks, sitting, ignore=ignore, accept_mapping=accept_mapping
            )
        else:
            ours = replace(columns, channels=known_names(columns.channels, sitting))
            found = {columns.kept_as: kept(ours, range(len(ours.channels)), ticks)}
        if state and run.clocks.arrival_ns is not None:
            found = {n: replace(s, arrival_ns=run.clocks.arrival_ns) for n, s in found.items()}
        made |= found
    for raw, (name, semantics) in _POSES.items():
        if raw in made and made[raw].values.shape[1] == 6:
            made[name] = _pose(run, made[raw], semantics)
    stamps = {p: t for p, t in run.below(layout.STAMPS).items() if t.ndim == 1}
    if (stamp := raw_stream(stamps, run.steps, run.clocks.state)) is not None:
        made["timestamp"] = stamp
    return made


def control(run: Trajectory, notes: Notes) -> tuple[dict[str, Stream], tuple[Label, ...]]:
    """Say who was in control, and mark the steps in which nobody was as not to be trained on.

    The recorder goes on while the operator has let go of the grip, with commands that were not
    sent; DROID's own loader leaves such steps out.
    """
    info = run.below(layout.CONTROLLER)
    made = {}
    if any(table.ndim == 1 for table in info.values()):
        made["teleop.controller"] = _controller(info, run.clocks.state)
    moving = info.get(_ENABLED)
    if moving is None:
        skipped = run.tables.get(layout.STAMPS + _SKIPPED)
        moving = None if skipped is None else skipped == 0
    if moving is None or moving.ndim != 1:
        notes.assumed.append("control: the operator's in all steps; movement_enabled is not there")
        moving = np.ones(run.steps, dtype=bool)
    stopped = moving == 0
    made["control_authority"] = _authority(~stopped, run.clocks.state)
    if not stopped.any():
        return made, ()
    spans = tuple(_runs(stopped, run.clocks))
    notes.assumed.append(
        f"use: {int(stopped.sum())} of {run.steps} steps are excluded, "
        f"{_ENABLED} is false in them and their commands were not sent"
    )
    label = new_label(
        notes.id, "use", annotator="droid (source)", role="machine", spans=spans, note=_ENABLED
    )
    return made, (label,)


def _said(folder: Path, attributes: dict[str, Any], notes: Notes) -> dict[str, Any]:
    said = dict(attributes)
    for metadata in sorted(folder.glob("metadata_*.json"))[:1]:
        try:
            said = json_object(folder, metadata.name) | said
            notes.sha256[metadata.name] = sha256_file(metadata)
        except ImportFailed as error:
            notes.find("metadata", str(error), error.hint)
    return said


def _table(file: Any, place: str, steps: int, notes: Notes) -> npt.NDArray[Any] | None:
    """Read the rows of the whole steps; which steps fewer rows belong to is not said."""
    table = rows_of(file, place, steps, "steps", notes)
    if table is not None and len(table) > steps:
        notes.find(
            "rows",
            f"{len(table) - steps} rows of {place} are of a step that was not written whole",
            "the recorder was stopped while it wrote; those rows are left out",
        )
    return None if table is None else table[:steps]


def _is_stamp(place: str, table: npt.NDArray[Any]) -> bool:
    return place.startswith(layout.STAMPS) and table.ndim == 1


def _columns(place: str, table: npt.NDArray[Any], run: Trajectory) -> Columns:
    known = layout.meaning(place)
    values = table.reshape(len(table), math.prod(table.shape[1:]))
    width = values.shape[1]
    channels = known.channels if known else None
    if known and channels is None:
        channels = run.joints if width == len(run.joints) else None
    if channels is None or len(channels) != width:
        short = place.rsplit("/", 1)[-1]
        channels = tuple(f"{short}_{n}" for n in range(width)) if width > 1 else (short,)
    unit = known.unit if known else "unknown"
    units = unit if isinstance(unit, tuple) else (unit,) * width
    name = known.stream if known else word(place.removeprefix("observation/").replace("/", "."))
    return Columns(
        values,
        channels,
        units if len(units) == width else ("unknown",) * width,
        "command" if name == "joint_command" else "state",
        kept_as=name,
        semantics=known.semantics if known else OPAQUE if place == "action" else None,
        note=f"DROID {place}",
    )


def _pose(run: Trajectory, raw: Stream, semantics: str) -> Stream:
    ticks = Ticks(raw.time_ns, raw.info.clock, raw.info.rate_hz, raw.source_time_ns)
    made = pose_stream(
        raw.values[:, :3],
        from_euler_xyz(raw.values[:, 3:]),
        ticks,
        reference_frame=run.base,
        of_frame=run.flange,
        semantics=semantics,
        note=f"made of {raw.info.note}: {layout.EULER}",
    )
    return replace(made, arrival_ns=raw.arrival_ns)


def _controller(info: dict[str, npt.NDArray[Any]], ticks: Ticks) -> Stream:
    flags = {name: table for name, table in info.items() if table.ndim == 1}
    values = np.stack([table.astype(np.float64) for table in flags.values()], axis=1)
    if all(table.dtype == np.bool_ for table in flags.values()):
        values = values.astype(np.uint8)
    stream_info = StreamInfo(
        units=("1",) * len(flags),
        channels=tuple(flags),
        clock=ticks.clock,
        rate_hz=ticks.rate_hz,
        semantics="1 while the button is pressed, the grip held, the controller heard",
        note=f"DROID {layout.CONTROLLER.rstrip('/')}",
    )
    return Stream(ticks.time_ns, values, stream_info, ticks.source_time_ns)


def _authority(moving: npt.NDArray[np.bool_], ticks: Ticks) -> Stream:
    changes = np.flatnonzero(np.r_[True, np.diff(moving.astype(np.int8)) != 0])
    info = StreamInfo(
        units=("code",),
        channels=("who",),
        clock=ticks.clock,
        semantics="0 stopped, 1 operator, 2 policy, 3 autonomous; sampled at changes",
        note=f"DROID {layout.CONTROLLER}{_ENABLED}",
    )
    return Stream(ticks.time_ns[changes], moving[changes].astype(np.uint8)[:, None], info)


def _runs(stopped: npt.NDArray[np.bool_], when: Clocks) -> list[Span]:
    edges = np.flatnonzero(np.diff(np.r_[False, stopped, False].astype(np.int8)))
    first = np.minimum(when.state.time_ns, when.command.time_ns)
    last = np.maximum(when.state.time_ns, when.command.time_ns)
    return [
        Span(
            start_ns=int(first[start:end].min()), end_ns=int(last[start:end].max()), value="exclude"
        )
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]
