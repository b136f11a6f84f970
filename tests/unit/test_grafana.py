"""Grafana's dashboards and datasources: complete, current, and of nothing that nobody declares."""

import re

import pytest
import yaml

from ops.grafana.__main__ import DASHBOARDS, DIRECTORY, files
from ops.local.processes import REPOSITORY
from ops.metrics_page import SERVICES, declared
from tests.prometheus import metrics_of, panel_expressions, rule_expressions, rules

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.json()["panels"]]
PROVISIONING = REPOSITORY / "ops" / "grafana" / "provisioning"
SOURCES = yaml.safe_load((PROVISIONING / "datasources" / "datasources.yml").read_text(encoding="utf-8"))["datasources"]
RUNBOOKS = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
ENDINGS = {"histogram": ("_bucket", "_sum", "_count")}
DECLARED = {
    metric.name + ending
    for service in SERVICES
    for metric in declared(service)
    for ending in ENDINGS.get(metric.kind, ("",))
}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}

each_panel = pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=[f"{dashboard.name}-{panel['title']}" for dashboard, panel in PANELS]
)


def test_files_are_current():
    """The files that Grafana reads are what the source says; `make docs` writes them."""
    assert {file.name: file.read_text(encoding="utf-8") for file in DIRECTORY.glob("*.json")} == files()


def test_all_dashboards_are_there():
    """One for each part, and the one screen."""
    titles = {dashboard.title for dashboard in DASHBOARDS}
    resources = "Resources and certificates"
    assert titles == {
        "Pipeline", "Ingest", "Kafka", "Stream", "PostgreSQL", "Dashboard service", "Phones", resources
    }  # fmt: skip


@each_panel
def test_panel_says_what_it_shows(dashboard, panel):
    """A description, a unit, thresholds, and a datasource that is provisioned; its links lead to a runbook."""
    assert dashboard.description
    assert len(panel["description"]) > 10
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert panel["datasource"]["uid"] in {source["uid"] for source in SOURCES}
    sections = {section.lower() for section in re.findall(r"^### (.+)$", RUNBOOKS, re.MULTILINE)}
    assert {link["url"].partition("#")[2] for link in panel["links"]} <= sections


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_panels_lie_beside_each_other(dashboard):
    """No panel covers another, and none is wider than the page."""
    taken = set()
    for panel in dashboard.json()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("expression", [*panel_expressions(), *rule_expressions()], ids=lambda one: one.where)
def test_nothing_is_asked_that_nobody_declares(expression):
    """A metric of ours that is renamed or removed is found here, before a panel is empty and an alert silent."""
    ours = {name for name in metrics_of(expression.text) if name.startswith(tuple(f"{name}_" for name in SERVICES))}
    assert ours <= DECLARED
    assert {name for name in metrics_of(expression.text) if ":" in name} <= RECORDED


def test_names_are_found_in_expressions():
    """What the test above relies on."""
    text = 'sum by (le, job) (rate(a_b_total{x=~"c_d|e"}[5m])) / (f:g_h:i > 0) or on () vector(0) and up == 0'
    assert metrics_of(text) == {"a_b_total", "f:g_h:i", "up"}


def test_no_change_in_the_browser_can_be_saved():
    """Files are the truth."""
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "dashboards.yml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    assert all(dashboard.json()["editable"] is False for dashboard in DASHBOARDS)
    assert all(source["editable"] is False for source in SOURCES)


def test_no_password_stands_in_the_configuration():
    """Every secret of a datasource comes from a file."""
    secrets = [value for source in SOURCES for value in source.get("secureJsonData", {}).values()]
    assert secrets
    assert all(re.fullmatch(r"\$__file\{/run/secrets/[\w.]+\}", secret) for secret in secrets)
