"""`python -m ops.doctor URL`: what a phone will make of a push URL. Each finding is a line with what to do about it.

Needs nothing but Python's own library, so that it runs on any machine; best on one outside of the server's network.
"""

import argparse
import http.client
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

TIMEOUT_S: Final = 15
LIMIT: Final = 2 << 20
SOON_DAYS: Final = 14
CLOCK_S: Final = 60
TEST_PUSH: Final = {"messageId": 0, "sessionId": "doctor", "deviceId": "doctor", "payload": [{"name": "test"}]}
HOW_TO_TRUST: Final = (
    "phones refuse it until its root is installed and trusted on each (docs/operations.md, Certificates)"
)


class Finding(NamedTuple):
    """One line. `good` is None for what is neither good nor bad."""

    good: bool | None
    text: str


class HopelessError(Exception):
    """Nothing further can be tried. The text is what to do."""


def main() -> int:
    """Print the findings; the exit status is 1 when a phone could not send."""
    parser = argparse.ArgumentParser(prog="python -m ops.doctor", description=__doc__)
    parser.add_argument("url", help="push URL, such as https://phones.example.org/sensor_data")
    parser.add_argument("--token-file", type=Path, help="file with a token, for a real test push")
    parser.add_argument("--ca-file", type=Path, help="root certificate that the phones have been told to trust")
    arguments = parser.parse_args()
    token = arguments.token_file.read_text().strip() if arguments.token_file else None
    bad = 0
    try:
        for finding in examine(arguments.url, token, arguments.ca_file):
            bad += finding.good is False
            print({True: "good   ", False: "BAD    ", None: "note   "}[finding.good] + finding.text)
    except HopelessError as error:
        bad += 1
        print(f"BAD    {error}")
    print("a phone can send here" if not bad else f"{bad} things stand in a phone's way")
    return int(bad > 0)


def examine(url: str, token: str | None, ca_file: Path | None) -> Iterator[Finding]:
    """All findings, in the order in which a phone meets them. Raises `HopelessError`."""
    parts = urlsplit(url)
    yield from examine_form(parts)
    yield from examine_name(parts.hostname or "", parts.port or 443)
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    trusted = True
    for finding in examine_certificate(parts, context):
        trusted = trusted and finding.good is not False
        yield finding
    if not trusted:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    yield from examine_plain(parts)
    yield from examine_service(parts, context, token)


def examine_form(parts: SplitResult) -> Iterator[Finding]:
    """Whether the URL is one that the app can push to."""
    if parts.scheme != "https" or not parts.hostname:
        raise HopelessError(
            "the URL does not begin with https:// and a name: the app sends only over HTTPS from most phones"
        )
    right = parts.path.endswith("/sensor_data")
    yield Finding(right, f"path {parts.path or '/'}" + ("" if right else ": it has to end with /sensor_data"))


def examine_name(name: str, port: int) -> Iterator[Finding]:
    """What the name leads to, and whether that is reachable from everywhere."""
    try:
        found = sorted({entry[4][0] for entry in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)})
    except OSError:
        raise HopelessError(f"{name} leads to no address: make a DNS record (A, AAAA) of that name") from None
    for address in map(str, found):
        public = ipaddress.ip_address(address).is_global
        where = "public" if public else "private: only phones in the same network reach it"
        yield Finding(True if public else None, f"{name} is {address} ({where})")
    try:
        socket.create_connection((name, port), timeout=TIMEOUT_S).close()
    except OSError as error:
        raise HopelessError(
            f"nothing answers at port {port} ({error}): is it open in the firewall, and the stack up?"
        ) from None


def examine_certificate(parts: SplitResult, context: ssl.SSLContext) -> Iterator[Finding]:
    """Whether a phone accepts the certificate as it is, and for how long."""
    name = parts.hostname or ""
    try:
        with tls(parts, context) as connection:
            certificate: dict[str, Any] = dict(connection.getpeercert() or {})
            version = connection.version()
    except ssl.SSLCertVerificationError as error:
        yield Finding(False, f"certificate: {error.verify_message}; {HOW_TO_TRUST}")
        yield from _describe(parts)
        return
    except OSError as error:
        raise HopelessError(f"no TLS at port {parts.port or 443}: {error}") from None
    issuer = dict(pair for entry in certificate.get("issuer", ()) for pair in entry)
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
    who = issuer.get("organizationName") or issuer.get("commonName")
    yield Finding(True, f"certificate for {name} by {who}, trusted here; {version}")
    lasts = days > SOON_DAYS or _renews_itself(certificate)
    yield Finding(lasts, f"certificate ends in {days:.1f} days" + ("" if lasts else ": renew it now"))


