"""The layout of our own single file: episodes in HDF5, complete, for any h5py user.

    /                           attributes: format, version, about
    episodes/<id>/              attributes, to look at: task, instruction, embodiment, operator,
                                outcome, split, verdict
        manifest, session       JSON as in the store (schemas/episode and session.schema.json)
        labels                  JSON list of labels (schemas/label.schema.json)
        checksums               JSON: sha256 of every text and array of the episode, by its place
        streams/<name>/values   (n, C) or (n, ...) in the source's dtype, gzip
        streams/<name>/time_ns  (n,) int64 since the episode's start; source_time_ns and
                                arrival_ns where they were recorded; attributes: units, channels,
                                clock, rate_hz, reference_frame, of_frame
        cameras/<name>/file     (bytes,) uint8: a playable video, byte for byte
        cameras/<name>/time_ns  (images,) int64, in display order; `shown` (images,) says which of
                                the video's images they are, where not all belong to the episode

Streams of one clock share their stamps by hard links. In a name `/` is written `%2F`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed, NewerVersion
from demos.formats import hdf5
from demos.model import Camera, Label, Manifest, Record, Session, Stream
from demos.model.bulk import slabs
from demos.schema import dump, read, validate

FORMAT, VERSION = "demos-episodes", 1
ABOUT = (
    "Demonstrations, one group an episode. streams/<name>: values and time_ns (nanoseconds since "
    "the episode's start), units and channels as attributes. cameras/<name>: file holds the bytes "
    "of a playable video, time_ns a stamp an image. manifest, session and labels are JSON."
)
STAMPS = ("time_ns", "source_time_ns", "arrival_ns")

_GZIP_LEVEL = 4
_CHUNK_BYTES = 2**20
_COPY_AGAIN = "copy the file again from its source, or export it anew"
R = TypeVar("R", bound=Record)


def key(name: str) -> str:
    """Write a name as that of a group, so that it can be told back."""
    for letter in "%/\0":
        name = name.replace(letter, f"%{ord(letter):02X}")
    return "%2E" * len(name) if set(name) == {"."} else name or "%"


def name_of(key: str) -> str:
    """Read the name of a group."""
    return "" if key == "%" else unquote(key)


@dataclass(slots=True)
class Writing:
    """The group of an episode that is being written, with what was written and its sha256."""

    group: Any
    checksums: dict[str, str] = field(default_factory=dict)
    _clocks: dict[str, Any] = field(default_factory=dict)

    def text(self, place: str, content: bytes) -> None:
        """Write a text."""
        self.group[place] = content.decode()
        self.checksums[place] = hashlib.sha256(content).hexdigest()

    def stream(self, name: str, stream: Stream) -> None:
        """Write a stream: values and stamps, and of what they mean what can be looked at."""
        place = f"streams/{key(name)}"
        self._array(f"{place}/values", stream.values)
        for stamps in STAMPS:
            values = getattr(stream, stamps)
            if values is not None:
                self._stamps(f"{place}/{stamps}", values)
        attributes = self.group[place].attrs
        attributes["units"], attributes["channels"] = _texts(stream.units), _texts(stream.channels)
        for said in ("clock", "rate_hz", "reference_frame", "of_frame", "semantics"):
            value = getattr(stream.info, said)
            if value is not None:
                attributes[said] = value

    def camera(
        self, name: str, camera: Camera, file: Path, shown: npt.NDArray[np.int64] | None
    ) -> None:
        """Write a camera: its video's bytes, a stamp an image, and which are shown."""
        place = f"cameras/{key(name)}"
        size, digest, at = file.stat().st_size, hashlib.sha256(), 0
        target = self.group.create_dataset(f"{place}/file", (size,), np.uint8, track_times=False)
        with file.open("rb") as source:
            while block := source.read(_CHUNK_BYTES):
                target[at : at + len(block)] = np.frombuffer(block, np.uint8)
                digest.update(block)
                at += len(block)
        self.checksums[f"{place}/file"] = digest.hexdigest()
        self._array(f"{place}/time_ns", camera.time_ns)
        if shown is not None:
            self._array(f"{place}/shown", shown)
        self.group[place].attrs["codec"] = camera.info.codec
        self.group[place].attrs["size"] = (camera.info.width, camera.info.height)

    def finish(self) -> None:
        """Write the checksums."""
        self.group["checksums"] = json.dumps(self.checksums, sort_keys=True)

    def _stamps(self, place: str, values: npt.NDArray[np.int64]) -> None:
        same = hashlib.sha256(values.tobytes()).hexdigest()
        if same in self._clocks:
            self.group[place] = self._clocks[same]
            self.checksums[place] = sha256(values)
        else:
            self._clocks[same] = self._array(place, values)

    def _array(self, place: str, values: npt.NDArray[Any]) -> Any:
        values = np.ascontiguousarray(values)
        filters = {}
        if values.size:
            row = max(values.nbytes // len(values), 1)
            rows = min(max(_CHUNK_BYTES // row, 1), len(values))
            filters = {
                "chunks": (rows, *values.shape[1:]),
                "compression": "gzip",
                "compression_opts": _GZIP_LEVEL,
                "shuffle": True,
            }
        self.checksums[place] = sha256(values)
        made = self.group.create_dataset(
            place, values.shape, values.dtype, track_times=False, **filters
        )
        for first, part in slabs(values) if values.ndim else ():
            made[first : first + len(part)] = part
        return made


def sha256(values: npt.NDArray[Any]) -> str:
    """Hash an array: its dtype, its shape and its bytes in C order."""
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}\n".encode())
    for _, rows in slabs(np.atleast_1d(np.ascontiguousarray(values))):
        digest.update(rows.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Reading:
    """The group of an episode in an open file; what is read is held against its sha256.

    Raises ImportFailed, SchemaMismatch or NewerVersion, with a hint.
    """

    file: Any
    place: str
    checksums: Mapping[str, str]

    @classmethod
    def of(cls, file: Any, episode: str) -> Reading:
        """Open the group of an episode."""
        place = f"/episodes/{episode}"
        try:
            checksums = json.loads(hdf5.text(file, f"{place}/checksums"))
        except (ValueError, RecursionError) as error:
            raise _damaged(f"the list of checksums is no JSON: {error}") from error
        if not isinstance(checksums, dict):
            raise _damaged("the list of checksums is no list")
        return cls(file, place, checksums)

    @property
    def sha256(self) -> str:
        """The hash of all that the episode consists of."""
        return hashlib.sha256(json.dumps(self.checksums, sort_keys=True).encode()).hexdigest()

    def record(self, record: type[R], place: str) -> R:
        """Read a record."""
        return read(record, self._text(place), where=place)

    def manifest(self) -> Manifest:
        """Read what is known of the episode."""
        return self.record(Manifest, "manifest")

    def session(self) -> Session:
        """Read the session it belongs to."""
        return self.record(Session, "session")

    def labels(self) -> tuple[Label, ...]:
        """Read what people and machines said of it."""
        plain = json.loads(self._text("labels"))
        if not isinstance(plain, list):
            raise _damaged("labels is no list")
        return tuple(validate(Label, each, where="labels") for each in plain)

    def array(self, place: str) -> npt.NDArray[Any]:
        """Read an array whole."""
        values = hdf5.array(self.file, f"{self.place}/{place}")
        if self.checksums.get(place) != sha256(values):
            raise _damaged(f"{place} is not what was written")
        return values

    def stamps(self, place: str) -> npt.NDArray[np.int64] | None:
        """Read stamps, None where there are none."""
        return self.array(place) if place in self.checksums else None

    def save(self, place: str, target: Path) -> None:
        """Write the bytes of a video to a file."""
        digest = hashlib.sha256()
        with target.open("xb") as out:
            for block in hdf5.blocks(self.file, f"{self.place}/{place}"):
                out.write(content := block.tobytes())
                digest.update(content)
        if self.checksums.get(place) != digest.hexdigest():
            raise _damaged(f"{place} is not what was written")

    def _text(self, place: str) -> bytes:
        content = hdf5.text(self.file, f"{self.place}/{place}").encode()
        if self.checksums.get(place) != hashlib.sha256(content).hexdigest():
            raise _damaged(f"{place} is not what was written")
        return content


def begin(file: Any) -> None:
    """Say at the root of a new file what it is."""
    file.attrs["format"], file.attrs["version"], file.attrs["about"] = FORMAT, VERSION, ABOUT
    file.create_group("episodes")


def episodes(file: Any) -> list[str]:
    """List the episodes of an open file. Raises ImportFailed, NewerVersion."""
    said = hdf5.attributes(file)
    if said.get("format") != FORMAT:
        raise ImportFailed("this is no HDF5 file of episodes that `demos export` wrote").with_hint(
            "name its own format with --from, or describe it by a mapping file"
        )
    version = said.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise NewerVersion(
            f"the file has version {version!r}; this release reads up to {VERSION}"
        ).with_hint("pip install --upgrade teleop-demos")
    return sorted(hdf5.names(file, "/episodes"))


def labels_text(labels: tuple[Label, ...]) -> bytes:
    """Write labels as a JSON list."""
    return json.dumps([json.loads(dump(label)) for label in labels], ensure_ascii=False).encode()


def _texts(words: tuple[str, ...]) -> Any:
    import h5py

    return np.array(words, dtype=h5py.string_dtype())


def _damaged(what: str) -> ImportFailed:
    return ImportFailed(what).with_hint(_COPY_AGAIN)
