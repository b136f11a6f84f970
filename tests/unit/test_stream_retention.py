"""The forecast of sizes."""

import pytest

from services.stream.retention import forecast, lines


@pytest.mark.parametrize(
    ("days_of_data", "per_day", "expected"),
    [(None, None, None), (0.01, None, None), (2, 500, 3500), (7, 143, 1000), (70, 143, 1000)],
)
def test_forecast(days_of_data, per_day, expected):
    """A table grows by what has come each day until it is as old as it is kept; without data nothing is said."""
    table = forecast("message", 7, None, 1000, days_of_data)
    assert (table.per_day, table.forecast) == (per_day, expected)
    assert "message" in "\n".join(lines([table]))
    assert ("needs an hour of data" in "\n".join(lines([table]))) == (expected is None)
