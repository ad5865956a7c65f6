"""One HDF5 file with all there is of a selection of episodes; `demos.formats.episode_file`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from demos import labels
from demos.errors import Damaged
from demos.exporters import Choices, Chosen, LeftOut, Written, attempt, exporters
from demos.formats.episode_file import Writing, begin, labels_text
from demos.model import Camera, Episode
from demos.schema import dump
from demos.store.hdf5_disk import Disk


@exporters.adding("hdf5")
class Hdf5:
    """Write one HDF5 file: every stream at its own rate, videos, labels, manifest and session."""

    loses: ClassVar[str] = (
        "nothing that was recorded or said of it; findings, scores and the YAML of body and task "
        "stay in the store"
    )
    single_file: ClassVar[bool] = True

    def write(
        self, chosen: Sequence[Chosen], target: Path, choices: Choices
    ) -> Iterator[Written | LeftOut]:
        """Write episodes to `target`; yield what became of each."""
        import h5py

        with Disk(target) as disk:
            # object headers of this version have checksums; HDF5 1.10 and newer read it
            with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                begin(file)
                for item in chosen:
                    yield attempt(item.manifest.id, partial(_written, file, disk, item, choices))
            disk.check()


def _written(file: Any, disk: Disk, item: Chosen, choices: Choices) -> Written:
    name = item.manifest.id
    try:
        notes = _write(file.create_group(f"episodes/{name}"), item, choices)
    except BaseException:
        del file[f"episodes/{name}"]
        raise
    disk.check()
    return Written(name, (name,), notes=notes)


def _write(group: Any, item: Chosen, choices: Choices) -> tuple[str, ...]:
    from demos.store import EpisodeStore

    episode = item.open()
    wanted = [n for n in episode.streams if choices.streams is None or n in choices.streams]
    manifest = item.manifest.model_copy(
        update={"streams": {name: item.manifest.streams[name] for name in wanted}}
    )
    writing = Writing(group)
    for name in wanted:
        writing.stream(name, episode.streams[name])
    for name, camera in episode.cameras.items():
        path, shown = _video(episode, name, camera)
        writing.camera(name, camera, path, shown)
        said = manifest.files[path.name].sha256
        if writing.checksums[f"cameras/{name}/file"] != said:
            raise Damaged(f"{path.name} is not what was published").with_hint(
                "restore the file from a copy; `demos verify STORE --deep` lists what else is hurt"
            )
    session = EpisodeStore.open(str(episode.root)).session(manifest.session)
    writing.text("manifest", dump(manifest))
    writing.text("session", dump(session))
    writing.text("labels", labels_text(episode.labels))
    writing.finish()
    told = {
        "task": manifest.task,
        "instruction": manifest.instruction,
        "embodiment": manifest.embodiment,
        "operator": manifest.operator,
        "outcome": labels.outcome(episode.labels),
        "split": item.split,
        "verdict": item.verdict,
    }
    for key, value in told.items():
        group.attrs[key] = value
    notes = []
    if left := sorted(set(episode.streams) - set(wanted)):
        notes.append(f"left out on purpose: {', '.join(left)}")
    if choices.rate_hz is not None:
        notes.append("every stream keeps its own rate: a rate of steps changes nothing here")
    return tuple(notes)


def _video(
    episode: Episode, name: str, camera: Camera
) -> tuple[Path, npt.NDArray[np.int64] | None]:
    """Return a camera's file, and which of its images belong to the episode where not all do."""
    from demos.store import layout
    from demos.store.video import VideoCamera, index_file

    file = episode.manifest.cameras[name].file
    path = layout.episode_dir(Path(str(episode.root)), episode.id) / file
    whole = index_file(path)
    order = camera.index.order if isinstance(camera, VideoCamera) else whole.order
    if np.array_equal(whole.order, order):
        return path, None
    place = {packet: position for position, packet in enumerate(whole.order.tolist())}
    return path, np.array([place[packet] for packet in order.tolist()], np.int64)
