"""One side of `demos bench loader`, in a process of its own: ours, or lerobot's.

    python _loader_side.py ours|torchcodec|pyav|torchcodec_as_installed FOLDER

It reads one JSON request a line and answers one a line. `open` makes a dataset ready in a mode;
`measure` takes from it for some seconds; `quality` holds its images against those that were drawn;
`memory` says how much is resident; `train` trains ACT.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")
FPS = 30
HELD_BYTES, WHOLE = 256 * 2**20, 6000
WINDOW = {"state": [-1, 0], "image": [-1, 0], "action": list(range(16))}
STEP = {"state": [0], "image": [0], "action": [0]}
Take = Callable[[], int]
"""Takes a few windows; returns how many."""


class Ours:
    """Windows of a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def data(self, case: str) -> tuple[Any, Any]:
        """Return a dataset and, where it has one, its own order."""
        import demos
        from demos.loader import pictures

        steps = STEP if case == "sequential" else WINDOW
        where = "large" if case == "large" else "content"
        picked = demos.open(self.folder / "ours" / where).select("")
        observe = {"joint_position": steps["state"]}
        cameras = [picked.store.manifest(episode).cameras for episode in picked.ids]
        if case != "low_dim":
            observe |= {f"image.{camera}": steps["image"] for camera in cameras[0]}
            # a small content must not fit into memory where a whole one does not
            images = sum(next(iter(of.values())).images for of in cameras)
            pictures.HELD_BYTES = HELD_BYTES * min(images, WHOLE) // WHOLE
        size = 224 if case == "proxy" else None
        windows = picked.windows(
            rate_hz=FPS, observe=observe, act={"joint_command": steps["action"]}, size=size
        )
        return windows, windows.sampler(0, local=case == "proxy")

    def for_act(self, deltas: Mapping[str, Sequence[float]]) -> Any:
        """Return what lerobot trains on."""
        import demos

        picked = demos.open(self.folder / "ours" / "content").select("")
        return demos.lerobot.dataset(picked, rate_hz=FPS, delta_timestamps=deltas)


class Lerobot:
    """lerobot's own dataset, with one of its video backends."""

    def __init__(self, folder: Path, backend: str) -> None:
        import_lerobot()
        self.folder, self.backend = folder, backend

    def data(self, case: str) -> tuple[Any, Any]:
        """Return a dataset and no order of its own."""
        where = {"large": "large", "proxy": "small"}.get(case, "content")
        info = json.loads((self.folder / "lerobot" / where / "meta" / "info.json").read_text())
        cameras = [key for key, feature in info["features"].items() if feature["dtype"] == "video"]
        kinds = {"observation.state": "state", "action": "action"}
        if case != "low_dim":
            kinds |= dict.fromkeys(cameras, "image")
        deltas = {key: [step / FPS for step in WINDOW[kind]] for key, kind in kinds.items()}
        found = self._opened(where, None if case == "sequential" else deltas)
        if case == "low_dim":
            # there is no choice of columns: what it does not know of, it does not decode
            for camera in cameras:
                found.meta.features.pop(camera)
        return found, None

    def _opened(self, where: str, deltas: Mapping[str, Sequence[float]] | None) -> Any:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        return LeRobotDataset(
            "bench/loader",
            root=self.folder / "lerobot" / where,
            video_backend=self.backend,
            delta_timestamps=deltas,
            tolerance_s=1e-3,
        )

    def for_act(self, deltas: Mapping[str, Sequence[float]]) -> Any:
        """Return what lerobot trains on."""
        return self._opened("content", deltas)


def import_lerobot() -> None:
    """Import lerobot's dataset, also where torchvision's wheel is for CUDA and torch is not."""
    import warnings

    import torch

    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        vision = torch.library.Library("torchvision", "DEF")
        vision.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        globals()["_vision"] = vision  # it takes its operators back when it goes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lerobot.datasets.lerobot_dataset  # noqa: F401


def taking(data: Any, order: Any, mode: str, *, sequential: bool, batch: int) -> Take:
    """Return what takes windows one by one (`direct`) or by PyTorch's loader (`loader_0`, `_2`)."""
    if mode == "direct":
        if sequential:
            places: Iterator[int] = (number % len(data) for number in count())
        else:
            places = _forever(order, len(data))

        def one() -> int:
            data[next(places)]
            return 1

        return one
    from torch.utils.data import BatchSampler, DataLoader

    workers = int(mode.removeprefix("loader_"))
    more: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    if order is not None:  # ours reads a batch at once
        sampler = BatchSampler(order, batch, drop_last=True)
        loader = DataLoader(data, batch_size=None, sampler=sampler, **more)
    else:
        loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True, **more)
    batches = _again(loader)
    for _ in range(1 + 2 * workers):  # what its workers have ready does not count
        next(batches)

    def several() -> int:
        next(batches)
        return batch

    return several


