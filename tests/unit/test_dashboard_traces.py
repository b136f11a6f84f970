"""Links from pages to traces, and requests with tracing switched off."""

import pytest
from flask import Flask

from services.common.telemetry import Tracing
from services.dashboard.traces import register, trace_link


@pytest.mark.parametrize(
    ("template", "trace_id", "link"),
    [
        ("https://x/explore?q={trace_id}&panes={}", "ab", "https://x/explore?q=ab&panes={}"),
        ("", "ab", None),
        ("https://x/{trace_id}", None, None),
    ],
)
def test_link_to_a_trace(template, trace_id, link):
    """There is a link where the setting says where traces are and the batch has one."""
    assert trace_link(template, trace_id) == link


def test_requests_are_answered_without_tracing(monkeypatch):
    """Without an endpoint a request is answered as ever, and says of no trace."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    server = Flask("test")
    register(server, Tracing("dashboard"))
    server.get("/page")(lambda: "here")
    answer = server.test_client().get("/page")
    assert (answer.status_code, answer.text) == (200, "here")
    assert "X-Trace-Id" not in answer.headers
