"""`python -m ops.secrets`: makes every secret and certificate of the deployment, and gives each service its own.

What is there stays as it is; what is missing or ends soon is made. `authority/` and `passwords/` are for root alone
(keep `authority/ca.key` offline if you can); `services/NAME/` holds what that service may know, for its user alone.
"""

import argparse
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

MAKE_CERTIFICATES: Final = Path(__file__).parents[1] / "kafka-ssl" / "make-certificates"
CERTIFICATES: Final = (
    "broker", "admin", "ingest", "stream", "postgres", "tempo", "dashboard", "grafana", "prometheus"
)  # fmt: skip
ROLES: Final = ("owner", "stream_writer", "ingest_reader", "dashboard", "grafana_reader", "exporter")
METRICS: Final = "metrics"
"""The user that Prometheus is wherever it asks for metrics."""
SIGNED_IN: Final = {
    "prometheus": "prometheus", "alertmanager": "alertmanager",
    "postgres-exporter": METRICS, "node-exporter": METRICS, "blackbox-exporter": METRICS,
}  # fmt: skip
"""Services of Prometheus' family and the user for whom each asks, which is also the name of the password."""
JVMS: Final = ("kafka", "stream")
"""Services with the exporter of JVMs within."""


class Service(NamedTuple):
    """Whose files these are, and each by its name there: taken from the authority, or a password."""

    user: int
    certificates: Mapping[str, str] = MappingProxyType({})
    passwords: Mapping[str, str] = MappingProxyType({})


_CA: Final = {"ca.crt": "ca.crt"}
SERVICES: Final = {
    "kafka": Service(1000, _CA | {"broker.pem": "broker.pem"}),
    "topics": Service(10005, _CA | {"client.pem": "admin.pem"}),
    "postgres": Service(
        999, {"server.crt": "postgres.crt", "server.key": "postgres.key"}, {"superuser": "postgres"}
    ),
    "roles": Service(999, _CA, {name: name for name in ("postgres", *ROLES)}),
    "migrate": Service(10005, _CA, {"database": "owner"}),
    "edge": Service(10006),
    "ingest": Service(10001, _CA | {"client.pem": "ingest.pem"}, {"database": "ingest_reader", "metrics": "metrics"}),
    "tokens": Service(10001, _CA, {"database": "dashboard"}),
    "stream": Service(
        10002, _CA | {"client.pem": "stream.pem"},
        {"database": "stream_writer", "spark": "spark", "metrics": "metrics"},
    ),
    "spark-master": Service(10002, {}, {"spark": "spark"}),
    "dashboard": Service(
        10003, _CA | {"client.pem": "dashboard.pem"},
        {"database": "dashboard", "first_operator": "first_operator", "metrics": "metrics"},
    ),
    "users": Service(10003, _CA, {"database": "owner"}),
    "backup": Service(999, _CA, {"superuser": "postgres"}),
    "grafana": Service(
        472, _CA | {"client.pem": "grafana.pem"},
        {
            "admin": "grafana", "database": "grafana_reader", "prometheus": "prometheus",
            "alertmanager": "alertmanager", "metrics": "metrics",
        },
    ),
    "prometheus": Service(
        65534, _CA | {"client.pem": "prometheus.pem"},
        {name: name for name in ("prometheus", "alertmanager", "metrics")},
    ),
    "alertmanager": Service(65534, {}, {"alertmanager": "alertmanager"}),
    "tempo": Service(10001, _CA | {"server.pem": "tempo.pem"}),
    "postgres-exporter": Service(65534, _CA, {"database": "exporter"}),
    "node-exporter": Service(65534),
    "blackbox-exporter": Service(65534),
}  # fmt: skip


class SecretsError(Exception):
    """Something cannot be made. The text is one line for the operator."""


def main() -> int:
    """Make and hand out; prints when each certificate ends, and never a secret."""
    arguments = _parse()
    directory: Path = arguments.directory
    os.umask(0o077)
    try:
        for sub in ("", "authority", "passwords", "services"):
            (directory / sub).mkdir(exist_ok=True, parents=True)
        (directory / "services").chmod(0o711)
        directory.chmod(0o711)
        if arguments.renew:
            forget_certificates(directory / "authority", arguments.renew)
        if arguments.rotate:
            (directory / "passwords" / arguments.rotate).unlink(missing_ok=True)
        print(make_certificates(directory / "authority", arguments.days), end="")
        for name, service in SERVICES.items():
            hand_out(directory, name, service)
        write_derived(directory, arguments.edge_name)
    except (SecretsError, OSError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.secrets", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where all of them lie")
    parser.add_argument(
        "--edge-name", default="localhost", help="public name of the edge, for the probe that watches it"
    )
    parser.add_argument("--days", type=int, default=365, help="validity of new certificates (%(default)s)")
    parser.add_argument("--renew", choices=[*CERTIFICATES, "all"], help="make this certificate again, whenever it ends")
    passwords = sorted({password for service in SERVICES.values() for password in service.passwords.values()})
    parser.add_argument("--rotate", choices=passwords, help="make a new password of this name")
    return parser.parse_args()