def _renews_itself(certificate: Mapping[str, Any]) -> bool:
    """Certificates of hours or days are made by programs that renew them in time, as the edge does."""
    begin, end = (ssl.cert_time_to_seconds(certificate[key]) for key in ("notBefore", "notAfter"))
    return end - begin < SOON_DAYS * 86400 and (end - time.time()) > (end - begin) / 6


def _describe(parts: SplitResult) -> Iterator[Finding]:
    """Who signed a certificate that is not trusted, where openssl can tell."""
    pem = ssl.get_server_certificate((parts.hostname or "", parts.port or 443), timeout=TIMEOUT_S)
    try:
        told = subprocess.run(
            ["openssl", "x509", "-noout", "-issuer", "-enddate", "-ext", "subjectAltName"],
            input=pem, check=False, capture_output=True, text=True,
        ).stdout  # fmt: skip
    except FileNotFoundError:
        return
    yield Finding(None, "it says: " + " ".join(told.split()))


def examine_plain(parts: SplitResult) -> Iterator[Finding]:
    """What plain HTTP does: a phone that was given http:// should be led on."""
    if parts.port not in (None, 443):
        return
    try:
        with closing(http.client.HTTPConnection(parts.hostname or "", 80, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", "/")
            led_on = connection.getresponse().getheader("Location", "").startswith("https://")
    except (OSError, http.client.HTTPException):
        yield Finding(None, "port 80 does not answer: certificates by ACME may need it, phones do not")
        return
    yield Finding(led_on, "http:// is led on to https://" if led_on else "http:// is answered without HTTPS")


def examine_service(parts: SplitResult, context: ssl.SSLContext, token: str | None) -> Iterator[Finding]:
    """What ingest says: its clock, to no token, to a body that is too large, and to a real test push."""
    with closing(
        http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=context)
    ) as connection:
        status, error, headers = post(connection, parts.path, TEST_PUSH, None)
        off = abs(parsedate_to_datetime(headers["Date"]).timestamp() - time.time()) if "Date" in headers else 0.0
        yield Finding(off < CLOCK_S, f"clocks differ by {off:.0f} s" + ("" if off < CLOCK_S else ": set them by NTP"))
        if (status, error) != (401, "no_token"):
            raise HopelessError(
                f"a push without a token got {status} {error}: this does not lead to ingest, or it is not ready"
            )
        yield Finding(True, "a push without a token is refused")
        if token is None:
            own = "with a token of its own, for the first device that uses one owns it"
            yield Finding(None, f"give --token-file (make doctor TOKEN_FILE=…) for a real test push, {own}")
            return
        status, error, _ = post(connection, parts.path, TEST_PUSH, token)
        yield Finding(
            status == 200,
            "a test push is acknowledged by Kafka" if status == 200 else f"a test push got {status} {error}",
        )
        status, error, _ = post(connection, parts.path, {"padding": "x" * LIMIT}, token)
        right = (status, error) == (413, "body_too_large")
        yield Finding(
            right,
            "bodies up to 2 MiB come through"
            if right
            else f"a body of 2 MiB got {status} {error}: does a proxy stand before the edge?",
        )


def post(
    connection: http.client.HTTPSConnection, path: str, body: object, token: str | None
) -> tuple[int, str, http.client.HTTPMessage]:
    """Status, error code and headers of the answer. Raises `HopelessError` when none comes."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise HopelessError(f"a push got no answer: {error}") from None
    try:
        return answer.status, str(json.loads(text).get("error", "")), answer.headers
    except (ValueError, AttributeError):
        return answer.status, "(not ingest's words)", answer.headers


def tls(parts: SplitResult, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A TLS connection to the URL's host."""
    plain = socket.create_connection((parts.hostname or "", parts.port or 443), timeout=TIMEOUT_S)
    return context.wrap_socket(plain, server_hostname=parts.hostname)


if __name__ == "__main__":
    os.environ.pop("SSLKEYLOGFILE", None)
    sys.exit(main())
