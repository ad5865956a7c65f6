"""The smallest RLDS dataset that has everything: two episodes, one camera, five steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from demos.formats.tf_example import serialise
from demos.formats.tfrecord import write_records
from demos.formats.xr_teleoperate_example import jpeg

STEPS = 5
NAME, SPLIT = "example_dataset", "train"
_CLASSES = "tensorflow_datasets.core.features"


def write_dataset(root: Path, episodes: int = 2) -> Path:
    """Write a folder as TFDS lays it out: two joints that swing, a camera, an instruction."""
    root.mkdir(parents=True)
    path = root / f"{NAME}-{SPLIT}.tfrecord-00000-of-00001"
    write_records(path, [record(number) for number in range(episodes)])
    (root / "features.json").write_text(json.dumps(features(), indent=4))
    (root / "dataset_info.json").write_text(json.dumps(info({SPLIT: [episodes]}), indent=2))
    return root


def record(number: int) -> bytes:
    """Serialise one episode."""
    return serialise(episode(number))


def episode(number: int) -> dict[str, Any]:
    """Return the features of one episode by key."""
    rows = np.arange(STEPS)
    swing = np.stack([np.sin(rows / 3 + number), np.cos(rows / 3 + number)], axis=1)
    flag = np.zeros(STEPS, np.int64)
    return {
        "steps/observation/state": swing.astype(np.float32).reshape(-1),
        "steps/observation/image": [
            jpeg(np.full((48, 64, 3), 20 * row + number, np.uint8)) for row in rows
        ],
        "steps/action": (swing + 0.01).astype(np.float32).reshape(-1),
        "steps/reward": np.float32(rows == STEPS - 1),
        "steps/is_first": np.where(rows == 0, 1, flag),
        "steps/is_last": np.where(rows == STEPS - 1, 1, flag),
        "steps/language_instruction": [b"wave with the arm"] * STEPS,
        "episode_metadata/episode_id": np.array([number]),
    }


def features() -> dict[str, Any]:
    """Return `features.json`."""
    pair, one = ["2"], list[str]()
    picture = {
        "pythonClassName": f"{_CLASSES}.image_feature.Image",
        "image": {
            "shape": {"dimensions": ["48", "64", "3"]}, "dtype": "uint8", "encodingFormat": "jpeg",
        },
    }  # fmt: skip
    text = {"pythonClassName": f"{_CLASSES}.text_feature.Text", "text": {}}
    observation = tree({"state": tensor("float32", pair), "image": picture})
    steps = tree(
        {
            "observation": observation,
            "action": tensor("float32", pair),
            "reward": tensor("float32", one),
            "is_first": tensor("bool", one),
            "is_last": tensor("bool", one),
            "language_instruction": text,
        }
    )
    sequence = {
        "pythonClassName": f"{_CLASSES}.dataset_feature.Dataset",
        "sequence": {"feature": steps, "length": "-1"},
    }
    return tree({"steps": sequence, "episode_metadata": tree({"episode_id": tensor("int32", one)})})


def info(splits: Mapping[str, list[int]]) -> dict[str, Any]:
    """Return `dataset_info.json` for splits of so many episodes a file."""
    return {
        "fileFormat": "tfrecord",
        "name": NAME,
        "splits": [
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": name,
                "numBytes": "1",
                "shardLengths": [str(length) for length in lengths],
            }
            for name, lengths in splits.items()
        ],
        "version": "1.0.0",
    }


def tree(children: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary of features."""
    kind = f"{_CLASSES}.features_dict.FeaturesDict"
    return {"pythonClassName": kind, "featuresDict": {"features": dict(children)}}


def tensor(dtype: str, dimensions: list[str], encoding: str = "none") -> dict[str, Any]:
    """Return a tensor of a shape."""
    shape = {"dimensions": dimensions} if dimensions else {}
    return {
        "pythonClassName": f"{_CLASSES}.tensor_feature.Tensor",
        "tensor": {"shape": shape, "dtype": dtype, "encoding": encoding},
    }
