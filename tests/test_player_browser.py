"""The player in a real browser: the image shown is the image meant, and all panels agree on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from demos.library import Store
from demos.provenance import new_label
from demos.server.app import background
from tests.viewer_store import BITS, ViewerStore, make

if TYPE_CHECKING:
    from playwright.sync_api import Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("DEMOS_CHROMIUM") or shutil.which("chromium") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine")

READ_IMAGE = """(video, bits) => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth; canvas.height = 32;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  let number = 0;
  for (let bit = 0; bit < bits; bit++)
    if (context.getImageData(bit * 32 + 16, 16, 1, 1).data[0] > 128) number |= 1 << bit;
  return number;
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerStore:
    return make(tmp_path_factory.mktemp("viewer"))


@pytest.fixture(scope="module")
def address(lab: ViewerStore) -> Iterator[str]:
    with background(lab.root) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def clean_page(browser: Any) -> Iterator[Page]:
    """Open a page; afterwards no script may have failed and nobody else may have been asked."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    elsewhere: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: elsewhere.append(request.url))
    yield opened
    context.close()
    ours = ("http://127.0.0.1:", "data:", "blob:")
    assert errors == []
    assert [url for url in elsewhere if not url.startswith(ours)] == []


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    with clean_page(browser) as opened:
        yield opened


@pytest.fixture(scope="module")
def player(browser: Any, address: str, lab: ViewerStore) -> Iterator[Page]:
    """The picked episode, opened once by a deep link; tests seek in it and change nothing."""
    with clean_page(browser) as opened:
        open_player(opened, address, f"episode={lab.picked}&t=4.321")
        yield opened


def open_player(page: Page, address: str, query: str) -> None:
    page.goto(f"{address}/episode?{query}")
    page.locator('.player[data-ready="yes"]').wait_for(timeout=60_000)


def click_at(page: Page, share: float) -> None:
    """Click on the first lane, at a share of the time it shows."""
    box = page.locator(".lane .u-over").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)


def moment_ms(page: Page) -> float:
    return float(page.locator(".player .time").get_attribute("data-ms") or "nan")


def settled(page: Page, camera: str = "egocentric") -> int:
    """Wait until all videos say they show what is meant; return one's burnt-in number."""
    page.wait_for_function(
        """() => {
          const roots = [...document.querySelectorAll("*")].map((each) => each.shadowRoot);
          const player = roots.find((root) => root?.querySelector(".player"));
          const videos = [...(player?.querySelectorAll("video") ?? [])];
          const shows = (video) => !video.seeking && video.dataset.shown === video.dataset.image;
          return videos.length > 0 && videos.every(shows);
        }""",
        timeout=10_000,
    )
    page.wait_for_timeout(60)
    video = page.locator(f'.camera[data-camera="{camera}"] video')
    return int(video.evaluate(READ_IMAGE, BITS))


def meant(lab: ViewerStore, ms: float, camera: str = "egocentric") -> int:
    stamps = lab.stamps_ns if camera == "egocentric" else lab.wrist_ns
    return max(int(np.searchsorted(stamps, round(ms * 1e6), side="right")) - 1, 0)


def test_a_deep_link_shows_the_image_of_its_moment(player: Page, lab: ViewerStore) -> None:
    shown = settled(player)

    assert moment_ms(player) == pytest.approx(4321)
    assert shown == meant(lab, 4321)


def test_every_seek_and_step_shows_the_image_meant(player: Page, lab: ViewerStore) -> None:
    page = player
    wrong = []

    for share in np.random.default_rng(3).uniform(0.01, 0.99, 30):
        click_at(page, float(share))
        shown = settled(page)
        if shown != meant(lab, moment_ms(page)):
            wrong.append(("seek", moment_ms(page), shown))
    for key, by in (("ArrowLeft", -1), ("ArrowRight", 1), ("Shift+ArrowLeft", -10)):
        for _ in range(6):
            before = meant(lab, moment_ms(page))
            page.keyboard.press(key)
            shown = settled(page)
            expected = min(max(before + by, 0), len(lab.stamps_ns) - 1)
            stamp_ms = lab.stamps_ns[expected] / 1e6
            if shown != expected or moment_ms(page) != pytest.approx(stamp_ms, abs=1e-6):
                wrong.append((key, moment_ms(page), shown))

    assert wrong == []


