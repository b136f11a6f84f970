"""From a WSGI environ to the bytes of a message."""

import gzip
from io import BytesIO

import pytest
from gunicorn.http.errors import InvalidChunkSize

from services.ingest.errors import IngestError
from services.ingest.request import read_body, traceparent

LIMIT = 20_000
BODY = b'{"deviceId": "d"}'
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def read(body=BODY, content_type="application/json", encoding=None, length=None):
    """Read `body`, which is a stream or bytes, as a server would hand it over."""
    environ = {"CONTENT_TYPE": content_type, "wsgi.input": BytesIO(body) if isinstance(body, bytes) else body}
    if encoding is not None:
        environ["HTTP_CONTENT_ENCODING"] = encoding
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    return read_body(environ, LIMIT)


def assert_refused(code, *arguments, **fields):
    with pytest.raises(IngestError) as error:
        read(*arguments, **fields)
    assert error.value.code == code


class Endless:
    """A body that never ends; counts what was taken of it."""

    taken = 0

    def read(self, size):
        self.taken += size
        return b"x" * size


class Failing:
    """A body whose reading fails after its first bytes."""

    def __init__(self, fault):
        self.fault = fault

    def read(self, _size):
        raise self.fault


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
def test_other_types_are_refused_unread(content_type):
    """Any other content type, or none, is refused before the body is read."""
    body = Endless()
    assert_refused("wrong_content_type", body, content_type=content_type)
    assert body.taken == 0


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_gzip_is_inflated(encoding):
    """A gzipped body is the same as the plain one."""
    assert read(gzip.compress(BODY), encoding=encoding) == BODY


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_no_encoding_is_as_it_is(encoding):
    """A body without a content encoding is taken as it is."""
    assert read(encoding=encoding) == BODY


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "chunked", "nonsense"])
def test_other_encodings_are_refused_unread(encoding):
    """Any content encoding but gzip is refused before the body is read."""
    body = Endless()
    assert_refused("wrong_content_encoding", body, encoding=encoding)
    assert body.taken == 0


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


@pytest.mark.parametrize(("encode", "encoding"), [(bytes, None), (gzip.compress, "gzip")], ids=["plain", "gzip"])
def test_body_is_limited_as_sent_and_inflated(encode, encoding):
    """A body of the limit is accepted, one byte more is not, before or after inflating."""
    assert len(read(encode(b" " * LIMIT), encoding=encoding)) == LIMIT
    assert_refused("body_too_large", encode(b" " * (LIMIT + 1)), encoding=encoding)
    assert_refused("body_too_large", encode(b" " * 1000 * LIMIT), encoding=encoding)


def test_compressed_body_is_limited_before_inflating():
    """A body too large as it is sent is refused, whatever it would inflate to."""
    assert_refused("body_too_large", b"\0" * (LIMIT + 1), encoding="gzip")


@pytest.mark.parametrize(
    ("length", "least", "most"), [(None, LIMIT, 10 * LIMIT), (2 * LIMIT, 1, 10 * LIMIT), (10**9, 0, 0)]
)
def test_large_body_is_read_on_within_bounds(length, least, most):
    """A client that would soon be done is listened to, so that it sees the answer; any other is left at once."""
    body = Endless()
    assert_refused("body_too_large", body, length=length)
    assert least <= body.taken <= most


def test_body_shorter_than_announced_is_refused():
    """A body that ends before its announced length is no message, even when it could be read as one."""
    assert read(length=len(BODY)) == BODY
    assert_refused("body_incomplete", length=len(BODY) + 1)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ConnectionResetError(), "body_incomplete"),
        (TimeoutError(), "body_incomplete"),
        (InvalidChunkSize(b"z"), "bad_request"),
    ],
    ids=["reset", "timeout", "bad chunk"],
)
def test_fault_of_the_connection_is_named(fault, code):
    """A body that cannot be read to its end is refused with what was wrong."""
    assert_refused(code, Failing(fault))


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
