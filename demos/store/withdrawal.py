"""Withdraw a session: its data is deleted, a tombstone says so, the ledger remembers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from demos.errors import DemosError, StoreError
from demos.model import Tombstone
from demos.model.records import Document, Ulid
from demos.provenance import new_id, now, sha256_bytes, source_identity
from demos.schema import dump, read
from demos.store import disk, layout, ledger, recording
from demos.store.episodes import EpisodeStore
from demos.store.publish import claim, publish_file, publish_once
from demos.store.staging import parquet

INTENT = "withdraw.json"


class Intent(Document):
    """`withdraw.json`: what a withdrawal is about to delete, so that it can be finished."""

    kind: Literal["withdrawal"] = "withdrawal"
    session: Ulid
    episodes: tuple[Ulid, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was withdrawn: the ids of episodes, and of recordings that were not published yet."""

    session: str
    episodes: tuple[str, ...]
    recordings: tuple[str, ...] = ()


def withdraw(store: EpisodeStore, session: str) -> Withdrawal:
    """Delete the data of all episodes of a session, their labels, what was computed of them, and
    its unpublished recordings.

    The cache goes too, which may hold copies. A tombstone stays in each episode's folder and the
    ledger says what was withdrawn: a frozen selection that names such an episode then says so. The
    session's own record, without data, stays. What was begun is finished by `recover`.

    Raises UnknownName for an unknown session, StoreError where it is being recorded.
    """
    root = store.root
    store.session(session)
    unpublished = _recordings(root, session)
    episodes = tuple(e for e in store.episode_ids() if store.manifest(e).session == session)
    intent = Intent(session=session, episodes=episodes, at=now())
    held = claim(root, new_id())
    try:
        with disk.doing(f"withdraw the session {session}"):
            disk.write_new(held.folder / INTENT, dump(intent))
            disk.sync_all([held.folder / INTENT, held.folder])
            for folder in unpublished:
                disk.remove(folder)
        finish(store, held.folder)
    finally:
        held.release()
    return Withdrawal(session, episodes, tuple(folder.name for folder in unpublished))


def finish(store: EpisodeStore, folder: Path) -> Withdrawal:
    """Carry out the withdrawal that is written down in `folder`, and remove that folder."""
    root = store.root
    with disk.doing("finish a withdrawal"):
        intent = read(Intent, (folder / INTENT).read_bytes(), where=str(folder / INTENT))
        published, withdrawn = ledger.known(ledger.read_all(root))
        for episode in intent.episodes:
            _bury(store, episode, intent, set(published), set(withdrawn))
        for path in sorted((root / "results").rglob("*.parquet")):
            _thin(root, path, intent)
        for derived in disk.listed(root / "cache"):
            disk.remove(derived)
        disk.remove(folder)
        disk.sync_folder(folder.parent)
    return Withdrawal(intent.session, intent.episodes)


def _thin(root: Path, path: Path, intent: Intent) -> None:
    """Replace a part of some results by one without the rows of withdrawn episodes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, ValueError):
        return  # damaged, which `demos verify` says; nobody can read it
    if "episode" not in table.column_names:
        return
    gone = pc.is_in(table["episode"], value_set=pa.array(intent.episodes, pa.string()))
    if not pc.any(gone).as_py():
        return
    rest = table.filter(pc.invert(gone))
    if len(rest):
        content = parquet(rest.to_pandas())
        name = f"{path.stem.split('.')[0]}.{sha256_bytes(content)[:8]}.parquet"
        publish_once(root, path.with_name(name), content)
    name = layout.relative(root, path)
    ledger.append(root, [ledger.Fact(name, action="withdrawn", note=f"session {intent.session}")])
    disk.remove(path)
    disk.sync_folder(path.parent)


def _bury(
    store: EpisodeStore, episode: str, intent: Intent, published: set[str], withdrawn: set[str]
) -> None:
    root = store.root
    place, labels = layout.episode_dir(root, episode), layout.label_dir(root, episode)
    stone = place / layout.TOMBSTONE
    if not stone.exists():
        tombstone = Tombstone(
            episode=episode,
            session=intent.session,
            withdrawn_at=intent.at,
            source=source_identity(store.manifest(episode).provenance),
        )
        publish_file(root, stone, dump(tombstone))
    files = [path for path in place.iterdir() if path != stone]
    files += labels.iterdir() if labels.is_dir() else []
    names = sorted(layout.relative(root, path) for path in files)
    ledger.append(
        root,
        [
            ledger.Fact(name, action="withdrawn", note=f"session {intent.session}")
            for name in names
            if name in published and name not in withdrawn
        ],
    )
    # the manifest goes first: from then on the episode is no more
    for path in sorted(files, key=lambda path: path.name != layout.MANIFEST):
        disk.remove(path)
    for folder in {path.parent for path in files}:
        disk.sync_folder(folder)


def _recordings(root: Path, session: str) -> list[Path]:
    """Find the unpublished recordings of a session. Raises StoreError where one goes on."""
    found = []
    for folder in disk.listed(root / "recordings"):
        try:
            header = recording.read_header(folder / layout.LOG)
        except (DemosError, OSError):
            continue
        if header.session.id == session:
            if disk.Claim.peek(folder):
                raise StoreError(f"the session {session} is being recorded").with_hint(
                    "stop the recording, then withdraw"
                )
            found.append(folder)
    return found
