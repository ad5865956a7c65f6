"""The recordings that `demos bench convert` converts, each the same content in another layout.

Images and state are those of `_loader_content.py`. Numbers are 14 channels at the images' rate, as
the foreign formats have one clock; `session` has what a humanoid's recorder takes in besides:
joints at 500 Hz, wrenches at 1 kHz, tactile pads at 200 Hz, each on a clock of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FPS, CHANNELS = 30, 14
CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")
RAW, JPEG, MIMIC = "aloha_raw", "aloha_jpeg", "robomimic_raw.hdf5"
_QUALITY = 4
"""Quantiser of the JPEGs: about 45 kB at 640x480, what recorders write (OpenCV's 95 is 60)."""


def write_sources(content: Any, small: Any, root: Path) -> None:
    """Write all recordings that need no other program: `small` is that of robomimic."""
    root.mkdir()
    scene = import_module("_loader_content").Scene(content)
    for episode in range(content.episodes):
        _aloha(scene, content, episode, root)
    _robomimic(small, root / MIMIC)
    _xr_teleoperate(content, root)
    _rlds(content, root)


def images(root: Path, source: str, episode: int) -> Iterator[tuple[str, Any]]:
    """Yield the cameras of an ALOHA episode: name and rows, raw or JPEG."""
    import h5py

    with h5py.File(root / source / f"episode_{episode}.hdf5", "r") as file:
        yield from file["observations/images"].items()


def _aloha(scene: Any, content: Any, episode: int, root: Path) -> None:
    """Write an episode twice: raw images as ALOHA records them, JPEG as Mobile ALOHA does."""
    import h5py

    states = content.states(episode)[:, :CHANNELS]
    cameras = CAMERAS[: content.cameras]
    encoded: dict[str, list[bytes]] = {name: [] for name in cameras}
    for source in (RAW, JPEG):
        (root / source).mkdir(exist_ok=True)
        with h5py.File(root / source / f"episode_{episode}.hdf5", "w") as file:
            file.attrs["sim"], file.attrs["fps"] = False, FPS
            file["observations/qpos"], file["observations/qvel"] = (
                states[:-1],
                np.diff(states, axis=0),
            )
            file["observations/effort"], file["action"] = states[:-1] / 2, states[1:]
            for number, name in enumerate(cameras):
                place = f"observations/images/{name}"
                if source == RAW:
                    shape = (content.height, content.width, 3)
                    size = (content.steps, *shape)
                    rows = file.create_dataset(place, size, np.uint8, chunks=(1, *shape))
                    press = Press(content.width, content.height)
                    for step in range(content.steps):
                        image = scene.image(episode, step, number)
                        rows[step] = image
                        encoded[name].append(press.jpeg(image))
                else:
                    file[place] = _padded(encoded[name])
            if source == JPEG:
                lengths = [[len(image) for image in encoded[name]] for name in cameras]
                file["compress_len"] = np.array(lengths, np.float32)


class Press:
    """Encodes images of one size as JPEG."""

    def __init__(self, width: int, height: int) -> None:
        import av

        context: Any = av.CodecContext.create("mjpeg", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
        context.time_base, context.thread_count = Fraction(1, FPS), 1
        context.options = {"qmin": str(_QUALITY), "qmax": str(_QUALITY)}
        self._context = context

    def jpeg(self, image: npt.NDArray[np.uint8]) -> bytes:
        """Encode one RGB image (height, width, 3)."""
        import av

        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        return b"".join(bytes(packet) for packet in self._context.encode(picture))


def _padded(encoded: list[bytes]) -> npt.NDArray[np.uint8]:
    table = np.zeros((len(encoded), max(map(len, encoded))), np.uint8)
    for row, image in zip(table, encoded, strict=True):
        row[: len(image)] = np.frombuffer(image, np.uint8)
    return table


def _robomimic(content: Any, path: Path) -> None:
    """Write many short demonstrations of small images, as robomimic's files have them."""
    import h5py

    example = import_module("demos.formats.robomimic_example")
    scene = import_module("_loader_content").Scene(content)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = content.episodes * content.steps
        data.attrs["env_args"] = json.dumps(example.ENVIRONMENT)
        for episode in range(content.episodes):
            demo, states = data.create_group(f"demo_{episode}"), content.states(episode)
            demo.attrs["num_samples"] = content.steps
            demo["actions"], demo["states"] = states[1:, :7], states[:-1]
            demo["obs/robot0_joint_pos"] = states[:-1, :7]
            demo["obs/robot0_eef_pos"] = states[:-1, 7:10]
            demo["dones"] = np.arange(content.steps) == content.steps - 1
            for number, name in enumerate(("agentview", "robot0_eye_in_hand")[: content.cameras]):
                shown = [scene.image(episode, step, number) for step in range(content.steps)]
                chunks = (1, content.height, content.width, 3)
                demo.create_dataset(f"obs/{name}_image", data=np.stack(shown), chunks=chunks)


def _xr_teleoperate(content: Any, root: Path) -> None:
    example = import_module("demos.formats.xr_teleoperate_example")
    for episode in range(content.episodes):
        folder, states = root / "xr_teleoperate" / f"episode_{episode:04d}", content.states(episode)
        (folder / "colors").mkdir(parents=True)
        rows = []
        for step in range(content.steps):
            places = {}
            for number in range(content.cameras):
                places[f"color_{number}"] = f"colors/{step:06d}_color_{number}.jpg"
            told = example.row(step, places)
            for when, values in (("states", states[step]), ("actions", states[step + 1])):
                for side, start in (("left_arm", 0), ("right_arm", 7)):
                    told[when][side]["qpos"] = values[start : start + 7].round(6).tolist()
            rows.append(told)
        for number, (_, table) in enumerate(images(root, JPEG, episode)):
            for step, row in enumerate(table):
                image = row.tobytes().rstrip(b"\0")
                (folder / f"colors/{step:06d}_color_{number}.jpg").write_bytes(image)
        (folder / "data.json").write_text(json.dumps(example.document(rows), indent=4))


def _rlds(content: Any, root: Path) -> None:
    example = import_module("demos.formats.rlds_example")
    written = import_module("demos.formats.tfrecord").write_records
    folder = root / "rlds"
    folder.mkdir()
    size = {"dimensions": [str(content.height), str(content.width), "3"]}
    told = {"shape": size, "dtype": "uint8", "encodingFormat": "jpeg"}
    kind = "tensorflow_datasets.core.features"
    picture = {"pythonClassName": f"{kind}.image_feature.Image", "image": told}
    wide = [str(CHANNELS)]
    seen = {CAMERAS[number]: picture for number in range(content.cameras)}
    steps = {
        "observation": example.tree({"state": example.tensor("float32", wide), **seen}),
        "action": example.tensor("float32", wide),
    }
    sequence = {"feature": example.tree(steps), "length": "-1"}
    dataset = {"pythonClassName": f"{kind}.dataset_feature.Dataset", "sequence": sequence}
    (folder / "features.json").write_text(json.dumps(example.tree({"steps": dataset})))
    said = example.info({example.SPLIT: [content.episodes]})
    (folder / "dataset_info.json").write_text(json.dumps(said))
    path = folder / f"{example.NAME}-{example.SPLIT}.tfrecord-00000-of-00001"
    written(path, [_record(content, root, episode) for episode in range(content.episodes)])


def _record(content: Any, root: Path, episode: int) -> bytes:
    states = content.states(episode)[:, :CHANNELS]
    features: dict[str, Any] = {
        "steps/observation/state": states[:-1].reshape(-1),
        "steps/action": states[1:].reshape(-1),
    }
    for name, table in images(root, JPEG, episode):
        shown = [row.tobytes().rstrip(b"\0") for row in table]
        features[f"steps/observation/{name}"] = shown
    record: bytes = import_module("demos.formats.tf_example").serialise(features)
    return record


def record_session(content: Any, root: Path) -> None:
    """Record the content into a new store as a humanoid's recorder would, all its streams."""
    import demos
    from demos import embodiment
    from demos.model import CameraInfo
    from demos.store import Recorder

    store, body = demos.open(root, container="zarr"), embodiment.load("g1_dex3")
    scene = import_module("_loader_content").Scene(content)
    recorder = Recorder(
        store, embodiment=body.id, operator="bench", task="pick_place", on_full="block"
    )
    kinds = ("joint_position", "joint_velocity", "joint_effort", "joint_command")
    wanted = [*kinds, *(name for name in body.streams if name.startswith(("wrench.", "tactile.")))]
    for episode in range(content.episodes):
        random = np.random.default_rng([content.seed, episode])
        with recorder.episode() as taken:
            for name in wanted:
                info = body.streams[name]
                rate = info.rate_hz or FPS
                count = round(content.steps / FPS * rate)
                steps = random.normal(0, 0.2 / rate, (count, len(info.channels)))
                clock = np.rint(np.arange(count) * (1e9 / rate)).astype(np.int64)
                taken.write(name, clock, np.cumsum(steps, axis=0).astype(np.float32))
            for number, camera in enumerate(("egocentric", *CAMERAS[1:])[: content.cameras]):
                size = {"width": content.width, "height": content.height}
                taken.declare_camera(camera, CameraInfo(**size, rate_hz=FPS))
                for step in range(content.steps):
                    moment = round(step * 1e9 / FPS)
                    taken.image(camera, moment, scene.image(episode, step, number))
