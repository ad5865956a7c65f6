"""Tables of steps: what each step says of each stream, by arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from demos.alignment import Loss
from demos.alignment.columns import NoTable, at_steps, spans_of, window_of
from demos.alignment.tables import merged, tables_of
from demos.model import Span, StreamSummary
from tests.examples import example
from tests.learning import MS, camera, episode, surveyed, table
from tests.table_store import SECOND, clock, joints, label, stream


def test_a_state_is_on_the_line_between_its_samples_and_a_command_is_held() -> None:
    time_ns = np.array([0, 100, 200, 300]) * MS
    ramp = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    streams = {
        "joint_position": stream(time_ns, ramp, ("a",), rate_hz=10.0),
        "joint_command": stream(time_ns, 10 * ramp, ("a",), rate_hz=10.0),
    }

    only = table(episode("ramp", streams, {}), rate_hz=25.0)

    assert only.moments.tolist() == [n * 40 * MS for n in range(8)]
    state = only.columns["observation.state"]
    assert state.dtype == np.float32
    np.testing.assert_allclose(state[:, 0], [0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8], atol=1e-6)
    assert only.columns["action"][:, 0].tolist() == [0, 0, 0, 10, 10, 20, 20, 20]


def test_a_sample_at_a_step_stays_what_it_is_beside_nan() -> None:
    values = np.array([[1.1], [np.nan], [3.3]], np.float32)
    part = stream(np.array([0, 10, 20]), values, rate_hz=1e8)

    found = at_steps("velocity", part, np.array([0, 5, 20]))

    assert found[0, 0] == np.float32(1.1)
    assert np.isnan(found[1, 0])
    assert found[2, 0] == np.float32(3.3)


def test_quaternions_turn_the_shorter_way_and_have_length_one() -> None:
    # a quarter turn about z, told once with either sign
    half = np.sqrt(0.5)
    poses = np.array([[0, 0, 0, 0, 0, 0, 1.0], [2, 0, 0, 0, 0, -half, -half]])
    names = ("x", "y", "z", "qx", "qy", "qz", "qw")
    part = stream(np.array([0, 100]), poses, names, "1", rate_hz=1e7)

    found = at_steps("pose.wrist", part, np.array([0, 50, 100]))

    eighth = np.pi / 8
    np.testing.assert_allclose(found[1], [1, 0, 0, 0, 0, np.sin(eighth), np.cos(eighth)])
    np.testing.assert_array_equal(found[2], poses[1])  # a sample is not touched


def test_whole_numbers_are_never_mixed() -> None:
    part = stream(np.array([0, 100]), np.array([[1], [4]], np.uint8), rate_hz=1e7)

    assert at_steps("mode", part, np.array([0, 99, 100])).ravel().tolist() == [1, 1, 4]


def test_force_and_touch_come_as_windows_that_leave_no_sample_out() -> None:
    time_ns = clock(50.0, 2.0)
    count = np.arange(100, dtype=np.float64)[:, None] * [1, 10]
    streams = joints() | {"wrench.x": stream(time_ns, count, ("f", "t"), "N", rate_hz=50.0)}

    only = table(episode("force", streams))

    window = only.columns["observation.wrench.x"]
    assert window.shape == (20, 6, 2)  # 5 samples a step, and one for jitter
    assert window.dtype == np.float32
    assert window[2, :, 0].tolist() == [5, 6, 7, 8, 9, 10]
    assert window[0, :, 1].tolist() == [0] * 6
    [loss] = [loss for loss in only.losses if loss.stream == "wrench.x"]
    assert (loss.how, loss.lost) == ("window of 6", 0)


def test_a_window_holds_what_really_came_where_more_was_sent_than_declared() -> None:
    info = stream(np.array([0]), np.zeros((1, 1)), rate_hz=100.0).info
    summary = StreamSummary(info=info, shape=(501, 1), dtype="float64", start_ns=0, end_ns=SECOND)

    assert window_of(summary, 0.1) == 51


def test_a_window_is_as_long_as_the_longest_step_needs() -> None:
    late = camera()
    late.time_ns = late.time_ns + np.where(np.arange(20) % 2, 0, 30 * MS)  # steps of 70 and 130 ms
    time_ns = clock(100.0, 2.0)
    force = stream(time_ns, np.arange(200.0)[:, None], units="N", rate_hz=100.0)

    only = table(episode("late", joints() | {"wrench.x": force}, {"egocentric": late}))

    assert only.columns["observation.wrench.x"].shape[1:] == (14, 1)
    [loss] = [loss for loss in only.losses if loss.stream == "wrench.x"]
    assert loss.lost == 0


def test_images_are_the_steps_of_a_camera_that_keeps_the_rate() -> None:
    jitter = np.random.default_rng(0).integers(-20, 20, 20) * MS
    uneven = camera()
    uneven.time_ns = uneven.time_ns + 40 * MS + jitter

    only = table(episode("jitter", cameras={"egocentric": uneven}))

    inside = uneven.time_ns[uneven.time_ns <= 1990 * MS]
    assert only.moments.tolist() == inside.tolist()
    assert only.images["egocentric"].tolist() == list(range(len(inside)))
    [clock_loss] = [loss for loss in only.losses if loss.stream == "time of the steps"]
    off = (inside - inside[0]) / SECOND - np.arange(len(inside)) / 10
    assert clock_loss.worst == pytest.approx(np.abs(off).max())


def test_a_camera_of_another_rate_shows_its_latest_image() -> None:
    cameras = {"egocentric": camera(10.0), "wrist": camera(25.0)}

    only = table(episode("two rates", cameras=cameras))

    assert only.images["egocentric"].tolist() == list(range(20))
    assert only.images["wrist"].tolist()[:5] == [0, 2, 5, 7, 10]
    [loss] = [loss for loss in only.losses if loss.stream == "image.wrist"]
    assert loss.how == "latest image"
    assert loss.worst == pytest.approx(0.02)  # at 0.1 s the image of 0.08 s
    assert loss.lost == 48 - 20


def test_parts_that_may_be_trained_on_are_tables_of_their_own() -> None:
    cut = Span(start_ns=500 * MS, end_ns=800 * MS, value="exclude")
    short = Span(start_ns=1850 * MS, end_ns=1860 * MS, value="negative")
    one = episode(
        "cut", labels=[label("use", spans=[cut, short]), label("outcome", value="success")]
    )
    found = surveyed(one)
    assert found.schema is not None

    first, last = tables_of(one, found.schema)

    assert first.moments.tolist() == [n * 100 * MS for n in range(5)]
    assert last.moments.tolist() == [n * 100 * MS for n in range(9, 19)]
    assert "cut out: 2 parts are episodes, 1 are shorter than two steps" in first.notes[0]
    assert first.columns["next.done"].ravel().tolist() == [False] * 4 + [True]
    # the outcome was seen at the end, which is in neither part
    assert not first.columns["next.success"].any()
    assert not last.columns["next.success"].any()


def test_labels_hold_at_the_steps_that_they_span() -> None:
    phases = [
        Span(start_ns=0, end_ns=SECOND, value="reach"),
        Span(start_ns=SECOND, end_ns=1500 * MS, value="grasp"),
        Span(start_ns=200 * MS, end_ns=400 * MS, tier="left_hand", value="my own word"),
    ]
    held = [Span(start_ns=SECOND, end_ns=2 * SECOND, tier="left_hand", value="dropped")]
    labels = [
        label("phases", spans=phases),
        label("grasps", spans=held),
        label("outcome", value="failure"),
    ]
    one = episode("labelled", labels=labels)
    found = surveyed(one)
    assert found.schema is not None

    [only] = tables_of(one, found.schema)

    words = found.schema.column("annotation.phase.task").words
    task = [words[n] if n >= 0 else "" for n in only.columns["annotation.phase.task"].ravel()]
    assert task == ["reach"] * 10 + ["grasp"] * 6 + [""] * 4
    own = found.schema.column("annotation.phase.left_hand")
    assert own.words[-1] == "my own word"
    left = only.columns["annotation.phase.left_hand"].ravel().tolist()
    assert left == [-1, -1] + [len(own.words) - 1] * 3 + [-1] * 15
    grasp = only.columns["annotation.grasp.left_hand"].ravel().tolist()
    assert grasp == [-1] * 10 + [1] * 10
    assert set(only.columns["annotation.outcome"].ravel()) == {2}
    assert not only.columns["next.success"].any()


def test_success_is_said_where_it_happened() -> None:
    only = table(episode("success", labels=[label("outcome", value="success")]))

    assert only.columns["next.success"].ravel().tolist() == [False] * 19 + [True]


def test_success_is_not_said_where_one_outcome_is_unknown() -> None:
    known = episode("known", labels=[label("outcome", value="success")])
    unknown = episode("unknown")

    found = surveyed(known, unknown)

    assert found.schema is not None
    names = [column.name for column in found.schema.columns]
    assert "next.success" not in names
    [first] = tables_of(unknown, found.schema)
    assert set(first.columns["annotation.outcome"].ravel()) == {-1}


def test_numbers_beyond_float32_and_turns_of_length_zero_stay_and_are_counted() -> None:
    time_ns = clock(100.0, 2.0)
    wild = np.full((200, 2), 1e300)
    wild[100:, 1] = np.inf
    lost = np.zeros((200, 7))
    names = ("x", "y", "z", "qx", "qy", "qz", "qw")
    streams = {
        "joint_position": stream(time_ns, wild, ("a", "b"), rate_hz=100.0),
        "teleop.right_wrist": stream(time_ns, lost, names, "1", rate_hz=100.0),
    }

    only = table(episode("wild", streams), action="rotation_6d")

    assert np.isinf(only.columns["observation.state"]).all()
    assert any("observation.state has 40 values that are no numbers" in n for n in only.notes)
    assert any("action has 120 values that are no numbers" in n for n in only.notes)


def test_more_steps_than_anyone_means_are_refused() -> None:
    one = episode("short")
    found = surveyed(one, rate_hz=1e7)
    assert found.schema is not None

    with pytest.raises(NoTable, match="more than 5000000 steps") as caught:
        tables_of(one, found.schema)

    assert "--rate" in caught.value.hint


def test_nan_is_counted_in_a_note() -> None:
    only = table(example("nan_wrench"))

    assert any("wrench.right_wrist has" in note and "no numbers" in note for note in only.notes)


def test_losses_of_parts_add_up() -> None:
    first = Loss("s", "linear", "m", 3, 0.5, 0.1, 1)
    second = Loss("s", "linear", "m", 1, 0.2, 0.2, 2)

    [both] = merged([first, second])

    assert (both.samples, both.worst, both.lost) == (4, 0.5, 3)
    assert both.rms == pytest.approx(np.sqrt((3 * 0.1**2 + 0.2**2) / 4))


def test_equal_parts_side_by_side_are_one_span() -> None:
    assert spans_of(["a", "a", "b", "a"]) == {"a": (0, 2), "b": (2, 3), "a_2": (3, 4)}
