"""Settings: one frozen dataclass per service, read from the environment once, at the service's edge.

A field is declared with `setting("NAME", "what it means", default)`. A secret is never a value of the environment:
declare it with `secret("NAME", ...)` and it is read from the file that `NAME_FILE` names.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

_REQUIRED: Any = dataclasses.MISSING
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}

T = TypeVar("T")


class SettingsError(Exception):
    """A setting is missing or cannot be read. The text is one line for the operator."""


def setting(name: str, meaning: str, default: Any = _REQUIRED) -> Any:
    """Declare a field read from the variable `name`; without a default the service does not start without it."""
    return dataclasses.field(default=default, metadata={"name": name, "meaning": meaning, "secret": False})


def secret(name: str, meaning: str, default: Any = _REQUIRED) -> Any:
    """Declare a field read from the file named by the variable `name` + `_FILE`, masked wherever it is shown."""
    return dataclasses.field(
        default=default, repr=False, metadata={"name": f"{name}_FILE", "meaning": meaning, "secret": True}
    )


def load(kind: type[T], environ: Mapping[str, str]) -> T:
    """Build the settings object `kind` from `environ`. Raises `SettingsError` that names the variable at fault."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        text = environ.get(field.metadata["name"])
        if text is None or (text == "" and (field.type is not str or field.metadata["secret"])):
            if field.default is _REQUIRED:
                raise SettingsError(f"{field.metadata['name']} is not set: {field.metadata['meaning']}")
            continue
        values[field.name] = _read(field, text)
    return kind(**values)


def describe(settings: object) -> dict[str, Any]:
    """Every setting by its variable's name, secrets masked: for the log line at start."""
    fields = dataclasses.fields(settings)  # type: ignore[arg-type]
    return {f.metadata["name"]: "***" if f.metadata["secret"] else getattr(settings, f.name) for f in fields}


def _read(field: "dataclasses.Field[Any]", text: str) -> Any:
    name = field.metadata["name"]
    if field.metadata["secret"]:
        try:
            return Path(text).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}={text} cannot be read: {error.strerror}") from None
    try:
        return _PARSERS[field.type](text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a valid {getattr(field.type, '__name__', field.type)}") from None


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError


_PARSERS: Mapping[Any, Callable[[str], Any]] = {str: str, int: int, float: float, bool: _boolean, Path: Path}
