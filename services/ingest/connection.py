"""Connection: one client. Takes in its requests one after the other and sends the replies, without ever waiting."""

import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from services.ingest.body import Body, ChunkedBody, LengthBody
from services.ingest.errors import IngestError
from services.ingest.exchange import Exchange
from services.ingest.head import Head, take_head
from services.ingest.link import Link
from services.ingest.reply import CONTINUE, Reply, encode
from services.ingest.request import Environ, client_address
from services.ingest.settings import IngestSettings

_READ_AHEAD: Final = 1 << 16
_REQUESTS_AT_ONCE: Final = 8
_DROPPED_PER_LIMIT: Final = 4  # a client that is still sending when the connection closes never sees the answer
_LINGER_S: Final = 2.0
_LINGER_UNUSED_S: Final = 1.0


class State(Enum):
    """What a connection waits for."""

    IDLE = auto()  # the first byte of a request
    HEAD = auto()  # the rest of its head
    BODY = auto()  # the rest of its body, wanted or not
    REPLY = auto()  # the end of its exchange
    END = auto()  # the client to have read the last reply
    CLOSED = auto()


class Host(Protocol):
    """The server that a connection belongs to."""

    settings: IngestSettings
    stopping: bool
    held_bytes: int
    now: float

    def begin(self, environ: Environ, answer: Callable[[Reply], None]) -> Exchange:
        """Begin an exchange."""

    def refuse(self, error: IngestError, address: str) -> Reply:
        """The reply to what was no request."""

    def turn_away(self, data: bytes, address: str) -> bytes | None:
        """The reply to a message that has come whole and is one too many; None for all else."""

    def watch(self, connection: "Connection", *, read: bool, write: bool) -> None:
        """Call the connection when it can be read or written."""

    def call_again(self, connection: "Connection") -> None:
        """Call the connection's `go_on` after the others have had their turn."""

    def forget(self, connection: "Connection") -> None:
        """The connection is about to be closed."""


