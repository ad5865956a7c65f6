"""Analytic episodes: a scripted pick and place whose every moment and force is known.

Where a hand is, when it touches and how hard are written down in `Script`, so a test can say what
a right answer is. Times are seconds since the episode's start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from demos.model import (
    Camera,
    CameraInfo,
    CameraSummary,
    Consent,
    Draft,
    Episode,
    Event,
    Facts,
    Hardware,
    Label,
    Manifest,
    Provenance,
    Session,
    Stream,
    StreamInfo,
    StreamSummary,
)

Floats = npt.NDArray[np.float64]

WHEN = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
SESSION = "01JBN4C8Q0S3SS10N000000001"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIP = ("thumb", "index", "middle")


def ulid_of(name: str) -> str:
    """Make a fixed ULID from a name, so that examples are the same in every run."""
    digest = hashlib.sha256(name.encode()).digest()
    return "01" + "".join(_CROCKFORD[byte % 32] for byte in digest[:24])


class ImagesInMemory:
    """A camera whose images are an array."""

    def __init__(self, time_ns: npt.NDArray[np.int64], pixels: npt.NDArray[np.uint8]) -> None:
        self.time_ns = time_ns
        self.pixels = pixels
        height, width = pixels.shape[1:3]
        self.info = CameraInfo(width=width, height=height, rate_hz=15.0, codec="h264")

    def __len__(self) -> int:
        return len(self.time_ns)

    def images(self, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Return images by index."""
        return self.pixels[list(indices)]


def clock(rate_hz: float, end_s: float, start_s: float = 0.0) -> npt.NDArray[np.int64]:
    """Return even stamps from start_s until before end_s, in ns."""
    count = int(np.floor((end_s - start_s) * rate_hz + 1e-9))
    return np.rint((start_s + np.arange(count) / rate_hz) * 1e9).astype(np.int64)


def stream(
    time_ns: npt.NDArray[np.int64],
    values: npt.NDArray[np.generic],
    *,
    units: str | Sequence[str],
    channels: Sequence[str] = (),
    rate_hz: float | None = None,
    **info: object,
) -> Stream:
    """Build a stream of (n, C) values; `units` alone is repeated for every channel."""
    names = tuple(channels) or tuple(f"c{i}" for i in range(values.shape[1]))
    each = (units,) * len(names) if isinstance(units, str) else tuple(units)
    return Stream(
        time_ns,
        values,
        StreamInfo.model_validate(
            {"units": each, "channels": names, "rate_hz": rate_hz, **info}, strict=False
        ),
    )


def episode_of(
    name: str,
    streams: Mapping[str, Stream],
    cameras: Mapping[str, Camera] | None = None,
    *,
    labels: Sequence[Label] = (),
    events: tuple[Event, ...] = (),
    embodiment: str = "bench_hands",
    task: str = "pick_place",
    **facts: object,
) -> Episode:
    """Wrap streams and cameras in an episode with a fitting manifest."""
    cameras = cameras or {}
    parts: list[Stream | Camera] = [*streams.values(), *cameras.values()]
    stamps = [part.time_ns for part in parts if len(part.time_ns)]
    span = (
        (min(int(t.min()) for t in stamps), max(int(t.max()) for t in stamps)) if stamps else (0, 0)
    )
    manifest = Manifest.model_validate(
        {
            "id": ulid_of(name),
            "session": SESSION,
            "embodiment": embodiment,
            "operator": "op-1",
            "container": "zarr",
            "duration_ns": span[1] - span[0],
            "streams": {key: _summary(part) for key, part in streams.items()},
            "cameras": {
                key: CameraSummary(
                    info=camera.info,
                    images=len(camera),
                    file=f"{key}.mp4",
                    start_ns=int(camera.time_ns.min()) if len(camera) else None,
                    end_ns=int(camera.time_ns.max()) if len(camera) else None,
                )
                for key, camera in cameras.items()
            },
            "events": events,
            "task": task,
            "origin": "simulated",
            "recorded_at": WHEN,
            "provenance": Provenance(tool="examples", tool_version="1"),
            **facts,
        }
    )
    return Episode(manifest, dict(streams), dict(cameras), labels)


def _summary(part: Stream) -> StreamSummary:
    return StreamSummary(
        info=part.info,
        shape=part.values.shape,
        dtype=str(part.values.dtype),
        start_ns=int(part.time_ns.min()) if len(part) else None,
        end_ns=int(part.time_ns.max()) if len(part) else None,
    )


def draft_of(episode: Episode) -> Draft:
    """Turn an example into something a store can publish; its cameras stay behind."""
    facts = {name: getattr(episode.manifest, name) for name in Facts.model_fields}
    session = Session(
        id=episode.manifest.session,
        embodiment=episode.manifest.embodiment,
        operator=episode.manifest.operator,
        started_at=WHEN,
        hardware=Hardware(robot="bench", serials={"right_hand": "R-7"}),
        consent=Consent(given=True, form="f-1", licence="CC-BY-4.0"),
    )
    return Draft(
        session,
        Facts(**facts),
        episode.streams,
        events=episode.manifest.events,
        labels=episode.labels,
    )


