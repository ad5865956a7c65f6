"""Whatever a recording holds, checks, metrics and proposals answer instead of crashing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from demos.checks import run
from demos.metrics import measure
from demos.model import Episode, Stream
from demos.proposals import propose
from tests.scripted import clock, episode_of, stream

NAMES = (
    "joint_position",
    "joint_command",
    "pose.left_wrist",
    "pose.right_wrist",
    "pose.object.cup",
    "wrench.right_wrist",
    "tactile.right_hand",
    "teleop.right_hand",
    "gripper.left_hand",
    "control_authority",
    "image_like",
)
WIDTH = {"pose": 7, "wrench": 6, "teleop": 1}
FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@st.composite
def stamps(draw: st.DrawFn, count: int) -> npt.NDArray[np.int64]:
    regular = clock(draw(st.sampled_from([5.0, 30.0, 200.0, 1000.0])), 60.0)[:count]
    match draw(st.sampled_from(["regular", "jumbled", "equal", "anything"])):
        case "regular":
            return regular
        case "jumbled":
            return np.random.default_rng(draw(st.integers(0, 99))).permutation(regular)
        case "equal":
            return np.zeros(len(regular), np.int64)
    whole = st.integers(-(2**40), 2**40)
    return draw(arrays.arrays(np.int64, len(regular), elements=whole))


@st.composite
def streams(draw: st.DrawFn, name: str) -> Stream:
    count = draw(st.sampled_from([0, 1, 2, 3, 17, 60, 300]))
    width = draw(st.integers(0, 8))
    if draw(st.booleans()):
        width = WIDTH.get(name.split(".")[0], width)
    kind = draw(st.sampled_from([np.float32, np.float64, np.uint8, np.uint16]))
    time_ns = draw(stamps(count))
    if np.issubdtype(kind, np.floating) and len(time_ns) <= 17:
        values = draw(arrays.arrays(np.float32, (len(time_ns), width), elements=FLOATS))
    else:
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        values = np.cumsum(rng.normal(size=(len(time_ns), width)), axis=0)
        values = np.abs(values) if not np.issubdtype(kind, np.floating) else values
    side = "right_hand_" if "right" in name else "left_arm_"
    return stream(
        time_ns,
        values.astype(kind),
        units="rad",
        channels=[f"{side}{i}" for i in range(width)],
        rate_hz=draw(st.sampled_from([None, 30.0, 500.0])),
    )


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
    body = draw(st.sampled_from(["bench_hands", "unitree_g1_inspire"]))
    return episode_of("odd", {name: draw(streams(name)) for name in names}, embodiment=body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(episodes())
def test_every_plug_in_answers_on_any_recording(episode: Episode) -> None:
    with np.errstate(all="ignore"):
        findings, scores, labels = run(episode), measure(episode), propose(episode)

    assert [f.message for f in findings if " failed: " in f.message] == []
    assert [s.reason for s in scores if s.reason.startswith("failed")] == []
    assert [x.note for x in labels if x.note.startswith("failed")] == []
