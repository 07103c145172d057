"""Takes the picture of the page that the docs show: `make picture`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chromium import running_chromium
from tests.page.scenes import EPOCH, Scene, airline, crowd, served

SCENES = {"airline": airline, "crowd": crowd}


def picture(
    path: Path, scene: str = "airline", width: int = 1400, height: int = 1480, scheme: str = "light"
) -> None:
    """Save the page as a user with this window sees it after fifteen minutes."""
    shown = Scene(SCENES[scene])
    shown.forward(905)
    with served(shown) as address, running_chromium() as browser:
        page = browser.page(width, height, scheme)
        page.fix_time(EPOCH + shown.now)
        page.open(address)
        page.until("document.querySelector('svg .line[d]') !== null")
        page.run(f"Date.now = () => {(EPOCH + shown.now + 5) * 1000}")
        shown.forward(5)
        page.until(
            "[...document.querySelectorAll('.arrow')].every(one => one.innerText.endsWith('/s'))"
        )
        page.screenshot(path)


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    scene, width, height, scheme = (*rest, *("airline", "1400", "1480", "light")[len(rest) :])
    picture(Path(name), scene, int(width), int(height), scheme)
