"""The edge: Caddy with the configuration of production, HTTPS on a port of its own."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.local.errors import LocalError
from ops.local.processes import REPOSITORY, Command
from ops.local.reach import answers

_CONFIGURATION: Final = REPOSITORY / "ops" / "edge" / "Caddyfile"
_OLD_BUFFERING: Final = "buffer_requests\nmax_buffer_size 256KiB"  # its name before Caddy 2.7


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One Caddy: the name in its certificate, its ports and those behind it."""

    directory: Path
    name: str
    http_port: int
    https_port: int
    metrics_port: int
    ingest_port: int
    dashboard_port: int
    read_body: str
    patience: str = "4s"  # with a service that does not take connections
    metrics_access: str = "bind 127.0.0.1"
    """Who may ask for the metrics, in a line of the Caddyfile."""

    @property
    def url(self) -> str:
        return f"https://{self.name}:{self.https_port}"

    @property
    def ca_file(self) -> Path:
        """The root certificate of the edge's own CA, made at its first start."""
        return self._ca / "root.crt"

    def prepare(self) -> None:
        """Raises `LocalError` when Caddy is not installed."""
        if not shutil.which("caddy"):
            raise LocalError("Caddy is missing; install it: sudo apt-get install caddy")
        self.directory.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Caddy, with everything that it keeps under its directory."""
        environment = {
            "XDG_DATA_HOME": str(self.directory),
            "XDG_CONFIG_HOME": str(self.directory),
            "EDGE_CA_DIRECTORY": str(self._ca),
            "EDGE_DOCS": str(REPOSITORY / "docs"),
            "EDGE_NAME": self.name,
            "EDGE_HTTP_PORT": str(self.http_port),
            "EDGE_HTTPS_PORT": str(self.https_port),
            "EDGE_METRICS_PORT": str(self.metrics_port),
            "EDGE_METRICS_ACCESS": self.metrics_access,
            "EDGE_INGEST": "127.0.0.1",
            "EDGE_INGEST_PORT": str(self.ingest_port),
            "EDGE_DASHBOARD": f"127.0.0.1:{self.dashboard_port}",
            "EDGE_READ_BODY": self.read_body,
            "EDGE_PATIENCE": self.patience,
        }
        if version() < (2, 7):
            environment["EDGE_BUFFERING"] = _OLD_BUFFERING
        arguments = ["caddy", "run", "--config", str(_CONFIGURATION), "--adapter", "caddyfile"]
        return Command(arguments, environment)

    def is_ready(self) -> bool:
        """Whether it serves, and its certificate is there."""
        return self.ca_file.exists() and answers(self.metrics_port, "/livez")

    @property
    def _ca(self) -> Path:
        return self.directory / "caddy" / "pki" / "authorities" / "local"


def version() -> tuple[int, ...]:
    """Of Caddy; one that was built by hand does not know its own and is taken for a new one."""
    told = subprocess.run(["caddy", "version"], check=False, capture_output=True, text=True).stdout
    numbers = told.split()[:1] or [""]
    parts = numbers[0].removeprefix("v").split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (3,)
