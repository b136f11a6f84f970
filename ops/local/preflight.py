"""Looked at before anything is started: what is missing or in the way, in one line each."""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
from functools import partial
from pathlib import Path
from typing import IO

from ops.local.errors import LocalError
from ops.local.processes import wait_until
from ops.local.settings import HOST, LocalSettings

FREE_MIB = 2048
ENDED_WITHIN_S = 2.0
PACKAGES = {"java": "openjdk-17-jre-headless", "mvn": "maven", "openssl": "openssl", "psql": "postgresql-client"}
"""Debian package by the program that is needed from it; PostgreSQL's server is looked for by its own module."""


def lock(data: Path) -> IO[str]:
    """Hold the data directory until this process ends. Raises `LocalError` when another run holds it."""
    data.mkdir(parents=True, exist_ok=True)
    file = (data / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            file.seek(0)
            raise LocalError(f"another run (process {file.read().strip()}) uses {data}: stop it first") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def check_programs() -> None:
    """Raises `LocalError` with the packages that have to be installed."""
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing:
        raise LocalError(f"missing programs; install them, then try again: sudo apt-get install {' '.join(missing)}")


def check_space(data: Path) -> None:
    """Raises `LocalError` when the disk is nearly full."""
    free = shutil.disk_usage(data).free >> 20
    if free < FREE_MIB:
        raise LocalError(f"only {free} MiB are free at {data}, {FREE_MIB} are needed: make room or set DATA_DIR")


def check_ports(settings: LocalSettings) -> None:
    """Raises `LocalError` that names the first setting whose port is taken.

    What was killed a moment ago is waited for: a process loses its memory, by which it is known, before its sockets.
    """
    for name, port in settings.ports.items():
        if not wait_until(partial(_is_free, name, port), ENDED_WITHIN_S):
            raise LocalError(f"port {port} is in use{_by_whom(port)}: stop that program or set {name}")


def _is_free(name: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LocalError(f"port {port} cannot be had ({error.strerror}): set {name}") from None
            return False
    return True


def _by_whom(port: int) -> str:
    """The program that listens on `port`, where this user may see it."""
    wanted = f":{port:04X}"
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    sockets = {f"socket:[{f[9]}]" for f in (line.split() for line in lines) if f[1].endswith(wanted) and f[3] == "0A"}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if str(descriptor.readlink()) in sockets:
                process = descriptor.parents[1]
                return f" by {(process / 'comm').read_text().strip()} (process {process.name})"
    return ""
