"""Load by vegeta: messages that can be told apart, and what was answered to each of them."""

import base64
import csv
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.phones import EncodedPhone

INSTALL = "go install github.com/tsenart/vegeta/v12@latest"
PHONES = 64
_TIMESTAMP, _CODE, _LATENCY, _ERROR, _SEQUENCE, _URL = 0, 1, 2, 5, 8, 10


class Outcome(NamedTuple):
    """What came of an attack. Times are in s; latencies count from the time at which a request was to be sent,
    waits from the one at which vegeta came to send it.
    """

    seconds: float
    codes: Counter[int]
    latencies: np.ndarray
    waits: np.ndarray
    accepted: Counter[str]
    others: Counter[str]
    errors: Counter[str]

    @property
    def rate(self) -> float:
        """Messages answered with 200, per second."""
        return self.codes[200] / self.seconds

    def percentile(self, of_hundred: float) -> float:
        """Latency in ms of all answers."""
        return float(np.percentile(self.latencies, of_hundred)) * 1000


def find_vegeta() -> str:
    """The program. Raises `SystemExit` that says how to get it."""
    go = Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin" / "vegeta"
    found = shutil.which("vegeta") or (str(go) if go.exists() else None)
    if found is None:
        raise SystemExit(f"vegeta is missing; with Go installed: {INSTALL}")
    return found


class Vegeta:
    """Attacks with a file of messages, each with an address of its own by which its answer is known."""

    def __init__(self, directory: Path, token: str) -> None:
        self._program = find_vegeta()
        self._directory = directory
        self._token = token

    def make_targets(self, port: int, count: int) -> Path:
        """A file of `count` messages of 100 readings, for the server at `port`."""
        file = self._directory / f"targets-{port}"
        headers = {"Content-Type": ["application/json"], "Authorization": [f"Bearer {self._token}"]}
        phones = [EncodedPhone(number) for number in range(PHONES)]
        with file.open("w", encoding="ascii") as targets:
            for number in range(count):
                phone = phones[number % PHONES]
                body = phone.encode(time.time_ns() + number * 200_000)
                url = f"http://127.0.0.1:{port}/sensor_data?n={phone.session}:{number // PHONES}"
                target = {"method": "POST", "url": url, "header": headers, "body": base64.b64encode(body).decode()}
                targets.write(json.dumps(target) + "\n")
        return file

    def open_loop(self, targets: Path, rate: float, seconds: float, *, yielding: bool = False) -> Outcome:
        """`rate` messages per second, whatever the answers, over at most 4,000 connections.

        `yielding` lets what shares the generator's core go first: for rates that the generator cannot reach anyway.
        """
        options = ["-rate", f"{round(rate)}/1s", "-duration", f"{seconds}s", "-max-workers", "4000"]
        return self._attack(targets, options, rate, ["nice", "-n", "10"] if yielding else [])

    def closed_loop(self, targets: Path, connections: int, seconds: float) -> Outcome:
        """As fast as `connections` go that each wait for their answer."""
        options = ["-rate", "0", "-duration", f"{seconds}s", "-workers", str(connections)]
        return self._attack(targets, [*options, "-max-workers", str(connections)], None)

    def _attack(self, targets: Path, options: list[str], rate: float | None, before: Sequence[str] = ()) -> Outcome:
        results, table = self._directory / "results.bin", self._directory / "results.csv"
        attack = [*before, self._program, "attack", "-format", "json", "-targets", str(targets), "-timeout", "30s"]
        subprocess.run([*attack, "-output", str(results), *options], check=True)
        subprocess.run([self._program, "encode", "-to", "csv", "-output", str(table), str(results)], check=True)
        try:
            return _read(table, rate)
        finally:
            results.unlink()
            table.unlink()


def _read(table: Path, rate: float | None) -> Outcome:
    codes: Counter[int] = Counter()
    accepted: Counter[str] = Counter()
    others: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    times = []
    with table.open(newline="", encoding="utf-8") as lines:
        for row in csv.reader(lines):
            code = int(row[_CODE])
            codes[code] += 1
            (accepted if code == 200 else others)[row[_URL].partition("?n=")[2]] += 1
            if code == 0:
                errors[row[_ERROR].rpartition(": ")[2]] += 1
            times.append((int(row[_TIMESTAMP]), int(row[_LATENCY]), int(row[_SEQUENCE])))
    began, latency, sequence = _columns(times)
    due = began if rate is None else sequence / rate + (began - sequence / rate).min()
    seconds = float((began + latency).max() - began.min())
    return Outcome(seconds, codes, began + latency - due, latency, accepted, others, errors)


def _columns(times: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Began and latency in s, the first since the first of all; and the numbers in their order."""
    table = np.array(times, np.int64)
    return (table[:, 0] - table[:, 0].min()) / 1e9, table[:, 1] / 1e9, table[:, 2]
