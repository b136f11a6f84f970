"""What a page shows, as one table: a row per reading or window, of the chosen recordings and sensors in a span.

Columns of readings: time, session, sensor, channel, value, text. Columns of windows: start, seconds, session, sensor,
channel, readings, mean, deviation, min, max. The last column of both, `missing_messages`, names what is not there: how
many messages are missing between this row and the one before it in its line.
"""

import csv
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.common.channels import split
from services.dashboard.chunks import stored_readings
from services.dashboard.export_session import NothingToExportError
from services.dashboard.gaps import Gap
from services.dashboard.history import FULL_RATE_UP_TO_MS
from services.dashboard.queries import SessionRow
from services.dashboard.queries.history import SeriesOf
from services.dashboard.ranges import floor_ms

if TYPE_CHECKING:
    from services.dashboard.export import Order, Tools

Row = tuple[Any, ...]
READINGS: Final = pa.schema(
    [
        ("time", pa.timestamp("ns", "UTC")),
        ("session", pa.string()),
        ("sensor", pa.string()),
        ("channel", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("missing_messages", pa.int64()),
    ]
)
WINDOWS: Final = pa.schema(
    [
        ("start", pa.timestamp("ns", "UTC")),
        ("seconds", pa.int64()),
        ("session", pa.string()),
        ("sensor", pa.string()),
        ("channel", pa.string()),
        ("readings", pa.int64()),
        ("mean", pa.float64()),
        ("deviation", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("missing_messages", pa.int64()),
    ]
)
_ROWS_AT_ONCE: Final = 20_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def write(order: "Order", tools: "Tools") -> tuple[Path, int]:
    """The file, and how many messages are missing. Raises `NothingToExportError`, `DatabaseAwayError`, `OSError`."""
    sessions = [row for row in _sessions(order, tools) if row.last_time_ms is not None]
    if not sessions:
        raise NothingToExportError("There are no readings in this span.")
    from_ms = min(row.first_time_ms or 0 for row in sessions) if order.from_ms is None else order.from_ms
    until_ms = max(row.last_time_ms or 0 for row in sessions) if order.until_ms is None else order.until_ms
    is_full = until_ms - from_ms <= FULL_RATE_UP_TO_MS
    target = tools.directory / f"readings_{_stamp(from_ms)}.{order.format}"
    missing = 0
    with _Table(target, READINGS if is_full else WINDOWS) as table:
        for done, session in enumerate(sessions):
            span = max(from_ms, session.first_time_ms or from_ms), min(until_ms, session.last_time_ms or until_ms)
            if span[0] > span[1]:
                continue
            gaps = tools.patiently(partial(tools.answers.gaps_of, session, *span, until_ms - from_ms))
            missing += sum(gap.missing for gap in gaps)
            rows = _readings if is_full else _windows
            step_s = tools.patiently(partial(tools.answers.step_of, until_ms - from_ms, from_ms))
            for row in rows(order, tools, session, (*span, step_s), gaps):
                table.add(row)
            tools.tell(done + 1, len(sessions))
    return target, missing


def _sessions(order: "Order", tools: "Tools") -> list[SessionRow]:
    found = tools.patiently(lambda: tools.history.sessions_of(order.device))
    return [row for row in found if not order.sessions or row.session in order.sessions]


def _readings(
    order: "Order", tools: "Tools", session: SessionRow, span: tuple[float, float, int], gaps: Sequence[Gap]
) -> Iterator[Row]:
    from_ms, until_ms, _ = span
    between = _Missing(gaps)
    for message in tools.patiently(lambda: tools.history.bodies(session.session_id, from_ms, until_ms)):
        for reading in stored_readings(message):
            if not from_ms <= reading.time / 1e6 <= until_ms or (order.sensors and reading.name not in order.sensors):
                continue
            numbers, texts = split(reading)
            for channel, value in {**numbers, **texts}.items():
                cells = (None, value) if isinstance(value, str) else (value, None)
                count = between.until((reading.name, channel), reading.time / 1e6)
                yield (reading.time, session.session, reading.name, channel, *cells, count)


def _windows(
    order: "Order", tools: "Tools", session: SessionRow, span: tuple[float, float, int], gaps: Sequence[Gap]
) -> Iterator[Row]:
    from_ms, until_ms, step_s = span
    between = _Missing(gaps)
    begin = floor_ms(from_ms, step_s)
    series: list[SeriesOf] = tools.patiently(lambda: tools.history.series_of([session.session_id]))
    for one in series:
        if order.sensors and one.sensor not in order.sensors:
            continue
        for row in tools.patiently(partial(tools.history.windows, [one.series_id], step_s, begin, until_ms)):
            count = between.until(one.series_id, row.start_ms + step_s * 1000)
            names = session.session, one.sensor, one.channel
            deviation = sqrt(max(0.0, row.m2) / row.readings)
            figures = row.readings, row.mean, deviation, row.min, row.max
            yield (round(row.start_ms) * 1_000_000, step_s, *names, *figures, count)


class _Missing:
    """Counts the messages of the gaps that lie between one row of a line and the next."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        self._until = sorted(gap.until_ms for gap in gaps)
        self._counts = [gap.missing for gap in sorted(gaps, key=lambda gap: gap.until_ms)]
        self._seen: dict[object, int] = {}

    def until(self, line: object, time_ms: float) -> int:
        """How many are missing in the line since it was last asked for."""
        place = bisect_right(self._until, time_ms)
        before = self._seen.get(line, 0)
        self._seen[line] = max(before, place)
        return sum(self._counts[before:place])


class _Table:
    """A CSV or Parquet file that is written some rows at a time."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._schema = schema
        self._rows: list[Row] = []
        self._is_parquet = path.suffix == ".parquet"
        if self._is_parquet:
            self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        else:
            self._file = path.open("w", encoding="utf-8", newline="")
            self._csv = csv.writer(self._file, lineterminator="\n")
            self._csv.writerow(schema.names)

    def add(self, row: Row) -> None:
        if not self._is_parquet:
            self._csv.writerow((_iso(row[0]), *row[1:]))
            return
        self._rows.append(row)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._is_parquet:
            self._flush()
            self._writer.close()
        else:
            self._file.close()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [[] for _ in self._schema]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))
        self._rows = []


def _iso(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 10**9)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _stamp(time_ms: float) -> str:
    return f"{_EPOCH + timedelta(milliseconds=time_ms):%Y%m%d-%H%M%S}"
