"""Take the README's picture: `python -m tests.screenshot STORE OUT.png [EPISODE]`.

Fails where the page does not show video, joints, force, touch and phases.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import demos
from demos.server.app import background

PARTS = {
    "video": "video",
    "plots": ".uplot canvas",
    "touch": "canvas",
}


def take(store: Path, out: Path, episode: str = "") -> None:
    """Open an episode at the middle of its grasp in headless Chromium and keep the picture."""
    from playwright.sync_api import sync_playwright

    opened = demos.open(store)
    chosen = opened[episode or opened.select("outcome == 'success' and images > 0").ids[0]]
    spans = [span for span in chosen.phases if span.value in ("transport", "lift")]
    moment = (spans[0].start_ns + spans[0].end_ns) / 2e9 if spans else chosen.duration_s / 2
    with background(store) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{address}/episode?episode={chosen.id}&t={moment:.2f}")
        for part in PARTS.values():
            page.locator(part).first.wait_for(state="visible", timeout=60_000)
        page.wait_for_timeout(2_500)
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
