"""Who may send, asked of ingest under gunicorn with a real broker and a PostgreSQL that comes and goes."""

import functools
import itertools
import json
import socket
import threading
import time
import urllib.request
from contextlib import closing

import pytest
from ingest_server import JSON, Ingest, message, numbers_of, read_topic, statuses

from ops.local.processes import wait_until
from services.common.database import connect
from services.common.tokens import add_token, list_tokens, revoke_token, rotate_token

REFUSED_WITHIN_S = 10
KNOWN_WITHIN_S = 10
USE_WRITTEN_WITHIN_S = 20


@pytest.fixture(scope="module")
def database(own_postgres):
    """A cluster that these tests may end."""
    return own_postgres


@pytest.fixture
def tokens(database):
    """Does something with the tokens, as the dashboard or an operator would."""

    def change(function, *arguments, **options):
        with closing(connect(database.settings("dashboard"), "test")) as connection:
            return function(connection, *arguments, **options)

    return change


@pytest.fixture(scope="module")
def new_ingest(directory, database, kafka):
    """Makes an ingest with settings of its own."""
    return functools.partial(Ingest, directory, database, kafka)


@pytest.fixture(scope="module")
def ingest(new_ingest):
    """An ingest of two workers that tests share."""
    with new_ingest(INGEST_WORKERS="2") as ingest:
        assert wait_until(ingest.is_ready, 20)
        yield ingest


@pytest.fixture
def name(request):
    """A name for this test's token, phone and messages."""
    return request.node.name


class Phone:
    """Posts messages of one device with one token, on a new connection each, so that it meets every worker."""

    def __init__(self, ingest, device, token):
        self.device = device
        self._ingest, self._header = ingest, f"Bearer {token}"
        self._numbers = itertools.count()

    def post(self):
        """The status and the error's code, if any."""
        status, answer = self._ingest.post(message(next(self._numbers), self.device), Authorization=self._header)
        return status, answer.get("error")

    def gets(self, status, code, times=10):
        """Whether this is the answer, whichever worker is asked."""
        return all(self.post() == (status, code) for _ in range(times))

    def is_accepted(self):
        return self.gets(200, None)


def entry_of(tokens, name):
    [found] = [entry for entry in tokens(list_tokens) if entry.name == name]
    return found


def test_new_token_is_known_soon_and_a_revoked_one_refused_soon(ingest, tokens, name):
    """A token counts a few seconds after it was made, and no longer than 10 s after it was revoked."""
    phone = Phone(ingest, name, tokens(add_token, name))
    assert wait_until(phone.is_accepted, KNOWN_WITHIN_S)
    tokens(revoke_token, name)
    assert wait_until(lambda: phone.gets(403, "token_revoked"), REFUSED_WITHIN_S)


def test_wrong_token_is_refused(ingest, name):
    """A token that nobody made opens nothing."""
    assert Phone(ingest, name, "guess").gets(401, "wrong_token")


def test_rotated_token_is_valid_with_the_old_one(ingest, tokens, name):
    """Both tokens are accepted while they overlap, and only the new one after that."""
    old = tokens(add_token, name)
    assert wait_until(Phone(ingest, name, old).is_accepted, KNOWN_WITHIN_S)
    new = tokens(rotate_token, name, overlap_s=8)
    assert wait_until(Phone(ingest, name, new).is_accepted, KNOWN_WITHIN_S)
    assert Phone(ingest, name, old).is_accepted()
    assert wait_until(lambda: Phone(ingest, name, old).gets(401, "wrong_token"), KNOWN_WITHIN_S)
    assert Phone(ingest, name, new).is_accepted()


def test_record_tells_its_token(ingest, tokens, kafka, name):
    """Each record carries the id of the token that it came with."""
    with_tokens = {f"{name}-{i}": tokens(add_token, f"{name}-{i}") for i in range(2)}
    for device, token in with_tokens.items():
        assert wait_until(Phone(ingest, device, token).is_accepted, KNOWN_WITHIN_S)
    found = {r.key().decode(): dict(r.headers())["token-id"] for r in read_topic(kafka, kafka.topic)}
    ids = [int(found[device]) for device in with_tokens]
    assert ids[0] != ids[1]


