"""A selection as the dataset that lerobot's own training code asks for, without an export.

    dataset = demos.lerobot.dataset(picked, rate_hz=30, delta_timestamps={"action": [0.0, 1 / 30]})
    policy = lerobot.policies.factory.make_policy(config, ds_meta=dataset.meta)

What it gives is what lerobot 0.4's `LeRobotDataset` gives: the same keys, shapes and types, one
lerobot episode for each part of an episode that may be trained on. Only PyTorch is needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from demos.alignment.actions import command_streams, state_streams
from demos.errors import UnknownName, require
from demos.loader import LoadFailed, Source, Windows
from demos.model import Manifest
from demos.store import EpisodeStore

IMAGES, IMAGE = "observation.images.", "image."
TOLERANCE_S = 1e-4
_INDEX = {
    "timestamp": "float32",
    **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64"),
}
_STATISTICS = ("min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99")


class Selection(Protocol):
    """What is asked of a `demos.Selection`."""

    @property
    def store(self) -> EpisodeStore:
        """The store it picks from."""

    @property
    def windows(self) -> Callable[..., Windows]:
        """Cut the episodes into windows."""

    def sources(self) -> list[Source]:
        """Say of each episode what a loader must know before it opens it."""


def dataset(
    selection: Selection,
    *,
    rate_hz: float,
    delta_timestamps: Mapping[str, Sequence[float]] | None = None,
    streams: Mapping[str, Sequence[str]] | None = None,
    cameras: Sequence[str] | None = None,
    image_transforms: Callable[[Any], Any] | None = None,
    split: str | None = None,
    size: int | tuple[int, int] | None = None,
    max_age_s: float | None = None,
) -> Dataset:
    """Make a selection what lerobot takes for a `LeRobotDataset`.

    `delta_timestamps` says in seconds, per feature, which steps around each a window has, as in
    lerobot: features that it names get a leading axis and `<feature>_is_pad`. `streams` says what
    features are made of, several joined channel after channel; by default state and action are
    those of an export (joints, grippers; their commands). `cameras` says which become
    `observation.images.<camera>` (by default those that all episodes have). `image_transforms`
    are applied to each feature's images. `split`, `size` and `max_age_s` are those of
    `demos.loader.Windows`; an order of its `sampler` fits, too.

    Where streams and cameras share one clock of `rate_hz`, items are those of an export to lerobot,
    bit for bit. Elsewhere each step has the latest sample, where an export interpolates positions.
    Images are float32 of 0..1, (3, height, width). Raises LoadFailed, UnknownName, MissingExtra.
    """
    require("torch", extra="torch")
    manifests = [selection.store.manifest(each.episode) for each in selection.sources()]
    if cameras is None:
        found = [set(each.cameras) for each in manifests]
        cameras = sorted(set.intersection(*found)) if found else []
    made_of = {
        **{feature: tuple(names) for feature, names in (streams or _usual(manifests)).items()},
        **{f"{IMAGES}{camera}": (f"image.{camera}",) for camera in cameras},
    }
    deltas = _steps(delta_timestamps or {}, made_of, rate_hz)
    wanted: dict[str, set[int]] = {}
    for feature, names in made_of.items():
        for name in names:
            wanted.setdefault(name, set()).update(deltas.get(feature, (0,)))
    windows = selection.windows(
        rate_hz=rate_hz,
        observe={name: sorted(of) for name, of in wanted.items()},
        split=split,
        size=size,
        max_age_s=max_age_s,
    )
    meta = _metadata(selection.store, windows, made_of)
    return Dataset(windows, meta, made_of, deltas, image_transforms)


def _usual(manifests: Sequence[Manifest]) -> dict[str, tuple[str, ...]]:
    """List what an export makes state and action of, as far as all episodes have it."""
    found = {}
    for feature, streams_of, least in (
        ("observation.state", state_streams, "joint_position"),
        ("action", command_streams, "joint_command"),
    ):
        shared = [name for each in manifests[:1] for name in streams_of(each)]
        for each in manifests:
            shared = [name for name in shared if name in streams_of(each)]
        found[feature] = tuple(shared) or (least,)
    return found


def _metadata(
    store: EpisodeStore, windows: Windows, made_of: Mapping[str, Sequence[str]]
) -> Metadata:
    import pandas as pd

    grid, fps = windows.grid, windows.choices.rate_hz
    manifests = [store.manifest(episode) for episode in windows.episodes]
    sentence = {each.id: each.instruction or each.task for each in manifests}
    tasks = list(dict.fromkeys(sentence.values()))
    ids = [grid.sources[number].episode for number in grid.part_source[windows.parts].tolist()]
    ends = np.cumsum(grid.part_steps[windows.parts])
    episodes = Episodes(
        {
            "episode_index": list(range(len(ids))),
            "tasks": [[sentence[episode]] for episode in ids],
            "length": grid.part_steps[windows.parts].tolist(),
            "dataset_from_index": [0, *ends[:-1].tolist()],
            "dataset_to_index": ends.tolist(),
            "demos_episode": ids,
            "start_ns": grid.part_start_ns[windows.parts].tolist(),
        }
    )
    return Metadata(
        fps=int(fps) if float(fps).is_integer() else fps,
        features={feature: _feature(windows, names) for feature, names in made_of.items()}
        | {name: {"dtype": kind, "shape": (1,), "names": None} for name, kind in _INDEX.items()},
        episodes=episodes,
        tasks=pd.DataFrame({"task_index": range(len(tasks))}, index=pd.Index(tasks, name="task")),
        stats={feature: _stats(windows, names) for feature, names in made_of.items()},
        robot_type=manifests[0].embodiment,
    )


def _feature(windows: Windows, names: Sequence[str]) -> dict[str, Any]:
    if names[0].startswith(IMAGE):
        shape = windows.image_shape(names[0])
        return {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
    layouts = [windows.grid.layouts[name] for name in names]
    channels: list[tuple[str, str]] = []
    for name, layout in zip(names, layouts, strict=True):
        count = math.prod(layout.shape)
        own = layout.channels if len(layout.channels) == count else map(str, range(count))
        channels += [(name, channel) for channel in own]
    twice = len({channel for _, channel in channels}) < len(channels)
    said = [f"{name}.{channel}" if twice else channel for name, channel in channels]
    return {"dtype": "float32", "shape": (len(said),), "names": said}


def _stats(windows: Windows, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    found = [windows.statistics[name] for name in names]
    shape = (3, 1, 1) if names[0].startswith(IMAGE) else (-1,)
    joined = {
        name: np.concatenate([each[name].ravel() for each in found])
        .reshape(shape)
        .astype(np.float32)
        for name in _STATISTICS
    }
    return {**joined, "count": np.array([min(each["count"].min() for each in found)], np.int64)}


def _steps(
    deltas: Mapping[str, Sequence[float]], features: Mapping[str, Sequence[str]], rate_hz: float
) -> dict[str, tuple[int, ...]]:
    """Turn seconds into whole steps. Raises LoadFailed for those between two steps."""
    found = {}
    for feature, seconds in deltas.items():
        if feature not in features:
            raise UnknownName.among("feature", feature, features)
        steps = np.rint(np.asarray(seconds, np.float64) * rate_hz)
        if np.abs(steps / rate_hz - seconds).max(initial=0.0) > TOLERANCE_S:
            raise LoadFailed(f"the delta_timestamps of {feature!r} fall between steps").with_hint(
                f"at {rate_hz:g} Hz they are whole multiples of {1 / rate_hz:.6g} s"
            )
        found[feature] = tuple(int(step) for step in steps)
    return found


class Episodes(Sequence[Any]):
    """The parts as lerobot's table of episodes: a column by name, a row by number."""

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self._columns = dict(columns)

    def __len__(self) -> int:
        return len(self._columns["episode_index"])

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, str):
            return self._columns[which]
        return {name: column[which] for name, column in self._columns.items()}


