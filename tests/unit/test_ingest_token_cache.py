"""What a worker knows of the tokens, without PostgreSQL."""

import pytest

from services.common.tokens import digest
from services.ingest.token_cache import TokenCache, TokenRow
from tests.clock import Clock


@pytest.fixture
def clock():
    return Clock(1000.0)


@pytest.fixture
def cache(clock):
    return TokenCache(clock)


def row(token_id=1, secret="secret", **other):
    """A token as PostgreSQL holds it."""
    known = {"previous_sha256": None, "previous_s": 0.0, "shared": False, "device": None, "revoked": False}
    return TokenRow(token_id=token_id, name=f"token {token_id}", sha256=digest(secret), **known | other)


def test_nothing_is_loaded_at_first(cache):
    """A new cache says that it knows nothing yet; one that was told of no token knows that."""
    assert not cache.loaded
    cache.load([])
    assert cache.loaded
    assert cache.find("secret") is None


def test_token_is_found_by_its_secret_only(cache):
    """The secret finds its token; its digest, its name and other text find none."""
    cache.load([row(1, "one"), row(2, "two")])
    assert cache.find("two").token_id == 2
    assert cache.find("two").header == b"2"
    for text in ("", "three", "token 1", digest("one").hex(), "ONE"):
        assert cache.find(text) is None


def test_what_is_no_longer_there_is_not_found(cache):
    """Each reading replaces what was known before."""
    cache.load([row(1, "one")])
    cache.load([row(1, "two")])
    assert cache.find("one") is None
    assert cache.find("two") is not None


def test_revoked_token_is_found_as_revoked(cache):
    """A revoked token is told apart from a wrong one."""
    cache.load([row(revoked=True)])
    assert cache.find("secret").revoked


def test_previous_secret_is_valid_until_its_time(cache, clock):
    """After a rotation both secrets are the same token, the old one only until its time, without another reading."""
    cache.load([row(1, "new", previous_sha256=digest("old"), previous_s=60.0)])
    assert cache.find("old") == cache.find("new")
    clock.now += 59
    assert cache.find("old") is not None
    clock.now += 1
    assert cache.find("old") is None
    assert cache.find("new") is not None


def test_first_device_owns_the_token(cache):
    """The first device is let through from then on, every other is not."""
    cache.load([row()])
    token = cache.find("secret")
    assert [cache.bind(token, device) for device in ("a", "b", "a")] == [True, False, True]
    assert cache.new_bindings() == {1: "a"}


def test_binding_that_is_not_written_yet_is_kept(cache):
    """A reading that does not know the binding yet does not undo it."""
    cache.load([row()])
    cache.bind(cache.find("secret"), "a")
    cache.load([row()])
    assert not cache.bind(cache.find("secret"), "b")
    assert cache.new_bindings() == {1: "a"}


def test_stored_binding_wins(cache):
    """When another worker's binding was stored first, the device that was let in here is refused from then on."""
    cache.load([row()])
    held = cache.find("secret")
    assert cache.bind(held, "here")
    cache.load([row(device="there")])
    assert not cache.bind(cache.find("secret"), "here")
    assert cache.bind(cache.find("secret"), "there")
    assert cache.new_bindings() == {}


def test_request_that_began_before_a_reading_undoes_nothing(cache):
    """A request that still holds the token as it was before may bind once more, but the stored device stays."""
    cache.load([row()])
    held = cache.find("secret")
    cache.load([row(device="there")])
    cache.bind(held, "here")
    assert not cache.bind(cache.find("secret"), "here")
    cache.load([row(device="there")])
    assert cache.new_bindings() == {}


def test_bindings_of_tokens_that_are_gone_are_forgotten(cache):
    """Nothing is kept of a token that is no longer there or is shared now."""
    cache.load([row(1, "one"), row(2, "two")])
    for secret in ("one", "two"):
        cache.bind(cache.find(secret), "a")
    cache.load([row(2, "two", shared=True)])
    assert cache.new_bindings() == {}


def test_token_can_be_bound_anew(cache):
    """A device that was taken off a token in PostgreSQL is forgotten here."""
    cache.load([row()])
    cache.bind(cache.find("secret"), "a")
    cache.load([row(device="a")])
    cache.load([row()])
    assert cache.bind(cache.find("secret"), "b")


def test_uses_are_told_with_their_age(cache, clock):
    """For each token the time since its last use is known."""
    cache.load([row(1, "one"), row(2, "two")])
    cache.note_use(cache.find("one"))
    cache.note_use(cache.find("two"))
    clock.now += 5
    cache.note_use(cache.find("two"))
    clock.now += 1
    assert cache.uses() == {1: 6, 2: 1}
