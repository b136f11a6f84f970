"""A whole recording with every reading, as the app exports one: a zip with a file per sensor.

Each file has `time` (ns since the epoch), `seconds_elapsed` (since the recording's first reading) and a column per
channel. `Missing` names the messages that are not there, `Metadata` says what the recording is.
"""

import csv
import re
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from services.common.channels import split
from services.dashboard.chunks import stored_readings
from services.dashboard.gaps import Gap
from services.dashboard.queries import MessageRow, SeriesRow, SessionRow
from services.dashboard.sensors import in_order

if TYPE_CHECKING:
    from services.dashboard.export import Order, Tools

__all__ = ["MessageRow", "NothingToExportError", "write"]

MISSING_COLUMNS: Final = ("messages", "first_number", "last_number", "from_ns", "until_ns")
_ROWS_AT_ONCE: Final = 5000
_LARGEST_EXACT: Final = 2**53


class NothingToExportError(Exception):
    """There is nothing of what was asked for; the text says so to people."""


class _File(Protocol):
    def add(self, time_ns: int, elapsed: float, values: dict[str, float | str]) -> None: ...
    def close(self) -> None: ...


def write(order: "Order", tools: "Tools") -> tuple[Path, int]:
    """The zip, and how many messages are missing. Raises `NothingToExportError`, `DatabaseAwayError`, `OSError`."""
    sessions = tools.patiently(lambda: tools.history.sessions_of(order.device))
    session = next((row for row in sessions if row.session in order.sessions), None)
    if session is None or session.first_time_ms is None:
        raise NothingToExportError("This recording is not here, or has no readings.")
    series = tools.patiently(lambda: tools.answers.series(session.session_id))
    files = _write_sensors(session, series, order, tools)
    gaps = tools.patiently(lambda: list(tools.answers.all_gaps(session)))
    missing = sum(gap.missing for gap in gaps)
    name = f"{_safe(session.device_name or session.device[:8])}_{_safe(session.session[:36])}.zip"
    target = tools.directory / name
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.write(file, file.name)
            file.unlink()
        archive.writestr("Missing.csv", _csv([MISSING_COLUMNS, *(_gap_row(gap) for gap in gaps)]))
        archive.writestr("Metadata.csv", _csv(_metadata(session, missing)))
    return target, missing


def file_name(sensor: str) -> str:
    """The app's name for a sensor's file: its words in capitals, without what a file name cannot hold."""
    words = re.split(r"[^0-9A-Za-z]+", sensor)
    return "".join(word[:1].upper() + word[1:] for word in words if word) or "Sensor"


def _write_sensors(session: SessionRow, series: Sequence[SeriesRow], order: "Order", tools: "Tools") -> list[Path]:
    """A file per sensor in the export's directory, filled side by side as the messages come."""
    kinds: dict[str, dict[str, bool]] = {}
    for row in series:
        if not order.sensors or row.sensor in order.sensors:
            kinds.setdefault(row.sensor, {})[row.channel] = row.has_texts
    paths = _paths(kinds, order, tools.directory)
    start_ns = int((session.first_time_ms or 0) * 1000) * 1000
    done = 0
    with ExitStack() as stack:
        make = _ParquetFile if order.format == "parquet" else _CsvFile
        files: dict[str, _File] = {sensor: make(paths[sensor], channels) for sensor, channels in kinds.items()}
        for file in files.values():
            stack.callback(file.close)
        for page in tools.pages(session.session_id):
            for message in page:
                for reading in stored_readings(message):
                    if reading.name in files:
                        numbers, texts = split(reading)
                        elapsed = (reading.time - start_ns) / 1e9
                        files[reading.name].add(reading.time, elapsed, {**numbers, **texts})
            done += len(page)
            tools.tell(done, session.messages)
    return list(paths.values())


def _paths(sensors: Iterable[str], order: "Order", directory: Path) -> dict[str, Path]:
    """A file of its own for each sensor, also where two have nearly the same name."""
    paths: dict[str, Path] = {}
    taken = {"missing", "metadata"}
    for sensor in sensors:
        name, number = file_name(sensor), 2
        while name.lower() in taken:
            name, number = f"{file_name(sensor)}{number}", number + 1
        taken.add(name.lower())
        paths[sensor] = directory / f"{name}.{order.format}"
    return paths


class _CsvFile:
    """`channels` says of each whether it has texts."""

    def __init__(self, path: Path, channels: dict[str, bool]) -> None:
        self._channels = in_order(channels)
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(["time", "seconds_elapsed", *self._channels])

    def add(self, time_ns: int, elapsed: float, values: dict[str, float | str]) -> None:
        cells = (values.get(channel) for channel in self._channels)
        self._writer.writerow([time_ns, f"{elapsed:.9f}", *(_cell(cell) for cell in cells)])

    def close(self) -> None:
        self._file.close()


class _ParquetFile:
    """`channels` says of each whether it has texts: its numbers are then texts too."""

    def __init__(self, path: Path, channels: dict[str, bool]) -> None:
        self._channels = {channel: channels[channel] for channel in in_order(channels)}
        fields = [(channel, pa.string() if texts else pa.float64()) for channel, texts in self._channels.items()]
        start = [("time", pa.timestamp("ns", "UTC")), ("seconds_elapsed", pa.float64())]
        self._schema = pa.schema([*start, *_unlike(fields, start)])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[list[Any]] = []

    def add(self, time_ns: int, elapsed: float, values: dict[str, float | str]) -> None:
        cells = (
            None if (value := values.get(channel)) is None else str(_cell(value)) if texts else value
            for channel, texts in self._channels.items()
        )
        self._rows.append([time_ns, elapsed, *cells])
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [[] for _ in self._schema]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._rows = []


def _unlike(fields: list[tuple[str, Any]], others: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The fields, named apart from the others."""
    taken = {name for name, _ in others}
    return [(f"{name}_value" if name in taken else name, kind) for name, kind in fields]


def _cell(value: float | str | None) -> float | int | str | None:
    """A number as short as it can be read back exactly."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return int(value)
    return value


def _gap_row(gap: Gap) -> tuple[int, ...]:
    return gap.missing, gap.first, gap.last, round(gap.from_ms * 1000) * 1000, round(gap.until_ms * 1000) * 1000


def _metadata(session: SessionRow, missing: int) -> list[tuple[object, ...]]:
    facts = {
        "device id": session.device,
        "device name": session.device_name or "",
        "session id": session.session,
        "recording epoch time": round(session.first_time_ms or 0),
        "messages": session.messages,
        "messages missing": missing,
        "readings": session.readings,
    }
    return [tuple(facts), tuple(facts.values())]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    lines: list[str] = []
    writer = csv.writer(_Lines(lines), lineterminator="\n")
    writer.writerows(rows)
    return "".join(lines)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, text: str) -> None:
        self._lines.append(text)


def _safe(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z-]+", "-", name).strip("-") or "recording"
