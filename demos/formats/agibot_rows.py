"""One AgiBot episode read: its tables by group, as streams with units, on one clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import hdf5
from demos.formats.agibot import Recorded
from demos.formats.agibot_clock import clock_of
from demos.formats.hdf5_contents import leaves
from demos.formats.hdf5_episode import rows_of
from demos.formats.joints import Columns, joint_streams, kept, known_names
from demos.formats.names import word
from demos.formats.notes import Notes
from demos.formats.poses import CHANNELS, UNITS
from demos.formats.sitting import Sitting
from demos.formats.steps import Ticks, refuse_endless
from demos.model import Stream
from demos.provenance import sha256_file

Table = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

_BODY = {
    ("joint", 14): tuple(f"arm_{side}_j{n}" for side in "lr" for n in range(1, 8)),
    ("head", 2): ("head_yaw", "head_pitch"),
    ("waist", 2): ("waist_pitch", "waist_lift"),
}
"""By the cards of Alpha and Beta: left arm first; yaw, pitch; pitch in rad, lift in m."""
_GROUPS = ("joint", "head", "waist")
_STATES = {
    "position": ("joint_position", "rad", "m"),
    "velocity": ("joint_velocity", "rad/s", "m/s"),
    "effort": ("joint_effort", "N·m", "N"),
    "current_value": ("joint_current", "unknown", "unknown"),
}
_SIDES = ("left", "right")
_MAPPED = ("joint_position", "joint_command")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The tables of one episode by path, (rows, ...), and when its rows were.

    names: the joints as the file names them, which only simulated recordings do. sent: group of
    `action` to the rows that a control source sent; groups of which nothing is said are missing.
    """

    rows: int
    tables: dict[str, Table]
    ticks: Ticks
    names: tuple[str, ...]
    robot: str
    simulated: bool
    sent: dict[str, Rows]


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Columns on their way to a stream; `group` is that of the action, empty for states.

    frames: reference frame and posed frame, of poses only.
    """

    columns: Columns
    group: str = ""
    frames: tuple[str, str] | None = None


def read(recorded: Recorded, notes: Notes) -> Run:
    """Read an episode whole. Raises ImportFailed where it has no row."""
    tables: dict[str, Table] = {}
    sent: dict[str, Rows] = {}
    with hdf5.opened(recorded.file) as file:
        places = [place for place in leaves(file) if place != "timestamp"]
        names = _named(file, "state/joint")
        robot = "".join(_named(file, "state/robot")[:1])
        stamps = _stamps(file, notes)
        rows = _count(file, places, stamps)
        for place in places:
            if place.startswith("action/") and place.endswith("/index"):
                sent |= _sent(file, place, rows, notes)
            elif (table := _table(file, place, rows, notes)) is not None:
                tables[place] = table
    notes.sha256[recorded.place(recorded.file)] = sha256_file(recorded.file)
    simulated = bool(names) or recorded.file.name == "proprio_states.h5"
    ticks = clock_of(stamps, rows, notes)
    return Run(rows, tables, ticks, names, robot, simulated, sent)


def streams(
    run: Run, sitting: Sitting, ignore: Sequence[str], notes: Notes, *, accept_mapping: bool
) -> dict[str, Stream]:
    """Make streams of all tables: joints, hands, flanges and base as the cards describe them.

    Rows of an action that no control source sent are streams of their own, `<kind>_unsent`.
    """
    made: dict[str, Stream] = {}
    for piece in _pieces(run):
        for columns, rows in _shares(run, piece):
            ticks = _at(run.ticks, rows)
            if columns.kept_as in _MAPPED:
                found = joint_streams(
                    columns, ticks, sitting, ignore=ignore, accept_mapping=accept_mapping
                )
            else:
                ours = replace(columns, channels=known_names(columns.channels, sitting))
                found = {ours.kept_as: kept(ours, range(len(ours.channels)), ticks)}
            if piece.frames:
                found = {name: _framed(stream, *piece.frames) for name, stream in found.items()}
            # a body's own names know nothing of head and waist being commanded apart
            made |= {
                n if n not in made else word(f"{n}.{piece.group}"): s for n, s in found.items()
            }
    for group, rows in run.sent.items():
        if len(rows) < run.rows:
            notes.assumed.append(
                f"action/{group}: {len(rows)} of {run.rows} rows were sent, as its index says; "
                "the other rows are kept as streams called ..._unsent"
            )
    return made


def _pieces(run: Run) -> Iterator[_Piece]:
    used: set[str] = set()
    for maker in (_bodies, _hands, _flanges, _base):
        for piece, places in maker(run):
            used.update(places)
            yield piece
    for place, table in run.tables.items():
        if place not in used:
            values = table.reshape(len(table), math.prod(table.shape[1:]))
            name = place.replace("/", ".")
            yield _Piece(_columns(values, name, place), _group(place))


def _bodies(run: Run) -> Iterator[tuple[_Piece, list[str]]]:
    for key, (name, turning, sliding) in _STATES.items():
        places = [p for g in _GROUPS if (p := f"state/{g}/{key}") in run.tables]
        places = [p for p in places if run.tables[p].ndim == 2]
        if places:
            yield _Piece(_body(run, places, name, (turning, sliding))), places
    for group in _GROUPS:
        place = f"action/{group}/position"
        if place in run.tables and run.tables[place].ndim == 2:
            name = "joint_command" if group == "joint" else f"joint_command.{group}"
            columns = _body(run, [place], name, ("rad", "m"))
            yield _Piece(replace(columns, role="command"), group), [place]


def _body(run: Run, places: Sequence[str], name: str, units: tuple[str, str]) -> Columns:
    channels: list[str] = []
    for place in places:
        group, width = place.split("/")[1], run.tables[place].shape[1]
        own = run.names if group == "joint" and len(run.names) == width else ()
        channels += own or _BODY.get((group, width)) or [f"{group}_{n}" for n in range(width)]
    known = {name for names in _BODY.values() for name in names} | set(run.names)
    return Columns(
        np.concatenate([run.tables[place] for place in places], axis=1),
        tuple(channels),
        tuple("unknown" if c not in known else units["lift" in c.lower()] for c in channels),
        "state",
        kept_as=name,
        semantics="target, absolute" if places[0].startswith("action") else None,
        note=f"AgiBot {', '.join(places)}",
    )


def _hands(run: Run) -> Iterator[tuple[_Piece, list[str]]]:
    for part, kind in (("state", "gripper"), ("action", "gripper_command")):
        place = f"{part}/effector/position"
        table = run.tables.get(place)
        if table is not None and table.ndim == 2 and table.shape[1] in (2, 12):
            half = table.shape[1] // 2
            for side, values in zip(_SIDES, (table[:, :half], table[:, half:]), strict=True):
                columns = _hand(f"{kind}.{side}_hand", side, values, place)
                command = part == "action" and not run.simulated
                unit, words = ("norm01", "0 open, 1 closed") if command else ("mm", "opening")
                if half > 1:
                    unit, words = "rad", "finger joint angle"
                columns = replace(columns, units=(unit,) * half, semantics=words)
                yield _Piece(columns, _group(place)), [place]
        for side in _SIDES:
            place = f"{part}/{side}_effector/position"
            if place in run.tables:
                values = run.tables[place].reshape(run.rows, -1)
                yield (
                    _Piece(_hand(f"{kind}.{side}_hand", side, values, place), _group(place)),
                    [place],
                )


def _hand(name: str, side: str, values: Table, place: str) -> Columns:
    width = values.shape[1]
    channels = (
        (f"{side}_gripper",)
        if width == 1
        else tuple(f"{side}_hand_j{n}" for n in range(1, width + 1))
    )
    return replace(_columns(values, name, place), channels=channels)


def _flanges(run: Run) -> Iterator[tuple[_Piece, list[str]]]:
    base = "world" if run.simulated else "base_link"
    for part, kind in (("state", "pose"), ("action", "pose_command")):
        places = [f"{part}/end/position", f"{part}/end/orientation"]
        position, turn = (run.tables.get(place) for place in places)
        if position is None or turn is None:
            continue
        if position.shape[1:] != (2, 3) or turn.shape[1:] != (2, 4):
            continue
        for n, side in enumerate(_SIDES):
            values = _pose(run, position[:, n], turn[:, n])
            yield _posed(values, f"{kind}.{side}_flange", places, base), places


def _base(run: Run) -> Iterator[tuple[_Piece, list[str]]]:
    world = "world" if run.simulated else "odom"
    places = ["state/robot/position", "state/robot/orientation"]
    position, turn = (run.tables.get(place) for place in places)
    shapes = [table.shape[1:] for table in (position, turn) if table is not None]
    if position is not None and turn is not None and shapes == [(3,), (4,)]:
        yield _posed(_pose(run, position, turn), "pose.base_link", places, world), places
    place = "action/robot/velocity"
    if place in run.tables and run.tables[place].shape[1:] == (2,):
        columns = replace(
            _columns(run.tables[place], "base_command", place),
            channels=("forward", "yaw_rate"),
            units=("m/s", "rad/s"),
        )
        yield _Piece(columns, "robot"), [place]


def _posed(values: Table, name: str, places: list[str], base: str) -> _Piece:
    columns = Columns(
        values, CHANNELS, UNITS, "state", kept_as=name, note=f"AgiBot {', '.join(places)}"
    )
    return _Piece(columns, _group(places[0]), (base, name.partition(".")[2]))


def _pose(run: Run, position: Table, turn: Table) -> Table:
    if run.simulated:  # wxyz there
        turn = np.roll(turn, -1, axis=1)
    return np.concatenate([position, turn], axis=1)


def _columns(values: Table, name: str, place: str) -> Columns:
    width, short = values.shape[1], place.rsplit("/", 1)[-1]
    channels = (short,) if width == 1 else tuple(f"{short}_{n}" for n in range(width))
    return Columns(
        values, channels, ("unknown",) * width, "state", kept_as=word(name), note=f"AgiBot {place}"
    )


def _group(place: str) -> str:
    return place.split("/")[1] if place.startswith("action/") and place.count("/") > 1 else ""


def _framed(stream: Stream, reference: str, of: str) -> Stream:
    frames = {"reference_frame": reference, "of_frame": of}
    return replace(stream, info=stream.info.model_copy(update=frames))


def _shares(run: Run, piece: _Piece) -> Iterator[tuple[Columns, Rows]]:
    """Part the rows of a command into those that were sent and the rest."""
    whole = np.arange(run.rows)
    sent = run.sent.get(piece.group, whole)
    kind, dot, place = piece.columns.kept_as.partition(".")
    unsent = np.setdiff1d(whole, sent)
    for name, rows in ((piece.columns.kept_as, sent), (f"{kind}_unsent{dot}{place}", unsent)):
        if len(rows):
            yield replace(piece.columns, values=piece.columns.values[rows], kept_as=name), rows


def _at(ticks: Ticks, rows: Rows) -> Ticks:
    if len(rows) == len(ticks.time_ns):
        return ticks
    source = ticks.source_time_ns
    return replace(
        ticks,
        time_ns=ticks.time_ns[rows],
        rate_hz=None,
        source_time_ns=None if source is None else source[rows],
    )


def _named(file: Any, group: str) -> tuple[str, ...]:
    if not hdf5.names(file, group):
        return ()
    found = hdf5.attributes(file, group).get("name")
    names = [n for n in (found if isinstance(found, list) else [found]) if isinstance(n, str)]
    return tuple(names) if not isinstance(found, list) or len(names) == len(found) else ()


def _stamps(file: Any, notes: Notes) -> Table | None:
    try:
        return hdf5.array(file, "timestamp")
    except ImportFailed as error:
        notes.missing.append(f"timestamp: {error}")
        return None


def _count(file: Any, places: Sequence[str], stamps: Table | None) -> int:
    if stamps is not None and stamps.ndim == 1 and len(stamps):
        refuse_endless(len(stamps))
        return len(stamps)
    shapes = (hdf5.dataset(file, place).shape for place in places)
    lengths = Counter(shape[0] for shape in shapes if shape and shape[0])
    if not lengths:
        raise ImportFailed("the episode has no row").with_hint(
            "copy the file again from its source, or leave this episode out"
        )
    rows = int(lengths.most_common(1)[0][0])
    refuse_endless(rows)
    return rows


def _table(file: Any, place: str, rows: int, notes: Notes) -> Table | None:
    """Read a table's rows; of a placeholder without rows nothing is said, it is in every file."""
    with suppress(ImportFailed):  # what is wrong with it is said below
        if hdf5.dataset(file, place).size == 0:
            return None
    table = rows_of(file, place, rows, "rows", notes)
    if table is not None and len(table) > rows:
        notes.find(
            "rows",
            f"{place} has {len(table) - rows} rows more than there are stamps; they are left out",
            "some tasks of AgiBot World have actions longer than states",
            "error",
        )
    return None if table is None else table[:rows]


def _sent(file: Any, place: str, rows: int, notes: Notes) -> dict[str, Rows]:
    """Return the rows that an index names, each once and in order, by the group it is of."""
    try:
        flat = hdf5.array(file, place).reshape(-1).astype(np.float64)
    except ImportFailed as error:
        notes.missing.append(f"{place}: {error}")
        notes.find("index", f"{place} could not be read: all rows count as sent", error.hint)
        return {}
    whole = flat[(flat >= 0) & (flat < rows)]
    named = np.unique(whole[whole == np.floor(whole)].astype(np.int64))
    if len(named) < len(flat):
        notes.find(
            "index",
            f"{place} names {len(flat)} rows, {len(named)} of them are rows of this episode",
            "rows named twice or outside the episode do not count",
        )
    return {place.split("/")[1]: named}
