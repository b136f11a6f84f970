"""Camera pictures, which come as base64 texts, as pictures."""

import base64
import binascii
from typing import Final

from flask import Flask, Response, request

from services.dashboard.database import DatabaseAwayError
from services.dashboard.queries import Queries

_KINDS: Final = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


def register(server: Flask, queries: Queries) -> None:
    """Answer `/pictures?session=…&sensor=…&channel=…&time=…` (session's number, time in ms)."""

    @server.get("/pictures")
    def picture() -> Response:
        asked = request.args
        try:
            place = int(asked["session"]), asked["sensor"], asked["channel"], float(asked["time"])
            text = queries.text_at(*place)
        except (KeyError, ValueError, OverflowError):
            return Response("The link to the picture is not complete.", 400, mimetype="text/plain")
        except DatabaseAwayError:
            return Response("The database cannot be reached. Try again later.", 503, mimetype="text/plain")
        found = picture_of(text or "")
        if found is None:
            return Response("There is no picture.", 404, mimetype="text/plain")
        kind, content = found
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(content, mimetype=kind, headers=headers)


def picture_of(text: str) -> tuple[str, bytes] | None:
    """Media type and bytes of a base64 text, with or without `data:` before it; None for what is no picture.

    The type is told by the first bytes, never by what the text says of itself.
    """
    encoded = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        content = base64.b64decode(encoded, validate=False)
    except (binascii.Error, ValueError):
        return None
    kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), None)
    return (kind, content) if kind else None
