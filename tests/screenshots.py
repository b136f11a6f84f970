"""`make screenshots`: every page as a person sees it, at 1440 and 390 px, light and dark, into docs/screenshots.

Starts a stack of its own with simulated phones that lose some messages, and waits until there is something to see.
"""

import base64
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.browser import Browser
from tests.system.stack import REPOSITORY, Stack, wait_until

TARGET = REPOSITORY / "docs" / "screenshots"
PAGES = {
    "live": "/",
    "history": "/history?sensor=accelerometer&sensor=barometer",
    "sessions": "/sessions",
    "phones": "/phones",
    "connect": "/phones/connect",
    "account": "/account",
}
SIZES = {1440: 1000, 390: 844}
SCHEMES = ("light", "dark")
RECORDED_S = 90
SETTLE_S = 3
DRAWN = ("live", "history")
HAS_LINES = "return document.querySelectorAll('.js-plotly-plot .scatterlayer .trace path').length > 5"


def main() -> None:
    """Make them all; `--also-png DIRECTORY` keeps them as PNG too."""
    also = Path(sys.argv[2]) if sys.argv[1:2] == ["--also-png"] else None
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-screenshots-", dir="/tmp"))
    directory.chmod(0o755)
    stack = Stack(directory / "data")
    try:
        stack.start()
        stack.simulate("--phones", 3, "--gaps", 0.01, "--batch-period", 0.2)
        enough = f"SELECT 1 FROM session WHERE last_time - first_time > interval '{RECORDED_S} seconds'"
        wait_until(lambda: stack.query(enough), 240, "something is recorded")
        browser = Browser(directory / "profile", 1440, 1000)
        shoot_all(browser, stack, also)
        browser.quit()
    finally:
        stack.kill_what_is_left()
        shutil.rmtree(directory, ignore_errors=True)


def shoot_all(browser: Browser, stack: Stack, also: Path | None) -> None:
    """The sign-in page first, then the pages behind it."""
    browser.open(f"{stack.dashboard_url}/sign-in")
    for scheme, width in each_look(browser):
        shoot(browser, f"sign-in-{width}-{scheme}", also)
    browser.sign_in(stack.dashboard_url, "admin", stack.first_password)
    for name, path in PAGES.items():
        for scheme, width in each_look(browser):
            browser.open(stack.dashboard_url + path)
            if name in DRAWN:
                browser.wait(lambda: browser.run(HAS_LINES))
            time.sleep(SETTLE_S)
            shoot(browser, f"{name}-{width}-{scheme}", also)


def each_look(browser: Browser):
    """Every scheme and width, which the browser then has."""
    for scheme in SCHEMES:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        for width, height in SIZES.items():
            browser.resize(width, height)
            yield scheme, width


def shoot(browser: Browser, name: str, also: Path | None) -> None:
    """What is in sight, as a small picture."""
    kinds = [("webp", TARGET), *([("png", also)] if also else [])]
    for kind, where in kinds:
        options = {"format": kind, **({"quality": 82} if kind == "webp" else {})}
        shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        (where / f"{name}.{kind}").write_bytes(base64.b64decode(shot["data"]))
    print(name, flush=True)


if __name__ == "__main__":
    main()
