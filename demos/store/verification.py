"""Is every byte still what was published? Files against ledgers, and deep into each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from demos.errors import DemosError, EpisodeNotFound, NewerVersion
from demos.model import Label, LedgerEntry, Manifest, SelectionRecord, Session, StoreInfo, Tombstone
from demos.model.records import Record
from demos.provenance import sha256_file
from demos.schema import read
from demos.store import disk, layout, ledger
from demos.store.episodes import EpisodeStore
from demos.store.withdrawal import INTENT

Progress = Callable[[int, int], None]
_RESTORE = "restore it from a copy"
_RECOVER = "run `demos recover STORE`"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `path` from the store's root, what, and what to do about it."""

    path: str
    what: str
    hint: str = _RESTORE

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def verify(
    store: EpisodeStore | str | Path,
    episodes: Collection[str] | None = None,
    *,
    deep: bool = False,
    progress: Progress | None = None,
) -> list[Problem]:
    """Compare the store with its ledgers: what is missing, of another size, or unknown.

    `deep` reads every byte: hashes, checksums of every chunk, manifests against what the signals
    hold, every record. `episodes` keeps to some episodes, their labels and their findings.
    `progress(done, total)` counts steps. Nothing is changed.

    Raises StoreError where there is no store, NewerVersion, EpisodeNotFound.
    """
    root = store.root if isinstance(store, EpisodeStore) else Path(store).absolute()
    with disk.doing(f"verify {root}"):
        # files first: what others publish meanwhile is in a ledger by the time it is read
        present = dict(_files(root))
        ledgers = list(ledger.read_all(root))
        published, withdrawn = ledger.known(ledgers)
        problems = list(_store_problems(root, ledgers, published.get(layout.STORE_FILE)))
        problems += _ledger_problems(root, ledgers)
        if episodes is not None:
            known = {path.split("/")[2] for path in published if path.startswith("episodes/")}
            for episode in episodes:
                if episode not in known:
                    raise EpisodeNotFound.among(episode, known)
            published = {p: e for p, e in published.items() if _is_of(p, episodes)}
            present = {p: size for p, size in present.items() if _is_of(p, episodes)}
        else:
            problems += _interrupted(root)
        whole: list[str] = []
        for path, entry in sorted(published.items()):
            if path in withdrawn:
                continue
            size = present.get(path, _size(root / path))
            if size is None:
                problems.append(Problem(path, "is missing"))
            elif size != entry.size:
                problems.append(Problem(path, f"has {size} bytes, {entry.size} were published"))
            else:
                whole.append(path)
        problems += _strangers(root, present, published, withdrawn)
        if deep:
            problems += _deep(root, whole, published, progress)
    return _gathered(problems, published, present)


def _store_problems(
    root: Path, ledgers: list[ledger.Ledger], entry: LedgerEntry | None
) -> Iterator[Problem]:
    """Raise where there is no store that this release can read; describe a damaged one."""
    try:
        EpisodeStore.open(root)
    except NewerVersion:
        if entry is None or sha256_file(root / layout.STORE_FILE) == entry.sha256:
            raise
    except DemosError as error:
        if not ledgers:
            raise
        yield Problem(layout.STORE_FILE, f"cannot be read: {error}")


def _ledger_problems(root: Path, ledgers: list[ledger.Ledger]) -> Iterator[Problem]:
    if not ledgers:
        yield Problem("ledger", "holds no ledger")
    if not (root / "ledger").is_dir():
        return
    for found in ledgers:
        path = layout.relative(root, found.path)
        for problem in found.problems:
            yield Problem(path, problem)
        if found.torn:
            yield Problem(path, f"its last line is cut short after {found.torn} bytes", _RECOVER)
    names = {found.path.name for found in ledgers}
    for file in sorted((root / "ledger").iterdir()):
        if file.suffix == ".head":
            problem = ledger.head_problem(file)
            if problem:
                yield Problem(layout.relative(root, file), problem)
            if file.with_suffix(".jsonl").name not in names:
                yield Problem(layout.relative(root, file.with_suffix(".jsonl")), "is missing")
        elif file.name not in names:
            yield Problem(layout.relative(root, file), "is no ledger")
    for name in sorted(names):
        head = (root / "ledger" / name).with_suffix(".head")
        if not head.exists():
            yield Problem(layout.relative(root, head), "is missing", _RECOVER)


