"""The heads of requests: the quick reader, gunicorn's, and that they agree."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.ingest.errors import IngestError
from services.ingest.head import MAX_BYTES, read_any, read_usual, read_whole, take_head

USUAL = (
    b"POST /sensor_data?errors=phone HTTP/1.1\r\nHost: ingest:5000\r\nUser-Agent: okhttp/4.9.2\r\n"
    b"Content-Type: application/json\r\nContent-Length: 15801\r\nAuthorization: Bearer abc\r\n"
    b"Connection: Keep-Alive\r\nAccept-Encoding: gzip\r\n\r\n"
)
PIECES = [
    *(b"GET", b"POST", b"HEAD", b"post", b" ", b"/", b"//", b"/sensor_data", b"%41", b"#", b"?", b"?a=b", b"*", b"a:1"),
    *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b"\t", b":", b"_", b"X-Y"),
    *(b"Host: a", b"Content-Length: 5", b"Content-Length: 05", b"content-length:+5", b"Content-Length: 5, 5"),
    *(b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: close", b"Connection: keep-alive, x"),
    *(b"X_Y: z", b"X-Forwarded-Proto: https", b"Content-Type: a", b" folded", b"A: b", b"Script-Name: /x"),
]


def mixed():
    """Heads that nearly are what they should be: pieces in any order, or a usual head with pieces put into it."""
    free = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
    lines = st.lists(st.sampled_from(PIECES), max_size=6).map(b"\r\n".join)
    placed = st.tuples(st.integers(0, len(USUAL) - 4), st.integers(0, 8), st.sampled_from(PIECES))
    changed = placed.map(lambda p: USUAL[: p[0]] + p[2] + USUAL[p[0] + p[1] :])
    whole = st.one_of(free, lines.map(lambda text: b"POST /sensor_data HTTP/1.1\r\n" + text), changed)
    return whole.map(lambda text: text.split(b"\r\n\r\n")[0] + b"\r\n\r\n")


@settings(max_examples=1500, deadline=None)
@given(mixed())
@example(USUAL)
@example(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n")
def test_what_the_quick_reader_reads_gunicorn_reads_in_the_same_way(data):
    """The quick reader accepts nothing that gunicorn's refuses, and never sees another meaning."""
    quick = read_usual(data)
    if quick is not None:
        assert quick == read_any(data)


def test_usual_head_is_read_quickly():
    """The app's head, and the edge's, are what the quick reader is for."""
    head = read_usual(USUAL)
    assert (head.length, head.keep_alive, head.expects_continue) == (15801, True, False)
    assert head.environ["QUERY_STRING"] == "errors=phone"
    assert head.environ["HTTP_AUTHORIZATION"] == "Bearer abc"
    forwarded = USUAL[:-2] + b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nVia: 2.0 Caddy\r\n\r\n"
    assert read_usual(forwarded) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Host: again",
        b"Content-Length: 1_0",
        b"X_Y: z",
        b" folded",
        b"X: \xff",
    ],
)
def test_what_needs_thought_is_left_to_gunicorn(line):
    """What decides on the frame of the body, comes twice or is odd is none of the quick reader's business."""
    assert read_usual(USUAL[:-2] + line + b"\r\n\r\n") is None


@pytest.mark.parametrize("body", [b"", b"x" * 15800, b"x" * 15802], ids=["none", "short", "more"])
def test_a_request_is_whole_with_all_of_its_body_and_no_more(body):
    """What else has come needs the frame of the body to be kept in mind."""
    assert read_whole(USUAL + b"x" * 15801) == read_usual(USUAL)
    assert read_whole(USUAL + body) is None
    assert read_whole(USUAL[:-1]) is None
    assert read_whole(b"") is None


def test_head_is_taken_once_it_is_whole():
    """A head that comes byte by byte is read at its last, and what follows it stays."""
    buffer = bytearray()
    for i in range(len(USUAL) - 1):
        buffer += USUAL[i : i + 1]
        assert take_head(buffer) is None
    buffer += USUAL[-1:] + b"body"
    assert take_head(buffer).length == 15801
    assert buffer == b"body"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"x" * (MAX_BYTES + 1), "address_too_long"), (b"GET / HTTP/1.1\r\n" + b"x" * MAX_BYTES, "head_too_large")],
)
def test_head_without_end_is_refused(data, code):
    """No more of a head is kept than its limit."""
    with pytest.raises(IngestError) as error:
        take_head(bytearray(data))
    assert error.value.code == code
