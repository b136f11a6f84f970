"""`.env_config` against what the services declare."""

import dataclasses

import pytest

from ops.local.processes import REPOSITORY
from ops.local.settings import read_env_file
from services.dashboard.settings import DashboardDatabaseSettings, DashboardSettings
from services.ingest.settings import IngestSettings
from services.stream.settings import KeepSettings, RuleSettings, StreamSettings

KINDS = [IngestSettings, StreamSettings, KeepSettings, RuleSettings, DashboardSettings, DashboardDatabaseSettings]
GIVEN_BY_THE_RUNNER = {
    "DASHBOARD_FIRST_PASSWORD_FILE", "DATABASE_PORT", "DATABASE_USER", "INGEST_URL", "LOG_FORMAT",
    "SPARK_DRIVER_HOST", "SPARK_DRIVER_JAVA_OPTIONS"
}  # fmt: skip
ONLY_ON_A_LAPTOP = {"INGEST_HOST", "DASHBOARD_HOST"}
ONLY_IN_THE_DEPLOYMENT = {"METRICS_PASSWORD_FILE"}


def declared(kind):
    """(name, default) of every setting that has a default."""
    fields = [field for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING]
    return [(field.metadata["name"], field.default) for field in fields]


def read(text, kind):
    """The value of a line, whose truths are written as words."""
    return {"true": True, "false": False}[text] if kind is bool else kind(text)


@pytest.mark.parametrize(("name", "default"), [pair for kind in KINDS for pair in declared(kind)])
def test_every_setting_is_listed_with_its_default(name, default):
    """Each setting of a service stands in the file, and with the value that the service takes without it."""
    listed = read_env_file((REPOSITORY / ".env_config").read_text(encoding="utf-8"))
    if name in GIVEN_BY_THE_RUNNER | ONLY_IN_THE_DEPLOYMENT:
        assert name not in listed
    elif name not in ONLY_ON_A_LAPTOP:
        assert read(listed[name], type(default)) == default


def test_every_setting_is_explained():
    """A comment stands before each setting or the group it belongs to."""
    lines = (REPOSITORY / ".env_config").read_text(encoding="utf-8").splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line and not line.startswith("#"):
            assert before, line
