"""From published files to rows: what the ledgers name is read and taken in."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from demos import labels
from demos.catalog.tables import opinions, results
from demos.errors import DemosError
from demos.model import Label, LedgerEntry, Manifest, Session
from demos.schema import read


class Index:
    """The rows of one catalog, written from the files of its store."""

    def __init__(self, root: Path, base: sqlite3.Connection) -> None:
        self.root, self._base = root, base
        self._sessions: dict[str, Session] = {}

    def pending(self) -> Iterator[tuple[str, list[LedgerEntry], int]]:
        """Yield what each ledger says since the last time: its name, lines, and bytes read then."""
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

    def take_in(self, entry: LedgerEntry) -> set[str]:
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

    def resolve(self, episodes: Iterable[str]) -> None:
        """Recompute what follows from labels and results: outcome, verdict, scores, counts."""
        for episode in episodes:
            said = opinions(self._base, episode)
            verdict, reasons = _verdict(said, results(self._base, "verdicts", episode))
            outcome = labels.current(said, "outcome")
            scores = {
                row["metric"]: row["value"]
                for row in results(self._base, "scores", episode)
                if row.get("value") is not None
            }
            findings = results(self._base, "findings", episode)
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
                    sum(label.role != "machine" for label in said),
                    episode,
                ),
            )


def _entries(lines: bytes) -> Iterator[LedgerEntry]:
    for line in lines.splitlines():
        try:
            yield LedgerEntry.model_validate_json(line)
        except ValidationError:
            # a damaged line is for `demos verify` to name
            continue


def _verdict(said: list[Label], machine: list[dict[str, Any]]) -> tuple[str, str]:
    """A reviewer's verdict stands above the machine's."""
    label = labels.current(said, "verdict")
    if label is not None and label.role != "machine":
        return label.value, label.note
    if machine:
        return str(machine[-1].get("verdict", "")), str(machine[-1].get("reasons", ""))
    return (label.value, label.note) if label else ("", "")
