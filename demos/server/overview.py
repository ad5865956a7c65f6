"""The overview page's numbers: hours, outcomes per operator, plans and what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demos import task as tasks
from demos._content import content
from demos.coverage import Coverage, coverage, facts_in
from demos.model.contracts import Plan

if TYPE_CHECKING:
    import pandas as pd

    from demos.library import Store


def outcomes_by(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Count episodes per value of a column (rows) and outcome (columns)."""
    import pandas as pd

    outcomes = table["outcome"].replace("", None).fillna("not decided")
    return pd.crosstab(table[column].fillna("unknown"), outcomes)


def hours_by(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sum up episodes, hours and the share of successes per value of a column."""
    groups = table.assign(success=table["outcome"] == "success").groupby(column)
    summed = groups.agg(
        episodes=("id", "size"), hours=("duration_s", "sum"), success=("success", "mean")
    )
    summed["hours"] /= 3600
    return summed.reset_index()


def plans(store: Store) -> dict[str, Plan]:
    """Read the coverage plans of this store, and those that ship, for tasks that occur in it."""
    occurring = {row[0] for row in store.select("").rows(["task"])}
    folders = (content("schemas") / "plans", store.root / "plans")
    names = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    found = {name: tasks.load_plan(name, store.root) for name in names if "@" not in name}
    return {name: plan for name, plan in found.items() if plan.task in occurring}


def covered(plan: Plan, table: pd.DataFrame) -> Coverage:
    """Count the store's successful episodes over a plan's cells."""
    return coverage(plan, facts_in(table))
