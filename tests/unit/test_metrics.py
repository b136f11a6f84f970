"""What the services tell Prometheus: names, units, and labels that cannot grow."""

import re

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics import exposition

from ops.metrics_page import PAGE, SERVICES, declared, page
from services.stream import metrics as stream_metrics
from services.stream.receipts import Receipt

DECLARED = [(service, metric) for service in SERVICES for metric in declared(service)]
LABELS = {
    "code": "errors of ingest: a fixed list",
    "outcome": "what became of something: a fixed list",
    "reason": "why: a fixed list",
    "step": "steps of a task: a fixed list",
    "task": "housekeeping tasks: a fixed list",
    "sum": "sums that are checked: a fixed list",
    "table": "tables of the schema",
    "partition": "partitions of the topic",
    "callback": "callbacks of the dashboard, named in its source",
    "what": "what an export holds: a fixed list",
    "phase": "Spark's phases of a micro-batch: a fixed list",
    "query": "queries of the dashboard, named in its source",
}
"""Every label there is, with what bounds its values. What a phone sends is never among them."""


def test_page_is_current():
    """The reference is what the declarations say; `make docs` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(("service", "metric"), DECLARED, ids=[metric.name for _, metric in DECLARED])
def test_metric_is_named_by_the_rules(service, metric):
    """<service>_<thing>_<unit>[_total] in base units, with an explanation."""
    assert re.fullmatch(rf"{service}(_[a-z]+)+", metric.name)
    assert not re.search(r"_(ms|milliseconds|minutes|kib|mib|kb|mb|percent)(_|$)", metric.name)
    assert metric.meaning


@pytest.mark.parametrize(("service", "metric"), DECLARED, ids=[metric.name for _, metric in DECLARED])
def test_labels_are_bounded(service, metric):  # noqa: ARG001
    """No device, session, token or sensor can be a label: only those listed, whose values are known beforehand."""
    assert set(metric.labels) <= LABELS.keys()


def test_a_slow_batch_leads_to_its_trace():
    """The histogram of the micro-batches holds the trace id of one that is recorded, where Prometheus looks for it."""
    receipt = Receipt("query", 1, "topic", 0, 0, 9, 9, 7, 1, 1, 90, 70, 10, 10, trace_id="ab" * 16)
    stream_metrics.record_batch([receipt])
    told = exposition.generate_latest(REGISTRY).decode()
    assert re.search(rf'^stream_batch_seconds_bucket.* # {{trace_id="{"ab" * 16}"}}', told, re.MULTILINE)


def test_what_phones_send_grows_no_series():
    """A batch with names that nobody knows is counted in the series that are there already."""

    def batch(number):
        receipt = Receipt(f"query-{number}", number, f"topic-{number}", 0, 0, 9, 9, 7, 1, 1, 90, 70, 10, 10)
        stream_metrics.record_receipt(receipt)
        stream_metrics.record_batch([receipt])
        return {(sample.name, *sample.labels.values()) for metric in REGISTRY.collect() for sample in metric.samples}

    assert batch(1) == batch(2)