@dataclass(frozen=True)
class Script:
    """What happens in an example pick and place: moments in s, places in m, forces in N.

    The wrist goes (x, y, z) start -> object -> up -> over the goal -> down -> away.
    `lost_s` is the moment the object leaves the hand in the air, `detour_m` an upward bow of the
    first reach, `pause_s` a rest half way to the object, `wait_s` one in the middle of the
    transport, `push_n` how hard the object is pressed on the table for about 0.1 s.
    """

    move_s: float = 0.5
    there_s: float = 1.7
    touch_s: float = 2.0
    lift_s: float = 2.5
    up_s: float = 3.2
    over_s: float = 4.2
    down_s: float = 4.9
    gone_s: float = 5.4
    leave_s: float = 5.6
    home_s: float = 6.6
    end_s: float = 7.2
    grip_n: float = 8.0
    height_m: float = 0.10
    lost_s: float | None = None
    lifts: bool = True
    detour_m: float = 0.0
    pause_s: float = 0.0
    wait_s: float = 0.0
    push_n: float = 0.0


def min_jerk(t: Floats, start_s: float, end_s: float) -> Floats:
    """Go from 0 to 1 between two moments with least jerk (Flash and Hogan, 1985)."""
    u = np.clip((t - start_s) / (end_s - start_s), 0.0, 1.0)
    return np.asarray(u**3 * (10 - 15 * u + 6 * u**2))


HOME = np.array([0.2, -0.25, 0.95])
OBJECT = np.array([0.3, -0.1, 0.85])
GOAL = np.array([0.3, 0.1, 0.85])


def wrist(t: Floats, script: Script) -> Floats:
    """Return where the wrist is: (n, 3) m in the world."""
    s = script
    late = s.wait_s
    middle = (s.move_s + s.there_s - s.pause_s) / 2
    reach = min_jerk(t, s.move_s, s.there_s)[:, None]
    if s.pause_s:
        first, second = (s.move_s, middle), (middle + s.pause_s, s.there_s)
        reach = 0.5 * (min_jerk(t, *first) + min_jerk(t, *second))[:, None]
    lift = min_jerk(t, s.lift_s, s.up_s) - min_jerk(t, s.over_s + late, s.down_s + late)
    if late:
        half = (s.up_s + s.over_s) / 2
        over = 0.5 * (min_jerk(t, s.up_s, half) + min_jerk(t, half + late, s.over_s + late))
    else:
        over = min_jerk(t, s.up_s, s.over_s)
    home = min_jerk(t, s.leave_s + late, s.home_s + late)[:, None]
    place = HOME + (OBJECT - HOME) * reach + (GOAL - OBJECT) * over[:, None]
    place = place + (HOME - GOAL) * home
    place[:, 2] += s.height_m * lift
    bow = np.sin(np.pi * reach[:, 0]) * s.detour_m
    place[:, 2] += bow
    return np.asarray(place)


def grip(t: Floats, script: Script) -> Floats:
    """Return the force of one finger on the object: (n,) N, zero out of contact."""
    gone = script.lost_s if script.lost_s is not None else script.gone_s + script.wait_s
    rise = np.clip((t - script.touch_s) / 0.15, 0.0, 1.0)
    fall = np.clip((gone - t) / 0.1, 0.0, 1.0)
    return np.where((t >= script.touch_s) & (t < gone), script.grip_n * np.minimum(rise, fall), 0.0)


def cup(t: Floats, script: Script) -> Floats:
    """Return where the object is: (n, 7), carried while held, fallen after a loss."""
    place = np.zeros((len(t), 7))
    place[:, 6] = 1.0
    hand = wrist(t, script)
    carried = (t >= script.lift_s) & (t < script.gone_s + script.wait_s)
    rest = wrist(np.array([script.lift_s]), script)[0]
    end = wrist(np.array([script.gone_s + script.wait_s]), script)[0]
    place[:, :3] = np.where(carried[:, None], hand, np.where(t[:, None] < script.lift_s, rest, end))
    if script.lost_s is not None:
        after = t >= script.lost_s
        place[after, :3] = [*wrist(np.array([script.lost_s]), script)[0][:2], OBJECT[2]]
    if not script.lifts:
        place[:, :3] = rest
    return place


