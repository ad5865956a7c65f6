"""The table of all episodes: an SQLite index of the files, rebuildable from them at any time.

Every fact lives in a file; this only finds it fast. The catalog follows the ledgers: it keeps how
many bytes of each ledger it has read and takes in what was appended since, so that several
processes may publish while others look.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demos.catalog import tables
from demos.catalog.indexing import Index
from demos.catalog.tables import COLUMNS, FILE, connected
from demos.errors import EpisodeNotFound, StoreError
from demos.model import Label

__all__ = ["COLUMNS", "Catalog", "Progress"]

Progress = Callable[[int, int], None]


class Catalog:
    """The index of one store. Open it, `sync` it, ask it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._turn = threading.Lock()  # threads share the connection
        self._base = connected(root / FILE)
        self._index = Index(root, self._base)

    def close(self) -> None:
        """Close the database."""
        self._base.close()

    def sync(self, progress: Progress | None = None) -> int:
        """Take in what the ledgers say since the last time; return how many files were new.

        Raises StoreError where the catalog cannot be written.
        """
        pending = list(self._index.pending())
        if not pending:
            return 0
        with self._turn, self._writing():
            # another process may have been here between the look and the lock
            pending = list(self._index.pending())
            total = sum(len(entries) for _, entries, _ in pending)
            done, touched = 0, set[str]()
            for _, entries, _ in pending:
                for entry in entries:
                    touched |= self._index.take_in(entry)
                    done += 1
                    if progress is not None:
                        progress(done, total)
            self._index.resolve(touched)
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
        return tables.opinions(self._base, episode)

    def results(self, kind: str, episode: str) -> list[dict[str, Any]]:
        """Read what the latest run of one kind said of an episode: findings, scores, gaps."""
        return tables.results(self._base, kind, episode)

    def _keys(self, column: str) -> list[str]:
        query = f"select distinct key from episodes, json_each(episodes.{column}) order by key"
        return [row[0] for row in self._base.execute(query)]

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
