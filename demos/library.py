"""The public face: open a store, look at its episodes, select, freeze, score.

store = demos.open("lab")
store.episodes                        # pandas.DataFrame, one row an episode
episode = store["01JD..."]            # an id, or the start or end of one
picked = store.select("task == 'pick_place' and outcome == 'success'")
frozen = picked.freeze("paper-v1")
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from demos import labels as label_rules
from demos import model
from demos.catalog import COLUMNS, Catalog, Progress
from demos.errors import Damaged, EpisodeNotFound, StoreError
from demos.exporters import Action, Chosen, Cited, ExportReport
from demos.exporters import Progress as ExportProgress
from demos.model import Label, Selected, SelectionRecord, Span
from demos.provenance import now, sha256_file
from demos.selection import Condition, column, compile_where, splits_of
from demos.store import EpisodeStore, layout

if TYPE_CHECKING:
    import pandas as pd

    from demos import loader


class Episode(model.Episode):
    """An episode with what people and machines say of it, resolved."""

    @property
    def phases(self) -> tuple[Span, ...]:
        """The phase intervals that hold, ordered by start (ns since the episode's start)."""
        return label_rules.phases(self.labels)

    @property
    def outcome(self) -> str:
        """The outcome that holds: success, partial, failure, aborted, or empty."""
        return label_rules.outcome(self.labels)


class Store(EpisodeStore):
    """A store and its catalog. Make one with `demos.open`."""

    @cached_property
    def catalog(self) -> Catalog:
        """The index of this store, brought up to date when it is first used."""
        catalog = Catalog(self.root)
        catalog.sync()
        return catalog

    def refresh(self) -> None:
        """Take in what was published since, by this process or another.

        Asking for an episode, a selection or a count does so by itself.
        """
        self.catalog.sync()

    def add_label(self, label: Label) -> Path:
        """Publish a label; an outcome is judged anew where a verdict rested on the old one."""
        path = super().add_label(label)
        self.refresh()
        if label.of == "outcome" and self.catalog.results("verdicts", label.episode):
            self.judge(label.episode)
        return path

    def judge(self, episode: str) -> None:
        """Say redo, check or good of one episode anew, from its newest findings and labels."""
        from demos import jobs

        known = {kind: {episode: self.catalog.results(kind, episode)} for kind in jobs.JUDGED_BY}
        jobs.judge_store(self, [episode], known=known)
        self.refresh()

    def reindex(self, progress: Progress | None = None) -> int:
        """Rebuild the catalog from the files; return how many were read."""
        return self.catalog.rebuild(progress)

    @property
    def episodes(self) -> pd.DataFrame:
        """One row an episode: facts, `factor.*`, outcome, verdict, `score.*`; newest first."""
        return self.select("").table

    def __len__(self) -> int:
        self.refresh()
        return self.catalog.count()

    def __iter__(self) -> Iterator[Episode]:
        self.refresh()
        return (self._opened(episode) for episode in self.catalog.ids())

    def __getitem__(self, episode: str) -> Episode:
        self.refresh()
        try:
            full = self.catalog.full_id(episode)
        except EpisodeNotFound:
            if self.is_withdrawn(episode.upper()):
                self.manifest(episode.upper())  # says so
            raise
        return self._opened(full)

    def _opened(self, episode: str) -> Episode:
        found = super().episode(episode)
        opinions = self.catalog.opinions(found.id)
        return Episode(found.manifest, found.streams, found.cameras, opinions, self.root)

    def select(self, where: str = "") -> Selection:
        """Pick episodes by a filter expression. Raises BadExpression or UnknownName."""
        self.refresh()
        return Selection(self, where, compile_where(where, self.catalog.names()))

    def selection(self, name: str) -> FrozenSelection:
        """Open a frozen selection: `name@number`, or the newest of `name`. Raises UnknownName."""
        return FrozenSelection(self, self.read_selection(name))


class Selection:
    """The episodes of a store that fit an expression, newest first."""

    def __init__(self, store: Store, where: str, condition: Condition) -> None:
        self.store, self.where, self._condition = store, where, condition

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the episodes."""
        return [row[0] for row in self.rows(["id"])]

    def __len__(self) -> int:
        return self.store.catalog.count(self._condition.sql, self._condition.values)

    def __iter__(self) -> Iterator[Episode]:
        return (self.store._opened(episode) for episode in self.ids)

    def rows(self, columns: Sequence[str], limit: int | None = None) -> list[tuple[Any, ...]]:
        """Read columns by the names users give them, without pandas. Raises UnknownName."""
        wanted = [column(name) for name in columns]
        condition = self._condition
        return self.store.catalog.rows(wanted, condition.sql, condition.values, limit=limit)

    @property
    def table(self) -> pd.DataFrame:
        """One row an episode, newest first; the columns of `Store.episodes`."""
        import pandas as pd

        names = [*COLUMNS, "factors", "scores", "hardware"]
        condition = self._condition
        rows = self.store.catalog.rows(names, condition.sql, condition.values)
        table = pd.DataFrame(rows, columns=names)
        for prefix, packed in (
            ("factor", "factors"),
            ("score", "scores"),
            ("hardware", "hardware"),
        ):
            parts = pd.DataFrame([json.loads(text) for text in table.pop(packed)])
            parts.index = table.index[: len(parts)]
            table = pd.concat([table, parts.add_prefix(f"{prefix}.")], axis=1)
        table["recorded_at"] = pd.to_datetime(table["recorded_at"], utc=True, format="ISO8601")
        return table

    def chosen(self) -> list[Chosen]:
        """Say of each episode what there is of it and how it is opened, for exporters."""
        said = {row[0]: row[1:] for row in self.rows(["id", "verdict", "licence"])}
        return [
            Chosen(
                self.store.manifest(episode),
                partial(self.opened, episode),
                verdict=said[episode][0] or "",
                licence=said[episode][1] or "unknown",
            )
            for episode in self.ids
        ]

    def cited(self) -> Cited:
        """Say how this choice is named beside what goes out of it."""
        return Cited(where=self.where)

    def opened(self, episode: str) -> Episode:
        """Open one episode with the labels that count here."""
        return self.store[episode]

    def export(
        self,
        out: str | Path,
        *,
        to: str,
        rate_hz: float | None = None,
        action: Action = "joint",
        streams: Sequence[str] | None = None,
        progress: ExportProgress | None = None,
    ) -> ExportReport:
        """Write the episodes in another format; `out` must not be there yet.

        `rate_hz` is how many steps a second a format with one clock gets (by default what the
        episodes ask for), `action` what an action says, `streams` which go out.
        Raises UnknownName, StoreError, ExportFailed.
        """
        from demos.exporters import Choices, export

        wanted = tuple(streams) if streams is not None else None
        choices = Choices(rate_hz, action, wanted, self.cited())
        return export(self.chosen(), Path(out), to, choices, progress=progress)

    def windows(
        self,
        *,
        rate_hz: float,
        observe: Mapping[str, Iterable[int]],
        act: Mapping[str, Iterable[int]] | None = None,
        progress: loader.Progress | None = None,
        **more: Unpack[loader.More],
    ) -> loader.Windows:
        """Cut the episodes into windows of steps for imitation learning: a map-style dataset.

            picked.windows(
                rate_hz=30,
                observe={"joint_position": [-1, 0], "image.egocentric": [0]},
                act={"joint_command": range(16)},
            )

        `observe` and `act` name streams and cameras, and steps before or after the anchor. What a
        window holds, and what else may be asked for (`split`, `normalise`, `size`, ...), is said
        at `demos.loader.Windows`. `progress` hears how far the cache is filled.
        Raises LoadFailed, UnknownName, StoreError.
        """
        from demos.loader import Choices, Windows

        choices = Choices(rate_hz, observe, act or {}, **more)
        return Windows(self.store, self.sources(), choices, progress)

    def sources(self) -> list[loader.Source]:
        """Say of each episode what a loader must know before it opens it."""
        from demos.loader import Source

        return [
            Source(each.episode, each.manifest_sha256, each.split, self._uses(each.episode))
            for each in self._selected()
        ]

    def _selected(self) -> list[Selected]:
        condition = self._condition
        names = ["id", "manifest_sha256"]
        rows = self.store.catalog.rows(names, condition.sql, condition.values)
        return [Selected(episode=row[0], manifest_sha256=row[1]) for row in rows]

    def _uses(self, episode: str) -> tuple[Label, ...]:
        return tuple(each for each in self.store.catalog.opinions(episode) if each.of == "use")

    def freeze(
        self,
        name: str,
        *,
        split: dict[str, float] | None = None,
        group_by: str = "",
    ) -> SelectionRecord:
        """Write the selection down, hashed and numbered: what a paper cites.

        `split` maps names to shares ({"train": 0.8, "val": 0.2}); episodes with one value of the
        column `group_by` stay together. The split follows from ids alone, so it is repeatable.
        Raises StoreError for an empty selection or shares that do not sum to one.
        """
        columns = ["id", "outcome", group_by] if group_by else ["id", "outcome", "id"]
        rows = sorted(self.rows(columns))
        if not rows:
            raise StoreError(
                f"no episode fits {self.where!r}, so there is nothing to freeze"
            ).with_hint("see what there is with `demos ls STORE`, and loosen the filter")
        splits = splits_of([str(row[2]) for row in rows], split or {"all": 1.0})
        chosen = tuple(
            Selected(
                episode=episode,
                manifest_sha256=self._manifest_sha256(episode),
                split=part,
                outcome=outcome or "",
                labels=tuple(label.id for label in _holding(self.store.catalog.opinions(episode))),
            )
            for (episode, outcome, _), part in zip(rows, splits, strict=True)
        )
        content = json.dumps([item.model_dump(mode="json") for item in chosen], sort_keys=True)
        record = SelectionRecord(
            name=name,
            number=self.store.next_selection_number(name),
            where=self.where,
            created_at=now(),
            episodes=chosen,
            sha256=hashlib.sha256(content.encode()).hexdigest(),
        )
        self.store.add_selection(record)
        return record

    def _manifest_sha256(self, episode: str) -> str:
        """Return the hash of the manifest, which must be the one that was published."""
        rows = self.store.catalog.rows(["manifest_sha256"], "id = ?", (episode,))
        path = layout.episode_dir(self.store.root, episode) / layout.MANIFEST
        if not path.is_file() or sha256_file(path) != rows[0][0]:
            what = "is not what was published" if path.is_file() else "is missing"
            raise Damaged(f"the manifest of {episode} {what}").with_hint(
                f"see what else is hurt with `demos verify {self.store.root}`, or leave it out"
            )
        return str(rows[0][0])


class FrozenSelection(Selection):
    """The episodes of a frozen selection, with the splits and the labels that it froze.

    `withdrawn` names those that have been deleted since; the rest goes on without them.
    """

    def __init__(self, store: Store, record: SelectionRecord) -> None:
        self.record = record
        frozen = json.dumps([item.episode for item in record.episodes])
        super().__init__(
            store, record.where, Condition("id in (select value from json_each(?))", (frozen,))
        )

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the episodes that are still there, in the order they were frozen."""
        gone = set(self.withdrawn)
        return [item.episode for item in self.record.episodes if item.episode not in gone]

    @cached_property
    def withdrawn(self) -> list[str]:
        """The ids of the episodes whose session has been withdrawn."""
        return [e.episode for e in self.record.episodes if self.store.is_withdrawn(e.episode)]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Episode]:
        return (self.opened(episode) for episode in self.ids)

    def chosen(self) -> list[Chosen]:
        """Say of each episode what there is of it, with its split."""
        splits = {item.episode: item.split for item in self.record.episodes}
        return [replace(item, split=splits[item.manifest.id]) for item in super().chosen()]

    def cited(self) -> Cited:
        """Name the selection as papers do: `name@number`, with its hash."""
        record = self.record
        name = f"{record.name}@{record.number}"
        return Cited(name, record.sha256, record.where, tuple(self.withdrawn))

    def _selected(self) -> list[Selected]:
        gone = set(self.withdrawn)
        return [item for item in self.record.episodes if item.episode not in gone]

    def _uses(self, episode: str) -> tuple[Label, ...]:
        frozen = self._labels[episode]
        return tuple(label for label in super()._uses(episode) if label.id in frozen)

    @cached_property
    def _labels(self) -> dict[str, set[str]]:
        return {item.episode: set(item.labels) for item in self.record.episodes}

    def opened(self, episode: str) -> Episode:
        """Open one episode with the labels that were frozen."""
        found = self.store[episode]
        frozen = self._labels[episode]
        found.labels = tuple(label for label in found.labels if label.id in frozen)
        return found


def open(path: str | Path, *, container: Literal["zarr", "hdf5"] | None = None) -> Store:
    """Open the store at `path`; with `container` given, make it first where there is none.

    Raises StoreError where there is no store, NewerVersion where a later release wrote it.
    """
    root = Path(path)
    if container is not None and not (root / "store.json").exists():
        return Store.create(root, container=container)
    return Store.open(root)


def score(episode: model.Episode, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Score one episode: one row a metric, with value, unit, spans, and why if not assessable."""
    import pandas as pd

    from demos.metrics import measure

    rows = [answer.model_dump() for answer in measure(episode, metrics)]
    table = pd.DataFrame(rows, columns=list(model.Score.model_fields))
    table["assessable"] = table["value"].notna()
    return table


def _holding(opinions: list[Label]) -> list[Label]:
    kinds = sorted({label.of for label in opinions})
    held = [label_rules.current(opinions, kind) for kind in kinds]
    return [label for label in held if label is not None]
