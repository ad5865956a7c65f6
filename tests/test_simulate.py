"""Simulated sessions: what is drawn, what physics makes of it, what is recorded."""

from __future__ import annotations

import logging
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from demos import physics, task
from demos.errors import DemosError, ReplayFailed, UnknownName
from demos.model import Episode
from demos.simulate import VERSION, attempt, rollout, session, simulate, tasks
from demos.simulate.operator import Operator, crew, minimum_jerk
from demos.simulate.plan import planned
from demos.simulate.script import COMMAND_HZ, Script
from demos.simulate.session import Attempted
from demos.simulate.truth import judge
from demos.store import EpisodeStore

pytest.importorskip("mujoco", reason="the extra 'sim' is not installed")

STEADY = Operator("op-1", tremor_m=0.0002, drift_m=0.001, hesitation=0.0, overshoot=0.0)
known = cache(lambda variant: attempt("pick_place", variant, STEADY, [5, 1]))
ORDER = task.load("pick_place").tiers[0].order


def _phases(done: Attempted, tier: str = "task") -> list[str]:
    return [span.value for span in done.truth.phases if span.tier == tier]


def _grasps(done: Attempted) -> list[str]:
    return [span.value for span in done.truth.grasps]


@pytest.mark.parametrize("variant", list(tasks["pick_place"].variants))
def test_each_variant_ends_the_way_it_is_called(variant: str) -> None:
    done = known(variant)

    assert tasks["pick_place"].intended(variant, done.rollout, done.truth)
    assert done.rollout.peak_n < 400.0


def test_a_success_goes_through_every_phase_in_order() -> None:
    done = known("success")

    hand = done.trial.holders[0]
    other = "left_hand" if hand == "right_hand" else "right_hand"
    # idle before and after
    assert _phases(done) == [*ORDER, "idle"]
    assert _phases(done, hand) == _phases(done)
    assert _phases(done, other) == ["idle"]
    assert _grasps(done) == ["held"]


def test_phases_of_a_tier_cover_the_episode_without_gap_or_overlap() -> None:
    for variant in ("success", "recovery", "dropped", "aborted"):
        done = known(variant)
        for tier in ("task", "left_hand", "right_hand"):
            spans = [span for span in done.truth.phases if span.tier == tier]

            assert spans[0].start_ns == 0
            assert spans[-1].end_ns == round(done.rollout.time_s[-1] * 1e9)
            for first, second in pairwise(spans):
                assert first.end_ns == second.start_ns


def test_phase_boundaries_are_the_physical_events_of_the_guideline() -> None:
    done = known("success")
    run, target, hand = done.rollout, done.trial.target, done.trial.holders[0]
    starts = {span.value: span.start_ns for span in done.truth.phases if span.tier == "task"}
    time_ns = np.rint(run.time_s * 1e9)
    side = hand.removesuffix("_hand")
    pads = [f"{side}_{finger}_pad_on_{target}" for finger in ("thumb", "index", "middle")]
    touching = np.max([np.linalg.norm(run.touch[pad], axis=1) for pad in pads], axis=0) > 0.05
    standing = np.linalg.norm(run.touch[f"{target}_on_world"], axis=1) > 0.05
    height = run.object_pose(target)[:, 2] - run.object_pose(target)[0, 2]

    at = {name: int(np.searchsorted(time_ns, start)) for name, start in starts.items()}

    assert at["grasp"] == pytest.approx(int(np.flatnonzero(touching)[0]), abs=10)
    assert standing[at["lift"] - 10 : at["lift"] + 1].any()
    assert not standing[at["lift"] + 30 : at["release"] - 30].any()
    assert height[at["transport"] : at["place"]].min() > 0.02
    assert height[at["place"]] == pytest.approx(0.03, abs=0.004)
    assert standing[at["release"] + 30]
    assert not touching[at["retract"] + 30 :].any()


