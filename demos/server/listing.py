"""The list page's logic: filters become one expression that a person can use elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from demos.library import Selection, Store

FACETS = ("task", "operator", "outcome", "verdict", "session")
UNSET = "(none)"
MOST_ROWS = 2000


def facets(store: Store) -> dict[str, list[str]]:
    """List the values that occur in each filter's column; `(none)` stands for a missing one."""
    rows = store.select("").rows(list(FACETS))
    return {
        name: sorted({str(row[k]) if row[k] else UNSET for row in rows})
        for k, name in enumerate(FACETS)
    }


def expression(chosen: Mapping[str, Sequence[str]], free: str = "") -> str:
    """Join the chosen values and the free expression into one filter expression."""
    parts = [f"({free.strip()})"] if free.strip() else []
    for name, values in chosen.items():
        named = [value for value in values if value != UNSET]
        either = [f"{name} in {named!r}"] if named else []
        if UNSET in values:
            either.append(f"{name} in ['', None] or {name} == None")
        if either:
            parts.append(f"({' or '.join(either)})")
    return " and ".join(parts)


def shown(picked: Selection) -> pd.DataFrame:
    """Return the table a person sees: at most 2,000 rows, words for missing values."""
    table = picked.table.head(MOST_ROWS)
    factors = [name for name in table if str(name).startswith("factor.")]
    front = ["recorded_at", "task", "outcome", "verdict", "operator", "duration_s", "findings"]
    columns = [*front, *factors, "intent", "origin", "images", "labels", "session", "id"]
    return table[columns].rename(columns={name: str(name)[7:] for name in factors})


def most_limiting(store: Store, chosen: Mapping[str, Sequence[str]], free: str) -> str:
    """Name the filter without which most episodes would be left; empty where none helps."""
    best, name = 0, ""
    for left_out in [*(key for key, values in chosen.items() if values), "expression"]:
        rest = {key: values for key, values in chosen.items() if key != left_out}
        text = "" if left_out == "expression" else free
        found = len(store.select(expression(rest, text)))
        if found > best:
            best, name = found, left_out
    return name
