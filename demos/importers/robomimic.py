"""robomimic and robosuite HDF5: many demonstrations in one file, simulated as a rule."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed
from demos.formats import hdf5
from demos.formats import robomimic as layout
from demos.formats.files import licence, modified, plain_json
from demos.formats.hdf5_episode import kept, nominal
from demos.formats.hdf5_images import LOSSY, layout_of, video
from demos.formats.joints import Columns, joint_streams
from demos.formats.names import counted, task_id, word
from demos.formats.notes import Notes
from demos.formats.robomimic_streams import JOINTS, meant, with_poses
from demos.formats.sitting import Sitting, sitting
from demos.importers import Item, Options, Remark, attempt, importers
from demos.model import Draft, Facts, Label, Stream, VideoFile
from demos.provenance import new_label, sha256_bytes

_DEMO = re.compile(r"data/demo_\d+/actions")


@importers.adding("robomimic")
class Robomimic:
    """Read robomimic's and robosuite's HDF5, and what others write in that layout (LIBERO)."""

    loses: ClassVar[str] = "detail of raw images; next_obs where it is obs one step later"

    def sniff(self, path: Path) -> bool:
        """Look for `data/demo_<n>/actions` in a file."""
        return any(_DEMO.fullmatch(place) for place in hdf5.places(path))

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield one episode a demonstration, in order of their numbers."""
        with hdf5.opened(path) as file:
            source = _Source.of(path, file, options)
            yield from source.remarks()
            for demo in source.header.demos:
                with TemporaryDirectory(prefix="demos-import-") as folder:
                    build = _Demo(source, demo, Path(folder)).draft
                    yield attempt(demo, build, len(source.header.demos))

    def write_example(self, path: Path) -> Path:
        """Write two demonstrations of six steps with one camera, the first one a success."""
        from demos.formats.robomimic_example import write

        path.mkdir(parents=True, exist_ok=True)
        return write(path / "image.hdf5")


@dataclass(frozen=True, slots=True)
class _Source:
    """An open file and what its demonstrations share."""

    path: Path
    file: Any
    options: Options
    header: layout.Header
    sitting: Sitting

    @classmethod
    def of(cls, path: Path, file: Any, options: Options) -> _Source:
        """Read the header and make the session."""
        header = layout.header(file)
        home = sitting(
            path,
            " and ".join(header.robots),
            header.began,
            options,
            format="robomimic hdf5",
            licence=licence(path.parent),
            software={"environment": f"{header.name} {header.version}".strip()},
        )
        return cls(path, file, options, header, home)

    def remarks(self) -> Iterator[Remark]:
        """Say what the file contradicts itself in."""
        yield from (Remark("contradiction", problem) for problem in self.header.problems)
        if self.header.total is not None:
            found = sum(_length(self.file, f"data/{demo}") for demo in self.header.demos)
            if found != self.header.total:
                told = f"data says {self.header.total} samples, its demonstrations have {found}"
                yield Remark("contradiction", told)


