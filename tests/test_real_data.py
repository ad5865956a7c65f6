"""Real recordings go in whole, or are refused with a reason. Skipped where they are not at hand.

`DEMOS_REAL_DATA` names their folder; by default it is `../shared/data` beside the checkout.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from demos.errors import DemosError, ImportFailed
from demos.formats.segments import cut, packets_of
from demos.importers import Found, ImportReport, import_source, open_source
from demos.model import CameraInfo
from demos.store import EpisodeStore
from demos.store.video import VideoCamera, index_file
from tests.lerobot_folders import decode, decoded_at

DATA = Path(
    os.environ.get("DEMOS_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared/data"
)
G1 = DATA / "unitree_g1_inspire_v21"
GR1 = DATA / "gr00t_gr1_v20"
WITH_VIDEO = (2, 4, 10, 13, 14, 16)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real recordings in {DATA}")


@pytest.fixture(scope="module")
def g1(tmp_path_factory: pytest.TempPathFactory) -> tuple[EpisodeStore, ImportReport]:
    store = EpisodeStore.create(tmp_path_factory.mktemp("g1") / "store")
    return store, import_source(G1, store)


@pytest.fixture(scope="module")
def gr1(tmp_path_factory: pytest.TempPathFactory) -> tuple[EpisodeStore, ImportReport]:
    store = EpisodeStore.create(tmp_path_factory.mktemp("gr1") / "store")
    return store, import_source(GR1, store)


def table(root: Path, episode: int) -> dict[str, np.ndarray]:
    [path] = root.rglob(f"episode_{episode:06d}.parquet")
    columns = pq.read_table(path).to_pydict()
    return {name: np.array(values) for name, values in columns.items()}


def test_the_20_episodes_of_the_real_g1_go_in(g1: tuple[EpisodeStore, ImportReport]) -> None:
    store, report = g1

    assert [name for name, _ in report.episodes] == [f"episode_{n:06d}" for n in range(20)]
    assert report.skipped == ()
    assert sorted(store.episode_ids()) == sorted(id_ for _, id_ in report.episodes)


def test_every_number_of_the_real_g1_is_under_its_joints_name(
    g1: tuple[EpisodeStore, ImportReport],
) -> None:
    store, report = g1
    order = [
        *(f"{side}_{joint}_joint" for side in ("left", "right") for joint in (
            "shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow",
            "wrist_roll", "wrist_pitch", "wrist_yaw",
        )),
        *(f"{side}_hand_{finger}" for side in ("left", "right") for finger in (
            "pinky", "ring", "middle", "index", "thumb_bend", "thumb_rotation",
        )),
    ]  # fmt: skip

    for number, (_, episode_id) in enumerate(report.episodes):
        streams = store.episode(episode_id).streams
        source = table(G1, number)
        for column, names in (
            ("observation.state", ("joint_position", "gripper.left_hand", "gripper.right_hand")),
            (
                "action",
                ("joint_command", "gripper_command.left_hand", "gripper_command.right_hand"),
            ),
        ):
            got = {c: (streams[n], i) for n in names for i, c in enumerate(streams[n].channels)}
            assert sorted(got) == sorted(order)
            for index, channel in enumerate(order):
                stream, at = got[channel]
                assert stream.values.dtype == np.float32
                np.testing.assert_array_equal(stream.values[:, at], source[column][:, index])


def test_the_6_real_videos_are_whole_and_decode_as_in_sequence(
    g1: tuple[EpisodeStore, ImportReport],
) -> None:
    store, report = g1
    with_video = [n for n, (_, i) in enumerate(report.episodes) if store.manifest(i).cameras]
    rng = np.random.default_rng(0)

    assert tuple(with_video) == WITH_VIDEO
    for number in with_video:
        episode = store.episode(report.episodes[number][1])
        [source] = (G1 / "videos").rglob(f"episode_{number:06d}.mp4")
        camera = episode.manifest.cameras["egocentric"]
        picked = rng.integers(0, camera.images, 50).tolist()
        count, truth = decoded_at(source, picked)

        assert camera.images == count == len(episode.streams["joint_position"])
        np.testing.assert_array_equal(episode.images("egocentric", picked), truth)
        [copy] = store.root.rglob(f"episodes/*/{episode.id}/egocentric.mp4")
        assert copy.read_bytes() == source.read_bytes()


def test_the_14_without_video_are_state_only_with_a_finding(
    g1: tuple[EpisodeStore, ImportReport],
) -> None:
    store, report = g1
    found = Counter(name for name, f in report.findings if f.check == "import.missing_video")
    without = {f"episode_{n:06d}" for n in range(20) if n not in WITH_VIDEO}

    assert set(found) == without
    assert set(found.values()) == {1}
    assert len(report.findings) == 14
    for name, episode_id in report.episodes:
        assert bool(store.manifest(episode_id).provenance.missing) == (name in without)
    assert set(store.results("findings")["episode"]) == {
        episode_id for name, episode_id in report.episodes if name in without
    }


def test_the_80_that_the_metadata_promises_are_named(
    g1: tuple[EpisodeStore, ImportReport],
) -> None:
    _, report = g1

    named = [text for text in report.missing if text.endswith(": no data file")]

    assert named == [f"episode_{n:06d}: no data file" for n in range(20, 100)]


def test_the_real_g1_keeps_within_its_joints_ranges(
    g1: tuple[EpisodeStore, ImportReport],
) -> None:
    _, report = g1

    assert not [f for _, f in report.findings if f.check == "import.mapping"]


def test_a_second_import_finds_everything_there(g1: tuple[EpisodeStore, ImportReport]) -> None:
    store, first = g1
    before = store.episode_ids()

    second = import_source(G1, store)

    assert second.episodes == ()
    assert [name for name, _, _ in second.skipped] == [name for name, _ in first.episodes]
    assert all("imported before" in reason for _, reason, _ in second.skipped)
    assert store.episode_ids() == before


def test_of_the_gr1_what_can_be_read_is_read(gr1: tuple[EpisodeStore, ImportReport]) -> None:
    store, report = gr1

    assert len(report.episodes) == 5
    for number, (_, episode_id) in enumerate(report.episodes):
        streams = store.episode(episode_id).streams
        source = table(GR1, number)
        for stream, column in (
            ("state", "observation.state"),
            ("action", "action"),
            ("next.reward", "next.reward"),
            ("next.done", "next.done"),
            ("annotation.human.validity", "annotation.human.validity"),
        ):
            values = source[column].reshape(len(source[column]), -1)
            np.testing.assert_array_equal(streams[stream].values, values)
        assert streams["state"].values.dtype == np.float64
        assert streams["state"].channels[7] == "left_hand.motor_7"
        stamps = streams["state"].source_time_ns
        assert stamps is not None
        np.testing.assert_allclose(stamps / 1e9, source["timestamp"], atol=1e-9)


def test_the_gr1s_b_frames_decode_as_in_sequence(gr1: tuple[EpisodeStore, ImportReport]) -> None:
    store, report = gr1
    rng = np.random.default_rng(1)

    for number, (_, episode_id) in enumerate(report.episodes):
        episode = store.episode(episode_id)
        [source] = (GR1).rglob(f"videos/**/episode_{number:06d}.mp4")
        rows = len(episode.streams["state"])
        picked = rng.integers(0, rows, 50).tolist()
        count, truth = decoded_at(source, picked)

        assert count == rows
        np.testing.assert_array_equal(episode.images("ego_view", picked), truth)


def test_what_the_gr1s_metadata_says_wrongly_is_told(
    gr1: tuple[EpisodeStore, ImportReport],
) -> None:
    store, report = gr1
    said = " / ".join(report.contradictions)

    assert "observation.images.egoview, of which there is no file" in said
    assert "split 'train' reaches episode 99" in said
    assert "says 2 videos, here are 5" in said
    assert any("no column frame_index" in text for text in report.assumed)
    assert any("GR1ArmsOnly" in text for text in report.assumed)
    manifest = store.manifest(report.episodes[0][1])
    assert manifest.embodiment == "GR1ArmsOnly"
    assert manifest.instruction.startswith("pick the pear")
    assert [(e.name, e.values) for e in manifest.events] == [
        ("annotation.human.validity", {"value": "valid"})
    ]


@pytest.mark.parametrize("folder", ["v21_apple_storage", "v30_apple_storage"])
def test_git_lfs_pointers_are_refused_by_name(folder: str, tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    with pytest.raises(ImportFailed, match="this is a Git LFS pointer, not data") as caught:
        import_source(DATA / "lfs_pointers" / folder, store)

    assert "git lfs pull" in caught.value.hint
    assert store.episode_ids() == []


def test_no_folder_of_real_data_causes_anything_but_our_error() -> None:
    folders = [DATA, *(path for path in DATA.rglob("*") if path.is_dir())]
    opened = 0

    hints = []
    for folder in folders:
        try:
            items = [item for item in open_source(folder) if isinstance(item, Found)]
            opened += sum("lerobot" in i.draft.facts.provenance.source_format for i in items)
        except DemosError as error:
            hints.append(error.hint)

    assert len(folders) > 40
    assert all(hints)
    # the G1 once; the GR1 by its own folder and by the two above it
    assert opened == 20 + 3 * 5


@pytest.mark.parametrize("span", [(0, 30), (100, 160), (249, 253), (260, 416)])
def test_a_span_cut_out_of_a_real_video_shows_the_same_images(
    span: tuple[int, int], tmp_path: Path
) -> None:
    [source] = GR1.rglob("videos/**/episode_000000.mp4")
    truth = decode(source)

    shown = cut(source, packets_of(source), span, tmp_path / "part.mp4")

    index = index_file(tmp_path / "part.mp4")
    info = CameraInfo(width=index.width, height=index.height)
    camera = VideoCamera(tmp_path / "part.mp4", info, index)
    np.testing.assert_array_equal(camera.images(shown.tolist()), truth[slice(*span)])
