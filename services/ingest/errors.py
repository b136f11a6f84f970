"""What ingest answers when it does not answer 200: a fixed list of codes, each with its status and sentence."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Code = Literal[
    "bad_request",
    "bad_json",
    "bad_message",
    "bad_gzip",
    "body_incomplete",
    "too_slow",
    "not_found",
    "method_not_allowed",
    "address_too_long",
    "head_too_large",
    "body_too_large",
    "too_many_readings",
    "wrong_content_type",
    "wrong_content_encoding",
    "no_token",
    "wrong_token",
    "token_revoked",
    "token_of_other_device",
    "too_fast",
    "tokens_not_loaded",
    "overloaded",
    "queue_full",
    "not_acknowledged",
    "unexpected",
]


class Answer(NamedTuple):
    """HTTP status, the sentence for whoever reads the body, and after how many seconds to try again.

    `phone` is the sentence for the person who holds the phone; None where the app is to try again by itself.
    """

    status: int
    sentence: str
    retry_after_s: int | None = None
    phone: str | None = None


def _refuse(status: int, sentence: str, phone: str) -> Answer:
    return Answer(status, sentence, phone=phone)


_NOT_UNDERSTOOD: Final = "What the app sent was not understood: update Sensor Logger, then start the recording again."
_NOT_WHOLE: Final = "What the app sent did not arrive whole: look at the phone's reception, then try again."
_WRONG_FORM: Final = "Only HTTP Push with JSON is understood here: choose it in Sensor Logger's settings."
_WRONG_PLACE: Final = "The push URL in Sensor Logger is not right: it has to end with /sensor_data."
_TOO_MUCH: Final = "One batch of readings is too large: choose a shorter batch period in Sensor Logger."

ANSWERS: Final[Mapping[Code, Answer]] = {
    "bad_request": _refuse(400, "The request is not valid HTTP.", _NOT_UNDERSTOOD),
    "bad_json": _refuse(400, "The body is not JSON.", _NOT_UNDERSTOOD),
    "bad_message": _refuse(400, "The body is not a message of the Sensor Logger app.", _NOT_UNDERSTOOD),
    "bad_gzip": _refuse(400, "The body is not the gzip data that its Content-Encoding announces.", _NOT_WHOLE),
    "body_incomplete": _refuse(400, "The connection ended before the whole body had come.", _NOT_WHOLE),
    "too_slow": _refuse(408, "The request did not come in time: send it again.", _NOT_WHOLE),
    "no_token": _refuse(
        401,
        "Send a token with the message: Authorization: Bearer TOKEN.",
        "A token is missing: put the one that you were given into Sensor Logger's field for the authorization header.",
    ),
    "wrong_token": _refuse(
        401,
        "The token is not known here.",
        "The token is not the right one: copy the one that you were given into Sensor Logger again.",
    ),
    "token_revoked": _refuse(
        403,
        "The token has been revoked.",
        "This phone may not send any more, because its token was revoked: ask whoever gave it to you for another.",
    ),
    "token_of_other_device": _refuse(
        403,
        "The token belongs to another device.",
        "The token belongs to another phone: ask whoever gave it to you for one of this phone's own.",
    ),
    "not_found": _refuse(404, "Nothing is here: push to /sensor_data.", _WRONG_PLACE),
    "method_not_allowed": _refuse(405, "This address does not take that method: push with POST.", _WRONG_FORM),
    "address_too_long": _refuse(414, "The address is too long.", _WRONG_PLACE),
    "head_too_large": _refuse(431, "The request's header fields are too large.", _NOT_UNDERSTOOD),
    "body_too_large": _refuse(413, "The body is too large: choose a shorter batch period in the app.", _TOO_MUCH),
    "too_many_readings": _refuse(
        413, "The message has too many readings: choose a shorter batch period in the app.", _TOO_MUCH
    ),
    "wrong_content_type": _refuse(415, "Send the message with Content-Type: application/json.", _WRONG_FORM),
    "wrong_content_encoding": _refuse(415, "Send the body as it is or with Content-Encoding: gzip.", _WRONG_FORM),
    "too_fast": Answer(429, "Messages come too fast: send this one again later.", 1),
    "tokens_not_loaded": Answer(503, "Who may send is not known yet: send the message again.", 2),
    "overloaded": Answer(503, "Too many requests at the same time: send the message again.", 1),
    "queue_full": Answer(503, "Too many messages are waiting to be stored: send the message again.", 1),
    "not_acknowledged": Answer(503, "The message could not be stored in time: send it again.", 2),
    "unexpected": Answer(503, "Something went wrong here: send the message again.", 2),
}
"""Each code is at once the `error` of the body, the metric's label and the field of the log line."""


class IngestError(Exception):
    """The request is refused with `code`; `detail` is one sentence that never quotes what was sent.

    `token` is the name of the token that it came with, where that is to be known; never the token itself. `allow` are
    the methods that its address takes.
    """

    def __init__(
        self,
        code: Code,
        detail: str | None = None,
        *,
        token: str | None = None,
        retry_after_s: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(detail or ANSWERS[code].sentence)
        self.code: Final = code
        self.detail: Final = detail or ANSWERS[code].sentence
        self.token: Final = token
        self.allow: Final = allow
        self._retry_after_s = retry_after_s

    @property
    def answer(self) -> Answer:
        """The code's answer, with this error's own Retry-After."""
        answer = ANSWERS[self.code]
        return answer._replace(retry_after_s=self._retry_after_s) if self._retry_after_s else answer