def _forever(order: Any, length: int) -> Iterator[int]:
    random = np.random.default_rng(7)
    while True:
        yield from order if order is not None else random.permutation(length).tolist()


def _again(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def measure(take: Take, seconds: float, warm: int) -> dict[str, float]:
    """Take for some seconds after `warm` times that do not count."""
    for _ in range(warm):
        take()
    begun, cpu, taken = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        taken += take()
    return {"per_s": taken / spent, "cpu_ms": (time.process_time() - cpu) / max(taken, 1) * 1e3}


def quality(data: Any, content: Any, *, small: bool) -> dict[str, float]:
    """Hold images against those that were drawn: peak signal-to-noise ratio in dB."""
    make = import_module("_loader_content")
    scene, errors = make.Scene(content), []
    for index in range(0, len(data), max(1, len(data) // 40)):
        episode, step = divmod(index, content.steps)
        for number, camera in enumerate(content.names):
            drawn = scene.image(episode, step, number)
            drawn = make.scaled(drawn) if small else drawn
            item = data[index]
            image = item.get(f"image.{camera}", item.get(f"observation.images.{camera}"))
            shown = np.asarray(image)[-1]  # the latest of the window
            if shown.dtype != np.uint8:
                shown = shown.transpose(1, 2, 0) * 255.0
            errors.append(np.mean((shown.astype(np.float64) - drawn) ** 2))
    return {"psnr_db": float(10 * np.log10(255**2 / np.mean(errors)))}


def drop_cache(folder: Path) -> None:
    """Ask the system to forget what it has of the files below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def train(side: Ours | Lerobot, steps: int) -> dict[str, float]:
    """Train a small ACT at batch 8 with 2 workers: samples a second, and seconds spent waiting."""
    import_lerobot()
    import torch
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    config = ACTConfig(
        chunk_size=16,
        n_action_steps=16,
        pretrained_backbone_weights=None,
        dim_model=64,
        n_heads=2,
        dim_feedforward=128,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        device="cpu",
        push_to_hub=False,
    )
    data = side.for_act({"action": [step / FPS for step in range(16)]})
    policy = make_policy(config, ds_meta=data.meta)
    prepare, _ = make_pre_post_processors(config, dataset_stats=data.meta.stats)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4)
    loader = torch.utils.data.DataLoader(
        data, batch_size=8, shuffle=True, num_workers=2, drop_last=True
    )
    policy.train()
    batches, waited, begun = _again(loader), 0.0, 0.0
    for number in range(steps + 2):
        if number == 2:  # the first steps allocate
            begun, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = prepare(next(batches))
        waited += time.perf_counter() - asked
        loss, _ = policy.forward(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    spent = time.perf_counter() - begun
    return {"samples_per_s": 8 * steps / spent, "waiting_share": waited / spent}


def serve(side: Ours | Lerobot) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; answers alone go out
    takes: dict[tuple[str, str], Take] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        case, mode = asked.get("case", ""), asked.get("mode", "")
        found: dict[str, Any] = {}
        if asked["do"] == "open":
            begun = time.perf_counter()
            data, order = side.data(case)
            found = {"open_s": time.perf_counter() - begun, "windows": len(data)}
            sequential, batch = case == "sequential", 64 if case == "low_dim" else 8
            takes[case, mode] = taking(data, order, mode, sequential=sequential, batch=batch)
        elif asked["do"] == "measure":
            warm = 3 if mode == "direct" else 2 * int(mode.removeprefix("loader_"))
            found = measure(takes[case, mode], asked["seconds"], warm)
        elif asked["do"] == "quality":
            make = import_module("_loader_content")
            content = make.Content(**asked["content"])
            found = quality(side.data(case)[0], content, small=case == "proxy")
        elif asked["do"] == "close":
            takes.pop((case, mode))
        elif asked["do"] == "drop":
            drop_cache(side.folder)
        elif asked["do"] == "memory":
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            found = {"resident_mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20}
        elif asked["do"] == "record":
            make, name = import_module("_loader_content"), asked["name"]
            content, target = make.Content(**asked["content"]), side.folder / "lerobot" / name
            make.record_lerobot(content, target, small=name == "small")
        elif asked["do"] == "train":
            found = train(side, asked["steps"])
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    name, root = sys.argv[1], Path(sys.argv[2])
    serve(Ours(root) if name == "ours" else Lerobot(root, name.split("_")[0]))
