"""Pictures that come as base64 texts."""

import base64

import pytest

from services.dashboard.pictures import picture_of


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"\xff\xd8\xff\xe0", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF89a", "image/gif")],
)
@pytest.mark.parametrize("prefix", ["", "data:text/html;base64,"])
def test_type_is_told_by_the_first_bytes(start, kind, prefix):
    """A picture is what its bytes say, whatever the text claims to be."""
    content = start + bytes(20)
    assert picture_of(prefix + base64.b64encode(content).decode()) == (kind, content)


@pytest.mark.parametrize("text", ["", "hello", "a", base64.b64encode(b"<svg onload=x>").decode(), "data:image/png,x"])
def test_everything_else_is_no_picture(text):
    """Nothing but a raster picture is ever served as one."""
    assert picture_of(text) is None
