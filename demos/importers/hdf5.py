"""Our own single file of episodes; `demos.formats.episode_file` says how it is laid out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from demos.formats import hdf5
from demos.formats.episode_file import VERSION, Reading, episodes, key
from demos.importers import Item, Options, attempt, importers
from demos.model import Draft, Facts, Manifest, Session, Stream, VideoFile
from demos.provenance import made_by, new_id


@importers.adding("hdf5")
class Hdf5:
    """Read the HDF5 file that `demos export --to hdf5` writes, bit for bit."""

    loses: ClassVar[str] = "the episode's id: it becomes a new episode and remembers the old one"

    def sniff(self, path: Path) -> bool:
        """Look for a group of episodes with checksums."""
        found = hdf5.places(path)
        return any(p.startswith("episodes/") and p.endswith("/checksums") for p in found)

    def episodes(self, path: Path, options: Options) -> Iterator[Item]:
        """Yield the episodes, oldest first."""
        if options.numbers_only:
            return  # their channels were connected when they first came into a store
        with hdf5.opened(path) as file:
            names = episodes(file)
            for name in names:
                with TemporaryDirectory(prefix="demos-import-") as folder:
                    build = partial(_draft, path, file, name, options, Path(folder))
                    yield attempt(name, build, len(names))

    def write_example(self, path: Path) -> Path:
        """Write a file with one episode of one stream, as the exporter does."""
        from demos.formats.episode_file_example import write

        path.mkdir(parents=True, exist_ok=True)
        return write(path / "episodes.h5")


def _draft(path: Path, file: Any, name: str, options: Options, scratch: Path) -> Draft:
    reading = Reading.of(file, name)
    manifest, session = reading.manifest(), reading.session()
    streams = {each: _stream(reading, each, manifest) for each in manifest.streams}
    videos = {}
    for number, camera in enumerate(manifest.cameras):
        place, summary = f"cameras/{key(camera)}", manifest.cameras[camera]
        video = scratch / f"{number}{Path(summary.file).suffix}"
        reading.save(f"{place}/file", video)
        shown = reading.stamps(f"{place}/shown")
        stamps = reading.array(f"{place}/time_ns")
        videos[camera] = VideoFile(video, summary.info, stamps, shown)
    before = manifest.provenance
    assumed = list(before.assumed)
    if options.operator is None:
        assumed.append("operator, task and whatever else is known: as the file says")
    provenance = made_by(
        "demos import",
        source=path.name,
        source_format=f"hdf5 {VERSION}",
        source_sha256={f"{path.name}#{name}": reading.sha256},
        assumed=tuple(dict.fromkeys(assumed)),
        missing=before.missing,
        recovered=before.recovered,
        seed=before.seed,
        parameters={
            **before.parameters,
            "source_episode": name,
            "original": before.model_dump(mode="json"),
        },
    )
    known = {field: getattr(manifest, field) for field in Facts.model_fields}
    facts = Facts(
        **{
            **known,
            "task": options.task or manifest.task,
            "factors": {**manifest.factors, **options.factors},
            "provenance": provenance,
        }
    )
    return Draft(
        _session(session, options), facts, streams, videos, manifest.events, reading.labels()
    )


def _stream(reading: Reading, name: str, manifest: Manifest) -> Stream:
    place = f"streams/{key(name)}"
    return Stream(
        reading.array(f"{place}/time_ns"),
        reading.array(f"{place}/values"),
        manifest.streams[name].info,
        reading.stamps(f"{place}/source_time_ns"),
        reading.stamps(f"{place}/arrival_ns"),
    )


def _session(session: Session, options: Options) -> Session:
    """Return the session as it was, or another one where a person says otherwise."""
    said = {
        "operator": options.operator or session.operator,
        "embodiment": options.embodiment.id if options.embodiment else session.embodiment,
    }
    changed = session.model_copy(update=said)
    return session if changed == session else changed.model_copy(update={"id": new_id()})
