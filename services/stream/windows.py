"""Entries to windows: count, mean, M2, min and max of every series over 1 s, 10 s and 60 s. Pure functions.

M2 is the sum of the squared deviations from the mean, so that two windows of the same span merge exactly by Chan's
formula (Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances").

A window of an angle also holds its resultant, the sum of the unit vectors (cosine, sine) of its values. Resultants
merge exactly by adding them. Their direction is the circular mean; their length R tells the spread: 2 (count - R) is
the sum of the squared distances of the unit vectors from their mean direction, which stands for M2 (Mardia, Jupp 2000,
"Directional Statistics", 2.2 and 2.3).
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from services.common.channels import LARGEST_NUMBER, TURNS, count_not_known, may_be_not_known, split
from services.common.message import Reading
from services.stream.decode import Entry

RESOLUTIONS_S: Final = (1, 10, 60)
NS_PER_S: Final = 10**9

SeriesKey = tuple[str, str, str, str]
"""(device, session, sensor, channel)"""


_Shapes = dict[tuple[Any, ...], "array[int] | None"]
"""Of one session: the series of a reading's values by its sensor, whether it lacks an accuracy, and its channels."""


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
    entry, in order, how many numbers and texts it contributed, and `not_known` how many values said "not known".
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.series: list[SeriesKey] = []
        self.number_series = array("q")
        self.number_seconds = array("q")
        self.number_values = array("d")
        self.texts: list[TextReading] = []
        self.counts: list[tuple[int, int]] = []
        self.not_known: list[int] = []
        self._indexes: dict[SeriesKey, int] = {}
        self._shapes: defaultdict[tuple[str, str], _Shapes] = defaultdict(dict)
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        numbers_before, texts_before = len(self.number_values), len(self.texts)
        odd = self._add_plain(entry)
        for position, reading in odd:
            self._add_odd(entry, position, reading)
        self.not_known.append(sum(count_not_known(reading) for _, reading in odd))
        self.counts.append((len(self.number_values) - numbers_before, len(self.texts) - texts_before))

    def _add_plain(self, entry: Entry) -> list[tuple[int, Reading]]:
        """Add the readings that hold nothing but numbers, many at a time, and return the others.

        Readings of one shape (sensor and channels) have the same series: what has to be known of them is looked up
        once for each reading, and nothing for each value.
        """
        shapes = self._shapes[entry.device, entry.session]
        values: list[Iterable[Any]] = []
        series, times, widths = array("q"), [], []
        odd = []
        for positioned in entry.readings:
            reading = positioned[1]
            named, accuracy = reading.values, reading.accuracy
            shape = (reading.name, accuracy is UNSET, *named)
            try:
                indexes = shapes[shape]
            except KeyError:
                indexes = self._new_shape(entry, reading, shape)
            if indexes is None:
                odd.append(positioned)
                continue
            values.append(named.values())
            if accuracy is not UNSET:
                values.append((accuracy,))
            series.extend(indexes)
            times.append(reading.time)
            widths.append(len(indexes))
        try:
            numbers = array("d", chain.from_iterable(values))
        except (TypeError, OverflowError):  # a text, nothing, or too large for a double
            return entry.readings
        if numbers and np.abs(np.frombuffer(numbers)).max() > LARGEST_NUMBER:
            return entry.readings
        self.number_values.extend(numbers)
        self.number_series.extend(series)
        self.number_seconds.frombytes(np.repeat(np.array(times, np.int64) // NS_PER_S, widths).tobytes())
        return odd

    def _new_shape(self, entry: Entry, reading: Reading, shape: tuple[Any, ...]) -> "array[int] | None":
        """The series of a shape that was not seen before; None if its readings have to be looked at one by one."""
        numbers, _ = split(reading)
        indexes = None
        if len(numbers) == len(reading.values) + (reading.accuracy is not UNSET) and not may_be_not_known(reading.name):
            indexes = array("q", [self._index(entry, reading.name, channel) for channel in numbers])
        self._shapes[entry.device, entry.session][shape] = indexes
        return indexes

    def _add_odd(self, entry: Entry, position: int, reading: Reading) -> None:
        numbers, texts = split(reading)
        for channel, value in numbers.items():
            self.number_series.append(self._index(entry, reading.name, channel))
            self.number_seconds.append(reading.time // NS_PER_S)
            self.number_values.append(value)
        for channel, text in texts.items():
            series = self._index(entry, reading.name, channel)
            self.texts.append(TextReading(series, reading.time, entry.number, position, text))

    def _index(self, entry: Entry, sensor: str, channel: str) -> int:
        key = (entry.device, entry.session, sensor, channel)
        index = self._indexes.setdefault(key, len(self.series))
        if index == len(self.series):
            self.series.append(key)
        return index


def windows(values: Values) -> pa.Table:
    """The windows of `values` at every resolution.

    Columns: resolution (s), series (index into `values.series`), start (s since the epoch), count, mean, m2, min, max;
    of angles also cosines and sines, their resultant.
    """
    flat = pa.table(
        {
            "series": pa.array(values.number_series, pa.int64()),
            "second": pa.array(values.number_seconds, pa.int64()),
            "value": pa.array(values.number_values, pa.float64()),
        }
    )
    turns = [TURNS.get(channel) for _, _, _, channel in values.series]
    if not any(turns):
        return pa.concat_tables([_aggregate(flat, resolution) for resolution in RESOLUTIONS_S])
    turn = pc.take(pa.array(turns, pa.float64()), flat["series"])
    is_angle = pc.is_valid(turn)
    angles = flat.filter(is_angle).append_column("turn", pc.filter(turn, is_angle))
    others = flat.filter(pc.invert(is_angle))
    return pa.concat_tables(
        [_aggregate(others, resolution) for resolution in RESOLUTIONS_S]
        + [_aggregate_angles(angles, resolution) for resolution in RESOLUTIONS_S]
    )


def _groups(flat: pa.Table, resolution_s: int, *more: tuple[str, str]) -> pa.Table:
    start = pc.multiply(pc.divide(flat["second"], resolution_s), resolution_s)  # rounds down: no time is negative
    variance = ("value", "variance", pc.VarianceOptions(ddof=0))
    columns = [("value", "count"), ("value", "mean"), variance, ("value", "min"), ("value", "max"), *more]
    return flat.set_column(1, "start", start).group_by(["series", "start"], use_threads=False).aggregate(columns)


def _table(resolution_s: int, groups: pa.Table, **statistics: Any) -> pa.Table:
    return pa.table(
        {
            "resolution": pa.repeat(pa.scalar(resolution_s, pa.int64()), groups.num_rows),
            "series": groups["series"],
            "start": groups["start"],
            "count": groups["value_count"],
            "mean": statistics["mean"],
            "m2": statistics["m2"],
            "min": groups["value_min"],
            "max": groups["value_max"],
            "cosines": statistics["cosines"],
            "sines": statistics["sines"],
        }
    )


def _aggregate(flat: pa.Table, resolution_s: int) -> pa.Table:
    groups = _groups(flat, resolution_s)
    m2 = pc.multiply(groups["value_variance"], groups["value_count"])
    nothing = pa.nulls(groups.num_rows, pa.float64())
    return _table(resolution_s, groups, mean=groups["value_mean"], m2=m2, cosines=nothing, sines=nothing)


def _aggregate_angles(flat: pa.Table, resolution_s: int) -> pa.Table:
    radians = pc.divide(pc.multiply(flat["value"], math.tau), flat["turn"])
    flat = flat.append_column("cosine", pc.cos(radians)).append_column("sine", pc.sin(radians))
    groups = _groups(flat, resolution_s, ("cosine", "sum"), ("sine", "sum"), ("turn", "min"))
    cosines, sines, per_radian = groups["cosine_sum"], groups["sine_sum"], pc.divide(groups["turn_min"], math.tau)
    length = pc.sqrt(pc.add(pc.multiply(cosines, cosines), pc.multiply(sines, sines)))
    spread = pc.max_element_wise(pc.multiply(2.0, pc.subtract(groups["value_count"], length)), 0.0)
    m2 = pc.multiply(spread, pc.multiply(per_radian, per_radian))
    mean = _direction(groups, cosines, sines)
    return _table(resolution_s, groups, mean=mean, m2=m2, cosines=cosines, sines=sines)


def _direction(groups: pa.Table, cosines: Any, sines: Any) -> Any:
    """The circular mean in [0, turn), or in (-turn/2, turn/2] where a value is negative; like SQL's `direction`."""
    angle = pc.divide(pc.multiply(pc.atan2(sines, cosines), groups["turn_min"]), math.tau)
    wraps = pc.and_(pc.greater_equal(groups["value_min"], 0.0), pc.less(sines, 0.0))
    is_0 = pc.and_(pc.greater(cosines, 0.0), pc.greater(sines, pc.multiply(cosines, -1e-12)))
    positive = pc.if_else(wraps, pc.if_else(is_0, 0.0, pc.add(angle, groups["turn_min"])), angle)
    return pc.if_else(pc.equal(groups["value_min"], groups["value_max"]), groups["value_min"], positive)
