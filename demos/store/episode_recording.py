"""One episode being recorded: what is handed over is acknowledged, then published whole."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from demos import task as tasks
from demos.errors import DemosError, RecordingFailed, UnknownName
from demos.model import CameraInfo, Embodiment, Event, Manifest, Role, Span, StreamInfo, Task
from demos.model.records import LabelKind
from demos.provenance import new_label
from demos.store import disk, layout, recording
from demos.store.blocks import BlockLog, Kind
from demos.store.encoding import Packet
from demos.store.episodes import EpisodeStore
from demos.store.images import CameraWriter, OnFull
from demos.store.publish import claim, publish
from demos.store.samples import SampleWriter, Stamp, Stamps

Authority = Literal["stopped", "operator", "policy", "autonomous"]
AUTHORITY = "control_authority"
_AUTHORITY = StreamInfo(
    units=("",),
    channels=("authority",),
    semantics="0 stopped, 1 operator, 2 policy, 3 autonomous; sampled at changes",
)


@dataclass(frozen=True, slots=True)
class RecordingCounters:
    """What of a recording is safe, and what was left out.

    acknowledged: write(2) has returned, it survives the death of the process. synced: it survives
    a power cut; at_risk_s is the longest that anything was acknowledged and not yet synced.
    images_queued wait for the encoder. skipped_while_paused counts calls, not samples.
    """

    acknowledged_blocks: int
    acknowledged_bytes: int
    synced_blocks: int
    synced_bytes: int
    at_risk_s: float
    images_queued: int
    images_dropped: int
    skipped_while_paused: int


class EpisodeRecording:
    """One episode being recorded. Any thread may write, at any rate, in any order of time.

    Made by `Recorder.episode`. As a context manager it publishes at the end; where the block
    fails, the recording is kept and the error says so.
    """

    def __init__(
        self,
        store: EpisodeStore,
        embodiment: Embodiment,
        header: recording.Header,
        *,
        task: Task,
        start_ns: int,
        on_full: OnFull,
        queue_images: int,
    ) -> None:
        self.id, self.start_ns = header.episode, start_ns
        self._store, self._header, self._task = store, header, task
        self._paused, self._skipped = False, 0
        self._manifest: Manifest | None = None
        self._claim = claim(store.root, self.id)
        try:
            self._log = BlockLog(self._claim.folder / layout.LOG)
            self._log.append(Kind.HEADER, 0, recording.as_json(header))
        except BaseException:
            self._claim.release()
            raise
        self._samples = SampleWriter(self._log, embodiment.streams, start_ns)
        self._cameras = CameraWriter(
            self._log, embodiment.cameras, start_ns, on_full, queue_images, self._dropped
        )

    def declare(self, stream: str, info: StreamInfo) -> None:
        """Say what a stream means that the embodiment does not declare, or declares otherwise."""
        self._samples.declare(stream, info)

    def declare_camera(self, camera: str, info: CameraInfo) -> None:
        """Say what a camera is that the embodiment does not declare, or declares otherwise."""
        self._cameras.declare(camera, info)

    def write(
        self,
        stream: str,
        time_ns: Stamps,
        values: npt.ArrayLike,
        source_time_ns: Stamps | None = None,
        arrival_ns: Stamps | None = None,
    ) -> None:
        """Record one sample, or a block: stamps (n,) and values (n, C). Acknowledged on return.

        Stamps may come in any order and are kept as given. `source_time_ns` is the device's own
        stamp, `arrival_ns` the moment of arrival, both kept raw. The first sample sets the dtype.

        Raises UnknownName for a stream nobody declared, RecordingFailed for values that do not
        fit it and where the disk refuses; the recording may go on after either.
        """
        if self._paused:
            self._skipped += 1
            return
        self._samples.write(stream, time_ns, values, source_time_ns, arrival_ns)

    def image(self, camera: str, time_ns: Stamp, rgb: npt.NDArray[np.uint8]) -> None:
        """Queue an image, (height, width, 3) uint8 RGB, for the encoder's thread; it is copied.

        It is acknowledged once encoded, in the order given. When the queue is full this waits or
        drops and reports, see `Recorder`. Raises RecordingFailed for an image of another size.
        """
        self._refuse_closed()
        if self._paused:
            self._skipped += 1
            return
        self._cameras.image(camera, time_ns, rgb)

    def packet(self, camera: str, time_ns: Stamp, packet: Packet) -> None:
        """Record one already encoded image, in decode order. Acknowledged on return.

        time_ns: the stamp of this packet's image. H.264 and HEVC come with start codes, and
        parameter sets before the first key image.
        """
        self._refuse_closed()
        if not isinstance(packet, Packet):
            raise RecordingFailed(f"a {type(packet).__name__} is no packet").with_hint(
                "wrap the encoded bytes: demos.Packet(data, pts, dts, key)"
            )
        if self._paused:
            self._skipped += 1
            return
        self._cameras.packet(camera, time_ns, packet)

    def label(
        self,
        of: LabelKind,
        *,
        annotator: str,
        role: Role,
        value: str = "",
        spans: Sequence[Span] = (),
        **more: Any,
    ) -> None:
        """Record a whole label of this episode; it is published with it. `more` as in `Label`.

        Raises SchemaMismatch for what is no label, UnknownName for words that the task does not
        have.
        """
        tasks.refuse_other_words(self._task, of, value, spans)
        more.setdefault("guideline", self._task.guideline)
        label = new_label(
            self.id, of, annotator=annotator, role=role, value=value, spans=spans, **more
        )
        self._log.append(Kind.LABEL, 0, recording.as_json(label))

    def event(self, name: str, time_ns: Stamp | None = None, /, **values: Any) -> None:
        """Record that something happened at a moment; by default at the last stamp seen."""
        moment = self._last_ns if time_ns is None else operator.index(time_ns) - self.start_ns
        event = Event(name=name, time_ns=moment, values=values)
        try:
            content = recording.event_json(event)
        except ValueError as error:
            raise RecordingFailed(f"event {name!r}: {error}").with_hint(
                "values are text, truth values and finite numbers"
            ) from error
        self._log.append(Kind.EVENT, 0, content)

    def authority(self, who: Authority, time_ns: Stamp) -> None:
        """Record who is in control from this moment on."""
        if who not in get_args(Authority):
            raise UnknownName.among("control authority", who, get_args(Authority))
        if not self._samples.knows(AUTHORITY):
            self._samples.declare(AUTHORITY, _AUTHORITY)
        value = np.array([get_args(Authority).index(who)], np.uint8)
        # a hand-over counts also while nothing else is taken in
        self._samples.write(AUTHORITY, operator.index(time_ns), value, None, None)

    def pause(self, time_ns: Stamp | None = None) -> None:
        """Take in no samples and images until `resume`; time goes on."""
        self.event("pause", time_ns)
        self._paused = True

    def resume(self, time_ns: Stamp | None = None) -> None:
        """Take in samples and images again."""
        self._paused = False
        self.event("resume", time_ns)

    def sync(self) -> None:
        """Wait until all that is acknowledged is on disk. Raises RecordingFailed."""
        self._log.sync()

    @property
    def counters(self) -> RecordingCounters:
        """What is acknowledged, what is on disk, and what was left out, now."""
        log = self._log.counters
        return RecordingCounters(
            acknowledged_blocks=log.acknowledged_blocks,
            acknowledged_bytes=log.acknowledged_bytes,
            synced_blocks=log.synced_blocks,
            synced_bytes=log.synced_bytes,
            at_risk_s=log.at_risk_s,
            images_queued=self._cameras.queued,
            images_dropped=self._cameras.dropped,
            skipped_while_paused=self._skipped,
        )

    def finish(self) -> Manifest:
        """Publish the episode. Called again, return its manifest.

        Where this fails, the recording stays in the store and `demos recover` publishes it.
        """
        if self._manifest is not None:
            return self._manifest
        self._refuse_closed()
        try:
            self._cameras.close()
            self._log.append(Kind.END, 0, b"")
            self._log.close()
            found = recording.read(self._log.path)
            self._manifest = publish(
                self._store.root,
                self._store.info.container,
                found.draft,
                self.id,
                found.footage,
                self._header.uses,
            )
        except BaseException as error:
            self._keep(error)
            raise
        self._claim.release()
        return self._manifest

    def discard(self) -> None:
        """Throw the recording away. Raises RecordingFailed where it is published already."""
        if self._manifest is not None:
            raise RecordingFailed(f"episode {self.id} is published").with_hint(
                "published episodes never change; label its use as 'exclude'"
            )
        if not self._claim.held:
            return
        self._cameras.stop()
        with suppress(DemosError):
            # a disk that is full can still forget
            self._log.append(Kind.DISCARD, 0, b"")
            self._log.close()
        with disk.doing(f"remove the recording {self.id}"):
            disk.remove(self._claim.folder)
        self._claim.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._claim.held:
            return
        if error is None:
            self.finish()
        else:
            self._keep(error)

    def _refuse_closed(self) -> None:
        if not self._claim.held:
            raise RecordingFailed(f"recording {self.id} is closed").with_hint(
                "begin another episode; `demos recover STORE` publishes what was kept of one that "
                "failed, what was discarded is gone"
            )

    @property
    def _last_ns(self) -> int:
        return max(self._samples.last_ns, self._cameras.last_ns)

    def _dropped(self, camera: str, count: int, start_ns: int, end_ns: int) -> None:
        values = {"camera": camera, "count": count, "end_ns": end_ns}
        event = Event(name="images_dropped", time_ns=start_ns, values=values)
        self._log.append(Kind.EVENT, 0, recording.event_json(event))

    def _keep(self, error: BaseException) -> None:
        """Leave the recording to `demos recover`, and say so."""
        self._cameras.stop()
        with suppress(DemosError):
            self._log.close()
        self._claim.release()
        disk.explain(
            error,
            f"the recording {self.id} is kept in the store with all that was acknowledged; "
            f"`demos recover {self._store.root}` publishes it",
        )