def test_a_drop_comes_after_a_real_lift() -> None:
    for variant in ("dropped", "slip_dropped"):
        (grasp,) = known(variant).truth.grasps

        assert grasp.value == "dropped"
        assert float(grasp.notes["height_m"] or 0) > 0.05


def test_a_slip_is_a_displacement_of_the_pads_inside_a_hold() -> None:
    done = known("slip_held")
    (hold,) = done.truth.grasps

    assert hold.value == "held"
    for slip in done.truth.slips:
        assert hold.start_ns <= slip.start_ns < slip.end_ns <= hold.end_ns
        assert float(slip.notes["slid_m"] or 0) >= 0.003
    assert done.truth.slips
    assert not known("success").truth.slips


def test_a_recovery_is_a_miss_then_a_hold_and_says_so() -> None:
    done = known("recovery")

    assert _grasps(done) == ["missed", "held"]
    assert done.truth.intent == "recovery"
    phases = _phases(done)
    assert phases[phases.index("recover") + 1] == "reach"
    assert [span.value for span in done.truth.failure_modes] == ["missed_grasp"]


def test_contacts_are_marked_per_finger_while_forces_are_felt() -> None:
    done = known("success")
    hand = done.trial.holders[0]

    fingers = {span.notes.get("finger") for span in done.truth.contacts if span.tier == hand}

    assert {None, "thumb", "index", "middle"} <= fingers
    assert not [span for span in done.truth.contacts if span.tier != hand]


def test_truth_follows_physics_and_not_the_script() -> None:
    # the very script of a success, but the object is as slippery as wet ice
    seed = [5, 1, 0]
    trial = tasks["pick_place"].draw("success", STEADY, np.random.default_rng(seed))
    from dataclasses import replace

    from demos.simulate.world import build

    prop = replace(trial.scene.props[0], friction=0.04)
    world = build(replace(trial.scene, props=(prop,)))

    done = rollout.run(world, trial.write(world))

    truth = judge(
        done,
        target=trial.target,
        holders=trial.holders,
        together=trial.together,
        parameters=task.load("pick_place").parameters,
    )
    assert truth.outcome == "failure"
    assert "held" not in [span.value for span in truth.grasps]


def test_the_same_seed_gives_the_same_attempt_to_the_bit() -> None:
    again = attempt("pick_place", "success", STEADY, [5, 1])

    assert np.array_equal(again.rollout.qpos, known("success").rollout.qpos)
    assert again.trial.factors == known("success").trial.factors


def test_what_the_operator_writes_down_differs_from_the_truth_now_and_then() -> None:
    wrong = 0
    for number in range(200):
        trial = tasks["pick_place"].draw("success", STEADY, np.random.default_rng([9, number]))
        (prop,) = trial.scene.props
        noted = np.array(trial.declared[prop.name].position_m)
        wrong += bool(np.linalg.norm(noted - prop.position_m) > 0.02)

    assert 8 <= wrong <= 36


def test_an_explosion_is_found_and_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_ABSURD_N", 1.0)
    monkeypatch.setattr(session, "_REDRAWS", 2)

    with pytest.raises(ReplayFailed, match="unstable") as refused:
        attempt("pick_place", "aborted", STEADY, [5, 1])

    assert refused.value.hint


def test_minimum_jerk_starts_and_ends_at_rest() -> None:
    share = np.linspace(0.0, 1.0, 2001)

    speed = np.gradient(minimum_jerk(share), share)

    # 1.875 is the peak of the analytic speed, 30 x^2 (1 - x)^2, at one half
    assert speed.max() == pytest.approx(1.875, rel=1e-4)
    assert abs(speed[0]) < 1e-3
    assert abs(speed[-1]) < 1e-3


def test_a_script_takes_its_hand_where_it_says() -> None:
    still = Operator("op-1", tremor_m=0.0, drift_m=0.0, hesitation=0.0, overshoot=0.0)
    script = Script(still, np.random.default_rng(0), {"right_hand": np.zeros(3)})

    script.move({"right_hand": [0.1, 0.0, 0.2]}, 1.0, exact=True)
    script.grip({"right_hand": 1.0}, 0.5)
    script.wait(0.5)
    intent = script.sampled()

    assert intent.time_s[-1] == pytest.approx(1.5)
    np.testing.assert_allclose(intent.position_m["right_hand"][int(COMMAND_HZ)], [0.1, 0.0, 0.2])
    assert intent.closure["right_hand"][-1] == pytest.approx(1.0)


