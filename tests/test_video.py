"""Images come out of a video one by one exactly as PyAV decodes them from the start."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demos.errors import (
    Damaged,
    DemosError,
    RecordingFailed,
    SchemaMismatch,
    StoreError,
    UnknownName,
)
from demos.model import CameraInfo
from demos.store.decoding import Decoder, Decoders
from demos.store.packets import PacketIndex, index_file
from demos.store.video import Encoder, Packet, VideoCamera, mux

Images = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 96, 64
X264 = "keyint=8:min-keyint=8:scenecut=0"
SETTINGS = {
    "h264 closed, no B": ("libx264", {"x264-params": f"{X264}:bframes=0"}),
    "h264 B pyramid": ("libx264", {"x264-params": f"{X264}:bframes=3:b-pyramid=normal"}),
    "h264 open GOP": ("libx264", {"x264-params": f"{X264}:bframes=3:open-gop=1"}),
    "h264 one GOP": ("libx264", {"x264-params": "keyint=250:bframes=2"}),
    "h264 rolling refresh": ("libx264", {"x264-params": "keyint=10:intra-refresh=1:bframes=0"}),
    "hevc open GOP": ("libx265", {"x265-params": "keyint=8:bframes=3:open-gop=1:log-level=none"}),
    "av1 in pairs": ("libsvtav1", {"preset": "10", "svtav1-params": "keyint=2"}),
    "av1 hierarchy": ("libsvtav1", {"preset": "10", "svtav1-params": "keyint=16"}),
    "mpeg4": ("mpeg4", {"g": "6", "bf": "2"}),
}


def moving_texture(count: int, width: int = WIDTH, height: int = HEIGHT) -> list[Images]:
    random = np.random.default_rng(7)
    cells = random.integers(0, 255, (height // 8 + 12, width // 8 + 12, 3), dtype=np.uint8)
    texture = np.kron(cells, np.ones((8, 8, 1), np.uint8))
    return [texture[i : i + height, 2 * i : 2 * i + width].copy() for i in range(count)]


def write_video(
    path: Path, codec: str, options: dict[str, str], count: int = 30, start: int = 0
) -> Path:
    format_options = {"movflags": "faststart"} if path.stem.endswith("fast") else {}
    with av.open(str(path), "w", options=format_options) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(30), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in moving_texture(start + count)[start:]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def sequential(path: Path) -> list[Images]:
    with av.open(str(path)) as container:
        return [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]


def camera(path: Path, index: PacketIndex | None = None) -> VideoCamera:
    index = index or index_file(path)
    return VideoCamera(path, CameraInfo(width=index.width, height=index.height), index)


def recorded(path: Path, count: int = 24) -> tuple[PacketIndex, npt.NDArray[np.int64]]:
    encoder = Encoder(WIDTH, HEIGHT, 30.0)
    packets = [p for image in moving_texture(count) for p in encoder.encode(image)]
    packets += encoder.flush()
    jitter = np.random.default_rng(3).integers(0, 9_000_000, count)
    time_ns = (np.arange(count) * 33_333_333 + 500_000_000 + jitter).astype(np.int64)
    return mux(path, packets, time_ns, extradata=encoder.extradata), time_ns


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "camera.mp4"
    recorded(path)
    return path


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("place", ["end", "fast"])
def test_every_image_equals_the_sequential_decode(setting: str, place: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"{place}.mp4", *SETTINGS[setting])
    expected = sequential(path)
    opened = camera(path)
    shuffled = np.random.default_rng(0).permutation(len(expected)).tolist()

    one_by_one = [opened.images([i])[0] for i in shuffled]
    together = opened.images(shuffled)

    assert len(opened) == len(expected) == 30
    for i, alone, among in zip(shuffled, one_by_one, together, strict=True):
        assert np.array_equal(alone, expected[i]), i
        assert np.array_equal(among, expected[i]), i


def test_leading_images_of_an_open_group_are_decoded_from_the_group_before(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "open.mp4", *SETTINGS["h264 open GOP"])
    index = index_file(path)
    keys = np.flatnonzero(index.key)
    leading = [
        i
        for i, p in enumerate(index.order)
        if any(p > k and index.pts[p] < index.pts[k] for k in keys)
    ]

    images = camera(path, index).images(leading)

    assert leading, "this setting is here because it makes leading images"
    for image, i in zip(images, leading, strict=True):
        assert np.array_equal(image, sequential(path)[i])


def test_a_cut_video_with_an_edit_list_shows_what_a_player_shows(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", *SETTINGS["h264 closed, no B"])
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size and number >= 8:
                step = packet.duration
                assert packet.pts is not None
                packet.pts -= 11 * step
                packet.dts = packet.pts
                packet.stream = stream
                target.mux(packet)

    opened, expected = camera(cut), sequential(cut)

    assert len(opened) == len(expected)
    images = opened.images(range(len(expected)))
    assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))


def test_a_recorded_video_plays_and_keeps_its_stamps(tmp_path: Path) -> None:
    index, time_ns = recorded(tmp_path / "camera.mp4")

    with av.open(str(tmp_path / "camera.mp4")) as container:
        stamps = [float(image.pts * image.time_base) for image in container.decode(video=0)]

    assert np.array_equal(index.time_ns, time_ns)
    assert np.allclose(stamps, (time_ns - time_ns[0]) / 1e9, atol=1e-6)
    assert index.key.tolist() == [i % 10 == 0 for i in range(24)]
    assert b"moov" in (tmp_path / "camera.mp4").read_bytes()[:64]


def test_recorded_images_look_like_what_was_given(video: Path) -> None:
    given_images = moving_texture(24)

    images = camera(video).images([0, 13, 23])

    for image, i in zip(images, [0, 13, 23], strict=True):
        error = (image.astype(float) - given_images[i]).std()
        assert error < 25


def test_an_existing_video_is_never_overwritten(video: Path) -> None:
    before = video.read_bytes()

    with pytest.raises(StoreError, match="never overwritten"):
        recorded(video)

    assert video.read_bytes() == before


def test_one_image_makes_a_video(tmp_path: Path) -> None:
    index, time_ns = recorded(tmp_path / "camera.mp4", 1)

    assert np.array_equal(index.time_ns, time_ns)
    assert camera(tmp_path / "camera.mp4", index).images([0]).shape == (1, HEIGHT, WIDTH, 3)


def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "import test_video\n"
        "from demos.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: test_video.recorded(Path(sys.argv[1]))\n"
        "except StoreError as error: print('StoreError', error.hint)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "camera.mp4"), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.startswith("StoreError check free space")


def test_stamps_that_jump_back_are_kept_and_the_file_still_plays(tmp_path: Path) -> None:
    encoder = Encoder(WIDTH, HEIGHT, 30.0)
    packets = [p for image in moving_texture(6) for p in encoder.encode(image)]
    time_ns = np.array([0, 33, 66, 40, 41, 200], np.int64) * 1_000_000

    index = mux(tmp_path / "camera.mp4", packets, time_ns, extradata=encoder.extradata)

    assert np.array_equal(index.time_ns, time_ns)
    assert len(sequential(tmp_path / "camera.mp4")) == 6


@pytest.mark.parametrize(
    ("codec", "setting"), [("h264", "h264 B pyramid"), ("av1", "av1 in pairs")]
)
def test_packets_that_come_encoded_are_copied(codec: str, setting: str, tmp_path: Path) -> None:
    name, options = SETTINGS[setting]
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.options = Fraction(1, 30), options
    packets = []
    for number, image in enumerate([*moving_texture(20), None]):
        fed = None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24")
        if fed is not None:
            fed.pts = number
        packets += [Packet(bytes(p), p.pts, p.dts, p.is_keyframe) for p in context.encode(fed)]
    time_ns = np.arange(20, dtype=np.int64) * 33_333_333

    index = mux(tmp_path / "camera.mp4", packets, time_ns, codec=codec, size=(WIDTH, HEIGHT))

    expected = sequential(tmp_path / "camera.mp4")
    images = camera(tmp_path / "camera.mp4", index).images(range(20))
    assert index.codec == codec
    assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))


def test_a_camera_that_changes_size_is_refused_with_both_sizes() -> None:
    encoder = Encoder(WIDTH, HEIGHT, 30.0)
    encoder.encode(moving_texture(1)[0])

    with pytest.raises(RecordingFailed, match=r"from 96x64 to 128x80") as caught:
        encoder.encode(moving_texture(1, 128, 80)[0])

    assert caught.value.hint


def test_packets_that_change_size_are_refused_with_both_sizes(tmp_path: Path) -> None:
    packets = []
    for number, (width, height) in enumerate([(96, 64), (128, 80)]):
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.options = Fraction(1, 30), {"tune": "zerolatency"}
        image = av.VideoFrame.from_ndarray(moving_texture(1, width, height)[0], format="rgb24")
        packets += [Packet(bytes(p), number, number, key=True) for p in context.encode(image)]

    with pytest.raises(RecordingFailed, match=r"changed size at image 1.*128x80.*96x64"):
        mux(tmp_path / "camera.mp4", packets, np.array([0, 33_000_000]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image.astype(np.float32), "float32"),
        (lambda image: image[..., 0], r"\(64, 96\)"),
        (lambda image: image[:32], "from 96x64 to 96x32"),
    ],
)
def test_an_image_of_another_kind_is_refused_in_words(change: Any, words: str) -> None:
    with pytest.raises(RecordingFailed, match=words):
        Encoder(WIDTH, HEIGHT, 30.0).encode(change(moving_texture(1)[0]))


def test_odd_sizes_are_refused_before_the_first_image() -> None:
    with pytest.raises(RecordingFailed, match="641x480"):
        Encoder(641, 480, 30.0)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate_hz: float) -> None:
    with pytest.raises(RecordingFailed, match="images a second"):
        Encoder(WIDTH, HEIGHT, rate_hz)


@pytest.mark.parametrize("rate_hz", [0.0001, 29.97, 1000.0])
def test_any_rate_can_be_encoded(rate_hz: float) -> None:
    assert len(Encoder(WIDTH, HEIGHT, rate_hz).encode(moving_texture(1)[0])) == 1


def test_packets_of_nothing_known_are_refused(tmp_path: Path) -> None:
    noise = [Packet(bytes(range(256)), 0, 0, key=True)]

    with pytest.raises(RecordingFailed, match="not h264") as caught:
        mux(tmp_path / "camera.mp4", noise, np.array([0]))

    assert "Annex B" in caught.value.hint


def test_an_image_outside_is_an_error_that_says_how_many_there_are(video: Path) -> None:
    with pytest.raises(UnknownName, match="no image 24") as caught:
        camera(video).images([3, 24])

    assert "24 images" in caught.value.hint


def test_no_images_asked_give_an_empty_array(video: Path) -> None:
    assert camera(video).images([]).shape == (0, HEIGHT, WIDTH, 3)


def test_the_same_image_twice_is_given_twice(video: Path) -> None:
    images = camera(video).images([5, 2, 5])

    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


def test_a_span_of_a_longer_video_shows_only_its_own_images(video: Path) -> None:
    index = index_file(video).stamped(np.arange(5) * 1000, np.arange(13, 18))

    images = camera(video, index).images(range(5))

    expected = sequential(video)[13:18]
    assert all(np.array_equal(a, b) for a, b in zip(images, expected, strict=True))


def test_stamps_must_be_one_to_one_with_images(video: Path) -> None:
    with pytest.raises(SchemaMismatch, match="24 images for 23 stamps"):
        index_file(video).stamped(np.arange(23))


def _mean_in_child(opened: VideoCamera) -> float:
    return float(opened.images([17]).mean())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_used_camera_works_in_another_process(method: str, video: Path) -> None:
    opened = camera(video)
    expected = float(opened.images([17]).mean())

    with multiprocessing.get_context(method).Pool(1) as pool:
        answer = pool.apply_async(_mean_in_child, (opened,)).get(60)

    assert answer == expected
    assert pickle.loads(pickle.dumps(opened)).images([17]).mean() == expected


def test_threads_take_turns_at_one_decoder(video: Path) -> None:
    opened, expected = camera(video), sequential(video)

    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda i: opened.images([i])[0], list(range(24)) * 4))

    assert all(np.array_equal(a, b) for a, b in zip(images, expected * 4, strict=True))


def test_cameras_that_share_decoders_do_not_mix_their_images(tmp_path: Path) -> None:
    closed, pyramid = SETTINGS["h264 closed, no B"], SETTINGS["h264 B pyramid"]
    paths = [
        write_video(tmp_path / "one.mp4", *closed),
        write_video(tmp_path / "alike.mp4", *closed, start=10),
        write_video(tmp_path / "other.mp4", *pyramid, start=5),
    ]
    expected = [sequential(path) for path in paths]
    shared, info = Decoders(1), CameraInfo(width=WIDTH, height=HEIGHT)
    cameras = [VideoCamera(path, info, index_file(path), shared) for path in paths]

    for n, image in np.random.default_rng(2).integers(0, (3, 30), (60, 2)).tolist():
        assert np.array_equal(cameras[n].images([image])[0], expected[n][image])


def test_images_in_order_are_decoded_once_each(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = Decoder.feed

    def counted(self: Decoder, number: int, data: bytes, pts: int, *, key: bool) -> list[Any]:
        fed.append(number)
        return feed(self, number, data, pts, key=key)

    monkeypatch.setattr(Decoder, "feed", counted)
    opened = camera(video)

    images = [opened.images([i])[0] for i in range(24)]

    assert fed == list(range(24))
    assert all(np.array_equal(a, b) for a, b in zip(images, sequential(video), strict=True))


def test_every_flipped_bit_in_an_image_is_damage_never_a_picture(
    video: Path, tmp_path: Path
) -> None:
    index, bytes_ = index_file(video), bytearray(video.read_bytes())
    random = np.random.default_rng(1)
    hurt = tmp_path / "hurt.mp4"

    for packet in random.integers(0, 24, 20).tolist():
        place = int(index.position[packet]) + int(random.integers(0, index.size[packet]))
        broken = bytearray(bytes_)
        broken[place] ^= 1 << int(random.integers(0, 8))
        hurt.write_bytes(broken)
        shown = int(np.flatnonzero(index.order == packet)[0])

        with pytest.raises(Damaged, match=f"packet {packet} at byte") as caught:
            camera(hurt, index).images([shown])

        assert caught.value.hint
        assert camera(hurt, index).problems()


def test_a_sound_video_has_no_problems(video: Path) -> None:
    assert camera(video).problems() == []


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_video_that_breaks_off_is_damage(share: float, video: Path, tmp_path: Path) -> None:
    index, whole = index_file(video), video.read_bytes()
    short = tmp_path / "short.mp4"
    short.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(Damaged):
        index_file(short)
    with pytest.raises(Damaged):
        camera(short, index).images([23])


def test_a_video_that_is_gone_is_damage(video: Path, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="missing"):
        camera(tmp_path / "gone.mp4", index_file(video)).images([0])


def test_a_decoder_recovers_after_damage(video: Path, tmp_path: Path) -> None:
    index, path = index_file(video), tmp_path / "camera.mp4"
    path.write_bytes(video.read_bytes())
    wrong = index.crc32c.copy()
    wrong[3] ^= 1
    opened = camera(path, replace(index, crc32c=wrong))

    with pytest.raises(Damaged):
        opened.images([3])

    assert np.array_equal(opened.images([12])[0], sequential(video)[12])


def test_a_file_without_video_is_damage(tmp_path: Path) -> None:
    (tmp_path / "pointer.mp4").write_text("version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(Damaged, match=r"pointer\.mp4") as caught:
        index_file(tmp_path / "pointer.mp4")

    assert caught.value.hint


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_bytes_on_earth_cause_anything_but_our_error(
    data: st.DataObject, video: Path, tmp_path: Path
) -> None:
    whole = video.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.binary(max_size=80))
    path = tmp_path / "noise.mp4"
    path.write_bytes(whole[:start] + noise + whole[start + len(noise) :])

    with contextlib.suppress(DemosError):
        camera(path).images([0, 11])
