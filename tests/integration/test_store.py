"""The store transaction on a real PostgreSQL: exactly once, whatever is repeated, late, odd or interrupted."""

import cmath
import math
import random
import statistics
import threading
import time
import uuid
from collections import defaultdict

import pytest

from services.common.database import connect
from services.stream.store import prepare
from tests.integration.storing import NOW_NS, NOW_S, message


def windows(partition, device, resolution=1):
    rows = partition.query(
        f"""SELECT session, sensor, channel, extract(epoch FROM start)::bigint, count, mean, m2, min, max
        FROM window_{resolution}s JOIN series USING (series_id) JOIN session USING (session_id)
        JOIN device USING (device_id) WHERE device = %s""",
        device,
    )
    return {row[:4]: row[4:] for row in rows}


def test_windows_merge_over_batches(partition, device):
    """However values are spread over batches, a window holds the statistics of all of them, at each resolution."""
    generator = random.Random(7)
    values = defaultdict(list)
    for number in range(40):
        second = generator.randrange(25)
        value = generator.gauss(1000, 0.01)
        partition.store(partition.records(message(device, number, ("s", NOW_NS + second * 10**9, {"x": value}))))
        for resolution in (1, 10, 60):
            values[resolution, NOW_S + second // resolution * resolution].append(value)
    for resolution in (1, 10, 60):
        found = windows(partition, device, resolution)
        assert len(found) == sum(1 for key in values if key[0] == resolution)
        for (_, _, _, start), (count, mean, m2, low, high) in found.items():
            numbers = values[resolution, start]
            assert (count, low, high) == (len(numbers), min(numbers), max(numbers))
            assert math.isclose(mean, statistics.fmean(numbers), rel_tol=1e-12)
            spread = sum((number - statistics.fmean(numbers)) ** 2 for number in numbers)
            assert math.isclose(m2, spread, rel_tol=1e-6, abs_tol=1e-12)


def test_sent_again_is_a_duplicate(partition, device):
    """A message that comes again, in the same batch or a later one, is counted and changes nothing."""
    one = message(device, 1, ("s", NOW_NS, {"x": 1.0}))
    first = partition.store(partition.records(one, one))
    later = partition.store(partition.records(one, message(device, 2, ("s", NOW_NS, {"x": 3.0}))))
    assert (first.messages, first.duplicates) == (1, 1)
    assert (later.messages, later.duplicates) == (1, 1)
    assert windows(partition, device)["s", "s", "x", NOW_S][:2] == (2, 2.0)


def test_replay_of_a_batch_returns_its_first_receipt(partition, device):
    """The same batch once more, as after a crash before Spark's commit, is a no-op with the first one's counts."""
    records = partition.records(message(device, 1, ("s", NOW_NS, {"x": 1.0, "t": "a"})), b"broken")
    first = partition.store(records)
    again = partition.store(records, replay=True)
    assert again.replayed
    assert again.row() == first.row() | {"replayed": True, "seconds": {}, "times": [], "reasons": {}}
    assert partition.query("SELECT count(*) FROM batch WHERE topic = %s", partition.topic) == [(1,)]


def test_replay_of_the_topic_stores_nothing_twice(partition, device):
    """All offsets again under a new query, as after a lost checkpoint, are duplicates, quarantine included."""
    values = [message(device, n, ("s", NOW_NS + n * 10**9, {"x": 1.0, "t": "a"}), ("s", 5, {"x": 1})) for n in range(5)]
    records = partition.records(*values, b"broken", None)
    partition.store(records)
    before = windows(partition, device)
    partition.query_id, partition.batch_id = str(uuid.uuid4()), 0
    again = partition.store(records)
    assert (again.messages, again.duplicates, again.quarantined) == (0, 7, 0)
    assert windows(partition, device) == before
    whole = "SELECT position = -1 AS whole, count(*) FROM quarantine WHERE topic = %s GROUP BY 1 ORDER BY 1"
    assert partition.query(whole, partition.topic) == [(False, 5), (True, 2)]
    assert partition.query("SELECT count(*) FROM message WHERE topic = %s", partition.topic) == [(5,)]


def test_rolled_back_attempt_leaves_nothing(partition, device):
    """A transaction that ends before its commit has stored nothing, and the next attempt stores all."""
    records = partition.records(message(device, 1, ("s", NOW_NS, {"x": 1.0})), b"broken")
    partition.store(records, commit=False)
    partition.connection.rollback()
    assert windows(partition, device) == {}
    assert partition.store(records, replay=True).messages == 1


@pytest.mark.parametrize(
    ("query_id", "outcome"),
    [(None, {"replayed": True, "messages": 10}), ("00000000-0000-4000-8000-000000000001", {"duplicates": 10})],
    ids=["same stream", "second stream"],
)
def test_two_attempts_at_once_store_once(postgres, partition, device, query_id, outcome):
    """A second attempt at the same offsets, of this stream or of another one, waits and then stores nothing."""
    records = partition.records(*(message(device, n, ("s", NOW_NS, {"x": 1.0})) for n in range(10)))
    partition.store(records)
    records = partition.records(*(message(device, n, ("s", NOW_NS, {"x": 1.0})) for n in range(10, 20)))
    first = partition.store(records, commit=False)
    partition.query_id = query_id or partition.query_id
    other = connect(postgres.settings("stream_writer"), "test")
    prepare(other)
    receipts = []
    second = threading.Thread(
        target=lambda: receipts.append(partition.store(records, replay=True, connection=other)), daemon=True
    )
    second.start()
    wait_until_blocked(postgres, other)
    partition.connection.commit()
    second.join(timeout=10)
    other.close()
    assert first.messages == 10
    [receipt] = receipts
    assert receipt.row() | outcome == receipt.row()
    assert windows(partition, device)["s", "s", "x", NOW_S][0] == 20


def wait_until_blocked(postgres, connection):
    observer = connect(postgres.settings("exporter"), "test")
    observer.autocommit = True
    deadline = time.monotonic() + 10
    with observer.cursor() as cursor:
        blocked = False
        while not blocked:
            assert time.monotonic() < deadline
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (connection.info.backend_pid,))
            [(blocked,)] = cursor.fetchall()
    observer.close()


