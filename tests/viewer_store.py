"""A small real store for the viewer's tests: every image has its own number burnt in.

`picked` has video with unevenly stamped images, force, touch and labels of people and machines;
`two_cameras` has that video and a slower one with B-frames that begins later;
`state_only` has joints alone; `odd_codec` has a video no browser plays; `nothing` has no stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from demos.library import Store
from demos.model import CameraInfo, Label, Role, Span, Stream, VideoFile
from demos.model.records import LabelKind
from demos.provenance import new_id, new_label
from demos.store.encoding import Encoder, mux
from tests.examples import example
from tests.scripted import draft_of

IMAGES = 200
BITS = 10
WIDTH, HEIGHT = 320, 240
PHASES = (
    (0.0, 0.5, "idle"),
    (0.5, 2.0, "reach"),
    (2.0, 2.5, "grasp"),
    (2.5, 3.2, "lift"),
    (3.2, 4.7, "transport"),
    (4.7, 4.9, "place"),
    (4.9, 5.4, "release"),
    (5.4, 7.19, "retract"),
)


@dataclass(frozen=True)
class ViewerStore:
    """Where the store is, the episodes' ids, and when each burnt-in image was taken (ns)."""

    root: Path
    picked: str
    two_cameras: str
    state_only: str
    odd_codec: str
    nothing: str
    stamps_ns: npt.NDArray[np.int64]
    wrist_ns: npt.NDArray[np.int64]


def image_stamps() -> npt.NDArray[np.int64]:
    """Stamps of 30 Hz with jitter and a quarter of a second without images in the middle."""
    rng = np.random.default_rng(7)
    even = np.arange(IMAGES) / 30 + np.where(np.arange(IMAGES) >= 90, 0.25, 0.0)
    return np.rint((even + rng.uniform(0, 0.012, IMAGES)) * 1e9).astype(np.int64)