def _files(root: Path) -> Iterator[tuple[str, int]]:
    """Yield every file that a ledger should know, with its size in bytes."""
    if (root / layout.STORE_FILE).exists():
        yield layout.STORE_FILE, (root / layout.STORE_FILE).lstat().st_size
    for path in root.glob(f"{disk.STAGED}*"):
        yield path.name, path.lstat().st_size
    for folder in layout.PUBLISHED:
        yield from _below(f"{root}{os.sep}", folder)
    for folder in layout.EDITABLE:
        for name, size in _below(f"{root}{os.sep}", folder):
            # people edit the others
            if "@" in name.rsplit("/", 1)[-1] or disk.STAGED in name:
                yield name, size


def _below(root: str, folder: str) -> Iterator[tuple[str, int]]:
    try:
        entries = os.scandir(root + folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            name = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _below(root, name)
            else:
                yield name, entry.stat(follow_symlinks=False).st_size


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except (OSError, ValueError):
        # a damaged ledger may name what can be no path
        return None


def _is_of(path: str, episodes: Collection[str]) -> bool:
    parts = path.split("/")
    if parts[0] in ("episodes", "labels"):
        return len(parts) > 2 and parts[2] in episodes
    return parts[0] == "results" and any(f"part-{e}.parquet" == parts[-1] for e in episodes)


def _interrupted(root: Path) -> Iterator[Problem]:
    for folder in disk.listed(root / "recordings"):
        if not folder.is_dir():
            yield Problem(layout.relative(root, folder), "is no recording", "move it elsewhere")
            continue
        held = disk.Claim.peek(folder)
        if not held:
            what = "a withdrawal" if (folder / INTENT).exists() else "a recording"
            yield Problem(layout.relative(root, folder), f"{what} was interrupted", _RECOVER)


def _strangers(
    root: Path,
    present: Mapping[str, int],
    published: Mapping[str, LedgerEntry],
    withdrawn: Mapping[str, LedgerEntry],
) -> Iterator[Problem]:
    unknown = [path for path in sorted(present) if path not in published]
    for path in sorted(set(present) & set(withdrawn)):
        yield Problem(path, "was withdrawn and is there still", _RECOVER)
    living = [path for path in unknown if _being_published(root, path, present)]
    # a file that was in the making when it was seen may have been finished since
    known = ledger.known(ledger.read_all(root))[0] if unknown else {}
    for path in unknown:
        if path in living or path in known or path in withdrawn:
            continue
        if not path.rsplit("/", 1)[-1].startswith(disk.STAGED):
            yield Problem(
                path,
                "nobody published this file, or its line in a ledger is gone",
                f"{_RECOVER}; if it stays, restore the ledger from a copy or move the file away",
            )
        elif (root / path).exists():
            yield Problem(path, "was left by a write that was interrupted", _RECOVER)


def _being_published(root: Path, path: str, present: Mapping[str, int]) -> bool:
    """Whether a living process is about to enter this file into its ledger."""
    folder, _, name = path.rpartition("/")
    if name.startswith(disk.STAGED):
        return disk.is_locked(root / path)
    parts = path.split("/")
    episode = name[5:31] if parts[0] == "results" else parts[2] if len(parts) > 2 else ""
    if episode and disk.Claim.peek(layout.recording_dir(root, episode)):
        return True
    prefix = f"{folder}/{disk.STAGED}" if folder else disk.STAGED
    return any(
        other.startswith(prefix) and other.endswith(f"-{name}") and disk.is_locked(root / other)
        for other in present
    )


def _deep(
    root: Path,
    paths: list[str],
    published: Mapping[str, LedgerEntry],
    progress: Progress | None,
) -> Iterator[Problem]:
    tell = progress or (lambda done, total: None)
    sound: set[str] = set()
    for done, path in enumerate(paths):
        tell(done, 2 * len(paths))
        try:
            if sha256_file(root / path) == published[path].sha256:
                sound.add(path)
            else:
                yield Problem(path, f"is not what was published{_place(root / path)}")
        except OSError as error:
            yield Problem(path, f"cannot be read: {(error.strerror or str(error)).lower()}")
    for done, path in enumerate(paths, len(paths)):
        tell(done, 2 * len(paths))
        if path in sound:
            for what in _content(root, path, published, sound):
                yield Problem(path, what)
    tell(2 * len(paths), 2 * len(paths))


def _place(path: Path) -> str:
    """Say where in a damaged file the damage is, where its format can tell."""
    for kind, name in layout.SIGNALS.items():
        if path.name == name:
            from demos.store import containers

            found = containers.check(path, kind)
            return f": {'; '.join(found[:3])}" if found else ""
    return ""


_RECORDS: dict[str, type[Record]] = {
    "sessions": Session,
    "labels": Label,
    "selections": SelectionRecord,
    layout.STORE_FILE: StoreInfo,
    layout.MANIFEST: Manifest,
    layout.TOMBSTONE: Tombstone,
}


def _content(
    root: Path, path: str, published: Mapping[str, LedgerEntry], sound: Collection[str]
) -> Iterator[str]:
    """Say what is wrong inside a file whose bytes are what was published."""
    folder, _, name = path.rpartition("/")
    record = _RECORDS.get(name) or _RECORDS.get(path.split("/", 1)[0])
    try:
        if record is not None:
            found = read(record, (root / path).read_bytes(), where=path)
            if isinstance(found, Manifest):
                yield from _episode(root, folder, found, published, sound)
        elif name.endswith(".parquet"):
            import pyarrow.parquet as pq

            pq.read_table(root / path)
    except (DemosError, OSError, ValueError) as error:
        yield str(error)


def _episode(
    root: Path,
    folder: str,
    manifest: Manifest,
    published: Mapping[str, LedgerEntry],
    sound: Collection[str],
) -> Iterator[str]:
    from demos.store import containers

    for name, file in manifest.files.items():
        entry = published.get(f"{folder}/{name}")
        if entry is None or (entry.size, entry.sha256) != (file.size, file.sha256):
            yield f"disagrees with the ledger about {name}"
    name = f"{folder}/{layout.SIGNALS[manifest.container]}"
    signals = root / name
    if name not in sound:
        return  # that is said already
    problems = containers.check(signals, manifest.container)
    if problems:
        yield f"its signals are damaged: {'; '.join(problems[:3])}"
        return
    with containers.open(signals, manifest.container) as found:
        if set(found.streams) != set(manifest.streams):
            yield f"promises other streams than {signals.name} holds"
        if set(found.packets) != set(manifest.cameras):
            yield f"promises other cameras than {signals.name} holds"
        for name, stream in found.streams.items():
            summary = manifest.streams.get(name)
            if summary and (summary.shape, summary.info) != (stream.values.shape, stream.info):
                yield f"describes stream {name!r} otherwise than {signals.name} holds it"
        for name, index in found.packets.items():
            camera = manifest.cameras.get(name)
            if camera and camera.images != len(index):
                yield f"promises {camera.images} images of {name!r}, there are {len(index)}"


def _gathered(
    problems: list[Problem], published: Mapping[str, LedgerEntry], present: Mapping[str, int]
) -> list[Problem]:
    """Say of an episode of which nothing is left that it is missing, once."""
    left = {path.rsplit("/", 1)[0] for path in present if path.startswith("episodes/")}
    gathered: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        folder = problem.path.rsplit("/", 1)[0]
        gone = problem.path.startswith("episodes/") and problem.path in published
        if gone and problem.what == "is missing" and folder not in left:
            problem = Problem(folder, "the whole episode is missing")
        gathered.setdefault((problem.path, problem.what), problem)
    return list(gathered.values())
