"""The real lerobot takes a selection for one of its own datasets, and trains on it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs.default import DatasetConfig
from lerobot.configs.train import TrainPipelineConfig
from lerobot.datasets.factory import resolve_delta_timestamps
from lerobot.datasets.sampler import EpisodeAwareSampler
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.scripts import lerobot_train

import demos
from demos.errors import UnknownName
from demos.formats.lerobot_statistics import sampled
from demos.lerobot import Dataset, dataset
from demos.loader import LoadFailed
from demos.model import CameraInfo, Span, StreamInfo
from demos.provenance import new_label
from demos.store import Recorder
from tests.small_store import image

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lerobot"),
]
CAMERA = CameraInfo(width=96, height=64, rate_hz=30.0)
WORDS = "put the cup on the shelf"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    store = demos.open(tmp_path_factory.mktemp("made") / "lab", container="zarr")
    recorder = Recorder(
        store, embodiment="g1_dex3", operator="op", task="pick_place", on_full="block"
    )
    info = StreamInfo(units=("rad",) * 3, channels=("a", "b", "c"), rate_hz=100.0)
    for number in range(2):
        with recorder.episode(instruction=WORDS if number else "") as taken:
            time_ns = np.arange(0, 2_000_000_000, 10_000_000)
            values = np.sin(np.outer(time_ns / 1e9, [1, 2, 3])).astype(np.float32) + number
            for name in ("joint_position", "joint_command", "gripper.right_hand"):
                taken.declare(name, info)
                taken.write(name, time_ns, values + (name == "joint_command"))
            for camera in ("egocentric", "wrist"):
                taken.declare_camera(camera, CAMERA)
                for i in range(60):
                    taken.image(camera, i * 33_333_333, image(i, 96, 64))
    store.refresh()
    first = sorted(store.catalog.ids())[0]
    cut = Span(start_ns=500_000_000, end_ns=1_000_000_000, value="exclude")
    store.add_label(new_label(first, "use", annotator="a", role="operator", spans=[cut]))
    store.refresh()
    return store


def config(**more: Any) -> ACTConfig:
    return ACTConfig(
        chunk_size=10,
        n_action_steps=10,
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
        device="cpu",
        push_to_hub=False,
        **more,
    )


def for_policy(store: demos.Store, policy: ACTConfig) -> Dataset:
    picked = store.select("")
    meta = dataset(picked, rate_hz=30).meta
    return dataset(picked, rate_hz=30, delta_timestamps=resolve_delta_timestamps(policy, meta))


def test_an_item_has_the_keys_shapes_and_types_of_lerobot(store: demos.Store) -> None:
    deltas = {
        "action": [i / 30 for i in range(4)],
        "observation.images.wrist": [-1 / 30, 0.0],
    }
    found = dataset(store.select(""), rate_hz=30, delta_timestamps=deltas)

    item = found[0]

    shapes = {key: tuple(value.shape) for key, value in item.items() if key != "task"}
    assert shapes == {
        "observation.state": (6,),
        "action": (4, 3),
        "action_is_pad": (4,),
        "observation.images.egocentric": (3, 64, 96),
        "observation.images.wrist": (2, 3, 64, 96),
        "observation.images.wrist_is_pad": (2,),
        "timestamp": (),
        "frame_index": (),
        "episode_index": (),
        "index": (),
        "task_index": (),
    }
    assert item["observation.images.wrist"].dtype == torch.float32
    assert 0.5 < float(item["observation.images.wrist"].max()) <= 1.0
    assert item["observation.images.wrist_is_pad"].tolist() == [True, False]
    assert item["task"] == "pick_place" or "pick" in item["task"].lower()
    assert found[len(found) - 1]["task"] == WORDS


def test_parts_that_may_be_trained_on_are_lerobots_episodes(store: demos.Store) -> None:
    found = dataset(store.select(""), rate_hz=30)
    rows = found.meta.episodes

    # 0..0.5 s, 1..1.97 s of the first, all of the second
    assert rows["length"] == [15, 29, 59]
    assert rows["dataset_from_index"] == [0, 15, 44]
    assert rows["dataset_to_index"] == [15, 44, 103]
    assert rows[1]["start_ns"] == 1_000_000_001
    assert len(found) == found.num_frames == found.meta.total_frames == 103
    assert found.num_episodes == found.meta.total_episodes == 3
    items = [found[index] for index in (14, 15, 44, 102)]
    assert [int(item["episode_index"]) for item in items] == [0, 1, 2, 2]
    assert [int(item["frame_index"]) for item in items] == [14, 0, 0, 58]
    assert [int(item["index"]) for item in items] == [14, 15, 44, 102]
    assert [float(item["timestamp"]) for item in items] == pytest.approx([14 / 30, 0, 0, 58 / 30])
    sampler = EpisodeAwareSampler(
        rows["dataset_from_index"], rows["dataset_to_index"], drop_n_last_frames=10
    )
    assert len(sampler) == 5 + 19 + 49


def test_values_are_those_of_the_streams_joined_in_order(store: demos.Store) -> None:
    found = dataset(
        store.select(""),
        rate_hz=30,
        streams={
            "observation.state": ["joint_position", "gripper.right_hand"],
            "observation.hand": ["gripper.right_hand"],
            "action": ["joint_position"],
        },
        delta_timestamps={"action": [1 / 30, 2 / 30], "observation.hand": [-2 / 30, 0]},
        cameras=[],
    )
    raw = store[sorted(store.catalog.ids())[1]].streams["joint_position"]

    item = found[found.meta.episodes["dataset_from_index"][2] + 30]

    # one second into the second episode; samples every 10 ms, the latest before the step
    now, then = raw.values[100], raw.values[[103, 106]]
    assert np.array_equal(item["observation.state"], np.tile(now, 2))
    assert np.array_equal(item["action"], then)
    assert np.array_equal(item["observation.hand"], raw.values[[93, 100]])
    assert found.meta.features["observation.state"]["names"][3] == "gripper.right_hand.a"


def test_statistics_are_those_of_all_steps(store: demos.Store) -> None:
    found = dataset(store.select(""), rate_hz=30)
    states = torch.stack([found[index]["observation.state"] for index in range(len(found))])
    # 50 of each part, all where there are fewer
    picked = [*range(15), *range(15, 44), *(44 + n for n in sampled(59))]
    images = torch.stack([found[i]["observation.images.wrist"] for i in picked])

    stats = found.meta.stats

    assert stats["observation.state"]["mean"] == pytest.approx(states.mean(0).numpy(), abs=1e-5)
    assert stats["observation.state"]["q50"] == pytest.approx(
        states.quantile(0.5, dim=0).numpy(), abs=1e-6
    )
    assert stats["observation.images.wrist"]["mean"].shape == (3, 1, 1)
    assert stats["observation.images.wrist"]["std"].ravel() == pytest.approx(
        images.std((0, 2, 3), correction=0).numpy(), abs=1e-5
    )
    assert stats["observation.images.wrist"]["max"].max() <= 1.0


def test_act_learns_from_it_through_lerobots_own_factories(store: demos.Store) -> None:
    torch.manual_seed(0)
    policy_config = config()
    found = for_policy(store, policy_config)
    policy = make_policy(policy_config, ds_meta=found.meta)
    prepare, _ = make_pre_post_processors(policy_config, dataset_stats=found.meta.stats)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    loader = torch.utils.data.DataLoader(found, batch_size=4, shuffle=True, num_workers=2)

    losses: list[float] = []
    policy.train()
    while len(losses) < 50:
        for batch in loader:
            loss, _ = policy.forward(prepare(batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    assert policy_config.input_features is not None
    assert set(policy_config.input_features) == {
        "observation.state",
        "observation.images.egocentric",
        "observation.images.wrist",
    }
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_lerobots_own_training_command_runs_on_it(
    store: demos.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config()
    found = for_policy(store, chosen)
    monkeypatch.setattr(lerobot_train, "make_dataset", lambda _: found)
    monkeypatch.setattr("sys.argv", ["lerobot-train"])
    wanted = TrainPipelineConfig(
        dataset=DatasetConfig(repo_id="demos"),
        policy=chosen,
        output_dir=tmp_path / "out",
        steps=5,
        batch_size=4,
        num_workers=2,
        eval_freq=0,
        log_freq=1,
    )

    lerobot_train.train(wanted)

    saved = tmp_path / "out" / "checkpoints" / "last" / "pretrained_model"
    assert (saved / "model.safetensors").stat().st_size > 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_what_the_dataset_gives(method: str, store: demos.Store) -> None:
    found = dataset(store.select(""), rate_hz=30, delta_timestamps={"action": [0.0, 1 / 30]})
    expected = [found[index] for index in range(8)]

    loader = torch.utils.data.DataLoader(
        found, batch_size=4, num_workers=2, multiprocessing_context=method
    )
    batches = [batch for _, batch in zip(range(2), loader, strict=False)]

    for number, batch in enumerate(batches):
        for row in range(4):
            item = expected[number * 4 + row]
            assert batch["task"][row] == item["task"]
            for key in item.keys() - {"task"}:
                assert torch.equal(batch[key][row], item[key]), key
    assert len(pickle.dumps(found)) < 50_000


def test_transforms_are_applied_to_images_alone(store: demos.Store) -> None:
    found = dataset(store.select(""), rate_hz=30, image_transforms=lambda image: image[..., ::2])

    item = found[3]

    assert item["observation.images.wrist"].shape == (3, 64, 48)
    assert item["observation.state"].shape == (6,)


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"delta_timestamps": {"action": [0.02]}}, LoadFailed, "between steps"),
        ({"delta_timestamps": {"observation.touch": [0.0]}}, UnknownName, r"observation\.touch"),
        ({"cameras": ["belly"]}, LoadFailed, r"no image\.belly"),
        ({"streams": {"action": ["joint_velocity"]}}, LoadFailed, "no joint_velocity"),
    ],
)
def test_what_is_not_there_is_told(
    choices: dict[str, Any], error: type[Exception], words: str, store: demos.Store
) -> None:
    with pytest.raises(error, match=words):
        dataset(store.select(""), rate_hz=30, **choices)
