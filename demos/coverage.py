"""Which cells of a declared plan the data fills, which are empty, and what to record next.

Only successful episodes that are still there count. Counting is a reduction: partitions are counted
on their own and added up, so the answer does not depend on how episodes are spread or in which
order they are read. What the plan does not know (a factor nobody declared, a level it does not
list) is counted by name, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

from demos import labels
from demos.model import Label, Manifest, Plan
from demos.model.records import Scalar

if TYPE_CHECKING:
    import pandas as pd

Levels = tuple[str, ...]
MISSING = "(not declared)"
SURE = 0.5


@dataclass(frozen=True, slots=True)
class Fact:
    """What coverage must know of one episode."""

    episode: str
    task: str
    outcome: str
    factors: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counted episodes of one partition: per cell, and what the plan does not know.

    cells: levels in the order of the plan's factors -> episodes. unknown: (factor, value) ->
    episodes that count for no cell because of it. other: episodes that do not count, by reason.
    """

    cells: Counter[Levels]
    unknown: Counter[tuple[str, str]]
    other: Counter[str]

    def __add__(self, more: Counts) -> Counts:
        return Counts(self.cells + more.cells, self.unknown + more.unknown, self.other + more.other)


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of levels, how many episodes it has and how many it should have."""

    levels: Levels
    count: int
    target: int
    forbidden: bool = False

    @property
    def lacks(self) -> int:
        """How many episodes are still to be recorded."""
        return 0 if self.forbidden else max(self.target - self.count, 0)


@dataclass(frozen=True, slots=True)
class Coverage:
    """A plan and how far the data fills it."""

    plan: Plan
    cells: tuple[Cell, ...]
    unknown: tuple[tuple[str, str, int], ...]
    other: tuple[tuple[str, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The factors, in the plan's order."""
        return tuple(factor.name for factor in self.plan.factors)

    @property
    def possible(self) -> tuple[Cell, ...]:
        """The cells that are not forbidden."""
        return tuple(cell for cell in self.cells if not cell.forbidden)

    @property
    def holes(self) -> tuple[Cell, ...]:
        """The cells with fewer episodes than the target, in the plan's order."""
        return tuple(cell for cell in self.cells if cell.lacks)

    @property
    def filled(self) -> int:
        """How many possible cells have reached the target."""
        return len(self.possible) - len(self.holes)

    @property
    def share(self) -> float:
        """The share of the possible cells that have reached the target, 0..1."""
        return self.filled / len(self.possible) if self.possible else 1.0

    def table(self) -> pd.DataFrame:
        """One row a cell: a column per factor, then count, target, lacks, forbidden."""
        import pandas as pd

        rows = [
            {
                **dict(zip(self.names, cell.levels, strict=True)),
                "count": cell.count,
                "target": cell.target,
                "lacks": cell.lacks,
                "forbidden": cell.forbidden,
            }
            for cell in self.cells
        ]
        return pd.DataFrame(rows)


def fact(manifest: Manifest, opinions: Iterable[Label]) -> Fact:
    """Say what coverage must know of an episode whose labels are `opinions`.

    An outcome that only a machine proposed, with a confidence below 0.5, is `unsure`.
    """
    label = labels.current(opinions, "outcome")
    outcome = label.value if label is not None else ""
    if label is not None and label.role == "machine" and (label.confidence or 0.0) < SURE:
        outcome = "unsure"
    return Fact(manifest.id, manifest.task, outcome, manifest.factors)


def facts_in(episodes: pd.DataFrame) -> list[Fact]:
    """Read facts from a table of episodes: columns id, task, outcome, `factor.<name>`."""
    found = []
    for row in episodes.to_dict("records"):
        factors = {
            str(name).removeprefix("factor."): value
            for name, value in row.items()
            if str(name).startswith("factor.") and value == value and value is not None
        }
        found.append(Fact(str(row["id"]), str(row["task"]), str(row["outcome"] or ""), factors))
    return found


