"""Labels that a machine proposes. A function in a file here proposes one kind of label.

Proposals stand beside people's labels and never replace them. They see signals only: no label,
least of all a simulator's, is an input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from demos import task as tasks
from demos._registry import Registry
from demos.errors import MissingExtra, StoreError, UnknownName
from demos.model import Episode, Label, Span, Task, Tier
from demos.model.records import LabelKind
from demos.provenance import new_label

Propose = Callable[[Episode, Task], "Proposed"]


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a proposal says: a value or spans, how sure it is, and a note in words.

    With nothing to say it answers without value and spans, and the note says why.
    """

    value: str = ""
    spans: Sequence[Span] = ()
    confidence: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A way to propose one kind of label."""

    name: str
    propose: Propose
    of: LabelKind
    version: int

    @property
    def summary(self) -> str:
        """The first line of the proposal's docstring, shown by the CLI and the viewer."""
        return (self.propose.__doc__ or "").strip().splitlines()[0]

    @property
    def annotator(self) -> str:
        """The name that stands on its labels."""
        return f"{self.name}/{self.version}"


proposals: Registry[Proposal] = Registry("proposal", __name__)


def proposal(*, of: LabelKind, version: int = 1) -> Callable[[Propose], Propose]:
    """Register the decorated function as a proposal of `of` labels under its own name.

    Raise `version` when its answers change: stored proposals are then made anew.
    """

    def register(propose: Propose) -> Propose:
        name = propose.__name__
        proposals.add(name, Proposal(name, propose, of, version))
        return propose

    return register


def propose(
    episode: Episode, task: Task | None = None, names: Iterable[str] | None = None
) -> list[Label]:
    """Propose labels for an episode, one label for each proposal, or for the named ones.

    A proposal that crashes says so in its note; the others go on. Raises StoreError where the
    episode cannot be read, MissingExtra where a package is not installed.
    """
    contract = task or task_of(episode)
    bare = Episode(episode.manifest, episode.streams, episode.cameras, root=episode.root)
    return [_label(bare, contract, proposals[name]) for name in (names or proposals)]


def task_of(episode: Episode) -> Task:
    """Return the task an episode names; of an undescribed one, all phases on every tier."""
    try:
        path = tasks.file(episode.task, episode.root)
    except UnknownName:
        phases = tuple(phase.id for phase in tasks.vocabulary().phases)
        return Task(
            id=episode.task,
            title=episode.task,
            instruction=episode.manifest.instruction,
            guideline="0.0.0",
            tiers=tuple(Tier(name=n, phases=phases) for n in ("task", "left_hand", "right_hand")),
            outcomes={},
        )
    return _read(episode.task, episode.root, path.stat().st_mtime_ns)


@cache
def _read(name: str, root: Path | None, _changed_ns: int) -> Task:
    # a team may edit its tasks while the viewer runs
    return tasks.load(name, root)


def _label(episode: Episode, contract: Task, chosen: Proposal) -> Label:
    try:
        said = chosen.propose(episode, contract)
    except (StoreError, MissingExtra):
        raise
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the batch goes on
        said = Proposed(note=f"failed: {type(error).__name__}: {error}", confidence=0.0)
    return new_label(
        episode.id,
        chosen.of,
        annotator=chosen.annotator,
        role="machine",
        guideline=contract.guideline,
        value=said.value,
        spans=said.spans,
        confidence=said.confidence,
        note=said.note,
    )
