"""One bag becomes one episode: its streams, videos, events, and what is said of all of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats.bag_files import BagFiles
from demos.formats.files import modified
from demos.formats.mcap_own import ATTACHED, KEY, LABELS, MANIFEST, SESSION
from demos.formats.names import task_id
from demos.formats.notes import Notes
from demos.formats.options import Options
from demos.formats.ros_bags import Bag, open_bag
from demos.formats.ros_cameras import Shot, depth_streams, shots_of, videos_of
from demos.formats.ros_clocks import date_of, settle
from demos.formats.ros_gathering import MOST_WORDS, Gathering, gathered
from demos.formats.ros_names import flat
from demos.formats.ros_pictures import Film
from demos.formats.ros_streams import Naming, Series, name_series, restore, series_of
from demos.formats.sitting import Sitting, sitting
from demos.model import Draft, Event, Facts, Label, Manifest, Session, Stream
from demos.provenance import sha256_file
from demos.schema import read

MOST_NS = 31 * 86_400_000_000_000
"""No recording is longer than a month; a stamp that says so is damaged."""

_LEARNED = "joint states, commands, wrenches, poses, transforms, images, IMUs or number arrays"


@dataclass(frozen=True, slots=True)
class Recording:
    """A bag to be read. format: as the provenance names it. film: how videos are written.

    scratch: an empty folder for them. said: what the person who imports says.
    """

    bag: BagFiles
    format: str
    film: Film
    scratch: Path
    said: Options

    @property
    def name(self) -> str:
        """What people call it."""
        return self.bag.name

    @property
    def first(self) -> Path:
        """The first of its files."""
        return self.bag.root / self.bag.files[0]


def draft_of(recording: Recording) -> Draft:
    """Read a bag and make its episode.

    Raises ImportFailed, naming topics and types, where it holds nothing a robot would learn from.
    """
    bag = open_bag(recording.bag, ATTACHED)
    numbers_only = recording.said.numbers_only
    with gathered(bag, recording.scratch, numbers_only=numbers_only) as gathering:
        notes = Notes()
        series = series_of(gathering, notes)
        shots = shots_of(gathering)
        promised = any(known.streams for known in gathering.own.values())
        if not series and not shots and not promised:
            raise _nothing(recording, gathering)
        start_ns = _start(recording, bag, gathering, series, shots)
        home = _sitting(recording, gathering, bag, date_of(start_ns))
        notes.assumed[:0] = home.assumed
        naming = Naming(home, notes, recording.said.ignore, recording.said.accept_mapping)
        _streams(series, gathering, naming, start_ns)
        depth_streams(shots, gathering, naming, start_ns)
        videos = videos_of(shots, gathering, naming, start_ns, recording.film)
        if not naming.streams and not videos:
            raise _nothing(recording, gathering, "; ".join(notes.missing[:5]))
        for file in recording.bag.files:
            notes.sha256[file] = sha256_file(recording.bag.root / file)
        _tell(recording, bag, gathering, notes)
        told = _manifest(bag)
        if told is None:
            notes.doubt(naming.streams, home.body)
        events = told.events if told is not None else _events(gathering, start_ns, notes)
        facts = _facts(recording, bag, gathering, naming, start_ns)
        labels = _labels(gathering, notes)
    session = home.session
    if recording.said.operator is None and recording.said.embodiment is None:
        session = _session(bag) or session
    return Draft(session, facts, naming.streams, videos, events, labels, tuple(notes.findings))


def _sitting(
    recording: Recording, gathering: Gathering, bag: Bag, began: datetime | None
) -> Sitting:
    """Make the session; one that came with the recording keeps its words."""
    told = _session(bag)
    robot = gathering.robot
    if told is not None:
        robot = told.embodiment
    return sitting(
        recording.first,
        robot,
        told.started_at if told is not None else began,
        recording.said,
        operator=told.operator if told is not None else None,
        format=recording.format,
        licence=told.consent.licence if told is not None else "unknown",
    )


def _session(bag: Bag) -> Session | None:
    content = bag.attachments.get(SESSION)
    try:
        return None if content is None else read(Session, content, where=SESSION)
    except DemosError:
        return None


def _manifest(bag: Bag) -> Manifest | None:
    content = bag.attachments.get(MANIFEST)
    try:
        return None if content is None else read(Manifest, content, where=MANIFEST)
    except DemosError:
        return None


def _start(
    recording: Recording,
    bag: Bag,
    gathering: Gathering,
    series: list[Series],
    shots: list[Shot],
) -> int:
    """Return the moment from which stamps count. Raises ImportFailed for stamps out of reach."""
    clocks = [each.clock.time_ns for each in series] + [each.clock.time_ns for each in shots]
    clocks += [
        settle(moments, topic, asis=topic in gathering.own).time_ns
        for topic, moments in gathering.seen.items()
    ]
    clocks = [clock for clock in clocks if len(clock)]
    first = [int(clock.min()) for clock in clocks] + [each.time_ns for each in gathering.words]
    first += [moment for moment, _ in gathering.static.values()]
    last = max((int(clock.max()) for clock in clocks), default=0)
    start = min(first, default=0)
    if last - start > MOST_NS:
        days = (last - start) / 86_400e9
        raise ImportFailed(
            f"the stamps of {recording.name} reach over {days:.0f} days: one of them is damaged"
        ).with_hint("cut the bag to the part that is meant, or mend its stamps")
    told = bag.metadata.get(KEY, {}).get("start_ns", "")
    if told.isdigit() and 0 <= start - int(told) < MOST_NS:
        return int(told)
    return start


def _streams(series: list[Series], gathering: Gathering, naming: Naming, start_ns: int) -> None:
    stamps: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
    for each in series:
        known = gathering.own.get(each.topic)
        if known is None:
            name_series(each, naming, start_ns)
        elif known.streams:
            restore(each, known, naming, start_ns)
        elif known.source_of and each.values.dtype == np.int64:
            stamps |= dict.fromkeys(known.source_of, each.values[:, 0])
    heard = {topic for topic, _ in gathering.heard}
    for topic, known in gathering.own.items():
        for meant in (known.streams or {}).values() if topic not in heard else ():
            naming.add(meant.name, meant.empty(), topic)
    for name, source_ns in stamps.items():
        stream = naming.streams.get(name)
        if stream is not None and len(stream) == len(source_ns):
            naming.streams[name] = Stream(
                stream.time_ns, stream.values, stream.info, source_ns.copy(), stream.arrival_ns
            )


def _tell(recording: Recording, bag: Bag, gathering: Gathering, notes: Notes) -> None:
    """Say what was left out and what is damaged."""
    for (topic, kind, reason), count in sorted(gathering.unread.items()):
        notes.missing.append(f"{topic} ({kind or 'no type'}): {count} messages, {reason}")
    for topic, reason in sorted(gathering.lost.items()):
        notes.missing.append(f"{topic}: {reason}")
    notes.missing += bag.left
    for topic, count in sorted(gathering.damaged.items()):
        notes.find(
            "damaged",
            f"{count} messages of {topic} cannot be decoded and are left out",
            "copy the bag again from its source",
        )
    for what in bag.broken:
        notes.find("broken", what, "what lies before it was read; run the recorder's repair")
    if not any(each.definition for each in bag.topics):
        notes.assumed.append(
            "types: the bag defines none, those of ROS 2 Foxy are used (the same since Dashing)"
            if not recording.format.endswith("ros1")
            else "types: the bag defines none, those of ROS 1 Noetic are used"
        )
    if _manifest(bag) is None:
        notes.assumed.append(
            "one bag is one episode: it does not say where an attempt begins or ends"
        )
    elif gathering.own and KEY not in bag.metadata:
        notes.assumed.append("time zero: the first stamp, the file does not say it")


def _events(gathering: Gathering, start_ns: int, notes: Notes) -> tuple[Event, ...]:
    found = []
    for (parent, child), (moment, values) in gathering.static.items():
        pose = {"parent": parent, "child": child, "position_m": list(values[:3])}
        pose["quaternion_xyzw"] = list(values[3:])
        if np.isfinite(values).all():
            found.append(Event(name="static_transform", time_ns=moment - start_ns, values=pose))
    for told in gathering.words:
        value = {"value": told.value}
        found.append(Event(name=flat(told.topic), time_ns=told.time_ns - start_ns, values=value))
    for topic, count in sorted(gathering.changes.items()):
        notes.assumed.append(f"{topic}: an event wherever it changes")
        if count > MOST_WORDS:
            notes.missing.append(f"{topic}: changes {count} times, the first {MOST_WORDS} are kept")
    return tuple(found)


def _labels(gathering: Gathering, notes: Notes) -> tuple[Label, ...]:
    found = []
    for kind, text in gathering.records:
        if kind == LABELS:
            try:
                found.append(Label.model_validate_json(text))
            except ValueError:
                notes.missing.append("a label that cannot be read")
    return tuple(found)


def _facts(
    recording: Recording, bag: Bag, gathering: Gathering, naming: Naming, start_ns: int
) -> Facts:
    notes, told = naming.notes, _manifest(bag)
    known = {}
    if told is not None:
        known = {key: getattr(told, key) for key in Facts.model_fields if key != "provenance"}
    recorded = date_of(start_ns) or modified(recording.first)
    if told is None and recording.said.task is None:
        notes.assumed.append("task: a bag names none, the file's name stands in")
    if told is not None:
        notes.assumed.append(f"exported from episode {told.id}; its facts and labels come along")
    topics = {
        topic: {"type": kind, "messages": count}
        for (topic, kind), count in sorted(gathering.heard.items())
    }
    mine = {
        "task": recording.said.task or known.get("task") or task_id(recording.name),
        "recorded_at": known.get("recorded_at", recorded),
        "factors": {**known.get("factors", {}), **recording.said.factors},
    }
    provenance = notes.provenance(
        recording.name,
        recording.format,
        recovered=any("breaks off" in each for each in bag.broken),
        parameters={
            "source_episode": recording.name,
            "start_ns": start_ns,
            "topics": topics,
            "stream_topics": dict(sorted(naming.topics.items())),
            **({"ignored": list(recording.said.ignore)} if recording.said.ignore else {}),
        },
    )
    return Facts(**{**known, **mine, "provenance": provenance})


def _reason(kind: str) -> str:
    return "words alone" if kind in ("std_msgs/msg/String", "std_msgs/msg/Bool") else "not enough"


def _nothing(recording: Recording, gathering: Gathering, more: str = "") -> ImportFailed:
    unread = {topic: reason for topic, _, reason in gathering.unread}
    held = [
        f"{topic} ({kind or 'no type'}, {count} messages: {unread.get(topic, _reason(kind))})"
        for (topic, kind), count in gathering.heard.items()
    ]
    lost = [f"{topic}: {reason}" for topic, reason in gathering.lost.items()]
    lost += [f"{topic}: {n} damaged messages" for topic, n in gathering.damaged.items()]
    listed = ", ".join(held[:12]) + (f" and {len(held) - 12} more" if len(held) > 12 else "")
    why = "; ".join([*lost[:4], *([more] if more else [])])
    return ImportFailed(
        f"{recording.name} holds nothing that a robot would learn from: "
        f"{listed or 'no message'}{f' ({why})' if why else ''}"
    ).with_hint(f"record {_LEARNED} as ordinary ROS messages")
