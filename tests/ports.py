"""Ports for servers that tests start."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from itertools import islice
from pathlib import Path

FIRST, END = 20_000, 32_000  # below the ports that the kernel gives to outgoing connections: none is taken meanwhile
_given = set()
_claims = os.open(Path(tempfile.gettempdir(), f"sensor-stream-ports-{os.getuid()}"), os.O_CREAT | os.O_RDWR, 0o600)
"""A file of locks: a run that has the one of byte N uses port N."""


def free_ports(count):
    """Different ports that nobody uses now, and that no other run of tests gets while this one lasts.

    So a server that was killed finds its port again when it is started anew.
    """
    candidates = random.SystemRandom().sample(range(FIRST, END), 100 * count)
    return list(islice(filter(_take, candidates), count))


def _take(port):
    if port in _given:
        return False
    with contextlib.suppress(OSError), socket.socket() as probe:
        fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        probe.bind(("127.0.0.1", port))
        _given.add(port)
        return True
    return False


def is_taken(port):
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
