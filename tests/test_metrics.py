"""Metrics against calculus and hand-computed numbers, and the contract that each one keeps."""

from __future__ import annotations

import math
import pickle

import numpy as np
import numpy.typing as npt
import pytest

from demos.metrics import Measurement, Metric, measure, metrics
from demos.metrics.force import peak_contact_force
from demos.metrics.motion import path_excess, pause_fraction
from demos.model import Episode
from tests.examples import EXAMPLES, example
from tests.scripted import Script, clock, episode_of, min_jerk, pick, stream

Floats = npt.NDArray[np.float64]


def moved(path: Floats, rate_hz: float) -> Episode:
    """One hand whose wrist takes `path` (n, 3), at rest for 1 s before and after."""
    rest = round(rate_hz)
    whole = np.vstack([np.repeat(path[:1], rest, 0), path, np.repeat(path[-1:], rest, 0)])
    pose = np.hstack([whole, np.tile([0.0, 0.0, 0.0, 1.0], (len(whole), 1))])
    time_ns = clock(rate_hz, len(whole) / rate_hz)
    return episode_of("moved", {"pose.right_wrist": stream(time_ns, pose, units="m")})


def arc(rate_hz: float, angle: float, seconds: float = 2.0) -> Floats:
    share = min_jerk(np.arange(round(seconds * rate_hz)) / rate_hz, 0.0, seconds) * angle
    return 0.2 * np.stack([np.cos(share), np.sin(share), np.zeros_like(share)], axis=1)


@pytest.mark.parametrize("rate_hz", [30.0, 50.0, 200.0, 500.0])
@pytest.mark.parametrize("angle", [math.pi, math.pi / 2])
def test_an_arc_has_the_excess_geometry_says_at_any_rate(rate_hz: float, angle: float) -> None:
    # the arc of an angle a is a / (2 sin(a/2)) times its chord
    expected = angle / (2 * math.sin(angle / 2)) - 1

    found = path_excess(moved(arc(rate_hz, angle), rate_hz)).value

    assert found == pytest.approx(expected, rel=0.02, abs=0.002)


def test_a_straight_way_there_and_back_is_no_detour() -> None:
    out = np.outer(min_jerk(np.arange(200) / 100.0, 0.0, 2.0), [0.3, 0.0, 0.1])

    found = path_excess(moved(np.vstack([out, out[::-1]]), 100.0)).value

    assert found == pytest.approx(0.0, abs=0.005)


def test_two_straight_ways_that_pass_into_each_other_are_no_detour() -> None:
    t = np.arange(400) / 100.0
    # the second begins before the first ends: the hand never stops at the corner
    path = np.outer(min_jerk(t, 0.0, 2.0), [0.3, 0.0, 0.0])
    path += np.outer(min_jerk(t, 1.7, 3.7), [0.0, 0.3, 0.0])

    found = path_excess(moved(path, 100.0)).value

    # one chord over both would say 2 / sqrt(2) - 1 = 0.41
    assert found == pytest.approx(0.0, abs=0.03)


def test_tremor_and_sensor_noise_are_no_detour() -> None:
    rng = np.random.default_rng(3)
    path = np.outer(min_jerk(np.arange(1000) / 500.0, 0.0, 2.0), [0.3, 0.0, 0.1])
    path += 0.0006 * np.sin(2 * np.pi * 9.0 * np.arange(1000) / 500.0)[:, None]
    path += 0.0003 * rng.standard_normal(path.shape)

    found = path_excess(moved(path, 500.0)).value

    # the tremor's own path would be 15 % of the way; a tenth of that is left
    assert found == pytest.approx(0.0, abs=0.015)


def test_the_detour_example_exceeds_the_clean_one() -> None:
    clean, bowed = (path_excess(example(n)).value for n in ("clean_pick", "detour"))

    assert clean is not None
    assert bowed is not None
    assert clean < 0.01
    assert bowed > 0.2


