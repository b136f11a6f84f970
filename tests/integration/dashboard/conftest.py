"""One PostgreSQL, one dashboard and one browser for all tests of pages; every test begins without recordings."""

import contextlib
from functools import partial

import pytest

from services.common.database import connect
from services.dashboard import users
from services.dashboard.database import Database
from services.dashboard.queries import Queries
from tests.integration.browser import Browser
from tests.integration.dashboard.served import Dashboard, cookie_of, let_in
from tests.integration.recordings import Recorder, stream_connection

VIEWER_PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def cluster(new_postgres):
    server = new_postgres("dashboard-postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _empty_tables(cluster):
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection, connection as transaction:
        transaction.cursor().execute(
            "TRUNCATE device, session, series, message, window_1s, window_10s, window_60s, text_reading"
        )
        transaction.cursor().execute("TRUNCATE message_ledger, batch, partition_progress, quarantine")


@pytest.fixture
def writer(cluster):
    with stream_connection(cluster) as connection:
        yield connection


@pytest.fixture
def recorder(writer):
    return Recorder(writer)


@pytest.fixture
def queries(cluster):
    return Queries(Database(partial(connect, cluster.settings("dashboard"), "test", 5.0), 4))


@pytest.fixture(scope="session")
def dashboard(cluster, directory):
    """A running dashboard."""
    running = Dashboard(cluster, directory)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def operator(dashboard):
    """The cookie of the first user."""
    return cookie_of(dashboard.sign_in())


@pytest.fixture(scope="session")
def viewer(cluster, dashboard, operator):
    """The cookie of a user who may only look."""
    assert operator, "the first user is made before any other"
    with contextlib.closing(connect(cluster.settings("owner"), "test")) as connection:
        users.add_user(connection, "wanda", VIEWER_PASSWORD, "viewer")
    return cookie_of(dashboard.sign_in("wanda", VIEWER_PASSWORD))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium, dashboard, operator):
    """The browser at its usual size, signed in as operator; its console must stay free of complaints."""
    let_in(chromium, dashboard, operator)
    chromium.resize(1280, 900)
    chromium.errors()
    yield chromium
    assert chromium.errors() == []
    chromium.open("about:blank")
