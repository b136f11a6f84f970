"""Logs at a limited rate."""

import logging

from services.ingest.log_limit import LimitedLog
from tests.clock import Clock


def test_first_line_then_one_per_period_with_the_number_left_out(caplog):
    """A repeated line is logged at once, then once per period, saying how many were left out."""
    caplog.set_level("INFO")
    clock = Clock(100.0)
    limited = LimitedLog(10, clock)
    for clock.now in (100, 101, 109.9, 110, 111, 130):
        limited.write(logging.INFO, "a", "away", port=1)
    assert [line.fields for line in caplog.records] == [
        {"port": 1},
        {"port": 1, "left_out": 2},
        {"port": 1, "left_out": 1},
    ]


def test_keys_do_not_silence_each_other(caplog):
    """Lines with other keys have their own limit."""
    caplog.set_level("INFO")
    limited = LimitedLog(10, Clock())
    for key in ("a", "b", "a"):
        limited.write(logging.INFO, key, key)
    assert [line.getMessage() for line in caplog.records] == ["a", "b"]


def test_text_is_not_a_format(caplog):
    """A text with percent signs is logged as it is."""
    LimitedLog(10).write(logging.ERROR, "a", "100%s of %d")
    assert caplog.messages == ["100%s of %d"]