def test_video_curves_touch_and_labels_stand_at_one_moment(player: Page, lab: ViewerStore) -> None:
    episode = Store.open(lab.root).episode(lab.picked)
    page = player
    click_at(page, 0.48)

    shown, ms = settled(page), moment_ms(page)

    assert shown == meant(lab, ms)

    def sample(stream: str) -> int:
        stamps = episode.streams[stream].time_ns
        return int(np.searchsorted(stamps, round(ms * 1e6), side="right")) - 1

    left, force = page.locator('.lane[data-quantity="force"] output').all()
    joints = page.locator('.lane[data-quantity="joints"] output').first
    touch = page.locator(".hand .total").last
    assert int(left.get_attribute("data-sample") or -1) == sample("wrench.left_wrist")
    assert int(force.get_attribute("data-sample") or -1) == sample("wrench.right_wrist")
    assert int(joints.get_attribute("data-sample") or -1) == sample("joint_position")
    assert int(touch.get_attribute("data-sample") or -1) == sample("tactile.right_hand")
    wrench = episode.streams["wrench.right_wrist"].values[sample("wrench.right_wrist"), :3]
    assert float(force.inner_text()) == pytest.approx(float(np.linalg.norm(wrench)), abs=0.01)
    cursors = page.locator(".player .cursor").evaluate_all(
        "all => all.map((cursor) => { const box = cursor.getBoundingClientRect();"
        " return box.left + box.width / 2; })"
    )
    assert len(cursors) == 4
    assert max(cursors) - min(cursors) < 1.5
    strip = page.locator(".cursor-lane").bounding_box()
    assert strip is not None
    end_ms = episode.manifest.duration_ns / 1e6
    assert cursors[0] == pytest.approx(strip["x"] + strip["width"] * ms / end_ms, abs=2)


def test_playing_moves_everything_by_the_images_stamps(player: Page, lab: ViewerStore) -> None:
    page = player
    click_at(page, 0.36)
    settled(page)
    start_ms = moment_ms(page)

    page.keyboard.press("Space")
    page.wait_for_timeout(1500)
    page.keyboard.press("Space")
    shown = settled(page)

    assert moment_ms(page) > start_ms + 500
    assert moment_ms(page) == pytest.approx(lab.stamps_ns[shown] / 1e6, abs=1e-6)


def test_two_cameras_with_b_frames_show_the_images_of_one_moment(
    page: Page, address: str, lab: ViewerStore
) -> None:
    open_player(page, address, f"episode={lab.two_cameras}&t=3.3")
    wrong = []

    for share in np.random.default_rng(5).uniform(0.01, 0.99, 12):
        click_at(page, float(share))
        for camera in ("egocentric", "wrist"):
            shown = settled(page, camera)
            if shown != meant(lab, moment_ms(page), camera):
                wrong.append((camera, moment_ms(page), shown))
    click_at(page, 0.2)
    settled(page)
    page.keyboard.press("Space")
    page.wait_for_timeout(1200)
    page.keyboard.press("Space")
    shown = settled(page, "wrist")

    assert wrong == []
    assert shown == meant(lab, moment_ms(page), "wrist")


def test_one_screen_holds_the_page(player: Page) -> None:
    player.wait_for_timeout(300)

    bottom = player.locator(".lane").last.evaluate("lane => lane.getBoundingClientRect().bottom")
    hidden = player.get_by_test_id("stMain").evaluate(
        "main => main.scrollHeight - main.clientHeight"
    )

    assert bottom <= 900
    assert hidden <= 0
    assert player.locator(".lane").count() == 3


def test_a_video_that_no_browser_plays_is_looked_at_through_a_proxy(
    page: Page, address: str, lab: ViewerStore
) -> None:
    open_player(page, address, f"episode={lab.odd_codec}")

    shown = [settled(page, "wrist")]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        shown.append(settled(page, "wrist"))

    assert shown == [0, 1, 2, 3]


def test_where_no_proxy_can_be_made_the_tile_says_what_cannot_be_played(
    page: Page, tmp_path: Path
) -> None:
    own = make(tmp_path)
    (own.root / "cache/proxies").write_text("in the way")
    with background(own.root) as served:
        open_player(page, served, f"episode={own.odd_codec}")

        page.get_by_text("this browser cannot play").wait_for(timeout=5000)
        assert page.locator('.lane[data-quantity="joints"]').count() >= 1


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("state_only", ["No camera was recorded", "No touch was recorded", "No wrist force"]),
        ("nothing", ["No camera was recorded", "No joint positions were recorded"]),
    ],
)
def test_what_is_missing_is_said_in_words_and_the_rest_works(
    page: Page, address: str, lab: ViewerStore, which: str, words: list[str]
) -> None:
    open_player(page, address, f"episode={getattr(lab, which)}")

    page.keyboard.press("ArrowRight")

    for word in words:
        page.get_by_text(word).wait_for(timeout=5000)
    if which != "nothing":
        page.wait_for_timeout(200)
        assert moment_ms(page) == pytest.approx(1000 / 30, abs=1)
        assert page.locator('.lane[data-quantity="joints"]').count() >= 1


def test_the_list_is_filtered_by_its_address_and_opens_an_episode(
    page: Page, address: str, lab: ViewerStore
) -> None:
    page.goto(f"{address}/?task=pick_place&outcome=success")
    page.get_by_text("1 of 5 episodes").wait_for(timeout=60_000)

    table = page.locator('[data-testid="stDataFrame"] canvas').first
    table.wait_for()
    page.wait_for_timeout(500)
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 52)  # a cell is drawn, not an element

    page.locator('.player[data-ready="yes"]').wait_for(timeout=60_000)
    assert f"episode={lab.picked}" in page.url


