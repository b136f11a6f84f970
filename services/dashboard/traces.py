"""Traces of what people wait for: a request, its callbacks and their queries; and links to the traces of batches."""

from typing import Final

from flask import Flask, Response, g, request

from services.common.telemetry import SpanKind, Tracing

_NOT_TRACED: Final = ("/assets/", "/_dash-component-suites/", "/livez", "/readyz")


def register(server: Flask, tracing: Tracing) -> None:
    """Trace the requests; what runs within one finds its span as the current one."""

    @server.before_request
    def begin() -> None:
        if not request.path.startswith(_NOT_TRACED):
            route = request.url_rule.rule if request.url_rule else "unknown"
            g.span = tracing.begin(f"{request.method} {route}", SpanKind.SERVER, request.headers.get("traceparent"))
            g.active = g.span.active()
            g.active.__enter__()

    @server.after_request
    def show(response: Response) -> Response:
        if (span := g.get("span")) and span.trace_id:
            response.headers["X-Trace-Id"] = span.trace_id
            g.status = response.status_code
        return response

    @server.teardown_request
    def end(error: BaseException | None) -> None:
        if active := g.pop("active", None):
            active.__exit__(None, None, None)
            status = g.get("status", 500)
            cause = type(error).__name__ if error else "server_error" if status >= 500 else None
            g.span.end({"http.request.method": request.method, "http.response.status_code": status}, error=cause)


def trace_link(template: str, trace_id: str | None) -> str | None:
    """The address of a trace, from the setting TRACE_URL; None where there is none."""
    return template.replace("{trace_id}", trace_id) if template and trace_id else None
