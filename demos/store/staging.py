"""What a publication makes before it is published: signals, videos, manifest, labels, findings."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demos.errors import ImportFailed, SchemaMismatch
from demos.model import (
    CameraInfo,
    CameraSummary,
    Draft,
    FileInfo,
    Finding,
    Manifest,
    Nanoseconds,
    Stream,
    StreamSummary,
    VideoFile,
)
from demos.provenance import sha256_file
from demos.schema import dump
from demos.store import containers, disk, layout
from demos.store.packets import PacketIndex, index_file

if TYPE_CHECKING:
    import pandas as pd

EPISODE, BESIDE = "episode", "beside"
FINDINGS_RUN = "published"


@dataclass(frozen=True, slots=True)
class Footage:
    """One camera's video on its way: `put` writes the file at a path and indexes it."""

    info: CameraInfo
    put: Callable[[Path], PacketIndex]
    suffix: str = ".mp4"


def put_episode(
    folder: Path,
    container: layout.Container,
    draft: Draft,
    episode: str,
    footage: Mapping[str, Footage],
    uses: Mapping[str, str],
) -> Manifest:
    """Write the files of an episode into the empty `folder`; nothing is synced yet."""
    packets: dict[str, PacketIndex] = {}
    cameras: dict[str, CameraSummary] = {}
    for name, camera in sorted(footage.items()):
        path = folder / layout.video_name(name, camera.suffix)
        packets[name] = index = camera.put(path)
        cameras[name] = CameraSummary(
            info=camera.info.model_copy(
                update={"codec": index.codec, "width": index.width, "height": index.height}
            ),
            images=len(index),
            file=path.name,
            **_reach(index.time_ns),
        )
    containers.write(folder / layout.SIGNALS[container], container, draft.streams, packets)
    files = {}
    for path in sorted(folder.iterdir()):
        files[path.name] = FileInfo(size=path.stat().st_size, sha256=sha256_file(path))
    streams = {name: _summary(stream) for name, stream in sorted(draft.streams.items())}
    clocks = [stream.time_ns for stream in draft.streams.values() if len(stream)]
    clocks += [index.time_ns for index in packets.values() if len(index)]
    start_ns = min((int(clock.min()) for clock in clocks), default=0)
    end_ns = max((int(clock.max()) for clock in clocks), default=0)
    manifest = Manifest(
        **{field: getattr(draft.facts, field) for field in type(draft.facts).model_fields},
        id=episode,
        session=draft.session.id,
        embodiment=draft.session.embodiment,
        operator=draft.session.operator,
        container=container,
        duration_ns=end_ns - start_ns,
        streams=streams,
        cameras=cameras,
        events=tuple(sorted(draft.events, key=lambda event: event.time_ns)),
        uses=dict(uses),
        files=files,
    )
    disk.write_new(folder / layout.MANIFEST, dump(manifest))
    return manifest


def put_beside(root: Path, folder: Path, draft: Draft, episode: str) -> None:
    """Write labels and findings into `folder`, each where it will lie below the store's root.

    Nothing is synced yet.
    """
    content = {
        layout.label_file(root, episode, label.id): dump(
            label.model_copy(update={"episode": episode})
        )
        for label in draft.labels
    }
    if draft.findings:
        findings = [finding.model_copy(update={"episode": episode}) for finding in draft.findings]
        path = layout.result_file(root, "findings", FINDINGS_RUN, episode)
        content[path] = parquet(findings_table(findings))
    for path, data in content.items():
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        disk.write_new(target, data)


def findings_table(findings: list[Finding]) -> pd.DataFrame:
    """Lay findings out as a table, one column a field."""
    import pandas as pd

    rows = [finding.model_dump(mode="json") for finding in findings]
    return pd.DataFrame(rows, columns=list(Finding.model_fields))


def parquet(table: pd.DataFrame) -> bytes:
    """Write a table as the bytes of a parquet file; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), out, compression="zstd")
    return out.getvalue()


def copied(name: str, video: VideoFile) -> Footage:
    """Describe a playable file that is copied byte for byte; its images get their given stamps."""

    def put(path: Path) -> PacketIndex:
        index = index_file(video.path)
        try:
            index = index.stamped(video.time_ns, video.shown)
        except SchemaMismatch as error:
            raise ImportFailed(f"camera {name!r}: {video.path.name}: {error}").with_hint(
                "give one stamp an image, in display order, or say which images are shown"
            ) from error
        _copy(video.path, path)
        return index

    return Footage(video.info, put, video.path.suffix or ".mp4")


def _copy(source: Path, target: Path) -> None:
    """Copy a file's bytes; the kernel does it, sharing blocks where the file system can."""
    with source.open("rb") as read, target.open("xb") as write:
        left = os.fstat(read.fileno()).st_size
        try:
            while left:
                done = os.copy_file_range(read.fileno(), write.fileno(), left)
                if not done:
                    break
                left -= done
        except OSError:
            # other file systems, or a kernel that cannot: through memory, from the start
            read.seek(0)
            write.seek(0)
            write.truncate()
            while chunk := read.read(1 << 20):
                write.write(chunk)


def _summary(stream: Stream) -> StreamSummary:
    return StreamSummary(
        info=stream.info,
        shape=stream.values.shape,
        dtype=str(stream.values.dtype.newbyteorder("=")),
        **_reach(stream.time_ns),
    )


def _reach(time_ns: Nanoseconds) -> dict[str, int | None]:
    if not len(time_ns):
        return {"start_ns": None, "end_ns": None}
    return {"start_ns": int(time_ns.min()), "end_ns": int(time_ns.max())}
