"""The expressions that dashboards and rules ask Prometheus."""

import json
import re
import urllib.parse
import urllib.request
from typing import NamedTuple

import yaml

from ops.grafana.__main__ import DASHBOARDS
from ops.local.processes import REPOSITORY

RULES = sorted((REPOSITORY / "ops" / "prometheus" / "rules").glob("*.yml"))
_METRIC = re.compile(r"(?<![\w:\"])([a-z][a-z0-9_:]*_[a-z0-9_:]+|up)(?=\s*[{\[)/<>=+*-]|\s|$)(?!\s*\()")
_WORDS = {"group_left", "group_right", "count_values"}


class Expression(NamedTuple):
    """`where` says which panel or rule asks it."""

    where: str
    text: str


def panel_expressions():
    """Every PromQL expression of every panel and of the dashboards' variables."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            if not panel.sql:
                for query, _ in panel.queries:
                    yield Expression(f"{dashboard.title}: {panel.title}", query)


def sql_statements():
    """Every SQL statement of every panel."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            if panel.sql:
                yield from (Expression(f"{dashboard.title}: {panel.title}", query) for query, _ in panel.queries)


def rules():
    """Every rule of every file, as it stands there."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def rule_expressions():
    """Every expression of every rule."""
    for rule in rules():
        yield Expression(rule.get("alert") or rule["record"], rule["expr"])


def metrics_of(text):
    """The names of the metrics in an expression."""
    without_labels = re.sub(r"\{[^}]*\}", "{}", text)
    without_groups = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", without_labels)
    without_strings = re.sub(r'"[^"]*"', '""', without_groups)
    return {name for name in _METRIC.findall(without_strings) if name not in _WORDS}


class Prometheus:
    """A running one, asked over its HTTP interface."""

    def __init__(self, url):
        self._url = url

    def ask(self, path, **parameters):
        """The data of an answer. Raises `urllib.error.HTTPError` for a question that is not understood."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def samples(self, expression):
        """(labels, value) of each sample that the expression has now, with Grafana's variables filled in."""
        for variable, value in (("$__rate_interval", "1m"), ("$instance", ".*")):
            expression = expression.replace(variable, value)
        return [(one["metric"], float(one["value"][1])) for one in self.ask("query", query=expression)["result"]]

    def alerts(self, state="firing"):
        """The names of the alerts in this state, without the one that is there always."""
        alerts = {one["labels"]["alertname"] for one in self.ask("alerts")["alerts"] if one["state"] == state}
        return alerts - {"Watchdog"}
