"""Certificates for all principals, by the same program as in production."""

from pathlib import Path

from ops.local.processes import REPOSITORY, Command, run


def make_certificates(directory: Path) -> None:
    """Make what is missing or ends soon, for loopback. Raises `LocalError` when openssl is missing or fails."""
    program = REPOSITORY / "ops" / "kafka-ssl" / "make-certificates"
    run(Command([str(program), "--directory", str(directory)]), "certificates")
