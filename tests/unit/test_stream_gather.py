"""Receipts on their way from the tasks to the driver."""

import pickle

import msgspec
import pytest
from prometheus_client import REGISTRY

from services.common.telemetry import Tracing
from services.stream.gather import WHOLE_AFTER_S, Gather, ReceiptsOnTheirWay
from services.stream.receipts import Receipt


def receipt(batch_id, partition=0):
    counts = [9, 7, 1, 1, 90, 70, 10, 10]
    return Receipt("q", batch_id, "t", partition, 0, 9, *counts, began_ns=10**9, committed_ns=2 * 10**9)


def test_tasks_collect_and_the_driver_takes():
    """What a task gets adds receipts up; on the driver each is handed on, and nothing is kept."""
    taken = []
    on_driver = ReceiptsOnTheirWay(taken.append)
    in_task = pickle.loads(pickle.dumps(on_driver))
    sent = [msgspec.json.encode(receipt(1, partition)) for partition in range(2)]
    collected = in_task.addInPlace(in_task.addInPlace(in_task.zero([]), sent[:1]), sent[1:])
    assert collected == sent
    assert on_driver.addInPlace([], collected) == []
    assert taken == [receipt(1, 0), receipt(1, 1)]


def test_receipt_that_cannot_be_read_stops_nothing(caplog):
    """Spark waits for the driver's answer: an error is logged, the next receipt is taken."""
    taken = []
    ReceiptsOnTheirWay(taken.append).addInPlace([], [b"nonsense", msgspec.json.encode(receipt(1))])
    assert taken == [receipt(1)]
    assert "a receipt is left out" in caplog.text


def finished():
    """How many micro-batches have been found whole until now."""
    return REGISTRY.get_sample_value("stream_batch_seconds_count")


@pytest.fixture
def tracing(monkeypatch):
    """Tracing that is off."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    return Tracing("test")


def test_receipts_of_a_micro_batch_belong_together(tracing):
    """A micro-batch is whole when the first receipt of the next one comes."""
    gather, before = Gather(tracing), finished()
    for each in (receipt(1, 0), receipt(1, 1)):
        gather.take(each)
    assert finished() == before
    gather.take(receipt(2, 0))
    assert finished() == before + 1


def test_last_micro_batch_is_whole_after_a_while(tracing):
    """Before a silence nothing follows: then time decides."""
    now = 100.0
    gather, before = Gather(tracing, lambda: now), finished()
    gather.take(receipt(1, 1))
    gather.tick()
    assert finished() == before
    now += WHOLE_AFTER_S + 1
    gather.tick()
    gather.tick()
    assert finished() == before + 1
