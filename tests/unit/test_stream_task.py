"""How a partition's records are cut into transactions."""

from services.stream.decode import Record
from services.stream.task import portions


def records(*sizes):
    return [Record("t", 0, offset, 0, None, b"x" * size) for offset, size in enumerate(sizes)]


def offsets(*sizes, limit):
    return [[record.offset for record in portion] for portion in portions(records(*sizes), limit)]


def test_small_records_share_one_transaction():
    """Records that fit together are one portion."""
    assert offsets(10, 10, 10, limit=100) == [[0, 1, 2]]


def test_large_records_are_cut():
    """A portion ends with the record that reaches the bound; none is lost, none is empty."""
    assert offsets(60, 60, 60, 200, 1, limit=100) == [[0, 1], [2, 3], [4]]


def test_record_without_value_has_no_size():
    """A record without a value is a record like others."""
    assert list(portions([Record("t", 0, 7, 0, None, None)], 1)) == [[Record("t", 0, 7, 0, None, None)]]
