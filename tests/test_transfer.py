"""A rig's store comes over whole, once, and damage stays outside."""

from __future__ import annotations

from pathlib import Path

import pytest

import demos
from demos.provenance import new_label
from demos.store import verify, withdraw
from demos.store.transfer import transfer
from tests.test_library import draft


@pytest.fixture
def rig(tmp_path: Path) -> demos.Store:
    rig = demos.open(tmp_path / "rig", container="hdf5")
    for number in range(2):
        manifest = rig.publish(draft(number))
        rig.add_label(
            new_label(manifest.id, "outcome", annotator="a", role="operator", value="success")
        )
    return rig


def test_episodes_sessions_and_labels_come_over_unchanged(rig: demos.Store, tmp_path: Path) -> None:
    lab = demos.open(tmp_path / "lab", container="zarr")

    done = transfer(rig, lab)

    assert sorted(done.brought) == rig.episode_ids() == lab.episode_ids()
    assert [lab[episode].outcome for episode in done.brought] == ["success"] * 2
    for episode in done.brought:
        assert lab.manifest(episode) == rig.manifest(episode)
    assert verify(lab, deep=True) == []


def test_second_upload_brings_only_what_is_new(rig: demos.Store, tmp_path: Path) -> None:
    lab = demos.open(tmp_path / "lab", container="zarr")
    transfer(rig, lab)
    new = rig.publish(draft(7))

    again = transfer(rig, lab)

    assert again.brought == (new.id,)
    assert len(again.known) == 2
    assert verify(lab, deep=True) == []


def test_what_was_withdrawn_here_is_not_taken_back(rig: demos.Store, tmp_path: Path) -> None:
    lab = demos.open(tmp_path / "lab", container="zarr")
    transfer(rig, lab)
    gone, kept = rig.episode_ids()
    withdraw(lab, rig.manifest(gone).session)

    again = transfer(rig, lab)

    [(refused, reason, hint)] = again.refused
    assert (refused, again.known) == (gone, (kept,))
    assert "was withdrawn" in reason
    assert "not taken back" in hint
    assert list((lab.root / "recordings").iterdir()) == []
    assert verify(lab, deep=True) == []


def test_damaged_episode_stays_outside_and_the_rest_comes(rig: demos.Store, tmp_path: Path) -> None:
    lab = demos.open(tmp_path / "lab", container="zarr")
    harmed, whole = rig.episode_ids()
    signals = next((rig.root / "episodes").glob(f"*/{harmed}/signals.*"))
    content = bytearray(signals.read_bytes())
    content[len(content) // 2] ^= 1
    signals.write_bytes(bytes(content))

    done = transfer(rig, lab)

    assert done.brought == (whole,)
    assert [episode for episode, _, _ in done.refused] == [harmed]
    assert "is not what was recorded" in done.refused[0][1]
    assert verify(lab, deep=True) == []
