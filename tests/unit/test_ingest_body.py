"""The frames of bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.body import ChunkedBody, LengthBody
from services.ingest.errors import IngestError

REST = b"POST /next"
PIECES = st.lists(st.binary(max_size=50), max_size=10)
SIZES = st.lists(st.integers(1, 30), min_size=1)


def feed(body, data, sizes=(10**6,)):
    """Take `data` in pieces of these sizes, in turn, for ever; returns what the body left."""
    buffer = bytearray()
    at, turn = 0, 0
    while at < len(data) and not body.complete:
        size = sizes[turn % len(sizes)]
        buffer += data[at : at + size]
        at, turn = at + size, turn + 1
        body.take(buffer)
    return bytes(buffer) + data[at:]


@given(PIECES, SIZES, st.sampled_from([b"", b";a=b", b' ; a="b;c"']), st.sampled_from([b"", b"X: y\r\n"]))
def test_chunks_are_put_together_however_they_come(pieces, sizes, extension, trailer):
    """Chunks cut at any place give the same body, and leave what follows it."""
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces if piece)
    body = ChunkedBody()
    assert feed(body, chunks + b"0\r\n" + trailer + b"\r\n" + REST, sizes) == REST
    assert body.complete
    assert body.data == b"".join(pieces)


@given(st.binary(max_size=100), SIZES)
def test_length_is_taken_and_no_more(data, sizes):
    """A body of known length ends where it was announced to."""
    body = LengthBody(len(data))
    assert feed(body, data + REST, sizes) == (data + REST if not data else REST)
    assert body.data == data


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x5\r\nabcde\r\n",
        b"5 \r\nabcde\r\n",
        b"5\nabcde\r\n",
        b"5\r\nabcdef\r\n",
        b"5\r\nabcdeX",
        b"5\r\nabcde\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"1;" + b"x" * 5000,
        b"5;a=\x00\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 100,
        b"1\r\nx\r\n" * 20_000,
    ],
)
def test_broken_chunks_are_refused_as_soon_as_they_are_seen(data):
    """What is no chunk, or is chunked beyond reason, is refused without waiting for more."""
    with pytest.raises(IngestError) as error:
        feed(ChunkedBody(), data)
    assert error.value.code == "bad_request"


def test_dropped_body_is_counted_and_not_kept():
    """A body that nobody wants any more costs no memory, and its end is still found."""
    body = ChunkedBody()
    buffer = bytearray(b"5\r\nabc")
    body.take(buffer)
    body.drop()
    buffer += b"de\r\n0\r\n\r\n"
    body.take(buffer)
    assert (body.complete, body.size, bytes(body.data)) == (True, 5, b"")
