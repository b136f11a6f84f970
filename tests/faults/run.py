"""A round: phones send while faults are injected; then everything is compared with what was acknowledged."""

import dataclasses
import json
import os
import time
from collections import Counter
from random import Random
from statistics import median

from tests.faults.catalogue import FAULTS
from tests.faults.faults import KillEverything
from tests.system.stack import wait_until
from tests.system.stored import compare

QUIET_WITHIN_S = 300


@dataclasses.dataclass
class Round:
    """One round on a running `lab`. `patience` stretches the bounds, for a machine that is busy with other things.

    Where `within_s` is over the rest of the steps is left out.
    """

    lab: object
    seed: int
    steps: list
    phones: int = 3
    patience: float = 1.0
    say: object = print
    within_s: float = float("inf")
    recoveries: dict = dataclasses.field(default_factory=dict)
    over_bound: list = dataclasses.field(default_factory=list)
    loads: list = dataclasses.field(default_factory=list)
    under_way: list = dataclasses.field(default_factory=list)
    """The faults whose recovery is waited for together with the next one's."""

    def run(self):
        """Send, hurt, heal, wait until quiet, compare; returns the figures."""
        lab = self.lab
        lab.random = Random(f"round {self.seed}")
        record = lab.directory / f"record-{self.seed}.jsonl"
        lab.await_whole(120 * self.patience)
        simulator = lab.start_phones(record, self.phones, self.seed)
        wait_until(lambda: record.exists() and record.stat().st_size > 0, 60, "the first answer comes")
        end = time.monotonic() + self.within_s
        for number, step in enumerate(self.steps):
            if time.monotonic() > end:
                self.steps = self.steps[:number]
                break
            self._take(step)
        lab.await_whole(300 * self.patience)
        began = time.monotonic()
        lab.finish(simulator, QUIET_WITHIN_S * self.patience)
        return self._figures(record, time.monotonic() - began)

    def _take(self, step):
        time.sleep(step.pause_s)  # part of the schedule
        fault = FAULTS[step.fault]
        fault.inject(self.lab)
        healed = time.monotonic()
        fault.heal(self.lab)
        self.under_way.append(fault)
        if step.overlap and not isinstance(fault, KillEverything):
            self.say(f"  {fault.name:<40} and on to the next")
            return
        together, self.under_way = self.under_way, []
        name, bound = " + ".join(each.name for each in together), max(each.bound_s for each in together)
        self.lab.await_whole(max(120, 4 * bound * self.patience))  # beyond that it is a failure and not only late
        seconds = round(time.monotonic() - healed, 1)
        self.recoveries.setdefault(name, []).append(seconds)
        self.over_bound += [name] if seconds > bound * self.patience else []
        load, *_ = os.getloadavg()
        self.loads.append(round(load, 1))
        self.say(f"  {name:<40} works again after {seconds:5.1f} s (bound {bound:.0f}, load {load:.1f})")

    def _figures(self, record, drain_s):
        """What the round was, and what came of it."""
        with record.open(encoding="utf-8") as lines:
            answers = Counter(json.loads(line)["status"] for line in lines)
        verdict = compare(self.lab.stack, record)
        counts = {name: value for name, value in dataclasses.asdict(verdict).items() if name != "differences"}
        return {
            "seed": self.seed,
            "faults": len(self.steps),
            "posts": answers.total(),
            "answered_503": answers[503],
            "not_answered": answers[None],
            **counts,
            "differences": verdict.differences[:5],
            "seconds_to_recover": self.recoveries,
            "over_bound": self.over_bound,
            "load": (min(self.loads, default=None), max(self.loads, default=None)),
            "seconds_to_drain": round(drain_s, 1),
            "kept_the_promises": bool(verdict),
        }


def total(results):
    """What several rounds were together. How long each fault took is told as number, median and most, in seconds."""
    counts = ("faults", "posts", "acknowledged", "answered_503", "not_answered", "unanswered", "unanswered_stored")
    took = {}
    for result in results:
        for name, seconds in result["seconds_to_recover"].items():
            took.setdefault(name, []).extend(seconds)
    alone = {name: seconds for name, seconds in took.items() if name in FAULTS}
    return {
        **{name: sum(result[name] for result in results) for name in (*counts, "lost", "doubled", "strange")},
        "seconds_to_recover": {name: (len(s), median(s), max(s)) for name, s in sorted(alone.items())},
        "beyond_their_bounds": {
            name: [each for each in seconds if each > bound_of(name)]
            for name, seconds in took.items()
            if max(seconds) > bound_of(name)
        },
        "seconds_to_drain": [result["seconds_to_drain"] for result in results],
    }


def bound_of(name):
    """The bound of a fault, or of several that were under way together: the longest of theirs."""
    return max(FAULTS[each].bound_s for each in name.split(" + "))
