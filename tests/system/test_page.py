"""The page as a person sees it while phones send."""

import base64

import pytest

from tests.integration.browser import Browser


@pytest.fixture
def browser(tmp_path):
    with_data = Browser(tmp_path / "profile", 1440, 1000)
    yield with_data
    with_data.quit()


def newest_x(browser):
    """The newest time, in ms since the epoch, that the accelerometer's chart shows; nothing without a chart."""
    return browser.run(
        """const chart = [...document.querySelectorAll('.js-plotly-plot')].find(
               (plot) => plot.closest('[data-sensor]')?.dataset.sensor === 'accelerometer');
           const times = chart?.data?.flatMap((trace) => trace.x ?? []).map(Number) ?? [];
           return times.length ? Math.max(...times) : null;"""
    )


def test_line_moves_while_phones_send(stack, browser, artefacts):
    """The page chooses the newest recording by itself, and its accelerometer's line goes on without a reload."""
    simulator = stack.simulate("--phones", 2, "--duration", 180)
    browser.sign_in(stack.dashboard_url, "admin", stack.first_password)
    seen = [browser.wait(lambda: newest_x(browser), 90)]
    browser.run("window.loadedOnce = true")
    for width in (1440, 390):
        browser.resize(width, 1000)
        for _ in range(5):
            seen.append(browser.wait(lambda: (now := newest_x(browser)) and now > seen[-1] and now, 30))
        shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        (artefacts / f"live-{width}.png").write_bytes(base64.b64decode(shot["data"]))
    assert browser.run("return window.loadedOnce")
    assert browser.errors() == []
    simulator.terminate()
    simulator.wait(timeout=30)
