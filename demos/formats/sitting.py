"""What all episodes of one foreign source share: its session, its body, what was assumed of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from demos import embodiment as embodiments
from demos.formats.names import word
from demos.formats.options import Options
from demos.mapping.conversion import source_for, words
from demos.model import Consent, Embodiment, Hardware, Session, SourceMapping
from demos.provenance import new_id


@dataclass(frozen=True, slots=True)
class Sitting:
    """A session made for a source, the body that was recognised, and the assumptions so far.

    `chosen`: a person named the body, so its channels must fit; one that was only recognised may
    fit in part. `source`: how this kind of source speaks of the body, where the body says so.
    """

    session: Session
    body: Embodiment | None
    assumed: tuple[str, ...]
    chosen: bool = False
    source: SourceMapping | None = None


def sitting(
    root: Path,
    robot: str,
    began: datetime | None,
    said: Options,
    *,
    operator: str | None = None,
    format: str = "",
    licence: str = "unknown",
    software: dict[str, str] | None = None,
    serials: dict[str, str] | None = None,
) -> Sitting:
    """Make the session of a source and say what that assumes.

    `robot` is the source's own name for the body, by which it is recognised where nobody named
    one. `began` None: the source has no date, the file's modification time stands in. `operator`
    is whom the source names, where the person who imports names nobody.
    `format` is what wrote it, `software` further programs and their versions, `serials` the
    numbers of robot and sensors. By the robot's name or the format the body may know how the
    source departs from its own words (`sources`).
    """
    from demos.formats.files import modified

    assumed: list[str] = []
    body, operator = said.embodiment, said.operator or operator
    chosen = body is not None
    if body is None and (found := embodiments.recognise(robot, said.store)):
        body = found
        assumed.append(f"embodiment {found.id}, from the robot's name {robot!r}")
    elif body is None:
        assumed.append(
            f"the robot {robot or 'unknown'!r} is no known embodiment: "
            "channels keep the source's names"
        )
    told = source_for(body, robot, format.split(" ")[0]) if body is not None else None
    if body is not None and told is not None:
        assumed += words(*told, body)
    if operator is None:
        assumed.append("operator: unknown")
    if began is None:
        began = modified(root)
        assumed.append("dates: the source has none, the files' modification times are used")
    session = Session(
        id=new_id(),
        embodiment=body.id if body else word(robot or "unknown"),
        operator=operator or "unknown",
        started_at=began,
        hardware=Hardware(
            robot=robot or "unknown",
            serials=serials or {},
            software={**({"format": format} if format else {}), **(software or {})},
        ),
        consent=Consent(licence=licence),
        note=f"imported from {root.name}",
    )
    return Sitting(session, body, tuple(assumed), chosen, told[1] if told else None)
