"""The content that `demos bench loader` loads, recorded twice: by our recorder and by lerobot.

Images are a textured plane that a camera pans over, with a patch that moves and sensor noise: the
plane has the 1/f spectrum of natural images and is blurred by a pixel as by a lens. Encoded like
that they take 2.1 kB each at 320x240, where videos of real robots scaled to that size take 1.5
(Unitree G1, `cam_high`) and 1.8 (GR1, `ego_view`). State and action are 43 random walks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
FPS, CHANNELS, SMALL = 30, 43, 224
CAMERAS = ("egocentric", "left_wrist", "right_wrist")
_PLANE, _BLUR_PIXELS, _CONTRAST, _NOISE = 1024, 1.0, 45.0, 2.0


@dataclass(frozen=True, slots=True)
class Content:
    """How much there is of it. `cameras` counts them."""

    episodes: int
    steps: int
    cameras: int
    width: int
    height: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras' names."""
        return CAMERAS[: self.cameras]

    def states(self, episode: int) -> npt.NDArray[np.float32]:
        """(steps + 1, 43) float32: the action of a step is the state of the next."""
        random = np.random.default_rng([self.seed, episode])
        walk = np.cumsum(random.normal(0, 0.01, (self.steps + 1, CHANNELS)), axis=0)
        return walk.astype(np.float32)


class Scene:
    """Draws the images of a content."""

    def __init__(self, content: Content) -> None:
        self.content = content
        random = np.random.default_rng(content.seed)
        light, red, blue = (_natural(random) for _ in range(3))
        mixed = [light + 0.3 * red, light - 0.15 * red + 0.1 * blue, light - 0.3 * blue]
        self._plane = np.stack(mixed, -1) * _CONTRAST + 120
        size = (content.height, content.width, 1)
        self._noise = [random.normal(0, _NOISE, size) for _ in range(16)]
        self._patch = _natural(random)[:48, :48, None] * 60 + [90, 160, 60]

    def image(self, episode: int, step: int, camera: int) -> Image:
        """Draw one image: (height, width, 3)."""
        height, width = self.content.height, self.content.width
        at = 0.011 * step + 0.7 * episode + 1.9 * camera
        x, y = _swing(np.sin(at), _PLANE - width), _swing(np.cos(0.83 * at), _PLANE - height)
        image = self._plane[y : y + height, x : x + width].copy()
        x = _swing(np.sin(0.07 * step + camera), width - 48)
        y = _swing(np.cos(0.05 * step + episode), height - 48)
        image[y : y + 48, x : x + 48] = self._patch
        image += self._noise[(7 * step + 3 * camera + episode) % 16]
        return image.clip(0, 255).astype(np.uint8)


def _natural(random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw a plane with a 1/f spectrum, blurred, of mean 0 and deviation 1."""
    spectrum = np.fft.rfft2(random.normal(size=(_PLANE, _PLANE)))
    across, down = np.fft.rfftfreq(_PLANE)[None], np.fft.fftfreq(_PLANE)[:, None]
    distance = np.hypot(across, down)
    distance[0, 0] = 1.0
    lens = np.exp(-2 * (np.pi * _BLUR_PIXELS * distance) ** 2)
    plane = np.fft.irfft2(spectrum / distance * lens, s=(_PLANE, _PLANE))
    found: npt.NDArray[np.float64] = (plane - plane.mean()) / plane.std()
    return found


def _swing(share: float, most: int) -> int:
    return int((0.5 + 0.5 * share) * most)


def record_ours(content: Content, root: Path) -> None:
    """Record the content into a new store."""
    import demos
    from demos.model import CameraInfo, StreamInfo
    from demos.store import Recorder

    store, scene = demos.open(root, container="zarr"), Scene(content)
    recorder = Recorder(
        store, embodiment="g1_dex3", operator="bench", task="pick_place", on_full="block"
    )
    joints = tuple(f"j{number}" for number in range(CHANNELS))
    info = StreamInfo(units=("rad",) * CHANNELS, channels=joints, rate_hz=FPS)
    time_ns = np.rint(np.arange(content.steps) * (1e9 / FPS)).astype(np.int64)
    for episode in range(content.episodes):
        states = content.states(episode)
        with recorder.episode() as taken:
            for name, values in (("joint_position", states[:-1]), ("joint_command", states[1:])):
                taken.declare(name, info)
                taken.write(name, time_ns, values)
            for number, camera in enumerate(content.names):
                size = {"width": content.width, "height": content.height}
                taken.declare_camera(camera, CameraInfo(**size, rate_hz=FPS))
                for step in range(content.steps):
                    taken.image(camera, int(time_ns[step]), scene.image(episode, step, number))


def record_lerobot(content: Content, root: Path, *, small: bool = False) -> None:
    """Record the content with lerobot; `small`: its images scaled to 224x224 beforehand.

    As H.264, which lerobot reads faster than its default AV1.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    height, width = (SMALL, SMALL) if small else (content.height, content.width)
    names = [f"j{number}" for number in range(CHANNELS)]
    numbers = {"dtype": "float32", "shape": (CHANNELS,), "names": names}
    axes = ["height", "width", "channels"]
    features = {
        "observation.state": numbers,
        "action": numbers,
        **{
            f"observation.images.{camera}": {
                "dtype": "video",
                "shape": (height, width, 3),
                "names": axes,
            }
            for camera in content.names
        },
    }
    made = LeRobotDataset.create(
        "bench/loader",
        fps=FPS,
        root=root,
        robot_type="g1_dex3",
        features=features,
        vcodec="h264",
        streaming_encoding=True,
    )
    for episode in range(content.episodes):
        for step in _steps(content, episode, small=small):
            made.add_frame(step)
            # it drops images without an error where its encoder is a queue behind
            while any(q.qsize() > 10 for q in made._streaming_encoder._frame_queues.values()):
                time.sleep(0.002)
        made.save_episode()
    made.finalize()


def _steps(content: Content, episode: int, *, small: bool) -> Iterator[dict[str, Any]]:
    scene, states = Scene(content), content.states(episode)
    for step in range(content.steps):
        images = [scene.image(episode, step, number) for number in range(content.cameras)]
        yield {
            "observation.state": states[step],
            "action": states[step + 1],
            "task": "pick and place",
            **{
                f"observation.images.{camera}": scaled(image) if small else image
                for camera, image in zip(content.names, images, strict=True)
            },
        }


def scaled(image: Image) -> Image:
    """Scale an image to 224x224."""
    import av

    picture: Any = av.VideoFrame.from_ndarray(image, format="rgb24")
    small: Image = picture.reformat(SMALL, SMALL, "rgb24", interpolation="AREA").to_ndarray()
    return small


def bytes_of(root: Path) -> int:
    """Add up the files below a folder."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
