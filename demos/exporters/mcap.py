"""MCAP files with ROS 2 messages, one an episode, for Foxglove, Rerun and `ros2 bag`."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from demos import labels as label_rules
from demos.errors import Damaged, UnknownName, require
from demos.exporters import Choices, Chosen, ExportFailed, LeftOut, Written, attempt, exporters
from demos.formats.elementary import FORMATS, packets
from demos.formats.mcap_channels import Channel, Messages, Sent, channels_of, stamp_of, text
from demos.formats.mcap_own import KEY, LABELS, MANIFEST, SESSION, Own
from demos.formats.names import word
from demos.formats.ros_types import VIDEO, Types
from demos.model import Camera, CameraInfo, Episode, Span, Stream
from demos.schema import dump

if TYPE_CHECKING:
    from demos.store.packets import PacketIndex

_PICTURES = {"mjpeg": "jpeg", "png": "png"}
_MODELS = {"none": "", "plumb_bob": "plumb_bob", "rational": "rational_polynomial",
           "fisheye": "equidistant"}  # fmt: skip
_LATEST_NS = 2**31 * 1_000_000_000
_STRING = "std_msgs/msg/String"
_AT_ONCE = 32
"""Images decoded at once: each call begins at a key image anew."""


@exporters.adding("mcap")
class McapFolder:
    """Write a folder of MCAP files, one an episode: full rate, own clocks, ROS 2 messages."""

    loses: ClassVar[str] = (
        "nothing that our importer does not bring back, but images that lean on later ones "
        "(B-frames) or were cut out of a longer video: they are encoded again"
    )
    single_file: ClassVar[bool] = False

    def write(
        self, chosen: Sequence[Chosen], target: Path, choices: Choices
    ) -> Iterator[Written | LeftOut]:
        """Write `<episode>.mcap` for each episode into the folder `target`."""
        require("mcap.writer", extra="ros")
        types = Types(ros1=False)
        target.mkdir()
        for each in chosen:
            path = target / f"{each.manifest.id}.mcap"
            done = attempt(each.manifest.id, partial(_write, each, path, choices, types))
            if isinstance(done, LeftOut):
                path.unlink(missing_ok=True)
            yield done


def _write(chosen: Chosen, path: Path, choices: Choices, types: Types) -> Written:
    episode = chosen.open()
    streams = _streams(episode, choices)
    cameras = _cameras(episode, choices)
    if not streams and not cameras:
        raise ExportFailed("it has no stream and no camera that is asked for").with_hint(
            "see its streams with `demos show STORE EPISODE`"
        )
    since = episode.manifest.recorded_at - datetime(1970, 1, 1, tzinfo=UTC)
    start_ns = since // timedelta(microseconds=1) * 1000
    _refuse_out_of_reach(start_ns, streams, cameras)
    notes: list[str] = []
    with path.open("xb") as file, ExitStack() as stack:
        out = _Out.begin(file, types)
        out.tell(episode, start_ns)
        sources = [*channels_of(streams, start_ns, types)]
        for name, camera in cameras.items():
            sources += _camera_channels(name, camera, start_ns, types, notes)
        sources += _words(episode, start_ns, types)
        # opened video files are closed whatever happens
        for source in sources:
            stack.enter_context(closing(source.messages))
        out.send(sources)
        out.writer.finish()
    return Written(chosen.manifest.id, (path.name,), notes=tuple(dict.fromkeys(notes)))


def _streams(episode: Episode, choices: Choices) -> dict[str, Stream]:
    wanted = choices.streams
    if wanted is None:
        return dict(episode.streams)
    known = [*episode.streams, *(f"image.{name}" for name in episode.cameras)]
    for name in wanted:
        if name not in known:
            raise UnknownName.among("stream", name, known)
    return {name: episode.streams[name] for name in episode.streams if name in wanted}


def _cameras(episode: Episode, choices: Choices) -> dict[str, Camera]:
    wanted = choices.streams
    return {
        name: camera
        for name, camera in episode.cameras.items()
        if len(camera) and (wanted is None or f"image.{name}" in wanted)
    }


def _refuse_out_of_reach(
    start_ns: int, streams: Mapping[str, Stream], cameras: Mapping[str, Camera]
) -> None:
    clocks = [s.time_ns for s in streams.values()] + [c.time_ns for c in cameras.values()]
    clocks += [s.arrival_ns for s in streams.values() if s.arrival_ns is not None]
    clocks = [clock for clock in clocks if len(clock)]
    first = min((int(clock.min()) for clock in clocks), default=0)
    last = max((int(clock.max()) for clock in clocks), default=0)
    if start_ns + first < 0 or start_ns + last >= _LATEST_NS:
        raise ExportFailed("its stamps lie before 1970 or after 2038").with_hint(
            "a ROS message cannot say such a time; mend `recorded_at` in the source"
        )


@dataclass(slots=True)
class _Out:
    """An MCAP file that is being written."""

    writer: Any
    types: Types
    schemas: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(cls, file: Any, types: Types) -> _Out:
        """Begin a file of ROS 2 messages."""
        from demos.provenance import tool_version

        writer = require("mcap.writer", extra="ros").Writer(file)
        writer.start(profile="ros2", library=f"teleop-demos {tool_version()}")
        return cls(writer, types)

    def tell(self, episode: Episode, start_ns: int) -> None:
        """Write what is known of the episode as a whole."""
        manifest = episode.manifest
        facts = {
            "version": "1",
            "start_ns": str(start_ns),
            "episode": manifest.id,
            "session": manifest.session,
            "embodiment": manifest.embodiment,
            "operator": manifest.operator,
            "task": manifest.task,
            "instruction": manifest.instruction,
            "outcome": label_rules.outcome(episode.labels),
        }
        self.writer.add_metadata(KEY, facts)
        documents = {MANIFEST: dump(manifest), **_session(episode)}
        for name, content in documents.items():
            self.writer.add_attachment(start_ns, start_ns, name, "application/json", content)

    def send(self, sources: Sequence[Channel]) -> None:
        """Write the messages of all channels in order of arrival, each channel's in its own."""
        channels = [self._open(source) for source in sources]
        lanes = [_lane(number, source.messages) for number, source in enumerate(sources)]
        counts = [0] * len(sources)
        for log_ns, number, publish_ns, data in heapq.merge(*lanes, key=lambda each: each[:2]):
            self.writer.add_message(channels[number], log_ns, data, publish_ns, counts[number])
            counts[number] += 1

    def _open(self, source: Channel) -> int:
        if source.kind not in self.schemas:
            definition = self.types.text(source.kind).encode()
            schema = self.writer.register_schema(source.kind, "ros2msg", definition)
            self.schemas[source.kind] = schema
        about = {"offered_qos_profiles": "", **source.own.metadata()}
        opened: int = self.writer.register_channel(
            source.topic, "cdr", self.schemas[source.kind], about
        )
        return opened


