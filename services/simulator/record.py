"""The record: every attempt to send a message with the answer it got, one JSON object per line.

A line is written as soon as the answer is known, so a kill of this process loses at most the attempts in flight (one
per phone) and may cut the last line short; lines reach the disk within a second. Exactly the messages with a line of
status 200 are known to be acknowledged; a message whose only status is null (no answer came) may be stored or not.
"""

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

_SYNC_SECONDS = 1.0


class Attempt(msgspec.Struct, frozen=True):
    """One POST. Times are in seconds since the Unix epoch; `answered_at` and `status` are null without an answer."""

    sent_at: float
    answered_at: float | None
    status: int | None
    detail: str
    message: msgspec.Raw


class Record:
    """A record file that any thread may write to. An existing file is continued after its last whole line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        _drop_cut_line(self._descriptor)
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._naming_the_file():
            self._sync()
            os.close(self._descriptor)

    def write(self, attempt: Attempt) -> None:
        """Add the attempt. Raises `OSError` when the disk is full or broken."""
        line = memoryview(self._encoder.encode(attempt) + b"\n")
        with self._lock, self._naming_the_file():
            while line:
                line = line[os.write(self._descriptor, line) :]
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                self._sync()

    def _sync(self) -> None:
        self._synced = time.monotonic()
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a pipe or a device, which lies on no disk
                raise

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._file)) from None


def _drop_cut_line(descriptor: int) -> None:
    end = os.fstat(descriptor).st_size
    while end and os.pread(descriptor, 1, end - 1) != b"\n":
        end -= 1
    if end < os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, end)