class Connection:
    """One client's connection. `deadline` is the time at which `expire` is to be called.

    It keeps its exchange, whose reply comes back to it, only as long as it needs it: a connection without a request
    holds no message, and one that is closed goes at once, without waiting for the garbage collector.
    """

    def __init__(self, host: Host, client: socket.socket, address: str) -> None:
        self._host = host
        self._link = Link(client)
        self._address = address
        self.state = State.IDLE
        self.deadline = host.now + host.settings.head_timeout_s
        self._input = bytearray()
        self._head: Head | None = None
        self._body: Body = LengthBody(0)
        self._exchange: Exchange | None = None
        self._held = 0
        self._dropped = 0
        self._most_dropped = host.settings.max_body_bytes
        self._last = False
        self._heard_all = False
        self._going_on = False

    def fileno(self) -> int:
        """For the server's selector."""
        return self._link.fileno()

    # --- what the server calls

    @property
    def silent(self) -> bool:
        """Whether the client has sent nothing that is still to be read."""
        return self._link.silent

    def on_readable(self) -> None:
        """Take in what the client has sent."""
        try:
            data = self._link.receive()
        except OSError:
            self.close()
            return
        if data is None:
            return
        if self.state is State.IDLE and not self._input and (reply := self._host.turn_away(data, self._address)):
            self._send(reply)
            self._look()
            return
        self._input += data
        self._heard_all = not data
        self.go_on()

    def on_writable(self) -> None:
        """Send more of the reply, then go on."""
        self._send(b"")
        self.go_on()

    def go_on(self) -> None:
        """Do all that can be done with what has been received, in turn with other connections."""
        if self._going_on:
            return
        self._going_on = True
        requests = 0
        while not self._link.blocked and self._step():
            requests += self.state is State.IDLE
            if requests == _REQUESTS_AT_ONCE:
                self._host.call_again(self)
                break
        else:
            if self._heard_all and not self._link.blocked:
                self._miss_the_rest()
        self._going_on = False
        self._look()

    def expire(self) -> None:
        """The deadline has passed: the client, or Kafka, took too long."""
        match self.state:
            case State.HEAD if not self._link.blocked:
                self._refuse_head(IngestError("too_slow"))
            case State.BODY if self._exchange is not None and self._exchange.open:
                self._last = True
                self._exchange.refuse(IngestError("too_slow"))
            case State.REPLY if self._exchange is not None:
                self._exchange.refuse(IngestError("not_acknowledged"))
            case _:
                self.close()
        self._look()

    def stop(self) -> None:
        """End after the present request, or soon if there is none: its client may just be sending one."""
        if self.state is State.IDLE:
            self.deadline = min(self.deadline, self._host.now + _LINGER_UNUSED_S)

    def close(self) -> None:
        """Close at once. A message that Kafka may have by now is still counted when it is acknowledged."""
        if self.state is State.CLOSED:
            return
        was, self.state = self.state, State.CLOSED
        self._host.forget(self)
        self._link.close()
        self._hold(0)
        exchange, self._exchange = self._exchange, None
        if was is State.BODY and exchange is not None:
            exchange.refuse(IngestError("body_incomplete"))

    # --- one step of a request after the other

    def _step(self) -> bool:
        """Take one step; returns whether another may be possible."""
        match self.state:
            case State.IDLE | State.HEAD:
                return self._read_head()
            case State.BODY:
                return self._read_body()
            case State.END:
                self._drop_input()
        return False

    def _read_head(self) -> bool:
        if not self._input:
            return False
        if self.state is State.IDLE:
            self.state = State.HEAD
            self.deadline = self._host.now + self._host.settings.head_timeout_s
        try:
            head = take_head(self._input)
        except IngestError as error:
            self._refuse_head(error)
            return False
        if head is None:
            return False
        self._begin(head)
        return True

    def _refuse_head(self, error: IngestError) -> None:
        self._last = True
        self._send(encode(self._host.refuse(error, self._address), last=True))
        self._end()

    def _begin(self, head: Head) -> None:
        settings = self._host.settings
        forwarded = settings.trust_forwarded_for
        head.environ["REMOTE_ADDR"] = client_address(head.environ, self._address, forwarded=forwarded)
        self._head = head
        self._last = not head.keep_alive or self._host.stopping
        self._body = ChunkedBody() if head.length is None else LengthBody(head.length)
        self.state = State.BODY
        self.deadline = self._host.now + settings.body_timeout_s
        self._most_dropped = settings.max_body_bytes
        exchange = self._host.begin(head.environ, self._answer)
        if self.state is State.CLOSED:
            return
        self._exchange = exchange
        if exchange.open:
            self._most_dropped *= _DROPPED_PER_LIMIT
        if exchange.open and head.length is not None and head.length > settings.max_body_bytes:
            exchange.refuse(IngestError("body_too_large"))
        elif exchange.open and head.expects_continue:
            self._send(CONTINUE)

    def _read_body(self) -> bool:
        exchange = self._exchange
        assert exchange is not None
        had = self._body.size
        try:
            self._body.take(self._input)
        except IngestError as error:
            self._last = True
            exchange.refuse(error)
            self._end()
            return False
        if exchange.open:
            self._hold(len(self._body.data))
            self._check_size(exchange)
        if not self._body.complete:
            if not exchange.open:
                self._count_dropped(self._body.size - had)
            return False
        if exchange.open:
            self._hand_over(exchange)
        else:
            self._next()
        return True

    def _check_size(self, exchange: Exchange) -> None:
        if self._body.size > self._host.settings.max_body_bytes:
            exchange.refuse(IngestError("body_too_large"))
        elif self._host.held_bytes > self._host.settings.max_held_bytes:
            exchange.refuse(IngestError("overloaded"))

    def _hand_over(self, exchange: Exchange) -> None:
        """Give the whole body to the exchange, whose reply may come at once or later."""
        self.state = State.REPLY
        self.deadline = self._host.now + self._host.settings.acknowledge_timeout_s
        body = bytes(self._body.data)
        self._body.drop()
        self._hold(0)
        exchange.receive(body)

    def _answer(self, reply: Reply) -> None:
        """The exchange has ended with this reply, whatever is still to come of its body."""
        if self.state is State.CLOSED:
            return
        assert self._head is not None
        self._last = self._last or self._host.stopping or not self._can_go_on(self._head)
        environ = self._head.environ
        self._send(
            encode(
                reply,
                last=self._last,
                asked_by_1_0=environ["SERVER_PROTOCOL"] == "HTTP/1.0",
                without_body=environ["REQUEST_METHOD"] == "HEAD",
            )
        )
        self._body.drop()
        self._hold(0)
        if self.state is State.REPLY or self._last:
            self._next()
        self.go_on()

    def _can_go_on(self, head: Head) -> bool:
        """Whether the next request will be found: after a body that the client sends whatever it was answered."""
        if self._body.complete:
            return True
        return not head.expects_continue and (head.length is None or head.length <= self._most_dropped)

    def _next(self) -> None:
        """Be ready for another request, or for the end."""
        if self.state is State.CLOSED:
            return
        if self._last:
            self._end()
            return
        self.state = State.IDLE
        self._exchange = None
        self._dropped = 0
        self._set_deadline()

    # --- the end of a connection

    def _end(self) -> None:
        """Close once the client has read the reply; at once when there is nothing that it may still be sending."""
        if self.state in {State.END, State.CLOSED}:
            return
        between_requests = self._body.complete and not self._input and self.state is not State.HEAD
        self.state = State.END
        self._set_deadline()
        if not self._link.blocked:
            self._say_all(at_once=between_requests)

    def _say_all(self, at_once: bool = False) -> None:
        """The client sees the end, and what it still sends is dropped: closing now would take the reply from it."""
        if at_once or self._heard_all:
            self.close()
            return
        try:
            self._link.say_all()
        except OSError:
            self.close()
        else:
            self._drop_input()

    def _miss_the_rest(self) -> None:
        """The client has said all that it will, and that is not enough to go on."""
        match self.state:
            case State.BODY if self._exchange is not None and self._exchange.open:
                self._last = True
                self._exchange.refuse(IngestError("body_incomplete"))
            case State.REPLY:
                return
            case _:
                self.close()

    def _drop_input(self) -> None:
        self._count_dropped(len(self._input))
        self._input.clear()

    def _count_dropped(self, size: int) -> None:
        self._dropped += size
        if self._dropped > self._most_dropped:
            self.close()

    # --- output and bookkeeping

    def _send(self, data: bytes) -> None:
        if not self._link.blocked:
            self.deadline = self._host.now + self._host.settings.write_timeout_s
        try:
            self._link.send(data)
        except OSError:
            self.close()
            return
        if not self._link.blocked:
            self._set_deadline()
            if self.state is State.END:
                self._say_all()

    def _set_deadline(self) -> None:
        """For what the state waits for; a reply that is not sent yet has its own."""
        settings = self._host.settings
        if self._link.blocked:
            return
        match self.state:
            case State.IDLE:
                self.deadline = self._host.now + (_LINGER_UNUSED_S if self._host.stopping else settings.idle_timeout_s)
            case State.BODY:
                self.deadline = self._host.now + settings.body_timeout_s
            case State.END:
                self.deadline = self._host.now + _LINGER_S

    def _hold(self, size: int) -> None:
        self._host.held_bytes += size - self._held
        self._held = size

    def _look(self) -> None:
        """Look for what can be used: while a reply is due, only so much of the next requests."""
        if self.state is not State.CLOSED:
            ahead = self.state is State.REPLY and len(self._input) >= _READ_AHEAD
            looking = self._link.look_for(more=not (self._heard_all or ahead))
            if looking is not None:
                self._host.watch(self, read=looking[0], write=looking[1])
