"""RLDS datasets as TensorFlow Datasets writes them: one record of a tfrecord is one episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from demos.errors import DemosError, ImportFailed
from demos.formats import tfds
from demos.formats.columns import changes
from demos.formats.files import licence, modified
from demos.formats.joints import OPAQUE
from demos.formats.names import task_id, word
from demos.formats.notes import Notes
from demos.formats.pictures import Pictures, write_pictures
from demos.formats.rlds import Record, read_record
from demos.formats.sitting import Sitting, sitting
from demos.formats.tfrecord import Damage, records
from demos.importers import Found, Item, Options, Refused, Remark, attempt, importers
from demos.model import (
    CameraInfo,
    Draft,
    Event,
    Facts,
    Label,
    Nanoseconds,
    Span,
    Stream,
    StreamInfo,
    VideoFile,
)
from demos.model.records import Clock
from demos.provenance import new_label, sha256_bytes

_RATES = {
    "bridge": (5.0, "Walke et al. 2023, BridgeData V2"),
    "fractal": (3.0, "Brohan et al. 2022, RT-1"),
    "droid": (15.0, "Khazatsky et al. 2024, DROID"),
}
"""Control rates in Hz that the papers of well-known datasets state, by how their names begin."""

_OTHERWISE_HZ = 10.0
_INSTRUCTIONS = ("language_instruction", "natural_language_instruction", "instruction")


@importers.adding("rlds")
class Rlds:
    """Read RLDS datasets of TensorFlow Datasets (tfrecord), without TensorFlow."""

    loses: ClassVar[str] = (
        "the format has no rate and no stamps; images that are neither JPEG nor PNG, "
        "and ragged values, are left out"
    )

    def sniff(self, path: Path) -> bool:
        """Look for `steps` in `features.json`, beside a description or records."""
        try:
            return tfds.is_rlds(path)
        except (OSError, ValueError):
            return False

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the records, split by split and file by file, then which of them repeat others."""
        dataset = tfds.survey(path)
        yield from _absent(dataset)
        source = _Source(path, dataset, options)
        total = sum(sum(lengths) for lengths in dataset.promised.values()) or None
        counts = dict.fromkeys(dataset.splits, 0)
        for shard in dataset.shards:
            for content in _contents(shard):
                name = f"{shard.split}_{counts[shard.split]:06d}"
                counts[shard.split] += 1
                if isinstance(content, Damage):
                    yield Refused(name, content.reason, "copy the file again from its source")
                    continue
                with TemporaryDirectory(prefix="demos-import-") as scratch:
                    place = _Place(shard, name, Path(scratch))
                    item = attempt(name, partial(_draft, source, place, content), total)
                    if isinstance(item, Found):
                        source.names.setdefault(source.last, []).append(name)
                    yield item
        yield from _contradictions(source, counts)

    def write_example(self, path: Path) -> Path:
        """Write a dataset of two episodes: joints, actions, a camera, an instruction."""
        from demos.formats.rlds_example import write_dataset

        return write_dataset(path / "example_dataset" / "1.0.0")


