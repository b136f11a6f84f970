"""`python -m ops.metrics_page`: writes docs/metrics.md from what the services declare."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import CollectorRegistry

SERVICES: Final = ("ingest", "stream", "dashboard", "simulator")
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
_HEAD: Final = """# Metrics

What each service tells Prometheus. This page is made from the declarations (`services/*/metrics.py`) by `make docs`.
A histogram has `_bucket`, `_sum` and `_count` behind its name. No label ever holds a device, session, token or sensor.
What Kafka, PostgreSQL, the JVMs and the machine tell comes from their exporters: `ops/kafka/jmx-exporter.yml`,
`ops/spark/jmx-exporter.yml`, `ops/postgres/exporter-queries.yml`, node_exporter.
"""


class Declared(NamedTuple):
    """A metric, by the name that Prometheus knows; of a histogram without its endings."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def declared(service: str) -> Iterator[Declared]:
    """The metrics of a service, in the order of their declaration."""
    module = importlib.import_module(f"services.{service}.metrics")
    for value in vars(module).values():
        if isinstance(value, MetricWrapperBase):
            ending = "_total" if value._type == "counter" else ""
            yield Declared(value._name + ending, value._type, tuple(value._labelnames), value._documentation)
        elif hasattr(value, "collect") and not isinstance(value, type | CollectorRegistry):
            for family in value.collect():
                yield Declared(family.name, family.type, (), family.documentation)


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(service) for service in SERVICES)])


def _section(service: str) -> str:
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |"
        for name, kind, labels, meaning in declared(service)
    ]
    head = [f"## {service}\n", "| metric | kind | labels | what it says |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
