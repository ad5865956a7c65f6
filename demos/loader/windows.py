"""The windows themselves: a map-style dataset over the episodes of a selection."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import UnknownName, require
from demos.formats.lerobot_statistics import sampled
from demos.loader import pictures
from demos.loader import statistics as describe
from demos.loader.cache import Cache
from demos.loader.choices import IMAGE, Choices, LoadFailed, Progress
from demos.loader.grid import Source, grid_of
from demos.loader.pictures import Asked, Pictures
from demos.loader.sampler import Sampler
from demos.loader.views import View, views
from demos.store import EpisodeStore
from demos.store.lazy import Lazy

TRAIN = "train"
Window = dict[str, Any]
Indices = npt.NDArray[np.int64]


class Windows:
    """Windows of steps around anchors, map-style: `len(windows)`, `windows[i]`, `windows[[i, j]]`.

    **Steps.** The grid of an episode is even at `rate_hz`, from the first moment at which all
    streams and cameras that are asked for speak to the last. (Streams sampled at changes, such as
    `control_authority`, bound nothing where another does.) Intervals that the label of kind `use`
    marks `exclude` or `negative` are cut out of it; each part between them has a grid that begins
    with it. Every step is an anchor; with `anchors="whole"`, those whose window lies in the part.

    **Values.** At a step a stream says its latest sample at or before that moment, a camera its
    latest image; stamps in disorder are put in order first. Offsets count steps from the anchor.
    One that reaches out of the part is given the part's nearest step, and masked. So is a step to
    which a stream has nothing to say: before its first sample (which is given then), and where its
    latest is older than `max_age_s`, by default three periods of the stream on average, or of
    the grid where those are longer. Streams sampled at changes hold for any time.

    **A window** is a dict. Per stream `name`: (k, C) float32, integers and booleans in their own
    dtype. Per camera `image.<name>`: (k, height, width, 3) uint8 RGB. Per either `<name>.is_pad`:
    (k,) bool. `episode`, its id; `time_ns`, the anchor's nanoseconds since the episode's start.
    What `act` names is under `act.<name>` where `observe` names it too. Several windows at once
    have a leading axis, and `episode` is a list. `format="torch"` gives tensors, and images as
    (k, 3, height, width) uint8.

    **More.** `split` keeps the episodes of one split of a frozen selection. `normalise` says per
    stream "mean_std" (to mean 0, deviation 1), "min_max" or "quantile" (1 % to 99 %; both to -1..1)
    by `statistics`; a channel that never changes becomes 0, and the result is float32. `size`
    scales images to (height, width), or a square, whatever their shape: copies of the videos are
    encoded for it once, with loss. `weights` says per episode how often `sampler` draws its
    windows, 1.0 where it says nothing.

    **PyTorch** reads whole batches at once, which is several times faster than collating windows:
    `DataLoader(windows, batch_size=None, sampler=BatchSampler(windows.sampler(0), 64, False))`.
    Windows pickle and survive a fork. Without workers a batch is decoded on up to four cores.

    The steps are kept under STORE/cache/loader, found again by what they were made of (a depth
    stream at its full size); deleting that folder costs the time to make it again. It is a
    temporary folder where the store cannot be written.

    `episodes` are the ids that windows come from, in order; `left_out` ids and reasons of those
    that have no step. `grid` says when the steps are, `parts` which of its parts have anchors.
    Raises LoadFailed, UnknownName, StoreError.
    """

    def __init__(
        self,
        store: EpisodeStore,
        sources: Sequence[Source],
        choices: Choices,
        progress: Progress | None = None,
    ) -> None:
        choices.check()
        self.choices, self.wanted, self._size = choices, choices.wanted(), choices.height_width
        if choices.format == "torch":
            require("torch", extra="torch")
        names = tuple(dict.fromkeys(each.name for each in self.wanted))
        self.grid = grid_of(store, sources, names, choices.rate_hz, choices.max_age_s)
        self._refuse_sizes()
        self._local = False
        self._root, self._cache = store.root, Cache(store.root)
        self._views = views(store, self.grid, self._cache, self._size, progress)
        self._lay_anchors()

    @property
    def episodes(self) -> tuple[str, ...]:
        """The ids of the episodes that windows come from, in order."""
        used = np.unique(self.grid.part_source[self.parts]).tolist()
        return tuple(self.grid.sources[number].episode for number in used)

    @property
    def left_out(self) -> tuple[tuple[str, str], ...]:
        """Ids of selected episodes that have no step, each with the reason."""
        return self.grid.left_out

    @cached_property
    def statistics(self) -> Mapping[str, describe.Statistics]:
        """Per stream, what its values are like over the steps of the split `train`.

        Of all steps where there is no such split. Names of statistics (count, mean, std, min, max,
        q01, q10, q50, q90, q99) to (channels,) float64; padded steps do not count. Per camera the
        same of its three colours, 0..1, from 50 images of each part, as an export to lerobot says.
        """
        return Lazy("stream", self.grid.layouts, self._statistics)

    def _statistics(self, name: str) -> describe.Statistics:
        splits = [source.split for source in self.grid.sources]
        chosen = [TRAIN not in splits or split == TRAIN for split in splits]
        of_part = np.flatnonzero(np.array(chosen)[self.grid.part_source])
        images = partial(self._images, name) if name.startswith(IMAGE) else None
        rows = [
            first + np.array(sampled(steps) if images else range(steps))
            for first, steps in zip(
                self._part_first[of_part], self.grid.part_steps[of_part].tolist(), strict=True
            )
        ]
        return describe.statistics(self._views[name], np.concatenate(rows), self._cache, images)

    def denormalise(self, name: str, values: Any) -> Any:
        """Turn what a policy says of a normalised stream back into the stream's own units."""
        shift, scale = self._norms[name]
        return values * scale + shift

    def sampler(self, seed: int = 0, *, local: bool = False, buffer: int = 512) -> Sampler:
        """Say in which order windows are drawn, by the episodes' weights.

        With weights, windows are drawn with replacement; without, each comes once an epoch.

        `local` draws runs of pictures instead (a group of pictures, 8 images or more) and shuffles
        `buffer` windows at a time, fewer where their images would not fit into 256 MB: each image
        is then decoded once or twice, not as often as it is wanted. The windows of a run are
        moments apart and alike. In a batch of B, each finds (g - 1)(B - 1) / (buffer - 1) others of
        its own run of g windows, where hardly any is expected otherwise: 0.1 with B = 8, g = 10 and
        the default. Expect gradients a little noisier than their batch size says.

        Raises LoadFailed where there are no images to be local about, or all weights are zero.
        """
        runs = self._runs() if local else None
        self._local = self._local or local
        self._pictures.decode_whole_groups(whole=self._local)
        weights = None
        if self.choices.weights:
            unknown = set(self.choices.weights) - {each.episode for each in self.grid.sources}
            for episode in sorted(unknown - {episode for episode, _ in self.left_out}):
                raise UnknownName.among("episode", episode, self.episodes)
            each = [self.choices.weights.get(s.episode, 1.0) for s in self.grid.sources]
            parts = self._part_of(np.arange(len(self)))
            weights = np.array(each)[self.grid.part_source[parts]]
            if not weights.any():
                raise LoadFailed("all weights are zero, so no window can be drawn")
        return Sampler(len(self), seed, weights, runs, max(1, min(buffer, self._most_held())))

    def place(self, indices: Indices) -> tuple[Indices, Indices]:
        """Return the part in `grid` that each window's anchor lies in, and its step there."""
        parts = self._part_of(indices)
        return parts, self._rows(indices) - self._part_first[parts]

    def image_shape(self, name: str) -> tuple[int, int, int]:
        """Return the (height, width, 3) of what a camera's images come out as."""
        height, width = self._size or self.grid.layouts[name].shape[:2]
        return height, width, 3

    def __len__(self) -> int:
        return int(self._anchor_first[-1])

    def __repr__(self) -> str:
        without = f", {len(self.left_out)} left out" if self.left_out else ""
        return (
            f"<Windows {len(self)} at {self.choices.rate_hz:g} Hz "
            f"of {len(self.episodes)} episodes{without}>"
        )

    def __getitem__(self, index: Any) -> Window:
        """Return one window; of several indices, all of them at once with a leading axis."""
        if np.ndim(index):
            return self._finished(self._batch(self._checked(index)))
        batch = self._finished(self._batch(self._checked([operator.index(index)])))
        return {key: values[0] for key, values in batch.items()}

    def __getitems__(self, indices: Sequence[int]) -> list[Window]:
        """Return several windows, read together: what PyTorch's DataLoader asks for."""
        batch = self[list(indices)]
        return [{key: values[row] for key, values in batch.items()} for row in range(len(indices))]

    def __iter__(self) -> Iterator[Window]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        # memory maps would be pickled with all that they show; decoders cannot be
        state = self.__dict__.copy()
        for name in ("_views", "_pictures", "statistics"):
            state.pop(name, None)
        return state

    @cached_property
    def _views(self) -> dict[str, View]:
        return views(EpisodeStore.open(self._root), self.grid, self._cache, self._size)

    @cached_property
    def _pictures(self) -> Pictures:
        reels = {
            name.removeprefix(IMAGE): view.reel
            for name, view in self._views.items()
            if view.reel is not None
        }
        opened = Pictures(reels, str(self._cache.folder))
        opened.decode_whole_groups(whole=self._local)
        return opened

    @cached_property
    def _norms(self) -> dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        found = {}
        for name, kind in self.choices.normalise.items():
            shift, scale = describe.shift_and_scale(self.statistics[name], kind)
            found[name] = shift.astype(np.float32), scale.astype(np.float32)
        return found

    def _refuse_sizes(self) -> None:
        for name, layout in self.grid.layouts.items():
            if name.startswith(IMAGE) and self._size is None and 0 in layout.shape:
                raise LoadFailed(f"the images of {name!r} differ in size").with_hint(
                    "give a size that all are scaled to: size=224"
                )

    def _lay_anchors(self) -> None:
        """Find in each part of the split the first anchor's row, and count them."""
        grid, split = self.grid, self.choices.split
        splits = {source.split for source in grid.sources}
        if split is not None and split not in splits:
            raise UnknownName.among("split", split, splits)
        chosen = [split is None or source.split == split for source in grid.sources]
        self.parts = np.flatnonzero(np.array(chosen)[grid.part_source])
        self._part_first = grid.part_first
        before, after = 0, 0
        if self.choices.anchors == "whole":
            steps = [step for each in self.wanted for step in each.offsets]
            before, after = max(0, -min(steps)), max(0, *steps)
        counts = np.maximum(grid.part_steps[self.parts] - before - after, 0)
        self.parts, counts = self.parts[counts > 0], counts[counts > 0]
        if not len(counts):
            raise LoadFailed(
                f"no part is as long as a window of {before + after + 1} steps"
            ).with_hint('anchors="all" pads windows that reach over an end')
        self._anchor_row = self._part_first[self.parts] + before
        self._anchor_first = np.concatenate([[0], np.cumsum(counts)])

    def _part_of(self, indices: Indices) -> Indices:
        found: Indices = self.parts[np.searchsorted(self._anchor_first, indices, side="right") - 1]
        return found

    def _rows(self, indices: Indices) -> Indices:
        at = np.searchsorted(self._anchor_first, indices, side="right") - 1
        rows: Indices = self._anchor_row[at] + indices - self._anchor_first[at]
        return rows

    def _checked(self, indices: Any) -> Indices:
        found = np.asarray(indices)
        if found.dtype.kind not in "iu":
            raise TypeError(f"windows are counted by whole numbers, not {found.dtype}")
        found = np.where(found < 0, found + len(self), found).astype(np.int64)
        if len(found) and (found.min() < 0 or found.max() >= len(self)):
            raise IndexError(f"there are {len(self)} windows, counted from 0")
        return found

    def _batch(self, indices: Indices) -> Window:
        at = np.searchsorted(self._anchor_first, indices, side="right") - 1
        rows = self._anchor_row[at] + indices - self._anchor_first[at]
        parts = self.parts[at]
        first = self._part_first[parts]
        last = self._part_first[parts + 1] - 1
        sources = self.grid.part_source[parts]
        found: Window = {}
        asked: list[Asked] = []
        reached: dict[tuple[int, ...], tuple[Indices, npt.NDArray[np.bool_]]] = {}
        for each in self.wanted:
            if each.offsets not in reached:
                steps = rows[:, None] + np.array(each.offsets)
                inside = np.clip(steps, first[:, None], last[:, None])
                reached[each.offsets] = inside, inside != steps
            inside, outside = reached[each.offsets]
            view = self._views[each.name]
            values = view.values[inside]
            if each.camera:
                images = np.empty((*inside.shape, *self.image_shape(each.name)), np.uint8)
                flat = images.reshape(-1, *images.shape[2:])
                of = np.repeat(sources, inside.shape[1])
                asked.append((each.camera, of, values.ravel(), flat))
                values = images
            elif each.name in self._norms:
                shift, scale = self._norms[each.name]
                values = (values.astype(np.float32, copy=False) - shift) / scale
            found[each.key] = values
            found[f"{each.key}.is_pad"] = (
                outside if view.pad is None else outside | view.pad[inside]
            )
        self._pictures.fetch(asked)
        after_ns = np.rint((rows - first) * (1e9 / self.grid.rate_hz)).astype(np.int64)
        found["episode"] = [self.grid.sources[number].episode for number in sources.tolist()]
        found["time_ns"] = self.grid.part_start_ns[parts] + after_ns
        return found

    def _images(self, name: str, rows: Indices) -> npt.NDArray[np.uint8]:
        """Decode what a camera shows at some rows: (n, height, width, 3)."""
        out = np.empty((len(rows), *self.image_shape(name)), np.uint8)
        parts = np.searchsorted(self._part_first, rows, side="right") - 1
        numbers = self._views[name].values[rows]
        self._pictures.fetch(
            [(name.removeprefix(IMAGE), self.grid.part_source[parts], numbers, out)]
        )
        return out

    def _finished(self, batch: Window) -> Window:
        """Turn arrays into what the format asks for."""
        if self.choices.format == "numpy":
            return batch
        import torch

        cameras = {each.key for each in self.wanted if each.camera}
        return {
            key: values
            if isinstance(values, list)
            else torch.from_numpy(values).movedim(-1, -3)
            if key in cameras
            else torch.from_numpy(values)
            for key, values in batch.items()
        }

    def _runs(self) -> Indices:
        """Return per window the run of pictures that its first camera's earliest image is in.

        A window that reaches out of it then needs the next run's key; the last image of the run
        before would need all of that.
        """
        cameras = [each for each in self.wanted if each.camera]
        if not cameras:
            raise LoadFailed(
                "local sampling spares decoding, and no camera is asked for"
            ).with_hint("leave `local` out: windows without images are fast in any order")
        indices = np.arange(len(self))
        parts = self._part_of(indices)
        earliest = self._rows(indices) + min(cameras[0].offsets)
        rows = np.clip(earliest, self._part_first[parts], self._part_first[parts + 1] - 1)
        numbers = self._views[cameras[0].name].values[rows]
        return self._pictures.runs(cameras[0].camera, self.grid.part_source[parts], numbers)

    def _most_held(self) -> int:
        """Count the windows whose images, and those decoded on the way, are held at once."""
        cameras = {each.name for each in self.wanted if each.camera}
        each = sum(math.prod(self.image_shape(name)) for name in cameras)
        return pictures.HELD_BYTES * 2 // (3 * max(each, 1))
