"""The table of all episodes: an SQLite index of the files, rebuildable from them at any time.

Every fact lives in a file; this only finds it fast. The catalog follows the ledgers: it keeps how
many bytes of each ledger it has read and takes in what was appended since, so that several
processes may publish while others look.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from demos import labels
from demos.errors import DemosError, EpisodeNotFound, StoreError
from demos.model import Label, LedgerEntry, Manifest, Session
from demos.schema import read

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
Progress = Callable[[int, int], None]


class Catalog:
    """The index of one store. Open it, `sync` it, ask it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._turn = threading.Lock()  # threads share the connection
        self._sessions: dict[str, Session] = {}
        self._base = self._connect(root / FILE)

    def close(self) -> None:
        """Close the database."""
        self._base.close()

    def sync(self, progress: Progress | None = None) -> int:
        """Take in what the ledgers say since the last time; return how many files were new.

        Raises StoreError where the catalog cannot be written.
        """
        pending = list(self._pending())
        if not pending:
            return 0
        with self._turn, self._writing():
            # another process may have been here between the look and the lock
            pending = list(self._pending())
            total = sum(len(entries) for _, entries, _ in pending)
            done, touched = 0, set[str]()
            for _, entries, _ in pending:
                for entry in entries:
                    touched |= self._take_in(entry)
                    done += 1
                    if progress is not None:
                        progress(done, total)
            self._resolve(touched)
            self._base.executemany(
                "insert or replace into ledgers values (?, ?)",
                [(name, offset) for name, _, offset in pending],
            )
        return total

    def rebuild(self, progress: Progress | None = None) -> int:
        """Forget everything and read the files again; return how many were read."""
        with self._turn, self._writing():
            for table in ("episodes", "opinions", "ledgers", "results", "unread"):
                self._base.execute(f"delete from {table}")
        return self.sync(progress)

    def rows(
        self,
        columns: Sequence[str],
        where: str = "1",
        values: Sequence[Any] = (),
        *,
        limit: int | None = None,
    ) -> list[tuple[Any, ...]]:
        """Read rows, newest recording first. `columns` and `where` are SQL of our own making."""
        query = (
            f"select {', '.join(columns)} from episodes where {where}"
            " order by recorded_at desc, id desc"
        )
        if limit is not None:
            query += f" limit {int(limit)}"
        return self._base.execute(query, tuple(values)).fetchall()

    def count(self, where: str = "1", values: Sequence[Any] = ()) -> int:
        """Count the episodes that fit."""
        query = f"select count(*) from episodes where {where}"
        return int(self._base.execute(query, tuple(values)).fetchone()[0])

    def ids(self) -> list[str]:
        """List all episode ids, oldest first (ULIDs sort by time)."""
        return [row[0] for row in self._base.execute("select id from episodes order by id")]

    def full_id(self, start: str) -> str:
        """Return the one id that begins or ends with `start`. Raises EpisodeNotFound."""
        wanted = start.upper()
        if wanted and wanted.isalnum():
            found = self._base.execute(
                "select id from episodes where id like ? or id like ? limit 2",
                (f"{wanted}%", f"%{wanted}"),
            ).fetchall()
            if len(found) == 1:
                return str(found[0][0])
            if found:
                raise EpisodeNotFound(
                    f"{start!r} fits {found[0][0]}, {found[1][0]} and perhaps more"
                ).with_hint("give more of the id")
        raise EpisodeNotFound.among(start, self.ids())

    def names(self) -> dict[str, list[str]]:
        """List the factors, scored metrics and serial numbers that occur, by filter prefix."""
        return {
            "factor": self._keys("factors"),
            "score": self._keys("scores"),
            "hardware": self._keys("hardware"),
        }

    def unread(self) -> dict[str, str]:
        """Say which published files could not be taken in, and why; `demos verify` says more."""
        return dict(self._base.execute("select path, reason from unread order by path").fetchall())

    @property
    def in_memory(self) -> bool:
        """Whether the catalog could not be written to the store's folder."""
        return not self._base.execute("pragma database_list").fetchone()[2]

    def opinions(self, episode: str) -> list[Label]:
        """Return every label and proposal of one episode, oldest first."""
        rows = self._base.execute("select body from opinions where episode = ?", (episode,))
        found = [Label.model_validate_json(body) for (body,) in rows]
        found += [
            Label.model_validate_json(row["label"]) for row in self._results(episode, "proposals")
        ]
        return sorted(found, key=lambda label: (label.created_at, label.id))

    def _results(self, episode: str, kind: str) -> list[dict[str, Any]]:
        rows = self._base.execute(
            "select body from results where episode = ? and kind = ?", (episode, kind)
        )
        return [json.loads(body) for (body,) in rows]

    def results(self, kind: str, episode: str) -> list[dict[str, Any]]:
        """Read what the latest run of one kind said of an episode: findings, scores, gaps."""
        rows = self._base.execute(
            "select body from results where kind = ? and episode = ? order by rowid",
            (kind, episode),
        )
        return [json.loads(body) for (body,) in rows]

    def _keys(self, column: str) -> list[str]:
        query = f"select distinct key from episodes, json_each(episodes.{column}) order by key"
        return [row[0] for row in self._base.execute(query)]

    def _connect(self, path: Path) -> sqlite3.Connection:
        try:
            return _opened(path)
        except sqlite3.DatabaseError:
            pass
        try:
            for leftover in path.parent.glob(f"{path.name}*"):
                leftover.unlink()
            return _opened(path)
        except (sqlite3.DatabaseError, OSError):
            # a read-only store is still readable: index it in memory
            return _opened(":memory:")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._base.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.root / FILE} cannot be written: {error}").with_hint(
                "another process may be indexing; try again"
            ) from error
        try:
            yield
        except BaseException:
            self._base.execute("rollback")
            raise
        self._base.execute("commit")

    def _pending(self) -> Iterator[tuple[str, list[LedgerEntry], int]]:
        read_to = dict(self._base.execute("select name, offset from ledgers").fetchall())
        for path in sorted((self.root / "ledger").glob("*.jsonl")):
            start = read_to.get(path.name, 0)
            if path.stat().st_size <= start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            if whole:
                yield path.name, list(_entries(whole)), start + len(whole)

    def _take_in(self, entry: LedgerEntry) -> set[str]:
        """Index one published or withdrawn file; return the episodes that it touches."""
        parts = entry.path.split("/")
        self._base.execute("delete from unread where path = ?", (entry.path,))
        if entry.action == "withdrawn":
            if parts[0] == "episodes" and len(parts) >= 3:
                self._base.execute("delete from episodes where id = ?", (parts[2],))
                for table in ("opinions", "results"):
                    self._base.execute(f"delete from {table} where episode = ?", (parts[2],))
            elif parts[0] == "results":
                self._base.execute("delete from results where path = ?", (entry.path,))
            return set()
        path = self.root / entry.path
        try:
            if parts[0] == "episodes" and parts[-1] == "manifest.json":
                manifest = read(Manifest, path.read_bytes(), where=entry.path)
                self._put_episode(manifest, entry.sha256 or "")
                return {manifest.id}
            if parts[0] == "labels":
                label = read(Label, path.read_bytes(), where=entry.path)
                self._put_opinion(label)
                return {label.episode}
            if parts[0] == "results" and path.suffix == ".parquet":
                return self._put_results(parts[1], parts[2], path, entry.path)
        except (DemosError, OSError) as error:
            # the rest stays findable; what is hidden by this is told
            reason = error.strerror if isinstance(error, OSError) else None
            self._base.execute(
                "insert or replace into unread values (?, ?)", (entry.path, reason or str(error))
            )
            return set()
        return set()

    def _put_episode(self, manifest: Manifest, sha256: str) -> None:
        cameras, session = manifest.cameras.values(), self._session(manifest.session)
        serials = {"robot": session.hardware.robot, **session.hardware.serials} if session else {}
        row = {
            "id": manifest.id,
            "session": manifest.session,
            "task": manifest.task,
            "embodiment": manifest.embodiment,
            "operator": manifest.operator,
            "recorded_at": manifest.recorded_at.isoformat(),
            "duration_s": manifest.duration_ns / 1e9,
            "outcome": "",
            "outcome_by": "",
            "outcome_confidence": None,
            "verdict": "",
            "reasons": "",
            "intent": manifest.intent,
            "origin": manifest.origin,
            "instruction": manifest.instruction,
            "trial_index": manifest.trial_index,
            "minutes_since_break": manifest.minutes_since_break,
            "cameras": len(manifest.cameras),
            "images": sum(camera.images for camera in cameras),
            "streams": " ".join(sorted(manifest.streams)),
            "findings": 0,
            "labels": 0,
            "recovered": int(manifest.provenance.recovered),
            "source": manifest.provenance.source,
            "site": session.site if session else "",
            "licence": session.consent.licence if session else "",
            "size_mb": sum(file.size for file in manifest.files.values()) / 1e6,
            "factors": json.dumps(manifest.factors),
            "scores": "{}",
            "hardware": json.dumps({re.sub(r"\W", "_", k): v for k, v in serials.items()}),
            "manifest_sha256": sha256,
        }
        marks = ", ".join("?" * len(row))
        self._base.execute(
            f"insert or replace into episodes ({', '.join(row)}) values ({marks})",
            tuple(row.values()),
        )

    def _session(self, session: str) -> Session | None:
        """Read a session's record; None where it cannot be read."""
        if session not in self._sessions:
            path = self.root / "sessions" / f"{session}.json"
            try:
                self._sessions[session] = read(Session, path.read_bytes(), where=path.name)
            except (DemosError, OSError):
                return None
        return self._sessions[session]

    def _put_opinion(self, label: Label) -> None:
        self._base.execute(
            "insert or replace into opinions values (?, ?, ?)",
            (label.id, label.episode, label.model_dump_json()),
        )

    def _put_results(self, kind: str, run: str, path: Path, name: str) -> set[str]:
        """Take in a part of a run; the newest run that speaks of an episode says everything."""
        import pyarrow.parquet as pq

        try:
            rows = pq.read_table(path).to_pylist()
        except (OSError, ValueError):
            return set()
        # runs are ULIDs, which sort by time; what came with an episode is older than any
        age = run if len(run) == 26 else ""
        known = dict(
            self._base.execute(
                "select episode, max(run) from results where kind = ? group by episode", (kind,)
            )
        )
        rows = [row for row in rows if row.get("episode")]
        fresh = [row for row in rows if known.get(str(row["episode"]), "") <= age]
        touched = {str(row["episode"]) for row in fresh}
        self._base.executemany(
            "delete from results where kind = ? and episode = ? and run < ?",
            [(kind, episode, age) for episode in touched],
        )
        self._base.executemany(
            "insert into results values (?, ?, ?, ?, ?)",
            [(kind, str(row["episode"]), age, name, json.dumps(row, default=str)) for row in fresh],
        )
        return touched

    def _resolve(self, episodes: Iterable[str]) -> None:
        """Recompute what follows from labels and results: outcome, verdict, scores, counts."""
        for episode in episodes:
            opinions = self.opinions(episode)
            verdict, reasons = _verdict(opinions, self._results(episode, "verdicts"))
            outcome = labels.current(opinions, "outcome")
            scores = {
                row["metric"]: row["value"]
                for row in self._results(episode, "scores")
                if row.get("value") is not None
            }
            findings = self._results(episode, "findings")
            serious = [row for row in findings if row.get("severity") != "info"]
            self._base.execute(
                "update episodes set outcome = ?, outcome_by = ?, outcome_confidence = ?,"
                " verdict = ?, reasons = ?, scores = ?, findings = ?, labels = ? where id = ?",
                (
                    outcome.value if outcome else "",
                    outcome.role if outcome else "",
                    outcome.confidence if outcome else None,
                    verdict,
                    reasons,
                    json.dumps(scores),
                    len(serious),
                    sum(label.role != "machine" for label in opinions),
                    episode,
                ),
            )


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


def _entries(lines: bytes) -> Iterator[LedgerEntry]:
    for line in lines.splitlines():
        try:
            yield LedgerEntry.model_validate_json(line)
        except ValidationError:
            # a damaged line is for `demos verify` to name
            continue


def _verdict(opinions: list[Label], machine: list[dict[str, Any]]) -> tuple[str, str]:
    """A reviewer's verdict stands above the machine's."""
    label = labels.current(opinions, "verdict")
    if label is not None and label.role != "machine":
        return label.value, label.note
    if machine:
        return str(machine[-1].get("verdict", "")), str(machine[-1].get("reasons", ""))
    return (label.value, label.note) if label else ("", "")
