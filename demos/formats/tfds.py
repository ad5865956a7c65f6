"""What TensorFlow Datasets (TFDS) says of a dataset: its features, splits and files.

`features.json` is a tree (tensorflow_datasets/core/proto/feature.proto as JSON): dictionaries of
features, sequences of one feature, and leaves. A leaf's values lie in the record under the keys of
the tree joined by `/`; a sequence adds no key. Numbers come as int64 or float32 whatever was
declared, because tf.train.Example has nothing else. A sequence in a sequence is ragged: its values
lie under `ragged_flat_values`, its row lengths under `ragged_row_lengths_0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from demos.errors import ImportFailed
from demos.formats.files import json_object

FEATURES, INFO = "features.json", "dataset_info.json"
STEPS = "steps"
Kind = Literal["tensor", "image", "text", "other"]
_SHARD = re.compile(r"(.+)-([^-]+)\.tfrecord-(\d{5,6})-of-(\d{5,6})")
_NUMBERS = re.compile(r"(u?int(8|16|32|64)|float(16|32|64)|bool)")


@dataclass(frozen=True, slots=True)
class Field:
    """A leaf of the tree. `shape` is that of one step's value; None where a length is open.

    `depth` counts the sequences above it, the steps included. `dtype` is what was declared,
    `encoding` how bytes are packed: jpeg and png for images, none, bytes and zlib for tensors.
    """

    key: str
    kind: Kind
    dtype: str = ""
    shape: tuple[int, ...] | None = ()
    encoding: str = "none"
    depth: int = 0
    description: str = ""

    @property
    def numpy(self) -> np.dtype[Any]:
        """The declared dtype; text and unknown kinds have none. Raises ImportFailed."""
        if not _NUMBERS.fullmatch(self.dtype):
            raise ImportFailed(f"{self.key} is declared as {self.dtype[:40]!r}").with_hint(
                "only whole numbers, floats and truth values are read"
            )
        return np.dtype(self.dtype)


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a split: its path, its number and of how many."""

    path: Path
    split: str
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A TFDS folder: its name and version, its fields, its files in order, episodes per split."""

    name: str
    version: str
    fields: tuple[Field, ...]
    shards: tuple[Shard, ...]
    promised: Mapping[str, tuple[int, ...]]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of which there are files."""
        return tuple(dict.fromkeys(shard.split for shard in self.shards))


def is_rlds(path: Path) -> bool:
    """Say whether a folder holds `features.json` with steps, and a description or records."""
    features = path / FEATURES
    if not features.is_file():
        return False
    with features.open("rb") as file:
        if b'"steps"' not in file.read(2_000_000):
            return False
    return (path / INFO).is_file() or any(_SHARD.fullmatch(each.name) for each in path.iterdir())


def survey(path: Path) -> Dataset:
    """Read what a folder says of itself. Raises ImportFailed."""
    tree = json_object(path, FEATURES)
    fields = tuple(_fields(tree, "", 0))
    if not any(field.key.startswith(f"{STEPS}/") for field in fields):
        old = "type" in tree and "content" in tree
        raise ImportFailed(
            f"{FEATURES} is of a TFDS before 4.5" if old else f"{FEATURES} has no steps"
        ).with_hint(
            "write the dataset anew with a newer TensorFlow Datasets"
            if old
            else "only RLDS datasets are read: episodes as a sequence of steps"
        )
    info = json_object(path, INFO) if (path / INFO).is_file() else {}
    kind = str(info.get("fileFormat", "tfrecord"))
    if kind != "tfrecord":
        raise ImportFailed(f"the episodes are {kind[:40]} files").with_hint(
            "prepare the dataset with file_format='tfrecord'"
        )
    found = []
    for each in path.iterdir():
        if match := _SHARD.fullmatch(each.name):
            found.append(Shard(each, match[2], int(match[3]), int(match[4])))
    promised = dict(_promised(info))
    order = {split: number for number, split in enumerate(promised)}
    found.sort(key=lambda s: (order.get(s.split, len(order)), s.split, s.number, s.path.name))
    return Dataset(
        str(info.get("name") or path.parent.name),
        str(info.get("version") or ""),
        fields,
        tuple(found),
        promised,
    )


def _promised(info: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    splits = info.get("splits")
    for split in splits if isinstance(splits, list) else ():
        if isinstance(split, Mapping) and isinstance(split.get("name"), str):
            lengths = split.get("shardLengths")
            whole = [_whole(length) for length in lengths] if isinstance(lengths, list) else []
            yield split["name"], tuple(length for length in whole if length is not None)


def _fields(node: Any, key: str, depth: int) -> Iterator[Field]:
    if not isinstance(node, Mapping) or depth > 8 or key.count("/") > 20:
        return
    said = str(node.get("description") or "")
    inside = node.get("featuresDict")
    if isinstance(inside, Mapping) and isinstance(features := inside.get("features"), Mapping):
        for name, feature in features.items():
            yield from _fields(feature, f"{key}/{name}".strip("/"), depth)
        return
    if isinstance(sequence := node.get("sequence"), Mapping):
        yield from _fields(sequence.get("feature"), key, depth + 1)
        return
    yield _leaf(node, key, depth, said)


def _leaf(node: Mapping[str, Any], key: str, depth: int, said: str) -> Field:
    tensor, image, labels = node.get("tensor"), node.get("image"), node.get("classLabel")
    if isinstance(tensor, Mapping) and tensor.get("dtype") in ("string", "object"):
        return Field(key, "text", "string", _shape(tensor), "none", depth, said)
    if isinstance(tensor, Mapping):
        return Field(
            key, "tensor", str(tensor.get("dtype")), _shape(tensor),
            str(tensor.get("encoding") or "none").lower(), depth, said,
        )  # fmt: skip
    if isinstance(image, Mapping):
        encoding = str(image.get("encodingFormat") or "").lower()
        dtype = str(image.get("dtype") or "uint8")
        return Field(key, "image", dtype, _shape(image), encoding, depth, said)
    if isinstance(labels, Mapping):
        return Field(key, "tensor", "int64", (), "none", depth, said)
    if "text" in node:
        return Field(key, "text", "string", (), "none", depth, said)
    return Field(key, "other", str(node.get("pythonClassName") or "")[-80:], None, "", depth, said)


def _shape(node: Mapping[str, Any]) -> tuple[int, ...] | None:
    shape = node.get("shape")
    dimensions = shape.get("dimensions", []) if isinstance(shape, Mapping) else []
    if not isinstance(dimensions, list):
        return None
    found = []
    for each in dimensions:
        length = _whole(each)
        if length is None or not 0 < length < 10**9:
            return None
        found.append(length)
    return tuple(found)


def _whole(value: object) -> int | None:
    """Read a whole number as JSON of protobuf writes it: as text."""
    whole = isinstance(value, str | int) and re.fullmatch(r"[0-9]{1,18}", str(value))
    return int(value) if whole else None  # type: ignore[call-overload]
