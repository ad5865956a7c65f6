"""The declared sensor model: what each fault does to a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from demos.embodiment import load
from demos.simulate import attempt, sensors
from demos.simulate.operator import Operator
from demos.simulate.rollout import LOG_HZ, STEP_HZ, TAXEL_HZ
from demos.simulate.session import Attempted

pytest.importorskip("mujoco", reason="the extra 'sim' is not installed")

STEADY = Operator("op-1", tremor_m=0.0001, drift_m=0.0005, hesitation=0.0, overshoot=0.0)


@pytest.fixture(scope="module")
def grasped() -> Attempted:
    return attempt("pick_place", "success", STEADY, [3, 0])


@pytest.fixture(scope="module")
def readings(grasped: Attempted) -> dict[str, sensors.Reading]:
    rig = sensors.rig(np.random.default_rng(1))
    return sensors.measure(grasped.rollout, rig, np.random.default_rng(2))


def _silent(**changed: dict[str, Any]) -> dict[str, Any]:
    """Take the declared model with every noise off, but for what is given."""
    model = {
        group: {k: dict.fromkeys(v, 0.0) if isinstance(v, dict) else 0.0 for k, v in values.items()}
        if isinstance(values, dict)
        else values
        for group, values in sensors.model().items()
    }
    declared = sensors.model()
    for group, key in (
        ("taxels", "spread_m"),
        ("taxels", "hysteresis_s"),
        ("taxels", "full_scale_n"),
        ("tracker", "rate_hz"),
        ("tracker", "quantum_m"),
        ("tracker", "quantum"),
    ):
        model[group][key] = declared[group][key]
    for group, values in changed.items():
        model[group] |= values
    return model


def _rig(**changed: dict[str, Any]) -> sensors.Rig:
    drawn = sensors.rig(np.random.default_rng(1))
    return sensors.Rig(
        model=_silent(**changed),
        bias={hand: np.zeros(6) for hand in drawn.bias},
        gain={hand: np.ones_like(gain) for hand, gain in drawn.gain.items()},
        offset_ns=dict.fromkeys(drawn.offset_ns, 0),
        skew=dict.fromkeys(drawn.skew, 1.0),
    )


def test_every_value_is_an_exact_multiple_of_its_declared_quantum(
    readings: dict[str, sensors.Reading],
) -> None:
    streams = load("g1_dex3").streams
    checked = 0

    for name, reading in readings.items():
        info = streams.get(name) or sensors.object_info(name)
        if info.quantum is None:
            continue
        counts = reading.values.astype(np.float64) / np.array(info.quantum)
        assert reading.values.dtype == np.float32
        assert np.array_equal(counts, np.rint(counts)), name
        checked += 1

    assert checked >= 9


def test_a_silent_sensor_reads_the_truth_within_its_quantum(grasped: Attempted) -> None:
    rollout = grasped.rollout

    out = sensors.measure(rollout, _rig(), np.random.default_rng(0))

    position = out["joint_position"].values
    assert np.abs(position - rollout.qpos[:, :31]).max() <= 2.0**-14 + 1e-7
    wrench = out["wrench.right_wrist"].values[:, :3]
    assert np.abs(wrench - rollout.wrench["right_hand"][:, :3]).max() <= 2.0**-6 + 1e-5


def test_noise_has_the_size_that_is_declared(grasped: Attempted) -> None:
    rig = _rig(joints={"position_noise_rad": 0.001})

    out = sensors.measure(grasped.rollout, rig, np.random.default_rng(0))

    error = out["joint_position"].values - grasped.rollout.qpos[:, :31]
    # quantisation adds its own q^2/12
    expected = np.hypot(0.001, 2.0**-13 / np.sqrt(12.0))
    assert error.std() == pytest.approx(expected, rel=0.02)


def test_taxels_of_a_pad_add_up_to_the_force_on_it(grasped: Attempted) -> None:
    rollout, hand = grasped.rollout, grasped.trial.holders[0]
    side = hand.removesuffix("_hand")
    name = f"{side}_thumb"
    tip = list(rollout.world.tips).index(name)

    cells = sensors.felt(
        rollout.taxels[name], rollout.tip_m[:, tip], rollout.tip_axes[:, tip], 0.004
    )

    # rows of both logs meet every 10 ms
    by_pad = rollout.touch[f"{name}_pad_on_{grasped.trial.target}"][:: LOG_HZ // 100]
    total = cells.sum(axis=(2, 3))[:: TAXEL_HZ // 100]
    axes = rollout.tip_axes[:: TAXEL_HZ // 100, tip]
    expected = np.einsum("nx,nxa->na", by_pad, axes)[:, [2, 0, 1]] * [1, -1, -1]
    count = min(len(total), len(expected))
    np.testing.assert_allclose(total[:count], expected[:count], atol=1e-9)
    assert total[:, 0].max() > 5.0


def test_a_dead_taxel_reads_zero_and_the_others_do_not(grasped: Attempted) -> None:
    rig, hand = _rig(), grasped.trial.holders[0]
    rig.gain[hand][0, :, 1, 2] = 0.0

    out = sensors.measure(grasped.rollout, rig, np.random.default_rng(0))

    cells = out[f"tactile.{hand}"].values.reshape(-1, 3, 3, 4, 4)
    assert rig.dead[hand] == ["thumb.r1c2"]
    assert not cells[:, 0, :, 1, 2].any()
    assert cells[:, 0, 0, 1, 1].max() > 0.1


def test_hysteresis_keeps_part_of_a_force_for_a_while_after_release(grasped: Attempted) -> None:
    hand = grasped.trial.holders[0]
    quick = sensors.measure(grasped.rollout, _rig(), np.random.default_rng(0))
    slow = sensors.measure(
        grasped.rollout, _rig(taxels={"hysteresis": 0.2}), np.random.default_rng(0)
    )

    prompt = quick[f"tactile.{hand}"].values.reshape(-1, 3, 3, 16)[:, 0, 0].sum(axis=1)
    late = slow[f"tactile.{hand}"].values.reshape(-1, 3, 3, 16)[:, 0, 0].sum(axis=1)

    last = int(np.flatnonzero(prompt > 1.0)[-1])
    assert prompt[last + 10] == pytest.approx(0.0, abs=0.05)
    assert late[last + 10] > 0.5
    assert late[last + 2 * TAXEL_HZ] == pytest.approx(0.0, abs=0.05)


def test_a_resting_wrist_reads_its_tare(grasped: Attempted) -> None:
    rig = _rig()
    rig.bias["left_hand"][:] = [1.0, -2.0, 0.5, 0.01, 0.0, 0.02]
    rollout = grasped.rollout
    other = "left_hand" if grasped.trial.holders == ("right_hand",) else "right_hand"
    place = f"wrench.{rollout.world.hands[other].side}_wrist"

    out = sensors.measure(rollout, rig, np.random.default_rng(0))

    tare = sensors.tare(rig, rollout.world, other)
    still = out[place].values[200:800, :3].mean(axis=0)
    np.testing.assert_allclose(still, tare[:3], atol=0.35)
    assert tare[2] - rig.bias[other][2] == pytest.approx(-7.66, abs=0.02)


def test_the_load_on_the_wrist_is_the_weight_of_what_it_holds(grasped: Attempted) -> None:
    rollout, hand = grasped.rollout, grasped.trial.holders[0]
    mass = grasped.trial.scene.props[0].mass_kg
    own = next(a for a in grasped.truth.attempts if a.tier == "task")
    assert mass is not None
    assert own.lifted is not None
    assert own.down is not None
    force = np.linalg.norm(rollout.wrench[hand][:, :3], axis=1)
    ratio = STEP_HZ // LOG_HZ
    # in the middle of the hold the arm is slow, and accelerations average out
    held = slice((own.lifted + 200) * ratio, (own.down - 200) * ratio)

    load = force[held].mean() - force[100 * ratio : 200 * ratio].mean()

    assert load / 9.81 == pytest.approx(mass, rel=0.12)


def test_bias_drifts_further_the_longer_the_session(grasped: Attempted) -> None:
    rig = _rig(wrench={"drift_n": 0.02})
    true = grasped.rollout.wrench["right_hand"][:, :3]

    def drift(worked_s: float, seed: int) -> float:
        out = sensors.measure(grasped.rollout, rig, np.random.default_rng(seed), worked_s=worked_s)
        return float(np.abs((out["wrench.right_wrist"].values[:, :3] - true).mean(axis=0)).mean())

    early = np.mean([drift(0.0, seed) for seed in range(3)])
    late = np.mean([drift(600.0, seed) for seed in range(3)])

    # a random walk of 0.02 N per root second: 0.49 N after 600 s, mean absolute value 0.39 N
    assert early < 0.1
    assert 0.15 < late < 0.9


def test_stamps_are_in_order_and_nothing_arrives_before_it_was_taken(
    readings: dict[str, sensors.Reading],
) -> None:
    for name, reading in readings.items():
        assert reading.time_ns.dtype == np.int64
        assert reading.time_ns[0] >= 0
        assert (np.diff(reading.time_ns) > 0).all(), name
        if reading.arrival_ns is None or reading.source_time_ns is None:
            continue
        assert (np.diff(reading.source_time_ns) > 0).all(), name
        assert (np.diff(reading.arrival_ns) >= 0).all(), name
        assert (reading.arrival_ns - reading.time_ns).mean() > 0, name


def test_a_device_clock_runs_at_its_own_speed(grasped: Attempted) -> None:
    rig = _rig()
    skewed = sensors.Rig(
        rig.model, rig.bias, rig.gain, rig.offset_ns, {**rig.skew, "joints": 1.001}
    )

    out = sensors.measure(grasped.rollout, skewed, np.random.default_rng(0))["joint_position"]

    assert out.source_time_ns is not None
    own, ours = np.ptp(out.source_time_ns), np.ptp(out.time_ns)
    assert own / ours == pytest.approx(1.001, rel=1e-5)


def test_the_same_seed_gives_the_same_readings(
    grasped: Attempted, readings: dict[str, sensors.Reading]
) -> None:
    again = sensors.measure(
        grasped.rollout, sensors.rig(np.random.default_rng(1)), np.random.default_rng(2)
    )

    assert again.keys() == readings.keys()
    for name, reading in readings.items():
        assert np.array_equal(again[name].values, reading.values)
        assert np.array_equal(again[name].time_ns, reading.time_ns)


def test_rotation_vectors_become_unit_quaternions() -> None:
    turns = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, np.pi / 2], [0.3, -0.2, 0.9]])

    quaternions = sensors.quaternions(turns)

    half = np.sqrt(0.5)
    np.testing.assert_allclose(quaternions[0], [0, 0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(quaternions[1], [0, 0, half, half], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0)
