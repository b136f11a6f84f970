"""The compose files as Docker Compose understands them: anchors by PyYAML, variables from `.env_config`.

`tests/compose` compares what this makes of them with what `docker compose config` does.
"""

import re
from pathlib import Path

import yaml

from ops.local.settings import read_env_file

REPOSITORY = Path(__file__).resolve().parents[1]
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?::-(?P<default>[^}]*))?\}|\$(?P<escaped>\$)")


def settings():
    return read_env_file((REPOSITORY / ".env_config").read_text(encoding="utf-8"))


def variables(name):
    """The names of all variables that a file asks for."""
    return {
        match["name"] for match in _VARIABLE.finditer((REPOSITORY / name).read_text(encoding="utf-8")) if match["name"]
    }


def load(name):
    """The file with every variable in its place. Raises `KeyError` for one that `.env_config` does not list."""
    values = settings()

    def value(match):
        return "$" if match["escaped"] else values[match["name"]] or match["default"] or ""

    def filled(node):
        match node:
            case dict():
                return {key: filled(each) for key, each in node.items()}
            case list():
                return [filled(each) for each in node]
            case str():
                return _VARIABLE.sub(value, node)
        return node

    return filled(yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8")))


def mebibytes(text):
    """A size like 64m or 1g."""
    number, unit = re.fullmatch(r"(\d+)([mg])b?", text).groups()
    return int(number) * {"m": 1, "g": 1024}[unit]


def targets_with_health_check():
    """The targets of the Dockerfile that say how to ask for their health, or whose base does."""
    found, current = {}, None
    for line in (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            current = match[2]
            found[current] = found.get(match[1], False)
        if line.startswith("HEALTHCHECK"):
            found[current] = "NONE" not in line
    return {target for target, has in found.items() if has}
