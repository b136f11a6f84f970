"""Tokens in a real PostgreSQL: the commands that make and change them, and how workers share what they learn."""

import subprocess
import sys
import threading
from contextlib import closing
from functools import partial

import pytest

from ops.local.errors import LocalError
from ops.local.processes import REPOSITORY, wait_until
from ops.local.tokens import make_tokens, token_file
from services.common.database import connect
from services.common.tokens import TokenError, add_token, digest, is_token, list_tokens, revoke_token, rotate_token
from services.ingest.token_cache import TokenCache
from services.ingest.token_sync import TokenSync

PERIOD_S = 0.1
LONG_S = 60
SOON_S = 10


@pytest.fixture
def connection(postgres):
    """A connection of the role that manages tokens; there are none at first."""
    with closing(connect(postgres.settings("owner"), "test")) as owner, owner, owner.cursor() as cursor:
        cursor.execute("TRUNCATE ingest_token")
    with closing(connect(postgres.settings("dashboard"), "test")) as connection:
        yield connection


@pytest.fixture
def new_worker(postgres):
    """Starts what a worker keeps of the tokens, read every so many seconds; all are stopped at the end."""
    syncs = []

    def start(period_s):
        cache = TokenCache()
        sync = TokenSync(cache, partial(connect, postgres.settings("ingest_reader"), "test", 5), period_s)
        syncs.append(sync)
        sync.await_attempt(SOON_S)
        assert cache.loaded
        return cache, sync

    yield start
    for sync in syncs:
        sync.close()


@pytest.fixture
def worker(new_worker):
    """The same, reading all the time; gives the cache only."""
    return lambda: new_worker(PERIOD_S)[0]


