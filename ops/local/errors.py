"""What can go wrong on a laptop, told to the person at the terminal."""

import errno


class LocalError(Exception):
    """The stack cannot go on. The text is one line that says what is wrong and what to do next."""


def in_words(error: Exception) -> str:
    """Any error as one line."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: make room"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
