"""What a port of metrics answers, as Prometheus asks it and as a stranger does. Imports nothing of the services."""

import urllib.error
import urllib.request
from base64 import b64encode

USER = "metrics"
PASSWORD = "password-of-the-metrics"


def password_file(directory):
    """For METRICS_PASSWORD_FILE."""
    file = directory / "metrics-password"
    file.write_text(f"{PASSWORD}\n")
    return str(file)


def scrape(port, path="/metrics", *, user=USER, password=PASSWORD):
    """Status, headers and text; without a password none is sent."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if password is not None:
        request.add_header("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def told(port, password=PASSWORD):
    """The lines of the metrics, for who has the password."""
    status, _, text = scrape(port, password=password)
    assert status == 200, text
    return text.splitlines()


def assert_refuses_strangers(port, password=PASSWORD):
    """There are metrics for who has the password, and none for others, whatever they send."""
    for wrong in ({"password": None}, {"password": "guess"}, {"user": "admin", "password": password}, {"password": ""}):
        status, headers, text = scrape(port, **wrong)
        assert status == 401
        assert headers["WWW-Authenticate"].startswith("Basic")
        assert "# TYPE " not in text
    assert any(line.startswith("# TYPE ") for line in told(port, password))


def assert_tells_strangers_that_it_lives(port):
    """And nothing more."""
    assert scrape(port, "/livez", password=None)[::2] == (200, "")
