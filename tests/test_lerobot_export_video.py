"""Video in LeRobot v3.0 datasets: copied bit for bit where it can be, else encoded anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import demos
from demos.exporters import ExportFailed
from demos.model import Span, VideoFile
from tests import export_store
from tests.lerobot_folders import decode
from tests.lerobot_reading import (
    CAMERA,
    episodes_of,
    images_of,
    info_of,
    sent,
)
from tests.table_store import clock, draft, joints, label, store_of, video_file


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("made") / "lab")


def test_a_span_of_a_longer_video_goes_out_as_it_is(tmp_path: Path) -> None:
    whole = video_file(tmp_path / "long.mp4", 40, g="12", bf="2", sc_threshold="0")
    shown = np.arange(17, 37)
    part = VideoFile(whole.path, whole.info, clock(10.0, 2.0), shown)
    lab = store_of(
        tmp_path / "lab",
        draft(joints(2.1), {"egocentric": part}),
        draft(joints(4.0, seed=5), {"egocentric": whole}),
    )

    report = sent(lab, tmp_path / "out")

    assert not any(written.notes for written in report.written)
    recorded = decode(whole.path)
    lengths = [row["length"] for row in episodes_of(tmp_path / "out")]
    assert lengths == [20, 40]
    np.testing.assert_array_equal(images_of(tmp_path / "out", 0), recorded[17:37])
    np.testing.assert_array_equal(images_of(tmp_path / "out", 1), recorded)
    assert {row[f"videos/{CAMERA}/file_index"] for row in episodes_of(tmp_path / "out")} == {0}


def test_videos_of_different_encoders_lie_in_different_files(tmp_path: Path) -> None:
    videos = [
        video_file(tmp_path / "a.mp4", 20, bf="0"),
        video_file(tmp_path / "b.mp4", 20, codec="libsvtav1", preset="12", g="10"),
        video_file(tmp_path / "c.mp4", 20, bf="2", first=50),
    ]
    lab = store_of(tmp_path / "lab", *(draft(joints(), {"egocentric": v}) for v in videos))

    report = sent(lab, tmp_path / "out")

    assert not any(written.notes for written in report.written)
    assert [r[f"videos/{CAMERA}/file_index"] for r in episodes_of(tmp_path / "out")] == [0, 1, 2]
    for number, video in enumerate(videos):
        np.testing.assert_array_equal(images_of(tmp_path / "out", number), decode(video.path))


@pytest.mark.parametrize("kind", ["mjpeg", "vp9", "yuv444p"])
def test_what_cannot_be_copied_is_encoded_anew_and_says_so(kind: str, tmp_path: Path) -> None:
    codec = {"mjpeg": "mjpeg", "vp9": "libvpx-vp9", "yuv444p": "libx264"}[kind]
    pixels = {"mjpeg": "yuvj420p", "vp9": "yuv420p", "yuv444p": "yuv444p"}[kind]
    video = video_file(tmp_path / "odd.mp4", 20, codec=codec, pixels=pixels)
    lab = store_of(tmp_path / "lab", draft(joints(), {"egocentric": video}))

    [written] = sent(lab, tmp_path / "out").written

    assert "image.egocentric was encoded anew, with loss" in written.notes[0]
    assert kind in written.notes[0]
    near = images_of(tmp_path / "out", 0).astype(float) - decode(video.path)
    assert np.abs(near).mean() < 4


def test_a_camera_that_lost_images_shows_the_latest_at_each_step(tmp_path: Path) -> None:
    video = video_file(tmp_path / "gap.mp4", 20)
    stamps = np.delete(clock(10.0, 2.5), [8, 9, 10, 11, 12])
    lab = store_of(
        tmp_path / "lab",
        draft(joints(2.6), {"egocentric": VideoFile(video.path, video.info, stamps)}),
    )

    [written] = sent(lab, tmp_path / "out").written

    assert "it does not take one image a step" in written.notes[0]
    latest = [*range(8), *[7] * 5, *range(8, 20)]
    near = images_of(tmp_path / "out", 0).astype(float) - decode(video.path)[latest]
    assert np.abs(near).mean() < 4


def test_a_lower_rate_takes_fewer_images(lab: demos.Store, tmp_path: Path) -> None:
    report = sent(lab, tmp_path / "out", rate_hz=10.0)

    assert info_of(tmp_path / "out")["fps"] == 10
    assert sorted(r["length"] for r in episodes_of(tmp_path / "out"))[-1] == 20
    assert all(any("encoded anew" in n for n in w.notes) for w in report.written)
    images_of(tmp_path / "out", 2)


def test_two_cameras_go_out_each_in_its_own_files(tmp_path: Path) -> None:
    videos = {
        "egocentric": video_file(tmp_path / "a.mp4", 20),
        "wrist": video_file(tmp_path / "b.mp4", 50, 25.0, first=9),
    }
    lab = store_of(tmp_path / "lab", draft(joints(), videos))

    [written] = sent(lab, tmp_path / "out").written

    assert [note.split(" was")[0] for note in written.notes] == ["image.wrist"]
    np.testing.assert_array_equal(images_of(tmp_path / "out", 0), decode(videos["egocentric"].path))
    latest = [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 30, 32, 35, 37, 40, 42, 45, 47]
    near = images_of(tmp_path / "out", 0, "observation.images.wrist").astype(float)
    assert np.abs(near - decode(videos["wrist"].path)[latest]).mean() < 4


def test_a_damaged_video_keeps_its_episode_out_and_nothing_of_it_goes(tmp_path: Path) -> None:
    cut = label("use", spans=[Span(start_ns=900_000_000, end_ns=950_000_000, value="exclude")])
    drafts = [
        draft(joints(), {"egocentric": video_file(tmp_path / f"{n}.mp4", 20)}, [cut])
        for n in range(2)
    ]
    lab = store_of(tmp_path / "lab", *drafts)
    hurt = min(lab.catalog.ids())
    camera = lab[hurt].cameras["egocentric"]
    content = bytearray(camera.path.read_bytes())  # type: ignore[attr-defined]
    content[int(camera.index.position[-2]) + 3] ^= 1  # type: ignore[attr-defined]
    camera.path.write_bytes(content)  # type: ignore[attr-defined]

    report = sent(lab, tmp_path / "out")

    [left_out] = report.left_out
    assert left_out.episode == hurt
    assert "fails its checksum" in left_out.reason
    assert [len(written.names) for written in report.written] == [2]
    assert info_of(tmp_path / "out")["total_episodes"] == 2
    assert not (tmp_path / "out/demos/episodes" / hurt).exists()


def test_an_image_of_odd_size_that_must_be_encoded_is_a_reason(tmp_path: Path) -> None:
    odd = video_file(tmp_path / "odd.mp4", 20, codec="mjpeg", pixels="yuvj420p", size=(47, 63))
    lab = store_of(tmp_path / "lab", draft(joints(), {"egocentric": odd}))

    with pytest.raises(ExportFailed, match="63x47 cannot be encoded") as caught:
        sent(lab, tmp_path / "out")

    assert caught.value.hint
    assert not (tmp_path / "out").exists()
