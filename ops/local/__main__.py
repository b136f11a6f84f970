"""`python -m ops.local [ACTION]`: runs the stack until Ctrl-C, or asks the running one something (check, tokens, …)."""

import argparse
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence, Set
from functools import partial
from types import FrameType
from typing import NoReturn

from ops.local import preflight
from ops.local.errors import LocalError, in_words
from ops.local.parts import all_parts, edge, first_password_file, ingest_url, postgres, push_url, stream_environment
from ops.local.postgres import program
from ops.local.processes import REPOSITORY, end
from ops.local.settings import HOST, LocalSettings
from ops.local.supervisor import Supervisor, find_leftovers, say
from ops.local.tokens import CURL, token_file

LEFTOVERS_END_WITHIN_S = 10
TOOLS_OF_THE_STREAM = ("check", "ledger", "quarantine", "retention", "resume")


def main() -> int:
    """Run, or become the program that asks; the exit status is 0 when all went well."""
    parser = argparse.ArgumentParser(prog="python -m ops.local", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["run", "tokens", "users", *TOOLS_OF_THE_STREAM], default="run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of what is asked: -h tells more")
    given = parser.parse_args()
    if given.arguments and given.action == "run":
        parser.error("run takes no arguments")
    try:
        settings = LocalSettings.load()
        if given.action in TOOLS_OF_THE_STREAM:
            become(settings, [f"services.stream.{given.action}", *given.arguments], stream_environment(settings))
        if given.action == "tokens":
            manager = postgres(settings).environment("dashboard")
            become(settings, ["services.ingest.tokens", *given.arguments], manager)
        if given.action == "users":
            owner = postgres(settings).environment("owner")
            become(settings, ["services.dashboard.users", *given.arguments], owner)
        return run(settings)
    except (LocalError, OSError) as error:
        print(f"cannot run: {in_words(error)}", file=sys.stderr)
        return 1


def become(settings: LocalSettings, module: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Go on as another program that works on the running stack. Raises `LocalError` when none runs."""
    if not (settings.data / "state.json").exists():
        raise LocalError("the stack does not run; start it with `make run` and try again in another terminal")
    os.chdir(REPOSITORY)
    os.execve(  # noqa: S606  # no shell is wanted
        sys.executable, [sys.executable, "-m", *module], os.environ | environment
    )


def run(settings: LocalSettings) -> int:
    """Start everything, wait for Ctrl-C, stop everything."""
    os.chdir(REPOSITORY)
    preflight.check_programs()
    program("postgres")
    with preflight.lock(settings.data):
        if leftovers := end(partial(find_leftovers, settings.data), LEFTOVERS_END_WITHIN_S):
            say(f"ended {leftovers} processes that an earlier run had left behind")
        preflight.check_space(settings.data)
        preflight.check_ports(settings)
        return _supervise(settings)


def _supervise(settings: LocalSettings) -> int:
    parts = all_parts(settings)
    places = addresses(settings, {part.name for part in parts})
    supervisor = Supervisor(parts, settings.data, places, say)
    interrupted = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        supervisor.give_up()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    started = time.monotonic()
    ready = supervisor.start()
    if ready:
        say(welcome(places, settings, time.monotonic() - started))
        interrupted.wait()
    say("stopping")
    began = time.monotonic()
    supervisor.stop()
    say(f"stopped in {time.monotonic() - began:.1f} s")
    return 0 if ready or interrupted.is_set() else 1


def addresses(settings: LocalSettings, parts: Set[str]) -> dict[str, str]:
    """Where a person or a program finds what runs."""
    found = {
        "phones push to": ingest_url(settings),
        **({"with HTTPS": push_url(settings), "its CA": str(edge(settings).ca_file)} if "edge" in parts else {}),
        "dashboard": f"http://{HOST}:{settings['DASHBOARD_PORT']}",
        "prometheus": f"http://{HOST}:{settings['PROMETHEUS_PORT']}",
        "logs": str(settings.data / "logs"),
    }
    return {name: place for name, place in found.items() if name != "prometheus" or name in parts}


def welcome(places: Mapping[str, str], settings: LocalSettings, seconds: float) -> str:
    """Where everything is, and a command to try it with."""
    now_ns = time.time_ns() // 256 * 256  # what the app's numbers can hold
    reading = {"name": "accelerometer", "time": now_ns, "values": {"x": 0.1, "y": -0.2, "z": 9.8}}
    body = {"messageId": 0, "sessionId": f"curl-{now_ns // 10**9}", "deviceId": "curl", "payload": [reading]}
    token = token_file(settings.secrets, CURL)
    lines = "\n".join(f"  {name:<16}{place}" for name, place in places.items())
    return f"""
everything is ready after {seconds:.0f} s

{lines}

sign in as {settings["DASHBOARD_FIRST_USER"]} with the password in {first_password_file(settings)}

try it:

  curl -H "Authorization: Bearer $(cat {shlex.quote(str(token))})" -H 'Content-Type: application/json' \\
    {places["phones push to"]} -d '{json.dumps(body)}'

`make check` in another terminal shows that it adds up; Ctrl-C stops everything
"""


if __name__ == "__main__":
    sys.exit(main())
