"""The fleet: one thread per phone waits for each message to be due and sends it; the caller's thread shows progress."""

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from random import Random

from services.simulator.phone import Due
from services.simulator.sender import Sender, Sending
from services.simulator.tally import progress_line, summary_table

Plan = Iterable[Due]
"""What one phone sends, in the order of sending."""


def run_fleet(plans: Sequence[Plan], sending: Sending, progress_seconds: float) -> int:
    """Send every plan to its end, or until `sending.stop` is set; show progress and at the end a table.

    Returns how many messages were not acknowledged.
    """
    began = time.monotonic()
    clock = Clock()
    with ThreadPoolExecutor(max_workers=len(plans), thread_name_prefix="phone") as threads:
        running = [threads.submit(_send_all, plan, clock, sending, number) for number, plan in enumerate(plans)]
        try:
            _watch(running, sending, progress_seconds, began)
        finally:
            sending.stop.set()
    sending.tally.take_recent()
    total = sending.tally.total
    print(summary_table(len(plans), total, time.monotonic() - began), flush=True)
    return total.messages.total() - total.messages["acknowledged"]


class Clock:
    """Wall clock time that never jumps: the time of its making plus what has passed since."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def wait_until(self, due: int, stop: threading.Event) -> bool:
        """Wait until `due` (ns since the Unix epoch); false when `stop` came first."""
        left = (due - self._offset - time.monotonic_ns()) / 1e9
        return not (stop.wait(left) if left > 0 else stop.is_set())


def _send_all(plan: Plan, clock: Clock, sending: Sending, number: int) -> None:
    sender = Sender(sending, Random(number))
    try:
        for due in plan:
            if not clock.wait_until(due.time, sending.stop):
                return
            sender.send(due.message)
    finally:
        sender.close()


def _watch(running: Sequence[Future[None]], sending: Sending, progress_seconds: float, began: float) -> None:
    """Show progress until all phones have ended. Raises what ended one of them."""
    unfinished, shown = set(running), began
    while unfinished:
        done, unfinished = wait(unfinished, timeout=progress_seconds)
        for phone in done:
            phone.result()
        now = time.monotonic()
        if now - shown >= progress_seconds:
            recent = sending.tally.take_recent()
            print(progress_line(len(unfinished), recent, sending.tally.total, now - shown), flush=True)
            shown = now
