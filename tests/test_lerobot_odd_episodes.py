"""Of every odd episode there is a LeRobot table or a reason, never a crash."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import demos
from demos.errors import DemosError, RecordingFailed
from demos.exporters import Action, Choices, Chosen, export
from demos.model import Draft, VideoFile
from demos.store.encoding import encode
from tests.examples import EXAMPLES, example
from tests.lerobot_reading import (
    back,
    images_of,
    info_of,
    rows_of,
)
from tests.scripted import draft_of
from tests.table_store import store_of


def published(name: str, folder: Path) -> Draft:
    """Make an example ready for a store: images in memory become a video."""
    found = example(name)
    plain = draft_of(found)
    videos = {}
    for key, camera in found.cameras.items():
        try:
            images = (camera.images([n])[0] for n in range(len(camera)))
            path = folder / f"{name}-{key}.mp4"
            index = encode(path, images, camera.time_ns, 15.0)
        except (OSError, RecordingFailed):
            continue
        videos[key] = VideoFile(path, camera.info, index.time_ns)
    return replace(plain, videos=videos)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    folder = tmp_path_factory.mktemp("catalogue")
    return store_of(folder / "lab", *(published(name, folder) for name in EXAMPLES))


@pytest.mark.parametrize("format_", ["lerobot", "groot"])
def test_of_every_odd_episode_there_is_a_table_or_a_reason(
    format_: str, catalogue: demos.Store, tmp_path: Path
) -> None:
    report = catalogue.select("").export(tmp_path / "out", to=format_)

    spoken_of = {w.episode for w in report.written} | {e.episode for e in report.left_out}
    assert spoken_of == set(catalogue.catalog.ids())
    assert all(each.reason and each.hint for each in report.left_out)
    assert len(report.written) >= 18
    names = [name for written in report.written for name in written.names]
    assert sorted(back(tmp_path / "out", tmp_path / "again")) == sorted(names)


def alone(chosen: Chosen, path: Path, action: Action) -> str:
    """Export one episode; return what kept it out, or an empty string."""
    try:
        export([chosen], path, "lerobot", Choices(action=action))
    except DemosError as error:
        return f"{error}: {error.hint}" if error.hint else "no hint"
    return ""


@pytest.mark.parametrize("action", ["joint_delta", "rotation_6d"])
def test_of_every_odd_episode_by_itself_there_is_a_table_or_a_reason(
    action: Action, catalogue: demos.Store, tmp_path: Path
) -> None:
    kept_out = {}
    for chosen in catalogue.select("").chosen():
        path = tmp_path / chosen.manifest.id
        why = alone(chosen, path, action)
        if why:
            kept_out[chosen.manifest.id] = why
            continue
        stats = (path / "meta/stats.json").read_text()
        json.loads(stats, parse_constant=pytest.fail)  # NaN is no JSON
        assert len(rows_of(path)["index"]) == info_of(path)["total_frames"] >= 2

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        set(catalogue.catalog.ids()) - set(kept_out)
    )
    assert len(kept_out) <= 4
    assert "no hint" not in kept_out.values()


def test_episodes_in_memory_go_out_too(tmp_path: Path) -> None:
    one = example("clean_pick")
    hidden = example("unreadable_video")

    report = export(
        [Chosen(one.manifest, lambda: one), Chosen(hidden.manifest, lambda: hidden)],
        tmp_path / "out",
        "lerobot",
    )

    assert [written.episode for written in report.written] == [one.id]
    assert "cannot be read: moov atom not found" in report.left_out[0].reason
    near = images_of(tmp_path / "out", 0).astype(float)
    pixels = one.cameras["egocentric"].images(range(len(near)))
    assert np.abs(near - pixels).mean() < 6
