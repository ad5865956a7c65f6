"""After a crash: publish what was recorded, complete what was begun, clear away the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from demos.errors import DemosError
from demos.model import Draft
from demos.schema import dump
from demos.store import disk, layout, ledger, recording
from demos.store.blocks import Block, blocks
from demos.store.episodes import EpisodeStore
from demos.store.publish import complete, publish, publish_once
from demos.store.withdrawal import INTENT, finish


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover` did. Ids are those of recordings, which are those of their episodes.

    published: recordings that were cut short, published from what was acknowledged.
    completed: published episodes whose labels or ledger lines were lacking.
    withdrawn: sessions whose withdrawal was finished. removed: paths of leftovers in which
    nothing was acknowledged. alive: recordings that go on in another process.
    mended: ledgers, and what was done to them. failed: recordings that stay, and why.
    """

    published: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    mended: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def recover(store: EpisodeStore) -> Recovery:
    """Bring a store in order after a crash; running it again changes nothing.

    Recordings of living processes are left alone. What cannot be published stays where it is and
    is named in `failed`. Raises StoreError where the disk refuses.
    """
    root, done = store.root, Recovery()
    with disk.doing(f"recover {root}"):
        for path in sorted((root / "ledger").glob("*.jsonl")):
            what = ledger.mend(path)
            if what:
                done.mended[layout.relative(root, path)] = what
        known = set(ledger.known(ledger.read_all(root))[0])
        for second in list(_leftovers(root)):
            _settle(root, second, known, done)
        for folder in disk.listed(root / "recordings"):
            if not folder.is_dir():
                continue
            with suppress(OSError):
                folder.rmdir()  # only where it is empty; whoever has just made it makes it again
                done.removed.append(layout.relative(root, folder))
                continue
            held = disk.Claim.take(folder)
            if held is None:
                if folder.exists():
                    done.alive.append(folder.name)
                continue
            try:
                _finish(store, folder, known, done)
            except DemosError as error:
                hint = f" ({error.hint})" if error.hint else ""
                done.failed[folder.name] = f"{error}{hint}"
            finally:
                held.release()
    return done


def _leftovers(root: Path) -> Iterator[Path]:
    """Find files that still have a second name: their writer died, or is about to end."""
    yield from root.glob(f"{disk.STAGED}*")
    for folder in (*layout.PUBLISHED, *layout.EDITABLE):
        for place, _, names in os.walk(root / folder):
            for name in names:
                if name.startswith(disk.STAGED):
                    yield Path(place, name)


def _settle(root: Path, second: Path, known: set[str], done: Recovery) -> None:
    """Enter a file into the ledger if it got its name; forget it otherwise."""
    if disk.is_locked(second):
        return
    final = disk.final_name(second)
    name = layout.relative(root, final)
    with suppress(FileNotFoundError):
        if final.exists() and final.samefile(second):
            if name not in known:
                ledger.append(root, [ledger.Fact.of(name, final.read_bytes())])
                known.add(name)
                done.completed.append(name)
        else:
            done.removed.append(layout.relative(root, second))
        second.unlink()
        disk.sync_folder(second.parent)


def _finish(store: EpisodeStore, folder: Path, known: set[str], done: Recovery) -> None:
    root, episode = store.root, folder.name
    log = folder / layout.LOG
    if (folder / INTENT).exists():
        done.withdrawn.append(finish(store, folder).session)
    elif (layout.episode_dir(root, episode) / layout.MANIFEST).exists():
        complete(root, episode, known)
        done.completed.append(episode)
    elif not log.exists() or not _holds_anything(log):
        _remove(root, folder, done)
    else:
        found = recording.read(log)
        if found.discarded or found.empty:
            _remove(root, folder, done)
            return
        header, session = found.header, found.header.session
        publish_once(root, layout.session_file(root, session.id), dump(session))
        publish(root, store.info.container, _draft(found), episode, found.footage, header.uses)
        done.published.append(episode)


def _draft(found: recording.Recording) -> Draft:
    """Say in the provenance that the recording was cut short, and what is lacking."""
    provenance = found.draft.facts.provenance.model_copy(
        update={"recovered": not found.ended, "missing": found.missing}
    )
    facts = found.draft.facts.model_copy(update={"provenance": provenance})
    return replace(found.draft, facts=facts)


def _holds_anything(log: Path) -> bool:
    return any(isinstance(block, Block) for block in blocks(log))


def _remove(root: Path, folder: Path, done: Recovery) -> None:
    disk.remove(folder)
    disk.sync_folder(folder.parent)
    done.removed.append(layout.relative(root, folder))
