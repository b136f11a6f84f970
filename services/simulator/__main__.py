"""`python -m services.simulator`: sends until the end or Ctrl-C; the status says whether all was acknowledged."""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import takewhile
from random import Random

from services.simulator import metrics
from services.simulator.client import Client, Target, TargetError, read_token
from services.simulator.faults import suffer
from services.simulator.fleet import Plan, run_fleet
from services.simulator.options import Options, parse_options
from services.simulator.phone import Due, Phone
from services.simulator.record import Record
from services.simulator.replay import ReplayError, begin_at, by_device, first_begun, read_recording, schedule
from services.simulator.sender import Notices, Sending
from services.simulator.sensors import SECOND_NS, app_time
from services.simulator.tally import Tally


def main(arguments: Sequence[str]) -> int:
    """Run the fleet. Returns 0: all acknowledged; 1: some not; 2: it could not start, or a file failed."""
    options = parse_options(arguments)
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        with ExitStack() as stack:
            sending = _make_sending(options, stop, stack)
            return 1 if run_fleet(make_plans(options, time.time_ns()), sending, options.progress) else 0
    except (TargetError, ReplayError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def make_plans(options: Options, now: int) -> list[Plan]:
    """What each phone sends, if it is `now` (ns since the Unix epoch). Raises `ReplayError`."""
    sources = _replays(options, now) if options.replay else _phones(options, now)
    return [
        suffer(source, options.faults, Random(f"faults {options.seed} {number}"))
        for number, source in enumerate(sources)
    ]


def _phones(options: Options, now: int) -> Iterator[Iterator[Due]]:
    """Phones that begin one after the other within one batch period, so that they do not send all at once."""
    period = options.recording.batch_period * SECOND_NS
    for number in range(options.phones):
        start = app_time(now + round(period * number / options.phones))
        messages = Phone(options.seed, number, start, options.recording).messages()
        yield _until(messages, start, options.duration)


def _replays(options: Options, now: int) -> Iterator[Iterator[Due]]:
    recorded = read_recording(options.replay) if options.replay else []
    start = _aligned(now, options.align)
    if not options.as_recorded:
        recorded = begin_at(recorded, start)
    origin = first_begun(recorded)
    for device in by_device(recorded):
        yield _until(schedule(device, origin, start, options.speed), start, options.duration)


def _until(messages: Iterator[Due], start: int, duration: float | None) -> Iterator[Due]:
    if duration is None:
        return messages
    end = start + round(duration * SECOND_NS)
    return takewhile(lambda due: due.time <= end, messages)


def _aligned(now: int, seconds: float | None) -> int:
    """The next multiple of `seconds`."""
    if seconds is None:
        return app_time(now)
    step = round(seconds * SECOND_NS)
    return math.ceil(now / step) * step


def _make_sending(options: Options, stop: threading.Event, stack: ExitStack) -> Sending:
    token = read_token(options.token_file) if options.token_file else None
    target = Target(url=options.target, token=token, ca_file=options.ca_file, timeout=options.timeout)
    Client(target).close()  # a wrong URL is told before anything begins
    if options.metrics_port:
        metrics.serve(options.metrics_port)
    return Sending(
        target=target,
        patience=options.patience,
        stop=stop,
        tally=Tally(),
        notices=Notices(options.target, lambda text: print(text, flush=True)),
        record=stack.enter_context(Record(options.record)) if options.record else None,
    )


def _stop_on_signals(stop: threading.Event) -> None:
    """The first Ctrl-C ends the run cleanly, the second at once."""

    def handle(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
