"""Real videos, AV1 in pairs and H.264 with B-frames, against PyAV's own sequential decode."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from demos.errors import Damaged
from demos.model import CameraInfo
from demos.store.video import VideoCamera, index_file

DATA = Path(os.environ.get("DEMOS_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
VIDEOS = sorted(path for path in DATA.rglob("*.mp4") if "lfs_pointers" not in path.parts)
POINTERS = sorted(DATA.glob("lfs_pointers/**/*.mp4"))

pytestmark = pytest.mark.skipif(
    not VIDEOS, reason=f"no real recordings at {DATA}; set DEMOS_REAL_DATA to their folder"
)


def relative(path: Path) -> str:
    return str(path.relative_to(DATA))


@pytest.mark.parametrize("path", VIDEOS, ids=relative)
def test_random_images_equal_the_sequential_decode(path: Path) -> None:
    index = index_file(path)
    camera = VideoCamera(path, CameraInfo(width=index.width, height=index.height), index)
    chosen = np.random.default_rng(0).choice(len(camera), 50, replace=False).tolist()

    images = dict(zip(chosen, camera.images(chosen), strict=True))

    with av.open(str(path)) as container:
        count = 0
        for count, image in enumerate(container.decode(video=0), 1):
            if count - 1 in images:
                assert np.array_equal(images[count - 1], image.to_ndarray(format="rgb24"))
    assert count == len(camera)


@pytest.mark.parametrize("path", POINTERS, ids=relative)
def test_a_git_lfs_pointer_is_damage_and_not_a_traceback(path: Path) -> None:
    with pytest.raises(Damaged, match=path.name):
        index_file(path)
