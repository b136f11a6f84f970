"""Passwords, addresses and the rules of the guard."""

from contextlib import ExitStack

import pytest

from services.dashboard.access.accounts import SignIn
from services.dashboard.access.guard import content_security_policy
from services.dashboard.access.passwords import BusyError, PasswordError, hash_password, is_right, turn
from services.dashboard.access.sign_ins import REFRESH_S, FirstUser, SignIns, network_of
from services.dashboard.access.viewer import Viewer
from services.dashboard.database import DatabaseAwayError

ANNA = Viewer(1, "anna", "viewer")


class MemoryAccounts:
    """Accounts that know the sign-ins they are told, unless they are away."""

    def __init__(self):
        self.found = SignIn(ANNA, 1000.0)
        self.is_away = False
        self.asked = 0

    def find_sign_in(self, _sha256):
        self.asked += 1
        if self.is_away:
            raise DatabaseAwayError("away")
        return self.found


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def accounts():
    return MemoryAccounts()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sign_ins(accounts, clock):
    return SignIns(accounts, FirstUser(name="admin", password=""), 60.0, clock)


def test_password_is_salted_and_found_right():
    """Two hashes of a password differ, and only the password fits them."""
    first, second = (hash_password("a long enough one", "anna") for _ in range(2))
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,")
    assert is_right("a long enough one", first)
    assert not is_right("a long enough two", first)


@pytest.mark.parametrize("stored", [None, "", "plain", "$argon2id$v=19$m=8,t=1,p=1$!!"])
def test_nothing_fits_no_hash(stored):
    """A user who is not there, or a hash that is none, refuses every password without an error."""
    assert not is_right("anything", stored)


@pytest.mark.parametrize("password", ["", "x" * 11, "y" * 257, "annaannaanna", "anna1anna2anna", "aabbaabbaabb"])
def test_weak_passwords_are_refused(password):
    """Short, endless, or made of the name or of a few characters."""
    with pytest.raises(PasswordError):
        hash_password(password, "Anna")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_a_household_is_throttled_as_one(address, network):
    """An IPv6 household has a /64 of addresses to try from."""
    assert network_of(address) == network


def test_a_known_sign_in_costs_no_query(sign_ins, accounts, clock):
    """PostgreSQL is asked once in a few seconds, however many requests there are."""
    for _ in range(100):
        assert sign_ins.viewer("s") == ANNA
    assert accounts.asked == 1
    clock.now += REFRESH_S
    assert sign_ins.viewer("s") == ANNA
    assert accounts.asked == 2


def test_what_ended_elsewhere_ends_here(sign_ins, accounts, clock):
    """A sign-in that PostgreSQL no longer knows is refused at the next look."""
    sign_ins.viewer("s")
    accounts.found = None
    clock.now += REFRESH_S
    assert sign_ins.viewer("s") is None


def test_a_busy_page_does_not_put_the_look_off(sign_ins, accounts, clock):
    """Requests that never pause do not keep an ended sign-in alive."""
    sign_ins.viewer("s")
    accounts.found = None
    for _ in range(60):
        clock.now += 0.1
        who = sign_ins.viewer("s")
    assert who is None


def test_a_changed_role_counts_at_the_next_look(sign_ins, accounts, clock):
    """An operator who was made a viewer is one within seconds."""
    sign_ins.viewer("s")
    accounts.found = SignIn(ANNA._replace(role="operator"), 1000.0)
    clock.now += REFRESH_S
    assert sign_ins.viewer("s").is_operator


def test_an_outage_is_bridged_for_a_bounded_time(sign_ins, accounts, clock):
    """While PostgreSQL is away its last word counts for a minute, and nobody new gets in."""
    sign_ins.viewer("s")
    accounts.is_away = True
    clock.now += 59
    assert sign_ins.viewer("s") == ANNA
    with pytest.raises(DatabaseAwayError):
        sign_ins.viewer("other")
    clock.now += 6
    with pytest.raises(DatabaseAwayError):
        sign_ins.viewer("s")


def test_a_sign_in_ends_during_an_outage_too(sign_ins, accounts, clock):
    """The absolute end is kept without PostgreSQL."""
    accounts.found = SignIn(ANNA, 30.0)
    sign_ins.viewer("s")
    accounts.is_away = True
    clock.now += 31
    assert sign_ins.viewer("s") is None


def test_viewers_are_those_of_the_last_minute(sign_ins, clock):
    """Who closed the page is no viewer any more."""
    sign_ins.viewer("a")
    sign_ins.viewer("b")
    assert sign_ins.viewers() == 2
    clock.now += 50
    sign_ins.viewer("a")
    clock.now += 20
    assert sign_ins.viewers() == 1


def test_policy_names_only_the_host_of_the_tiles():
    """Map tiles open one host for pictures and requests, never for scripts."""
    closed = content_security_policy("", ["'sha256-x'"])
    assert "http" not in closed
    opened = content_security_policy("https://tiles.example:8443/{z}/{x}/{y}.png", [])
    assert "connect-src 'self' https://tiles.example:8443;" in opened
    assert "script-src 'self';" in opened


def test_a_flood_of_passwords_is_put_off():
    """When every turn is taken the next attempt is told to come later, and takes no thread for long."""
    with ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(turn())
        with pytest.raises(BusyError):
            is_right("anything", None)
    assert not is_right("anything", None)
