"""Sessions of simulated operators, recorded through the very recorder a robot would use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version

import numpy as np

from demos import physics
from demos import task as task_files
from demos.errors import DemosError, ReplayFailed
from demos.model import Calibration, Consent, Hardware, Manifest, Session
from demos.provenance import new_id, now
from demos.simulate import rollout as physics_rollout
from demos.simulate import sensors
from demos.simulate.camera import CAMERA, Eye, camera_info, depth_info
from demos.simulate.operator import Operator, crew
from demos.simulate.plan import Drawn, planned, recorded
from demos.simulate.rollout import LOG_HZ, OutOfReach, Rollout, Unstable
from demos.simulate.sensors import Reading, Rig
from demos.simulate.trial import Trial, tasks
from demos.simulate.truth import Truth, judge
from demos.simulate.world import EMBODIMENT, build
from demos.store import EpisodeRecording, EpisodeStore, Recorder

VERSION = "1.0.0"
"""Of the simulated body, its sensors and its people: changes when equal seeds give other values."""
ANNOTATOR = "simulator"
_REDRAWS = 12
_BLOCK_S = 0.5
_BREAK_EVERY = 15

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Attempted:
    """A rollout that held together, what was drawn for it, and how many did not."""

    trial: Trial
    rollout: Rollout
    truth: Truth
    redrawn: int


def simulate(
    store: EpisodeStore,
    *,
    episodes: int,
    operators: int,
    seed: int,
    tasks: Sequence[str] | None = None,
    flaws: Mapping[str, float] | Mapping[str, Mapping[str, float]] | None = None,
    video: bool = True,
    size: tuple[int, int] = (320, 240),
    depth: bool = False,
    progress: Progress | None = None,
) -> list[Manifest]:
    """Record sessions of simulated operators into a store: one session per operator.

    `tasks` are by default all that can be simulated. `flaws` gives the share of each variant, for
    all tasks or per task; by default each task's own mix. `size` is width and height of the
    images; `depth` adds depth images. `progress` is called with episodes done and in all.
    The same seed and versions give the same episodes, but for their ids and dates. Those that the
    store has already are left as they are, so that what was interrupted is run again and goes on;
    only new ones are returned.

    Where no GL library is found, everything but images is recorded and one line says so.
    Raises UnknownName for a task or variant that is not there, MissingExtra without MuJoCo.
    """
    if episodes < 1 or operators < 1:
        raise DemosError(
            f"{episodes} episodes by {operators} operators cannot be simulated"
        ).with_hint("both must be at least 1")
    physics.engine()
    seen = video and physics.gl_backend() is not None
    if video and not seen:
        _log.warning("no GL library: recording without images; to have them, %s", physics.GL_HINT)
    plan = planned(episodes, seed, tasks, flaws)
    known = recorded(store, VERSION)
    manifests: list[Manifest] = []
    done = 0
    for number, operator in enumerate(crew(operators, seed)):
        mine = plan[number::operators]
        for manifest in _sitting(
            store,
            operator,
            mine,
            [seed, number],
            size if seen else None,
            known,
            depth=depth and seen,
        ):
            manifests += [manifest] if manifest is not None else []
            done += 1
            if progress is not None:
                progress(done, episodes)
    return manifests


def attempt(task: str, variant: str, operator: Operator, seed: Sequence[int]) -> Attempted:
    """Draw one attempt and run it; draw again where physics blows up.

    Raises ReplayFailed where that happens every time.
    """
    simulated = tasks[task]
    parameters = task_files.load(task).parameters
    for redrawn in range(_REDRAWS):
        trial = simulated.draw(variant, operator, np.random.default_rng([*seed, redrawn]))
        world = build(trial.scene)
        try:
            rollout = physics_rollout.run(world, trial.write(world))
        except (Unstable, OutOfReach) as error:
            _log.info("%s %s %s drawn again: %s", task, variant, list(seed), error)
            continue
        truth = judge(
            rollout,
            target=trial.target,
            holders=trial.holders,
            together=trial.together,
            parameters=parameters,
        )
        return Attempted(trial, rollout, truth, redrawn)
    raise ReplayFailed(f"{task} {variant} was unstable {_REDRAWS} times in a row").with_hint(
        "try another seed; if that does not help, the scene is broken"
    )


def _sitting(
    store: EpisodeStore,
    operator: Operator,
    plan: Sequence[tuple[str, str]],
    seed: Sequence[int],
    size: tuple[int, int] | None,
    known: Mapping[Drawn, str],
    *,
    depth: bool,
) -> Iterator[Manifest | None]:
    """Record one operator's session; None for an episode that the store has already."""
    if not plan:
        return
    images = f"{size[0]}x{size[1]}" if size else "none"
    rng = np.random.default_rng([*seed, 7003])
    rig = sensors.rig(rng)
    # so early that the last episode is not in the future
    began = now() - timedelta(minutes=1.2 * len(plan) + 3.0 * (len(plan) // _BREAK_EVERY))
    session: Session | None = None
    minutes = since_break = 0.0
    for index, (task, variant) in enumerate(plan):
        if index and index % _BREAK_EVERY == 0:
            minutes, since_break = minutes + 3.0, 0.0
        drawn = [*seed, index]
        done = attempt(task, variant, operator.tired(since_break), drawn)
        # resetting the scene takes a quarter of a minute, or half of one
        spent = float(done.rollout.time_s[-1]) / 60.0 + float(rng.uniform(0.25, 0.5))
        trial_minutes, trial_since_break = minutes, since_break
        minutes, since_break = minutes + spent, since_break + spent
        earlier = known.get((f"{task}/{variant}/{images}", tuple(drawn)))
        if earlier is not None:
            session = session or store.session(earlier)
            yield None
            continue
        if session is None:
            session = _session(operator, rig, done.rollout, began)
        recorder = Recorder(
            store,
            embodiment=EMBODIMENT,
            operator=operator.name,
            task=task,
            session=session,
            tool="demos.simulate",
        )
        trial = done.trial
        recording = recorder.episode(
            origin="simulated",
            intent="recovery" if done.truth.intent == "recovery" else "nominal",
            recorded_at=began + timedelta(minutes=trial_minutes),
            trial_index=index,
            minutes_since_break=round(trial_since_break, 2),
            experience=operator.experience,
            factors=dict(trial.factors),
            declared_start=dict(trial.declared),
            seed=drawn[0],
            parameters={
                "simulator": VERSION,
                "sensors": sensors.model()["version"],
                "mujoco": version("mujoco"),
                "variant": variant,
                "seed": [*drawn, done.redrawn],
                "redrawn": done.redrawn,
                "scene": trial.scene.parameters(),
                "images": images,
            },
        )
        noise = np.random.default_rng([*drawn, 7004])
        try:
            _record(recording, done, rig, noise, trial_minutes * 60.0, size, depth=depth)
        except BaseException:
            recording.discard()  # unlike a person's, it can be had again
            raise
        yield recording.finish()


def _session(operator: Operator, rig: Rig, rollout: Rollout, began: datetime) -> Session:
    world = rollout.world
    tares = {
        f"wrench.{hand.side}_wrist": sensors.tare(rig, world, name)
        for name, hand in world.hands.items()
    }
    return Session(
        id=new_id(),
        embodiment=EMBODIMENT,
        operator=operator.name,
        started_at=began,
        site="simulation",
        hardware=Hardware(
            robot=rig.serials["robot"],
            serials={name: serial for name, serial in rig.serials.items() if name != "robot"},
            firmware={"hands": "sim-1.0", "wrench": "sim-1.0"},
            software={
                "simulator": VERSION,
                "sensors": sensors.model()["version"],
                "mujoco": version("mujoco"),
            },
        ),
        calibrations=(
            *(
                Calibration(
                    of=stream,
                    values={"tare": list(tare), "posture": "hand level, empty"},
                    made_at=began,
                    valid_until=began + timedelta(hours=12),
                )
                for stream, tare in tares.items()
            ),
            *(
                Calibration(
                    of=f"tactile.{hand}",
                    values={"dead": cells},
                    made_at=began,
                    valid_until=began + timedelta(hours=12),
                )
                for hand, cells in rig.dead.items()
            ),
        ),
        consent=Consent(given=True, form="simulated operator", licence="CC0-1.0"),
        note=f"Simulated person: {operator.experience}.",
    )


def _record(
    recording: EpisodeRecording,
    done: Attempted,
    rig: Rig,
    rng: np.random.Generator,
    worked_s: float,
    size: tuple[int, int] | None,
    *,
    depth: bool,
) -> None:
    rollout, world = done.rollout, done.rollout.world
    readings = sensors.measure(rollout, rig, rng, worked_s=worked_s)
    for name in world.objects:
        recording.declare(f"pose.object.{name}", sensors.object_info(name))
    for name, hand in world.hands.items():
        stream = f"wrench.{hand.side}_wrist"
        tare = sensors.tare(rig, world, name)
        declared = world.embodiment.streams[stream]
        recording.declare(stream, declared.model_copy(update={"tare": tare}))
    recording.authority("operator", 0)
    blocks = _Blocks(recording, readings)
    if size is not None:
        recording.declare_camera(CAMERA, camera_info(world.embodiment.cameras[CAMERA], size))
        if depth:
            recording.declare(f"depth.{CAMERA}", depth_info(size))
        with Eye(rollout, size, rng) as eye:
            for row, image in eye.images():
                moment = row * (10**9 // LOG_HZ)
                blocks.until(moment)
                recording.image(CAMERA, moment, image)
                if depth:
                    recording.write(f"depth.{CAMERA}", moment, eye.depth(row))
    blocks.until(None)
    if rollout.stopped_s is not None:
        stopped = round(rollout.stopped_s * 1e9)
        recording.authority("stopped", stopped)
        recording.event("stop", stopped, by="operator")
    _label(recording, done)


class _Blocks:
    """Hand over what sensors delivered in blocks of half a second, as it would have come in."""

    def __init__(self, recording: EpisodeRecording, readings: Mapping[str, Reading]) -> None:
        self._recording, self._readings = recording, readings
        self._sent = dict.fromkeys(readings, 0)
        self._next_ns = round(_BLOCK_S * 1e9)

    def until(self, moment_ns: int | None) -> None:
        """Send all whole blocks that lie before a moment; None sends everything."""
        while moment_ns is None or moment_ns >= self._next_ns:
            edge = self._next_ns if moment_ns is not None else None
            for name, reading in self._readings.items():
                start = self._sent[name]
                end = len(reading.time_ns)
                if edge is not None:
                    end = int(np.searchsorted(reading.time_ns, edge))
                if end > start:
                    self._write(name, reading, slice(start, end))
                    self._sent[name] = end
            if edge is None:
                return
            self._next_ns += round(_BLOCK_S * 1e9)

    def _write(self, name: str, reading: Reading, rows: slice) -> None:
        source, arrival = reading.source_time_ns, reading.arrival_ns
        self._recording.write(
            name,
            reading.time_ns[rows],
            reading.values[rows],
            None if source is None else source[rows],
            None if arrival is None else arrival[rows],
        )


def _label(recording: EpisodeRecording, done: Attempted) -> None:
    truth = done.truth
    for of, spans in (
        ("phases", truth.phases),
        ("contacts", truth.contacts),
        ("slips", truth.slips),
        ("grasps", truth.grasps),
        ("failure_modes", truth.failure_modes),
    ):
        recording.label(of, spans=spans, annotator=ANNOTATOR, role="simulator")  # type: ignore[arg-type]
    distance = f"{truth.goal_distance_m * 1e3:.0f} mm from the goal's centre"
    recording.label(
        "outcome", value=truth.outcome, annotator=ANNOTATOR, role="simulator", note=distance
    )
    recording.label("intent", value=truth.intent, annotator=ANNOTATOR, role="simulator")