def counted(plan: Plan, facts: Iterable[Fact]) -> Counts:
    """Count one partition."""
    counts = Counts(Counter(), Counter(), Counter())
    known = {factor.name: {spelled(level) for level in factor.levels} for factor in plan.factors}
    for one in facts:
        if one.task != plan.task:
            counts.other["another task"] += 1
            continue
        if one.outcome != "success":
            counts.other[one.outcome or "no outcome"] += 1
            continue
        levels = tuple(spelled(one.factors.get(name)) for name in known)
        strange = [
            (name, level)
            for name, level in zip(known, levels, strict=True)
            if level not in known[name]
        ]
        for pair in strange:
            counts.unknown[pair] += 1
        if not strange:
            counts.cells[levels] += 1
    return counts


def nothing() -> Counts:
    """Return the count of no episodes."""
    return Counts(Counter(), Counter(), Counter())


def covered(plan: Plan, counts: Counts) -> Coverage:
    """Lay counts out over the plan's cells."""
    spaces = [[spelled(level) for level in factor.levels] for factor in plan.factors]
    names = [factor.name for factor in plan.factors]
    cells = tuple(
        Cell(levels, counts.cells[levels], plan.target, _forbidden(plan, names, levels))
        for levels in product(*spaces)
    )
    unknown = tuple((name, level, n) for (name, level), n in sorted(counts.unknown.items()))
    return Coverage(plan, cells, unknown, tuple(sorted(counts.other.items())))


def coverage(plan: Plan, facts: Iterable[Fact]) -> Coverage:
    """Count episodes over the cells of a plan."""
    return covered(plan, counted(plan, facts))


def cells(plan: Plan, episodes: pd.DataFrame) -> pd.DataFrame:
    """Count a table of episodes over the cells of a plan; see `Coverage.table`."""
    return coverage(plan, facts_in(episodes)).table()


def proposed(found: Coverage, number: int) -> list[dict[str, str]]:
    """Say what to record next: at most `number` cells, as factor -> level.

    Greedy: the hole that brings the most pairs of levels nobody has recorded; of equals the one
    that changes the fewest factors from the one before (fewer set-up changes; Gao 2024 calls it
    a stair), then the one that lacks most, then the plan's order. A cell that lacks several
    episodes comes up again.
    """
    seen = {pair for cell in found.cells if cell.count for pair in _pairs(cell.levels)}
    open_cells = {cell.levels: cell.lacks for cell in found.holes}
    order = {levels: i for i, levels in enumerate(open_cells)}
    chosen: list[Levels] = []
    while open_cells and len(chosen) < number:
        last = chosen[-1] if chosen else None
        best = max(
            open_cells,
            key=lambda levels: (
                len(_pairs(levels) - seen),
                -_changes(last, levels),
                open_cells[levels],
                -order[levels],
            ),
        )
        chosen.append(best)
        seen |= _pairs(best)
        open_cells[best] -= 1
        if not open_cells[best]:
            del open_cells[best]
    return [dict(zip(found.names, levels, strict=True)) for levels in chosen]


def spelled(level: Scalar) -> str:
    """Write a level as text, so that 1 in a plan and "1" from a command line are one level."""
    if level is None:
        return MISSING
    if isinstance(level, bool):
        return str(level).lower()
    # a column of a table with holes turns whole numbers into floats
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def _forbidden(plan: Plan, names: Sequence[str], levels: Levels) -> bool:
    own = dict(zip(names, levels, strict=True))
    return any(
        all(own.get(name) == spelled(level) for name, level in combination.items())
        for combination in plan.forbidden
    )


def _pairs(levels: Levels) -> set[tuple[int, str, int, str]]:
    if len(levels) == 1:
        return {(0, levels[0], 0, levels[0])}
    return {(i, levels[i], j, levels[j]) for i, j in combinations(range(len(levels)), 2)}


def _changes(before: Levels | None, levels: Levels) -> int:
    return sum(a != b for a, b in zip(before, levels, strict=True)) if before else 0
