"""Settings of the local stack: `.env_config`, overridden by the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.local.processes import REPOSITORY

HOST = "127.0.0.1"


def read_env_file(text: str) -> dict[str, str]:
    """The assignments of an env file: NAME=value lines, without comments and blank lines."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class LocalSettings:
    """Values by name, and the directories that lie under DATA_DIR."""

    values: Mapping[str, str] = field(repr=False)
    data: Path

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> "LocalSettings":
        """The defaults of `.env_config`, each overridden by a variable of that name."""
        defaults = read_env_file((REPOSITORY / ".env_config").read_text(encoding="utf-8"))
        values = {name: environ.get(name) or default for name, default in defaults.items()}
        return cls(values, (REPOSITORY / values["DATA_DIR"]).resolve())

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def port(self, name: str) -> int:
        return int(self.values[name])

    @property
    def ports(self) -> dict[str, int]:
        """Every port by the name of its setting."""
        return {name: int(value) for name, value in self.values.items() if name.endswith("_PORT")}

    @property
    def certificates(self) -> Path:
        return self.data / "certificates"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def libraries(self) -> Path:
        """Java libraries: shared by all data directories, since they are fetched once."""
        return REPOSITORY / "var" / "libraries"
