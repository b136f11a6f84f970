"""What sends encoded messages when they are due: straight into Kafka, or by HTTP. Each runs in a process of its own."""

import multiprocessing
import random
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Producer

from bench.phones import PERIOD_S, EncodedPhone
from tests.system.stack import Stack

_TRACED = 50
"""Of so many records that are put straight into Kafka one is part of a trace, as by the default ratio."""


class Sent(NamedTuple):
    """One message that was acknowledged. `at` is when its sending began, in seconds since the Unix epoch."""

    session: str
    number: int
    at: float


class Outcome(NamedTuple):
    """What a sender did: the acknowledged messages, how many were not, its CPU seconds, and how late it was at most."""

    sent: list[Sent]
    failed: int
    cpu_s: float
    late_s: float


Send = Callable[[Stack, list[EncodedPhone], float | None, int], Outcome]
"""(stack, phones, seconds or None for as fast as it goes, messages per phone at most)"""


@contextmanager
def sending(send: Send, stack: Stack, phones: int, seconds: float | None, messages: int = 10**9) -> Iterator[Callable]:
    """Run `send` in a process; gives a function that waits for its outcome."""
    context = multiprocessing.get_context("fork")
    receiving, giving = context.Pipe(duplex=False)

    def work() -> None:
        giving.send(send(stack, [EncodedPhone(number) for number in range(phones)], seconds, messages))

    process = context.Process(target=work)
    process.start()
    giving.close()
    try:
        yield receiving.recv
    finally:
        process.terminate()
        process.join()


def to_kafka(stack: Stack, phones: list[EncodedPhone], seconds: float | None, messages: int) -> Outcome:
    """Records straight into the topic, as ingest would write them."""
    certificates = stack.directory / "certificates"
    sent: list[Sent] = []
    failed = 0
    producer = Producer(_options(stack, certificates))

    def produce(phone: EncodedPhone, number: int, now: float) -> None:
        nonlocal failed

        def report(error, _message) -> None:
            nonlocal failed
            if error:
                failed += 1
            else:
                sent.append(Sent(phone.session, number, now))

        body = phone.encode(int(now * 1e9))
        traced = {"traceparent": f"00-{random.getrandbits(128):032x}-{1:016x}-01"} if number % _TRACED == 0 else None
        while True:
            try:
                return producer.produce("sensor-messages", body, phone.device, headers=traced, on_delivery=report)
            except BufferError:
                producer.poll(0.05)

    late = _pace(phones, seconds, messages, produce, producer.poll)
    producer.flush(60)
    return Outcome(sent, failed, time.process_time(), late)


def _options(stack: Stack, certificates: Path) -> dict[str, object]:
    return {
        "bootstrap.servers": f"127.0.0.1:{stack.environment['KAFKA_PORT']}",
        "security.protocol": "ssl",
        "ssl.ca.location": str(certificates / "ca.crt"),
        "ssl.certificate.location": str(certificates / "ingest.pem"),
        "ssl.key.location": str(certificates / "ingest.pem"),
        "compression.type": "lz4",
        "enable.idempotence": True,
        "linger.ms": 5,
        "queue.buffering.max.kbytes": 65536,
        "log_level": 0,
    }


def to_ingest(stack: Stack, phones: list[EncodedPhone], seconds: float | None, messages: int) -> Outcome:
    """POSTs over one kept connection per phone, one system call to send and one to receive."""
    token = stack.token_file("simulator").read_text().strip()
    host, port = "127.0.0.1", int(stack.environment["INGEST_PORT"])
    head = (
        f"POST /sensor_data HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ).encode()
    selector = selectors.DefaultSelector()
    links = {phone.session: _Link(phone, host, port) for phone in phones}
    for link in links.values():
        selector.register(link.socket, selectors.EVENT_READ, link)

    def post(phone: EncodedPhone, number: int, now: float) -> None:
        body = phone.encode(int(now * 1e9))
        links[phone.session].post(head % len(body) + body, Sent(phone.session, number, now))

    def serve(wait: float) -> None:
        for key, _ in selector.select(wait):
            key.data.receive()

    late = _pace(phones, seconds, messages, post, serve)
    deadline = time.monotonic() + 10
    while any(link.waiting for link in links.values()) and time.monotonic() < deadline:
        serve(0.1)
    sent = [each for link in links.values() for each in link.acknowledged]
    failed = sum(link.failed + len(link.waiting) for link in links.values())
    return Outcome(sent, failed, time.process_time(), late)


class _Link:
    """One phone's connection. A phone sends its next message when the one before is answered, as the app does."""

    def __init__(self, phone: EncodedPhone, host: str, port: int) -> None:
        self.phone = phone
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting: list[tuple[bytes, Sent]] = []
        self.acknowledged: list[Sent] = []
        self.failed = 0
        self._answer = b""

    def post(self, request: bytes, sent: Sent) -> None:
        self.waiting.append((request, sent))
        if len(self.waiting) == 1:
            self.socket.sendall(request)

    def receive(self) -> None:
        received = self.socket.recv(65536)
        if not received:
            raise ConnectionError("ingest closed a connection")
        self._answer += received
        if not _is_whole(self._answer):
            return
        _, sent = self.waiting.pop(0)
        if self._answer.startswith(b"HTTP/1.1 200"):
            self.acknowledged.append(sent)
        else:
            self.failed += 1
        self._answer = b""
        if self.waiting:
            self.socket.sendall(self.waiting[0][0])


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def _pace(phones, seconds, messages, send, serve) -> float:
    """Send each phone's messages every 0.2 s, the phones one after the other; returns how late it was at most."""
    began = time.time() + 0.2
    count = min(messages, round(seconds / PERIOD_S)) if seconds else messages
    late = 0.0
    for number in range(count):
        for position, phone in enumerate(phones):
            if seconds:
                due = began + (number + position / len(phones)) * PERIOD_S
                while (wait := due - time.time()) > 0:
                    serve(wait)
                late = max(late, -wait)
            send(phone, number, time.time())
        serve(0)
    return late