@pytest.fixture
def command(postgres):
    """Runs the command line; returns its result."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "services.ingest.tokens", *map(str, arguments)],
            cwd=REPOSITORY,
            env=postgres.environment("dashboard") | environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def entry(connection, name):
    [found] = [entry for entry in list_tokens(connection) if entry.name == name]
    return found


def stored_text(postgres):
    with closing(connect(postgres.settings("owner"), "test")) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT ingest_token::text FROM ingest_token")
        return str(cursor.fetchall())


def test_only_the_digest_is_stored(connection, postgres):
    """A new token has at least 128 random bits, and PostgreSQL holds its SHA-256 and not the token."""
    token = add_token(connection, "phone")
    assert len(token) * 6 >= 128
    assert token not in stored_text(postgres)
    assert digest(token).hex() in stored_text(postgres)
    assert add_token(connection, "other") != token


def test_tokens_are_listed_with_what_is_known_of_them(connection):
    """The list has every token by name, with its state; it never holds a secret."""
    for name in ("c", "b", "a"):
        add_token(connection, name, shared=name == "b")
    revoke_token(connection, "c")
    rotate_token(connection, "b", 60)
    entries = list_tokens(connection)
    assert [(e.name, e.shared, e.device, e.last_seen, e.state) for e in entries] == [
        ("a", False, None, None, "active"),
        ("b", True, None, None, "rotating"),
        ("c", False, None, None, "revoked"),
    ]


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\x00", "x" * 129, "\u202e"])
def test_what_cannot_be_a_name_is_refused(connection, name):
    """A name is printable and of bounded length."""
    with pytest.raises(TokenError, match="cannot be a name"):
        add_token(connection, name)


def test_name_is_given_once(connection):
    """A name that is taken, by a revoked token too, is refused, and the connection can be used on."""
    add_token(connection, "phone")
    revoke_token(connection, "phone")
    with pytest.raises(TokenError, match="a token named phone exists already"):
        add_token(connection, "phone")
    assert len(list_tokens(connection)) == 1


@pytest.mark.parametrize("change", [partial(rotate_token, overlap_s=1), revoke_token])
def test_unknown_name_is_refused(connection, change):
    """What is not there can be neither rotated nor revoked."""
    with pytest.raises(TokenError, match="there is no token named nobody"):
        change(connection, "nobody")


def test_revoked_is_for_good(connection):
    """A revoked token cannot be brought back by rotating it; revoking it again changes nothing."""
    add_token(connection, "phone")
    revoke_token(connection, "phone")
    with pytest.raises(TokenError, match="the token phone is revoked"):
        rotate_token(connection, "phone", 60)
    revoke_token(connection, "phone")
    assert entry(connection, "phone").state == "revoked"


def test_token_is_recognised_by_its_name(connection):
    """Whether a kept token is still the one of its name can be asked, revoked or not."""
    token = add_token(connection, "phone")
    assert is_token(connection, "phone", token) is True
    assert is_token(connection, "phone", "other") is False
    assert is_token(connection, "nobody", token) is None
    revoke_token(connection, "phone")
    assert is_token(connection, "phone", token) is True


def test_both_tokens_are_valid_while_they_overlap(connection, worker):
    """After a rotation the new and the old token are the same one to ingest; older ones are not valid."""
    first = add_token(connection, "phone")
    second = rotate_token(connection, "phone", 60)
    cache = worker()
    assert cache.find(first) == cache.find(second) is not None
    third = rotate_token(connection, "phone", 60)
    assert wait_until(lambda: cache.find(third), SOON_S)
    assert cache.find(second) is not None
    assert cache.find(first) is None


def test_old_token_ends_with_the_overlap(connection, worker):
    """The old token is refused after the overlap, at once when there is none."""
    first = add_token(connection, "phone")
    second = rotate_token(connection, "phone", 1.5)
    cache = worker()
    assert cache.find(first) is not None
    assert wait_until(lambda: cache.find(first) is None, SOON_S)
    third = rotate_token(connection, "phone", 0)
    assert wait_until(lambda: cache.find(third), SOON_S)
    assert cache.find(second) is None
    assert entry(connection, "phone").state == "active"


def test_revoked_token_is_known_as_such(connection, worker):
    """A worker learns by itself that a token, and the one before it, was revoked."""
    first = add_token(connection, "phone")
    second = rotate_token(connection, "phone", 60)
    cache = worker()
    revoke_token(connection, "phone")
    assert wait_until(lambda: cache.find(second).revoked, SOON_S)
    assert cache.find(first).revoked


def test_binding_is_stored(connection, worker):
    """The first device is written down, and a worker that starts later knows it."""
    token = add_token(connection, "phone")
    cache = worker()
    assert cache.bind(cache.find(token), "mine")
    assert wait_until(lambda: entry(connection, "phone").device == "mine", SOON_S)
    later = worker()
    assert not later.bind(later.find(token), "other")
    assert later.bind(later.find(token), "mine")


def test_binding_is_written_when_a_worker_ends(connection, new_worker):
    """What a worker learnt just before its end is not lost."""
    token = add_token(connection, "phone")
    cache, sync = new_worker(LONG_S)
    cache.bind(cache.find(token), "mine")
    cache.note_use(cache.find(token))
    sync.close()
    found = entry(connection, "phone")
    assert (found.device, found.last_seen is not None) == ("mine", True)


def test_two_workers_race_and_one_device_is_left(connection, worker):
    """When each of two workers has let in another device, both soon let in the same one only."""
    tokens = [add_token(connection, f"phone {i}") for i in range(20)]
    caches = [worker(), worker()]
    together = threading.Barrier(2)

    def let_in(cache, device):
        together.wait()
        for token in tokens:
            cache.bind(cache.find(token), device)

    threads = [threading.Thread(target=let_in, args=pair) for pair in zip(caches, ("a", "b"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def agreed(token):
        choices = [{device for device in "ab" if cache.bind(cache.find(token), device)} for cache in caches]
        return choices[0] == choices[1] and len(choices[0]) == 1

    assert wait_until(lambda: all(map(agreed, tokens)), SOON_S)
    stored = {entry.device for entry in list_tokens(connection)}
    assert stored <= {"a", "b"}


def test_first_written_binding_stays(connection, new_worker):
    """A worker that still takes a token for unbound does not overwrite the device that another one has written."""
    token = add_token(connection, "phone")
    workers = [new_worker(LONG_S), new_worker(LONG_S)]
    for (cache, sync), device in zip(workers, ("first", "second"), strict=True):
        assert cache.bind(cache.find(token), device)
        sync.close()
    assert entry(connection, "phone").device == "first"


def test_shared_token_is_never_bound(connection, new_worker):
    """Even a worker that takes a shared token for one that is not cannot bind it."""
    token = add_token(connection, "class", shared=True)
    cache, sync = new_worker(LONG_S)
    cache.bind(cache.find(token), "mine")
    assert cache.new_bindings()
    sync.close()
    assert entry(connection, "class").device is None


def test_older_use_does_not_set_a_newer_one_back(connection, new_worker):
    """Whichever worker writes last, the newest use that any of them noted is kept."""
    token = add_token(connection, "phone")
    (older, sync_older), (newer, sync_newer) = new_worker(LONG_S), new_worker(LONG_S)
    older.note_use(older.find(token))
    assert wait_until(lambda: older.uses().popitem()[1] > 0.3, 5)
    newer.note_use(newer.find(token))
    sync_newer.close()
    newest = entry(connection, "phone").last_seen
    assert newest > entry(connection, "phone").created_at
    sync_older.close()
    assert entry(connection, "phone").last_seen >= newest


def test_command_line_does_what_it_says(command, connection, tmp_path):
    """Add, list, rotate and revoke as an operator types them; a token goes to the terminal or to a private file."""
    token = command("add", "Anna's phone").stdout.strip()
    assert is_token(connection, "Anna's phone", token)
    file = tmp_path / "token"
    result = command("add", "class", "--shared", "--token-file", file)
    assert is_token(connection, "class", file.read_text().strip())
    assert file.read_text().strip() not in result.stdout + result.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    rotated = command("rotate", "class", "--overlap", 0, "--token-file", file)
    assert rotated.returncode == 0
    assert is_token(connection, "class", file.read_text().strip())
    assert command("revoke", "Anna's phone").returncode == 0
    lines = command("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "CREATED", "LAST", "SEEN", "DEVICE", "STATE"]
    assert lines[1].startswith("Anna's phone  ")
    assert lines[1].endswith("  never      -         revoked")
    assert lines[2].endswith("  never      (shared)  active")


def test_make_run_makes_its_tokens_once(connection, postgres):
    """A second start keeps what the first one made, and each file is its owner's alone."""
    make_tokens(postgres.part)
    files = {name: token_file(postgres.secrets, name) for name in ("simulator", "curl")}
    first = {name: file.read_text() for name, file in files.items()}
    make_tokens(postgres.part)
    for name, file in files.items():
        assert file.read_text() == first[name]
        assert is_token(connection, name, first[name].strip())
        assert entry(connection, name).shared
        assert file.stat().st_mode & 0o777 == 0o600