def taxels(t: Floats, force: Floats, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Spread a finger's force over three fingers of 4x4 normal taxels: (n, 48) float32 N.

    One taxel is dead, one stuck at 0.4 N, all have noise, drift and a little hysteresis.
    """
    weight = np.exp(-((np.arange(4)[:, None] - 1.5) ** 2 + (np.arange(4)[None] - 1.5) ** 2) / 2)
    spread = np.tile((weight / weight.sum()).ravel(), 3)
    values = force[:, None] * spread + 0.004 * rng.standard_normal((len(t), 48))
    values += 0.01 * t[:, None] / max(t[-1], 1e-9)
    values[:, 5], values[:, 22] = 0.0, 0.4
    return np.asarray(values, np.float32)


def pick(name: str, script: Script, *, rate_hz: float = 200.0, **more: object) -> Episode:
    """Build an episode of one scripted pick and place with every usual stream."""
    streams, cameras = recorded(name, script, rate_hz=rate_hz)
    return episode_of(name, streams, cameras, **more)  # type: ignore[arg-type]  # facts by name


def recorded(
    name: str, script: Script, *, rate_hz: float = 200.0
) -> tuple[dict[str, Stream], dict[str, Camera]]:
    """Build the streams and the camera of one scripted pick and place."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
    end = script.end_s + script.wait_s
    time_ns = clock(rate_hz, end)
    t = time_ns / 1e9
    force = grip(t, script)
    closed = min_jerk(t, script.touch_s - 0.3, script.touch_s + 0.2) - min_jerk(
        t, script.gone_s + script.wait_s - 0.1, script.gone_s + script.wait_s + 0.2
    )
    upright = np.tile([0.0, 0.0, 0.0, 1.0], (len(t), 1))
    hand = wrist(t, script)
    right = np.hstack([hand + 1e-5 * rng.standard_normal(hand.shape), upright])
    still = np.array([0.2, 0.25, 0.95]) + 1e-5 * rng.standard_normal(hand.shape)
    mix = np.array([[1.0, 0.5, -0.5], [0.3, -1.0, 0.4], [0.2, 0.6, 1.0]])
    joints = np.hstack([hand @ mix, 0.2 + 0.8 * closed[:, None], 0.1 + 0.01 * t[:, None]])
    joints = (joints + 1e-4 * rng.standard_normal(joints.shape)).astype(np.float32)
    names = ["right_arm_1", "right_arm_2", "right_arm_3", "right_hand_finger", "left_arm_1"]
    fast_ns = clock(max(rate_hz, 500.0), end)
    weight = np.zeros((len(fast_ns), 6))
    weight[:, 2] = -2.0 * (cup(fast_ns / 1e9, script)[:, 2] > OBJECT[2] + 0.001)
    weight[:, 2] += script.push_n * np.exp(-(((fast_ns / 1e9 - script.down_s) / 0.05) ** 2) / 2)
    wrench = weight + [1.0, -0.5, 7.0, 0.1, 0.0, 0.05] + 0.05 * rng.standard_normal(weight.shape)
    pose = ("x", "y", "z", "qx", "qy", "qz", "qw")
    units = ("m", "m", "m", "1", "1", "1", "1")
    finger = [f"{f}.normal.r{r}c{c}" for f in _TIP for r in range(4) for c in range(4)]
    image_ns = clock(15.0, end)
    streams = {
        "joint_position": stream(time_ns, joints, units="rad", channels=names, rate_hz=rate_hz),
        "joint_command": stream(time_ns, joints, units="rad", channels=names, rate_hz=rate_hz),
        "pose.right_wrist": stream(
            time_ns, right, units=units, channels=pose, rate_hz=rate_hz, reference_frame="world"
        ),
        "pose.left_wrist": stream(
            time_ns,
            np.hstack([still, upright]),
            units=units,
            channels=pose,
            rate_hz=rate_hz,
            reference_frame="world",
        ),
        "pose.object.cup": stream(
            time_ns,
            cup(t, script) + 1e-5 * rng.standard_normal((len(t), 7)),
            units=units,
            channels=pose,
            rate_hz=rate_hz,
            reference_frame="world",
        ),
        "wrench.right_wrist": stream(
            fast_ns,
            wrench.astype(np.float32),
            units=("N", "N", "N", "N·m", "N·m", "N·m"),
            channels=("fx", "fy", "fz", "tx", "ty", "tz"),
            rate_hz=max(rate_hz, 500.0),
            reference_frame="right_wrist",
        ),
        "tactile.right_hand": stream(
            time_ns, taxels(t, force, rng), units="N", channels=finger, rate_hz=rate_hz
        ),
        "teleop.right_hand": stream(
            time_ns, closed[:, None], units="1", channels=("closure",), rate_hz=rate_hz
        ),
        "control_authority": stream(
            np.array([0, 400_000_000], np.int64),
            np.array([[0], [1]], np.uint8),
            units="1",
            channels=("authority",),
        ),
    }
    return streams, {"egocentric": ImagesInMemory(image_ns, _pictures(image_ns / 1e9, script))}


def _pictures(t: Floats, script: Script) -> npt.NDArray[np.uint8]:
    pixels = np.full((len(t), 24, 32, 3), 90, np.uint8)
    pixels[:, 16:] = (150, 120, 80)
    for image, place in zip(pixels, wrist(t, script), strict=True):
        row = int(np.clip(22 - 60 * (place[2] - 0.8), 1, 22))
        column = int(np.clip(16 + 40 * place[1], 1, 30))
        image[row - 1 : row + 2, column - 1 : column + 2] = (230, 40, 40)
    return pixels
