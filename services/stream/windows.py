"""Entries to windows: count, mean, M2, min and max of every series over 1 s, 10 s and 60 s. Pure functions.

M2 is the sum of the squared deviations from the mean, so that two windows of the same span merge exactly by Chan's
formula (Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances").
"""

from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from services.common.channels import split
from services.stream.decode import Entry

RESOLUTIONS_S: Final = (1, 10, 60)
NS_PER_S: Final = 10**9

SeriesKey = tuple[str, str, str, str]
"""(device, session, sensor, channel)"""


class TextReading(NamedTuple):
    """One text value. `series` is an index into `Values.series`."""

    series: int
    time_ns: int
    number: int
    position: int
    value: str


class Values:
    """All values of some entries, flat: parallel columns of numbers, and a list of texts.

    `series` lists every series that occurs; the column `number_series` holds indexes into it. `counts` has for each
    entry, in order, how many numbers and texts it contributed.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.series: list[SeriesKey] = []
        self.number_series = array("q")
        self.number_seconds = array("q")
        self.number_values = array("d")
        self.texts: list[TextReading] = []
        self.counts: list[tuple[int, int]] = []
        self._indexes: dict[tuple[str, str, str], dict[str, int]] = {}
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        numbers_before, texts_before = len(self.number_values), len(self.texts)
        for position, reading in entry.readings:
            sensor = (entry.device, entry.session, reading.name)
            indexes = self._indexes.setdefault(sensor, {})
            numbers, texts = split(reading)
            second = reading.time // NS_PER_S
            for channel, value in numbers.items():
                self.number_series.append(indexes[channel] if channel in indexes else self._new(sensor, channel))
                self.number_seconds.append(second)
                self.number_values.append(value)
            for channel, text in texts.items():
                series = indexes[channel] if channel in indexes else self._new(sensor, channel)
                self.texts.append(TextReading(series, reading.time, entry.number, position, text))
        self.counts.append((len(self.number_values) - numbers_before, len(self.texts) - texts_before))

    def _new(self, sensor: tuple[str, str, str], channel: str) -> int:
        index = self._indexes[sensor][channel] = len(self.series)
        self.series.append((*sensor, channel))
        return index


def windows(values: Values) -> pa.Table:
    """The windows of `values` at every resolution.

    Columns: resolution (s), series (index into `values.series`), start (s since the epoch), count, mean, m2, min, max.
    """
    flat = pa.table(
        {
            "series": pa.array(values.number_series, pa.int64()),
            "second": pa.array(values.number_seconds, pa.int64()),
            "value": pa.array(values.number_values, pa.float64()),
        }
    )
    return pa.concat_tables([_aggregate(flat, resolution) for resolution in RESOLUTIONS_S])


def _aggregate(flat: pa.Table, resolution_s: int) -> pa.Table:
    start = pc.multiply(pc.divide(flat["second"], resolution_s), resolution_s)  # rounds down: no time is negative
    groups = (
        flat.set_column(1, "start", start)
        .group_by(["series", "start"], use_threads=False)
        .aggregate(
            [
                ("value", "count"),
                ("value", "mean"),
                ("value", "variance", pc.VarianceOptions(ddof=0)),
                ("value", "min"),
                ("value", "max"),
            ]
        )
    )
    return pa.table(
        {
            "resolution": pa.repeat(pa.scalar(resolution_s, pa.int64()), groups.num_rows),
            "series": groups["series"],
            "start": groups["start"],
            "count": groups["value_count"],
            "mean": groups["value_mean"],
            "m2": pc.multiply(groups["value_variance"], groups["value_count"]),
            "min": groups["value_min"],
            "max": groups["value_max"],
        }
    )