def test_make_run_mends_tokens_that_do_not_fit(connection, postgres):
    """Whether the file or the table was lost, the next start makes the two fit again."""
    make_tokens(postgres.part)
    lost, old = (token_file(postgres.secrets, name) for name in ("simulator", "curl"))
    lost.unlink()
    old.write_text("of another database\n")
    make_tokens(postgres.part)
    assert is_token(connection, "simulator", lost.read_text().strip())
    assert is_token(connection, "curl", old.read_text().strip())


def test_make_run_says_in_one_line_why_it_has_no_tokens(connection, postgres):
    """A token that was revoked and whose file is lost cannot be had again: that is said."""
    make_tokens(postgres.part)
    revoke_token(connection, "curl")
    make_tokens(postgres.part)
    token_file(postgres.secrets, "curl").unlink()
    with pytest.raises(LocalError, match="tokens cannot be made: the token curl is revoked"):
        make_tokens(postgres.part)


@pytest.mark.parametrize(
    ("arguments", "environment", "line"),
    [
        (["revoke", "nobody"], {}, "there is no token named nobody: `list` shows those that are"),
        (["add", ""], {}, "'' cannot be a name: use 1 to 128 printable characters"),
        (
            ["add", "phone", "--token-file", "/nowhere/token"],
            {},
            "/nowhere/token cannot be written (No such file or directory); the token is lost: rotate phone",
        ),
        (["list"], {"DATABASE_HOST": ""}, "PostgreSQL: "),
        (["list"], {"DATABASE_PORT": "1"}, "PostgreSQL: connection to server at "),
        (["list"], {"DATABASE_PASSWORD_FILE": "/nowhere"}, "DATABASE_PASSWORD_FILE=/nowhere cannot be read: "),
    ],
)
@pytest.mark.usefixtures("connection")
def test_command_line_fails_with_one_line(command, arguments, environment, line):
    """What cannot be done is said in one line, with a status that is not 0."""
    result = command(*arguments, **environment)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("overlap", ["-1", "nan", "soon", "1e9"])
def test_overlap_is_a_time(command, overlap):
    """The overlap is a number of seconds, of a year at most."""
    result = command("rotate", "phone", "--overlap", overlap)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
