"""Steps of a learning table: when they are, what they hold, what they lose; against arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos import alignment
from demos.model import Episode, Stream, StreamInfo
from tests.examples import example
from tests.scripted import ImagesInMemory


def stream(time_ns: list[int] | np.ndarray, values: np.ndarray, **info: object) -> Stream:
    width = values.shape[1]
    names = tuple(f"c{n}" for n in range(width))
    described = StreamInfo(units=("N",) * width, channels=names, **info)
    return Stream(np.asarray(time_ns, np.int64), values, described)


def test_even_stamps_keep_their_rate_and_a_hole_does_not() -> None:
    stamps = np.arange(60) * 33_333_333
    jitter = np.random.default_rng(0).integers(-4_000_000, 4_000_000, 60)

    assert alignment.keeps_rate(stamps, 30.0)
    assert alignment.keeps_rate(stamps + jitter, 30.0)
    assert not alignment.keeps_rate(np.delete(stamps, 20), 30.0)
    assert not alignment.keeps_rate(stamps, 25.0)
    assert not alignment.keeps_rate(stamps[:1], 30.0)


def test_steps_are_the_images_of_a_camera_that_keeps_the_rate() -> None:
    camera = example("clean_pick").cameras["egocentric"]
    start, end = int(camera.time_ns[3]), int(camera.time_ns[40])

    assert alignment.steps(start, end, 15.0, camera).tolist() == camera.time_ns[3:41].tolist()
    assert np.diff(alignment.steps(start, end, 10.0, camera)).tolist() == [100_000_000] * 24


def test_the_common_reach_leaves_out_what_starts_late() -> None:
    episode = example("late_wrench")

    start, end = alignment.reach(episode)

    assert start == min(episode.streams["wrench.right_wrist"].time_ns)
    assert end <= max(episode.streams["joint_position"].time_ns)
    assert alignment.reach(example("empty")) == (0, -1)


def test_windows_hold_the_last_samples_oldest_first() -> None:
    force = stream([0, 10, 20, 30, 40], np.arange(5.0)[:, None])

    found = alignment.windows(force, np.array([-5, 0, 25, 40]), 3)

    assert found[..., 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 2], [2, 3, 4]]


def test_a_straight_line_loses_nothing_when_joined_linearly() -> None:
    line = stream(np.arange(101) * 10, np.arange(101.0)[:, None])

    [lost] = alignment.loss("line", line, np.arange(0, 1001, 100), "linear")

    assert (lost.worst, lost.rms, lost.unit, lost.samples) == (0.0, 0.0, "N", 101)


def test_a_triangle_between_two_steps_is_lost_by_its_height() -> None:
    values = np.array([0.0, 1.0, 2.0, 1.0, 0.0])[:, None]

    [lost] = alignment.loss(
        "peak", stream([0, 10, 20, 30, 40], values), np.array([0, 40]), "linear"
    )

    assert lost.worst == 2.0
    assert lost.rms == pytest.approx(np.sqrt((1 + 4 + 1) / 5))


def test_units_are_told_apart() -> None:
    info = StreamInfo(units=("N", "N·m"), channels=("f", "t"))
    both = Stream(np.array([0, 10, 20]), np.array([[0.0, 0], [3, 1], [0, 0]]), info)

    lost = alignment.loss("wrench", both, np.array([0, 20]), "linear")

    assert {each.unit: each.worst for each in lost} == {"N": 3.0, "N·m": 1.0}


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=60, unique=True).map(sorted),
    st.lists(st.integers(0, 1000), min_size=1, max_size=30, unique=True).map(sorted),
    st.integers(1, 6),
)
def test_samples_in_no_window_are_counted_as_by_hand(
    stamps: list[int], moments: list[int], length: int
) -> None:
    force = stream(stamps, np.arange(len(stamps), dtype=float)[:, None])
    held = alignment.windows(force, np.array(moments), length)
    last = alignment.latest(force.time_ns, np.array(moments))
    between = set(range(int(last[0]), int(last[-1]) + 1))

    lost = alignment.windows_loss("force", force, np.array(moments), length)

    assert lost.lost == len(between - {int(v) for v in held.ravel()})


def test_a_window_at_500_hz_for_30_steps_a_second_leaves_none_out() -> None:
    force = stream(np.arange(5000) * 2_000_000, np.zeros((5000, 1)), rate_hz=500.0)
    moments = np.arange(0, 9_900_000_000, 33_333_333)

    length = alignment.window_length(force, 30.0)

    assert length == 18
    assert alignment.windows_loss("force", force, moments, length).lost == 0


def test_a_stream_that_says_nothing_between_the_steps_loses_nothing() -> None:
    early = stream([0, 10], np.array([[0.0], [1.0]]))

    [lost] = alignment.loss("mode", early, np.array([20, 30]), "previous")

    assert (lost.samples, lost.worst, lost.rms) == (0, 0.0, 0.0)


def test_a_camera_that_trembles_keeps_the_rate_it_has_on_the_whole() -> None:
    # two of three steps are 34 ms long, the third makes up for them: a median of 29.4 Hz
    trembling = np.arange(300) * 33_333_333 + np.tile([0, 700_000, 1_400_000], 100)

    def asked(stamps: np.ndarray, declared: float | None) -> float:
        camera = ImagesInMemory(stamps, np.zeros((len(stamps), 2, 2, 3), np.uint8))
        camera.info = camera.info.model_copy(update={"rate_hz": declared})
        return alignment.step_rate_hz(Episode(example("empty").manifest, {}, {"head": camera}))

    assert round(1e9 / np.median(np.diff(trembling))) == 29
    assert asked(trembling, 30.0) == asked(trembling, None) == 30.0
    assert asked(trembling, 60.0) == 30.0
    assert asked(np.delete(trembling, range(100, 130)), 30.0) == 30.0
    assert asked(np.arange(50) * 40_000_000, 30.0) == 25.0


def test_an_episode_asks_for_the_rate_of_its_camera_or_else_of_its_state() -> None:
    filmed = example("clean_pick")
    state = stream(np.arange(40) * 50_000_000, np.zeros((40, 1)))
    opaque = Episode(filmed.manifest, {"state": state}, {})

    assert alignment.step_rate_hz(filmed) == 15.0
    assert alignment.step_rate_hz(opaque) == 20.0
    assert alignment.step_rate_hz(Episode(filmed.manifest, {}, {})) == alignment.USUAL_HZ
