"""`make bench-dashboard`: how soon a reading is on the page, and what its viewers cost, on this machine.

A stack of its own with phones that record; one of them sends a counter too. A real browser looks at it and notes when
each number has been painted; further viewers ask as the page's script does. Beside it, in the same run, a Dash page
that redraws whole figures each second. Then a day of 1 s windows and a year of 60 s windows are opened in the browser.
Prints a table and, as its last line, one JSON object.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.senders import sending, to_ingest
from bench.viewers import Page, live_page, plain_page, watching
from bench.watch import Watch
from tests.integration.browser import Browser
from tests.ports import free_ports
from tests.system.stack import REPOSITORY, Stack, wait_until

PERIOD_S = 0.2
SETTLE_S = 15
DEVICE, SESSION = "bench-marker", "bench-marker-1"
SENSORS = ("accelerometer", "gyroscope", "gravity", "orientation", "magnetometer")
CARDS = len(SENSORS) + 1
"""What a page shows: the sensors and the counter. `update_bytes` are those of one card in one answer."""
NOTE_NUMBERS = """
window.painted = [];
let last = null;
const look = () => {
  const text = document.querySelector(arguments[0])?.textContent;
  if (text && text !== last && /^\\d+$/.test(text)) {
    last = text;
    requestAnimationFrame(() => setTimeout(() => window.painted.push([Number(text), Date.now()]), 0));
  }
};
new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
"""
OPEN_HISTORY = """
const [query, done] = [arguments[0], arguments[arguments.length - 1]];
const before = window.historyPage.facts()?.id || 0;
const began = performance.now();
window.history.replaceState(null, "", "/history?" + query);
window.dash_clientside.history.open();
const look = () => {
  const id = window.historyPage.facts()?.id || 0;
  const graph = document.querySelector("#history-graph .js-plotly-plot");
  if (id > before && graph?.layout?.uirevision === String(id) && graph.querySelector(".scatterlayer .trace")) {
    return requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
  }
  requestAnimationFrame(look);
};
look();
"""
ARCHIVE = """
INSERT INTO device (device, first_seen, last_seen) VALUES ('bench-archive', now(), now());
INSERT INTO session (device_id, session, first_time, last_time, last_seen, messages, readings)
SELECT device_id, kind, date_trunc('minute', now()) - length, date_trunc('minute', now()), now(), 1, 1
FROM device, (VALUES ('day', interval '1 day'), ('year', interval '365 days')) AS kinds (kind, length)
WHERE device = 'bench-archive';
INSERT INTO series (session_id, sensor, channel)
SELECT session_id, 'accelerometer', channel FROM session, unnest('{x,y,z}'::text[]) AS channel
WHERE session IN ('day', 'year');
INSERT INTO window_{resolution}s (series_id, start, count, mean, m2, min, max)
SELECT series_id, start, 100, sin(extract(epoch FROM start) / 7000), 3, -2 - random(), 2 + random()
FROM series JOIN session USING (session_id) CROSS JOIN LATERAL
     generate_series(first_time, last_time, interval '{resolution} seconds') AS start
