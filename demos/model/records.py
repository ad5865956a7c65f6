"""The records that are written to disk: sessions, manifests, labels, selections, results.

Every document carries `kind` and `version`. A reader upgrades an older version while
reading (`demos.schema`); files are never rewritten.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = str | int | float | bool | None
Clock = Literal["measured", "nominal", "synthesised"]
Origin = Literal["human", "simulated", "policy", "intervention", "unknown"]
Outcome = Literal["success", "partial", "failure", "aborted"]
Role = Literal["operator", "reviewer", "adjudicator", "machine", "simulator"]
Severity = Literal["info", "warning", "error", "critical"]
Verdict = Literal["redo", "check", "good"]
Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Ulid = Annotated[str, Field(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Record(BaseModel):
    """Base of all records: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pose(Record):
    """Position in metres, then quaternion xyzw, of one frame expressed in another."""

    reference_frame: Name
    position_m: Vector3
    quaternion_xyzw: Quaternion = (0.0, 0.0, 0.0, 1.0)


class StreamInfo(Record):
    """What the numbers of one stream mean.

    `units` and `channels` have one entry per channel. `quantum` is the sensor's least
    significant bit per channel (0 where unknown). `shape` is the shape of one sample where a
    sample is not a flat vector: taxel layouts, depth images.
    """

    units: tuple[str, ...]
    channels: tuple[str, ...]
    clock: Clock = "measured"
    rate_hz: float | None = Field(default=None, gt=0)
    shape: tuple[int, ...] | None = None
    reference_frame: str | None = None
    of_frame: str | None = None
    quantum: tuple[float, ...] | None = None
    tare: tuple[float, ...] | None = None
    semantics: str | None = None
    scale: float | None = None
    note: str = ""


class Intrinsics(Record):
    """Pinhole intrinsics in pixels, optical convention (x right, y down, z forward)."""

    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: Literal["none", "plumb_bob", "rational", "fisheye"] = "none"
    distortion: tuple[float, ...] = ()


