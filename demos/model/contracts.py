"""The contracts a team writes by hand: embodiments, tasks, phase vocabulary, coverage plans.

They are YAML files under `schemas/` or in a store; these records say what may stand in them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

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


class Embodiment(Document):
    """A robot's body: joints, hands, sensors, limits, its MJCF.

    `streams` says what each stream of this body means; the recorder uses it so that a caller
    only hands over numbers. `gains` are kp and kd per joint group. `model` is a path below
    `sim/`, empty where there is none. `aliases` are the names by which foreign recordings call
    this body, `camera_aliases` those of its cameras (foreign name to ours).
    """

    kind: Literal["embodiment"] = "embodiment"
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
    notes: dict[str, Any] = {}


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
