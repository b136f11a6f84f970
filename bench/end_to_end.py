"""`make bench`: how long from a POST to its row in PostgreSQL, seen by a reader, with simulated phones.

Starts a stack of its own, lets the phones send, and asks PostgreSQL 100 times a second what has become visible. The
time of a message is from the moment the simulator sent it (its record) to the query that first saw its row. Prints a
table and, as its last line, one JSON object.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.machine import machine
from tests.system.stack import Stack

WARM_UP_S = 15
POLL_S = 0.01
QUIET_S = 10

Identity = tuple[str, str, int]
"""(device, session, messageId)"""

NEWER = """
SELECT partition, "offset", session_id, number FROM message
WHERE first_time > now() - interval '1 hour' AND "offset" > coalesce((%s::jsonb ->> partition::text)::bigint, -1)
"""
SESSIONS = "SELECT session_id, device, session FROM session JOIN device USING (device_id)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="sensor-stream-bench-", dir="/tmp"))
    directory.chmod(0o755)
    stack = Stack(directory / "data")
    try:
        print("starting the stack", flush=True)
        stack.start()
        figures = measure(stack, directory / "record.jsonl", arguments.phones, arguments.seconds)
        stack.stop()
    finally:
        stack.kill_what_is_left()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{'':<24} {'p50':>8} {'p90':>8} {'p99':>8}  ms")
    print(f"{'POST to visible row':<24} {figures['p50_ms']:>8} {figures['p90_ms']:>8} {figures['p99_ms']:>8}")
    print(json.dumps(figures))


def measure(stack: Stack, record: Path, phones: int, seconds: int) -> dict[str, object]:
    """The figures of one run, without its first seconds."""
    print(f"{phones} phones send for {WARM_UP_S + seconds} s", flush=True)
    simulator = stack.simulate("--phones", phones, "--duration", WARM_UP_S + seconds, "--record", record)
    seen = watch(stack, simulator)
    sent = first_posts(record)
    began = min(sent.values()) + WARM_UP_S
    delays = [seen[message] - at for message, at in sent.items() if at > began and message in seen]
    cuts = statistics.quantiles(delays, n=100)
    return {
        "p50_ms": round(cuts[49] * 1000),
        "p90_ms": round(cuts[89] * 1000),
        "p99_ms": round(cuts[98] * 1000),
        "messages": len(delays),
        "phones": phones,
        "lost": len(sent.keys() - seen.keys()),
        "machine": machine(),
    }


def watch(stack: Stack, simulator: subprocess.Popen[bytes]) -> dict[Identity, float]:
    """When each message was first seen, until the phones have ended and nothing new has come for a while."""
    seen: dict[tuple[int, int], float] = {}
    offsets: dict[int, int] = {}
    newest = time.time()
    with closing(stack.database()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while simulator.poll() is None or time.time() - newest < QUIET_S:
            cursor.execute(NEWER, [json.dumps(offsets)])
            for partition, offset, session_id, number in cursor.fetchall():
                newest = time.time()
                seen[session_id, number] = newest
                offsets[partition] = max(offset, offsets.get(partition, -1))
            time.sleep(POLL_S)
        cursor.execute(SESSIONS)
        sessions = {session_id: (device, session) for session_id, device, session in cursor.fetchall()}
    return {(*sessions[session_id], number): at for (session_id, number), at in seen.items()}


def first_posts(record: Path) -> dict[Identity, float]:
    """When each acknowledged message was first sent, whatever the answer to that was."""
    first: dict[Identity, float] = {}
    acknowledged: set[Identity] = set()
    for line in record.read_text(encoding="utf-8").splitlines():
        attempt = json.loads(line)
        message = attempt["message"]
        identity = message["deviceId"], message["sessionId"], message["messageId"]
        first[identity] = min(first.get(identity, attempt["sent_at"]), attempt["sent_at"])
        if attempt["status"] == 200:
            acknowledged.add(identity)
    return {identity: first[identity] for identity in acknowledged}


if __name__ == "__main__":
    main()
