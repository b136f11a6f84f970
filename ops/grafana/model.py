"""Grafana's JSON from a few words: panels, rows of panels, dashboards.

The words cover what our dashboards need; the JSON is that of Grafana's schema version 39 and later.
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

PROMETHEUS: Final = {"type": "prometheus", "uid": "prometheus"}
POSTGRES: Final = {"type": "grafana-postgresql-datasource", "uid": "postgres"}
RUNBOOKS: Final = "/docs/operations.md"
COLUMNS: Final = 24
Json = dict[str, Any]
Steps = Sequence[tuple[float, str]]
"""From which value on which colour; below the first it is green."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. `queries` are (PromQL, legend), or with `sql` one (SQL, "") each.

    `alert` names the section of the runbooks that the panel links to; `extra` goes into the panel's JSON as it is.
    """

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    steps: Steps = ()
    width: int = 8
    height: int = 7
    sql: bool = False
    alert: str = ""
    zero: bool = True
    stacked: bool = False
    links: Sequence[Json] = ()
    extra: Json = field(default_factory=dict)


def stat(  # noqa: PLR0913, PLR0917  # a panel is a line, as in a table
    title: str, description: str, expression: str, unit: str = "short", steps: Steps = (), alert: str = ""
) -> Panel:
    """One large number, coloured by its steps."""
    return Panel(
        title=title, description=description, queries=[(expression, "")], unit=unit, steps=steps, alert=alert,
        kind="stat", width=4, height=4,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A page of panels; `job` is the Prometheus job that its variable `instance` chooses from."""

    name: str
    title: str
    description: str
    panels: Sequence[Panel]
    job: str = ""
    range: str = "now-30m"

    def json(self) -> Json:
        """What Grafana reads."""
        return {
            "uid": self.name,
            "title": self.title,
            "description": self.description,
            "tags": ["sensor-stream"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": self.range, "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "type": "dashboards",
                    "tags": ["sensor-stream"],
                    "asDropdown": True,
                    "title": "Dashboards",
                    "keepTime": True,
                },
                {
                    "type": "link",
                    "title": "Runbooks",
                    "url": f"{RUNBOOKS}#runbooks",
                    "targetBlank": True,
                    "icon": "doc",
                },
            ],
            "templating": {"list": [_instances(self.job)] if self.job else []},
            "panels": list(_placed(self.panels)),
        }


def _instances(job: str) -> Json:
    query = f'label_values(up{{job=~"{job}"}}, instance)'
    return {
        "name": "instance",
        "label": "Instance",
        "description": "Which of the containers; all by default",
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": "instance"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed(panels: Sequence[Panel]) -> Any:
    """The panels in reading order, as many in a row as there is room for."""
    x = y = row_height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height})
        x += panel.width
        row_height = max(row_height, panel.height)


def _panel(panel: Panel, number: int, place: Json) -> Json:
    source = POSTGRES if panel.sql else PROMETHEUS
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": place,
        "targets": [
            _target(panel, index, query, legend, source) for index, (query, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": panel.extra.get("overrides", [])},
        "options": _OPTIONS[panel.kind],
        "links": [_runbook(panel.alert)] if panel.alert else [],
    }


def _target(panel: Panel, index: int, query: str, legend: str, source: Json) -> Json:
    common = {"refId": chr(ord("A") + index), "datasource": source}
    if panel.sql:
        shape = "time_series" if panel.kind == "timeseries" else "table"
        return common | {"rawSql": query, "format": shape, "editorMode": "code", "rawQuery": True}
    once = {"instant": True, "format": "table"} if panel.kind == "table" else {"range": True}
    return common | {"expr": query, "legendFormat": legend or "__auto", "exemplar": "_bucket" in query} | once


def _defaults(panel: Panel) -> Json:
    steps = [{"value": None, "color": "green"}] + [{"value": value, "color": colour} for value, colour in panel.steps]
    defaults: Json = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "links": list(panel.links),
        "noValue": "–",
    }
    if panel.zero:
        defaults["min"] = 0
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    return defaults


def _runbook(alert: str) -> Json:
    return {"title": f"Runbook: {alert}", "url": f"{RUNBOOKS}#{alert.lower()}", "targetBlank": True}


_OPTIONS: Final[dict[str, Json]] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "area",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}
