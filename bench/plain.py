"""A plain ingest, the yardstick of `make bench-ingest`: what one writes in an afternoon, and nothing else.

Flask under gunicorn's gthread, msgspec, confluent-kafka with a thread that polls. It answers 200 after the delivery
report. No tokens, limits, metrics, traces or deadlines.

    gunicorn --worker-class gthread --threads 16 'bench.plain:make_app()'
"""

import os
import threading
from typing import Any

import msgspec
from confluent_kafka import Producer
from flask import Flask, request

from services.common.kafka import KafkaSettings, client_options
from services.common.settings import load


class Message(msgspec.Struct):
    """As much of the message as a plain server looks at."""

    deviceId: str
    sessionId: str
    payload: list[Any]
    messageId: int = 0


def make_app() -> Flask:
    """The application of one worker."""
    settings = load(KafkaSettings, os.environ)
    producer = Producer(client_options(settings) | {"acks": "all", "enable.idempotence": True})
    decoder = msgspec.json.Decoder(Message)

    def poll() -> None:
        while True:
            producer.poll(0.1)

    threading.Thread(target=poll, daemon=True).start()
    app = Flask("plain")

    @app.post("/sensor_data")
    def sensor_data() -> tuple[dict[str, str], int]:
        body = request.get_data()
        message = decoder.decode(body)
        reported = threading.Event()
        errors = []

        def report(error: object, _message: object) -> None:
            errors.append(error)
            reported.set()

        producer.produce(settings.topic, body, message.deviceId, on_delivery=report)
        stored = reported.wait(5) and errors == [None]
        return ({"status": "ok"}, 200) if stored else ({"error": "not stored"}, 503)

    return app
