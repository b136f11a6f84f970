"""The supervisor, with stand-in programs: order, failure, restart, and that nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from ops.local.errors import LocalError
from ops.local.part import Part
from ops.local.processes import REPOSITORY, Command, wait_until
from ops.local.supervisor import Supervisor, find_leftovers, levels

PATIENCE_S = 10


class Stack:
    """A supervisor over `parts`, and what it said."""

    def __init__(self, directory, *parts):
        self.directory = directory
        self.said = []
        self.supervisor = Supervisor(parts, directory, {"dashboard": "http://127.0.0.1:1"}, self.said.append)

    @property
    def state(self):
        return json.loads((self.directory / "state.json").read_text())

    def pid(self, part):
        return self.state["parts"][part]["pid"]

    def ended(self):
        return not find_leftovers(self.directory)


@pytest.fixture
def stack(tmp_path):
    stacks = []

    def make(*parts):
        stacks.append(Stack(tmp_path, *parts))
        return stacks[-1]

    yield make
    for one in stacks:
        one.supervisor.stop()
        assert one.ended()


def sleeper(name, **more):
    return Part(name=name, **({"command": lambda: Command(["sleep", "1000"])} | more))


def shell(name, script, **more):
    return sleeper(name, command=lambda: Command(["bash", "-c", script]), **more)


def wait(condition):
    assert wait_until(condition, PATIENCE_S)


def test_parts_start_after_what_they_need(stack):
    """A part starts once what it needs is ready, and parts that need nothing of each other wait for nothing."""
    done, meeting = [], threading.Barrier(2, timeout=PATIENCE_S)

    def meet(name):
        meeting.wait()
        done.append(name)

    running = stack(
        sleeper("last", after=("left", "right"), prepare=lambda: done.append("last")),
        sleeper("left", prepare=lambda: meet("left")),
        sleeper("right", prepare=lambda: meet("right")),
    )
    assert running.supervisor.start()
    assert set(done[:2]) == {"left", "right"}
    assert done[2] == "last"


def test_parts_stop_in_reverse_order(stack, tmp_path):
    """What needs another part is gone before that part is asked to end."""
    note = f"trap 'echo $NAME >> {tmp_path}/order; exit' TERM; touch {tmp_path}/$NAME; sleep 1000 & wait"

    def part(name, *after):
        return Part(
            name=name,
            after=after,
            command=lambda: Command(["bash", "-c", note], {"NAME": name}),
            is_ready=(tmp_path / name).exists,
        )

    running = stack(part("kafka"), part("ingest", "kafka"), part("simulator", "ingest"))
    assert running.supervisor.start()
    running.supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["simulator", "ingest", "kafka"]


def test_state_tells_where_everything_is(stack):
    """Once all is ready, programs find process ids and addresses in a file, which goes with the stack."""
    running = stack(sleeper("kafka"))
    assert running.supervisor.start()
    os.kill(running.pid("kafka"), 0)
    assert running.state["addresses"] == {"dashboard": "http://127.0.0.1:1"}
    running.supervisor.stop()
    assert not (running.directory / "state.json").exists()


def test_failed_start_is_told_with_the_last_lines_of_the_log(stack):
    """A part that ends while starting fails the start, and its log's last lines say why."""
    running = stack(shell("kafka", "echo out of luck; exit 3", is_ready=lambda: False), sleeper("other"))
    assert not running.supervisor.start()
    assert "kafka         failed   it ended while starting (status 3)" in running.said
    assert "    out of luck" in running.said


def test_part_that_is_never_ready_fails_the_start(stack):
    """A part that runs but does not answer in its time fails the start."""
    running = stack(sleeper("kafka", is_ready=lambda: False, ready_within_s=0.2))
    assert not running.supervisor.start()
    assert "kafka         failed   it was not ready within 0 s" in running.said


def test_failed_preparation_is_one_line(stack):
    """What cannot be prepared fails the start with its own words; parts that need it are not started."""

    def fail():
        raise LocalError("the disk is full")

    running = stack(sleeper("kafka", prepare=fail), sleeper("ingest", after=("kafka",)))
    assert not running.supervisor.start()
    assert running.said == ["kafka         starting", "kafka         failed   the disk is full"]


def test_killed_part_starts_again(stack):
    """A part that dies is started again, with a line that names the cause, and the state file knows its new id."""
    running = stack(sleeper("stream"))
    assert running.supervisor.start()
    old = running.pid("stream")
    os.kill(old, signal.SIGKILL)
    wait(lambda: running.pid("stream") != old)
    assert "stream        ended    starts again in 1 s: SIGKILL" in running.said