@dataclass(slots=True)
class _Source:
    """A dataset: what is said of all its episodes, and which content was seen under which names."""

    root: Path
    dataset: tfds.Dataset
    options: Options
    sitting: Sitting = field(init=False)
    rate_hz: float = field(init=False)
    clock: Clock = field(init=False)
    names: dict[str, list[str]] = field(default_factory=dict)
    last: str = ""

    def __post_init__(self) -> None:
        options, name = self.options, self.dataset.name
        self.sitting = sitting(
            self.root, "", None, options, format=f"rlds {self.dataset.version}".strip(),
            licence=licence(self.root), software={"dataset": name},
        )  # fmt: skip
        known = next((rate for start, rate in _RATES.items() if name.startswith(start)), None)
        self.rate_hz, self.clock = (
            (known[0], "nominal") if known else (_OTHERWISE_HZ, "synthesised")
        )

    @property
    def assumed(self) -> str:
        """Say where the rate is from."""
        known = [
            paper for start, (_, paper) in _RATES.items() if self.dataset.name.startswith(start)
        ]
        said = f"as {known[0]} states" if known else "taken for want of anything better"
        return f"clock: step / {self.rate_hz:g} Hz, {said}; RLDS keeps neither a rate nor stamps"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record lies, what it is called here, and a folder for its videos."""

    shard: tfds.Shard
    name: str
    scratch: Path


def _contents(shard: tfds.Shard) -> Iterator[bytes | Damage]:
    try:
        yield from records(shard.path)
    except (ImportFailed, OSError) as error:
        yield Damage(str(error), last=True)


def _draft(source: _Source, place: _Place, content: bytes) -> Draft:
    dataset, options = source.dataset, source.options
    notes = Notes(assumed=[*source.sitting.assumed, source.assumed])
    record = read_record(content, dataset.fields)
    source.last = record.sha256
    notes.sha256[f"{place.shard.path.name}#{place.name}"] = sha256_bytes(content)
    time_ns = np.rint(np.arange(record.steps) / source.rate_hz * 1e9).astype(np.int64)
    notes.assumed += record.assumed
    for key, reason in record.lost.items():
        notes.missing.append(f"{key}: {reason}")
        notes.find("field", f"{key} was not kept: {reason}", "look into the source", "info")
    if before := source.names.get(record.sha256):
        split = before[0].rpartition("_")[0]
        notes.find(
            "repeated",
            f"every number and image of {place.name} is also in {before[0]}"
            + (
                f": split {place.shard.split} repeats split {split}"
                if split != place.shard.split
                else ""
            ),
            "leave one of them out before training; `demos duplicates STORE` lists all",
        )
    _flags(record, time_ns, notes)
    instruction, labels, events = _words(record, dataset, time_ns, notes)
    streams = _streams(record, source, time_ns)
    videos = {} if options.numbers_only else _videos(record, source, place, time_ns, notes)
    if source.sitting.body is not None:
        notes.assumed.append("channels have no names in RLDS, so none was connected to the body")
    if options.task is None:
        notes.assumed.append("task: the source has no task ids, one is made of the instruction")
    facts = Facts(
        task=options.task or task_id(instruction),
        instruction=instruction,
        recorded_at=modified(place.shard.path),
        factors=dict(options.factors),
        provenance=notes.provenance(
            f"{dataset.name}/{dataset.version}/{place.shard.path.name}",
            f"rlds {dataset.version}".strip(),
            parameters={
                "source_episode": place.name,
                "dataset": dataset.name,
                "split": place.shard.split,
                "steps_sha256": record.sha256,
                "rate_hz": source.rate_hz,
                "ignored": list(options.ignore),
                **({"metadata": dict(record.metadata)} if record.metadata else {}),
            },
        ),
    )
    return Draft(
        source.sitting.session, facts, streams, videos, events, labels, tuple(notes.findings)
    )


def _streams(record: Record, source: _Source, time_ns: Nanoseconds) -> dict[str, Stream]:
    said = {each.key: each.description for each in source.dataset.fields}
    made: dict[str, Stream] = {}
    for key, values in record.numbers.items():
        name = _name(key)
        name = name if name not in made else word(key.replace("/", "."))
        if name in source.options.ignore or key in source.options.ignore:
            continue
        rows = values if values.ndim > 1 else values[:, None]
        short, width = name.rpartition(".")[2], rows.shape[1]
        flat = rows.ndim == 2
        channels = (
            (short,) if width == 1 or not flat else tuple(f"{short}_{n}" for n in range(width))
        )
        words = " ".join(said.get(f"{tfds.STEPS}/{key}", "").split())
        info = StreamInfo(
            units=("unknown",) * len(channels),
            channels=channels,
            clock=source.clock,
            rate_hz=source.rate_hz,
            shape=None if flat else rows.shape[1:],
            semantics=OPAQUE if key.split("/")[0] == "action" else None,
            note=f"RLDS steps/{key}" + (f"; the source says: {words}" if words else ""),
        )
        made[name] = Stream(time_ns, np.ascontiguousarray(rows), info)
    return made


def _videos(
    record: Record, source: _Source, place: _Place, time_ns: Nanoseconds, notes: Notes
) -> dict[str, VideoFile]:
    from demos.store.video import index_file

    deep = {f.key for f in source.dataset.fields if f.kind == "image" and f.dtype == "uint16"}
    made: dict[str, VideoFile] = {}
    denied: list[str] = []
    for key, images in record.images.items():
        name = _name(key)
        if name in source.options.ignore or key in source.options.ignore:
            continue
        target = place.scratch / f"{len(made)}.mp4"
        try:
            held = Pictures(len(images), lambda n, images=images: bytes(images[n]))  # type: ignore[misc]
            write_pictures(held, source.rate_hz, target)
            index = index_file(target)
            if len(index) != record.steps:
                raise ImportFailed(f"{len(images)} pictures make {len(index)} images")
        except DemosError as error:
            notes.missing.append(f"video of {name}")
            notes.find(
                "missing_video", f"no images of {name}: {error}",
                error.hint or "look into the source", stream=f"image.{name}",
            )  # fmt: skip
            continue
        if record.metadata.get(f"has_{name}") is False:
            same = all(image == images[0] for image in images)
            denied.append(f"{name} (one picture in all steps)" if same else name)
        note = f"RLDS steps/{key}"
        if f"{tfds.STEPS}/{key}" in deep:
            note += "; 16 bits a pixel, whole in the file, 8 bits where it is shown"
        info = CameraInfo(
            width=index.width, height=index.height, rate_hz=source.rate_hz, clock=source.clock,
            codec=index.codec, note=note,
        )  # fmt: skip
        made[name] = VideoFile(target, info, time_ns)
    if denied:
        notes.find(
            "camera",
            f"the metadata denies the images of {', '.join(denied)}; they were kept",
            "look at them before training on them",
            "info",
        )
    return made


def _flags(record: Record, time_ns: Nanoseconds, notes: Notes) -> None:
    """Hold the flags against what they must say: the first step and the last, once each."""
    for key, row in (("is_first", 0), ("is_last", record.steps - 1)):
        flags = record.numbers.get(key)
        if flags is None:
            continue
        told = np.flatnonzero(flags.reshape(record.steps, -1)[:, 0])
        if told.tolist() != [row]:
            notes.find(
                "steps", f"{key} is true in steps {told[:5].tolist()}, not in step {row} alone",
                "the record may hold more than one episode, or a part of one",
                start_ns=int(time_ns[int(told[0])]) if len(told) else None,
            )  # fmt: skip


def _words(
    record: Record, dataset: tfds.Dataset, time_ns: Nanoseconds, notes: Notes
) -> tuple[str, tuple[Label, ...], tuple[Event, ...]]:
    """Turn texts into the instruction, labels and events where a text changes."""
    instruction, labels, events = "", [], []
    for key, texts in record.texts.items():
        run = changes(texts)
        if key.rpartition("/")[2].removesuffix("_2").removesuffix("_3") not in _INSTRUCTIONS:
            events += [
                Event(name=key[:200], time_ns=int(time_ns[row]), values={"value": text})
                for row, text in run[:1000]
            ]
            continue
        if not any(text.strip() for _, text in run):
            notes.assumed.append(f"{key}: empty, so the episode counts as unlabelled")
            continue
        instruction = instruction or next(text for _, text in run if text.strip()).strip()
        ends = [*(int(time_ns[row]) for row, _ in run[1:]), int(time_ns[-1])]
        spans = tuple(
            Span(start_ns=int(time_ns[row]), end_ns=end, value=text[:200] or "-")
            for (row, text), end in zip(run, ends, strict=True)
        )
        labels.append(
            new_label(
                notes.id, "instruction", annotator=f"{dataset.name} (source)"[:200],
                role="reviewer", value=str(run[0][1]) if len(run) == 1 else "",
                spans=spans if len(run) > 1 else (), note=f"RLDS steps/{key}",
            )
        )  # fmt: skip
        notes.assumed.append(f"{key}: written by people; the source does not say by whom")
    return instruction, tuple(labels), tuple(sorted(events, key=lambda e: e.time_ns))


def _absent(dataset: tfds.Dataset) -> Iterator[Remark]:
    for split in dict.fromkeys((*dataset.promised, *dataset.splits)):
        there = [shard for shard in dataset.shards if shard.split == split]
        if not there:
            yield Remark("missing", f"split {split}: no file of it is here")
            continue
        of, have = there[0].of, {shard.number for shard in there}
        if lacks := [n for n in range(min(of, 100_000)) if n not in have]:
            yield Remark(
                "missing", f"split {split}: {len(lacks)} of {of} files, first {lacks[0]:05d}"
            )


def _contradictions(source: _Source, counts: dict[str, int]) -> Iterator[Remark]:
    """Say where splits repeat each other, and where records are more or fewer than promised."""
    for split, count in counts.items():
        promised = sum(source.dataset.promised.get(split, ())) or count
        if promised != count:
            text = f"split {split} should have {promised} episodes, {count} were found"
            yield Remark("contradiction", text)
    repeats: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for first, *more in source.names.values():
        for other in more:
            pair = (first.rpartition("_")[0], other.rpartition("_")[0])
            repeats.setdefault(pair, []).append((first, other))
    for (one, other), pairs in repeats.items():
        listed = ", ".join(f"{b} is {a}" for a, b in pairs[:3]) + (
            ", ..." if len(pairs) > 3 else ""
        )
        where = (
            f"split {other} repeats split {one}" if one != other else f"split {one} repeats itself"
        )
        text = f"{where}: {len(pairs)} of {counts[other]} episodes are the same ({listed})"
        yield Remark("contradiction", text)


def _name(key: str) -> str:
    return word(key.removeprefix("observation/").replace("/", "."))
