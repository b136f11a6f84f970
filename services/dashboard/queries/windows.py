"""Windows of series: what the Live page, the History page and the export read them with."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.dashboard.database import Database


class Window(NamedTuple):
    """One window of a series, which begins at `start_ms`. `mean`: an angle's circular mean, a counter's maximum.

    `m2` is the sum of squared deviations.
    """

    series_id: int
    start_ms: float
    readings: int
    mean: float
    m2: float
    min: float
    max: float


# Named once more, or a plan for many windows reads all series that there are.
_SERIES: Final = "(SELECT * FROM series WHERE series_id = ANY (%(series_ids)s)) AS series"
_RANGE: Final = """
WHERE series_id = ANY (%(series_ids)s)
  AND start >= timestamptz 'epoch' + %(from_ms)s * interval '1 millisecond'
  AND start <= timestamptz 'epoch' + %(until_ms)s * interval '1 millisecond'
"""
_WINDOWS: Final = """
SELECT series_id, extract(epoch FROM start)::float8 * 1000, count, CASE WHEN is_counter THEN max ELSE mean END,
       m2, min, max
FROM {table} JOIN {series} USING (series_id) {range} ORDER BY series_id, start
"""
# The deviations of angles are those of a circle: 2 (n - |sum of unit vectors|), in the unit of the channel.
_MERGED_WINDOWS: Final = """
SELECT series_id, extract(epoch FROM bin)::float8 * 1000, count,
       window_value(is_counter, turn, weighted, count, cosines, sines, min, max),
       CASE WHEN cosines IS NULL THEN greatest(0, m2 + squares - weighted ^ 2 / count)
            ELSE greatest(0, 2 * (count - sqrt(cosines ^ 2 + sines ^ 2))) * (turn / (2 * pi())) ^ 2 END, min, max
FROM (SELECT series_id, date_bin(make_interval(secs => %(step_s)s), start, timestamptz 'epoch') AS bin,
             sum(count)::bigint AS count, sum(mean * count) AS weighted, sum(mean * mean * count) AS squares,
             sum(m2) AS m2, sum(resultant[0]) AS cosines, sum(resultant[1]) AS sines, min(min) AS min, max(max) AS max
      FROM {table} {range} GROUP BY series_id, bin) AS merged JOIN {series} USING (series_id)
ORDER BY series_id, bin
"""


class WindowQueries:
    """What the pages that read windows share. Raises `DatabaseAwayError` while PostgreSQL does not answer."""

    page: str
    """Names the queries in metrics and traces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def windows(self, series_ids: Sequence[int], step_s: int, from_ms: float, until_ms: float) -> list[Window]:
        """Windows of `step_s` seconds that begin in [from_ms, until_ms], by series and time.

        They come from the coarsest stored resolution that divides the step, merged where the step is longer.
        """
        resolution_s = max(resolution for resolution in (1, 10, 60) if step_s % resolution == 0)
        statement = _WINDOWS if step_s == resolution_s else _MERGED_WINDOWS
        rows = self._database.rows(
            f"{self.page}_{resolution_s}s",
            statement.format(table=f"window_{resolution_s}s", range=_RANGE, series=_SERIES),
            {"series_ids": list(series_ids), "from_ms": from_ms, "until_ms": until_ms, "step_s": step_s},
        )
        return [Window(*row) for row in rows]
