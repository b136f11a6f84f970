"""What stands behind the edge, asked over HTTPS as people and phones do."""

import ssl
import subprocess
import sys
import urllib.request

from stack import REPOSITORY


def doctor(stack, *options):
    """Exit status and words of `make doctor` for the push URL of the edge."""
    command = [sys.executable, "-m", "ops.doctor", f"{stack.edge_url}/sensor_data", *map(str, options)]
    result = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout + result.stderr


def test_dashboard_is_behind_the_edge(stack):
    """A browser that calls the edge by its name is asked to sign in."""
    context = ssl.create_default_context(cafile=stack.edge_ca)
    with urllib.request.urlopen(f"{stack.edge_url}/sign-in", timeout=20, context=context) as answer:
        assert answer.status == 200
        assert "Sensor Stream" in answer.read().decode()


def test_doctor_finds_that_a_phone_can_send(stack):
    """With the edge's root trusted and a token, a real test push goes through, and the limit of a body is right."""
    status, told = doctor(stack, "--ca-file", stack.edge_ca, "--token-file", stack.token_file("curl"))
    assert status == 0, told
    assert "a test push is acknowledged by Kafka" in told
    assert "bodies up to 2 MiB come through" in told


def test_doctor_says_why_a_phone_refuses(stack):
    """Without the root, the certificate is what stands in the way, and the line says what to do."""
    status, told = doctor(stack)
    assert status == 1
    assert "BAD    certificate" in told
    assert "until its root is installed" in told
