"""ACT starts from the same loss whether it reads our export or the selection itself."""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.factory import make_policy, make_pre_post_processors

import demos
from demos.importers import import_source
from demos.model import CameraInfo, StreamInfo
from demos.store import Recorder
from tests.small_store import image

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared/data"
)
CHUNK = 8


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> demos.Selection:
    """Streams and a camera on one clock, so that nothing lies between two steps."""
    store = demos.open(tmp_path_factory.mktemp("recorded") / "lab", container="zarr")
    recorder = Recorder(
        store, embodiment="g1_dex3", operator="op", task="pick_place", on_full="block"
    )
    info = StreamInfo(units=("rad",) * 3, channels=("a", "b", "c"), rate_hz=30.0)
    time_ns = np.rint(np.arange(70) * (1e9 / 30)).astype(np.int64)
    for number in range(3):
        with recorder.episode() as taken:
            for name in ("joint_position", "joint_command"):
                taken.declare(name, info)
                values = np.sin(np.outer(time_ns / 1e9, [1, 2, 3]) + number)
                taken.write(name, time_ns, values.astype(np.float32))
            taken.declare_camera("egocentric", CameraInfo(width=96, height=64, rate_hz=30.0))
            for i, stamp in enumerate(time_ns.tolist()):
                taken.image("egocentric", stamp, image(i + 7 * number, 96, 64))
    store.refresh()
    return store.select("")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> demos.Selection:
    """Two episodes of a real Unitree G1, with their video (AV1)."""
    source = DATA / "unitree_g1_inspire_v21"
    if not source.is_dir():
        pytest.skip(f"no real recordings in {DATA}")
    store = demos.open(tmp_path_factory.mktemp("real") / "lab", container="zarr")
    import_source(source, store)
    store.refresh()
    some = [each.manifest.id for each in store.select("").chosen() if each.manifest.cameras][:2]
    return store.select(" or ".join(f"id == '{episode}'" for episode in some))


def losses(data: Any, steps: int) -> list[float]:
    """Train ACT; everything that is random is the same for all data."""
    torch.manual_seed(0)
    config = ACTConfig(
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        device="cpu",
        push_to_hub=False,
    )
    policy = make_policy(config, ds_meta=data.meta)
    prepare, _ = make_pre_post_processors(config, dataset_stats=data.meta.stats)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-4)
    order = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(
        data, batch_size=4, shuffle=True, drop_last=True, generator=order
    )
    policy.train()
    found: list[float] = []
    epochs = (batch for _ in count() for batch in loader)
    for batch in islice(epochs, steps):
        loss, _ = policy.forward(prepare(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


# images of the real robot are 640x480: a step takes seconds
@pytest.mark.parametrize(("source", "steps"), [("recorded", 50), ("real", 2)])
def test_the_first_losses_by_export_and_by_selection_are_equal(
    source: str, steps: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    picked: demos.Selection = request.getfixturevalue(source)
    picked.export(tmp_path / "out", to="lerobot")
    deltas = {"action": [step / 30 for step in range(CHUNK)]}
    exported = LeRobotDataset("demos/out", root=tmp_path / "out", delta_timestamps=deltas)
    selected = demos.lerobot.dataset(picked, rate_hz=30, delta_timestamps=deltas)

    assert len(exported) == len(selected)
    for number in (0, 1, len(selected) // 2, len(selected) - 1):
        theirs, ours = exported[number], selected[number]
        assert theirs.pop("task") == ours.pop("task")
        for key, values in ours.items():
            assert torch.equal(theirs[key], values), key
    by_export, by_selection = losses(exported, steps), losses(selected, steps)
    assert by_selection[:2] == pytest.approx(by_export[:2], abs=1e-5)
    if steps == 50:
        assert by_selection[-1] < 0.7 * by_selection[0]
        assert by_export[-1] < 0.7 * by_export[0]
