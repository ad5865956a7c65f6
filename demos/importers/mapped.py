"""Somebody's own HDF5 files and bags, read as a mapping file says: what lies where, in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from demos import embodiment as embodiments
from demos._content import content
from demos.errors import DemosError, ImportFailed, SchemaMismatch
from demos.formats import hdf5
from demos.formats.bag_files import bag_at, bags_in, kind_of
from demos.formats.files import whole_file
from demos.formats.mapped_bag import MappedBag
from demos.formats.mapped_episode import Asked, below, draft_of
from demos.formats.mapped_group import MappedGroup, groups_of
from demos.formats.names import counted
from demos.formats.ros_pictures import Film
from demos.formats.sitting import Sitting, sitting
from demos.importers import Item, Options, Refused, Remark, attempt, importers
from demos.model import Draft, Embodiment, MappingFile
from demos.provenance import sha256_bytes
from demos.schema import read_yaml

EXAMPLES = ("two_arm_rig", "three_encodings")
"""Of HDF5 files, and of bags."""

_HEAD = re.compile(rb"^kind:[ \t]*['\"]?mapping['\"]?[ \t]*(#.*)?\r?$", re.MULTILINE)
_SUFFIXES = (".yaml", ".yml")
_MOST_FILES = 100_000


@importers.adding("mapped")
class Mapped:
    """Read HDF5 files and bags of any layout as a mapping file says, which is the source."""

    loses: ClassVar[str] = "what the mapping file does not name; detail of raw images"

    def sniff(self, path: Path) -> bool:
        """Look for a YAML file with `kind: mapping` at its head, or for one beside bags.

        Such a folder is a folder of bags too: a person says which of both it is.
        """
        return len(_mapping_files(path)) == 1 and (path.is_file() or bool(bags_in(path)))

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes of every file, files and groups by the numbers in their names."""
        found = _mapping_files(path) or [path]
        if len(found) > 1:
            raise ImportFailed(f"{path.name} holds {len(found)} mapping files").with_hint(
                f"name the one that is meant: {', '.join(each.name for each in found[:6])}"
            )
        source = _Source(found[0], options)
        yield from source.remarks
        for file in source.files:
            try:
                groups = _episodes_in(file, source.said.episodes)
            except DemosError as error:
                yield Refused(file.stem, str(error), error.hint or "look at the file")
                continue
            if not groups:
                yield Remark("missing", f"{file.name}: no group {source.said.episodes}")
            for group in groups:
                with TemporaryDirectory(prefix="demos-import-") as folder:
                    name = f"{file.stem}{group}"
                    build = partial(_draft, source, file, group, Path(folder))
                    yield attempt(name, build, len(source.files) if group == "" else None)

    def write_example(self, path: Path, name: str = EXAMPLES[0]) -> Path:
        """Write a published example of a mapping file and one file as it describes."""
        from demos.formats import mapped_bag_example, mapped_group_example

        (path / "runs").mkdir(parents=True)
        if name == EXAMPLES[0]:
            mapped_group_example.write(path / "runs/run_1.h5")
        else:
            mapped_bag_example.write(path / "runs/run_1.mcap")
        file = path / f"{name}.yaml"
        file.write_bytes((content("schemas") / "mappings" / file.name).read_bytes())
        return file


def _mapping_files(path: Path) -> list[Path]:
    """Return the mapping file at a path, or those in a folder. Never raises."""
    try:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        return [each for each in inside if each.suffix in _SUFFIXES and _is_mapping(each)]
    except (OSError, ValueError):
        return []


def _is_mapping(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _HEAD.search(file.read(4096)) is not None


def _episodes_in(file: Path, pattern: str) -> list[str]:
    """List the groups of a file that are an episode each; [""] where the file is one."""
    if kind_of(file) is None:
        with hdf5.opened(file) as opened:
            return groups_of(opened, pattern)
    if pattern.strip("/"):
        raise ImportFailed(f"{file.name} has no groups, a bag is one episode").with_hint(
            "leave `episodes` out, and put HDF5 files with groups into a mapping file of their own"
        )
    return [""]


@dataclass(slots=True)
class _Source:
    """A mapping file, the files that it names, and the sessions made so far, by operator."""

    path: Path
    options: Options
    said: MappingFile = field(init=False)
    sha256: str = field(init=False)
    body: Embodiment | None = None
    files: list[Path] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    sittings: dict[str, Sitting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = whole_file(self.path.parent, self.path.name).read_bytes()
        self.sha256 = sha256_bytes(whole)
        try:
            self.said = read_yaml(MappingFile, whole, where=self.path.name)
        except SchemaMismatch as error:
            raise ImportFailed(str(error)).with_hint(
                "the fields are in schemas/mapping.schema.json, an example in schemas/mappings"
            ) from error
        self.body = self.options.embodiment
        if self.body is None and self.said.embodiment:
            self.body = embodiments.load(self.said.embodiment, self.options.store)
        if self.body is not None:
            self.body = self._with_mapping(self.body)
        self.files = list(self._files())

    @property
    def robot(self) -> str:
        """The source's own name for the body."""
        return self.said.robot or self.said.embodiment

    def sitting(self, operator: str | None, format: str, began: datetime | None) -> Sitting:
        """Return the session of an operator, made when first asked for."""
        name = f"{operator or ''}\0{format}"
        if name not in self.sittings:
            self.sittings[name] = sitting(
                self.path,
                self.robot,
                began,
                replace(self.options, embodiment=self.body),
                operator=operator,
                format=format,
                licence=self.said.licence,
            )
        return self.sittings[name]

    def _with_mapping(self, body: Embodiment) -> Embodiment:
        """Let the mapping file speak in place of the body's own `sources`, where it does."""
        own = self.said.mapping
        if not (own.channels or own.ignored or own.absent):
            return body
        if strangers := sorted(own.named_joints() - {joint.name for joint in body.joints}):
            raise ImportFailed(
                f"{self.path.name} maps to joints that {body.id} has not: {', '.join(strangers)}"
            ).with_hint("use the embodiment's names of joints, or name another embodiment")
        return body.model_copy(update={"sources": {self.robot or "mapped": own}})

    def _files(self) -> Iterator[Path]:
        root, seen = self.path.parent, set()
        for pattern in self.said.files:
            try:
                found = sorted(root.glob(below(pattern)), key=lambda p: counted(p.as_posix()))
            except (OSError, ValueError, IndexError, NotImplementedError) as error:
                raise ImportFailed(f"{pattern!r} is no pattern of files: {error}").with_hint(
                    "write a path below the mapping file's folder, `*` for what varies"
                ) from error
            files = [path for path in found[:_MOST_FILES] if path.is_file() or kind_of(path)]
            # of the usual endings, one is enough
            if not files and "files" in self.said.model_fields_set:
                self.remarks.append(Remark("missing", f"no file fits {pattern!r}"))
            yield from (path for path in files if path not in seen)
            seen |= set(files)


def _draft(source: _Source, file: Path, group: str, scratch: Path) -> Draft:
    from demos.store.encoding import encode, join
    from demos.store.packets import index_file

    film = Film(encode, join, index_file)
    asked = Asked(source.said, source.options, source.path, source.sha256, film, scratch)
    name = f"{file.stem}{group}"
    if kind_of(file) is None:
        with hdf5.opened(file) as opened:
            return draft_of(asked, name, file, MappedGroup(file, opened, group), source.sitting)
    bag = MappedBag(bag_at(file), source.said, scratch, numbers_only=source.options.numbers_only)
    with closing(bag):
        bag.read()
        return draft_of(asked, name, file, bag, source.sitting)
