"""The real lerobot opens, decodes and trains on what we export."""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import demos
from demos.exporters import export
from demos.formats.lerobot_statistics import QUANTILES
from demos.importers import import_source
from demos.model import VideoFile
from tests import export_store
from tests.lerobot_folders import decode
from tests.lerobot_reading import CAMERA, episodes_of, images_of, rows_of, sent
from tests.table_store import clock, draft, joints, store_of, video_file

pytest.importorskip("lerobot", reason="lerobot has an environment of its own: make interop")
pytestmark = pytest.mark.filterwarnings("ignore")  # other people's

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared/data"
)
WITH_VIDEO = 6
BACKENDS = ("pyav", "torchcodec")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded by the recorder: force, touch, labels, a camera, an interval that is cut out."""
    folder = tmp_path_factory.mktemp("recorded")
    sent(export_store.make(folder / "lab"), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imported video of several encoders: B-frames, spans, AV1, one camera encoded anew."""
    folder = tmp_path_factory.mktemp("imported")
    long = video_file(folder / "long.mp4", 60, g="12", bf="3", sc_threshold="0")
    av1 = video_file(folder / "av1.mp4", 20, codec="libsvtav1", preset="12", g="10", first=30)
    drafts = [draft(joints(6.0), {"egocentric": long})]
    for first in (5, 17, 33):
        part = VideoFile(long.path, long.info, clock(10.0, 2.0), np.arange(first, first + 20))
        drafts.append(draft(joints(2.1), {"egocentric": part}))
    drafts.append(draft(joints(2.1), {"egocentric": av1}))
    wrist = video_file(folder / "wrist.mp4", 160, 25.0, g="10")
    drafts = [
        draft(d.streams, {**d.videos, "wrist": VideoFile(wrist.path, wrist.info, wrist.time_ns)})
        for d in drafts
    ]
    report = sent(store_of(folder / "lab", *drafts), folder / "out")
    assert len(report.written) == len(drafts)
    assert all(len(each.notes) == 1 and "image.wrist" in each.notes[0] for each in report.written)
    return folder / "out"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The episodes of a real Unitree G1 of which there is video (AV1)."""
    source = DATA / "unitree_g1_inspire_v21"
    if not source.is_dir():
        pytest.skip(f"no real recordings in {DATA}")
    folder = tmp_path_factory.mktemp("real")
    lab = demos.open(folder / "lab", container="zarr")
    import_source(source, lab)
    chosen = [each for each in lab.select("").chosen() if each.manifest.cameras]
    report = export(chosen, folder / "out", "lerobot")
    assert len(report.written) == WITH_VIDEO
    assert not any(written.notes for written in report.written)
    return folder / "out"


@pytest.fixture(params=["recorded", "imported"])
def out(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def opened(root: Path, **more: Any) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("demos/exported", root=root, **more)


def as_image(tensor: Any) -> np.ndarray:
    """Return an image of lerobot's as (height, width, 3) in 0..255."""
    return np.asarray(tensor.permute(1, 2, 0).numpy() * 255.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_row_and_every_image_is_what_we_wrote(out: Path, backend: str) -> None:
    dataset = opened(out, video_backend=backend)
    rows, episodes = rows_of(out), episodes_of(out)
    cameras = dataset.meta.video_keys

    assert len(dataset) == len(rows["index"])
    assert dataset.num_episodes == len(episodes)
    for row in episodes:
        ours = {camera: images_of(out, row["episode_index"], camera) for camera in cameras}
        for step in range(row["length"]):
            number = row["dataset_from_index"] + step
            item = dataset[number]
            assert item["task"] == row["tasks"][0]
            for name, values in rows.items():
                np.testing.assert_array_equal(item[name].numpy(), values[number], err_msg=name)
            for camera in cameras:
                off = np.abs(as_image(item[camera]) - ours[camera][step])
                assert off.mean() <= 2, (camera, number)


def test_the_real_g1_is_decoded_as_we_decode_it(real: Path) -> None:
    dataset = opened(real, video_backend="torchcodec")

    for row in episodes_of(real):
        steps = [0, 1, row["length"] // 2, row["length"] - 1]
        ours = images_of(real, row["episode_index"])
        for step in steps:
            item = dataset[row["dataset_from_index"] + step]
            assert np.abs(as_image(item[CAMERA]) - ours[step]).mean() <= 2
            assert item["observation.state"].shape == (26,)


def test_statistics_are_a_float64_recomputation(out: Path) -> None:
    stats, rows = opened(out).meta.stats, rows_of(out)

    for name, values in rows.items():
        flat = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1).astype(np.float64)
        expected = {
            "mean": flat.mean(0),
            "std": flat.std(0),
            "min": flat.min(0),
            "max": flat.max(0),
        }
        expected |= {key: np.quantile(flat, share, axis=0) for key, share in QUANTILES.items()}
        for key, row in expected.items():
            np.testing.assert_allclose(stats[name][key], row, atol=1e-6, rtol=1e-6, err_msg=name)
    assert stats[CAMERA]["mean"].shape == (3, 1, 1)


def test_windows_over_time_stop_at_the_episodes_ends(recorded: Path) -> None:
    window = [-1 / 30, 0.0, 2 / 30]
    names = ("observation.state", "action", "observation.wrench.right_wrist", CAMERA)
    dataset = opened(recorded, delta_timestamps={name: window for name in names})
    rows, episodes = rows_of(recorded), episodes_of(recorded)

    for row in episodes:
        first, end = row["dataset_from_index"], row["dataset_to_index"]
        for number in (first, first + 5, end - 1):
            item = dataset[number]
            at = np.clip([number - 1, number, number + 2], first, end - 1)
            for name in names[:3]:
                np.testing.assert_array_equal(item[name].numpy(), rows[name][at].astype(np.float32))
            outside = [number - 1 < first, False, number + 2 >= end]
            assert item["action_is_pad"].tolist() == outside
            images = images_of(recorded, row["episode_index"])[at - first]
            for shown, ours in zip(item[CAMERA], images, strict=True):
                assert np.abs(as_image(shown) - ours).mean() <= 2


def test_some_episodes_can_be_opened_without_the_others(imported: Path) -> None:
    dataset = opened(imported, episodes=[1, 3])

    row = episodes_of(imported)[3]
    item = dataset[len(dataset) - 1]
    assert len(dataset) == episodes_of(imported)[1]["length"] + row["length"]
    assert np.abs(as_image(item[CAMERA]) - images_of(imported, 3)[-1]).mean() <= 2


def batches(root: Path, size: int, chunk: int) -> Iterator[dict[str, Any]]:
    import torch

    dataset = opened(root, delta_timestamps={"action": [n / 30 for n in range(chunk)]})
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from torch.utils.data.DataLoader(
            dataset, batch_size=size, shuffle=True, drop_last=True, generator=generator
        )


def test_act_trains_on_it_and_its_loss_falls(recorded: Path) -> None:
    import torch
    from lerobot.configs.types import FeatureType
    from lerobot.datasets.utils import dataset_to_policy_features
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.act.processor_act import make_act_pre_post_processors

    torch.manual_seed(0)
    torch.set_num_threads(2)
    meta = opened(recorded).meta
    features = dataset_to_policy_features(meta.features)
    outputs = {k: f for k, f in features.items() if f.type is FeatureType.ACTION}
    inputs = {k: features[k] for k in ("observation.state", CAMERA)}
    config = ACTConfig(
        input_features=inputs,
        output_features=outputs,
        device="cpu",
        chunk_size=8,
        n_action_steps=8,
        dim_model=64,
        n_heads=4,
        dim_feedforward=128,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=8,
        pretrained_backbone_weights=None,
        push_to_hub=False,
    )
    policy = ACTPolicy(config)
    prepare, _ = make_act_pre_post_processors(config, dataset_stats=meta.stats)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    policy.train()
    losses = []

    for batch in batches(recorded, size=8, chunk=8):
        loss, _ = policy.forward(prepare(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == 50:
            break

    assert set(outputs) == {"action"}
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_lerobots_own_converter_turns_groots_dataset_into_v30(tmp_path: Path) -> None:
    from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

    lab = export_store.make(tmp_path / "lab")
    lab.select("").export(tmp_path / "root/exported", to="groot")
    before = shutil.copytree(tmp_path / "root/exported", tmp_path / "kept")

    convert_dataset("exported", root=tmp_path / "root", push_to_hub=False)

    dataset = opened(tmp_path / "root/exported")
    lines = [json.loads(text) for text in (before / "meta/episodes.jsonl").read_text().splitlines()]
    assert len(dataset) == sum(line["length"] for line in lines)
    assert dataset.num_episodes == len(lines) == 3
    number = 0
    for line in lines:
        name = f"episode_{line['episode_index']:06d}"
        table = pq.read_table(before / f"data/chunk-000/{name}.parquet")
        shown = decode(before / f"videos/chunk-000/{CAMERA}/{name}.mp4")
        for step in range(line["length"]):
            item = dataset[number]
            state = table.column("observation.state")[step].as_py()
            np.testing.assert_array_equal(item["observation.state"].numpy(), np.float32(state))
            assert np.abs(as_image(item[CAMERA]) - shown[step]).mean() <= 2
            number += 1
