"""What `compose.prod.yml` promises: each line of the hardening, read from the file that operators run."""

import dataclasses
import os
import re
import subprocess

import pytest
import yaml

from ops.secrets.__main__ import SIGNED_IN
from services.common.database import DatabaseSettings
from services.dashboard.settings import DashboardDatabaseSettings, DashboardSettings
from services.ingest.settings import IngestSettings
from services.stream.settings import KeepSettings, RuleSettings, StreamSettings
from tests.compose_file import REPOSITORY, load, mebibytes, settings, targets_with_health_check, variables

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
PRODUCTION, DEVELOPMENT = "compose.prod.yml", "compose.dev.yml"
COMPOSE = load(PRODUCTION)
SERVICES = COMPOSE["services"]
TOOLS = {name for name, service in SERVICES.items() if service.get("profiles") == ["tools"]}
ONE_SHOT = {"secrets", "roles", "migrate", "topics"} | TOOLS
HOST_MIB = 8192
NEEDED_NETWORKS = {
    "secrets": set(),
    "roles": {"data"},
    "migrate": {"data"},
    "topics": {"bus"},
    "edge": {"edge", "telemetry"},
    "ingest": {"edge", "bus", "data", "telemetry"},
    "kafka": {"bus", "telemetry"},
    "spark-master": {"bus"},
    "spark-worker": {"bus", "data"},
    "stream": {"bus", "data", "telemetry"},
    "postgres": {"data"},
    "dashboard": {"edge", "data", "telemetry"},
    "prometheus": {"telemetry"},
    "alertmanager": {"telemetry", "edge"},
    "grafana": {"edge", "data", "telemetry"},
    "tempo": {"telemetry"},
    "postgres-exporter": {"data", "telemetry"},
    "node-exporter": {"telemetry"},
    "blackbox-exporter": {"telemetry"},
    "tokens": {"data"},
    "users": {"data"},
    "stream-tool": {"bus", "data"},
    "backup": {"data"},
}
NEEDED_CAPABILITIES = {"secrets": {"CHOWN", "DAC_OVERRIDE", "FOWNER"}, "edge": {"NET_BIND_SERVICE"}}
WATCHING = {"prometheus", "alertmanager", "grafana", "tempo", "postgres-exporter", "node-exporter", "blackbox-exporter"}
READ_BY = {
    "ingest": [IngestSettings, DatabaseSettings],
    "stream": [StreamSettings, KeepSettings, RuleSettings, DatabaseSettings],
    "spark-worker": [RuleSettings, DatabaseSettings],
    "dashboard": [DashboardSettings, DashboardDatabaseSettings],
}
GIVEN_ELSEWHERE = {"SPARK_JARS_DIR", "SPARK_DRIVER_HOST"}  # by the image, and found at start

each_service = pytest.mark.parametrize("name", SERVICES)
each_running = pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOT))


def networks(name):
    return set(SERVICES[name].get("networks", []))


@each_service
def test_only_the_edge_publishes_ports(name):
    """443, and 80 that leads on to it; every other service is out of reach from outside."""
    assert SERVICES[name].get("ports", []) == (["443:443", "80:80"] if name == "edge" else [])


def test_all_networks_but_that_of_the_edge_are_internal():
    """No way out of them either."""
    assert {name: bool(network.get("internal")) for name, network in COMPOSE["networks"].items()} == {
        "edge": False, "bus": True, "data": True, "telemetry": True,
    }  # fmt: skip


def test_each_service_is_on_the_networks_that_it_needs():
    """And on no other; who is on none has no network at all."""
    assert {name: networks(name) for name in SERVICES} == NEEDED_NETWORKS
    assert all(networks(name) or SERVICES[name]["network_mode"] == "none" for name in SERVICES)


