"""The pages without a browser: what they say, how filters work, what they do when all is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from demos._content import content
from demos.library import Store
from tests.viewer_store import ViewerStore, make


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerStore:
    return make(tmp_path_factory.mktemp("viewer"))


def viewer(store: Path, page: str = "", **query: str) -> Any:
    """Run the app on a store, on the list or on another page."""
    app = AppTest.from_file(content("viewer") / "app.py", default_timeout=30)
    app.secrets["demos"] = {"store": str(store), "key": "00" * 32}
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    return app.switch_page(f"screens/{page}.py").run() if page else app


def words(app: Any) -> str:
    """Everything a page says."""
    parts = [*app.markdown, *app.caption, *app.info, *app.error]
    return "\n".join(str(part.value) for part in parts)


def test_the_list_shows_every_episode_and_says_how_many(lab: ViewerStore) -> None:
    app = viewer(lab.root)

    assert not app.exception
    assert len(app.dataframe[0].value) == 5
    assert "**5** of 5 episodes" in words(app)


def test_a_filter_narrows_the_list_and_names_its_expression(lab: ViewerStore) -> None:
    app = viewer(lab.root)

    app.multiselect(key="outcome").select("success").run()

    assert list(app.dataframe[0].value["id"]) == [lab.picked]
    assert "store.select" in words(app)


def test_a_free_expression_narrows_the_list(lab: ViewerStore) -> None:
    app = viewer(lab.root)

    app.text_input(key="where").set_value("task == 'unknown'").run()

    assert list(app.dataframe[0].value["id"]) == [lab.state_only]


@pytest.mark.parametrize(
    "hostile", ["__import__('os').system('true')", "task ==", "nonsense == 1", "1; drop table x"]
)
def test_a_bad_expression_is_explained_and_not_run(lab: ViewerStore, hostile: str) -> None:
    app = viewer(lab.root)

    app.text_input(key="where").set_value(hostile).run()

    assert not app.exception
    assert app.error
    assert not app.dataframe


def test_no_match_names_the_filter_that_is_in_the_way(lab: ViewerStore) -> None:
    app = viewer(lab.root)

    app.multiselect(key="outcome").select("success").run()
    app.text_input(key="where").set_value("duration_s > 100").run()

    assert "No episode fits" in words(app)
    assert "without the filter **expression**" in words(app)
    app.button[0].click().run()
    assert len(app.dataframe[0].value) == 5


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    Store.create(tmp_path / "lab")

    app = viewer(tmp_path / "lab")

    assert "holds no episodes yet" in words(app)
    assert "demos simulate" in app.code[0].value


def test_the_episode_page_shows_findings_scores_and_facts(lab: ViewerStore) -> None:
    app = viewer(lab.root, "episode", episode=lab.picked)

    assert not app.exception
    assert "**pick place**" in words(app)
    findings, scores = app.dataframe[0].value, app.dataframe[1].value
    assert list(findings["message"]) == ["no image for 0.28 s"]
    assert list(scores["metric"]) == ["path_excess", "pause_fraction"]
    assert "pause_fraction: not assessable, no stroke was found" in words(app)
    assert "Not replayed in simulation yet" in words(app)


@pytest.mark.parametrize("which", ["state_only", "odd_codec", "nothing"])
def test_every_kind_of_episode_has_a_page(lab: ViewerStore, which: str) -> None:
    app = viewer(lab.root, "episode", episode=getattr(lab, which))

    assert not app.exception
    assert "No findings" in words(app)


def test_an_unknown_episode_gets_a_suggestion(lab: ViewerStore) -> None:
    app = viewer(lab.root, "episode", episode=lab.picked[:-3] + "ZZZ")

    assert not app.exception
    assert "no episode" in app.error[0].value


def test_the_overview_counts_outcomes_and_lists_what_to_record_next(lab: ViewerStore) -> None:
    app = viewer(lab.root, "overview")

    assert not app.exception
    assert [(tile.label, tile.value) for tile in app.metric][:3] == [
        ("Episodes", "5"),
        ("Hours", "0.01"),
        ("Operators", "1"),
    ]
    assert "Record next" in words(app)


def test_the_overview_of_an_empty_store_says_so(tmp_path: Path) -> None:
    Store.create(tmp_path / "lab")

    assert "holds no episodes yet" in words(viewer(tmp_path / "lab", "overview"))


def test_a_page_outside_the_viewer_says_how_to_start_it() -> None:
    app = AppTest.from_file(content("viewer") / "app.py", default_timeout=30)

    app.run()

    assert "was not started by `demos view`" in app.error[0].value
    assert "demos view STORE" in app.caption[0].value