def test_two_phones_race_for_a_token_and_one_keeps_it(ingest, tokens, name):
    """Two phones that begin with one token at the same time are soon one phone with the token and one without."""
    token = tokens(add_token, name)
    wait_until_read(ingest)
    phones = [Phone(ingest, f"{name}-{i}", token) for i in range(2)]
    together = threading.Barrier(2)

    def begin(phone):
        together.wait()
        for _ in range(20):
            phone.post()

    threads = [threading.Thread(target=begin, args=[phone]) for phone in phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def settled():
        """By what PostgreSQL says: a worker that has not read it yet may answer ten times in a row, too."""
        owner = entry_of(tokens, name).device
        others = [phone for phone in phones if phone.device != owner]
        return len(others) == 1 and all(
            phone.gets(403, "token_of_other_device") if phone in others else phone.is_accepted() for phone in phones
        )

    assert wait_until(settled, USE_WRITTEN_WITHIN_S), "no phone has the token for its own"


def test_use_is_written_down(ingest, tokens, name):
    """When and by which device a token was used is seen in PostgreSQL soon after."""
    phone = Phone(ingest, name, tokens(add_token, name))
    assert wait_until(phone.is_accepted, KNOWN_WITHIN_S)
    assert wait_until(lambda: entry_of(tokens, name).last_seen, USE_WRITTEN_WITHIN_S)
    first = entry_of(tokens, name).last_seen
    assert phone.is_accepted()
    assert wait_until(lambda: entry_of(tokens, name).last_seen > first, USE_WRITTEN_WITHIN_S)
    assert entry_of(tokens, name).device == name


def test_postgres_away_changes_nothing_for_known_tokens(new_ingest, tokens, database, kafka, name):
    """With PostgreSQL gone known tokens are accepted, at once and ready; what was learnt is written on its return."""
    with new_ingest(INGEST_WORKERS="2") as ingest:
        old = Phone(ingest, f"{name}-old", tokens(add_token, f"{name} old"))
        new = Phone(ingest, f"{name}-new", tokens(add_token, f"{name} new"))
        assert wait_until(old.is_accepted, KNOWN_WITHIN_S)
        wait_until_read(ingest)
        database.kill()
        for _ in range(20):
            began = time.monotonic()
            assert old.post() == new.post() == (200, None)
            assert time.monotonic() - began < 2
        assert Phone(ingest, name, "guess").gets(401, "wrong_token")
        assert ingest.is_ready()
        assert wait_until(lambda: "tokens stay as they are: " in ingest.log(), 10)
        assert "Traceback" not in ingest.log()
        database.start()
        assert wait_until(lambda: entry_of(tokens, f"{name} new").device == new.device, KNOWN_WITHIN_S)
        tokens(revoke_token, f"{name} new")
        assert wait_until(lambda: new.gets(403, "token_revoked"), REFUSED_WITHIN_S)
    assert len(numbers_of(read_topic(kafka, kafka.topic), new.device)) >= 20


def wait_until_read(ingest):
    """Wait until every worker knows the tokens of this moment."""
    since = time.time()
    assert wait_until(lambda: ingest.metric("ingest_tokens_read_timestamp_seconds") > since, KNOWN_WITHIN_S)


def test_starts_without_postgres_and_begins_once_it_is_there(new_ingest, database, tokens, name):
    """Before the tokens were read ingest is not ready, says why, and answers 503; it needs no restart."""
    token = tokens(add_token, name)
    stopped = new_ingest()
    database.stop()
    with stopped as ingest:
        assert ingest.get("/livez")[0] == 200
        status, answer = ingest.get("/readyz")
        assert (status, answer["checks"]["tokens"]) == (503, "not read from PostgreSQL yet")
        phone = Phone(ingest, name, token)
        assert phone.gets(503, "tokens_not_loaded")
        with ingest.connect() as connection:
            connection.request("POST", "/sensor_data", message(1), JSON)
            assert connection.getresponse().headers["Retry-After"]
        assert ingest.metric("ingest_tokens_read_timestamp_seconds") == 0
        database.start()
        assert wait_until(phone.is_accepted, KNOWN_WITHIN_S)
        assert wait_until(ingest.is_ready, 10)
        assert ingest.metric("ingest_tokens_read_timestamp_seconds") <= time.time()


def test_rate_is_limited_for_each_device(new_ingest, name):
    """Beyond burst and rate a device gets 429 and a time to wait, and is let in after it."""
    with new_ingest(INGEST_RATE="1", INGEST_BURST="3") as ingest:
        assert wait_until(ingest.is_ready, 20)
        assert [ingest.post(message(i, name))[0] for i in range(4)] == [200, 200, 200, 429]
        assert ingest.post(message(0, f"{name}-other"))[0] == 200
        assert wait_until(lambda: ingest.post(message(4, name))[0] == 200, 3)
        assert ingest.metric('ingest_errors_total{code="too_fast"}') >= 1


def test_strangers_cannot_hold_a_thread_with_endless_bodies(ingest):
    """A sender without a valid token is answered and cut off, however much it still sends."""
    head = b"POST /sensor_data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: guess\r\n\r\n"
    with socket.create_connection(("127.0.0.1", ingest.port), timeout=15) as connection:
        connection.sendall(head)
        assert statuses(connection.recv(65536)) == [401]
        endless = b"".join([b"%x\r\n%s\r\n" % (10_000, b" " * 10_000)] * 1000)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(endless)


def test_error_in_words_comes_as_the_app_shows_it(ingest):
    """The app shows its user the text of a 499."""
    url = f"http://127.0.0.1:{ingest.port}/sensor_data?errors=phone"
    request = urllib.request.Request(url, message(1), JSON | {"Authorization": "guess"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=10)
    assert error.value.code == 499
    assert error.value.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"The token is not the right one" in error.value.read()
    error.value.close()


def test_token_in_the_url_is_in_no_log(new_ingest, tokens, name):
    """Where tokens in URLs are allowed, one is accepted and is in no line of the log, nor is a wrong one."""
    token = tokens(add_token, name)
    with new_ingest(INGEST_TOKEN_IN_URL="true") as ingest:
        assert wait_until(ingest.is_ready, 20)
        answers = []
        for query in (token, token, f"{token}-wrong"):
            with ingest.connect() as connection:
                connection.request(
                    "POST", f"/sensor_data?token={query}", message(1, name), {"Content-Type": JSON["Content-Type"]}
                )
                answers.append(connection.getresponse().status)
        with ingest.connect() as connection:
            connection.request("POST", f"/elsewhere?token={token}")
            answers.append(connection.getresponse().status)
        answers += statuses(ingest.raw(b"POST /sensor_data?token=%s NONSENSE\r\n\r\n" % token.encode()))
        assert answers == [200, 200, 401, 404, 400]
    assert "code=wrong_token" in ingest.log()
    assert token not in ingest.log()
    assert json.dumps(token) not in ingest.log()