def test_people_differ_and_tire() -> None:
    first, second = crew(2, 4)

    tired = first.tired(120.0)

    assert (first.name, second.name) == ("op-1", "op-2")
    assert first.pace != second.pace
    assert tired.pace < first.pace
    assert tired.tremor_m > first.tremor_m


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Episode:
    store = EpisodeStore.create(tmp_path_factory.mktemp("simulated") / "store")
    (manifest,) = simulate(
        store,
        episodes=1,
        operators=1,
        seed=2,
        tasks=["pick_place"],
        flaws={"success": 1.0},
        size=(64, 48),
        depth=physics.gl_backend() is not None,
    )
    return store.episode(manifest.id)


def test_a_recorded_episode_holds_every_stream_at_its_declared_rate(recorded: Episode) -> None:
    from demos.embodiment import load

    declared = load("g1_dex3").streams
    box = str(recorded.manifest.factors["object"])

    assert set(declared) | {f"pose.object.{box}"} <= set(recorded.streams)
    for name, info in declared.items():
        if info.rate_hz is None:
            continue
        stream = recorded.streams[name]
        rate = 1e9 * (len(stream) - 1) / (stream.time_ns[-1] - stream.time_ns[0])
        assert rate == pytest.approx(info.rate_hz, rel=0.01), name
    wrench = recorded.streams["wrench.right_wrist"].info
    assert wrench.tare is not None
    assert wrench.tare[2] < -3.0


def test_a_recorded_episode_tells_a_stranger_how_it_was_made(recorded: Episode) -> None:
    manifest = recorded.manifest

    parameters = manifest.provenance.parameters
    assert manifest.origin == "simulated"
    assert parameters["simulator"] == VERSION
    assert parameters["scene"]["props"][0]["kind"] == manifest.factors["object"]
    assert manifest.provenance.seed == 2
    assert set(manifest.declared_start) == {manifest.factors["object"]}
    assert {label.of for label in recorded.labels} >= {"phases", "contacts", "grasps", "outcome"}
    assert {label.role for label in recorded.labels} == {"simulator"}
    assert [int(v) for v in recorded.streams["control_authority"].values[:, 0]] == [1]


def test_the_scene_in_the_provenance_can_be_built_again(recorded: Episode) -> None:
    scene = recorded.manifest.provenance.parameters["scene"]

    model = physics.load_model(scene["model"], [physics.Prop(**prop) for prop in scene["props"]])

    (prop,) = scene["props"]
    assert float(model.body(prop["name"]).mass[0]) == pytest.approx(prop["mass_kg"])


@pytest.mark.skipif(physics.gl_backend() is None, reason="no GL library: nothing is rendered")
def test_images_and_depth_are_those_of_the_scene(recorded: Episode) -> None:
    images = recorded.images("egocentric", [0, len(recorded.cameras["egocentric"]) - 1])
    depth = recorded.streams["depth.egocentric"]

    assert images.shape == (2, 48, 64, 3)
    # the table fills the middle: brown, half a metre away
    red, _, blue = images[0, 24, 32].astype(int)
    assert red > blue
    assert depth.info.scale == 0.001
    assert 300 < int(depth.values[0, 24, 32]) < 900
    info = recorded.cameras["egocentric"].info
    assert info.intrinsics is not None
    assert info.intrinsics.cx == pytest.approx(32.0)


