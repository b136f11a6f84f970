"""`python -m tests.faults`: a stack of its own, phones, and a schedule of faults that a seed decides.

Prints the schedule before, a line per fault, and for each round one JSON object. Ends with 1 when something was lost,
doubled or wrong.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.catalogue import APART, FAULTS, GROUPS
from tests.faults.lab import Lab
from tests.faults.run import Round, total
from tests.faults.schedule import make_schedule
from tests.system.stack import REPOSITORY


def main():
    """Run all rounds; the exit status says whether all promises were kept."""
    arguments = parse()
    names = [fault.name for fault in FAULTS.values() if chosen(fault, arguments.only)]
    schedules = {
        seed: make_schedule(seed, names, arguments.faults, arguments.pause)
        for seed in range(arguments.seed, arguments.seed + arguments.rounds)
    }
    for seed, steps in schedules.items():
        print(f"seed {seed}:", *(f"{s.pause_s} s {s.fault}{' +' if s.overlap else ''}" for s in steps), sep="\n  ")
    if arguments.schedule:
        return 0
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-faults-", dir="/tmp"))
    directory.chmod(0o755)
    lab = Lab(directory)
    results = []
    try:
        lab.stack.start()
        for seed, steps in schedules.items():
            print(f"round with seed {seed}", flush=True)
            results.append(Round(lab, seed, steps, arguments.phones, arguments.patience, say, arguments.within).run())
            print(json.dumps(results[-1]), flush=True)
        lab.stack.stop()
    finally:
        lab.keep_logs(REPOSITORY / "artefacts" / f"faults-{arguments.seed}")
        lab.close()
        shutil.rmtree(directory, ignore_errors=True)
    if len(results) > 1:
        print("all rounds:", json.dumps(total(results)))
    wrong = [r["seed"] for r in results if not r["kept_the_promises"]]
    print(f"{sum(r['faults'] for r in results)} faults; seeds that broke a promise: {wrong or 'none'}")
    return int(bool(wrong))


def parse():
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones count on")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--faults", type=int, default=8, help="faults per round")
    parser.add_argument("--pause", type=float, default=8.0, help="seconds between two faults at most")
    parser.add_argument("--phones", type=int, default=3)
    parser.add_argument(
        "--only", default="kills,points", help=f"groups ({', '.join(GROUPS | APART)}) or names, with commas"
    )
    parser.add_argument("--patience", type=float, default=1.0, help="stretches the bounds, for a busy machine")
    parser.add_argument("--within", type=float, default=float("inf"), help="seconds for the faults of a round")
    parser.add_argument("--schedule", action="store_true", help="print the schedule only")
    return parser.parse_args()


def chosen(fault, only):
    wanted = only.split(",")
    return fault.name in wanted or any(fault in (GROUPS | APART).get(group, ()) for group in wanted)


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
