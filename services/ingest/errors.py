"""What ingest answers when it does not answer 200: a fixed list of codes, each with its status and sentence."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Code = Literal[
    "bad_request",
    "bad_json",
    "bad_message",
    "bad_gzip",
    "body_incomplete",
    "not_found",
    "method_not_allowed",
    "body_too_large",
    "too_many_readings",
    "wrong_content_type",
    "wrong_content_encoding",
    "overloaded",
    "queue_full",
    "not_acknowledged",
    "unexpected",
]


class Answer(NamedTuple):
    """HTTP status, the sentence for whoever reads the body, and after how many seconds to try again."""

    status: int
    sentence: str
    retry_after_s: int | None = None


ANSWERS: Final[Mapping[Code, Answer]] = {
    "bad_request": Answer(400, "The request is not valid HTTP."),
    "bad_json": Answer(400, "The body is not JSON."),
    "bad_message": Answer(400, "The body is not a message of the Sensor Logger app."),
    "bad_gzip": Answer(400, "The body is not the gzip data that its Content-Encoding announces."),
    "body_incomplete": Answer(400, "The connection ended before the whole body had come."),
    "not_found": Answer(404, "Nothing is here: push to /sensor_data."),
    "method_not_allowed": Answer(405, "This address does not take that method: push with POST."),
    "body_too_large": Answer(413, "The body is too large: choose a shorter batch period in the app."),
    "too_many_readings": Answer(413, "The message has too many readings: choose a shorter batch period in the app."),
    "wrong_content_type": Answer(415, "Send the message with Content-Type: application/json."),
    "wrong_content_encoding": Answer(415, "Send the body as it is or with Content-Encoding: gzip."),
    "overloaded": Answer(503, "Too many requests at the same time: send the message again.", 1),
    "queue_full": Answer(503, "Too many messages are waiting to be stored: send the message again.", 1),
    "not_acknowledged": Answer(503, "The message could not be stored in time: send it again.", 2),
    "unexpected": Answer(503, "Something went wrong here: send the message again.", 2),
}
"""Each code is at once the `error` of the body, the metric's label and the field of the log line."""


class IngestError(Exception):
    """The request is refused with `code`; `detail` is one sentence that never quotes what was sent."""

    def __init__(self, code: Code, detail: str | None = None) -> None:
        super().__init__(detail or ANSWERS[code].sentence)
        self.code: Final = code
        self.detail: Final = detail or ANSWERS[code].sentence

    @property
    def answer(self) -> Answer:
        """Status and Retry-After of this error."""
        return ANSWERS[self.code]
