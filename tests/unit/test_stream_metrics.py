"""What the stream's metrics are made from."""

import pytest

from services.common.settings import SettingsError, load
from services.stream.metrics import lag_of
from services.stream.receipts import BOUNDS_S, Spread
from services.stream.settings import KeepSettings


def progress(end, latest):
    return {"sources": [{"endOffset": end, "latestOffset": latest}]}


@pytest.mark.parametrize(
    ("given", "lags"),
    [
        (None, {}),
        ({"sources": []}, {}),
        (progress({"t": {"0": 5, "1": 7}}, {"t": {"0": 5, "1": 9}}), {"0": 0, "1": 2}),
        (progress('{"t":{"0":5}}', '{"t":{"0":8}}'), {"0": 3}),
        (progress(None, {"t": {"0": 4}}), {"0": 4}),
        (progress({"t": {"0": 9}}, {"t": {"0": 8}}), {"0": 0}),
        (progress({"t": {"0": 9}}, None), {}),
    ],
)
def test_lag_is_what_kafka_holds_beyond_the_batch(given, lags):
    """The lag of each partition is its newest offset less the one that was read, in each form Spark writes them."""
    assert lag_of(given) == lags


def test_spread_counts_by_bounds():
    """A duration counts up to the first bound that it does not exceed; clocks that disagree count as none."""
    spread = Spread.of([0.1, 0.11, 10**6, -3])
    assert (spread.counts[0], spread.counts[1], spread.counts[-1], sum(spread.counts)) == (2, 1, 1, 4)
    assert len(spread.counts) == len(BOUNDS_S) + 1
    assert spread.total == pytest.approx(10**6 + 0.21)


@pytest.mark.parametrize(
    "given",
    [
        {"STREAM_KEEP_1S_DAYS": "0"},
        {"STREAM_KEEP_LEDGER_DAYS": "7"},
        {"STREAM_KEEP_QUARANTINE_DAYS": "20", "KAFKA_RETENTION_DAYS": "20"},
    ],
)
def test_ages_that_would_store_twice_are_refused(given):
    """What Kafka can replay must still be known to the ledger and the quarantine; nothing is kept for no day."""
    with pytest.raises(SettingsError, match="STREAM_KEEP"):
        load(KeepSettings, given)
