"""Which of a batch's messages its trace links to."""

import pytest

from services.stream.trace import MOST_LINKS, recorded

SAMPLED = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("traceparent", "is_recorded"),
    [
        (SAMPLED.encode(), True),
        (SAMPLED[:-2].encode() + b"03", True),
        (SAMPLED[:-2].encode() + b"00", False),
        (None, False),
        (b"", False),
        (b"nonsense", False),
        (b"\xff\xfe", False),
    ],
)
def test_only_recorded_traces_are_linked(traceparent, is_recorded):
    """A trace that nobody keeps, or a header that is none, is no link."""
    assert recorded([traceparent]) == ([traceparent.decode()] if is_recorded else [])


def test_links_are_bounded():
    """A full batch of sampled messages links to some of them."""
    assert len(recorded([SAMPLED.encode()] * 4000)) == MOST_LINKS
