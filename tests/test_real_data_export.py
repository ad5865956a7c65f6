"""Real recordings leave as they came. Skipped where they are not at hand (see test_real_data)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import demos
from demos.exporters import export
from demos.importers import import_source
from tests.lerobot_folders import decode
from tests.lerobot_reading import CAMERA, episodes_of, info_of, rows_of

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared/data"
)
G1 = DATA / "unitree_g1_inspire_v21"
GR1 = DATA / "gr00t_gr1_v20/demo_data/robot_sim.PickNPlace"
WITH_VIDEO = (2, 4, 10, 13, 14, 16)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real recordings in {DATA}")


@pytest.fixture(scope="module")
def g1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The episodes of the real G1 that have video, as they go out."""
    folder = tmp_path_factory.mktemp("g1")
    lab = demos.open(folder / "lab", container="zarr")
    import_source(G1, lab)
    filmed = [each for each in lab.select("").chosen() if each.manifest.cameras]
    report = export(filmed, folder / "out", "lerobot")
    assert not any(written.notes for written in report.written)
    return folder / "out"


def column(root: Path, episode: int, name: str) -> np.ndarray:
    table = pq.read_table(root / f"data/chunk-000/episode_{episode:06d}.parquet")
    return np.array(table.column(name).to_pylist())


def names_in(root: Path, feature: str) -> list[str]:
    names = json.loads((root / "meta/info.json").read_text())["features"][feature]["names"]
    return list(names[0] if isinstance(names[0], list) else names)


def test_every_number_of_the_real_g1_goes_out_under_its_joints_name(g1: Path) -> None:
    rows, body = rows_of(g1), demos.embodiment.load("unitree_g1_inspire")
    source = {alias: joint.name for joint in body.joints for alias in (joint.name, *joint.aliases)}

    for feature in ("observation.state", "action"):
        ours = info_of(g1)["features"][feature]["names"]
        theirs = [source[name] for name in names_in(G1, feature)]
        order = [theirs.index(name) for name in ours]
        for row, episode in zip(episodes_of(g1), WITH_VIDEO, strict=True):
            own = slice(row["dataset_from_index"], row["dataset_to_index"])
            recorded = column(G1, episode, feature)[:, order].astype(np.float32)
            np.testing.assert_array_equal(rows[feature][own].astype(np.float32), recorded)


def packets(path: Path) -> list[bytes]:
    import av

    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_the_video_of_the_real_g1_goes_out_bit_for_bit(g1: Path) -> None:
    video = info_of(g1)["features"][CAMERA]["info"]
    camera = G1 / "videos/chunk-000/observation.images.cam_high"
    recorded = [packets(camera / f"episode_{episode:06d}.mp4") for episode in WITH_VIDEO]

    sent = packets(g1 / f"videos/{CAMERA}/chunk-000/file-000.mp4")

    assert (video["video.codec"], video["video.pix_fmt"]) == ("av1", "yuv420p")
    assert sent == [packet for episode in recorded for packet in episode]
    places = [row[f"videos/{CAMERA}/from_timestamp"] * 30 for row in episodes_of(g1)]
    lengths = [len(episode) for episode in recorded]
    np.testing.assert_allclose(places, np.cumsum([0, *lengths[:-1]]), atol=1e-9)


def test_the_simulated_gr1_goes_to_groot_and_keeps_its_body_parts(tmp_path: Path) -> None:
    lab = demos.open(tmp_path / "lab", container="zarr")
    import_source(GR1, lab)

    report = lab.select("").export(tmp_path / "out", to="groot")

    assert len(report.written) == 5
    assert report.left_out == ()
    ours, theirs = (
        json.loads((root / "meta/modality.json").read_text()) for root in (tmp_path / "out", GR1)
    )
    for kind in ("state", "action"):
        spans = {part: (s["start"], s["end"]) for part, s in ours[kind].items()}
        assert spans == {part: (s["start"], s["end"]) for part, s in theirs[kind].items()}
    for episode in range(5):
        for name in ("observation.state", "action", "next.reward"):
            recorded = column(GR1, episode, name).astype(np.float32)
            sent = column(tmp_path / "out", episode, name).astype(np.float32)
            np.testing.assert_array_equal(sent, recorded)
    video = "videos/chunk-000/{}/episode_000003.mp4"
    key = "observation.images.ego_view"
    np.testing.assert_array_equal(
        decode(tmp_path / "out" / video.format(key)), decode(GR1 / video.format(key))
    )
