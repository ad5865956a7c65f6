"""Publish: from a recording or an importer's draft to an immutable episode, whole or not at all.

Everything is made under `recordings/<ulid>/`, synced at once, and the folder `episode` in it is
renamed to its final place: that one rename publishes. What belongs beside the episode (labels,
findings) waits in `beside` and is linked into place afterwards, then the ledger learns of all of
it, then the recording is removed. `complete` does what comes after the rename, again if need be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from demos import embodiment, task
from demos.errors import StoreError, UnknownName
from demos.model import Draft, Embodiment, Manifest, Task
from demos.provenance import new_id, sha256_bytes
from demos.schema import dump, read, read_yaml
from demos.store import disk, layout, ledger
from demos.store.staging import BESIDE, EPISODE, Footage, copied, put_beside, put_episode


def publish_file(root: Path, path: Path, content: bytes) -> None:
    """Publish one file: whole, synced, in the ledger, never over another.

    Raises StoreError, also where the path is taken.
    """
    name = layout.relative(root, path)
    with disk.doing(f"write {name}"):
        disk.make_folder(path.parent, inside=root)
        with disk.staged(path, content):
            ledger.append(root, [ledger.Fact.of(name, content)])


def publish_once(root: Path, path: Path, content: bytes) -> None:
    """Publish one file unless its very bytes are there already; other bytes are a StoreError."""
    name = layout.relative(root, path)
    if not path.exists():
        try:
            publish_file(root, path, content)
        except StoreError:
            if not path.exists():
                raise
            # another process was faster; whether it said the same is seen below
        else:
            return
    with disk.doing(f"read {name}"):
        if path.read_bytes() == content:
            return
    raise StoreError(f"{name} is there already with other content").with_hint(
        "published files are never overwritten; give the new one another name"
    )


def claim(root: Path, episode: str, *, synced: bool = True) -> disk.Claim:
    """Make and claim `recordings/<episode>/`. Raises StoreError where it exists.

    synced: on return its name survives a power cut; whoever promises nothing yet syncs it later.
    """
    folder = layout.recording_dir(root, episode)
    with disk.doing(f"begin {layout.relative(root, folder)}"):
        disk.make_folder(folder.parent, inside=root)
        folder.mkdir()
        taken = disk.Claim.make(folder)
        while taken is None:
            # just now somebody looked whether it is in use, or cleared it away as abandoned
            time.sleep(0.001)
            folder.mkdir(exist_ok=True)
            taken = disk.Claim.make(folder)
        if synced:
            disk.sync_folder(folder.parent)
    return taken


def keep_contracts(root: Path, embodiment_id: str, task_id: str) -> dict[str, str]:
    """Keep the YAML of the embodiment and the task that an episode uses; return their sha256.

    Keys are `embodiments/<id>` and `tasks/<id>`; a contract that nobody wrote is left out.
    """
    uses = {}
    for folder, name, find, record in (
        ("embodiments", embodiment_id, embodiment.file, Embodiment),
        ("tasks", task_id, task.file, Task),
    ):
        try:
            source = find(name, root)
        except UnknownName:
            continue
        with disk.doing(f"read {source}"):
            content = source.read_bytes()
        read_yaml(record, content, where=str(source))
        sha256 = sha256_bytes(content)
        publish_once(root, layout.used_file(root, folder, name, sha256), content)
        uses[f"{folder}/{name}"] = sha256
    return uses


@dataclass(frozen=True, slots=True)
class Staged:
    """An episode that is written and not yet published; its claim is held until `finish`."""

    root: Path
    manifest: Manifest
    held: disk.Claim

    def finish(self) -> Manifest:
        """Publish it."""
        try:
            release(self.root, self.manifest.id)
        except BaseException as error:
            _give_up(self.root, self.manifest.id, self.held, error)
            raise
        finally:
            self.held.release()
        return self.manifest


def stage_draft(root: Path, container: layout.Container, draft: Draft) -> Staged:
    """Write what an importer made; its videos are copied byte for byte and not needed any more."""
    publish_once(root, layout.session_file(root, draft.session.id), dump(draft.session))
    uses = keep_contracts(root, draft.session.embodiment, draft.facts.task)
    episode = new_id()
    held = claim(root, episode, synced=False)
    footage = {name: copied(name, video) for name, video in draft.videos.items()}
    try:
        return Staged(root, write(root, container, draft, episode, footage, uses), held)
    except BaseException as error:
        _give_up(root, episode, held, error)
        held.release()
        raise


def publish_draft(root: Path, container: layout.Container, draft: Draft) -> Manifest:
    """Publish what an importer made."""
    return stage_draft(root, container, draft).finish()


class Publishing:
    """Publishes what an importer makes in its order, each episode while the next one is made.

    Raises what publishing raised, with the next `add` or at the end.
    """

    def __init__(self, root: Path, container: layout.Container) -> None:
        self._root, self._container = root, container
        self._pool = ThreadPoolExecutor(1, "publish")
        self._last: Future[Manifest] | None = None

    def add(self, draft: Draft) -> Manifest:
        """Take in an episode: its temporary files may go when this returns."""
        self._wait()
        staged = stage_draft(self._root, self._container, draft)
        self._last = self._pool.submit(staged.finish)
        return staged.manifest

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._pool.shutdown()
        if error is None:
            self._wait()


def _give_up(root: Path, episode: str, held: disk.Claim, error: BaseException) -> None:
    if layout.episode_dir(root, episode).exists():
        disk.explain(
            error,
            f"the episode {episode} is published, its ledger is not complete: run "
            f"`demos recover {root}` and do not import it again",
        )
    else:
        with suppress(OSError):
            disk.remove(held.folder)


def publish(
    root: Path,
    container: layout.Container,
    draft: Draft,
    episode: str,
    footage: Mapping[str, Footage],
    uses: Mapping[str, str],
) -> Manifest:
    """Publish `draft` as `episode` from its claimed recording folder, which is removed."""
    manifest = write(root, container, draft, episode, footage, uses)
    release(root, episode)
    return manifest


def write(
    root: Path,
    container: layout.Container,
    draft: Draft,
    episode: str,
    footage: Mapping[str, Footage],
    uses: Mapping[str, str],
) -> Manifest:
    """Write all of `episode` into its claimed recording folder; nothing is synced yet."""
    work = layout.recording_dir(root, episode)
    with disk.doing(f"publish the episode {episode}"):
        _clear(work)
        try:
            for folder in (work / EPISODE, work / BESIDE):
                folder.mkdir()
            manifest = put_episode(work / EPISODE, container, draft, episode, footage, uses)
            put_beside(root, work / BESIDE, draft, episode)
        except BaseException:
            with suppress(OSError):
                _clear(work)  # a disk that is full needs the space
            raise
    return manifest


def release(root: Path, episode: str) -> None:
    """Publish what `write` wrote: sync it, rename it, and do what follows."""
    work, final = layout.recording_dir(root, episode), layout.episode_dir(root, episode)
    made, beside = work / EPISODE, work / BESIDE
    with disk.doing(f"publish the episode {episode}"):
        try:
            disk.sync_all([*disk.tree(made), *disk.tree(beside), work, work.parent])
            disk.rename_folder(made, final, inside=root)
        except BaseException:
            if not final.exists():
                with suppress(OSError):
                    _clear(work)
            raise
        complete(root, episode)


def _clear(work: Path) -> None:
    for leftover in (EPISODE, BESIDE):
        disk.remove(work / leftover)


def complete(root: Path, episode: str, known: Collection[str] = ()) -> None:
    """Do what follows the rename, as often as need be: labels, ledger, clearing away.

    `known` are the paths that a ledger has already. Raises OSError where the disk refuses,
    SchemaMismatch where the manifest is damaged.
    """
    work, final = layout.recording_dir(root, episode), layout.episode_dir(root, episode)
    content = (final / layout.MANIFEST).read_bytes()
    manifest = read(Manifest, content, where=f"the manifest of {episode}")
    place = layout.relative(root, final)
    facts = [
        ledger.Fact(f"{place}/{name}", file.size, file.sha256)
        for name, file in sorted(manifest.files.items())
    ]
    facts.append(ledger.Fact.of(f"{place}/{layout.MANIFEST}", content))
    beside, unsynced = work / BESIDE, list[Path]()
    for source in sorted(path for path in beside.rglob("*") if path.is_file()):
        target = root / source.relative_to(beside)
        unsynced += disk.new_names(target.parent, inside=root)
        with suppress(FileExistsError):
            os.link(source, target)
        unsynced.append(target.parent)
        facts.append(ledger.Fact.of(layout.relative(root, target), source.read_bytes()))
    disk.sync_all(unsynced)
    ledger.append(root, [fact for fact in facts if fact.path not in known])
    disk.remove(work)
    disk.sync_folder(work.parent)
