"""Bring the episodes of one store into another: verified byte by byte, resumable, never twice.

A rig records into a store of its own; a team keeps one for everybody. An episode keeps its id, so
an upload that was interrupted is run again and goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demos.errors import Damaged, DemosError, StoreError
from demos.model import Manifest
from demos.provenance import sha256_file
from demos.schema import dump
from demos.store import disk, layout
from demos.store.episodes import EpisodeStore
from demos.store.publish import claim, complete, publish_once
from demos.store.staging import BESIDE, EPISODE

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What came over, what was there already, and what could not come: (id, why, what to do)."""

    brought: tuple[str, ...]
    known: tuple[str, ...]
    refused: tuple[tuple[str, str, str], ...]


def transfer(
    source: EpisodeStore, target: EpisodeStore, progress: Progress | None = None
) -> Transfer:
    """Bring every episode of `source` with its session, contracts and labels into `target`.

    A damaged episode is refused and the rest comes over. Nothing in `source` is changed.
    """
    ids = source.episode_ids()
    there = set(target.episode_ids())
    brought: list[str] = []
    refused: list[tuple[str, str, str]] = []
    for number, episode in enumerate(ids, 1):
        try:
            if target.is_withdrawn(episode):
                _refuse_withdrawn(target, episode)
            if episode not in there:
                _bring(source, target, episode)
                brought.append(episode)
            _bring_labels(source, target, episode)
        except DemosError as error:
            refused.append((episode, str(error), error.hint))
        if progress is not None:
            progress(number, len(ids))
    known = tuple(episode for episode in ids if episode in there)
    return Transfer(tuple(brought), known, tuple(refused))


def _refuse_withdrawn(target: EpisodeStore, episode: str) -> None:
    raise StoreError(f"episode {episode} was withdrawn from {target.root}").with_hint(
        "it is not taken back; delete the session on the rig too: `demos withdraw RIG SESSION`"
    )


def _bring(source: EpisodeStore, target: EpisodeStore, episode: str) -> None:
    manifest = source.manifest(episode)
    publish_once(
        target.root,
        layout.session_file(target.root, manifest.session),
        dump(source.session(manifest.session)),
    )
    for used, sha256 in manifest.uses.items():
        folder, name = used.split("/", 1)
        kept = layout.used_file(source.root, folder, name, sha256)
        with disk.doing(f"read {kept.name}"):
            content = kept.read_bytes()
        publish_once(target.root, layout.used_file(target.root, folder, name, sha256), content)
    held = claim(target.root, episode, synced=False)
    try:
        with disk.doing(f"receive the episode {episode}"):
            _copy(layout.episode_dir(source.root, episode), held.folder / EPISODE, manifest)
            (held.folder / BESIDE).mkdir()
            made, work = held.folder / EPISODE, held.folder
            disk.sync_all([*disk.tree(made), *disk.tree(work / BESIDE), work, work.parent])
            final = layout.episode_dir(target.root, episode)
            disk.rename_folder(held.folder / EPISODE, final, inside=target.root)
            complete(target.root, episode)
    except BaseException:
        # what was renamed is whole and completed by `recover`; the rest was never promised
        if (held.folder / EPISODE).exists():
            disk.remove(held.folder)
        raise
    finally:
        held.release()


def _copy(source: Path, into: Path, manifest: Manifest) -> None:
    """Copy the files of an episode, each compared with its hash. Raises Damaged."""
    into.mkdir()
    for name, file in manifest.files.items():
        copy = into / name
        shutil.copyfile(source / name, copy)
        if copy.stat().st_size != file.size or sha256_file(copy) != file.sha256:
            raise Damaged(f"{name} of episode {manifest.id} is not what was recorded").with_hint(
                "run `demos verify --deep` on the rig's store; record the episode again if the "
                "damage is there too"
            )
    disk.write_new(into / layout.MANIFEST, (source / layout.MANIFEST).read_bytes())


def _bring_labels(source: EpisodeStore, target: EpisodeStore, episode: str) -> None:
    for label in source.labels(episode):
        path = layout.label_file(target.root, episode, label.id)
        if not path.exists():
            publish_once(target.root, path, dump(label))
