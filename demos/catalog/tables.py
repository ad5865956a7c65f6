"""The tables of the catalog, and the file that holds them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from demos.model import Label

VERSION = 3
FILE = "catalog.sqlite"

COLUMNS: dict[str, str] = {
    "id": "text primary key",
    "session": "text",
    "task": "text",
    "embodiment": "text",
    "operator": "text",
    "recorded_at": "text",
    "duration_s": "real",
    "outcome": "text",
    "outcome_by": "text",
    "outcome_confidence": "real",
    "verdict": "text",
    "reasons": "text",
    "intent": "text",
    "origin": "text",
    "instruction": "text",
    "trial_index": "integer",
    "minutes_since_break": "real",
    "cameras": "integer",
    "images": "integer",
    "streams": "text",
    "findings": "integer",
    "labels": "integer",
    "recovered": "integer",
    "source": "text",
    "site": "text",
    "licence": "text",
    "size_mb": "real",
}
"""The catalog's own columns; factors, scores and serial numbers come beside them.

`outcome_by` is the role of who said the outcome that holds, `outcome_confidence` how sure: an
outcome by a machine at 0.1 is a guess.
"""

_HIDDEN = {"factors": "text", "scores": "text", "hardware": "text", "manifest_sha256": "text"}


def connected(path: Path) -> sqlite3.Connection:
    """Open the catalog at `path`, made anew where it is missing, damaged or of another release.

    A store that is read-only is still readable: it is indexed in memory.
    """
    try:
        return _opened(path)
    except sqlite3.DatabaseError:
        pass
    try:
        for leftover in path.parent.glob(f"{path.name}*"):
            leftover.unlink()
        return _opened(path)
    except (sqlite3.DatabaseError, OSError):
        return _opened(":memory:")


def _opened(path: Path | str) -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
    try:
        found = base.execute("pragma user_version").fetchone()[0]
        if found == 0:
            _create(base)
    except BaseException:
        base.close()
        raise
    if found not in (0, VERSION):
        base.close()
        raise sqlite3.DatabaseError(f"catalog of version {found}")
    return base


def _create(base: sqlite3.Connection) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, kind in {**COLUMNS, **_HIDDEN}.items())
    base.executescript(
        f"""
        pragma journal_mode = wal;
        begin immediate;
        create table if not exists episodes ({columns});
        create index if not exists by_time on episodes (recorded_at desc, id desc);
        create index if not exists by_task on episodes (task, outcome);
        create index if not exists by_session on episodes (session);
        create table if not exists opinions (id text primary key, episode text, body text);
        create index if not exists of_episode on opinions (episode);
        create table if not exists results (
            kind text, episode text, run text, path text, body text);
        create index if not exists result_of on results (episode, kind);
        create table if not exists ledgers (name text primary key, offset integer);
        create table if not exists unread (path text primary key, reason text);
        pragma user_version = {VERSION};
        commit;
        """
    )


def opinions(base: sqlite3.Connection, episode: str) -> list[Label]:
    """Return every label and proposal of one episode, oldest first."""
    rows = base.execute("select body from opinions where episode = ?", (episode,))
    found = [Label.model_validate_json(body) for (body,) in rows]
    proposed = results(base, "proposals", episode)
    found += [Label.model_validate_json(row["label"]) for row in proposed]
    return sorted(found, key=lambda label: (label.created_at, label.id))


def results(base: sqlite3.Connection, kind: str, episode: str) -> list[dict[str, Any]]:
    """Read what the latest run of one kind said of an episode."""
    rows = base.execute(
        "select body from results where kind = ? and episode = ? order by rowid", (kind, episode)
    )
    return [json.loads(body) for (body,) in rows]