@each_service
def test_nobody_is_root(name):
    """A fixed user of its own; only what makes secrets, once and without a network, hands them out as root."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*" if name != "secrets" else "0:0", SERVICES[name]["user"])


@each_service
def test_root_file_system_is_read_only(name):
    """What has to be written lies in a volume or in a tmpfs with a size."""
    assert SERVICES[name]["read_only"] is True
    assert all("size=" in each for each in SERVICES[name].get("tmpfs", []))


@each_service
def test_no_capability_without_a_reason(name):
    """All are dropped; those that come back are few."""
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert set(SERVICES[name].get("cap_add", [])) == NEEDED_CAPABILITIES.get(name, set())
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert not SERVICES[name].keys() & {"privileged", "devices", "pid", "ipc", "userns_mode", "env_file"}


@each_service
def test_every_service_has_its_limits(name):
    """Memory, CPU, processes, logs, and time to end."""
    service = SERVICES[name]
    assert mebibytes(service["mem_limit"]) <= 2048
    assert 0 < service["cpus"] <= 2
    assert 0 < service["pids_limit"] <= 512
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert re.fullmatch(r"\d+s", service["stop_grace_period"])


def test_all_together_fit_the_host():
    """Memory of everything that runs at the same time, one-shots of the start included."""
    assert sum(mebibytes(SERVICES[name]["mem_limit"]) for name in SERVICES.keys() - TOOLS) <= HOST_MIB


@each_running
def test_every_service_says_whether_it_is_healthy_and_comes_back(name):
    """A health check in the file or in its image, and a restart policy."""
    service = SERVICES[name]
    target = service.get("build", {}).get("target")
    assert service.get("healthcheck", {}).get("test") or target in targets_with_health_check()
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_one_shots_try_again_but_not_for_ever(name):
    """What runs once comes back only when it failed."""
    assert re.fullmatch(r"on-failure:\d", SERVICES[name]["restart"])


@each_service
def test_order_is_by_condition(name):
    """Nothing waits for a mere start, and the way of the data waits for nothing that only watches."""
    waits_for = SERVICES[name].get("depends_on", {})
    assert all(each["condition"] != "service_started" for each in waits_for.values())
    assert name in WATCHING or not waits_for.keys() & WATCHING
    assert name not in WATCHING or not waits_for.keys() - {"secrets", "roles"}


@each_service
def test_images_are_exact(name):
    """A tag that says which; those of others stand once, in `.env_config`."""
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/-]+:v?\d[\w.-]*(@sha256:[0-9a-f]{64})?", image)
    assert image.startswith("sensor-stream/") or image in settings().values()


def test_each_base_image_stands_once():
    """Neither the Dockerfile nor a compose file names one."""
    images = {value for name, value in settings().items() if name.endswith("_IMAGE")}
    assert len(images) == 12
    for file in ("Dockerfile", PRODUCTION, DEVELOPMENT):
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert not [image for image in images if image in text]


@each_service
def test_no_secret_in_the_environment(name):
    """Secrets come as files of the service's own directory, and nobody can write there."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert not re.search(r"PASSWORD|PASS(_|$)|SECRET|TOKEN$|KEY$", variable) or value.startswith("/run/secrets/")
    for volume in SERVICES[name].get("volumes", []):
        source, target, *mode = volume.rsplit(":", 2) if volume.endswith(":ro") else volume.rsplit(":", 1)
        if target == "/run/secrets":
            own = {"spark-worker": "stream", "stream-tool": "stream"}.get(name, name)
            assert source == ("./secrets/own" if name == "edge" else f"./secrets/services/{own}")
        assert mode == ["ro"] or not source.startswith(".") or name == "secrets"
        assert "docker.sock" not in volume


