"""What goes out says what it is: its licence, the selection it was, what it holds and lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import demos
from demos.formats.dataset_card import card
from demos.importers import import_source
from demos.model import Consent, Hardware, Session
from demos.provenance import new_id, now
from demos.store import Recorder, withdraw
from tests import export_store


def licensed(root: Path, *licences: str) -> demos.Store:
    """Record an episode of a session of its own for each licence."""
    store = demos.open(root, container="zarr")
    for number, name in enumerate(licences):
        session = Session(
            id=new_id(),
            embodiment="g1_dex3",
            operator="op-1",
            started_at=now(),
            hardware=Hardware(),
            consent=Consent(licence=name),
        )
        recorder = Recorder(
            store, embodiment="g1_dex3", operator="op-1", task="pick_place", session=session,
            on_full="block",
        )  # fmt: skip
        export_store.record(recorder, number, seconds=1.0)
    store.refresh()
    return store


def report_of(out: Path) -> Any:
    return json.loads((out / "demos/report.json").read_text())


def front_of(out: Path) -> Any:
    return yaml.safe_load((out / "README.md").read_text().split("---")[1])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Store:
    store = export_store.make(tmp_path_factory.mktemp("made") / "lab")
    store.select("").freeze("paper", split={"train": 0.5, "val": 0.5})
    return store


@pytest.fixture(scope="module", params=["lerobot", "groot"])
def out(
    lab: demos.Store, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    path = tmp_path_factory.mktemp("exported") / "out"
    lab.selection("paper").export(path, to=request.param)
    return path


def test_the_report_names_the_selection_and_its_hash(lab: demos.Store, out: Path) -> None:
    record = lab.selection("paper").record

    assert report_of(out)["selection"] == {
        "name": "paper@1",
        "sha256": record.sha256,
        "where": "",
        "withdrawn": [],
    }
    assert {row["licence"] for row in report_of(out)["episodes"]} == {"unknown"}


def test_the_card_says_what_the_dataset_is(lab: demos.Store, out: Path) -> None:
    text, front = (out / "README.md").read_text(), front_of(out)

    assert front["license"] == "unknown"
    assert front["configs"][0]["data_files"] == "data/*/*.parquet"
    assert list(out.glob(front["configs"][0]["data_files"]))
    assert "| robot | g1_dex3 |" in text
    assert "| episodes | 3, of 2 recordings |" in text
    assert "at 30 Hz" in text
    assert f"paper@1, sha256 `{lab.selection('paper').record.sha256}`" in text
    assert "| joint_position | linear |" in text
    assert "## Left out" in text
    assert "- it has no joint_position" in text


def test_a_filter_that_was_not_frozen_says_so(lab: demos.Store, tmp_path: Path) -> None:
    lab.select("task == 'pick_place'").export(tmp_path / "out", to="lerobot")

    assert report_of(tmp_path / "out")["selection"]["where"] == "task == 'pick_place'"
    text = (tmp_path / "out/README.md").read_text()
    assert "| selection | not frozen: where `task == 'pick_place'` |" in text


@pytest.mark.parametrize(
    ("licences", "front"),
    [
        (["CC-BY-4.0"], {"license": "cc-by-4.0"}),
        (["CC BY 4.0", "cc-by-4.0"], {"license": "cc-by-4.0"}),
        (
            ["Acme internal: use only"],
            {"license": "other", "license_name": "acme-internal-use-only"},
        ),
        (["MIT", "unknown"], {"license": "other", "license_name": "mixed"}),
    ],
)
def test_the_licence_of_the_sessions_is_the_datasets(
    tmp_path: Path, licences: list[str], front: dict[str, str]
) -> None:
    store = licensed(tmp_path / "lab", *licences)

    store.select("").export(tmp_path / "out", to="lerobot")

    said = front_of(tmp_path / "out")
    assert {key: said[key] for key in said if key.startswith("license")} == front
    rows = report_of(tmp_path / "out")["episodes"]
    assert sorted(row["licence"] for row in rows) == sorted(licences)
    card_text = (tmp_path / "out/README.md").read_text()
    assert all(f"{name} (1)" in card_text for name in licences)


def test_a_licence_survives_export_and_import(tmp_path: Path) -> None:
    licensed(tmp_path / "lab", "CC-BY-4.0").select("").export(tmp_path / "out", to="lerobot")
    back = demos.open(tmp_path / "back", container="zarr")

    import_source(tmp_path / "out", back)

    back.refresh()
    [episode] = back.episode_ids()
    assert back.session(back.manifest(episode).session).consent.licence == "cc-by-4.0"


def test_a_withdrawn_episode_of_the_selection_is_counted(tmp_path: Path) -> None:
    store = licensed(tmp_path / "lab", "MIT", "MIT")
    store.select("").freeze("paper")
    gone = store.episode_ids()[0]
    withdraw(store, store.manifest(gone).session)

    store.refresh()
    store.selection("paper").export(tmp_path / "out", to="lerobot")

    assert report_of(tmp_path / "out")["selection"]["withdrawn"] == [gone]
    assert "1 episode of it withdrawn since" in (tmp_path / "out/README.md").read_text()


def test_words_of_a_task_cannot_break_the_card(lab: demos.Store, tmp_path: Path) -> None:
    lab.select("").export(tmp_path / "out", to="lerobot")
    report = report_of(tmp_path / "out")
    report["episodes"][0]["task"] = "pick | place\n---\n<b>it"

    lines = card(report).splitlines()

    assert sum(line == "---" for line in lines) == 2
    [tasks] = [line for line in lines if line.startswith("| tasks |")]
    assert "pick \\| place --- &lt;b>it (1)" in tasks