def forget_certificates(authority: Path, name: str) -> None:
    """Remove one certificate, or all but the authority's own, so that it is made again."""
    for each in CERTIFICATES if name == "all" else (name,):
        for suffix in ("pem", "crt", "key"):
            (authority / f"{each}.{suffix}").unlink(missing_ok=True)


def make_certificates(authority: Path, days: int) -> str:
    """All certificates, for the names of the services; returns a line for each. Raises `SecretsError`."""
    command = [str(MAKE_CERTIFICATES), "--directory", str(authority), "--days", str(days)]
    command += ["--broker-names", "kafka,localhost,127.0.0.1", "--postgres-names", "postgres,localhost,127.0.0.1"]
    command += ["--tempo-names", "tempo,localhost,127.0.0.1"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise SecretsError(result.stderr.strip())
    return result.stdout


def hand_out(directory: Path, name: str, service: Service) -> None:
    """Put what the service may know into its directory; what it should no longer know goes."""
    home = directory / "services" / name
    home.mkdir(exist_ok=True)
    for file, source in service.certificates.items():
        _write(home / file, (directory / "authority" / source).read_text(), service.user)
    for file, password in service.passwords.items():
        _write(home / file, _password(directory / "passwords" / password), service.user)
    _give(home, service.user, 0o500)


def write_derived(directory: Path, edge_name: str) -> None:
    """Files that are made from the secrets: who may enter the web interfaces, when certificates end, what to probe."""
    for name, account in SIGNED_IN.items():
        home, user = directory / "services" / name, SERVICES[name].user
        hashed = _bcrypt(directory / "passwords" / account)
        _write(home / "web.yml", f"basic_auth_users:\n  {account}: {hashed}\n", user)
        if account in SERVICES[name].passwords:
            client = f"basic_auth:\n  username: {account}\n  password_file: /run/secrets/{account}\n"
            _write(home / "client.yml", client, user)
    access = jvm_access(_password(directory / "passwords" / METRICS))
    for name in JVMS:
        _write(directory / "services" / name / "jvm-access.yml", access, SERVICES[name].user)
    edge = edge_access(_bcrypt(directory / "passwords" / METRICS))
    _write(directory / "services" / "edge" / "metrics-access", edge, SERVICES["edge"].user)
    nobody = SERVICES["node-exporter"].user
    ends = (directory / "authority" / "certificates.prom").read_text()
    _write(directory / "services" / "node-exporter" / "certificates.prom", ends, nobody)
    target = [{"targets": [f"https://{edge_name}/edge-livez"], "labels": {"edge": edge_name}}]
    _write(directory / "services" / "prometheus" / "edge.json", json.dumps(target), nobody)


def jvm_access(password: str) -> str:
    """What the exporter of JVMs has to be told for its port to ask for the password; it knows no bcrypt."""
    salt = "sensor-stream"  # nobody guesses 256 random bits, with or without it
    hashed = hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()
    account = f'{{ username: {METRICS}, algorithm: SHA-256, salt: {salt}, passwordHash: "{hashed}" }}'
    return f"httpServer:\n  authentication:\n    basic: {account}\n"


def edge_access(hashed: str) -> str:
    """The lines of the Caddyfile by which its port of metrics asks for the password."""
    return f"@asked not path /livez\nbasic_auth @asked {{\n\t{METRICS} {hashed}\n}}\n"


def _password(file: Path) -> str:
    if not file.exists():
        _write(file, secrets.token_urlsafe(32), os.geteuid())
    return file.read_text()


def _bcrypt(password_file: Path) -> str:
    """The hash of a password, kept beside it: the one way of hashing that Prometheus knows."""
    file = password_file.with_suffix(".bcrypt")
    password = _password(password_file)
    salt = "$2b$10$" + secrets.token_urlsafe(16).replace("-", ".").replace("_", "/")[:21] + "u"
    if not file.exists() or file.stat().st_mtime_ns < password_file.stat().st_mtime_ns:
        script = "my ($p, $s) = <STDIN>; chomp($p, $s); print crypt($p, $s)"
        made = subprocess.run(
            ["perl", "-e", script], input=f"{password}\n{salt}\n", check=True, capture_output=True, text=True
        ).stdout
        if not re.fullmatch(r"\$2b\$10\$[./A-Za-z0-9]{53}", made):
            raise SecretsError("this system cannot make bcrypt hashes: use the image of the service `secrets`")
        _write(file, made, os.geteuid())
    return file.read_text()


def _write(file: Path, text: str, user: int) -> None:
    """Whole or not at all, and only when it differs; readable by `user` alone."""
    if not (file.exists() and file.read_text() == text):
        unfinished = file.with_name(f".{file.name}.new")
        unfinished.write_text(text)
        unfinished.replace(file)
    _give(file, user, 0o400)


def _give(path: Path, user: int, mode: int) -> None:
    """To a service's user; without root everything stays with whoever runs this."""
    if os.geteuid() == 0:
        os.chown(path, user, user)
    path.chmod(mode if os.geteuid() == 0 else mode | 0o200)


if __name__ == "__main__":
    sys.exit(main())
