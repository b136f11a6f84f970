"""How long the check takes as the database grows: `python -m bench.check --windows 20`.

Fills a PostgreSQL of its own with windows, and with a ledger that says so, and measures the sums: when every row has to
be counted, when nothing has changed, when one hour of each session has, and the stream's own round in the background.
Prints a table and, as its last line, one JSON object. Without Kafka, whose part is one question per partition.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.machine import machine
from ops.local.certificates import make_certificates
from services.common.database import connect
from services.stream import count
from services.stream.check import stored_sums
from tests.servers import make_postgres

SERIES = 25
SECONDS = 10 * 3600
REPEAT = 3

FILL = """
INSERT INTO device (device, first_seen, last_seen) VALUES ('d' || {n}, now(), now());
INSERT INTO session (device_id, session, last_seen, messages, readings, numeric_values)
SELECT device_id, 's', now(), {seconds}, {seconds}, {seconds} * 50 * {series} FROM device WHERE device = 'd' || {n};
INSERT INTO series (session_id, sensor, channel)
SELECT session_id, 'sensor', 'c' || c FROM session JOIN device USING (device_id), generate_series(1, {series}) AS c
WHERE device = 'd' || {n};
INSERT INTO window_{resolution}s
SELECT series_id, start, 50 * {resolution}, 0, 1, -1, 1
FROM series JOIN session USING (session_id) JOIN device USING (device_id),
     generate_series(date_trunc('hour', now() - interval '{hours} hours'), date_trunc('hour', now()) - interval '1 s',
                     interval '{resolution} s') AS start
WHERE device = 'd' || {n};
"""
LEDGER = """
INSERT INTO message_ledger (session_id, hour, numbers, messages, numeric_values, changed_at)
SELECT session_id, floor(extract(epoch FROM start) / 3600), '{}', 0, 50 * 3600 * %(series)s, now() - interval '1 hour'
FROM session, generate_series(date_trunc('hour', now() - %(hours)s * interval '1 hour'),
                              date_trunc('hour', now()) - interval '1 s', interval '1 hour') AS start
"""
ONE_HOUR = """
UPDATE message_ledger SET counted_at = NULL, changed_at = now() WHERE hour = (SELECT max(hour) FROM message_ledger)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument("--windows", type=float, default=20, help="million windows of 1 s (%(default)s)")
    sessions = sessions_of(parser.parse_args().windows)
    with tempfile.TemporaryDirectory(prefix="sensor-stream-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        make_certificates(directory / "certificates")
        server = make_postgres(directory, directory / "certificates", "check")
        server.start()
        try:
            report(server, sessions)
        finally:
            server.stop()


def sessions_of(millions: float) -> int:
    """How many sessions have so many million windows of 1 s."""
    return max(1, round(millions * 1e6 / (SERIES * SECONDS)))


def report(server, sessions: int) -> None:
    fill(lambda: connect(server.settings("owner"), "bench"), sessions)
    with closing(connect(server.settings("stream_writer"), "bench")) as connection:
        rows = sessions * SERIES * SECONDS
        figures = {
            "windows_1s": rows,
            "hours": sessions * SECONDS // 3600,
            "count_all_s": measure(connection, count.ALL, times=1),
            "nothing_changed_s": measure(connection, count.CHANGED),
        }
        with connection, connection.cursor() as cursor:
            cursor.execute(ONE_HOUR)
        figures["one_hour_of_each_session_s"] = measure(connection, count.CHANGED, times=1)
        figures["round_of_the_stream_s"] = measure(connection, count.QUIET, limit=200)
    for name, value in figures.items():
        print(f"{name:<30} {value:>14,.2f}" if isinstance(value, float) else f"{name:<30} {value:>14,}")
    print(json.dumps(figures | {"machine": machine()}))


def fill(open_connection: Callable[[], Any], sessions: int, *, with_ledger: bool = True) -> None:
    """Windows at every resolution for `sessions` sessions, as if 50 readings a second had come."""
    hours = SECONDS // 3600
    with closing(open_connection()) as connection, connection, connection.cursor() as cursor:
        for number in range(sessions):
            first, rest = FILL.split("INSERT INTO window", 1)
            parts = {"n": number, "seconds": SECONDS, "series": SERIES, "hours": hours}
            cursor.execute(first.format(**parts))
            for resolution in (1, 10, 60):
                cursor.execute(("INSERT INTO window" + rest).format(resolution=resolution, **parts))
            connection.commit()
            print(f"{number + 1} of {sessions} sessions", flush=True)
        if with_ledger:
            cursor.execute(LEDGER, {"series": SERIES, "hours": hours})
    with closing(open_connection()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("ANALYZE")


def measure(connection, which: str, *, times: int = REPEAT, limit: int | None = None) -> float:
    """Seconds that the sums take (the median of several times), with what they count noted at the end."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        with connection, connection.cursor() as cursor:
            counted = count.count(cursor, which, limit)
            sums = list(stored_sums(cursor, counted))
        seconds.append(time.perf_counter() - began)
        assert not counted.wrong, counted.wrong[:3]
        assert all(line.found == line.expected for line in sums if line.name.startswith("windows"))
        with connection, connection.cursor() as cursor:
            count.note(cursor, counted)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
