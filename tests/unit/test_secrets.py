"""The maker of the deployment's secrets: complete, idempotent, for each service its own and no more."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ops.local.postgres import ROLES
from ops.secrets.__main__ import ROLES as ROLES_WITH_PASSWORDS
from ops.secrets.__main__ import SERVICES
from services.common import metrics_port
from tests.compose_file import REPOSITORY, load

COMPOSE = load("compose.prod.yml")["services"]
PROMETHEUS = yaml.safe_load((REPOSITORY / "ops" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))


def make(directory, *options):
    command = [sys.executable, "-m", "ops.secrets", "--directory", str(directory), "--edge-name", "phones.example.org"]
    result = subprocess.run([*command, *options], check=False, cwd=REPOSITORY, capture_output=True, text=True)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets")
    assert make(path)[0] == 0
    return path


def contents(directory):
    return {file.relative_to(directory): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


def test_every_mounted_directory_is_made_for_the_user_of_its_service():
    """What a container mounts as its secrets is made, and owned by whom the container runs as."""
    for name, service in COMPOSE.items():
        for volume in service.get("volumes", []):
            if match := re.fullmatch(r"\./secrets/services/(\S+):/run/(secrets|edge):ro", volume):
                assert service["user"] == f"{SERVICES[match[1]].user}:{SERVICES[match[1]].user}", name


def test_every_secret_file_that_a_service_is_told_of_is_made(directory):
    """No container is pointed to a file that is not there."""
    for name, service in COMPOSE.items():
        own = {"spark-worker": "stream", "stream-tool": "stream"}.get(name, name)
        for variable, value in service.get("environment", {}).items():
            if value.startswith("/run/secrets/") and name != "spark-master":
                assert (directory / "services" / own / value.removeprefix("/run/secrets/")).is_file(), (name, variable)


@pytest.mark.parametrize("job", PROMETHEUS["scrape_configs"], ids=lambda job: job["job_name"])
def test_prometheus_shows_a_password_or_certificate_wherever_it_asks(directory, job):
    """One that it has been given; a password in the name that the other side knows."""
    if "tls_config" in job:
        files = [Path(job["tls_config"][name]) for name in ("ca_file", "cert_file", "key_file")]
        assert job["scheme"] == "https"
        assert all(
            (directory / "services" / "prometheus" / file.relative_to("/run/secrets")).is_file() for file in files
        )
        return
    user, file = job["basic_auth"]["username"], job["basic_auth"]["password_file"]
    assert file == f"/run/secrets/{user}"
    assert (directory / "services" / "prometheus" / user).read_text() == (directory / "passwords" / user).read_text()


def test_metrics_are_asked_for_by_the_name_that_prometheus_gives():
    """Our services know the user whom Prometheus says to be."""
    assert {job["basic_auth"]["username"] for job in PROMETHEUS["scrape_configs"] if "basic_auth" in job} == {
        "prometheus", "alertmanager", metrics_port.USER,
    }  # fmt: skip


def test_roles_are_those_of_the_local_stack():
    """No role without a password, and no other."""
    assert ROLES_WITH_PASSWORDS == ROLES


def test_again_changes_nothing(directory):
    """What is there stays, to the byte."""
    before = contents(directory)
    assert make(directory)[0] == 0
    assert contents(directory) == before


def test_nothing_secret_is_printed(directory):
    """Only when each certificate ends."""
    _, output, errors = make(directory)
    assert re.fullmatch(r"(\S+ +ends \d{4}-\d\d-\d\d\n)+", output)
    assert errors == ""


def test_nobody_else_may_read(directory):
    """Files for their owner alone; the authority's key in no service's directory."""
    assert all(file.stat().st_mode & 0o077 == 0 for file in directory.rglob("*") if file.is_file())
    assert [file.name for file in (directory / "services").rglob("ca.key")] == []


def test_each_service_knows_its_own_alone(directory):
    """Ingest cannot act as the stream, and nobody but those who need them knows the owner and the superuser."""
    known = {name: {f.read_bytes() for f in (directory / "services" / name).iterdir()} for name in SERVICES}
    for password, may in (("owner", {"roles", "migrate", "users"}), ("postgres", {"roles", "postgres", "backup"})):
        secret = (directory / "passwords" / password).read_bytes()
        assert {name for name in SERVICES if secret in known[name]} == may
    clients = ("ingest", "stream", "topics", "dashboard", "grafana", "prometheus")
    keys = {name: (directory / "services" / name / "client.pem").read_bytes() for name in clients}
    assert len(set(keys.values())) == len(clients)


def test_renewal_makes_one_certificate_again(tmp_path):
    """The one that is named, for its service; all else stays."""
    assert make(tmp_path)[0] == 0
    before = contents(tmp_path)
    assert make(tmp_path, "--renew", "ingest")[0] == 0
    changed = {str(name) for name, content in contents(tmp_path).items() if before.get(name) != content}
    ends = {"authority/certificates.prom", "services/node-exporter/certificates.prom"}  # the same within one second
    assert changed - ends == {"authority/ingest.pem", "services/ingest/client.pem"}


HASHED_AT = ("postgres-exporter", "node-exporter", "blackbox-exporter")


@pytest.mark.parametrize(
    ("password", "made_from_it"),
    [
        ("prometheus", {"grafana/prometheus", "prometheus/prometheus", "prometheus/web.yml"}),
        (
            "metrics",
            {f"{name}/metrics" for name in ("ingest", "stream", "dashboard", "prometheus", "grafana")}
            | {f"{name}/web.yml" for name in HASHED_AT}
            | {"edge/metrics-access", "kafka/jvm-access.yml", "stream/jvm-access.yml"},
        ),
    ],
)
def test_rotation_makes_one_password_again(tmp_path, password, made_from_it):
    """And what is made from it: the hashes by which others know it."""
    assert make(tmp_path)[0] == 0
    before = contents(tmp_path)
    assert make(tmp_path, "--rotate", password)[0] == 0
    changed = {str(name) for name, content in contents(tmp_path).items() if before.get(name) != content}
    own = {f"passwords/{password}", f"passwords/{password}.bcrypt"}
    assert changed == own | {f"services/{file}" for file in made_from_it}


def test_who_only_checks_the_password_of_the_metrics_knows_its_hash_alone(directory):
    """Exporters of others could not ask each other."""
    secret = (directory / "passwords" / "metrics").read_text()
    for name in (*HASHED_AT, "kafka", "edge"):
        assert not [file.name for file in (directory / "services" / name).iterdir() if secret in file.read_text()]


@pytest.mark.parametrize("name", ["kafka", "spark"])
def test_exporter_of_a_jvm_is_told_what_to_tell_and_to_whom(directory, name):
    """The checked-in configuration and what is made of the password are one document together."""
    told = (REPOSITORY / "ops" / name / "jmx-exporter.yml").read_text(encoding="utf-8")
    access = (directory / "services" / {"spark": "stream"}.get(name, name) / "jvm-access.yml").read_text()
    whole = yaml.safe_load(told + access)
    assert whole.keys() == {"includeObjectNames", "rules", "httpServer"}
    assert whole["httpServer"]["authentication"]["basic"]["username"] == metrics_port.USER
