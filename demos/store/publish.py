"""Publish: from a recording or an importer's draft to an immutable episode, whole or not at all.

Everything is made under `recordings/<ulid>/`, synced, and the folder `episode` in it is renamed to
its final place: that one rename publishes. What belongs beside the episode (labels, findings)
waits in `beside` and is linked into place afterwards, then the ledger learns of all of it, then the
recording is removed. `complete` does what comes after the rename, again if need be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

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


def claim(root: Path, episode: str) -> disk.Claim:
    """Make and claim `recordings/<episode>/`. Raises StoreError where it exists."""
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


def publish_draft(root: Path, container: layout.Container, draft: Draft) -> Manifest:
    """Publish what an importer made; its videos are copied byte for byte."""
    publish_once(root, layout.session_file(root, draft.session.id), dump(draft.session))
    uses = keep_contracts(root, draft.session.embodiment, draft.facts.task)
    episode = new_id()
    held = claim(root, episode)
    footage = {name: copied(name, video) for name, video in draft.videos.items()}
    try:
        return publish(root, container, draft, episode, footage, uses)
    except BaseException as error:
        if layout.episode_dir(root, episode).exists():
            disk.explain(
                error,
                f"the episode {episode} is published, its ledger is not complete: run "
                f"`demos recover {root}` and do not import it again",
            )
        else:
            with suppress(OSError):
                disk.remove(held.folder)
        raise
    finally:
        held.release()


def publish(
    root: Path,
    container: layout.Container,
    draft: Draft,
    episode: str,
    footage: Mapping[str, Footage],
    uses: Mapping[str, str],
) -> Manifest:
    """Publish `draft` as `episode` from its claimed recording folder, which is removed."""
    work = layout.recording_dir(root, episode)
    with disk.doing(f"publish the episode {episode}"):
        _clear(work)
        made, final = work / EPISODE, layout.episode_dir(root, episode)
        try:
            made.mkdir()
            manifest = put_episode(made, container, draft, episode, footage, uses)
            put_beside(root, work / BESIDE, draft, episode)
            disk.sync_folder(work)
            disk.make_folder(final.parent, inside=root)
            disk.rename_folder(made, final)
        except BaseException:
            if not final.exists():
                with suppress(OSError):
                    _clear(work)  # a disk that is full needs the space
            raise
        complete(root, episode)
    return manifest


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
    beside = work / BESIDE
    for source in sorted(path for path in beside.rglob("*") if path.is_file()):
        target = root / source.relative_to(beside)
        disk.make_folder(target.parent, inside=root)
        with suppress(FileExistsError):
            os.link(source, target)
        disk.sync_folder(target.parent)
        facts.append(ledger.Fact.of(layout.relative(root, target), source.read_bytes()))
    ledger.append(root, [fact for fact in facts if fact.path not in known])
    disk.remove(work)
    disk.sync_folder(work.parent)
