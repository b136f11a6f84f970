"""Ports for servers that tests start."""

import contextlib
import random
import socket

FIRST, END = 20_000, 32_000  # below the ports that the kernel gives to outgoing connections: none is taken meanwhile


def free_ports(count):
    """Different ports that nobody uses now."""
    candidates = random.SystemRandom().sample(range(FIRST, END), 100 * count)
    return [port for port in candidates if _is_free(port)][:count]


def _is_free(port):
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def is_taken(port):
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
