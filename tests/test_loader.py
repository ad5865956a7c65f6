"""Windows say what a slow and obvious reading of the streams says, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example as worked
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.errors import UnknownName
from demos.loader import Choices, LoadFailed, Source, Windows
from demos.model import CameraInfo, Episode, Label, Span, Stream
from demos.provenance import new_label
from demos.store import EpisodeStore
from demos.store.video import Encoder, VideoCamera, mux
from tests import loader_reference as slowly
from tests.scripted import episode_of, stream, ulid_of

WIDTH, HEIGHT, IMAGES = 32, 48, 24
MS = 1_000_000


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> VideoCamera:
    path = tmp_path_factory.mktemp("videos") / "camera.mp4"
    encoder, packets = Encoder(WIDTH, HEIGHT, 30.0), []
    for number in range(IMAGES):
        image = np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8)
        image[number : number + 8] = (200, 30, 90)
        packets += encoder.encode(image)
    stamps = np.arange(IMAGES, dtype=np.int64)
    index = mux(path, packets + encoder.flush(), stamps, extradata=encoder.extradata)
    return VideoCamera(path, CameraInfo(width=WIDTH, height=HEIGHT, rate_hz=30.0), index)


@pytest.fixture(scope="module")
def pixels(video: VideoCamera) -> npt.NDArray[np.uint8]:
    with av.open(str(video.path)) as container:
        return np.array([i.to_ndarray(format="rgb24") for i in container.decode(video=0)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def camera_at(video: VideoCamera, stamps: Sequence[int]) -> VideoCamera:
    index = video.index.stamped(np.array(stamps, np.int64), np.arange(len(stamps)))
    return VideoCamera(video.path, video.info, index)


def load(
    root: Path, episodes: Mapping[str, Episode], **choices: Any
) -> tuple[Windows, slowly.InMemory]:
    for episode in episodes.values():
        episode.root = root
    store = slowly.InMemory(root, {each.id: each for each in episodes.values()})
    return Windows(cast(EpisodeStore, store), store.sources(), Choices(**choices)), store


def numbers(
    stamps: Sequence[int], width: int = 2, dtype: str = "float32", rate_hz: float | None = 100.0
) -> Stream:
    values = np.arange(len(stamps) * width).reshape(-1, width).astype(dtype)
    return stream(np.array(stamps, np.int64), values, units="rad", rate_hz=rate_hz)


def use(episode: str, *spans: tuple[int, int, str]) -> Label:
    marked = [Span(start_ns=a, end_ns=b, value=value) for a, b, value in spans]
    return new_label(ulid_of(episode), "use", annotator="a", role="reviewer", spans=marked)


STAMPS = st.lists(st.integers(0, 400), min_size=1, max_size=40).map(lambda s: [x * MS for x in s])
RATE = st.sampled_from([7.5, 10.0, 30.0, 100.0, 333.3])
OFFSETS = st.lists(st.integers(-20, 20), min_size=1, max_size=4)
SPANS = st.lists(
    st.tuples(
        st.integers(-10, 400),
        st.integers(0, 150),
        st.sampled_from(["exclude", "negative", "train"]),
    ),
    max_size=3,
).map(lambda spans: [(a * MS, (a + n) * MS, value) for a, n, value in spans])


@settings(max_examples=150)
@given(
    states=STAMPS,
    commands=STAMPS,
    images=st.lists(st.integers(0, 400), min_size=1, max_size=IMAGES),
    rates=st.tuples(st.sampled_from([None, 50.0]), st.sampled_from([None, 100.0])),
    dtypes=st.tuples(st.sampled_from(["float64", "int16"]), st.sampled_from(["float32", "bool"])),
    offsets=st.tuples(OFFSETS, OFFSETS, OFFSETS),
    rate_hz=RATE,
    spans=SPANS,
    max_age_s=st.sampled_from([None, 0.004, 0.06]),
    data=st.data(),
)
@worked(
    states=[0, 10 * MS, 5 * MS, 5 * MS, 300 * MS],
    commands=[100 * MS],
    images=[0, 200, 90],
    rates=(None, None),
    dtypes=("float64", "bool"),
    offsets=([-1, 0], [0, 3], [-2, 0]),
    rate_hz=30.0,
    spans=[(40 * MS, 60 * MS, "exclude")],
    max_age_s=None,
    data=None,
)
def test_windows_are_what_a_slow_reading_says(
    states: list[int],
    commands: list[int],
    images: list[int],
    rates: tuple[float | None, float | None],
    dtypes: tuple[str, str],
    offsets: tuple[list[int], list[int], list[int]],
    rate_hz: float,
    spans: list[tuple[int, int, str]],
    max_age_s: float | None,
    data: st.DataObject | None,
    video: VideoCamera,
    pixels: npt.NDArray[np.uint8],
    folder: Path,
) -> None:
    streams = {
        "joint_position": numbers(states, 2, dtypes[0], rates[0]),
        "joint_command": numbers(commands, 1, dtypes[1], rates[1]),
    }
    cameras = {"egocentric": camera_at(video, [n * MS for n in images])}
    labels = [use("random", *spans)] if spans else []
    episode = episode_of("random", streams, cameras, labels=labels)
    names = ["joint_position", "joint_command", "image.egocentric"]
    wanted = dict(zip(names, offsets, strict=True))
    expected = slowly.windows(episode, wanted, rate_hz, max_age_s)
    asked: dict[str, Any] = {
        "rate_hz": rate_hz,
        "observe": {name: wanted[name] for name in names[::2]},
        "act": {"joint_command": wanted["joint_command"]},
        "max_age_s": max_age_s,
    }
    # the cache's key is of the manifest's hash, which is the same for all of these
    root = folder / str(abs(hash((*states, *commands, *images, *spans, str(asked), rates, dtypes))))

    if not expected:
        with pytest.raises(LoadFailed, match="none of 1 episodes"):
            load(root, {"random": episode}, **asked)
        return
    found, _ = load(root, {"random": episode}, **asked)

    assert len(found) == len(expected)
    order = list(range(len(expected)))
    chosen = data.draw(st.lists(st.sampled_from(order), max_size=6)) if data else order
    together = found[chosen] if chosen else {}
    for row, index in enumerate(chosen):
        alone, truth = found[index], expected[index]
        for name in names:
            value = pixels[truth[name]] if name.startswith("image.") else truth[name]
            kept = value.astype(np.float32) if value.dtype.kind == "f" else value
            for window in (alone, {key: of[row] for key, of in together.items()}):
                assert window[name].dtype == kept.dtype
                assert np.array_equal(window[name], kept)
                assert window[f"{name}.is_pad"].tolist() == truth[f"{name}.is_pad"]
        assert alone["time_ns"] == together["time_ns"][row] == truth["time_ns"]
        assert alone["episode"] == together["episode"][row] == episode.id


def test_two_streams_by_hand(tmp_path: Path) -> None:
    state = numbers([0, 40 * MS, 80 * MS, 120 * MS, 160 * MS, 200 * MS], 1, rate_hz=25.0)
    command = numbers([60 * MS, 110 * MS, 160 * MS, 210 * MS], 1, rate_hz=20.0)
    episode = episode_of("hand", {"joint_position": state, "joint_command": command})

    found, _ = load(
        tmp_path,
        {"hand": episode},
        rate_hz=20.0,
        observe={"joint_position": [-1, 0]},
        act={"joint_command": range(3)},
    )

    # both speak from 60 to 200 ms: steps at 60, 110 and 160 ms
    assert [w["time_ns"] for w in found] == [60 * MS, 110 * MS, 160 * MS]
    assert [w["joint_position"][:, 0].tolist() for w in found] == [[1, 1], [1, 2], [2, 4]]
    assert [w["joint_position.is_pad"].tolist() for w in found] == [[True, False]] + [
        [False, False]
    ] * 2
    assert found[1]["joint_command"][:, 0].tolist() == [1, 2, 2]
    assert found[1]["joint_command.is_pad"].tolist() == [False, False, True]


@pytest.mark.parametrize(("max_age_s", "first"), [(None, 35), (0.05, 36), (0.0499, 35)])
def test_a_hole_longer_than_three_periods_is_masked_and_holds_its_last_value(
    max_age_s: float | None, first: int, tmp_path: Path
) -> None:
    stamps = [10 * MS * n for n in range(101) if not 30 < n < 60]
    holey = numbers(stamps, 1)
    whole = numbers([10 * MS * n for n in range(101)], 1)
    episode = episode_of("hole", {"wrench.left_wrist": holey, "joint_position": whole})

    found, _ = load(
        tmp_path,
        {"hole": episode},
        rate_hz=100.0,
        observe={"wrench.left_wrist": [0], "joint_position": [0]},
        max_age_s=max_age_s,
    )
    batch = found[range(len(found))]

    # 72 samples in a second: 14.08 ms on average, so a sample counts for 42.25 ms
    assert np.flatnonzero(batch["wrench.left_wrist.is_pad"]).tolist() == list(range(first, 60))
    assert batch["wrench.left_wrist"][30:60, 0, 0].tolist() == [30.0] * 30
    assert not batch["joint_position.is_pad"].any()


def test_a_stream_sampled_at_changes_bounds_nothing_and_holds(tmp_path: Path) -> None:
    state = numbers([10 * MS * n for n in range(101)], 1)
    authority = stream(
        np.array([300 * MS, 400 * MS]), np.array([[1], [2]], np.uint8), units="1", channels=["who"]
    )
    episode = episode_of("changes", {"joint_position": state, "control_authority": authority})

    found, _ = load(
        tmp_path,
        {"changes": episode},
        rate_hz=10.0,
        observe={"joint_position": [0], "control_authority": [0]},
    )
    batch = found[range(len(found))]

    assert len(found) == 11
    assert batch["control_authority"].dtype == np.uint8
    assert batch["control_authority"].ravel().tolist() == [1] * 4 + [2] * 7
    assert batch["control_authority.is_pad"].ravel().tolist() == [True] * 3 + [False] * 8


def test_nothing_of_an_excluded_interval_is_at_any_step_of_a_window(tmp_path: Path) -> None:
    state = numbers([10 * MS * n for n in range(101)], 1)
    label = use("cut", (300 * MS, 500 * MS, "exclude"), (800 * MS, 2000 * MS, "negative"))
    episode = episode_of("cut", {"joint_position": state}, labels=[label])

    found, _ = load(
        tmp_path, {"cut": episode}, rate_hz=100.0, observe={"joint_position": range(-50, 50)}
    )
    steps = found[range(len(found))]
    real = steps["joint_position"][~steps["joint_position.is_pad"]].ravel()

    assert set(real) == set(range(30)) | set(range(50, 80))
    # the part after the cut begins 1 ns behind it and holds the sample from its very end
    assert steps["time_ns"][30] == 500 * MS + 1
    assert len(found) == 60


def test_whole_windows_lie_in_their_part(tmp_path: Path) -> None:
    state = numbers([10 * MS * n for n in range(21)], 1)
    episode = episode_of("whole", {"joint_position": state})
    asked: dict[str, Any] = {"rate_hz": 100.0, "observe": {"joint_position": [-2, 0, 3]}}

    found, _ = load(tmp_path, {"whole": episode}, anchors="whole", **asked)

    assert len(found) == 21 - 5
    assert not found[range(len(found))]["joint_position.is_pad"].any()
    assert found[0]["joint_position"][:, 0].tolist() == [0, 2, 5]
    with pytest.raises(LoadFailed, match="window of 31 steps"):
        load(
            tmp_path,
            {"whole": episode},
            rate_hz=100.0,
            anchors="whole",
            observe={"joint_position": [0, 30]},
        )


def test_a_stream_observed_and_acted_on_is_there_twice(tmp_path: Path) -> None:
    episode = episode_of("both", {"joint_position": numbers([0, 10 * MS, 20 * MS], 1)})

    found, _ = load(
        tmp_path,
        {"both": episode},
        rate_hz=100.0,
        observe={"joint_position": [0]},
        act={"joint_position": [1, 2]},
    )

    assert found[0]["joint_position"].ravel().tolist() == [0]
    assert found[0]["act.joint_position"].ravel().tolist() == [1, 2]
    assert found[1]["act.joint_position.is_pad"].tolist() == [False, True]


def test_indices_are_those_of_a_list(tmp_path: Path) -> None:
    episode = episode_of("list", {"joint_position": numbers([0, 10 * MS, 20 * MS], 1)})
    found, _ = load(tmp_path, {"list": episode}, rate_hz=100.0, observe={"joint_position": [0]})

    assert found[-1]["joint_position"] == found[2]["joint_position"] == 2
    assert found[np.array([2, -3])]["joint_position"].ravel().tolist() == [2, 0]
    assert [w["joint_position"].item() for w in found.__getitems__([1, 1, 0])] == [1, 1, 0]
    assert len(list(found)) == 3
    assert repr(found) == "<Windows 3 at 100 Hz of 1 episodes>"
    for wrong in (3, -4, [0, 3]):
        with pytest.raises(IndexError, match="3 windows"):
            found[wrong]
    for odd in (0.5, "0", [0.5]):
        with pytest.raises(TypeError):
            found[odd]


def test_episodes_without_what_is_asked_are_left_out_with_the_reason(tmp_path: Path) -> None:
    state = numbers([0, 10 * MS], 1)
    episodes = {
        "fine": episode_of("fine", {"joint_position": state, "joint_command": state}),
        "mute": episode_of("mute", {"joint_position": state}),
        "empty": episode_of("empty", {"joint_position": state, "joint_command": numbers([], 1)}),
        "never": episode_of(
            "never", {"joint_position": state, "joint_command": numbers([20 * MS, 30 * MS], 1)}
        ),
        "jump": episode_of(
            "jump",
            {name: numbers([0, 10**18], 1) for name in ("joint_position", "joint_command")},
        ),
    }

    found, _ = load(
        tmp_path,
        episodes,
        rate_hz=100.0,
        observe={"joint_position": [0]},
        act={"joint_command": [0]},
    )

    assert found.episodes == (ulid_of("fine"),)
    assert dict(found.left_out) == {
        ulid_of("mute"): "it has no joint_command",
        ulid_of("empty"): "its joint_command is empty",
        ulid_of("never"): "no moment at which all of them speak may be used",
        ulid_of("jump"): "its clocks span 11574 days",
    }
    assert "4 left out" in repr(found)


def test_episodes_that_mean_different_channels_are_refused(tmp_path: Path) -> None:
    one = stream(np.array([0]), np.zeros((1, 1)), units="rad", channels=["elbow"], rate_hz=10.0)
    other = stream(np.array([0]), np.zeros((1, 1)), units="deg", channels=["elbow"], rate_hz=10.0)
    episodes = {
        "a": episode_of("a", {"joint_position": one}),
        "b": episode_of("b", {"joint_position": other}),
    }

    with pytest.raises(LoadFailed, match=r"elbow \[(rad|deg)\]") as caught:
        load(tmp_path, episodes, rate_hz=10.0, observe={"joint_position": [0]})

    assert "one embodiment" in caught.value.hint


def test_episodes_of_different_precision_are_loaded_together(tmp_path: Path) -> None:
    episodes = {
        name: episode_of(name, {"count": numbers([0, 10 * MS], 1, dtype)})
        for name, dtype in (("a", "int16"), ("b", "uint8"))
    }

    found, _ = load(tmp_path, episodes, rate_hz=100.0, observe={"count": [0]})

    assert found[0]["count"].dtype == np.int16


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"rate_hz": 0.0}, LoadFailed, "no rate"),
        ({"rate_hz": math.nan}, LoadFailed, "no rate"),
        ({"observe": {}}, LoadFailed, "names a stream"),
        ({"observe": {"joint_position": []}}, LoadFailed, "lists no step"),
        ({"observe": {"joint_position": [0.5]}}, LoadFailed, "whole steps"),
        ({"observe": {"joint_positions": [0]}}, LoadFailed, "has no joint_positions"),
        ({"observe": {"image.wrist": [0]}}, LoadFailed, "has no image.wrist"),
        ({"max_age_s": 0.0}, LoadFailed, "at most 0.0 s old"),
        ({"anchors": "some"}, UnknownName, "some"),
        ({"format": "jax"}, UnknownName, "jax"),
        ({"split": "train"}, UnknownName, "train"),
        ({"normalise": {"joint_command": "mean_std"}}, UnknownName, "joint_command"),
        ({"normalise": {"joint_position": "unit"}}, UnknownName, "unit"),
        ({"weights": {"x": -1.0}}, LoadFailed, "weight -1.0"),
        ({"size": 223}, LoadFailed, "223 x 223"),
        ({"size": (8, 64)}, LoadFailed, "8 x 64"),
    ],
)
def test_what_means_nothing_is_refused_in_words(
    choices: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    episode = episode_of("fine", {"joint_position": numbers([0, 10 * MS], 1)})
    asked = {"rate_hz": 100.0, "observe": {"joint_position": [0]}, **choices}

    with pytest.raises(error, match=words) as caught:
        load(tmp_path, {"fine": episode}, **asked)

    assert getattr(caught.value, "hint", "")


def test_no_episode_is_refused(tmp_path: Path) -> None:
    store = cast(EpisodeStore, slowly.InMemory(tmp_path))
    choices = Choices(rate_hz=10.0, observe={"joint_position": [0]})
    sources: list[Source] = []

    with pytest.raises(LoadFailed, match="no episode is selected"):
        Windows(store, sources, choices)