def phases(page: Page) -> list[tuple[str, float, float]]:
    """The right hand's phases under review: word, start and end in ms."""
    row = page.locator('.track.editable[data-tier="right_hand"] .span')
    told = row.evaluate_all(
        "all => all.map((span) => [span.dataset.value, span.dataset.start, span.dataset.end])"
    )
    return [(word, float(start), float(end)) for word, start, end in told]


def test_phases_are_dragged_undone_and_kept_over_a_reload(
    page: Page, address: str, lab: ViewerStore
) -> None:
    open_player(page, address, f"episode={lab.picked}&reviewer=eve&t=2.0")
    settled(page)
    before = phases(page)
    edge = page.locator('.track.editable[data-tier="right_hand"] .edge.end').nth(1).bounding_box()
    assert edge is not None
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2

    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 40, y, steps=4)
    page.mouse.up()

    dragged = phases(page)
    assert dragged[1][:2] == ("reach", 500)
    assert 1000 < dragged[1][2] < 2000
    assert dragged[2] == ("grasp", dragged[1][2], 2500)
    assert dragged[3:] == before[3:]
    page.reload()
    page.locator('.player[data-ready="yes"]').wait_for(timeout=60_000)
    assert phases(page) == dragged
    page.get_by_text("unsaved: phases").wait_for()

    page.locator('.track.editable[data-tier="right_hand"] .span').nth(2).click()
    page.keyboard.press("Backspace")
    assert len(phases(page)) == len(before) - 1
    page.keyboard.press("Control+z")
    assert phases(page) == dragged


def test_a_named_reviewer_goes_on_to_the_next_episode_and_back(
    page: Page, address: str, lab: ViewerStore
) -> None:
    open_player(page, address, f"episode={lab.picked}&reviewer=eve&t=2.0")
    settled(page)
    shown = page.locator(f'.player[data-episode="{lab.picked}"]')

    page.keyboard.press("n")
    page.locator(f'.player[data-ready="yes"]:not([data-episode="{lab.picked}"])').wait_for()
    assert "reviewer=eve" in page.url
    assert "t=" not in page.url.partition("?")[2].replace("reviewer=eve", "")

    settled(page)
    page.keyboard.press("p")
    shown.wait_for()
    assert f"episode={lab.picked}" in page.url


def test_an_edit_survives_a_reload_although_another_tab_saved(
    page: Page, address: str, tmp_path: Path
) -> None:
    own = make(tmp_path)
    with background(own.root) as served:
        open_player(page, served, f"episode={own.picked}&reviewer=ann&t=2.2")
        settled(page)
        page.get_by_role("button", name="partial").click()
        page.get_by_text("unsaved: outcome").wait_for()
        Store.open(own.root).add_label(
            new_label(own.picked, "outcome", annotator="ann", role="reviewer", value="aborted")
        )

        page.reload()

        page.locator('.player[data-ready="yes"]').wait_for(timeout=60_000)
        page.get_by_text("You saved something else since you began this edit").wait_for()
        kept = page.locator('.choices[data-kind="outcome"] [aria-pressed="true"]').inner_text()
        assert kept == "partial"


def test_a_review_is_saved_and_a_conflict_keeps_the_edit(
    page: Page, address: str, tmp_path: Path
) -> None:
    own = make(tmp_path)
    with background(own.root) as served:
        open_player(page, served, f"episode={own.picked}&reviewer=ann&t=2.2")
        settled(page)
        store = Store.open(own.root)

        page.locator(
            '.track[data-tier="right_hand"]:not(.machine) .span[data-value="grasp"]'
        ).click()
        page.keyboard.press("s")
        page.keyboard.press("2")
        page.get_by_role("button", name="failure").click()
        page.keyboard.press("Enter")
        page.get_by_text("Saved.").wait_for(timeout=15_000)

        first = {label.of: label for label in store.labels(own.picked) if label.annotator == "ann"}
        assert first["outcome"].value == "failure"
        right = [span for span in first["phases"].spans if span.tier == "right_hand"]
        assert [span.value for span in sorted(right, key=lambda s: s.start_ns)][2:5] == [
            "grasp",
            "reach",
            "lift",
        ]

        store.add_label(
            new_label(
                own.picked,
                "outcome",
                annotator="ann",
                role="reviewer",
                value="aborted",
                supersedes=first["outcome"].id,
            )
        )
        page.get_by_role("button", name="partial").click()
        page.keyboard.press("Enter")
        page.get_by_text("not saved: ann saved other outcome").wait_for(timeout=15_000)
        kept = page.locator('.choices[data-kind="outcome"] [aria-pressed="true"]').inner_text()
        assert kept == "partial"

        page.keyboard.press("Enter")
        page.get_by_text("Saved.").wait_for(timeout=15_000)
        newest = [label for label in store.labels(own.picked) if label.of == "outcome"][-1]
        assert newest.value == "partial"
