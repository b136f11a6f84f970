"""How long the files of exports stay."""

import threading

from ops.local.processes import wait_until
from services.dashboard.export import Order
from services.dashboard.exports import Exports


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / "sensor-stream-export-x7"
    left.mkdir()
    (left / "recording.zip").write_bytes(b"half")
    (tmp_path / "of somebody else").mkdir()
    Exports(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["of somebody else"]


def test_a_finished_export_is_forgotten_when_its_time_is_up(tmp_path):
    """Also when nobody exports again. (This one ends soon, for it is told of no database.)"""
    directory = tmp_path / "exports"
    exports = Exports(directory, kept_s=0.1)
    export = exports.start(Order("seen", "csv", "phone"), "anna")
    assert exports.find(export.number, "anna")
    assert list(directory.iterdir()) == [export.directory]
    assert wait_until(lambda: exports.find(export.number, "anna") is None, 30)
    assert wait_until(lambda: not list(directory.iterdir()), 5)
    assert export.state == "failed"


def test_an_export_that_is_ended_leaves_nothing(tmp_path):
    """Neither its process nor its files, nor a thread that would wait for its hour to be over."""
    before = set(threading.enumerate())
    exports = Exports(tmp_path)
    export = exports.start(Order("seen", "csv", "phone"), "anna")
    exports.end(export)
    assert wait_until(lambda: set(threading.enumerate()) <= before, 30)
    assert export.process is None or export.process.returncode is not None
    assert not list(tmp_path.iterdir())
