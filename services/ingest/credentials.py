"""Credentials: where in a request its token is. The app has one free text field for it, so several forms are read."""

import base64
import binascii
from urllib.parse import parse_qs

from services.ingest.request import Environ


def find_token(environ: Environ, in_url: bool) -> str | None:
    """The token of `Authorization: Bearer T`, `Basic` (its password) or the bare T; `?token=T` only if `in_url`.

    None when there is none; text that is no token at all when there is something else in its place.
    """
    if header := environ.get("HTTP_AUTHORIZATION", "").strip():
        return _read_header(header)
    found = parse_qs(environ.get("QUERY_STRING", "")).get("token") if in_url else None
    return found[0] if found else None


def _read_header(header: str) -> str:
    match header.split(None, 1):
        case [scheme, token] if scheme.lower() == "bearer":
            return token
        case [scheme, encoded] if scheme.lower() == "basic":
            return _password(encoded)
    return header


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
