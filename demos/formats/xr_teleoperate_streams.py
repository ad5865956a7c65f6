"""The numbers of an xr_teleoperate episode become streams, joints and fingers by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from demos import mapping
from demos.errors import ImportFailed
from demos.formats import xr_teleoperate as layout
from demos.formats.joints import Columns, joint_streams, kept
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks
from demos.formats.xr_teleoperate import Hand, Numbers, Table
from demos.model import Stream

_SLACK = 0.01
_ROLES: dict[str, mapping.Role] = {"states": "state", "actions": "command"}
_ARMS = tuple(f"{side}_arm" for side in layout.SIDES)
_HANDS = tuple(f"{side}_ee" for side in layout.SIDES)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """All numbers of an episode by their path, and the hand they speak of."""

    numbers: Mapping[tuple[str, ...], Numbers]
    hand: Hand | None

    def has(self, *path: str) -> Numbers | None:
        """Return the numbers at a path, None where there are none."""
        return self.numbers.get(path)


def read_parts(table: Table, notes: Notes) -> Parts:
    """Read every number of an episode; what is no number is named and left out."""
    found: dict[tuple[str, ...], Numbers] = {}
    for path in layout.fields(table):
        try:
            part = layout.numbers(table, path)
        except ImportFailed as error:
            notes.missing.append("/".join(path))
            notes.find("numbers", f"not kept: {error}", error.hint, "error")
            continue
        if part is not None:
            found[path] = part
            if unknown := int(np.isnan(part.values).sum()):
                notes.find("numbers", f"{'/'.join(path)}: {unknown} values are null or NaN")
    hands = [part for path, part in found.items() if path[1:] in {(h, "qpos") for h in _HANDS}]
    widths = {part.width for part in hands}
    normalised = not any(((p.values < -_SLACK) | (p.values > 1 + _SLACK)).any() for p in hands)
    hand = layout.hand_of(widths.pop(), normalised=normalised) if len(widths) == 1 else None
    return Parts(found, hand)


def robot_of(parts: Parts, notes: Notes) -> str:
    """Say by the numbers of values which robot it was, and that this is all there is to go by."""
    arms = {n.width for arm in _ARMS if (n := parts.has("states", arm, "qpos"))}
    hand = parts.hand.kind if parts.hand else "hands of another kind"
    seen = f"{'/'.join(map(str, sorted(arms))) or 'no'} values per arm and {hand} by their count"
    notes.assumed.append(
        f"body: {seen}; info.joint_names is a constant of the recorder and was not used. "
        "An H1-2 has as many per arm, a BrainCo hand as many as an Inspire: "
        "if it was one, name the body with --embodiment"
    )
    if arms == {7} and hand in ("Inspire", "Dex3"):
        return {"Inspire": "Unitree_G1_Inspire", "Dex3": "g1_dex3"}[hand]
    if arms == {7}:
        return f"Unitree_G1 with {hand}"
    return {frozenset({5}): "Unitree_G1_23dof", frozenset({4}): "Unitree_H1"}.get(
        frozenset(arms), "unknown"
    )


def streams_of(
    parts: Parts,
    ticks: Ticks,
    sat: Sitting,
    notes: Notes,
    *,
    ignore: Sequence[str] = (),
    accept_mapping: bool = False,
) -> dict[str, Stream]:
    """Make the streams; what is neither arm nor hand keeps the source's names.

    Raises ImportFailed where a body that a person named does not know a channel.
    """
    made: dict[str, Stream] = {}
    used: set[tuple[str, ...]] = set()
    for group, role in _ROLES.items():
        columns = _columns(parts, group, role)
        used |= {(group, part, "qpos") for part in columns}
        if not columns:
            continue
        if sat.body is not None:
            columns = {"all": _together(list(columns.values()), notes)}
        for each, rows in columns.values():
            made |= joint_streams(
                each, _at(ticks, rows), sat, ignore=ignore, accept_mapping=accept_mapping
            )
    for quantity, name, unit in (
        ("qvel", "joint_velocity", "rad/s"),
        ("torque", "joint_effort", "N·m"),
    ):
        paths = [p for arm in _ARMS if parts.has(*(p := ("states", arm, quantity)))]
        if paths and (stream := _measured(parts, paths, unit, ticks, sat)):
            made[name] = stream
            used |= set(paths)
    for path, part in parts.numbers.items():
        if path not in used:
            name = word(_name(path))
            made[name if name not in made else word(".".join(path))] = _plain(path, part, ticks)
    if sat.body is not None:
        notes.assumed.append(f"units and order of joints: as Unitree's SDK has them, {sat.body.id}")
        notes.findings += mapping.doubts(made, sat.body, episode=notes.id)
        if left := [name for name in ("state", "action") if name in made]:
            notes.find(
                "mapping",
                f"channels that {sat.body.id} does not know are kept as {' and '.join(left)}",
                "name the body that recorded this with --embodiment",
            )
    return made


def _columns(parts: Parts, group: str, role: mapping.Role) -> dict[str, tuple[Columns, Any]]:
    """Name the channels of arms and hands: part to columns and the rows they are in."""
    found: dict[str, tuple[Columns, Any]] = {}
    joints, fingers = mapping.STREAMS[role]
    for part in (*_ARMS, *_HANDS):
        numbers, side = parts.has(group, part, "qpos"), part.split("_")[0]
        if numbers is None:
            continue
        arm = part in _ARMS
        names = layout.arm_names(side, numbers.width) if arm else None
        unit, hand = "rad" if names else "unknown", parts.hand
        if not arm and hand is not None and len(hand.names[side]) == numbers.width:
            names, unit = hand.names[side], hand.unit
        columns = Columns(
            numbers.values,
            names or tuple(f"{part}_{n}" for n in range(numbers.width)),
            (unit,) * numbers.width,
            role,
            kept_as=f"{joints}.{part}" if arm else f"{fingers}.{side}_hand",
            semantics="target, absolute" if role == "command" else "measured",
            note=f"xr_teleoperate {group}/{part}/qpos",
        )
        found[part] = (columns, numbers.rows)
    return found


def _together(parts: list[tuple[Columns, Any]], notes: Notes) -> tuple[Columns, Any]:
    """Put arms and hands side by side over the rows that all of them have."""
    rows = parts[0][1]
    for _, own in parts[1:]:
        rows = np.intersect1d(rows, own)
    short = max(len(own) for _, own in parts) - len(rows)
    if short:
        notes.find(
            "rows", f"{short} rows lack an arm or a hand and were left out", severity="error"
        )
    first = parts[0][0]
    values = np.hstack([c.values[np.isin(own, rows)] for c, own in parts])
    together = replace(
        first,
        values=values,
        channels=tuple(name for c, _ in parts for name in c.channels),
        units=tuple(unit for c, _ in parts for unit in c.units),
        kept_as="state" if first.role == "state" else "action",
        note="xr_teleoperate states" if first.role == "state" else "xr_teleoperate actions",
    )
    return together, rows


def _measured(
    parts: Parts, paths: Sequence[tuple[str, ...]], unit: str, ticks: Ticks, sat: Sitting
) -> Stream | None:
    """Join velocities or efforts of the arms, where every joint has one in the same rows."""
    found = [parts.numbers[path] for path in paths]
    names = [
        layout.arm_names(p[1].split("_")[0], n.width) for p, n in zip(paths, found, strict=True)
    ]
    if not all(names) or any(not np.array_equal(n.rows, found[0].rows) for n in found):
        return None
    channels = tuple(name for group in names for name in group or ())
    if sat.body is not None:
        links = {k.channel: k.joint.name for k in mapping.connect(channels, sat.body).links}
        channels = tuple(links.get(name, name) for name in channels)
    columns = Columns(
        np.hstack([n.values for n in found]), channels, (unit,) * len(channels), "state", "",
        note=f"xr_teleoperate {' '.join('/'.join(path) for path in paths)}",
    )  # fmt: skip
    return kept(columns, range(len(channels)), _at(ticks, found[0].rows))


def _plain(path: tuple[str, ...], part: Numbers, ticks: Ticks) -> Stream:
    short = path[-1] if len(path) > 2 else path[1]
    columns = Columns(
        part.values,
        (short,) if part.width == 1 else tuple(f"{short}_{n}" for n in range(part.width)),
        ("unknown",) * part.width,
        "state",
        "",
        note=f"xr_teleoperate {'/'.join(path)}",
    )
    return kept(columns, range(part.width), _at(ticks, part.rows))


def _name(path: tuple[str, ...]) -> str:
    group, part = path[0], path[1].replace("_ee", "_hand")
    if group == "tactiles":
        return f"tactile.{part}"
    if group == "torques":
        return f"effort.{part}"
    return ".".join((*(("action",) if group == "actions" else ()), part, *path[2:]))


def _at(ticks: Ticks, rows: Any) -> Ticks:
    return replace(ticks, time_ns=ticks.time_ns[rows])