class CameraInfo(Record):
    """One camera: size, codec, and where it sits on the body (`pose` of its optical frame)."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    rate_hz: float | None = Field(default=None, gt=0)
    clock: Clock = "measured"
    codec: str = "h264"
    intrinsics: Intrinsics | None = None
    pose: Pose | None = None
    note: str = ""


class Hardware(Record):
    """What was bolted together during a session, by serial number and firmware."""

    robot: str = "unknown"
    serials: dict[str, str] = {}
    firmware: dict[str, str] = {}
    software: dict[str, str] = {}


class Calibration(Record):
    """One calibration and when it holds (UTC)."""

    of: Name
    values: dict[str, Any] = {}
    made_at: datetime | None = None
    valid_until: datetime | None = None


class Consent(Record):
    """What the operator agreed to, and under which licence the session may be used."""

    given: bool | None = None
    form: str = ""
    licence: str = "unknown"


class Document(Record):
    """A record that is a file of its own."""

    kind: str
    version: int = 1


class StoreInfo(Document):
    """`store.json`: what kind of store this is."""

    kind: Literal["store"] = "store"
    id: Ulid
    container: Literal["zarr", "hdf5"] = "zarr"
    created_at: datetime


class Session(Document):
    """One sitting of one operator at one robot: one hardware set, one consent, one upload."""

    kind: Literal["session"] = "session"
    id: Ulid
    embodiment: Name
    operator: Name
    started_at: datetime
    site: str = ""
    hardware: Hardware = Hardware()
    calibrations: tuple[Calibration, ...] = ()
    consent: Consent = Consent()
    note: str = ""


class Provenance(Record):
    """Where an episode came from and what was assumed on the way.

    `source` names the file or program; `source_sha256` its bytes; `assumed` lists, in words,
    everything that the source did not say (rate, units, clock); `recovered` says that the
    recording was cut short and rebuilt from what had been acknowledged.
    """

    tool: str
    tool_version: str
    source: str = ""
    source_format: str = ""
    source_sha256: dict[str, Sha256] = {}
    assumed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    recovered: bool = False
    seed: int | None = None
    parameters: dict[str, Any] = {}


class Facts(Record):
    """What is known of an episode before it is published.

    `factors` are the declared variations (object, lighting, cell); `declared_start` the object
    poses the operator says he set up, which may differ from the true ones.
    """

    task: Name
    instruction: str = ""
    origin: Origin = "unknown"
    policy_checkpoint: str = ""
    intent: Literal["nominal", "recovery", "negative"] = "nominal"
    recorded_at: datetime
    trial_index: int | None = None
    minutes_since_break: float | None = None
    experience: str = ""
    factors: dict[str, Scalar] = {}
    declared_start: dict[str, Pose] = {}
    provenance: Provenance


class Event(Record):
    """Something that happened at one moment: an e-stop, a pause, dropped images."""

    name: Name
    time_ns: int
    values: dict[str, Any] = {}


class FileInfo(Record):
    """Size in bytes and sha256 of one file of an episode."""

    size: int = Field(ge=0)
    sha256: Sha256


class StreamSummary(Record):
    """How many samples a stream has, when, and what they mean.

    `shape` is the shape of the whole array; `start_ns` and `end_ns` are the least and the
    greatest stamp, None when the stream is empty.
    """

    info: StreamInfo
    shape: tuple[int, ...]
    dtype: str
    start_ns: int | None
    end_ns: int | None


class CameraSummary(Record):
    """How many images a camera took, and in which file they are."""

    info: CameraInfo
    images: int = Field(ge=0)
    file: str
    start_ns: int | None
    end_ns: int | None


class Manifest(Facts, Document):
    """`manifest.json` of one episode, written last."""

    kind: Literal["episode"] = "episode"
    id: Ulid
    session: Ulid
    embodiment: Name
    operator: Name
    container: Literal["zarr", "hdf5"]
    duration_ns: int = Field(ge=0)
    streams: dict[str, StreamSummary] = {}
    cameras: dict[str, CameraSummary] = {}
    events: tuple[Event, ...] = ()
    uses: dict[str, Sha256] = {}
    files: dict[str, FileInfo] = {}


class Tombstone(Document):
    """`tombstone.json`: what is left of an episode whose session was withdrawn.

    `source` is the hash by which the same recording is known again (`provenance.source_identity`),
    so that importing it once more does not bring it back.
    """

    kind: Literal["tombstone"] = "tombstone"
    episode: Ulid
    session: Ulid
    withdrawn_at: datetime
    source: Sha256 | None = None


class Span(Record):
    """One labelled interval; a moment has `end_ns` equal to `start_ns`.

    `tier` is an effector (`right_hand`) or `task`; `value` a word of the task's vocabulary.
    """

    start_ns: int
    end_ns: int
    tier: Name = "task"
    value: Name
    confidence: float | None = Field(default=None, ge=0, le=1)
    notes: dict[str, Scalar] = {}


LabelKind = Literal[
    "phases",
    "contacts",
    "slips",
    "grasps",
    "outcome",
    "failure_modes",
    "intent",
    "use",
    "instruction",
    "objects",
    "verdict",
]


class Label(Document):
    """One annotator's whole track of one kind for one episode, under one guideline version."""

    kind: Literal["label"] = "label"
    id: Ulid
    episode: Ulid
    of: LabelKind
    annotator: Name
    role: Role
    guideline: str = ""
    created_at: datetime
    value: str = ""
    spans: tuple[Span, ...] = ()
    confidence: float | None = Field(default=None, ge=0, le=1)
    supersedes: Ulid | None = None
    note: str = ""


class Finding(Record):
    """One thing a check found wrong with a recording: where, when, what to do."""

    episode: Ulid
    check: Name
    severity: Severity
    message: str
    hint: str = ""
    stream: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    measured: float | None = None
    unit: str = ""


class Score(Record):
    """One metric's answer for one episode. `value` is None where it is not assessable."""

    episode: Ulid
    metric: Name
    value: float | None
    unit: str
    better: Literal["lower", "higher", "neither"]
    reason: str = ""
    spans: tuple[tuple[int, int], ...] = ()


class Gap(Record):
    """How far a replay departs from its recording in one quantity, beside the model's floor."""

    episode: Ulid
    quantity: Name
    value: float | None
    unit: str
    floor: float | None = None
    stream: str = ""
    reason: str = ""


class Selected(Record):
    """One episode of a frozen selection: its manifest's hash, split and resolved labels."""

    episode: Ulid
    manifest_sha256: Sha256
    split: str = "all"
    outcome: str = ""
    labels: tuple[Ulid, ...] = ()


class SelectionRecord(Document):
    """`selections/<name>@<n>.json`: a frozen list of episodes that a paper can cite."""

    kind: Literal["selection"] = "selection"
    name: Name
    number: int = Field(ge=1)
    where: str
    created_at: datetime
    episodes: tuple[Selected, ...]
    sha256: Sha256


class LedgerEntry(Record):
    """One line of a ledger: a file was published or withdrawn; `previous` chains the lines."""

    number: int
    previous: Sha256
    at: datetime
    action: Literal["published", "withdrawn"]
    path: str
    size: int = 0
    sha256: Sha256 | None = None
    note: str = ""
