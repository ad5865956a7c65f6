"""The store: publish into it, read from it. Every fact is a file; nothing is ever overwritten."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from demos.errors import Damaged, EpisodeNotFound, StoreError, UnknownName
from demos.model import (
    Camera,
    Draft,
    Episode,
    Label,
    Manifest,
    SelectionRecord,
    Session,
    StoreInfo,
    Stream,
    Tombstone,
)
from demos.model.records import Record
from demos.provenance import new_id, now
from demos.schema import dump, read
from demos.store import disk, layout
from demos.store.lazy import Lazy

if TYPE_CHECKING:
    import pandas as pd

    from demos.store.containers import Container

R = TypeVar("R", bound=Record)
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class EpisodeStore:
    """A folder of sessions, episodes, labels, results and selections."""

    def __init__(self, root: Path, info: StoreInfo) -> None:
        self.root, self.info = root, info

    @classmethod
    def create(cls, root: str | Path, container: layout.Container = "zarr") -> Self:
        """Make a store in a folder that is missing or empty. Raises StoreError."""
        from demos.store.publish import publish_file

        root = Path(root).absolute()
        info = StoreInfo(id=new_id(), container=container, created_at=now())
        with disk.doing(f"make the store {root}"):
            root.mkdir(parents=True, exist_ok=True)
            strangers = sorted(p.name for p in root.iterdir() if p.name not in layout.FOLDERS)
            if layout.STORE_FILE in strangers:
                raise StoreError(f"{root} is a store already").with_hint("open it instead")
            if strangers:
                raise StoreError(
                    f"{root} is no store and not empty: it holds {strangers[0]}"
                ).with_hint("name a new or empty folder")
            for folder in layout.FOLDERS:
                (root / folder).mkdir(exist_ok=True)
            disk.sync_folder(root)
            disk.sync_folder(root.parent)
        publish_file(root, root / layout.STORE_FILE, dump(info))
        return cls(root, info)

    @classmethod
    def open(cls, root: str | Path) -> Self:
        """Open a store. Raises StoreError where there is none, NewerVersion, SchemaMismatch."""
        root = Path(root).absolute()
        path = root / layout.STORE_FILE
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            what = "is not a store" if root.is_dir() else "does not exist"
            raise StoreError(f"{root} {what}").with_hint(
                f"make one with `demos init {root}`, or check the path"
            ) from error
        except OSError as error:
            raise disk.failure(error, f"open the store {root}") from error
        return cls(root, read(StoreInfo, content, where=str(path)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.root}>"

    def publish(self, draft: Draft) -> Manifest:
        """Publish an episode with its labels and findings: whole, or not at all."""
        from demos.store.publish import publish_draft

        return publish_draft(self.root, self.info.container, draft)

    def add_session(self, session: Session) -> Path:
        """Publish a session; the same one again changes nothing."""
        return self._once(layout.session_file(self.root, session.id), dump(session))

    def add_label(self, label: Label) -> Path:
        """Publish a label of an episode of this store. Raises EpisodeNotFound."""
        from demos.store.publish import publish_file

        self._episode_dir(label.episode)
        path = layout.label_file(self.root, label.episode, label.id)
        publish_file(self.root, path, dump(label))
        return path

    def add_results(self, kind: str, run: str, part: str, table: pd.DataFrame) -> Path:
        """Publish one part of a run's results; the same part again changes nothing."""
        from demos.store.staging import parquet

        for name in (kind, run, part):
            _check_name(name)
        return self._once(layout.result_file(self.root, kind, run, part), parquet(table))

    def add_selection(self, selection: SelectionRecord) -> Path:
        """Publish a frozen selection. Raises StoreError where its number is taken."""
        from demos.store.publish import publish_file

        _check_name(selection.name)
        path = layout.selection_file(self.root, selection.name, selection.number)
        if path.exists():
            free = self.next_selection_number(selection.name)
            raise StoreError(f"there is a selection {path.stem} already").with_hint(
                f"a frozen selection never changes; the next number is {free}"
            )
        publish_file(self.root, path, dump(selection))
        return path

    def _once(self, path: Path, content: bytes) -> Path:
        from demos.store.publish import publish_once

        publish_once(self.root, path, content)
        return path

    def episode_ids(self) -> list[str]:
        """List the published episodes, oldest first (ULIDs sort by time)."""
        found = []
        for folder in _names(self.root / "episodes"):
            for episode in _names(self.root / "episodes" / folder):
                path = f"{self.root}/episodes/{folder}/{episode}/{layout.MANIFEST}"
                if _ULID.fullmatch(episode) and os.path.exists(path):  # noqa: PTH110 (hot)
                    found.append(episode)
        return sorted(found)

    def manifest(self, episode: str) -> Manifest:
        """Read an episode's manifest. Raises EpisodeNotFound."""
        return self._read(Manifest, self._episode_dir(episode) / layout.MANIFEST)

    def is_withdrawn(self, episode: str) -> bool:
        """Say whether an episode was here and its session has been withdrawn."""
        return bool(_ULID.fullmatch(episode)) and self._tombstone(episode).exists()

    def tombstones(self) -> list[Tombstone]:
        """Read what is left of the episodes whose session was withdrawn."""
        paths = sorted((self.root / "episodes").glob(f"*/*/{layout.TOMBSTONE}"))
        return [self._read(Tombstone, path) for path in paths]

    def session(self, session: str) -> Session:
        """Read a session. Raises UnknownName."""
        path = layout.session_file(self.root, session)
        if not _ULID.fullmatch(session) or not path.exists():
            raise UnknownName.among("session", session, self._stems("sessions"))
        return self._read(Session, path)

    def sessions(self) -> list[Session]:
        """Read all sessions, oldest first."""
        return [self.session(name) for name in self._stems("sessions")]

    def labels(self, episode: str) -> list[Label]:
        """Read every label of an episode, oldest first. Raises EpisodeNotFound."""
        self._episode_dir(episode)
        folder = layout.label_dir(self.root, episode)
        labels = [
            self._read(Label, folder / name) for name in _names(folder) if name.endswith(".json")
        ]
        return sorted(labels, key=lambda label: (label.created_at, label.id))

    def episode(self, episode: str) -> Episode:
        """Open an episode; streams and videos are read when first used. Raises EpisodeNotFound."""
        manifest, folder = self.manifest(episode), self._episode_dir(episode)
        files = EpisodeFiles(folder, manifest)
        streams = Lazy("stream", tuple(manifest.streams), files.stream)
        cameras = Lazy("camera", tuple(manifest.cameras), files.camera)
        return Episode(manifest, streams, cameras, self.labels(episode), root=self.root)

    def results(self, kind: str) -> pd.DataFrame:
        """Read all parts of all runs of one kind of results; the column `run` says which."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for run in _names(self.root / "results" / kind):
            for part in _names(self.root / "results" / kind / run):
                path = self.root / "results" / kind / run / part
                try:
                    table = pq.read_table(path)
                except (OSError, ValueError) as error:
                    raise Damaged(f"{layout.relative(self.root, path)}: {error}").with_hint(
                        "restore it from a copy, or delete it and run the step again"
                    ) from error
                tables.append(table.append_column("run", pa.array([run] * len(table), pa.string())))
        if not tables:
            tables = [pa.table({"run": pa.array([], pa.string())})]
        found: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
        return found

    def selection_names(self) -> list[str]:
        """List the frozen selections: `name@number`, in order."""
        found = [_split(stem) for stem in self._stems("selections")]
        return [f"{name}@{number}" for name, number in sorted(found)]

    def next_selection_number(self, name: str) -> int:
        """Return the number that the next selection of this name will have, from 1."""
        _check_name(name)
        found = (_split(stem) for stem in self._stems("selections"))
        return 1 + max((number for taken, number in found if taken == name), default=0)

    def read_selection(self, name: str) -> SelectionRecord:
        """Read a frozen selection: `name@number`, or the newest of `name`. Raises UnknownName."""
        known = self.selection_names()
        newest = [full for full in known if _split(full)[0] == name]
        full = name if name in known else newest[-1] if newest else ""
        if not full:
            raise UnknownName.among("selection", name, known)
        return self._read(SelectionRecord, self.root / "selections" / f"{full}.json")

    def _episode_dir(self, episode: str) -> Path:
        folder = layout.episode_dir(self.root, episode)
        if _ULID.fullmatch(episode) and (folder / layout.MANIFEST).exists():
            return folder
        if self.is_withdrawn(episode):
            raise EpisodeNotFound(f"episode {episode} was withdrawn with its session").with_hint(
                "its data is deleted; freeze the selection anew without it"
            )
        raise EpisodeNotFound.among(episode, self.episode_ids())

    def _tombstone(self, episode: str) -> Path:
        return layout.episode_dir(self.root, episode) / layout.TOMBSTONE

    def _stems(self, folder: str) -> list[str]:
        return [name[:-5] for name in _names(self.root / folder) if name.endswith(".json")]

    def _read(self, record: type[R], path: Path) -> R:
        name = layout.relative(self.root, path)
        with disk.doing(f"read {name}"):
            content = path.read_bytes()
        return read(record, content, where=name)


class EpisodeFiles:
    """The signals and videos of one episode, opened when first used."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._signals: Container | None = None

    def signals(self) -> Container:
        """Return the opened signals file."""
        if self._signals is None:
            from demos.store import containers

            kind = self.manifest.container
            self._signals = containers.open(self.folder / layout.SIGNALS[kind], kind)
        return self._signals

    def stream(self, name: str) -> Stream:
        """Read one stream. Raises Damaged."""
        return self.signals().streams[name]

    def camera(self, name: str) -> Camera:
        """Open one camera. Raises Damaged."""
        from demos.store.video import VideoCamera

        camera = self.manifest.cameras[name]
        index = self.signals().packets[name]
        return VideoCamera(self.folder / camera.file, camera.info, index)


def _names(folder: Path) -> list[str]:
    """List what a folder holds, in order, without what is still being written."""
    with disk.doing(f"list {folder}"), suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return []


def _split(stem: str) -> tuple[str, int]:
    name, _, number = stem.rpartition("@")
    return name, int(number) if number.isdecimal() else 0


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise StoreError(f"{name!r} cannot be a file name").with_hint(
            "use letters, digits, dots, dashes and underscores, a letter or digit first"
        )
