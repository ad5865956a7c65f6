"""Open, list, select, freeze: on a real store with small episodes."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import demos
from demos.errors import DemosError, EpisodeNotFound, StoreError, UnknownName
from demos.model import Draft, Facts, Hardware, Session, Stream, StreamInfo
from demos.provenance import made_by, new_id, new_label, now
from demos.store import layout, withdraw

STAMPS = np.arange(0, 1_000_000_000, 20_000_000, dtype=np.int64)


def draft(number: int, *, task: str = "pick_place", operator: str = "op-1") -> Draft:
    info = StreamInfo(units=("rad", "rad"), channels=("elbow", "wrist"), rate_hz=50)
    values = np.sin(np.outer(STAMPS / 1e9 + number, [1.0, 2.0])).astype(np.float32)
    started = now()
    return Draft(
        session=Session(
            id=new_id(),
            embodiment="g1_dex3",
            operator=operator,
            started_at=started,
            hardware=Hardware(robot="g1"),
        ),
        facts=Facts(
            task=task,
            origin="human",
            recorded_at=started + timedelta(seconds=number),
            factors={"object": "box" if number % 2 else "cylinder", "n": number},
            provenance=made_by("test"),
        ),
        streams={"joint_position": Stream(STAMPS, values, info)},
    )


@pytest.fixture(scope="module", params=["zarr", "hdf5"])
def template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> demos.Store:
    store = demos.open(tmp_path_factory.mktemp("made") / "lab", container=request.param)
    for number in range(4):
        manifest = store.publish(draft(number, operator=f"op-{number % 2}"))
        outcome = "success" if number < 3 else "failure"
        store.add_label(
            new_label(manifest.id, "outcome", annotator="a", role="reviewer", value=outcome)
        )
    return store


@pytest.fixture
def store(template: demos.Store, tmp_path: Path) -> demos.Store:
    shutil.copytree(template.root, tmp_path / "lab")
    return demos.open(tmp_path / "lab")


def test_table_has_one_row_an_episode_newest_first(store: demos.Store) -> None:
    table = store.episodes

    assert table["factor.n"].tolist() == [3, 2, 1, 0]
    assert table["outcome"].tolist() == ["failure", "success", "success", "success"]
    assert isinstance(table["recorded_at"].dtype, pd.DatetimeTZDtype)
    assert table["duration_s"].tolist() == pytest.approx([0.98] * 4)


def test_episode_gives_back_what_was_published(store: demos.Store) -> None:
    episode = store[store.select("factor.n == 2").ids[0]]

    stream = episode.streams["joint_position"]

    expected = draft(2).streams["joint_position"].values
    assert np.array_equal(stream.values, expected)
    assert stream.units == ("rad", "rad")
    assert episode.outcome == "success"


def test_episode_is_found_by_the_end_of_its_id(store: demos.Store) -> None:
    whole = store.catalog.ids()[0]

    assert store[whole[-6:].lower()].id == whole


def test_unknown_episode_offers_close_ones(store: demos.Store) -> None:
    near = store.catalog.ids()[0][:-1] + "!"

    with pytest.raises(EpisodeNotFound) as caught:
        store[near]

    assert "did you mean" in caught.value.hint


def test_what_others_publish_is_seen_after_a_refresh(store: demos.Store) -> None:
    assert len(store) == 4

    demos.open(store.root).publish(draft(9))
    store.refresh()

    assert len(store) == 5


def test_an_open_store_sees_what_it_publishes_itself(store: demos.Store) -> None:
    count = len(store)

    first, second = store.publish(draft(8)), store.publish(draft(9))
    store.add_label(
        new_label(second.id, "outcome", annotator="a", role="reviewer", value="aborted")
    )

    assert len(store) == count + 2
    assert store[first.id].outcome == ""
    assert store[second.id].outcome == "aborted"
    assert set(store.episodes["id"][:2]) == {first.id, second.id}


def test_an_id_that_fits_several_episodes_is_told_apart_from_an_unknown_one(
    store: demos.Store,
) -> None:
    with pytest.raises(EpisodeNotFound, match="and perhaps more") as caught:
        store["01"]

    assert caught.value.hint == "give more of the id"


def test_a_withdrawn_episode_is_said_to_be_withdrawn(store: demos.Store) -> None:
    gone = store.publish(draft(8))
    withdraw(store, gone.session)

    with pytest.raises(EpisodeNotFound, match="was withdrawn"):
        store[gone.id.lower()]


@pytest.mark.parametrize("content", [b'{"kind": "epi', b'{"kind": "episode", "version": 99}'])
def test_an_episode_whose_manifest_cannot_be_read_is_told_and_not_frozen(
    store: demos.Store, content: bytes
) -> None:
    hurt = store.catalog.ids()[1]
    whole = store.select("")
    manifest = layout.episode_dir(store.root, hurt) / layout.MANIFEST
    manifest.write_bytes(content)

    with pytest.raises(StoreError, match=f"manifest of {hurt} is not what was published") as caught:
        whole.freeze("all")
    manifest.unlink()
    with pytest.raises(StoreError, match="is missing"):
        whole.freeze("all")
    manifest.write_bytes(content)
    store.reindex()

    assert "verify" in caught.value.hint
    assert hurt not in store.catalog.ids()
    assert list(store.catalog.unread()) == [layout.relative(store.root, manifest)]


def test_episodes_are_found_by_the_hardware_of_their_session(store: demos.Store) -> None:
    assert len(store.select("hardware.robot == 'g1'")) == len(store)
    assert len(store.select("hardware.robot == 'g1' and licence == 'unknown'")) == len(store)
    with pytest.raises(UnknownName):
        store.select("hardware.left_thumb == 'x'")


def test_the_table_says_who_spoke_of_the_outcome_and_how_surely(store: demos.Store) -> None:
    quiet = store.publish(draft(8))
    guess = new_label(
        quiet.id, "outcome", annotator="m/1", role="machine", value="failure", confidence=0.1
    )
    store.add_label(guess)

    row = store.episodes.set_index("id").loc[quiet.id]

    assert (row["outcome"], row["outcome_by"], row["outcome_confidence"]) == (
        "failure", "machine", 0.1,
    )  # fmt: skip


def test_deleted_catalog_is_rebuilt(store: demos.Store) -> None:
    before = store.episodes
    store.catalog.close()
    for path in store.root.glob("catalog.sqlite*"):
        path.unlink()

    pd.testing.assert_frame_equal(demos.open(store.root).episodes, before)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_damaged_catalog_is_rebuilt(store: demos.Store, content: bytes) -> None:
    before = store.episodes
    store.catalog.close()
    for path in store.root.glob("catalog.sqlite-*"):
        path.unlink()
    (store.root / "catalog.sqlite").write_bytes(content)

    pd.testing.assert_frame_equal(demos.open(store.root).episodes, before)


def test_catalog_of_another_release_is_rebuilt(store: demos.Store) -> None:
    before = store.episodes
    store.catalog.close()
    with sqlite3.connect(store.root / "catalog.sqlite") as base:
        base.execute("pragma user_version = 999")
    base.close()

    pd.testing.assert_frame_equal(demos.open(store.root).episodes, before)


def test_store_is_read_where_no_catalog_can_be_written(store: demos.Store) -> None:
    store.catalog.close()
    for path in store.root.glob("catalog.sqlite*"):
        path.unlink()
    (store.root / "catalog.sqlite").mkdir()

    assert len(demos.open(store.root)) == 4


def test_frozen_selection_is_hashed_numbered_and_splits_groups_whole(store: demos.Store) -> None:
    picked = store.select("outcome == 'success'")

    first = picked.freeze("paper", split={"train": 0.5, "val": 0.5}, group_by="operator")
    again = picked.freeze("paper", split={"train": 0.5, "val": 0.5}, group_by="operator")

    assert (first.number, again.number) == (1, 2)
    assert first.sha256 == again.sha256
    assert len(first.episodes) == 3
    operators = dict(store.select("").rows(["id", "operator"]))
    together: dict[str, set[str]] = {}
    for item in first.episodes:
        together.setdefault(operators[item.episode], set()).add(item.split)
    assert all(len(splits) == 1 for splits in together.values())
    assert {item.outcome for item in first.episodes} == {"success"}
    assert store.read_selection("paper") == again


def test_selection_of_nothing_is_refused(store: demos.Store) -> None:
    with pytest.raises(StoreError, match="nothing to freeze"):
        store.select("task == 'carry'").freeze("none")


def test_shares_that_do_not_sum_to_one_are_refused(store: demos.Store) -> None:
    with pytest.raises(StoreError, match="sum to 1"):
        store.select("").freeze("x", split={"train": 0.8, "val": 0.3})


def test_unknown_column_is_told(store: demos.Store) -> None:
    with pytest.raises(UnknownName):
        store.select("").rows(["outcom"])


def test_no_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DemosError) as caught:
        demos.open(tmp_path / "nowhere")

    assert "demos init" in caught.value.hint


def test_a_frozen_selection_opens_with_its_order_splits_and_labels(store: demos.Store) -> None:
    frozen = store.select("outcome == 'success'").freeze("s", split={"train": 0.5, "val": 0.5})
    first = frozen.episodes[0]
    later = new_label(first.episode, "outcome", annotator="b", role="adjudicator", value="failure")
    store.add_label(later)
    store.refresh()

    picked = store.selection("s")

    assert picked.ids == [item.episode for item in frozen.episodes]
    assert [each.split for each in picked.chosen()] == [item.split for item in frozen.episodes]
    assert {episode.outcome for episode in picked} == {"success"}
    assert store[first.episode].outcome == "failure"


def test_a_frozen_selection_says_what_was_withdrawn_and_goes_on(store: demos.Store) -> None:
    frozen = store.select("").freeze("all")
    gone = frozen.episodes[1].episode
    withdraw(store, store.manifest(gone).session)
    store.refresh()

    picked = store.selection("all@1")

    assert picked.withdrawn == [gone]
    assert len(picked) == len(frozen.episodes) - 1
    assert gone not in [episode.id for episode in picked]
