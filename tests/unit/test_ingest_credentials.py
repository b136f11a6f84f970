"""Where a request's token is found."""

import base64

import pytest

from services.ingest.credentials import find_token


def basic(text):
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer T", "T"),
        ("bearer   T", "T"),
        ("BEARER\tT ", "T"),
        ("T", "T"),
        ("  T  ", "T"),
        (basic("phone:T"), "T"),
        (basic(":T"), "T"),
        (basic("phone:T:with:colons"), "T:with:colons"),
        (basic("phone:ü"), "ü"),
        (basic("T"), ""),
        ("Basic !!!", ""),
        ("Basic /w==", ""),
        ("Basic ü", ""),
        ("Bearer", "Bearer"),
        ("Digest T", "Digest T"),
        ("", None),
        ("  ", None),
    ],
)
def test_header_holds_the_token(header, token):
    """The app's one text field may hold a bearer token, name and password, or the bare token."""
    assert find_token({"HTTP_AUTHORIZATION": header}, in_url=False) == token


@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("token=T", "T"),
        ("errors=phone&token=T&token=U", "T"),
        ("token=%FF", "\ufffd"),
        ("token=", None),
        ("tokens=T", None),
        ("", None),
    ],
)
def test_url_holds_the_token_only_where_that_is_allowed(query, token):
    """A token in the URL counts only if the setting says so."""
    assert find_token({"QUERY_STRING": query}, in_url=True) == token
    assert find_token({"QUERY_STRING": query}, in_url=False) is None


def test_header_comes_before_the_url():
    """What the header says is not overruled by the URL."""
    assert find_token({"HTTP_AUTHORIZATION": "Bearer T", "QUERY_STRING": "token=U"}, in_url=True) == "T"


def test_no_credentials():
    """A request without any has no token."""
    assert find_token({}, in_url=True) is None
