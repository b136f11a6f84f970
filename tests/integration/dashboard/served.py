"""A dashboard under gunicorn as its users meet it: signing in, asking, and phones that send meanwhile."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse

from ops.local.postgres import make_password
from tests.integration.recordings import motion
from tests.ports import free_ports
from tests.scrape import password_file, told

INGEST_URL = "https://sensors.example/sensor_data"
OPERATOR = "admin"
COMMAND = [sys.executable, "-m", "gunicorn", "--config", "python:services.dashboard.gunicorn_conf"]
COMMAND += ["services.dashboard.wsgi:application"]


class Dashboard:
    """One running dashboard over `cluster`; `settings` are further variables of its environment."""

    def __init__(self, cluster, directory, **settings):
        port, self.metrics_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.log_file = directory / f"dashboard-{port}.log"
        first_password = cluster.secrets / "dashboard_first_password"
        make_password(first_password)
        self.password = first_password.read_text().strip()
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
            **cluster.environment("dashboard"),
            "DASHBOARD_HOST": "127.0.0.1",
            "DASHBOARD_PORT": str(port),
            "DASHBOARD_METRICS_PORT": str(self.metrics_port),
            "METRICS_PASSWORD_FILE": password_file(directory),
            "DASHBOARD_FIRST_PASSWORD_FILE": str(first_password),
            "DASHBOARD_EXPORT_DIRECTORY": str(directory / f"exports-{port}"),
            "INGEST_URL": INGEST_URL,
            **settings,
        }
        self._process = None

    def start(self):
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(COMMAND, env=self._environment, stdout=log, stderr=log)
        wait_for(lambda: self.status("/readyz") == 200, 60)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def ask(self, method, path, body=None, cookie=None, **headers):
        """One request as a page of the dashboard makes it; other headers replace its own. The whole answer."""
        sent = {"Origin": self.url, "Sec-Fetch-Site": "same-origin", "Cookie": cookie or ""}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, {name: value for name, value in sent.items() if value is not None})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())

    def fetch(self, path, cookie):
        """The bytes of a file."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Cookie": cookie})
            answer = connection.getresponse()
            assert answer.status == http.client.OK
            return answer.read()

    def sign_in(self, user=OPERATOR, password=None, **headers):
        """The answer to the form; `cookie_of` finds its cookie."""
        form = urllib.parse.urlencode({"user": user, "password": password or self.password})
        return self.ask("POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded", **headers)

    def status(self, path):
        try:
            return self.ask("GET", path).status
        except OSError:
            return None

    def metric(self, name):
        """The value of a metric's line, named with its labels; 0 while there is none."""
        lines = (line for line in told(self.metrics_port) if line.startswith(f"{name} "))
        return next((float(line.rpartition(" ")[2]) for line in lines), 0.0)


class Answer:
    """What came back."""

    def __init__(self, status, headers, text):
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self):
        return json.loads(self.text)


def cookie_of(answer):
    """The cookie that an answer sets, as it is sent back."""
    return answer.headers["Set-Cookie"].partition(";")[0]


def let_in(browser, dashboard, cookie):
    """Have the browser hold this cookie and no other."""
    name, _, value = cookie.partition("=")
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.driver.execute_cdp_cmd("Network.setCookie", {"name": name, "value": value, "url": dashboard.url})


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@contextlib.contextmanager
def sending(recorder, more=lambda _at: []):
    """A phone that sends 0.2 s of motion, and what `more` adds, five times a second until the end of the block."""
    ended = threading.Event()

    def send():
        while not ended.wait(0.2):
            at = time.time() - 0.2
            recorder.send(motion(at, 0.2) + more(at))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def press(dashboard, cookie, output, pressed, values=()):
    """Call the callback with that output as a page does when a button is pressed; the whole answer.

    `pressed` is the button's id, text or dict; `values` are those of the page's and the dialog's fields by name.
    """
    values = dict(values)
    callbacks = dashboard.ask("GET", "/_dash-dependencies", cookie=cookie).json
    [callback] = [one for one in callbacks if output in one["output"]]

    def value(one):
        kind = json.loads(one["id"])["type"] if "ALL" in one["id"] else ""
        if not kind:
            return {**one, "value": values.get(one["id"], 1 if one["id"] == pressed else None)}
        if kind.endswith("-field"):
            ids = [{"type": kind, "field": name} for name in values]
            held = [values[each["field"]] if one["property"] == "value" else each for each in ids]
            return [{"id": each, "property": one["property"], "value": v} for each, v in zip(ids, held, strict=True)]
        return [{"id": pressed, "property": one["property"], "value": 1}] if one["property"] == "n_clicks" else []

    name = pressed if isinstance(pressed, str) else as_browsers_write(pressed)
    body = {
        "output": callback["output"],
        "outputs": outputs_of(callback["output"]),
        "inputs": [value(one) for one in callback["inputs"]],
        "state": [value(one) for one in callback["state"]],
        "changedPropIds": [f"{name}.n_clicks"],
    }
    return dashboard.ask("POST", "/_dash-update-component", json.dumps(body), cookie, Content_Type="application/json")


def as_browsers_write(pressed):
    """The id as JSON, other letters than ASCII as they are."""
    return json.dumps(pressed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def outputs_of(text):
    """The outputs that a callback's name lists."""
    names = text.strip(".").split("...") if text.startswith("..") else [text]
    found = []
    for name in names:
        place, _, prop = name.partition("@")[0].rpartition(".")
        found.append([] if "ALL" in place else {"id": place, "property": prop})
    return found
