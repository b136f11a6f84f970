"""Some faults of each kind on the running stack: what was acknowledged is stored exactly once.

`make test` runs this selection, `make test-faults` everything in this directory.
"""

from tests.faults.catalogue import FAULTS
from tests.faults.run import Round
from tests.faults.schedule import make_schedule

PATIENCE = 3  # the machine may be busy with other tests; `make test-faults` holds the bounds themselves
SELECTION = [
    "kill ingest worker",
    "kill kafka",
    "kill postmaster",
    "kill between commits",
    "checkpoint delete",
    "kill everything",
]


def test_same_seed_same_schedule():
    """A schedule depends on its seed alone, and every fault comes before any comes twice."""
    steps = make_schedule(7, FAULTS, len(FAULTS))
    assert steps == make_schedule(7, reversed(list(FAULTS)), len(FAULTS))
    assert steps != make_schedule(8, FAULTS, len(FAULTS))
    assert sorted(step.fault for step in steps) == sorted(FAULTS)


def test_selection_keeps_the_promises(lab):
    """Through one fault of each kind nothing acknowledged is lost, nothing is stored twice, and all parts come back."""
    figures = Round(lab, 1, make_schedule(1, SELECTION, len(SELECTION)), patience=PATIENCE).run()
    assert figures["acknowledged"] > 50
    assert figures["kept_the_promises"], figures
    assert figures["over_bound"] == []
