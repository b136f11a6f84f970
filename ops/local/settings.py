"""Settings of the local stack: `.env_config`, overridden by the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.local.errors import LocalError
from ops.local.processes import REPOSITORY

HOST = "127.0.0.1"
_COUNTS = {
    "PHONES": 0,
    "EDGE": 0,
    "KAFKA_PARTITIONS": 1,
    "KAFKA_RETENTION_DAYS": 1,
    "KAFKA_RETENTION_MIB": 1,
    "KAFKA_HEAP_MIB": 64,
}
"""Settings that are numbers, with the lowest that makes sense."""


def read_env_file(text: str) -> dict[str, str]:
    """The assignments of an env file: NAME=value lines, without comments and blank lines."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class LocalSettings:
    """Values by name, the directories that lie under DATA_DIR, and what else the environment sets."""

    values: Mapping[str, str] = field(repr=False)
    data: Path
    environ: Mapping[str, str] = field(repr=False, default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> "LocalSettings":
        """The defaults of `.env_config`, each overridden by a variable of that name.

        Raises `LocalError` for a number that is none, and for two parts on one port.
        """
        defaults = read_env_file((REPOSITORY / ".env_config").read_text(encoding="utf-8"))
        values = {name: environ.get(name) or default for name, default in defaults.items()}
        settings = cls(values, (REPOSITORY / values["DATA_DIR"]).resolve(), environ)
        settings._check_numbers()
        settings._check_ports_differ()
        return settings

    def _check_numbers(self) -> None:
        for name, value in self.values.items():
            if not name.endswith(("_PORT", *_COUNTS)):
                continue
            lowest, highest = (1, 65535) if name.endswith("_PORT") else (_COUNTS[name], 10**6)
            if not (value.isascii() and value.isdigit() and lowest <= int(value) <= highest):
                raise LocalError(f"{name}={value!r} is not a number from {lowest} to {highest}: set another")

    def _check_ports_differ(self) -> None:
        seen: dict[int, str] = {}
        for name, port in self.ports.items():
            if port in seen:
                raise LocalError(f"{seen[port]} and {name} are both {port}: set one of them to another port")
            seen[port] = name

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def given(self, *prefixes: str) -> dict[str, str]:
        """All settings with these prefixes, those of the environment too that `.env_config` does not list."""
        return {
            name: value for name, value in (*self.values.items(), *self.environ.items()) if name.startswith(prefixes)
        }

    def port(self, name: str) -> int:
        return int(self.values[name])

    @property
    def ports(self) -> dict[str, int]:
        """Every port that is listened on, by the name of its setting."""
        ports = {name: int(value) for name, value in self.values.items() if name.endswith("_PORT")}
        return ports if self["EDGE"] != "0" else {name: ports[name] for name in ports if not name.startswith("EDGE_")}

    @property
    def certificates(self) -> Path:
        return self.data / "certificates"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        return self.data / "logs"
