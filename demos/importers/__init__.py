"""Read other people's recordings into a store. One file here is one source format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from demos import embodiment as embodiments
from demos._registry import Registry
from demos.errors import DemosError, ImportFailed, UnknownName
from demos.formats.notes import Notes
from demos.formats.options import Options as Options
from demos.mapping.trial import Ruling, Trial
from demos.model import Draft, Finding
from demos.model.records import Scalar
from demos.provenance import source_identity

if TYPE_CHECKING:
    from demos.store import EpisodeStore

Progress = Callable[[int, int | None, str], None]
"""Called after each episode with how many are done, of how many where known, and its name."""


@dataclass(frozen=True, slots=True)
class Found:
    """One episode, ready to publish. `of` is how many the source holds, where known.

    The files of `draft.videos` may be temporary: they stay until the next item is asked for.
    `judged`: its channels were held against its body before, when it first came into a store.
    """

    name: str
    draft: Draft
    of: int | None = None
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """One episode that cannot be read: why, and what to do about it."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the whole source, in words.

    `missing`: its metadata promises it and the copy lacks it. `contradiction`: metadata and
    files disagree. `assumed`: the source does not say it.
    """

    about: Literal["missing", "contradiction", "assumed"]
    text: str


Item = Found | Refused | Remark


class Importer(Protocol):
    """What a source format must offer. The class's docstring says what it reads."""

    loses: ClassVar[str]
    """One sentence: what of the source does not come in, or what the format never held."""

    def sniff(self, path: Path) -> bool:
        """Say whether `path` is this format, reading at most a header. Never raises."""

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield what is in `path`, one episode at a time, in recording order."""

    def write_example(self, path: Path) -> Path:
        """Write the smallest real recording of this format under `path` and return it."""


TRIED = 8
"""So many episodes are held against the body before the first is published."""

importers: Registry[type[Importer]] = Registry("importer", __name__)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What went into the store, what did not and why, and what was assumed on the way.

    episodes: (source name, episode id). skipped: (source name, reason, hint), those imported
    before included. findings: (source name, finding). The rest is words.
    """

    source: str
    format: str
    episodes: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str, str], ...] = ()
    missing: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    findings: tuple[tuple[str, Finding], ...] = ()


def attempt(name: str, build: Callable[[], Draft], of: int | None = None) -> Found | Refused:
    """Build one episode; whatever is wrong with it becomes a refusal, so that the rest goes in."""
    from demos.formats import held

    try:
        with held.episode():
            return Found(name, build(), of)
    except DemosError as error:
        return Refused(name, str(error), error.hint or "look at the source")
    except Exception as error:  # noqa: BLE001  pyarrow, numpy and PyAV raise dozens of kinds
        reason = f"it cannot be read: {type(error).__name__}: {error}"
        return Refused(name, reason, "the files are damaged; copy them again from their source")


def attempts(builds: Sequence[tuple[str, Callable[[Path], Draft]]]) -> Iterator[Found | Refused]:
    """Build episodes by name, each with an empty folder that stays until the next is asked for."""
    for name, build in builds:
        with TemporaryDirectory(prefix="demos-import-") as scratch:
            yield attempt(name, partial(build, Path(scratch)), len(builds))


def open_source(
    source: Path, options: Options | None = None, *, format: str | None = None
) -> Iterator[Item]:
    """Yield the episodes of a recording; the format is found by looking where none is named."""
    name, path, remarks = locate(Path(source), format)
    yield from remarks
    try:
        yield from importers[name]().episodes(path, options or Options())
    except DemosError:
        raise
    except Exception as error:
        raise ImportFailed(f"{path.name} is not a whole {name} recording: {error}").with_hint(
            "copy it again from its source"
        ) from error