def test_cause_of_a_failure_is_its_last_error(stack, tmp_path):
    """The line about a part that failed is the error of its log, not the noise after it."""
    fail = "printf 'ERROR no leader\\n  at x.y\\nbye\\n'; exit 1"
    running = stack(shell("stream", f"[ -e {tmp_path}/failed ] && exec sleep 1000; touch {tmp_path}/failed; {fail}"))
    assert running.supervisor.start()
    wait(lambda: any("starts again in 1 s: ERROR no leader" in line for line in running.said))


def test_restart_that_fails_is_one_line(stack):
    """A part that is not ready again in its time is told in one line, and is tried once more."""
    starts = []

    def command():
        starts.append("start")
        return Command(["sleep", "1000"])

    running = stack(Part(name="kafka", command=command, is_ready=lambda: len(starts) != 2, ready_within_s=0.3))
    assert running.supervisor.start()
    os.kill(running.pid("kafka"), signal.SIGKILL)
    wait(lambda: any(line.endswith("again") for line in running.said))
    assert [line.split(maxsplit=2)[2] for line in running.said if " ended " in line] == [
        "starts again in 1 s: SIGKILL",
        "starts again in 2 s: it was not ready within 0 s",
    ]


def test_what_a_crash_leaves_goes_before_the_restart(stack, tmp_path):
    """Processes that a killed part had started are ended, so that they keep no port from the next one."""
    running = stack(shell("ingest", f"sleep 1000 & echo $! >> {tmp_path}/children; wait"))
    assert running.supervisor.start()
    children = tmp_path / "children"
    wait(lambda: children.exists() and children.read_text())
    child = int(children.read_text())
    os.kill(running.pid("ingest"), signal.SIGKILL)
    wait(lambda: len(children.read_text().split()) == 2)
    assert child not in find_leftovers(tmp_path)


def test_stubborn_part_is_ended(stack, tmp_path):
    """A part that does not end when asked is ended, and so is what it started."""
    script = f"trap '' TERM; sleep 1000 & touch {tmp_path}/deaf; while :; do wait; done"
    running = stack(shell("stream", script, is_ready=(tmp_path / "deaf").exists, stop_within_s=0.2))
    assert running.supervisor.start()
    running.supervisor.stop()
    assert running.ended()


def test_start_can_be_given_up(stack):
    """Ctrl-C while parts are starting ends the start and all that was started."""
    running = stack(sleeper("kafka"), sleeper("stream", is_ready=lambda: False, after=("kafka",)))
    threading.Timer(0.5, running.supervisor.give_up).start()
    assert not running.supervisor.start()
    running.supervisor.stop()
    assert running.ended()


def test_clean_stop_is_followed_up(stack):
    """What is to be done after a clean stop is done once."""
    done = []
    running = stack(sleeper("kafka", ended=lambda: done.append("kept")))
    assert running.supervisor.start()
    running.supervisor.stop()
    assert done == ["kept"]


def test_log_of_the_run_before_is_kept(stack, tmp_path):
    """A start begins a new log and keeps the one before."""
    log = tmp_path / "logs" / "kafka.log"
    for word in ("one", "two"):
        running = stack(shell("kafka", f"echo {word}; exec sleep 1000"))
        assert running.supervisor.start()
        wait(lambda word=word: log.read_text() == f"{word}\n")
        running.supervisor.stop()
    assert log.with_name("kafka.log.old").read_text() == "one\n"


def test_killed_runner_takes_its_parts_with_it(tmp_path):
    """When the runner is killed, the kernel ends what it had started."""
    script = f"""
from pathlib import Path
from ops.local.part import Part
from ops.local.processes import Command
from ops.local.supervisor import Supervisor
Supervisor([Part(name="p", command=lambda: Command(["sleep", "1000"]))], Path({str(tmp_path)!r}), {{}}, print).start()
input()
"""
    runner = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdin=subprocess.PIPE)
    wait((tmp_path / "state.json").exists)
    assert len(find_leftovers(tmp_path)) == 1
    runner.kill()
    runner.communicate()
    wait(lambda: not find_leftovers(tmp_path))


def test_levels_put_parts_after_what_they_need():
    """Parts are grouped so that each needs only parts of the groups before its own."""
    parts = [Part(name="c", after=("a", "b")), Part(name="a"), Part(name="b", after=("a",))]
    assert [[part.name for part in group] for group in levels(parts)] == [["a"], ["b"], ["c"]]


def test_parts_that_wait_for_each_other_are_told():
    """A circle of parts is an error, not a start that never ends."""
    with pytest.raises(LocalError, match="wait for each other: a, b"):
        levels([Part(name="a", after=("b",)), Part(name="b", after=("a",))])


def test_two_stacks_do_not_see_each_other(stack, tmp_path):
    """The processes of one data directory are not taken for those of another."""
    running = stack(sleeper("kafka"))
    assert running.supervisor.start()
    wait(lambda: find_leftovers(tmp_path))
    assert not find_leftovers(tmp_path / "kafka")
    assert not find_leftovers(tmp_path.parent)
