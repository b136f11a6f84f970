"""The yardstick of `make bench-dashboard`: a Dash page as one writes it first, which redraws whole figures each second.

`python -m gunicorn --threads 16 bench.plain_dash:server`, with the dashboard's environment and SESSION.
"""

import os
import threading

import plotly.graph_objects as go
import zstandard
from dash import Dash, Input, Output, dcc, html

from services.common.channels import split
from services.common.database import connect
from services.common.message import read_record
from services.common.settings import load
from services.dashboard.settings import DashboardDatabaseSettings

SENSORS = ("accelerometer", "gyroscope", "gravity", "orientation", "magnetometer")
_NEWEST = """
SELECT body FROM message JOIN session USING (session_id)
WHERE session = %s AND message.last_time > now() - interval '30 seconds'
  AND message.first_time > now() - interval '1 minute'
ORDER BY message.first_time
"""
_own = threading.local()
queries = 0

app = Dash(__name__)
server = app.server
app.layout = html.Div(
    [
        dcc.Interval(id="second", interval=1000),
        html.Div(id="marker"),
        *(dcc.Graph(id=sensor, figure={}) for sensor in SENSORS),
    ]
)


@app.callback(
    Output("marker", "children"), *(Output(sensor, "figure") for sensor in SENSORS), Input("second", "n_intervals")
)
def draw(_count):
    """Read the last 30 s and make every figure anew."""
    lines = {}
    for (body,) in _rows():
        for reading in read_record(zstandard.decompress(bytes(body))).payload:
            for channel, value in split(reading)[0].items():
                times, values = lines.setdefault(reading.name, {}).setdefault(channel, ([], []))
                times.append(reading.time / 1e6)
                values.append(value)
    newest = lines.get("marker", {}).get("n", ([], [""]))[1][-1:]
    figures = [
        go.Figure([go.Scatter(x=x, y=y, name=name) for name, (x, y) in lines.get(sensor, {}).items()])
        for sensor in SENSORS
    ]
    return [str(int(newest[0])) if newest and newest[0] != "" else "", *figures]


def _rows():
    if not hasattr(_own, "connection"):
        _own.connection = connect(load(DashboardDatabaseSettings, os.environ), "plain")
        _own.connection.autocommit = True
    with _own.connection.cursor() as cursor:
        cursor.execute(_NEWEST, [os.environ["SESSION"]])
        return cursor.fetchall()