@dataclass(eq=False)
class Metadata:
    """What lerobot asks of a dataset before it reads it: its `LeRobotDatasetMetadata`.

    stats: per feature, name of a statistic to (channels,), for images (3, 1, 1) of 0..1, float32;
    see `demos.loader.Windows.statistics`. tasks: one row a task, its sentence the index. The
    episodes' column `demos_episode` says whose part each is, `start_ns` when it begins in it.
    """

    fps: float
    features: dict[str, dict[str, Any]]
    episodes: Episodes
    tasks: Any
    stats: dict[str, dict[str, npt.NDArray[Any]]]
    robot_type: str
    repo_id: str = "demos"
    revision: str = "v3.0"
    root: None = None
    subtasks: None = None

    @property
    def info(self) -> dict[str, Any]:
        """What lerobot keeps in `meta/info.json`."""
        names = ("fps", "features", "robot_type", "total_frames", "total_episodes", "total_tasks")
        return {"codebase_version": self.revision, **{name: getattr(self, name) for name in names}}

    @property
    def total_frames(self) -> int:
        """How many steps there are."""
        return int(self.episodes["dataset_to_index"][-1])

    @property
    def total_episodes(self) -> int:
        """How many parts there are."""
        return len(self.episodes)

    @property
    def total_tasks(self) -> int:
        """How many sentences there are."""
        return len(self.tasks)

    @property
    def camera_keys(self) -> list[str]:
        """The features that are images."""
        return [key for key, feature in self.features.items() if feature["dtype"] == "video"]

    @property
    def video_keys(self) -> list[str]:
        """The features that are images, all of them from videos."""
        return self.camera_keys

    @property
    def image_keys(self) -> list[str]:
        """The features that are image files: none."""
        return []

    @property
    def names(self) -> dict[str, Any]:
        """What each axis or channel of a feature is called."""
        return {key: feature["names"] for key, feature in self.features.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each feature at one step."""
        return {key: tuple(feature["shape"]) for key, feature in self.features.items()}

    def get_task_index(self, task: str) -> int | None:
        """Return the number of a sentence, or None."""
        return int(self.tasks.loc[task].task_index) if task in self.tasks.index else None


class Dataset:
    """Steps and what is around them, as `LeRobotDataset` gives them. Made by `dataset`.

    `windows` are the windows it reads. It pickles and survives a fork, as they do.
    """

    episodes: None = None
    """lerobot's list of chosen episodes: all of them."""

    def __init__(
        self,
        windows: Windows,
        meta: Metadata,
        made_of: Mapping[str, Sequence[str]],
        deltas: Mapping[str, tuple[int, ...]],
        image_transforms: Callable[[Any], Any] | None = None,
    ) -> None:
        self.windows, self.meta, self.image_transforms = windows, meta, image_transforms
        self.delta_indices = {feature: list(steps) for feature, steps in deltas.items()}
        self.delta_timestamps = {
            feature: [step / meta.fps for step in steps] for feature, steps in deltas.items()
        }
        self._made_of = made_of
        self._part_numbers = np.full(len(windows.grid.part_source), -1)
        self._part_numbers[windows.parts] = np.arange(len(windows.parts))
        self._tasks = [meta.get_task_index(each[0]) for each in meta.episodes["tasks"]]
        offsets = {each.name: each.offsets for each in windows.wanted}
        self._columns = {
            (feature, name): [offsets[name].index(step) for step in deltas.get(feature, (0,))]
            for feature, names in made_of.items()
            for name in names
        }

    @property
    def num_frames(self) -> int:
        """How many steps there are."""
        return len(self.windows)

    @property
    def num_episodes(self) -> int:
        """How many parts of episodes there are."""
        return self.meta.total_episodes

    @property
    def fps(self) -> float:
        """How many steps a second has."""
        return self.meta.fps

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """What each feature is, as lerobot describes it."""
        return self.meta.features

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several steps, read together."""
        import torch

        batch = self.windows[list(indices)]
        columns: dict[str, Any] = {}
        for feature, names in self._made_of.items():
            values, pads = self._feature(batch, feature, names)
            if feature in self.delta_indices:
                columns[feature], columns[f"{feature}_is_pad"] = values, torch.from_numpy(pads)
            else:
                columns[feature] = values[:, 0]
        parts, steps = self.windows.place(np.asarray(indices) % len(self))
        episodes = self._part_numbers[parts]
        tasks = np.array(self._tasks, np.int64)[episodes]
        starts = np.array(self.meta.episodes["dataset_from_index"])[episodes]
        columns["timestamp"] = torch.from_numpy((steps / self.meta.fps).astype(np.float32))
        for name, of in (
            ("frame_index", steps),
            ("episode_index", episodes),
            ("index", starts + steps),
            ("task_index", tasks),
        ):
            columns[name] = torch.from_numpy(of)
        words = [self.meta.tasks.index[number] for number in tasks.tolist()]
        items = [{name: of[row] for name, of in columns.items()} for row in range(len(indices))]
        for item, task in zip(items, words, strict=True):
            item["task"] = task
            if self.image_transforms is not None:
                for key in self.meta.camera_keys:
                    item[key] = self.image_transforms(item[key])
        return items

    def _feature(
        self, batch: Mapping[str, Any], feature: str, names: Sequence[str]
    ) -> tuple[Any, npt.NDArray[np.bool_]]:
        """Return a feature's tensor (windows, k, ...), and whether any of its streams is padded."""
        import torch

        chosen = [self._columns[feature, name] for name in names]
        pads = [batch[f"{name}.is_pad"][:, at] for name, at in zip(names, chosen, strict=True)]
        if names[0].startswith(IMAGE):
            images = torch.from_numpy(batch[names[0]][:, chosen[0]]).movedim(-1, -3)
            return images.to(torch.float32).div_(255), pads[0]
        values = [
            batch[name][:, at].reshape(len(batch[name]), len(at), -1).astype(np.float32, copy=False)
            for name, at in zip(names, chosen, strict=True)
        ]
        return torch.from_numpy(np.concatenate(values, axis=-1)), np.any(pads, axis=0)