def burnt(number: int) -> npt.NDArray[np.uint8]:
    """Draw an image whose top row of blocks is its number in binary, least bit left."""
    image = np.full((HEIGHT, WIDTH, 3), 70, np.uint8)
    image[60:, :, 1] = (np.arange(WIDTH) * 160 // WIDTH)[None, :]
    image[150:190, (number * 3) % 280 : (number * 3) % 280 + 40] = (220, 70, 60)
    for bit in range(BITS):
        image[:32, bit * 32 : (bit + 1) * 32] = 255 if number >> bit & 1 else 0
    return image


def write_video(path: Path, stamps_ns: npt.NDArray[np.int64]) -> None:
    """Encode the burnt-in images as H.264, as the recorder does."""
    encoder = Encoder(WIDTH, HEIGHT, 30.0)
    packets = [packet for i in range(len(stamps_ns)) for packet in encoder.encode(burnt(i))]
    mux(path, [*packets, *encoder.flush()], stamps_ns, extradata=encoder.extradata)


def write_foreign(path: Path, images: int, codec: str, rate: int, **options: str) -> None:
    """Encode burnt-in images as somebody else would: B-frames, or a codec no browser plays."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(images):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(burnt(number), format="rgb24")))
        container.mux(stream.encode(None))


def span(start_s: float, end_s: float, value: str, tier: str = "right_hand", **notes: str) -> Span:
    """Make a span from seconds."""
    return Span(
        start_ns=round(start_s * 1e9),
        end_ns=round(end_s * 1e9),
        tier=tier,
        value=value,
        notes=dict(notes),
    )


def opinions(episode: str) -> list[Label]:
    """What the simulator and two programs say of the picked episode."""
    true = [
        *(span(*phase) for phase in PHASES),
        *(span(*phase, "task") for phase in PHASES),
        span(0, 7.19, "idle", "left_hand"),
    ]
    guessed = [span(start + 0.07, end + 0.07, value) for start, end, value in PHASES]

    def said(
        of: LabelKind, annotator: str, role: Role, value: str = "", spans: tuple[Span, ...] = ()
    ) -> Label:
        return new_label(episode, of, annotator=annotator, role=role, value=value, spans=spans)

    return [
        said("phases", "simulator", "simulator", spans=tuple(true)),
        said("phases", "phase_rules/1.0", "machine", spans=tuple(guessed)),
        said("outcome", "simulator", "simulator", "success"),
        said("outcome", "outcome_rules/1.0", "machine", "partial"),
        said(
            "contacts", "simulator", "simulator", spans=(span(2, 5.4, "contact", finger="thumb"),)
        ),
        said("slips", "simulator", "simulator", spans=(span(3.6, 3.68, "slip"),)),
        said("grasps", "simulator", "simulator", spans=(span(2, 5.4, "held"),)),
    ]


def left_hand(streams: Mapping[str, Stream]) -> dict[str, Stream]:
    """Sensors of a left hand that is not used: half the rate, a clock of their own."""
    rng = np.random.default_rng(11)
    made = {}
    for kind, noise in (("wrench.{}_wrist", 0.08), ("tactile.{}_hand", 0.004)):
        right = streams[kind.format("right")]
        time_ns = right.time_ns[::2] + 317_000
        values = right.values[:1] + rng.normal(0, noise, (len(time_ns), right.values.shape[1]))
        made[kind.format("left")] = replace(
            right, time_ns=time_ns, values=values.astype(right.values.dtype)
        )
    return made


def make(folder: Path) -> ViewerStore:
    """Publish the five episodes, some findings and scores."""
    root = folder / "lab"
    store = Store.create(root)
    stamps = image_stamps()
    write_video(folder / "egocentric.mp4", stamps)
    write_foreign(folder / "odd.mp4", 30, "mpeg4", 30)
    wrist = stamps[12:192:2] + 5_000_000
    write_foreign(folder / "wrist.mp4", len(wrist), "libx264", 15, bf="3", g="30", crf="20")
    info = CameraInfo(width=WIDTH, height=HEIGHT, rate_hz=30.0, codec="h264")
    camera = {"egocentric": VideoFile(folder / "egocentric.mp4", info, stamps)}
    slow = info.model_copy(update={"rate_hz": 15.0})
    both = {**camera, "wrist": VideoFile(folder / "wrist.mp4", slow, wrist)}
    odd = {
        "wrist": VideoFile(
            folder / "odd.mp4", info.model_copy(update={"codec": "mpeg4"}), stamps[:30]
        )
    }
    one_hand = draft_of(example("all_fields"))
    drafts = {
        "picked": replace(
            one_hand,
            streams={**one_hand.streams, **left_hand(one_hand.streams)},
            videos=camera,
            labels=tuple(opinions(new_id())),
        ),
        "two_cameras": replace(draft_of(example("two_hands")), videos=both),
        "state_only": draft_of(example("state_only")),
        "odd_codec": replace(draft_of(example("dropped_object")), videos=odd),
        "nothing": draft_of(example("no_streams")),
    }
    ids = {name: store.publish(draft).id for name, draft in drafts.items()}
    findings = pd.DataFrame(
        [
            {
                "episode": ids["picked"],
                "check": "image_gaps",
                "severity": "warning",
                "message": "no image for 0.28 s",
                "hint": "look at the camera's cable",
                "stream": "image.egocentric",
                "start_ns": int(stamps[89]),
                "end_ns": int(stamps[90]),
            }
        ]
    )
    store.add_results("findings", "run-1", "0", findings)
    scores = pd.DataFrame(
        [
            {"episode": ids["picked"], "metric": "path_excess", "value": 0.12, "unit": "m/m"}
            | {"better": "lower", "reason": ""},
            {"episode": ids["picked"], "metric": "pause_fraction", "value": None, "unit": "1"}
            | {"better": "lower", "reason": "no stroke was found"},
        ]
    )
    store.add_results("scores", "run-1", "0", scores)
    return ViewerStore(root, **ids, stamps_ns=stamps, wrist_ns=wrist)
