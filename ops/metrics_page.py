"""`python -m ops.metrics_page`: writes docs/metrics.md from what the services declare."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client.metrics import MetricWrapperBase

SERVICES: Final = ("ingest", "stream", "dashboard", "simulator")
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
_HEAD: Final = """# Metrics

What each service tells Prometheus. This page is made from the declarations (`services/*/metrics.py`) by `make docs`.
A histogram has `_bucket`, `_sum` and `_count` behind its name. No label ever holds a device, session, token or sensor.
What Kafka, PostgreSQL, the JVMs and the machine tell comes from their exporters: `ops/kafka/jmx-exporter.yml`,
`ops/spark/jmx-exporter.yml`, `ops/postgres/exporter-queries.yml`, node_exporter.
"""


def declared(service: str) -> Iterator[MetricWrapperBase]:
    """The metrics of a service, in the order of their declaration."""
    module = importlib.import_module(f"services.{service}.metrics")
    for value in vars(module).values():
        if isinstance(value, MetricWrapperBase):
            yield value


def name_of(metric: MetricWrapperBase) -> str:
    """The name as Prometheus knows it; of a histogram without its endings."""
    return f"{metric._name}_total" if metric._type == "counter" else metric._name


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(service) for service in SERVICES)])


def _section(service: str) -> str:
    rows = [
        f"| `{name_of(metric)}` | {metric._type} | {', '.join(f'`{label}`' for label in metric._labelnames)} |"
        f" {metric._documentation} |"
        for metric in declared(service)
    ]
    return "\n".join(
        [f"## {service}\n", "| metric | kind | labels | what it says |", "| --- | --- | --- | --- |", *rows, ""]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
