"""One record of an RLDS dataset: an episode as a sequence of steps, sorted by what it holds.

Ramos et al. 2021, "RLDS: an Ecosystem to Generate, Share and Use Datasets in Reinforcement
Learning": a step is observation, action, reward, discount and three flags.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats import held
from demos.formats.files import plain_json
from demos.formats.tf_example import Example, Feature, parse
from demos.formats.tfds import STEPS, Field
from demos.model.bulk import give_back

MOST_METADATA = 100


@dataclass(frozen=True, slots=True)
class Record:
    """An episode's values by the key of their field below `steps`.

    numbers: (n, ...) in the declared dtype where the record keeps it. texts and images: one a
    step. metadata: what stands beside the steps. lost: key and reason. assumed: words.
    """

    steps: int
    numbers: Mapping[str, npt.NDArray[Any]]
    texts: Mapping[str, list[str]]
    images: Mapping[str, list[memoryview]]
    metadata: Mapping[str, Any]
    lost: Mapping[str, str]
    assumed: Sequence[str]
    sha256: str


@dataclass(slots=True)
class _Found:
    numbers: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    images: dict[str, list[memoryview]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)

    def by_key(self) -> Iterator[tuple[str, int]]:
        """Yield how many steps each key has."""
        for kept in (self.numbers, self.texts, self.images):
            yield from ((key, len(values)) for key, values in kept.items())

    def drop(self, key: str, reason: str) -> None:
        """Leave a key out and say why."""
        for kept in (self.numbers, self.texts, self.images):
            kept.pop(key, None)
        self.lost[key] = reason


def read_record(content: bytes, fields: Sequence[Field]) -> Record:
    """Read one record by the fields of its dataset. Raises ImportFailed where it has no steps."""
    example = parse(content)
    features = {**example.features, **dict(_listed(example))}
    found, metadata = _Found(), {}
    for each in fields:
        inside = each.key.removeprefix(f"{STEPS}/")
        if inside == each.key:
            if (value := _metadata(each, features)) is not None:
                metadata[each.key.removeprefix("episode_metadata/")] = value
            continue
        try:
            _take(each, inside, features, found)
        except ImportFailed as error:
            found.drop(inside, str(error))
    for key in sorted(set(features) - _expected(fields)):
        found.lost[key] = "features.json does not know it"
    counts = Counter(count for _, count in found.by_key())
    steps = counts.most_common(1)[0][0] if counts else 0
    if not steps:
        raise ImportFailed("the record has no steps").with_hint("leave this episode out")
    for key, count in list(found.by_key()):
        if count != steps:
            found.drop(key, f"it has {count} values for {steps} steps")
    digest = sha256_of(features, [f.key for f in fields if f.key.startswith(f"{STEPS}/")])
    return Record(
        steps, found.numbers, found.texts, found.images, metadata, found.lost, found.assumed, digest
    )


def sha256_of(features: Mapping[str, Feature], keys: Sequence[str]) -> str:
    """Hash what the steps hold, whatever order the record has it in: 64 hex digits.

    Where the episode came from and its number are no part of it.
    """
    digest = hashlib.sha256()
    for key in sorted(keys):
        value = features.get(key)
        if isinstance(value, list):
            digest.update(f"{key} {[len(part) for part in value]}\n".encode())
            for part in value:
                digest.update(part)
        elif value is not None:
            digest.update(f"{key} {value.dtype.str} {len(value)}\n".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _listed(example: Example) -> Iterator[tuple[str, Feature]]:
    """Join the feature lists of a SequenceExample: one feature a step becomes one feature."""
    for key, parts in example.lists.items():
        if parts and all(isinstance(part, list) for part in parts):
            yield key, [value for part in parts for value in part]
        elif parts and not any(isinstance(part, list) for part in parts):
            arrays: Any = parts
            yield key, np.concatenate(arrays)


def _take(each: Field, inside: str, features: Mapping[str, Feature], found: _Found) -> None:
    if each.kind == "other":
        raise ImportFailed(f"{each.dtype or 'its kind'} is not read")
    if each.depth > 1:
        found.numbers[inside] = _ragged(each, features)
        return
    value = features.get(each.key)
    if value is None:
        raise ImportFailed("the record does not have it")
    if each.kind == "text":
        found.texts[inside] = [bytes(part).decode(errors="replace") for part in _bytes(value)]
    elif each.kind == "image":
        if each.dtype not in ("uint8", "uint16"):
            raise ImportFailed(f"images of {each.dtype} are packed in a way that is not read")
        if each.encoding not in ("jpeg", "png"):
            raise ImportFailed(f"images as {each.encoding or 'unknown'} are not read")
        found.images[inside] = _bytes(value)
    else:
        found.numbers[inside], assumed = _array(each, value)
        found.assumed += assumed


def _array(each: Field, value: Feature) -> tuple[npt.NDArray[Any], list[str]]:
    if each.shape is None:
        raise ImportFailed("its shape is open")
    kind, width = each.numpy, math.prod(each.shape)
    if each.encoding != "none":
        return _packed(each, _bytes(value), kind, width), []
    if isinstance(value, list):
        raise ImportFailed("it holds bytes, not numbers")
    if len(value) % width:
        raise ImportFailed(f"{len(value)} values are no rows of {width}")
    rows = value.reshape(-1, *each.shape)
    if rows.ndim < 3:
        held.few_columns(each.key, width)
        held.bounded(each.key, rows.nbytes)
    if value.dtype.kind == "f":
        if kind.kind != "f":
            raise ImportFailed(f"it holds floats, declared {kind}")
        if kind == np.float64:
            said = f"{each.key}: declared float64, the record keeps float32"
            return rows.astype(np.float32, copy=False), [said]
        return rows.astype(kind, copy=False), []
    if kind.kind == "f":
        raise ImportFailed(f"it holds whole numbers, declared {kind}")
    if kind == np.uint64:
        return rows.view(np.uint64), []
    low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    if ((rows < low) | (rows > high)).any():
        raise ImportFailed(f"it holds numbers that are no {kind}")
    return rows.astype(np.uint8 if kind.kind == "b" else kind), []


def _packed(
    each: Field, parts: list[memoryview], kind: np.dtype[Any], width: int
) -> npt.NDArray[Any]:
    """Unpack tensors kept as bytes, plain or zlib; never to more than the shape says."""
    size, shape = width * kind.itemsize, each.shape or ()
    stacked = held.room("it", (len(parts), *shape), kind)
    for row, part in enumerate(parts):
        content = bytes(part)
        if each.encoding == "zlib":
            try:
                content = zlib.decompressobj().decompress(content, size + 1)
            except zlib.error as error:
                raise ImportFailed(f"it cannot be unpacked: {error}") from error
        if len(content) != size:
            raise ImportFailed(f"it has {len(content)} bytes a step, its shape needs {size}")
        stacked[row] = np.frombuffer(content, kind.newbyteorder("<")).reshape(shape)
    give_back(stacked)
    return stacked.astype(np.uint8 if kind.kind == "b" else kind, copy=False)


def _ragged(each: Field, features: Mapping[str, Feature]) -> npt.NDArray[Any]:
    values = features.get(f"{each.key}/ragged_flat_values")
    lengths = features.get(f"{each.key}/ragged_row_lengths_0")
    if values is None or lengths is None or isinstance(lengths, list):
        raise ImportFailed("the record does not have it")
    if each.depth > 2 or each.kind != "tensor" or len(set(lengths.tolist())) != 1:
        raise ImportFailed("its rows have different lengths in one step and another")
    flat, _ = _array(each, values)
    if len(flat) != int(lengths.sum()):
        raise ImportFailed("its rows and their lengths do not fit")
    return flat.reshape(len(lengths), -1, *flat.shape[1:])


def _bytes(value: Feature) -> list[memoryview]:
    if not isinstance(value, list):
        if len(value) == 0:
            return []
        raise ImportFailed("it holds numbers, not bytes")
    return value


def _metadata(each: Field, features: Mapping[str, Feature]) -> Any:
    """Return a value that stands beside the steps as JSON can hold it; None if it is too much."""
    value = features.get(each.key)
    if value is None or each.kind in ("image", "other") or len(value) > MOST_METADATA:
        return None
    if isinstance(value, list):
        texts = [bytes(part[:2000]).decode(errors="replace") for part in value]
        return texts[0] if len(texts) == 1 else texts
    plain: list[Any] = [plain_json(number) for number in value.tolist()]
    if each.dtype == "bool":
        plain = [bool(number) for number in plain]
    return plain[0] if len(plain) == 1 else plain


def _expected(fields: Sequence[Field]) -> set[str]:
    keys = {each.key for each in fields}
    ends = ("ragged_flat_values", *(f"ragged_row_lengths_{n}" for n in range(8)))
    return keys | {f"{each.key}/{end}" for each in fields if each.depth > 1 for end in ends}