class _Demo:
    """One demonstration on its way into an episode."""

    def __init__(self, source: _Source, name: str, scratch: Path) -> None:
        self.source, self.name, self.scratch = source, name, scratch
        self.file, self.root = source.file, f"data/{name}"
        self.notes = Notes(assumed=list(source.sitting.assumed))
        if source.header.began is not None:
            self.notes.assumed.append("date: the file's own, taken as UTC")
        self.digest = hashlib.sha256()
        self.said: dict[str, Any] = {}
        self.steps, self.rate_hz = 0, layout.RATE_HZ
        self.later: dict[str, bool] = {}

    def draft(self) -> Draft:
        """Read the whole demonstration. Raises ImportFailed."""
        header, notes, options = self.source.header, self.notes, self.source.options
        self.said = hdf5.attributes(self.file, self.root)
        actions = self.read("actions")
        if actions.ndim != 2 or not actions.size:
            raise ImportFailed(f"{self.root}/actions has shape {actions.shape}").with_hint(
                "a demonstration has actions of one row a step; leave this one out in the source"
            )
        self.steps = len(actions)
        self._set_clock()
        streams, videos = self._streams()
        rewards = streams.get("reward")
        judged = layout.outcome(
            self.said, None if rewards is None else rewards.values, header.settings
        )
        labels = self._labels(judged)
        words = layout.instruction(self.said, header.attributes)
        masks = header.masks_of(self.name)
        factors = dict(options.factors)
        if skill := layout.proficiency(masks):
            factors.setdefault("proficiency", skill)
        parameters = self._parameters(masks)
        notes.sha256[f"{self.source.path.name}#{self.name}"] = self.digest.hexdigest()
        facts = Facts(
            task=self._task(words),
            instruction=words,
            experience=f"{skill}: an operator group of the source" if skill else "",
            recorded_at=header.began or modified(self.source.path),
            factors=factors,
            provenance=notes.provenance(
                self.source.path.name,
                "robomimic hdf5",
                parameters=parameters,
            ),
        )
        session = self.source.sitting.session
        return Draft(session, facts, streams, videos, (), labels, tuple(notes.findings))

    def read(self, key: str) -> npt.NDArray[Any]:
        """Read one dataset whole and take it into the hash."""
        values = hdf5.array(self.file, f"{self.root}/{key}")
        self.digest.update(f"{key} {values.dtype.str} {values.shape}\n".encode())
        self.digest.update(np.ascontiguousarray(values).tobytes())
        return values

    def _set_clock(self) -> None:
        told, said = self.said.get("rate_hz"), self.said.get("num_samples")
        by = "the demonstration's attribute rate_hz"
        if not isinstance(told, float) or not 0.01 < told < 1e5:
            told = self.source.header.rate_hz
            by = "the environment's control_freq"
        if told is None:
            told, by = layout.RATE_HZ, "robosuite's default"
        self.rate_hz = told
        self.notes.assumed += nominal(self.steps, told).assumed
        self.notes.assumed.append(f"rate: {told:g} Hz, {by}")
        if said is not None and said != self.steps:
            problem = f"num_samples is {said}, there are {self.steps} actions"
            self.notes.find("rows", problem, "the file was edited or cut short")

    def _streams(self) -> tuple[dict[str, Stream], dict[str, VideoFile]]:
        streams: dict[str, Stream] = {}
        videos: dict[str, VideoFile] = {}
        for key in sorted(_datasets(self.file, self.root), key=counted):
            try:
                pictured = layout_of(self.file, f"{self.root}/{key}") is not None
                if pictured and self.source.options.numbers_only:
                    continue
                if key.startswith("next_obs/") and self._later(key):
                    continue
                if pictured:
                    name = word(key.removeprefix("obs/").replace("/", ".").removesuffix("_image"))
                    videos[name] = self._video(key, name)
                else:
                    _add(streams, self._stream(key))
            except DemosError as error:
                self.notes.missing.append(f"{key}: {error}")
                self.notes.find("dataset", f"{key} could not be kept: {error}", error.hint)
        return with_poses(streams, self.notes), videos

    def _later(self, key: str) -> bool:
        """Say whether next_obs is obs one step later, so that only its last row is news."""
        mine = key.removeprefix("next_")
        here, there = f"{self.root}/{mine}", f"{self.root}/{key}"
        if key in self.later or not hdf5.has(self.file, here) or not hdf5.has(self.file, there):
            return self.later.get(key, False)
        following = islice(hdf5.rows(self.file, here), 1, None)
        pairs = zip_longest(following, islice(hdf5.rows(self.file, there), self.steps - 1))
        same = all(a is not None and b is not None and _same(a, b) for a, b in pairs)
        same = same and len(hdf5.dataset(self.file, there)) == self.steps
        if same:
            self.notes.assumed.append(
                "next_obs: it is obs one step later (checked), so only its last row was kept, "
                "as the observation after the last action"
            )
        else:
            told = f"{key} is not {mine} one step later; both were kept"
            self.notes.find("next_obs", told, severity="info")
        self.later[key] = same
        return same

    def _last(self, key: str) -> str:
        later = f"next_{key}"
        return f"{self.root}/{later}" if key.startswith("obs/") and self._later(later) else ""

    def _video(self, key: str, name: str) -> VideoFile:
        from demos.store.encoding import encode

        last = self._last(key)
        clock = nominal(self.steps + bool(last), self.rate_hz)
        target = self.scratch / f"{word(name)}.mp4"
        self.digest.update(f"{key}\n".encode())
        place = f"{self.root}/{key}"
        made = video(self.file, place, clock, target, encode, last=last, digest=self.digest)
        self.notes.assumed.append(LOSSY.format(name))
        return made

    def _stream(self, key: str) -> dict[str, Stream]:
        values = self.read(key)
        if last := self._last(key):
            row = hdf5.last_row(self.file, last)
            self.digest.update(row.tobytes())
            values = np.concatenate([values, row[None]])
        if values.ndim == 0 or len(values) not in (self.steps, self.steps + 1):
            raise ImportFailed(f"it has shape {values.shape} for {self.steps} steps")
        clock = nominal(len(values), self.rate_hz)
        said = hdf5.attributes(self.file, f"{self.root}/{key}")
        plain = kept(f"data/demo/{key}", values, clock)
        name, made = meant(key, plain, said, self.source.header, self.notes)
        joints = JOINTS.fullmatch(key.removeprefix("obs/"))
        if self.source.sitting.body is None or joints is None or joints[2] != "pos":
            return {name: made}
        columns = Columns(values, made.channels, made.units, "state", kept_as=name)
        return joint_streams(
            columns,
            clock,
            self.source.sitting,
            ignore=self.source.options.ignore,
            accept_mapping=self.source.options.accept_mapping,
        )

    def _labels(self, judged: layout.Judged) -> tuple[Label, ...]:
        if not judged.value:
            self.notes.assumed.append(f"outcome: not told, {judged.rule}")
        found = [("outcome", judged.value, judged.rule)]
        for verdict in ("good", "check", "redo"):
            if verdict in self.source.header.masks_of(self.name):
                found.append(("verdict", verdict, f"mask/{verdict} of the source"))
        return tuple(
            new_label(
                self.notes.id,
                of,  # type: ignore[arg-type]
                annotator="robomimic (source)",
                role="machine",
                value=value,
                note=f"by the rule: {rule}",
            )
            for of, value, rule in found
            if value
        )

    def _task(self, words: str) -> str:
        if self.source.options.task:
            return self.source.options.task
        if isinstance(task := self.said.get("task"), str) and task:
            return task_id(task)
        if name := self.source.header.name:
            self.notes.assumed.append("task: named after the environment")
            return task_id(name)
        self.notes.assumed.append("task: the source has no task ids, one is made of its words")
        return task_id(words)

    def _parameters(self, masks: tuple[str, ...]) -> dict[str, Any]:
        header = self.source.header
        model = self.said.get("model_file")
        found = {
            "source_episode": self.name,
            "rate_hz": self.rate_hz,
            "split": layout.split(masks),
            "filter_keys": list(masks),
            "env_args": dict(header.environment),
            "attributes": _short(header.attributes, ("env_args", "env_info", "total")),
            "demo_attributes": _short(self.said, ("model_file", "num_samples")),
        }
        if isinstance(model, str):
            content = model.encode()
            found["model_sha256"] = sha256_bytes(content)
            self.digest.update(content)
            if len(content) <= layout.MOST_MODEL_BYTES:
                found["model_file"] = model
            else:
                self.notes.missing.append(
                    f"model_file: {len(content)} bytes of MJCF, more than a manifest should hold"
                )
        return {key: value for key, value in found.items() if value not in ("", [], {})}


def _short(said: Mapping[str, Any], but: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: plain_json(value)
        for name, value in said.items()
        if name not in but and (not isinstance(value, str | list) or len(value) <= 1000)
    }


def _add(streams: dict[str, Stream], more: Mapping[str, Stream]) -> None:
    if twice := streams.keys() & more.keys():
        raise ImportFailed(f"two datasets are the stream {min(twice)}").with_hint(
            "rename one of them in the source"
        )
    streams |= more


def _datasets(file: Any, place: str, depth: int = 6) -> Iterator[str]:
    """Yield the paths of all datasets below a group, relative to it."""
    for name in hdf5.names(file, place):
        if hdf5.has(file, f"{place}/{name}"):
            yield name
        elif depth:
            inside = _datasets(file, f"{place}/{name}", depth - 1)
            yield from (f"{name}/{below}" for below in inside)


def _length(file: Any, demo: str) -> int:
    try:
        return int(hdf5.dataset(file, f"{demo}/actions").shape[0])
    except (DemosError, IndexError):
        return 0


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
