"""Who shows the wrong certificate, role or password is refused, and the log says so in its last line."""

import shutil
import subprocess
import sys

import pytest

from tests.faults.lab import second_stream
from tests.ports import free_ports
from tests.system.stack import REPOSITORY

pytestmark = pytest.mark.long


def expired(lab):
    """The stream's certificate as it is after its end: signed by the right CA, for yesterday."""
    certificates, made = lab.stack.directory / "certificates", lab.directory / "expired.pem"
    request = ["openssl", "req", "-new", "-key", certificates / "stream.pem", "-subj", "/O=sensor-stream/CN=stream"]
    sign = ["openssl", "x509", "-req", "-CA", certificates / "ca.crt", "-CAkey", certificates / "ca.key", "-days", "-1"]
    asked = subprocess.run(request, check=True, capture_output=True, timeout=30).stdout
    signed = subprocess.run(sign, input=asked, check=True, capture_output=True, timeout=30).stdout
    key = (certificates / "stream.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    made.write_bytes(key + signed + (certificates / "ca.crt").read_bytes())
    return {"KAFKA_CERTIFICATE_FILE": str(made)}


def wrong_principal(lab):
    return {"KAFKA_CERTIFICATE_FILE": str(lab.stack.directory / "certificates" / "ingest.pem")}


def wrong_password(lab):
    return {"DATABASE_PASSWORD_FILE": str(lab.stack.directory / "secrets" / "dashboard")}


def wrong_role(lab):
    secret = str(lab.stack.directory / "secrets" / "ingest_reader")
    return {"DATABASE_USER": "ingest_reader", "DATABASE_PASSWORD_FILE": secret}


def unknown_server(lab):
    """A CA that did not sign the servers' certificates."""
    other = lab.directory / "other-ca.crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", "/CN=other", "-keyout", "/dev/null", "-out", str(other)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return {"DATABASE_SSL_CA_FILE": str(other)}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (expired, "alert certificate"),
        (wrong_principal, "Not authorized to access topics|Topic authorization failed"),
        (wrong_password, 'password authentication failed for user "stream_writer"'),
        (wrong_role, "permission denied"),
        (unknown_server, "certificate verify failed"),
    ],
)
def test_stream_is_refused(lab, change, cause):
    """A stream with the wrong credentials ends with a status that is not 0, names the cause, and has stored nothing."""
    lab.await_whole(120)
    [port] = free_ports(1)
    checkpoint = lab.directory / "refused"
    shutil.rmtree(checkpoint, ignore_errors=True)
    changes = {"STREAM_METRICS_PORT": str(port), "CHECKPOINT_DIR": str(checkpoint), "LOG_FORMAT": "text"}
    environment = second_stream(lab, **changes, **change(lab))
    command = [sys.executable, "-m", "services.stream"]
    result = subprocess.run(
        command, check=False, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )
    last = (result.stdout + result.stderr).strip().splitlines()[-1]
    assert result.returncode == 1, last
    assert any(word in last for word in cause.split("|")), last