def _lane(number: int, messages: Messages) -> Iterator[tuple[int, int, int, bytes]]:
    for log_ns, publish_ns, data in messages:
        yield log_ns, number, publish_ns, data


def _session(episode: Episode) -> dict[str, bytes]:
    from demos.store import EpisodeStore

    if episode.root is None:
        return {}
    return {SESSION: dump(EpisodeStore.open(episode.root).session(episode.manifest.session))}


def _camera_channels(
    name: str, camera: Camera, start_ns: int, types: Types, notes: list[str]
) -> Iterator[Channel]:
    """Send images as they are encoded where that can be, else encode them again and say so."""
    from demos.store.video import VideoCamera

    own = Own(camera=(name, camera.info))
    place = f"/camera/{word(name)}"
    index = camera.index if isinstance(camera, VideoCamera) else None
    codec = index.codec if index is not None else ""
    if isinstance(camera, VideoCamera) and codec in _PICTURES:
        told = _still(name, camera, start_ns, _PICTURES[codec], types)
        yield Channel(f"{place}/compressed", "sensor_msgs/msg/CompressedImage", own, told)
    else:
        if isinstance(camera, VideoCamera) and _in_order(camera.index):
            data = packets(camera.path, codec, camera.index.crc32c)
            form = FORMATS[codec]
        else:
            data, form = _again(camera), "h264"
            reason = _reason(index)
            notes.append(f"camera {name}: encoded again as H.264, with loss, because {reason}")
        told = _moving(name, camera, start_ns, (data, form), types)
        yield Channel(f"{place}/compressed_video", VIDEO, own, told)
    if camera.info.intrinsics is not None:
        lens = _lens(name, camera.info, start_ns + int(camera.time_ns[0]), types)
        shown = Own(shown="camera_info")
        yield Channel(f"{place}/camera_info", "sensor_msgs/msg/CameraInfo", shown, lens)


def _in_order(index: PacketIndex) -> bool:
    """Say whether every packet is an image of the episode, shown in the order of decoding."""
    whole = np.array_equal(index.order, np.arange(len(index.pts)))
    return bool(whole and index.key[0] and index.codec in FORMATS)


