"""Every fault of the catalogue under load, group by group, with the bounds as they are promised."""

import os

import pytest

from tests.faults.catalogue import GROUPS
from tests.faults.run import Round
from tests.faults.schedule import make_schedule

pytestmark = pytest.mark.long
PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "1"))
SEEDS = {group: number for number, group in enumerate(GROUPS, start=101)}


@pytest.mark.parametrize("group", GROUPS)
def test_group_keeps_the_promises(lab, group):
    """Through each fault of the group nothing acknowledged is lost or stored twice, and all parts are back in time."""
    names = [fault.name for fault in GROUPS[group]]
    figures = Round(lab, SEEDS[group], make_schedule(SEEDS[group], names, len(names)), patience=PATIENCE).run()
    print(figures)
    assert figures["kept_the_promises"], figures
    assert figures["over_bound"] == []
