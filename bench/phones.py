"""Encoded messages of phones at 500 readings a second: made once from the simulator's, then only ids and times change.

A message covers 0.2 s: 100 readings of five motion sensors, about 14 KB. Encoding one anew takes about 20 µs.
"""

import uuid
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from services.simulator.phone import Phone, Recording

PERIOD_S: Final = 0.2
READINGS: Final = 100
_TEMPLATES: Final = 5
_DIGITS: Final = 10 ** np.arange(18, -1, -1, dtype=np.int64)
_TIME: Final = b'"time":'


class EncodedPhone:
    """One phone of a run. `device` and `session` are new for each; message numbers count from 0."""

    def __init__(self, number: int) -> None:
        self.session = str(uuid.uuid4())
        self.device = f"bench-{number}-{self.session[:8]}"
        self._number = 0
        start = 1_700_000_000 * 10**9
        recording = Recording(rate=100, batch_period=PERIOD_S, motion_only=True)
        messages = Phone(number, number, start, recording).messages()
        self._templates = [_Template(due.message.payload) for due in islice(messages, _TEMPLATES)]

    def encode(self, end_ns: int) -> bytes:
        """The next message, whose 0.2 s end at `end_ns`."""
        number = self._number
        self._number += 1
        payload = self._templates[number % _TEMPLATES].at(end_ns - int(PERIOD_S * 1e9))
        head = b'{"messageId":%d,"sessionId":"%b","deviceId":"%b","payload":'
        return head % (number, self.session.encode(), self.device.encode()) + payload + b"}"


class _Template:
    def __init__(self, payload: list) -> None:
        encoded = msgspec.json.encode(payload)
        self._bytes = np.frombuffer(encoded, np.uint8).copy()
        times = np.array([reading.time for reading in payload], np.int64)
        self._offsets = times - times[0]
        places, at = [], -1
        while (at := encoded.find(_TIME, at + 1)) >= 0:
            places.append(at + len(_TIME))
        assert len(places) == len(payload) == READINGS
        self._places = np.array(places)[:, None] + np.arange(19)

    def at(self, start_ns: int) -> bytes:
        """The payload that begins at `start_ns`."""
        times = self._offsets + start_ns
        self._bytes[self._places] = times[:, None] // _DIGITS % 10 + 48
        return self._bytes.tobytes()
