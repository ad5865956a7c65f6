"""The recorder: what a robot or a simulation hands over is acknowledged sample by sample.

    recorder = Recorder(store, embodiment="g1_dex3", operator="op-3", task="pick_place")
    with recorder.episode(factors={"object": "box"}) as recording:
        recording.write("joint_position", time_ns, position)
        recording.image("egocentric", time_ns, rgb)
        recording.label("outcome", value="success", annotator="op-3", role="operator")

When the block ends, the episode is published; when it fails, what was acknowledged stays in the
store and `demos recover` publishes it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from demos import embodiment as embodiments
from demos import task as tasks
from demos.errors import StoreError
from demos.model import Facts, Pose, Session
from demos.model.records import Origin, Scalar
from demos.provenance import made_by, new_id, now
from demos.schema import refusing
from demos.store.episode_recording import EpisodeRecording, RecordingCounters
from demos.store.episodes import EpisodeStore
from demos.store.images import OnFull
from demos.store.publish import keep_contracts
from demos.store.recording import Header

__all__ = ["EpisodeRecording", "FactFields", "Recorder", "RecordingCounters"]
_OF_PROVENANCE = ("seed", "parameters", "source", "assumed")


class FactFields(TypedDict, total=False):
    """What may be said of an episode when it begins; see `demos.model.Facts`.

    `seed`, `parameters`, `source` and `assumed` go into its provenance. `recorded_at` is the
    moment of time zero (default: now).
    """

    task: str
    instruction: str
    origin: Origin
    policy_checkpoint: str
    intent: Literal["nominal", "recovery", "negative"]
    recorded_at: datetime
    trial_index: int
    minutes_since_break: float
    experience: str
    factors: dict[str, Scalar]
    declared_start: dict[str, Pose]
    seed: int
    parameters: dict[str, Any]
    source: str
    assumed: tuple[str, ...]


class Recorder:
    """Record the episodes of one session into a store.

    `store` is a store or its path. Without `session` a new one is made. `on_full` says what
    happens when images come faster than they are encoded: "block" waits (a simulation can),
    "drop" drops and reports (a robot cannot wait); by default a simulation waits.
    `tool` names the program in the provenance.

    Raises UnknownName for an embodiment or task that nobody declared, SchemaMismatch for an
    operator without a name.
    """

    def __init__(
        self,
        store: EpisodeStore | str | Path,
        *,
        embodiment: str,
        operator: str,
        task: str,
        session: Session | None = None,
        on_full: OnFull | None = None,
        queue_images: int = 30,
        tool: str = "demos.Recorder",
    ) -> None:
        self.store = store if isinstance(store, EpisodeStore) else EpisodeStore.open(store)
        self.embodiment = embodiments.load(embodiment, self.store.root)
        self.task = task
        tasks.load(task, self.store.root)
        with refusing("session"):
            self.session = session or Session(
                id=new_id(), embodiment=embodiment, operator=operator, started_at=now()
            )
        if (self.session.embodiment, self.session.operator) != (embodiment, operator):
            raise StoreError(
                f"the session {self.session.id} is of {self.session.operator} on "
                f"{self.session.embodiment}, not of {operator} on {embodiment}"
            ).with_hint("a session is one operator at one robot: begin another one")
        self.on_full, self.queue_images, self.tool = on_full, queue_images, tool
        self._trials = 0

    def episode(self, *, start_ns: int = 0, **facts: Unpack[FactFields]) -> EpisodeRecording:
        """Begin an episode. `start_ns` is its start on the clock of the stamps that follow.

        With the default of 0, stamps are nanoseconds since the episode's start; give the robot's
        own reading of now to hand over its raw stamps. Raises SchemaMismatch for facts that are
        none.
        """
        root = self.store.root
        name = facts.get("task", self.task)
        task = tasks.load(name, root)
        known = {key: value for key, value in facts.items() if key not in _OF_PROVENANCE}
        origin = {key: value for key, value in facts.items() if key in _OF_PROVENANCE}
        with refusing("description of an episode"):
            complete = Facts.model_validate(
                {
                    "instruction": task.instruction,
                    "origin": "human",
                    "recorded_at": now(),
                    "trial_index": self._trials,
                    **known,
                    "task": name,
                    "provenance": made_by(self.tool, **origin),
                },
                strict=False,
            )
        self.store.add_session(self.session)
        header = Header(
            episode=new_id(),
            session=self.session,
            facts=complete,
            uses=keep_contracts(root, self.embodiment.id, name),
        )
        on_full = self.on_full or ("block" if complete.origin == "simulated" else "drop")
        self._trials += 1
        return EpisodeRecording(
            self.store,
            self.embodiment,
            header,
            task=task,
            start_ns=start_ns,
            on_full=on_full,
            queue_images=self.queue_images,
        )
