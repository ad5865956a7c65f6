"""Episodes leave as robomimic's HDF5: held against h5py, the store, and the importer."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

import demos
from demos import alignment
from demos.exporters import Choices, Chosen, ExportReport, LeftOut, Written
from demos.exporters.robomimic import Robomimic
from demos.formats.robomimic_example import MODEL, write
from demos.importers import import_source
from demos.library import Episode
from demos.model import Stream
from demos.provenance import new_label
from tests import export_store
from tests.lerobot_reading import rows_of

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    return export_store.make(tmp_path_factory.mktemp("made") / "lab")


@pytest.fixture(scope="module")
def report(lab: demos.Store, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return lab.select("").export(tmp_path_factory.mktemp("out") / "out.hdf5", to="robomimic")


@pytest.fixture
def file(report: ExportReport) -> Any:
    with h5py.File(report.target) as opened:
        yield opened


def demo_of(file: Any, written: Written, number: int = 0) -> Any:
    return file["data"][written.names[number]]


def whole(lab: demos.Store, report: ExportReport) -> tuple[Episode, Written]:
    """Return the episode that goes out in one piece."""
    [written] = [item for item in report.written if len(item.names) == 1]
    return lab[written.episode], written


def cut(lab: demos.Store, report: ExportReport) -> tuple[Episode, Written]:
    """Return the episode with an interval that is not to be trained on."""
    [written] = [item for item in report.written if len(item.names) == 2]
    return lab[written.episode], written


def test_steps_are_the_cameras_and_hold_the_latest_sample_of_each_stream(
    lab: demos.Store, report: ExportReport, file: Any
) -> None:
    episode, written = whole(lab, report)
    demo = demo_of(file, written)
    moments = episode.cameras["egocentric"].time_ns[: demo.attrs["num_samples"]]

    for name in ("wrench.right_wrist", "tactile.right_hand", "pose.right_wrist"):
        stream = episode.streams[name]
        latest = [int(np.flatnonzero(stream.time_ns <= moment)[-1]) for moment in moments]
        held = demo[f"obs/{name.replace('.', '_')}"]
        assert held.dtype == np.float32
        assert (held[:] == stream.values[latest]).all()
    command = episode.streams["joint_command"]
    latest = [int(np.flatnonzero(command.time_ns <= moment)[-1]) for moment in moments]
    assert (demo["actions"][:] == command.values[latest]).all()
    truth = np.stack(
        [
            np.interp(moments, episode.streams["joint_position"].time_ns, column)
            for column in episode.streams["joint_position"].values.T.astype(np.float64)
        ],
        axis=1,
    )
    assert demo["obs/joint_position"][:] == pytest.approx(truth, abs=1e-6)


def test_images_are_those_of_the_store_without_loss(
    lab: demos.Store, report: ExportReport, file: Any
) -> None:
    episode, written = whole(lab, report)
    held = demo_of(file, written)["obs/egocentric_image"]

    assert (held[:] == episode.images("egocentric", range(len(held)))).all()
    assert (held.dtype, held.compression, held.chunks) == (np.uint8, "gzip", (1, 48, 64, 3))


def test_names_of_observations_can_be_names_of_torch_modules(file: Any) -> None:
    keys = list(file["data/demo_0/obs"])

    assert "wrench_right_wrist" in keys
    assert not [key for key in keys if "." in key]


def test_what_is_not_to_be_trained_on_is_cut_out_into_demos_of_their_own(
    lab: demos.Store, report: ExportReport, file: Any
) -> None:
    episode, written = cut(lab, report)
    moments = episode.cameras["egocentric"].time_ns
    first, second = (demo_of(file, written, n) for n in range(2))

    assert first.attrs["end_ns"] == moments[moments < SECOND][-1]
    assert second.attrs["start_ns"] == moments[moments > round(1.3 * SECOND)][0]
    assert len(first["actions"]) == (moments < SECOND).sum() == first.attrs["num_samples"]
    assert "cut out" in written.notes[0]
    assert first["dones"][:].tolist() == [0] * (len(first["dones"]) - 1) + [1]


def test_rewards_and_masks_say_what_the_labels_say(
    lab: demos.Store, report: ExportReport, file: Any
) -> None:
    _, good = whole(lab, report)
    _, bad = cut(lab, report)

    assert demo_of(file, good)["rewards"][:].tolist()[-2:] == [0, 1]
    assert not demo_of(file, bad, 1)["rewards"][:].any()
    assert demo_of(file, bad, 1).attrs["outcome"] == "failure"
    assert [name.decode() for name in file["mask/success"]] == list(good.names)


def test_splits_and_verdicts_become_masks(lab: demos.Store, tmp_path: Path) -> None:
    chosen = [
        replace(item, split=split, verdict=verdict)
        for item, split, verdict in zip(
            lab.select("factor.object == 'box'").chosen(),
            ("train", "val"),
            ("good", "redo"),
            strict=True,
        )
    ]

    first, second = Robomimic().write(chosen, tmp_path / "out", Choices())

    assert isinstance(first, Written)
    assert isinstance(second, Written)
    with h5py.File(tmp_path / "out") as file:
        masks = {key: tuple(n.decode() for n in names) for key, names in file["mask"].items()}
    for key, written in (("train", first), ("good", first), ("val", second), ("redo", second)):
        assert masks[key] == written.names
    assert set(masks) == {"train", "val", "good", "redo", "success"}


def test_the_file_says_what_it_is_not(file: Any) -> None:
    environment = json.loads(file["data"].attrs["env_args"])

    assert environment["type"] is None
    assert "no simulation environment" in environment["note"]
    assert environment["env_kwargs"] == {"robots": ["g1_dex3"], "control_freq": 30.0}
    total = sum(demo.attrs["num_samples"] for demo in file["data"].values())
    assert file["data"].attrs["total"] == total


def test_losses_are_told_for_every_stream_and_camera(
    lab: demos.Store, report: ExportReport
) -> None:
    episode, written = whole(lab, report)

    told = {loss.stream for loss in written.losses}
    assert told == {*episode.streams, "image.egocentric"}
    [images] = [loss for loss in written.losses if loss.stream == "image.egocentric"]
    steps = len(alignment.steps(*alignment.reach(episode), 30.0, episode.cameras["egocentric"]))
    assert images.lost == len(episode.cameras["egocentric"].time_ns) - steps


def test_an_episode_without_joints_is_left_out_with_a_reason(report: ExportReport) -> None:
    [left_out] = report.left_out

    assert "neither commands nor positions" in left_out.reason
    assert left_out.hint


def test_what_went_out_comes_back_the_same_at_the_steps(
    lab: demos.Store, report: ExportReport, tmp_path: Path
) -> None:
    _, written = whole(lab, report)
    again = demos.open(tmp_path / "again", container="zarr")

    back = import_source(Path(report.target), again)

    episode = again[dict(back.episodes)[written.names[0]]]
    before = lab[written.episode]
    with h5py.File(report.target) as file:
        demo = demo_of(file, written)
        for name in ("wrench.right_wrist", "pose.right_wrist", "joint_position"):
            assert (episode.streams[name].values == demo[f"obs/{name.replace('.', '_')}"][:]).all()
        assert (episode.streams["joint_command"].values == demo["actions"][:]).all()
    for name in ("wrench.right_wrist", "pose.right_wrist", "joint_position", "joint_command"):
        ours, theirs = episode.streams[name].info, before.streams[name].info
        assert (ours.units, ours.channels) == (theirs.units, theirs.channels)
        assert (ours.reference_frame, ours.of_frame) == (theirs.reference_frame, theirs.of_frame)
    assert (episode.task, episode.outcome) == (before.task, before.outcome)
    assert episode.manifest.embodiment == "g1_dex3"
    assert episode.manifest.instruction == before.manifest.instruction


def test_a_simulation_that_came_from_robomimic_goes_back_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "image.hdf5")
    store = demos.open(tmp_path / "store", container="zarr")
    imported = import_source(source, store)
    store.refresh()

    report = store.select("").export(tmp_path / "out.hdf5", to="robomimic")

    names = {item.episode: item.names[0] for item in report.written}
    with h5py.File(source) as before, h5py.File(tmp_path / "out.hdf5") as after:
        for demo, episode in imported.episodes:
            ours, theirs = after["data"][names[episode]], before["data"][demo]
            for key in ("actions", "states", "rewards", "dones"):
                assert (ours[key][:] == theirs[key][:]).all()
            assert (ours["obs/object"][:] == theirs["obs/object"][:]).all()
            assert ours.attrs["model_file"] == MODEL
            assert ours["obs/agentview_image"].shape == theirs["obs/agentview_image"].shape


def test_episodes_of_different_rates_keep_their_own(lab: demos.Store, tmp_path: Path) -> None:
    first, second = lab.select("factor.object == 'box'").chosen()
    odd = second.open()
    joints = odd.streams["joint_position"]
    every_fifth = Stream(joints.time_ns[::5], joints.values[::5], joints.info)
    odd.streams, odd.cameras = {"joint_position": every_fifth}, {}
    slow = Chosen(second.manifest, lambda: odd)
    out, again = tmp_path / "out.hdf5", demos.open(tmp_path / "again", container="zarr")
    written = list(Robomimic().write([first, slow], out, Choices()))

    back = import_source(out, again)

    assert all(isinstance(item, Written) for item in written)
    rates = {again[e].streams["joint_position"].info.rate_hz for _, e in back.episodes}
    assert rates == {30.0, 50.0}


def test_changes_of_joints_add_up_to_the_targets(lab: demos.Store, tmp_path: Path) -> None:
    picked = lab.select("factor.number == 0")
    joint = picked.export(tmp_path / "joint", to="robomimic")
    picked.export(tmp_path / "delta", to="robomimic", action="joint_delta")

    with h5py.File(tmp_path / "joint") as file, h5py.File(tmp_path / "delta") as changes:
        [name] = joint.written[0].names
        targets = file[f"data/{name}/actions"][:]
        steps = changes[f"data/{name}/actions"][:]
        assert "commands" in changes[f"data/{name}"]
        assert "commands" not in file[f"data/{name}"]
    assert np.abs(steps[1:] - np.diff(targets, axis=0)).max() < 1e-6
    assert np.abs(targets[0] + np.cumsum(steps[1:], axis=0)[-1] - targets[-1]).max() < 1e-4


def test_without_commands_an_action_is_the_position_one_step_later(tmp_path: Path) -> None:
    source = write(tmp_path / "image.hdf5", demos=1)
    with h5py.File(source, "r+") as file:
        positions = file["data/demo_0/obs/robot0_joint_pos"][:]
    store = demos.open(tmp_path / "store", container="zarr")
    import_source(source, store)
    store.refresh()
    [episode] = store.select("")
    bare = {name: s for name, s in episode.streams.items() if name == "joint_position"}
    episode.streams = bare
    out = tmp_path / "out.hdf5"
    [written] = Robomimic().write([Chosen(episode.manifest, lambda: episode)], out, Choices())

    assert isinstance(written, Written)
    assert "position one step later" in written.notes[0]
    with h5py.File(out) as file:
        assert (file["data/demo_0/actions"][:5] == positions[1:6]).all()


@pytest.mark.parametrize("action", ["end_effector", "end_effector_delta", "rotation_6d"])
def test_actions_of_hands_are_those_of_a_lerobot_export(
    action: Any, lab: demos.Store, tmp_path: Path
) -> None:
    picked = lab.select("factor.number == 0")

    report = picked.export(tmp_path / "out.hdf5", to="robomimic", action=action)
    picked.export(tmp_path / "table", to="lerobot", action=action)

    expected = rows_of(tmp_path / "table")["action"]
    names = [name for written in report.written for name in written.names]
    with h5py.File(tmp_path / "out.hdf5") as file:
        found = np.concatenate([file[f"data/{name}/actions"][:] for name in names])
        info = json.loads(file[f"data/{names[0]}/actions"].attrs["stream_info"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert action in info["semantics"]
    assert "right_hand.x" in " ".join(info["channels"]) or "right_hand.dx" in info["channels"]


def test_actions_of_hands_need_a_body(tmp_path: Path) -> None:
    store = demos.open(tmp_path / "store", container="zarr")
    import_source(write(tmp_path / "image.hdf5", demos=1), store)
    store.refresh()

    with pytest.raises(demos.errors.DemosError) as caught:
        store.select("").export(tmp_path / "out", to="robomimic", action="rotation_6d")

    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_an_episode_labelled_as_not_for_training_stays(tmp_path: Path) -> None:
    store = export_store.make(tmp_path / "lab")
    chosen = store.select("factor.number == 0").ids[0]
    label = new_label(chosen, "use", annotator="rev-1", role="reviewer", value="exclude")
    store.add_label(label)
    store.refresh()

    report = store.select("factor.object == 'box'").export(tmp_path / "out", to="robomimic")

    [left_out] = report.left_out
    assert left_out.episode == chosen
    assert "not to be trained on" in left_out.reason


def test_chosen_streams_and_a_rate_hold(lab: demos.Store, tmp_path: Path) -> None:
    picked = lab.select("factor.number == 0")

    report = picked.export(
        tmp_path / "out", to="robomimic", rate_hz=10, streams=["wrench.right_wrist", "wrench.tail"]
    )

    assert "there is no stream wrench.tail" in report.written[0].notes
    with h5py.File(tmp_path / "out") as file:
        demo = file["data/demo_0"]
        assert set(demo["obs"]) == {"wrench_right_wrist", "egocentric_image"}
        assert len(demo["actions"]) == 20
        assert json.loads(file["data"].attrs["env_args"])["env_kwargs"]["control_freq"] == 10


def test_streams_and_cameras_that_cannot_go_out_do_not_stop_the_rest(
    lab: demos.Store, tmp_path: Path
) -> None:
    first, second = lab.select("factor.object == 'box'").chosen()
    twins, blind = first.open(), second.open()
    wrench = twins.streams["wrench.right_wrist"]
    twins.streams = {**twins.streams, "wrench_right_wrist": wrench}
    camera = SimpleNamespace(time_ns=np.empty(0, np.int64), info=None)
    blind.cameras = {"dark": camera, **blind.cameras}
    chosen = [Chosen(first.manifest, lambda: twins), Chosen(second.manifest, lambda: blind)]

    left_out, written = Robomimic().write(chosen, tmp_path / "out", Choices())

    assert isinstance(left_out, LeftOut)
    assert "two streams are called obs/wrench_right_wrist" in left_out.reason
    assert isinstance(written, Written)
    with h5py.File(tmp_path / "out") as file:
        assert list(file["data"]) == list(written.names)
        assert "dark_image" not in file[f"data/{written.names[0]}/obs"]


def test_a_full_disk_is_our_error_and_leaves_nothing(lab: demos.Store, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, demos\n"
        "from demos.errors import StoreError\n"
        "store = demos.open(sys.argv[1]); picked = store.select(''); picked.ids\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "try:\n"
        "    picked.export(sys.argv[2], to='robomimic')\n"
        "except StoreError as error:\n"
        "    print('refused:', error.hint)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(lab.root), str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout[:18]) == (0, "refused: free some"), done.stderr
    assert list(tmp_path.iterdir()) == []
