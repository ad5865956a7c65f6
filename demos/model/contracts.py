"""The contracts a team writes by hand: embodiments, tasks, phase vocabulary, coverage plans.

They are YAML files under `schemas/` or in a store; these records say what may stand in them.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from demos.model.records import CameraInfo, Document, Name, Record, Scalar, StreamInfo


class Joint(Record):
    """One joint (or normalised finger motor) of a body: limits in its own `unit`."""

    name: Name
    group: Name
    unit: str = "rad"
    lower: float
    upper: float
    max_velocity: float | None = None
    max_effort: float | None = None
    aliases: tuple[str, ...] = ()


class Effector(Record):
    """A hand and the arm that carries it; its name is a label tier."""

    name: Name
    arm: tuple[str, ...]
    hand: tuple[str, ...]
    site: str = ""
    wrench: str = ""
    tactile: str = ""


ChannelRole = Literal["state", "command", "velocity", "effort"]
SourceUnit = Literal["rad", "deg", "m", "norm01", "counts"]


class ChannelMapping(Record):
    """One channel of a source: the joint it speaks of, and how its numbers become the joint's.

    `unit` is the source's, None where it is the joint's own; `norm01` is a share of the joint's
    range, from its lower limit (from its upper, where `sign` is -1). `scale` is how much of the
    joint's unit one of the source's is: counts need it, other units may go by themselves.
    `offset` is added in the joint's unit. `role` is what the channel says, where its place in the
    source does not say it.
    """

    source: Name
    aliases: tuple[str, ...] = ()
    joint: Name
    unit: SourceUnit | None = None
    sign: Literal[1, -1] = 1
    scale: float | None = Field(default=None, gt=0)
    offset: float | None = None
    role: ChannelRole | None = None

    @model_validator(mode="after")
    def _counts_have_a_scale(self) -> Self:
        if self.unit == "counts" and self.scale is None:
            raise ValueError("counts need a scale: how much of the joint's unit one count is")
        return self


class AbsentJoint(Record):
    """A joint that a source lacks: it is held at a value, or it mimics another joint.

    Where it mimics, its value is `coefficient` times the other joint's plus `offset`.
    """

    hold: float | None = None
    mimic: str = ""
    coefficient: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _holds_or_mimics(self) -> Self:
        if (self.hold is None) == (not self.mimic):
            raise ValueError("say either hold or mimic")
        return self


class SourceMapping(Record):
    """How one kind of recording speaks of a body, where it departs from the body's own words.

    Channels that are not listed go by the joints' names and aliases. `ignored` are left out on
    purpose. `absent` says of joints that the source lacks where they are.
    """

    channels: tuple[ChannelMapping, ...] = ()
    ignored: tuple[str, ...] = ()
    absent: dict[str, AbsentJoint] = {}

    def named_joints(self) -> set[str]:
        """Return every joint it speaks of."""
        mimicked = {absent.mimic for absent in self.absent.values() if absent.mimic}
        return {channel.joint for channel in self.channels} | set(self.absent) | mimicked


class Embodiment(Document):
    """A robot's body: joints, hands, sensors, limits, its MJCF.

    `streams` says what each stream of this body means; the recorder uses it so that a caller
    only hands over numbers. `gains` are kp and kd per joint group. `model` is a path below
    `sim/`, empty where there is none. `aliases` are the names by which foreign recordings call
    this body, `camera_aliases` those of its cameras (foreign name to ours). `sources` are the
    recordings that speak of it in other words or units, by the robot's name in them or by their
    format (`lerobot`).
    """

    kind: Literal["embodiment"] = "embodiment"
    version: int = 2
    id: Name
    title: str
    description: str = ""
    source: str = ""
    model: str = ""
    aliases: tuple[str, ...] = ()
    camera_aliases: dict[str, str] = {}
    joints: tuple[Joint, ...]
    effectors: tuple[Effector, ...] = ()
    streams: dict[str, StreamInfo] = {}
    cameras: dict[str, CameraInfo] = {}
    gains: dict[str, tuple[float, float]] = {}
    sources: dict[str, SourceMapping] = {}
    notes: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sources_speak_of_its_joints(self) -> Self:
        known = {joint.name for joint in self.joints}
        for name, source in self.sources.items():
            if strangers := sorted(source.named_joints() - known):
                raise ValueError(f"sources.{name} speaks of joints it has not: {strangers}")
        return self


class Phase(Record):
    """One word of the shared phase vocabulary: what it means, where it starts and ends."""

    id: Name
    definition: str
    starts: str
    ends: str
    color: str = "#888888"


class PhaseVocabulary(Document):
    """The phases that every task draws from."""

    kind: Literal["phase_vocabulary"] = "phase_vocabulary"
    phases: tuple[Phase, ...]


class Tier(Record):
    """One line of phases: the task's, or one effector's. `order` is the usual succession."""

    name: Name
    phases: tuple[str, ...]
    order: tuple[str, ...] = ()


class Rule(Record):
    """How to decide one category: if ... then ..., with an example and a counter-example."""

    category: Name
    of: Name
    when: str
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...] = ()
    default: str = ""


class Accuracy(Record):
    """What accuracy a task's labels must reach, and on which sample it is measured."""

    category: Name
    metric: Name
    tier: str = "task"
    sample: str
    threshold: float


class Factor(Record):
    """One declared variation and its levels."""

    name: Name
    levels: tuple[Scalar, ...]
    description: str = ""


class Task(Document):
    """A task: phases per tier, outcomes, failure modes, labelling rules, accuracy."""

    kind: Literal["task"] = "task"
    id: Name
    title: str
    instruction: str
    guideline: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    description: str = ""
    tiers: tuple[Tier, ...]
    outcomes: dict[str, str]
    grasp_outcomes: dict[str, str] = {}
    failure_modes: dict[str, str] = {}
    rules: tuple[Rule, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    factors: tuple[Factor, ...] = ()
    parameters: dict[str, float] = {}


class Plan(Document):
    """A coverage plan: the cells to fill, the combinations that make no sense, the target."""

    kind: Literal["plan"] = "plan"
    id: Name
    task: Name
    factors: tuple[Factor, ...]
    forbidden: tuple[dict[str, Scalar], ...] = ()
    target: int = Field(default=1, ge=1)
