"""Settings of the local stack: defaults, what overrides them, and what cannot be."""

import pytest

from ops.local.errors import LocalError
from ops.local.parts import all_parts
from ops.local.processes import REPOSITORY
from ops.local.settings import LocalSettings, read_env_file


def part(name, environ):
    return next(part for part in all_parts(LocalSettings.load(environ)) if part.name == name)


def test_env_file_is_read_line_by_line():
    """Comments and blank lines say nothing; a value may hold an equals sign."""
    assert read_env_file("# a comment\n\nA=1\n B=x=y \n") == {"A": "1", "B": "x=y"}


def test_defaults_come_from_the_file():
    """Without variables, what the file of settings says counts; the data directory lies in the checkout."""
    settings = LocalSettings.load({})
    assert settings.port("INGEST_PORT") == 5000
    assert settings.data == REPOSITORY / "var"


def test_environment_overrides_the_file(tmp_path):
    """A variable overrides the line of its name; an empty one does not."""
    settings = LocalSettings.load({"INGEST_PORT": "7000", "DASHBOARD_PORT": "", "DATA_DIR": str(tmp_path)})
    assert settings.port("INGEST_PORT") == 7000
    assert settings.port("DASHBOARD_PORT") == 8050
    assert settings.certificates == tmp_path / "certificates"


@pytest.mark.parametrize(
    ("name", "value"),
    [("INGEST_PORT", "http"), ("KAFKA_PORT", "0"), ("KAFKA_PORT", "70000"), ("PHONES", "-1"), ("PHONES", "three"),
     ("PHONES", "²"), ("KAFKA_PARTITIONS", "0")],
)  # fmt: skip
def test_number_that_is_none_is_named(name, value):
    """A wrong number is told with its setting, before anything is started."""
    with pytest.raises(LocalError, match=f"{name}='{value}' is not a number"):
        LocalSettings.load({name: value})


def test_two_parts_on_one_port_are_named():
    """Two settings with the same port are both told."""
    with pytest.raises(LocalError, match="INGEST_PORT and DASHBOARD_PORT are both 5000"):
        LocalSettings.load({"DASHBOARD_PORT": "5000"})


def test_no_phones_no_simulator():
    """PHONES=0 turns the simulator off, and only it."""
    names = {part.name for part in all_parts(LocalSettings.load({"PHONES": "3"}))}
    assert names - {part.name for part in all_parts(LocalSettings.load({"PHONES": "0"}))} == {"simulator"}


def test_settings_of_a_service_reach_only_it():
    """A further setting of a service is passed on to it and to no other."""
    environ = {"INGEST_WORKERS": "3", "AWS_SECRET": "x"}
    assert part("ingest", environ).command().environment["INGEST_WORKERS"] == "3"
    assert "INGEST_WORKERS" not in part("dashboard", environ).command().environment
    assert "AWS_SECRET" not in part("ingest", environ).command().environment


def test_services_know_only_their_own_secrets():
    """Ingest is told its certificate and the role that knows tokens; the dashboard its role and no certificate."""
    ingest, dashboard = (part(name, {}).command().environment for name in ("ingest", "dashboard"))
    assert ingest["KAFKA_CERTIFICATE_FILE"].endswith("/ingest.pem")
    assert ingest["DATABASE_PASSWORD_FILE"].endswith("/secrets/ingest_reader")
    assert dashboard["DATABASE_PASSWORD_FILE"].endswith("/secrets/dashboard")
    assert not any(name.startswith("KAFKA_") for name in dashboard)


def test_logs_are_in_columns_unless_asked_otherwise():
    """Locally logs are for people; a variable makes them JSON."""
    assert part("ingest", {}).command().environment["LOG_FORMAT"] == "text"
    assert part("ingest", {"LOG_FORMAT": "json"}).command().environment["LOG_FORMAT"] == "json"
