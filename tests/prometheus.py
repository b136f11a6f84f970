"""The expressions that dashboards and rules ask Prometheus."""

import re
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
