"""Real dependencies on free ports and in directories of their own, started by what `make run` uses."""

import shutil
import subprocess
import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path

import pytest

from ops.local.certificates import make_certificates
from ops.local.processes import REPOSITORY
from services.common.database import connect
from services.stream.store import prepare
from tests.integration.storing import Partition
from tests.servers import make_kafka, make_postgres


@pytest.fixture(scope="session")
def directory():
    """A short path that PostgreSQL's user may enter, unlike pytest's own directories."""
    path = Path(tempfile.mkdtemp(prefix="sensor-stream-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def certificates(directory):
    """The directory with the certificates of all principals."""
    make_certificates(directory / "certificates")
    return directory / "certificates"


@pytest.fixture(scope="session")
def secrets(directory):
    """The directory with all that the deployment makes of secrets."""
    made = directory / "secrets-of-the-deployment"
    subprocess.run([sys.executable, "-m", "ops.secrets", "--directory", str(made)], check=True, cwd=REPOSITORY)
    return made


@pytest.fixture(scope="session")
def new_kafka(directory, certificates):
    """Makes a broker of its own, by its name; the caller starts and stops it."""
    return partial(make_kafka, directory, certificates)


@pytest.fixture(scope="module")
def own_kafka(new_kafka, request):
    """A broker that the tests of one module have for themselves, and may end."""
    server = new_kafka(f"kafka-{request.module.__name__}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka(new_kafka):
    """A broker with `bootstrap_servers`, `ca_file`, `certificate_file(principal)`, `environment(principal)`, `topic`.

    Shared by all tests: who ends it starts it again, or takes `own_kafka`.
    """
    server = new_kafka("kafka")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def new_postgres(directory, certificates):
    """Makes a cluster of its own, by its name; the caller starts and stops it."""
    return partial(make_postgres, directory, certificates)


@pytest.fixture(scope="module")
def own_postgres(new_postgres, request):
    """A cluster that the tests of one module have for themselves, and may end."""
    server = new_postgres(f"postgres-{request.module.__name__}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres(new_postgres):
    """A cluster with roles and schema: `settings(role)`, `environment(role)`, `password_file(role)`, `ca_file`, `port`.

    Shared by all tests: who ends it starts it again, or takes `own_postgres`.
    """
    server = new_postgres("postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def writer(postgres):
    """A connection as the stream has it."""
    connection = connect(postgres.settings("stream_writer"), "test")
    prepare(connection)
    yield connection
    connection.close()


@pytest.fixture
def partition(writer):
    """A partition of a topic of its own, to store records of."""
    return Partition(writer)


@pytest.fixture
def device():
    """A deviceId that no other test has."""
    return f"device-{uuid.uuid4()}"