def import_source(
    source: Path,
    store: EpisodeStore,
    *,
    format: str | None = None,
    embodiment: str | None = None,
    task: str | None = None,
    operator: str | None = None,
    factors: Mapping[str, Scalar] | None = None,
    ignore: Sequence[str] = (),
    accept_mapping: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Put every readable episode of `source` into `store` and report on all of it.

    Episodes whose bytes are in the store already are skipped, so an import that was interrupted
    is run again and goes on, in the session it had begun. Raises ImportFailed where nothing at
    all could be read, and before anything is published where the first episodes contradict the
    mapping to the body (`demos.mapping.trial`), unless `accept_mapping`.
    """
    body = embodiments.load(embodiment, store.root) if embodiment else None
    options = Options(
        body, task, operator, factors or {}, tuple(ignore), accept_mapping, store.root
    )
    source = Path(source)
    name, path, remarks = locate(source, format)
    known = _known(store, name)
    withdrawn = {t.source: t.withdrawn_at.date() for t in store.tombstones() if t.source}
    rulings = _tried(path, options, name)
    if not accept_mapping:
        _refuse_doubtful(source, rulings)
    words: dict[str, list[str]] = {"missing": [], "contradiction": [], "assumed": []}
    for remark in remarks:
        words[remark.about].append(remark.text)
    episodes: list[tuple[str, str]] = []
    skipped: list[tuple[str, str, str]] = []
    findings: list[tuple[str, Finding]] = []
    session = None
    before = 0
    for item in open_source(path, options, format=name):
        if isinstance(item, Remark):
            words[item.about].append(item.text)
            continue
        if isinstance(item, Refused):
            skipped.append((item.name, item.reason, item.hint))
        else:
            draft = _judged(item.draft, rulings.get(item.draft.session.embodiment))
            provenance = draft.facts.provenance
            words["assumed"] += [f for f in provenance.assumed if f not in words["assumed"]]
            words["missing"] += [f"{item.name}: {what}" for what in provenance.missing]
            identity = source_identity(provenance)
            earlier = known.get(identity)
            if identity in withdrawn:
                skipped.append((item.name, _WITHDRAWN.format(withdrawn[identity]), _ASK))
            elif earlier is not None:
                before += 1
                session = session or store.session(store.manifest(earlier).session)
                skipped.append(
                    (item.name, f"imported before as {earlier}", "nothing to do, it is there")
                )
            else:
                # a session that was begun is gone on with; another one of the source is not
                if session and session.model_copy(update={"id": draft.session.id}) == draft.session:
                    draft = replace(draft, session=session)
                published = store.publish(draft)
                known[identity] = published.id
                episodes.append((item.name, published.id))
                findings += [(item.name, finding) for finding in draft.findings]
            del draft  # or it would be held while the next one is read
        called, total = item.name, item.of if isinstance(item, Found) else None
        del item
        if progress is not None:
            progress(len(episodes) + len(skipped), total, called)
    if not episodes and not before:
        raise _nothing(source, skipped, words["missing"])
    return ImportReport(
        str(source),
        name,
        tuple(episodes),
        tuple(skipped),
        tuple(words["missing"]),
        tuple(words["contradiction"]),
        tuple(words["assumed"]),
        tuple(findings),
    )


def locate(source: Path, format: str | None = None) -> tuple[str, Path, tuple[Remark, ...]]:
    """Find the format of a source and the folder that is it: itself, or the only one below it.

    Raises ImportFailed, naming what the source looks like where that is cheap to tell.
    """
    try:
        there = source.exists()
    except (OSError, ValueError) as error:
        raise ImportFailed(f"{source} cannot be looked at: {error}").with_hint(
            "check the permissions of the folder"
        ) from error
    if not there:
        raise ImportFailed(f"{source} does not exist").with_hint(
            "name the folder or file that holds the recording"
        )
    if format is not None:
        importers[format]
        return format, source, ()
    fits = [(name, source) for name in importers if importers[name]().sniff(source)]
    remarks: tuple[Remark, ...] = ()
    if not fits:
        below = list(islice(_below(source), 5000))
        fits = list(_claims(below))
        if len(fits) == 1:
            place = fits[0][1].relative_to(source).as_posix()
            remarks = (Remark("assumed", f"the recording is the folder {place} below the source"),)
        elif not fits:
            raise ImportFailed(f"{source} is {_looks_like(source, below)}").with_hint(
                f"known formats: {', '.join(importers)}"
            )
    if len(fits) > 1:
        listed = ", ".join(f"{place.name} ({name})" for name, place in fits[:6])
        raise ImportFailed(f"{source} holds {len(fits)} recordings: {listed}").with_hint(
            "import them one at a time, the format named where one folder has two"
        )
    return *fits[0], remarks


def _tried(path: Path, options: Options, format: str) -> dict[str, Ruling]:
    """Look at the numbers of the first episodes: what they say of the mapping to each body."""
    trials: dict[str, Trial] = {}
    seen = 0
    for item in open_source(path, replace(options, numbers_only=True), format=format):
        if isinstance(item, Found):
            seen += 1
            if not item.judged:
                _try(item.draft, options, trials)
        del item  # or it would be held while the next one is read
        if seen == TRIED:
            break
    return {name: trial.ruling() for name, trial in trials.items() if trial.judges}


def _try(draft: Draft, options: Options, trials: dict[str, Trial]) -> None:
    name = draft.session.embodiment
    if name not in trials:
        try:
            body = options.embodiment or embodiments.load(name, options.store)
        except UnknownName:
            return
        said = draft.facts.provenance.parameters.get("ignored", options.ignore)
        trials[name] = Trial(body, tuple(said))
    trials[name].add(draft.streams)


def _refuse_doubtful(source: Path, rulings: Mapping[str, Ruling]) -> None:
    for name, ruling in rulings.items():
        if doubts := ruling.suspicions:
            more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
            raise ImportFailed(
                f"{source.name} hardly fits {name}: {doubts[0].message}{more}"
            ).with_hint(f"{doubts[0].hint}; or import it as it is with --accept-mapping")


def _judged(draft: Draft, ruling: Ruling | None) -> Draft:
    """Write into a draft what its source's mapping was held against, and what was accepted."""
    if ruling is None:
        return draft
    notes = Notes(assumed=[ruling.summary])
    for doubt in ruling.suspicions:
        notes.assumed.append(f"mapping accepted, though {doubt.message}")
        notes.find("mapping", f"accepted, though {doubt.message}", doubt.hint)
    provenance = draft.facts.provenance
    provenance = provenance.model_copy(update={"assumed": (*provenance.assumed, *notes.assumed)})
    facts = draft.facts.model_copy(update={"provenance": provenance})
    return replace(draft, facts=facts, findings=(*draft.findings, *notes.findings))


def _known(store: EpisodeStore, format: str) -> dict[str | None, str]:
    known = {}
    for episode in store.episode_ids():
        provenance = store.manifest(episode).provenance
        if provenance.source_format.split(" ")[0] == format:
            known[source_identity(provenance)] = episode
    return known


_WITHDRAWN = "it was withdrawn from this store on {}"
_ASK = "it is not taken back; where consent was given anew, import it into another store"


def _nothing(
    source: Path, skipped: Sequence[tuple[str, str, str]], missing: Sequence[str]
) -> ImportFailed:
    if not skipped:
        lacks = f"; missing: {', '.join(missing[:3])}" if missing else ""
        return ImportFailed(f"{source} holds no episode{lacks}").with_hint(
            "copy the folder whole from its source"
        )
    name, reason, hint = skipped[0]
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    return ImportFailed(f"nothing in {source} can be read: {name}: {reason}{more}").with_hint(hint)


def _claims(below: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield which format claims which place; what lies in a claimed folder belongs to it."""
    taken: set[Path] = set()
    for place in below:
        if taken.isdisjoint(place.parents):
            found = [name for name in importers if importers[name]().sniff(place)]
            taken |= {place} if found else set()
            yield from ((name, place) for name in found)


def _below(folder: Path, depth: int = 6) -> Iterator[Path]:
    try:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return
    yield from inside
    for path in inside if depth > 1 else ():
        if not path.is_symlink():
            yield from _below(path, depth - 1)


_SIGNS = (
    ("data.json", "a recording of Unitree's xr_teleoperate"),
    ("dataset_info.json", "an RLDS dataset (TFDS)"),
    (".tfrecord", "an RLDS dataset (TFDS)"),
    (".mcap", "an MCAP recording"),
    (".db3", "a ROS 2 bag"),
    (".bag", "a ROS 1 bag"),
    (".hdf5", "HDF5 of another layout"),
    (".h5", "HDF5 of another layout"),
    (".zarr", "Zarr"),
    ("zarr.json", "Zarr"),
)


def _looks_like(source: Path, below: Sequence[Path]) -> str:
    if source.is_dir() and not below:
        return "an empty folder"
    for path in (source, *below):
        for sign, kind in _SIGNS:
            if path.name == sign or (sign.startswith(".") and sign in path.suffixes[:1]):
                return f"no known format; it looks like {kind}, which cannot be read here"
    return "no known format"
