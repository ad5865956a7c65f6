"""What is known already: the newest results of each episode, and the keys they carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from demos.errors import EpisodeNotFound
from demos.model import Finding, Label, Score
from demos.provenance import sha256_file
from demos.store import EpisodeStore, layout

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
_WHOLE = ("start_ns", "end_ns")


def newest(store: EpisodeStore, kind: str) -> dict[str, list[Row]]:
    """Return per episode the rows of the newest run that speaks of it.

    Runs are ULIDs, which sort by time; what was published with an episode is older than any.
    """
    table = store.results(kind)
    if table.empty:
        return {}
    run = table.pop("run").astype(str)
    age = run.where(run.str.len() == 26, "")
    table = table[age == age.groupby(table["episode"]).transform("max")]
    names = [str(name) for name in table.columns]
    columns = [_plain_column(table[name]) for name in names]
    found: dict[str, list[Row]] = {}
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True))
        found.setdefault(row["episode"], []).append(row)
    return found


def _plain_column(column: pd.Series[Any]) -> list[Any]:
    """Return a column as plain values, None where one is missing."""
    missing = column.isna().to_numpy()
    values = [v.tolist() if isinstance(v, np.ndarray) else v for v in column.tolist()]
    if missing.any():
        return [None if gone else v for v, gone in zip(values, missing, strict=True)]
    return values


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Lay rows out as a table; moments stay whole numbers where some are missing."""
    import pandas as pd

    table = pd.DataFrame(rows)
    for name in _WHOLE:
        if name in table:
            table[name] = pd.array(
                [None if v is None else int(v) for v in (row.get(name) for row in rows)],
                dtype="Int64",
            )
    return table


def keys_of(store: EpisodeStore, episode: str, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """Return per plug-in the key of its answer for an episode. Raises EpisodeNotFound."""
    path = layout.episode_dir(store.root, episode) / layout.MANIFEST
    if not path.is_file():
        raise EpisodeNotFound.among(episode, store.episode_ids())
    manifest = sha256_file(path)
    return {name: digest(manifest, name, said) for name, said in fingerprints.items()}


def digest(*parts: object) -> str:
    """Hash plain values to 32 hex digits."""
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def finding_rows(findings: Iterable[Finding]) -> list[Row]:
    """Turn findings into rows."""
    return [finding.model_dump(mode="json") for finding in findings]


def score_rows(scores: Iterable[Score]) -> list[Row]:
    """Turn scores into rows; spans are JSON text, so that every part has the same columns."""
    return [{**score.model_dump(mode="json"), "spans": json.dumps(score.spans)} for score in scores]


def findings_in(rows: Iterable[Row]) -> list[Finding]:
    """Read findings back from rows."""
    names = Finding.model_fields
    whole = [{**row, **{n: _int(row.get(n)) for n in _WHOLE}} for row in rows]
    return [Finding(**{n: v for n, v in row.items() if n in names}) for row in whole]


def scores_in(rows: Iterable[Row]) -> list[Score]:
    """Read scores back from rows."""
    names = Score.model_fields
    return [
        Score(
            **{
                **{n: v for n, v in row.items() if n in names},
                "spans": tuple((a, b) for a, b in json.loads(row.get("spans") or "[]")),
            }
        )
        for row in rows
    ]


def labels_in(rows: Iterable[Row]) -> list[Label]:
    """Read proposed labels back from rows."""
    return [Label.model_validate_json(row["label"]) for row in rows]


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
