"""Prometheus on a laptop: the deployment's configuration with local targets."""

from urllib.parse import urlsplit

import pytest
import yaml

from ops.local.monitoring import localised
from ops.local.processes import REPOSITORY
from tests.compose_file import load

CONFIGURATION = yaml.safe_load((REPOSITORY / "ops" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))


def test_local_targets_take_the_place_of_found_ones():
    """What runs here is asked at its port, with the job's other settings; what does not run is left out."""
    made = localised(CONFIGURATION, {"ingest": 7001, "kafka": 7002, "prometheus": 7003})
    jobs = {job["job_name"]: job for job in made["scrape_configs"]}
    assert jobs.keys() == {"ingest", "kafka", "prometheus"}
    assert "basic_auth" not in jobs["prometheus"]
    assert jobs["kafka"]["static_configs"] == [{"targets": ["127.0.0.1:7002"]}]
    assert jobs["kafka"]["scrape_interval"] == "15s"
    assert "dns_sd_configs" not in yaml.safe_dump(made)


def test_rules_are_those_of_the_deployment():
    """The rules stay where they are, whatever directory Prometheus runs in."""
    [pattern] = localised(CONFIGURATION, {})["rule_files"]
    assert pattern == str(REPOSITORY / "ops" / "prometheus" / "rules" / "*.yml")


def targets():
    """(job, name, port) of all that Prometheus looks for by name in the deployment."""
    for job in [*CONFIGURATION["scrape_configs"], *CONFIGURATION["alerting"]["alertmanagers"]]:
        for found in job.get("dns_sd_configs", []):
            yield job.get("job_name", "alerting"), found["names"][0], found["port"]


@pytest.mark.parametrize(("job", "name", "port"), list(targets()))
def test_targets_are_services_that_prometheus_reaches(job, name, port):  # noqa: ARG001
    """Each name is a service of the deployment, on a network that it shares with Prometheus."""
    services = load("compose.prod.yml")["services"]
    assert set(services[name]["networks"]) & set(services["prometheus"]["networks"])


def test_edge_is_asked_for_its_public_name_where_it_is():
    """A public name such as localhost, or an address behind a router, does not lead from a container to the edge."""
    [probe] = [job for job in CONFIGURATION["scrape_configs"] if job["job_name"] == "edge-probe"]
    [target] = probe["params"]["target"]
    services = load("compose.prod.yml")["services"]
    assert set(services[urlsplit(target).hostname]["networks"]) & set(services["blackbox-exporter"]["networks"])
    assert {"source_labels": ["edge"], "target_label": "__param_hostname"} in probe["relabel_configs"]
