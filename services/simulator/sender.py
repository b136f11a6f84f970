"""Sends a phone's messages: each again and again, as the app does, until it is answered for good."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import msgspec

from services.common.message import Message, encode_json
from services.simulator.client import Answer, Client, Target
from services.simulator.metrics import Outcome
from services.simulator.record import Attempt, Record
from services.simulator.tally import Tally

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds
_LONGEST_RETRY_AFTER = 30.0
_NOTICE_SECONDS = 30.0


class Notices:
    """Tells when the target does not acknowledge, each way of it at most twice a minute, and when it does again."""

    def __init__(self, url: str, tell: Callable[[str], None]) -> None:
        self._url, self._tell = url, tell
        self._lock = threading.Lock()
        self._told: dict[int | None, float] = {}
        self._troubled = False

    def answered(self, answer: Answer) -> None:
        """Tell of the answer if it is news."""
        with self._lock:
            if not answer.acknowledged:
                self._complain(answer)
            elif self._troubled:
                self._troubled = False
                self._tell(f"{self._url} acknowledges again")

    def _complain(self, answer: Answer) -> None:
        now = time.monotonic()
        if now - self._told.get(answer.status, -math.inf) < _NOTICE_SECONDS:
            return
        self._told[answer.status] = now
        self._troubled = True
        what = f"answers {answer.status}" if answer.status else "cannot be reached"
        then = "; trying again" if answer.try_again else ""
        self._tell(f"{self._url} {what}: {answer.detail.strip() or 'no reason given'}{then}")


@dataclass(frozen=True)
class Sending:
    """What all senders of a run share. `patience` is how many seconds a message is tried before it is given up."""

    target: Target
    patience: float
    stop: threading.Event
    tally: Tally
    notices: Notices
    record: Record | None


class Sender:
    """Sends the messages of one phone in the order given, over one connection."""

    def __init__(self, sending: Sending, random: Random) -> None:
        self._client = Client(sending.target)
        self._sending = sending
        self._random = random

    def send(self, message: Message) -> None:
        """Post the message until it is acknowledged, refused, given up, or the run is stopped."""
        body = encode_json(message)
        deadline = time.monotonic() + self._sending.patience
        for usual_pause in self._pauses():
            answer = self._post(body)
            if not answer.try_again:
                return self._count("acknowledged" if answer.acknowledged else "refused", message)
            pause = min(max(usual_pause, answer.retry_after or 0.0), _LONGEST_RETRY_AFTER)
            if time.monotonic() + pause > deadline or self._sending.stop.wait(pause):
                break
        return self._count("unanswered", message)

    def close(self) -> None:
        self._client.close()

    def _pauses(self) -> Iterator[float]:
        pause = _FIRST_PAUSE
        while True:
            yield pause * self._random.uniform(0.5, 1.0)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _post(self, body: bytes) -> Answer:
        sent_at, began = time.time(), time.perf_counter()
        answer = self._client.post(body)
        seconds = time.perf_counter() - began
        self._sending.tally.post(seconds if answer.acknowledged else None)
        self._sending.notices.answered(answer)
        if self._sending.record:
            answered_at = None if answer.status is None else sent_at + seconds
            attempt = Attempt(sent_at, answered_at, answer.status, answer.detail, msgspec.Raw(body))
            self._sending.record.write(attempt)
        return answer

    def _count(self, outcome: Outcome, message: Message) -> None:
        self._sending.tally.message(outcome, len(message.payload))
