"""From what a head says of its body to the bytes of a message."""

import gzip

import pytest

from services.ingest.errors import IngestError
from services.ingest.request import check_content, client_address, inflate_body, traceparent

LIMIT = 20_000
BODY = b'{"deviceId": "d"}'
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def read(body=BODY, content_type="application/json", encoding=None):
    """The bytes of the message in a request with this body."""
    environ = {"CONTENT_TYPE": content_type}
    if encoding is not None:
        environ["HTTP_CONTENT_ENCODING"] = encoding
    check_content(environ)
    return inflate_body(environ, body, LIMIT)


def assert_refused(code, *arguments, **fields):
    with pytest.raises(IngestError) as error:
        read(*arguments, **fields)
    assert error.value.code == code


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json;",
        "application/json ",
    ],
)
def test_json_types_are_accepted(content_type):
    """The ways to write application/json in UTF-8 are all accepted."""
    assert read(content_type=content_type) == BODY


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=utf-16",
        "x application/json",
        "application/json\n; charset=utf-8 x",
    ],
)
def test_other_types_are_refused(content_type):
    """Any other content type, or none, is refused."""
    assert_refused("wrong_content_type", content_type=content_type)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_gzip_is_inflated(encoding):
    """A gzipped body is the same as the plain one."""
    assert read(gzip.compress(BODY), encoding=encoding) == BODY


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_no_encoding_is_as_it_is(encoding):
    """A body without a content encoding is taken as it is."""
    assert read(encoding=encoding) == BODY


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "chunked", "nonsense"])
def test_other_encodings_are_refused(encoding):
    """Any content encoding but gzip is refused."""
    assert_refused("wrong_content_encoding", encoding=encoding)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(BODY, id="not gzip"),
        pytest.param(gzip.compress(BODY)[:-1], id="cut off"),
        pytest.param(gzip.compress(BODY)[:-8] + b"\0" * 8, id="wrong checksum"),
        pytest.param(gzip.compress(BODY) + b"more", id="more behind"),
        pytest.param(gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), id="two members"),
    ],
)
def test_bad_gzip_is_refused(body):
    """A body that is not one whole gzip stream is refused."""
    assert_refused("bad_gzip", body, encoding="gzip")


def test_inflated_body_is_limited():
    """A body that inflates to the limit is accepted, one of a byte more is not, and nor is a bomb."""
    assert len(read(gzip.compress(b" " * LIMIT), encoding="gzip")) == LIMIT
    assert_refused("body_too_large", gzip.compress(b" " * (LIMIT + 1)), encoding="gzip")
    assert_refused("body_too_large", gzip.compress(b" " * 1000 * LIMIT), encoding="gzip")


@pytest.mark.parametrize(
    ("sent", "valid"),
    [
        (TRACE, True),
        (TRACE.upper(), False),
        (TRACE[:-1], False),
        (TRACE + "-more", False),
        (TRACE + "\n", False),
        ("ff" + TRACE[2:], False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE[:36] + "0" * 16 + "-01", False),
        ("", False),
    ],
)
def test_only_a_valid_trace_context_is_taken(sent, valid):
    """The trace context is that of the W3C standard or none."""
    assert traceparent({"HTTP_TRACEPARENT": sent}) == (sent if valid else None)
    assert traceparent({}) is None


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("10.0.0.1, 203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("", "172.18.0.2"),
        ("unknown", "172.18.0.2"),
        ("203.0.113.9 forged=yes", "172.18.0.2"),
    ],
)
def test_address_is_what_the_edge_says(forwarded, address):
    """Behind the edge the address is the last that it names, if that is one, and never any other text."""
    environ = {"HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(environ, "172.18.0.2", forwarded=True) == address
    assert client_address(environ, "172.18.0.2", forwarded=False) == "172.18.0.2"
