"""Kafka, PostgreSQL, ingest and the stream restarted in every order, under load."""

import os
from itertools import permutations
from random import Random

import pytest

from tests.faults.catalogue import RESTARTED
from tests.faults.run import Round
from tests.faults.schedule import Step

PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "1"))
SEED = 301
ORDER = "123412314231243121342132413214321"
"""The shortest row in which all 24 orders of four things stand, each as four neighbours."""


def steps(seed):
    """The restarts of `ORDER`. About half of them come before all is back from the one before."""
    random = Random(f"restarts {seed}")
    return [
        Step(round(random.uniform(1, 8), 1), f"restart {RESTARTED[int(digit) - 1]}", random.random() < 0.5)
        for digit in ORDER
    ]


def test_row_holds_every_order():
    """Each order of the four parts stands somewhere in the row."""
    orders = {"".join(order) for order in permutations("1234")}
    assert orders == {ORDER[at : at + 4] for at in range(len(ORDER))} & orders


@pytest.mark.long
def test_every_order_keeps_the_promises(lab):
    """Whatever part is restarted before which other, nothing acknowledged is lost or doubled, and all are back."""
    figures = Round(lab, SEED, steps(SEED), patience=PATIENCE).run()
    print(figures)
    assert figures["kept_the_promises"], figures
    assert figures["over_bound"] == []