WHERE session = '{session}';
"""


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-bench-", dir="/tmp"))
    directory.chmod(0o755)
    stack = Stack(directory / "data")
    browser = None
    try:
        print("starting the stack", flush=True)
        stack.start()
        browser = Browser(directory / "profile", 1280, 1400)
        browser.sign_in(stack.dashboard_url, "admin", stack.first_password)
        bench = Bench(stack, browser, arguments)
        with bench.recording():
            rows = [bench.ours(viewers) for viewers in arguments.viewers] + [
                bench.plain(viewers) for viewers in arguments.viewers
            ]
        opened = bench.open_archive()
        browser.quit()
        stack.stop()
    finally:
        stack.kill_what_is_left()
        shutil.rmtree(directory, ignore_errors=True)
    _print(rows, opened)
    ten = next((row for row in rows if row["page"] == "ours" and row["viewers"] == 10), rows[0])
    keys = ("commit_to_pixel_p95_ms", "reading_to_pixel_p50_ms", "callback_p95_ms", "update_bytes_p95", "queries_per_s")
    print(json.dumps({**{key: ten[key] for key in keys}, **opened, "rows": rows, "machine": machine()}))


class Bench:
    """One run: a stack, a browser, and a phone that sends a counter."""

    def __init__(self, stack: Stack, browser: Browser, arguments: argparse.Namespace) -> None:
        self._stack = stack
        self._browser = browser
        self._arguments = arguments
        self._sent: dict[int, float] = {}
        self._watch = Watch(stack)
        self._cookie = "; ".join(f"{one['name']}={one['value']}" for one in browser.driver.get_cookies())

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Phones send until the end of the block, and with them the one with the counter."""
        ended = threading.Event()
        sender = threading.Thread(target=self._send, args=(ended,))
        total_s = (self._arguments.seconds + 30) * 2 * len(self._arguments.viewers)
        with self._watch, sending(to_ingest, self._stack, self._arguments.phones - 1, total_s):
            sender.start()
            try:
                wait_until(
                    lambda: self._stack.query("SELECT 1 FROM session WHERE session = %s", [SESSION]), 60, "marker"
                )
                yield
            finally:
                ended.set()
                sender.join()

    def ours(self, viewers: int) -> dict[str, Any]:
        """The Live page with so many viewers, the browser one of them."""
        url = self._stack.dashboard_url
        page = live_page(url, self._cookie, DEVICE, SESSION)
        cards = ",".join(("marker", *SENSORS))
        self._browser.open(f"{url}/?device={DEVICE}&session={SESSION}&range=30s&cards={cards}")
        marker = '[data-sensor="marker"] [data-channel="n"] [data-part="value"]'
        return {"page": "ours", **self._measure(page, marker, viewers, self._our_queries)}

    def plain(self, viewers: int) -> dict[str, Any]:
        """The page that redraws everything each second."""
        with _plain_server(self._stack) as url:
            self._browser.open(url)
            return {"page": "plain", **self._measure(plain_page(url), "#marker", viewers, None)}

    def open_archive(self) -> dict[str, int]:
        """Median times in ms until a day and a year are painted."""
        with closing(self._stack.database("owner")) as connection, connection, connection.cursor() as cursor:
            first, last = ARCHIVE.rsplit("INSERT INTO window_", 1)
            cursor.execute(first)
            for resolution, session in ((1, "day"), (10, "day"), (60, "day"), (60, "year")):
                cursor.execute(("INSERT INTO window_" + last).format(resolution=resolution, session=session))
            cursor.execute("ANALYZE")
        self._browser.open(f"{self._stack.dashboard_url}/history?device={DEVICE}&session={SESSION}")
        self._browser.wait(lambda: self._browser.run("return window.historyPage?.facts()?.state === 'seen'"))
        return {f"open_{session}_ms": self._open(session) for session in ("day", "year")}

    def _open(self, session: str) -> int:
        self._browser.driver.set_script_timeout(60)
        query = f"device=bench-archive&session={session}&sensor=accelerometer"
        times = [self._browser.driver.execute_async_script(OPEN_HISTORY, query) for _ in range(5)]
        return round(statistics.median(times))

    def _measure(self, page: Page, marker: str, viewers: int, queries: Callable[[], float] | None) -> dict[str, Any]:
        self._browser.run(NOTE_NUMBERS, marker)
        with suppress(AssertionError):  # a page that cannot keep up is measured as it is
            self._browser.wait(lambda: self._browser.run("return window.painted.length > 3"), SETTLE_S)
        self._browser.run("window.painted.length = 0")
        before, began = queries() if queries else 0.0, time.monotonic()
        with watching(page, max(1, viewers - 1), self._arguments.seconds) as result:
            seen = result()
        lasted = time.monotonic() - began
        asked = (queries() - before) / lasted if queries else len(seen.seconds) / lasted
        painted = self._browser.run("return window.painted")
        commits, readings = self._delays([(number, at / 1000) for number, at in painted])
        row = {
            "viewers": viewers,
            "commit_to_pixel_p95_ms": _quantile(commits, 0.95),
            "reading_to_pixel_p50_ms": _quantile(readings, 0.5),
            "callback_p95_ms": _quantile([at * 1000 for at in seen.seconds], 0.95),
            "update_bytes_p95": _quantile([size / CARDS for size in seen.sizes], 0.95),
            "answer_bytes_p95": _quantile(seen.sizes, 0.95),
            "queries_per_s": round(asked, 1),
            "numbers_painted": len(painted),
        }
        print(f"  {row}", flush=True)
        return row

    def _delays(self, painted: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
        """ms from the commit, and from the reading, to the pixel."""
        found = self._stack.query(
            'SELECT number, partition, "offset" FROM message JOIN session USING (session_id) WHERE session = %s',
            [SESSION],
        )
        places = {number: (partition, offset) for number, partition, offset in found}
        known = [(number, at) for number, at in painted if number in places]
        commits = [(at - self._watch.visible_at(*places[number])) * 1000 for number, at in known]
        return commits, [(at - self._sent[number]) * 1000 for number, at in known]

    def _send(self, ended: threading.Event) -> None:
        """Every 0.2 s a message with 100 readings of five sensors and the counter, taken in the middle of it."""
        due, number = time.time(), 0
        while not ended.wait(max(0.0, due - time.time())):
            taken = due - PERIOD_S / 2
            self._sent[number] = taken
            self._stack.post(_message(number, due - PERIOD_S, taken))
            due, number = due + PERIOD_S, number + 1

    def _our_queries(self) -> float:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._stack.environment['DASHBOARD_METRICS_PORT']}/metrics", timeout=10
        ) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("dashboard_query_seconds_count"))