def test_tempo_answers_only_certificates():
    """Spans and questions come over TLS with certificates of both sides; all else that listens is on loopback."""
    told = yaml.safe_load((REPOSITORY / "ops" / "tempo" / "tempo.yml").read_text(encoding="utf-8"))
    own = {"cert_file": "/run/secrets/server.pem", "key_file": "/run/secrets/server.pem"}
    wanted = own | {"client_ca_file": "/run/secrets/ca.crt"}
    assert told["distributor"]["receivers"].keys() == {"otlp"}
    assert told["distributor"]["receivers"]["otlp"]["protocols"] == {
        "http": {"endpoint": "0.0.0.0:4318", "tls": wanted}
    }
    assert told["server"]["http_tls_config"] == wanted | {"client_auth_type": "RequireAndVerifyClientCert"}
    inner = told["internal_server"]
    assert {told["server"]["grpc_listen_address"], inner["http_listen_address"], inner["grpc_listen_address"]} == {
        "127.0.0.1"
    }
    assert f"http://127.0.0.1:{inner['http_listen_port']}/ready" in SERVICES["tempo"]["healthcheck"]["test"][-1]
    assert SERVICES["dashboard"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://tempo:4318"


def test_edge_reads_who_may_ask_for_its_metrics():
    """From a file that is made for it; without it the edge does not start."""
    configuration = (REPOSITORY / "ops" / "edge" / "Caddyfile").read_text(encoding="utf-8")
    file = re.search(r"{\$EDGE_METRICS_ACCESS:import (\S+)}", configuration)[1]
    assert file == "/run/edge/metrics-access"
    assert "./secrets/services/edge:/run/edge:ro" in SERVICES["edge"]["volumes"]
    assert "EDGE_METRICS_ACCESS" not in SERVICES["edge"]["environment"]
    assert SERVICES["edge"]["depends_on"] == {"secrets": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", SIGNED_IN)
def test_who_is_of_prometheus_family_asks_for_a_password(name):
    """Each is told where the hashes are, in the directory that only it mounts."""
    assert "--web.config.file=/run/secrets/web.yml" in SERVICES[name]["command"]


def test_exporters_of_jvms_read_what_tells_them_whom_to_answer():
    """The configuration that is put together at the start of the container, not the one of the image."""
    kafka, spark = SERVICES["kafka"]["environment"]["KAFKA_OPTS"], SERVICES["stream"]["environment"]
    written = re.search(r"cat jmx-exporter.yml /run/secrets/jvm-access.yml > (\S+)", DOCKERFILE)[1]
    assert kafka.endswith(f"=9105:{written}")
    configuration = re.search(r"SPARK_CONF_DIR=(\S+)", DOCKERFILE)[1]
    assert spark["SPARK_DRIVER_JAVA_OPTIONS"].endswith(f"=9106:{configuration}/jmx-exporter.yml")
    assert spark["SPARK_METRICS_ACCESS_FILE"] == "/run/secrets/jvm-access.yml"


def test_every_variable_has_a_default():
    """The command works as it stands, from a fresh clone."""
    for file in (PRODUCTION, DEVELOPMENT):
        assert variables(file) <= settings().keys()


@pytest.mark.parametrize("name", READ_BY)
def test_every_setting_reaches_its_service(name):
    """What a service declares is given to its container, so that `.env_config` counts there."""
    declared = {field.metadata["name"] for kind in READ_BY[name] for field in dataclasses.fields(kind)}
    assert declared - GIVEN_ELSEWHERE <= SERVICES[name]["environment"].keys()


@pytest.mark.parametrize("file", [PRODUCTION, DEVELOPMENT])
def test_builds_know_every_base_image(file):
    """A build of one target looks at the base images of all of them."""
    wanted = set(re.findall(r"^ARG ([A-Z]+_IMAGE)$", DOCKERFILE, re.MULTILINE))
    builds = [service["build"] for service in load(file)["services"].values() if "build" in service]
    assert all(wanted <= build["args"].keys() for build in builds)


def test_development_only_adds():
    """It takes nothing away from production, and publishes on loopback alone."""
    for name, service in load(DEVELOPMENT)["services"].items():
        if name in SERVICES:
            assert service.keys() <= {"ports", "volumes", "command", "entrypoint"}
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize(
    ("said", "published"),
    [({}, "127.0.0.1:443 127.0.0.1:80"), ({"PUBLISH_HTTPS": "8443"}, "8443 127.0.0.1:80")],
)
def test_development_publishes_the_edge_on_loopback(tmp_path, said, published):
    """`make up-dev` gives the edge's ports to this machine alone, unless the environment says where they are to be."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$PUBLISH_HTTPS $PUBLISH_HTTP"\n')
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | said
    told = subprocess.run(
        ["make", "-s", "up-dev"], check=True, capture_output=True, text=True, env=environment, cwd=REPOSITORY
    )
    assert told.stdout.strip() == published
