"""The record file: lines that are whole, whatever ended the run before."""

import json
import threading

import pytest
from msgspec import Raw

from services.simulator.record import Attempt, Record


def attempt(number):
    return Attempt(1.5, None, None, "no answer", Raw(b'{"messageId":%d}' % number))


def numbers(file):
    return [json.loads(line)["message"]["messageId"] for line in file.read_text().splitlines()]


def test_line_is_there_at_once(tmp_path):
    """An attempt can be read as soon as it was written, with null for an answer that did not come."""
    with Record(tmp_path / "record") as record:
        record.write(attempt(7))
        line = json.loads((tmp_path / "record").read_text())
    assert line == {
        **{"sent_at": 1.5, "answered_at": None, "status": None},
        **{"detail": "no answer", "message": {"messageId": 7}},
    }


@pytest.mark.parametrize("rest", ["", '{"sent_at":1', '{"sent_at":1,"message":{"text":"\u00e9 no newline"}}'])
def test_existing_record_is_continued(tmp_path, rest):
    """A record is continued after its last whole line; what a kill cut short is dropped."""
    for number in (1, 2):
        with Record(tmp_path / "record") as record:
            record.write(attempt(number))
        with (tmp_path / "record").open("a") as file:
            file.write(rest)
    with Record(tmp_path / "record"):
        pass
    assert numbers(tmp_path / "record") == [1, 2]


def test_record_that_is_one_cut_line(tmp_path):
    """A record of which no line is whole begins anew."""
    (tmp_path / "record").write_text('{"sent_at":')
    with Record(tmp_path / "record") as record:
        record.write(attempt(3))
    assert numbers(tmp_path / "record") == [3]


def test_threads_do_not_mix_their_lines(tmp_path):
    """Lines of many phones that write at the same time stay whole."""
    with Record(tmp_path / "record") as record:
        threads = [
            threading.Thread(target=lambda n=n: [record.write(attempt(n * 100 + i)) for i in range(100)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers(tmp_path / "record")) == list(range(800))