@contextmanager
def _plain_server(stack: Stack) -> Iterator[str]:
    [port] = free_ports(1)
    role = "dashboard"
    environment = {
        **os.environ,
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(stack.postgres_port),
        "DATABASE_NAME": "sensors",
        "DATABASE_USER": role,
        "DATABASE_PASSWORD_FILE": str(stack.directory / "secrets" / role),
        "DATABASE_SSL_CA_FILE": str(stack.directory / "certificates" / "ca.crt"),
        "SESSION": SESSION,
    }
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--threads",
        "16",
        "--log-level",
        "error",
        "--bind",
        f"127.0.0.1:{port}",
    ]
    process = subprocess.Popen([*command, "bench.plain_dash:server"], cwd=REPOSITORY, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), 30, "the plain page answers")
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _message(number: int, start: float, taken: float) -> dict[str, Any]:
    payload: list[dict[str, Any]] = [{"name": "marker", "time": int(taken * 1e9), "values": {"n": number}}]
    for place in range(20):
        at = start + place / 100
        values = {"x": math.sin(at * 7), "y": math.cos(at * 5), "z": math.sin(at) * 9.81}
        payload += [{"name": name, "time": int(at * 1e9), "values": values} for name in SENSORS]
    return {"messageId": number, "sessionId": SESSION, "deviceId": DEVICE, "payload": payload}


def _quantile(values: list[Any], share: float) -> int | None:
    """The value below which that share of them lies; None of none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else None


def _print(rows: list[dict[str, Any]], opened: dict[str, int]) -> None:
    names = list(rows[0])
    print("  ".join(f"{name:>22}" for name in names))
    for row in rows:
        print("  ".join(f"{row[name]!s:>22}" for name in names))
    day, year = opened["open_day_ms"], opened["open_year_ms"]
    print(f"a day of 1 s windows opens in {day} ms, a year of 60 s windows in {year} ms")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="1,10,30", help="(%(default)s)", type=_numbers)
    parser.add_argument("--phones", type=int, default=40, help="that record (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