def test_a_rest_of_one_second_on_the_way_is_counted_once() -> None:
    found = pause_fraction(example("hesitation"))

    # the wrist stands still from 1.1 to 2.1 s, and is slow for 0.04 s on either side; between
    # first and last motion lie 7.1 s less the slow 0.1 s at both ends
    assert found.value == pytest.approx(1.08 / 6.9, rel=0.03)
    ((start, end),) = found.spans
    assert start / 1e9 == pytest.approx(1.06, abs=0.03)
    assert end / 1e9 == pytest.approx(2.14, abs=0.03)


@pytest.mark.parametrize("name", ["clean_pick", "waits_holding", "two_hands"])
def test_waiting_with_something_in_the_hand_is_no_hesitation(name: str) -> None:
    assert pause_fraction(example(name)).value == pytest.approx(0.0, abs=0.01)


def test_time_before_and_after_the_motion_is_no_hesitation() -> None:
    found = pause_fraction(moved(arc(100.0, math.pi), 100.0))

    assert found.value == pytest.approx(0.0, abs=0.01)


def test_the_push_on_the_table_is_the_peak_force() -> None:
    found = peak_contact_force(example("hard_press"))

    # the object stands again by then; 25 Hz passes a bump of that length nearly whole
    assert found.value == pytest.approx(30.0, abs=0.3)
    assert found.spans[0][0] / 1e9 == pytest.approx(4.9, abs=0.02)


@pytest.mark.parametrize("rate_hz", [200.0, 500.0, 1000.0])
def test_peak_force_does_not_depend_on_the_rate(rate_hz: float) -> None:
    found = peak_contact_force(pick("hard", Script(push_n=30.0), rate_hz=rate_hz))

    assert found.value == pytest.approx(30.0, abs=0.3)


def test_without_a_wrench_the_taxels_speak_and_it_is_said() -> None:
    episode = example("clean_pick")
    streams = {k: v for k, v in episode.streams.items() if not k.startswith("wrench")}

    found = peak_contact_force(episode_of("taxels", streams))

    # three fingers of 8 N, less a dead taxel and a stuck one that carry 13.4 % of theirs
    assert found.value == pytest.approx(24.0 - 2 * 0.1336 * 8.0, rel=0.01)
    assert "taxels" in found.reason


def test_duration_is_the_time_between_first_and_last_sample() -> None:
    (found,) = measure(example("clean_pick"), ["duration"])

    assert found.value == pytest.approx(7.198)


def test_what_cannot_be_assessed_says_why() -> None:
    (found,) = measure(example("state_only"), ["peak_contact_force"])

    assert found.value is None
    assert found.reason == "needs wrench.* or tactile.*"


def test_a_stream_too_slow_is_named_with_its_rate() -> None:
    (found,) = measure(moved(arc(10.0, math.pi), 10.0), ["path_excess"])

    assert found.value is None
    assert found.reason == "needs joint_position or pose.*_wrist at 20 Hz, has 10"


def test_joint_space_is_said_to_be_joint_space() -> None:
    (found,) = measure(example("state_only"), ["path_excess"])

    assert found.value is not None
    assert "joint space" in found.reason


@pytest.mark.parametrize("name", metrics)
def test_every_metric_says_what_it_owns_and_how_to_read_it(name: str) -> None:
    chosen = metrics[name]

    assert chosen.summary.endswith(".")
    assert chosen.unit
    assert chosen.owns
    assert chosen.better in ("lower", "higher", "neither")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_metric_answers_or_says_why_not_on_every_example(name: str) -> None:
    for score in measure(example(name)):
        assert (score.value is not None and math.isfinite(score.value)) or score.reason
        assert "failed" not in score.reason


@pytest.mark.parametrize("name", metrics)
def test_every_metric_can_be_sent_to_a_worker(name: str) -> None:
    assert pickle.loads(pickle.dumps(metrics[name])).name == name


def test_a_crashing_metric_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(episode: Episode) -> Measurement:
        """Fail."""
        raise ZeroDivisionError("no strokes")

    known = {**metrics, "broken": Metric("broken", broken, "1", "lower", (), 0.0, "nothing", 1)}
    monkeypatch.setattr("demos.metrics.metrics", known)

    scores = {score.metric: score for score in measure(example("clean_pick"))}

    assert scores["broken"].reason == "failed: ZeroDivisionError: no strokes"
    assert scores["duration"].value is not None