def test_without_a_gl_library_all_but_images_is_recorded_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(physics, "gl_backend", lambda: None)
    store = EpisodeStore.create(tmp_path / "store")

    with caplog.at_level(logging.WARNING, logger="demos"):
        (manifest,) = simulate(
            store, episodes=1, operators=1, seed=2, tasks=["pick_place"], flaws={"aborted": 1.0}
        )

    assert not manifest.cameras
    assert len(manifest.streams) >= 18
    assert [line for line in caplog.messages if "apt-get install" in line]
    authority = store.episode(manifest.id).streams["control_authority"].values[:, 0]
    assert [int(who) for who in authority] == [1, 0]
    assert [event.name for event in manifest.events] == ["stop"]


def test_a_simulation_that_is_interrupted_goes_on_to_the_same_episodes(tmp_path: Path) -> None:
    whole = EpisodeStore.create(tmp_path / "whole")
    broken = EpisodeStore.create(tmp_path / "broken")

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    simulate(whole, episodes=3, operators=2, seed=4, video=False)
    with pytest.raises(KeyboardInterrupt):
        simulate(broken, episodes=3, operators=2, seed=4, video=False, progress=stop)
    rest = simulate(broken, episodes=3, operators=2, seed=4, video=False)
    again = simulate(broken, episodes=3, operators=2, seed=4, video=False)

    assert (len(rest), len(again), len(broken.episode_ids())) == (1, 0, 3)
    assert len(broken.sessions()) == len(whole.sessions()) == 2
    for one, other in zip(whole.episode_ids(), broken.episode_ids(), strict=True):
        a, b = whole.episode(one), broken.episode(other)
        assert a.manifest.provenance.parameters == b.manifest.provenance.parameters
        np.testing.assert_array_equal(
            a.streams["wrench.left_wrist"].values, b.streams["wrench.left_wrist"].values
        )


def test_an_interrupted_recording_of_a_simulation_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EpisodeStore.create(tmp_path / "lab")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "_label", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate(store, episodes=1, operators=1, seed=4, video=False)

    assert list((store.root / "recordings").iterdir()) == []
    assert store.episode_ids() == []


def test_the_default_mix_shows_every_outcome_in_24_episodes() -> None:
    plan = planned(24, 1, None, None)

    assert len(plan) == 24
    assert {name for name, _ in plan} == set(tasks)
    shown = {variant for name, variant in plan if name == "pick_place"}
    assert shown == set(tasks["pick_place"].variants)


def _recorded(store: Path, episodes: int) -> list[Episode]:
    opened = EpisodeStore.create(store)
    made = simulate(opened, episodes=episodes, operators=3, seed=1, video=False)
    return [opened.episode(manifest.id) for manifest in made]


@pytest.mark.slow
def test_a_session_of_24_ends_in_every_outcome(tmp_path: Path) -> None:
    episodes = _recorded(tmp_path / "store", 24)

    ends = {label.value for e in episodes for label in e.labels if label.of == "outcome"}
    assert ends == {"success", "partial", "failure", "aborted"}
    assert {episode.task for episode in episodes} == {"pick_place", "carry"}


@pytest.mark.slow
def test_the_same_seed_records_the_same_values(tmp_path: Path) -> None:
    first, second = _recorded(tmp_path / "a", 3), _recorded(tmp_path / "b", 3)

    for one, other in zip(first, second, strict=True):
        assert one.manifest.factors == other.manifest.factors
        for name, stream in one.streams.items():
            assert np.array_equal(stream.values, other.streams[name].values), name
            assert np.array_equal(stream.time_ns, other.streams[name].time_ns), name


def test_an_unknown_variant_or_task_is_refused_with_those_there_are(tmp_path: Path) -> None:
    store = EpisodeStore.create(tmp_path / "store")

    with pytest.raises(UnknownName, match="juggling"):
        simulate(store, episodes=1, operators=1, seed=0, tasks=["juggling"])
    with pytest.raises(UnknownName, match="thrown"):
        simulate(store, episodes=1, operators=1, seed=0, flaws={"thrown": 1.0})
    with pytest.raises(DemosError, match="0 episodes"):
        simulate(store, episodes=0, operators=1, seed=0)
    assert not store.episode_ids()
