"""Videos of LeRobot folders: whole files are taken as they are, spans are cut without encoding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demos.formats.lerobot_example import CAMERA as HEAD
from demos.formats.lerobot_example import STEPS, write_v21
from demos.formats.segments import cut, packets_of, span_of
from demos.importers import Found, Item, Options, Refused, import_source, open_source
from demos.model import Draft, VideoFile
from demos.store import EpisodeStore
from demos.store.video import VideoCamera, index_file
from tests.lerobot_folders import decode, edit_info, encode, encoded, in_table, picture, write_v30

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
VIDEO = f"videos/chunk-000/{HEAD}/episode_000000.mp4"


@pytest.fixture
def v21(tmp_path: Path) -> Path:
    return write_v21(tmp_path / "v21")


def read(root: Path, **options: Any) -> list[Item]:
    return list(open_source(root, Options(**options)))


def only(root: Path, **options: Any) -> Draft:
    items = read(root, **options)
    [episode] = [item for item in items if isinstance(item, Found)]
    assert not [item for item in items if isinstance(item, Refused)]
    return episode.draft


def checks(draft: Draft) -> list[str]:
    return [finding.check for finding in draft.findings]


def camera(video: VideoFile) -> VideoCamera:
    """Open a video as the store does once it is published."""
    index = index_file(video.path)
    order = index.order if video.shown is None else index.order[video.shown]
    return VideoCamera(video.path, video.info, replace(index, order=order, time_ns=video.time_ns))


def test_images_and_rows_of_different_number_are_a_finding_with_the_difference(
    v21: Path,
) -> None:
    encode(v21 / VIDEO, STEPS - 2)

    draft = only(v21)

    [finding] = [f for f in draft.findings if f.check == "import.images"]
    assert finding.measured == -2
    assert len(draft.videos["head"].time_ns) == STEPS - 2


def test_a_missing_video_leaves_a_state_only_episode_with_a_finding(v21: Path) -> None:
    (v21 / VIDEO).unlink()

    draft = only(v21)

    assert draft.videos == {}
    assert checks(draft) == ["import.missing_video"]
    assert draft.facts.provenance.missing == (f"video {VIDEO}",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(POINTER, "Git LFS pointer"), (b"", "empty"), (b"#EXTM3U\n/etc/passwd\n", "no mp4")],
)
def test_a_video_that_is_none_is_named(v21: Path, content: bytes, reason: str) -> None:
    (v21 / VIDEO).write_bytes(content)

    draft = only(v21)

    [finding] = draft.findings
    assert reason in finding.message
    assert finding.hint


def test_a_truncated_video_does_not_cost_the_episode(v21: Path) -> None:
    whole = (v21 / VIDEO).read_bytes()
    (v21 / VIDEO).write_bytes(whole[: len(whole) // 3])

    draft = only(v21)

    assert draft.videos == {}
    assert checks(draft) == ["import.missing_video"]


def test_a_camera_name_cannot_leave_the_store(v21: Path) -> None:
    def rename(info: dict[str, Any]) -> None:
        info["features"]["observation.images./a/b"] = info["features"].pop(HEAD)

    (v21 / "videos/chunk-000/observation.images./a").mkdir(parents=True)
    (v21 / VIDEO).parent.rename(v21 / "videos/chunk-000/observation.images./a/b")

    draft = only(edit_info(v21, rename))

    assert list(draft.videos) == ["_a_b"]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"drift_s": 0.01},
        {"keys": [0]},
        {"keys": [0, 4, 11], "b_frames": 3},
        {"b_frames": 2},
    ],
    ids=["as LeRobot writes", "drifting spans", "one key image", "keys elsewhere", "B-frames"],
)
def test_v30_gives_each_episode_its_own_images(tmp_path: Path, layout: dict[str, Any]) -> None:
    lengths = (6, 9, 5)
    root = write_v30(tmp_path / "v30", lengths, **layout)
    truth = decode(next(root.rglob("*.mp4")))

    start = 0
    for item, length in zip(
        (i for i in open_source(root) if isinstance(i, Found)), lengths, strict=True
    ):
        video = item.draft.videos["ego"]
        images = camera(video).images(range(length))
        np.testing.assert_array_equal(images, truth[start : start + length])
        np.testing.assert_array_equal(video.time_ns, item.draft.streams["state"].time_ns)
        assert item.draft.findings == ()
        start += length


def test_an_episode_that_begins_at_a_key_image_takes_no_foreign_image_along(
    tmp_path: Path,
) -> None:
    root = write_v30(tmp_path / "v30")

    for item in open_source(root):
        if isinstance(item, Found):
            video = item.draft.videos["ego"]
            assert video.shown is None
            assert len(decode(video.path)) == len(video.time_ns)


def test_nothing_temporary_is_left(tmp_path: Path) -> None:
    paths = [
        item.draft.videos["ego"].path
        for item in open_source(write_v30(tmp_path / "v30"))
        if isinstance(item, Found)
    ]

    assert paths
    assert not any(path.exists() for path in paths)


def test_a_span_behind_the_end_of_the_video_is_a_missing_video(tmp_path: Path) -> None:
    root = write_v30(tmp_path / "v30", (6, 4))
    encode(next(root.rglob("*.mp4")), 6)

    first, second = (i.draft for i in read(root) if isinstance(i, Found))

    assert checks(first) == []
    assert checks(second) == ["import.missing_video"]


def test_a_cut_copies_packets_and_encodes_nothing(tmp_path: Path) -> None:
    source = encode(tmp_path / "long.mp4", 20, keys=(0, 8))
    packets = packets_of(source)
    whole = source.read_bytes()

    shown = cut(source, packets, (8, 15), tmp_path / "short.mp4")

    copied = packets_of(tmp_path / "short.mp4")
    short = (tmp_path / "short.mp4").read_bytes()
    assert len(copied) == 7
    np.testing.assert_array_equal(shown, np.arange(7))
    for n in range(7):
        a, b = packets.position[8 + n], copied.position[n]
        size = packets.size[8 + n]
        assert whole[a : a + size] == short[b : b + size]


def test_a_span_is_found_in_spite_of_rounding(tmp_path: Path) -> None:
    packets = packets_of(encode(tmp_path / "x.mp4", 20))

    assert span_of(packets, 0.5999, 1.2001) == (6, 12)
    assert span_of(packets, 0.64, 1.24) == (6, 12)


def test_png_images_inside_the_table_are_kept_to_the_bit(v21: Path, tmp_path: Path) -> None:
    images = np.stack([picture(n) for n in range(STEPS)])
    cells = [{"bytes": encoded(image, "png"), "path": None} for image in images]
    store = EpisodeStore.create(tmp_path / "store")

    report = import_source(in_table(v21, cells), store)

    episode = store.episode(report.episodes[0][1])
    assert report.findings == ()
    np.testing.assert_array_equal(episode.images("wrist", [7, 0, 3]), images[[7, 0, 3]])
    np.testing.assert_array_equal(
        episode.cameras["wrist"].time_ns, episode.streams["state"].time_ns
    )


def test_jpeg_images_inside_the_table_are_copied_not_encoded_again(v21: Path) -> None:
    cells = [{"bytes": encoded(picture(n), "jpeg"), "path": None} for n in range(STEPS)]

    for item in open_source(in_table(v21, cells)):
        if isinstance(item, Found):
            content = item.draft.videos["wrist"].path.read_bytes()
            assert all(content.count(encoded(picture(n), "jpeg")) == 1 for n in range(STEPS))
            break
    else:
        pytest.fail("no episode")


def test_images_that_the_table_only_points_to_are_read(v21: Path) -> None:
    (v21 / "images").mkdir()
    for n in range(STEPS):
        (v21 / f"images/{n}.png").write_bytes(encoded(picture(n), "png"))
    cells = [{"bytes": None, "path": f"images/{n}.png"} for n in range(STEPS)]

    assert "wrist" in only(in_table(v21, cells)).videos


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ({"bytes": b"x", "path": None}, "neither PNG nor JPEG"),
        ({"bytes": b"\x89PNG\r\n\x1a\n" + b"0" * 40, "path": None}, "cannot be read"),
        ({"bytes": None, "path": "../../etc/passwd"}, "a path we do not follow"),
        ({"bytes": None, "path": "images/absent.png"}, "is not there"),
    ],
)
def test_images_that_are_none_are_a_finding(v21: Path, cell: dict[str, Any], reason: str) -> None:
    draft = only(in_table(v21, [cell] * STEPS))

    [finding] = draft.findings
    assert finding.check == "import.missing_video"
    assert reason in finding.message
    assert finding.hint
    assert "wrist" not in draft.videos


def test_images_of_two_sizes_are_a_finding(v21: Path) -> None:
    sizes = [(48, 64)] * (STEPS - 1) + [(64, 48)]
    cells = [{"bytes": encoded(picture(0, size), "png"), "path": None} for size in sizes]

    [finding] = only(in_table(v21, cells)).findings

    assert "2 sizes" in finding.message