def test_late_message_updates_its_old_window(partition, device):
    """A message that comes three hours late is merged as if it had come in time."""
    early = NOW_NS - 3 * 3600 * 10**9
    partition.store(partition.records(message(device, 2, ("s", early, {"x": 1.0}), ("s", NOW_NS, {"x": 5.0}))))
    partition.store(partition.records(message(device, 1, ("s", early + 1, {"x": 3.0}))))
    assert windows(partition, device)["s", "s", "x", early // 10**9][:2] == (2, 2.0)


def test_same_number_in_another_hour_is_another_message(partition, device):
    """A messageId that starts again hours later within one session is new data."""
    for hour in (0, 30):
        partition.store(partition.records(message(device, 0, ("s", NOW_NS - hour * 3600 * 10**9, {"x": 1.0}))))
    assert len(windows(partition, device)) == 2


def test_angles_merge_to_their_circular_mean(partition, device):
    """However bearings are spread over batches and over the wrap, a window holds the direction of all of them."""
    generator = random.Random(11)
    values = defaultdict(list)
    for number in range(60):
        second = generator.randrange(12)
        bearing = generator.gauss(3, 20) % 360
        reading = ("compass", NOW_NS + second * 10**9, {"magneticBearing": bearing, "yaw": 3.1})
        partition.store(partition.records(message(device, number, reading)))
        for resolution in (1, 10, 60):
            values[resolution, NOW_S + second // resolution * resolution].append(bearing)
    for resolution in (1, 10, 60):
        for (_, _, channel, start), (count, mean, m2, _, _) in windows(partition, device, resolution).items():
            bearings = values[resolution, start]
            assert count == len(bearings)
            if channel == "yaw":
                assert (mean, round(m2, 9)) == (3.1, 0)
                continue
            resultant = sum(cmath.rect(1, math.radians(value)) for value in bearings)
            assert math.isclose(mean, math.degrees(cmath.phase(resultant)) % 360, rel_tol=1e-9, abs_tol=1e-9)
            spread = 2 * (count - abs(resultant)) * math.degrees(1) ** 2
            assert math.isclose(m2, spread, rel_tol=1e-6, abs_tol=1e-6)


def test_window_value_of_several_windows(partition, device):
    """What is shown of several windows is the circular mean of an angle, a counter's maximum, else the mean."""
    for number, (bearing, steps, x) in enumerate([(350, 7, 1.0), (10, 9, 5.0), (6, 8, 3.0)]):
        values = {"bearing": bearing, "steps": steps, "x": x}
        partition.store(partition.records(message(device, number, ("s", NOW_NS + number * 10**9, values))))
    rows = partition.query(
        """SELECT channel, window_value(is_counter, turn, sum(mean * count), sum(count), sum(resultant[0]),
            sum(resultant[1]), min(min), max(max))
        FROM window_1s JOIN series USING (series_id) JOIN session USING (session_id) JOIN device USING (device_id)
        WHERE device = %s GROUP BY series_id, channel, is_counter, turn""",
        device,
    )
    found = dict(rows)
    assert math.isclose(found.pop("bearing"), 2, abs_tol=0.1)
    assert found == {"steps": 9, "x": 3.0}


def test_readings_older_than_a_resolution_is_kept(partition, device):
    """Of old readings only the coarser windows are stored; the whole message and the session's figures are too."""
    ages = {20: [10, 60], 400: [60], 1: [1, 10, 60]}
    for number, days in enumerate(ages):
        partition.store(partition.records(message(device, number, ("s", NOW_NS - days * 86_400 * 10**9, {"x": 1.0}))))
    for resolution in (1, 10, 60):
        starts = {NOW_S - days * 86_400 for days, kept in ages.items() if resolution in kept}
        assert {start for _, _, _, start in windows(partition, device, resolution)} == {
            start // resolution * resolution for start in starts
        }
    assert partition.query("SELECT count(*), sum(readings) FROM message WHERE topic = %s", partition.topic) == [(3, 3)]


def test_devices_and_sessions_do_not_mix(partition, device):
    """Two phones with the same session, sensor and time stay two series."""
    other = f"{device}-b"
    partition.store(
        partition.records(message(device, 1, ("s", NOW_NS, {"x": 1.0})), message(other, 1, ("s", NOW_NS, {"x": 9.0})))
    )
    assert windows(partition, device)["s", "s", "x", NOW_S][1] == 1.0
    assert windows(partition, other)["s", "s", "x", NOW_S][1] == 9.0


def test_texts_are_kept_as_they_are(partition, device):
    """Quotes, newlines, separators, emoji, markup, the empty text and repetitions at one time all stay themselves."""
    texts = ['a "b" c', "line\nbreak\r\n", "a,b;c\t", "🏃 <b>", "", "\\N", r"\x41", "a"]
    readings = [("note", NOW_NS, {"text": text}) for text in [*texts, "a"]]
    partition.store(partition.records(message(device, 1, *readings)))
    rows = partition.query(
        """SELECT value FROM text_reading JOIN series USING (series_id) JOIN session USING (session_id)
        JOIN device USING (device_id) WHERE device = %s ORDER BY position""",
        device,
    )
    assert [value for (value,) in rows] == [*texts, "a"]


def test_values_of_one_reading_stay_what_they_are(partition, device):
    """Numbers keep every bit, booleans are 0 and 1, null is absent, lists are JSON, and text like a number is text."""
    longitude = math.nextafter(-179.99999999999997, 0)
    values = {"longitude": longitude, "latitude": 1 / 3, "on": True, "off": False, "no": None, "l": [1, "x"], "t": "3"}
    partition.store(partition.records(message(device, 1, ("location", NOW_NS, values))))
    for resolution in (1, 10, 60):
        found = {channel: row[1] for (_, _, channel, _), row in windows(partition, device, resolution).items()}
        assert found == {"longitude": longitude, "latitude": 1 / 3, "on": 1.0, "off": 0.0}
    rows = partition.query(
        """SELECT channel, value FROM text_reading JOIN series USING (series_id) JOIN session USING (session_id)
        JOIN device USING (device_id) WHERE device = %s ORDER BY channel""",
        device,
    )
    assert rows == [("l", '[1,"x"]'), ("t", "3")]


def test_extreme_numbers_merge(partition, device):
    """Numbers at the ends of what is aggregated neither overflow nor underflow when windows are merged."""
    for number, value in enumerate((1e100, -1e100, 5e-324, 0.0, -5e-324, 1e-200, 1e-101)):
        partition.store(partition.records(message(device, number, ("s", NOW_NS, {"x": value}))))
    count, mean, m2, low, high = windows(partition, device)["s", "s", "x", NOW_S]
    assert (count, low, high) == (7, -1e100, 1e100)
    assert math.isfinite(mean)
    assert math.isfinite(m2)


def test_counts_add_up(partition, device):
    """Records and readings read are stored, duplicates or quarantined, in the receipt and in the progress."""
    good = message(device, 1, ("s", NOW_NS, {"x": 1.0}), ("s", 1, {"x": 1.0}))
    receipt = partition.store(partition.records(good, good, b"broken"))
    assert (receipt.records, receipt.messages, receipt.duplicates, receipt.quarantined) == (3, 1, 1, 1)
    assert (receipt.readings, receipt.readings_stored) == (4, 1)
    assert (receipt.readings_duplicate, receipt.readings_quarantined) == (2, 1)
    progress = "SELECT offsets::text, records, readings FROM partition_progress WHERE topic = %s"
    assert partition.query(progress, partition.topic) == [("{[0,3)}", 3, 4)]


def test_session_figures(partition, device):
    """The session's row tells of its messages, duplicates, readings and times."""
    one = message(device, 1, ("s", NOW_NS, {"x": 1.0}), ("s", NOW_NS + 10**9, {"x": 1.0}), ("s", 1, {"x": 1.0}))
    partition.store(partition.records(one, one))
    rows = partition.query(
        """SELECT messages, duplicates, readings, readings_quarantined, numeric_values, text_values, not_known, late,
            extract(epoch FROM first_time)::bigint, extract(epoch FROM last_time)::bigint
        FROM session JOIN device USING (device_id) WHERE device = %s""",
        device,
    )
    assert rows == [(1, 1, 2, 1, 2, 0, 0, 0, NOW_S, NOW_S + 1)]


def test_whole_message_comes_back(partition, device):
    """The stored body is the record's value, byte for byte."""
    import zstandard

    [record] = partition.records(message(device, 1, ("s", NOW_NS, {"x": 1.0, "é": "ü"})))
    partition.store([record])
    [(body,)] = partition.query("SELECT body FROM message WHERE topic = %s", partition.topic)
    assert zstandard.ZstdDecompressor().decompress(bytes(body)) == record.value
