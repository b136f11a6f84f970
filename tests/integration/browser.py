"""A Chromium without a window, for tests of pages."""

import time
from collections.abc import Callable

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Browser:
    """One tab. `profile` is an empty directory."""

    def __init__(self, profile, width=1280, height=900):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.resize(width, height)

    def resize(self, width, height):
        """The size of the page in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, url):
        self.driver.get(url)

    def sign_in(self, url, user, password):
        """Through the form, as a person does; ends on the page that `url` names."""
        self.open(url)
        self.wait(lambda: self.run("return Boolean(document.querySelector('input[name=password]'))"))
        for name, text in (("user", user), ("password", password)):
            self.driver.find_element("css selector", f"input[name={name}]").send_keys(text)
        self.driver.find_element("css selector", "button[type=submit]").click()
        self.wait(lambda: not self.run("return location.pathname").startswith("/sign-in"))

    def run(self, script, *arguments):
        """The value of a JavaScript function body."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        """What a person reads there; empty when it is not there or not shown."""
        script = """const found = document.querySelector(arguments[0]);
                    return found?.checkVisibility() ? found.innerText : '';"""
        return self.run(script, selector)

    def wait(self, what: Callable[[], object], seconds=60.0):
        """Wait until `what()` is true and return it; fail with the page's words when it does not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := what():
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s in vain; the page says: {self.text('body')[:2000]}")

    def press_enter(self):
        """The key, on what has the focus."""
        self.driver.switch_to.active_element.send_keys("\n")

    def draw_again(self):
        """Have the page draw everything it shows once more, and wait until it has."""
        self.driver.execute_async_script(
            """window.dispatchEvent(new Event("resize"));
               requestAnimationFrame(() => requestAnimationFrame(arguments[0]));"""
        )

    def errors(self):
        """What the console complained about since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def quit(self):
        self.driver.quit()
