"""The certificates of all principals, as openssl reads them."""

import re
import subprocess
import time

import pytest

from ops.local.processes import REPOSITORY

PROGRAM = REPOSITORY / "ops" / "kafka-ssl" / "make-certificates"
CLIENTS = ["admin.pem", "ingest.pem", "stream.pem", "dashboard.pem", "grafana.pem", "prometheus.pem"]
PRINCIPALS = ["broker.pem", "tempo.pem", *CLIENTS, "postgres.crt"]


def make(directory, *options):
    return subprocess.run([PROGRAM, "--directory", directory, *options], capture_output=True, text=True, check=False)


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def contents(directory):
    """What each file holds, but for the list of when all of them end: it follows from the others."""
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.name != "certificates.prom"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Certificates made once; tests look at them and do not change them."""
    directory = tmp_path_factory.mktemp("certificates")
    result = make(directory, "--broker-names", "kafka,127.0.0.1", "--postgres-names", "postgres")
    assert result.returncode == 0, result.stderr
    return directory


@pytest.mark.parametrize("name", PRINCIPALS)
def test_certificate_is_signed_by_the_authority(made, name):
    """Every certificate verifies against the authority and bears the principal's name."""
    assert openssl("verify", "-CAfile", made / "ca.crt", made / name).endswith(": OK\n")
    subject = openssl("x509", "-in", made / name, "-noout", "-subject", "-nameopt", "RFC2253")
    assert subject == f"subject=CN={name.partition('.')[0]},O=sensor-stream\n"


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("broker.pem", "sslserver"),
        ("broker.pem", "sslclient"),
        ("ingest.pem", "sslclient"),
        ("postgres.crt", "sslserver"),
        ("tempo.pem", "sslserver"),
        ("grafana.pem", "sslclient"),
    ],
)
def test_certificate_serves_its_purpose(made, name, usage):
    """Servers may serve, clients may connect; the broker, which also talks to itself, may do both."""
    openssl("verify", "-purpose", usage, "-CAfile", made / "ca.crt", made / name)


@pytest.mark.parametrize(
    ("name", "usage"),
    [(name, "sslserver") for name in CLIENTS] + [("postgres.crt", "sslclient"), ("tempo.pem", "sslclient")],
)
def test_certificate_serves_no_other_purpose(made, name, usage):
    """A client's certificate cannot pose as a server, nor PostgreSQL's as a client."""
    with pytest.raises(subprocess.CalledProcessError):
        openssl("verify", "-purpose", usage, "-CAfile", made / "ca.crt", made / name)


def test_servers_bear_the_given_names(made):
    """Names and addresses stand in the servers' certificates as given."""
    names = openssl("x509", "-in", made / "broker.pem", "-noout", "-ext", "subjectAltName")
    assert "DNS:kafka, IP Address:127.0.0.1" in names


def test_the_ends_are_told(made):
    """When each certificate ends stands where Prometheus's node exporter looks for it."""
    text = (made / "certificates.prom").read_text()
    told = dict(re.findall(r'^certificate_not_after_timestamp_seconds{certificate="(\w+)"} (\d+)$', text, re.M))
    assert told.keys() == {name.partition(".")[0] for name in ("ca.crt", *PRINCIPALS)}
    assert all(int(end) > time.time() for end in told.values())


def test_nobody_else_reads_keys(made):
    """All files are for their owner only."""
    assert {file.stat().st_mode & 0o777 for file in made.iterdir()} == {0o600}


def test_key_is_unencrypted_pkcs8(made):
    """Keys are in the form that Kafka reads."""
    assert (made / "broker.pem").read_text().startswith("-----BEGIN PRIVATE KEY-----\n")


def test_second_run_changes_nothing(tmp_path):
    """What is there and lasts is left alone, and the end of each is told both times."""
    first = make(tmp_path)
    before = contents(tmp_path)
    second = make(tmp_path)
    assert contents(tmp_path) == before
    assert second.stdout == first.stdout
    assert [line.split()[0] for line in first.stdout.splitlines()] == ["ca.crt", *PRINCIPALS]


def test_only_what_is_missing_is_made(tmp_path):
    """A lost or cut file is made again, the others stay."""
    make(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "stream.pem").unlink()
    (tmp_path / "ingest.pem").write_bytes(before["ingest.pem"][:100])
    (tmp_path / "postgres.key").unlink()
    make(tmp_path)
    after = contents(tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"stream.pem", "ingest.pem", "postgres.key", "postgres.crt"}


def test_certificate_is_renewed_before_its_end(tmp_path):
    """What ends within the given days is made again; the authority, which lasts, stays."""
    make(tmp_path, "--days", "20", "--renew-days", "10")
    before = contents(tmp_path)
    make(tmp_path, "--renew-days", "30")
    after = contents(tmp_path)
    assert all(before[name] != after[name] for name in PRINCIPALS)
    assert before["ca.crt"] == after["ca.crt"]


def test_new_authority_signs_everything_again(tmp_path):
    """When the authority is lost, a new one is made and no certificate of the old one stays."""
    make(tmp_path)
    (tmp_path / "ca.key").unlink()
    make(tmp_path)
    for name in PRINCIPALS:
        assert openssl("verify", "-CAfile", tmp_path / "ca.crt", tmp_path / name).endswith(": OK\n")


def test_other_names_make_another_certificate(tmp_path):
    """A server that moves gets a certificate with its new names; clients keep theirs."""
    make(tmp_path)
    before = contents(tmp_path)
    make(tmp_path, "--broker-names", "kafka,127.0.0.1")
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"broker.pem"}


@pytest.mark.parametrize("options", [["--days", "0"], ["--days", "x"], ["--days"], ["--what"]])
def test_wrong_option_is_one_line(tmp_path, options):
    """A wrong option is told in one line and nothing is made."""
    result = make(tmp_path / "new", *options)
    assert result.returncode == 1
    assert result.stderr.startswith("make-certificates: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