def _reason(index: PacketIndex | None) -> str:
    if index is None:
        return "it has no file"
    if index.codec not in FORMATS:
        return f"no message holds {index.codec}"
    if len(index.order) != len(index.pts):
        return "it was cut out of a longer video"
    return "its images lean on later ones (B-frames)"


def _still(name: str, camera: Any, start_ns: int, form: str, types: Types) -> Messages:
    index = camera.index
    with camera.path.open("rb") as file:
        for moment, number in zip(index.time_ns.tolist(), index.order.tolist(), strict=True):
            file.seek(int(index.position[number]))
            data = np.frombuffer(file.read(int(index.size[number])), np.uint8)
            header = types.make("std_msgs/msg/Header", stamp_of(start_ns + moment, types), name)
            message = types.make("sensor_msgs/msg/CompressedImage", header, form, data)
            yield start_ns + moment, start_ns + moment, types.encode(message)


def _moving(
    name: str, camera: Camera, start_ns: int, video: tuple[Iterator[bytes], str], types: Types
) -> Messages:
    data, form = video
    for number, moment in enumerate(camera.time_ns.tolist()):
        packet = next(data, None)
        if packet is None:
            raise Damaged(f"camera {name} ends after {number} of {len(camera)} images").with_hint(
                "run `demos verify STORE --deep`"
            )
        stamp = stamp_of(start_ns + moment, types)
        message = types.make(VIDEO, stamp, name, np.frombuffer(packet, np.uint8), form)
        yield start_ns + moment, start_ns + moment, types.encode(message)


def _again(camera: Camera) -> Iterator[bytes]:
    """Encode the images of a camera as the recorder would, without B-frames."""
    from demos.store.encoding import Encoder

    encoder: Encoder | None = None
    for first in range(0, len(camera), _AT_ONCE):
        for image in camera.images(range(first, min(first + _AT_ONCE, len(camera)))):
            if encoder is None:
                rate = camera.info.rate_hz or 30.0
                encoder = Encoder(image.shape[1], image.shape[0], rate)
            for packet in encoder.encode(image):
                yield (encoder.extradata if packet.key else b"") + packet.data


def _lens(name: str, info: CameraInfo, moment_ns: int, types: Types) -> Messages:
    lens = info.intrinsics
    assert lens is not None
    k = np.array([lens.fx, 0, lens.cx, 0, lens.fy, lens.cy, 0, 0, 1], np.float64)
    p = np.array([lens.fx, 0, lens.cx, 0, 0, lens.fy, lens.cy, 0, 0, 0, 1, 0], np.float64)
    header = types.make("std_msgs/msg/Header", stamp_of(moment_ns, types), name)
    region = types.make("sensor_msgs/msg/RegionOfInterest", *(0, 0, 0, 0, False))
    model, distortion = _MODELS[lens.distortion_model], np.array(lens.distortion, np.float64)
    message = types.make(
        "sensor_msgs/msg/CameraInfo",
        *(header, info.height, info.width, model, distortion, k, np.eye(3).ravel(), p),
        *(0, 0, region),
    )
    yield moment_ns, moment_ns, types.encode(message)


def _words(episode: Episode, start_ns: int, types: Types) -> Iterator[Channel]:
    """Write labels whole, and phases and events as words that a viewer shows over time."""
    first = max(start_ns, 0)
    told = [(first, first, text(types, each.model_dump_json())) for each in episode.labels]
    yield Channel("/demos/labels", _STRING, Own(records=LABELS), _each(told))
    tiers: dict[str, list[Span]] = {}
    for span in label_rules.phases(episode.labels):
        tiers.setdefault(span.tier, []).append(span)
    for tier, spans in tiers.items():
        begins = {span.start_ns: span.value for span in spans}
        changes = {**{span.end_ns: "" for span in spans}, **begins}
        words = [
            (start_ns + moment, start_ns + moment, text(types, value))
            for moment, value in sorted(changes.items())
            if start_ns + moment >= 0
        ]
        yield Channel(f"/phases/{word(tier)}", _STRING, Own(shown="phases"), _each(words))
    events = [
        (start_ns + each.time_ns, start_ns + each.time_ns, text(types, each.model_dump_json()))
        for each in episode.manifest.events
        if start_ns + each.time_ns >= 0
    ]
    yield Channel("/events", _STRING, Own(shown="events"), _each(events))


def _each(told: list[Sent]) -> Messages:
    yield from told
