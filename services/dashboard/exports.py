"""Exports under way: each is a process that writes files into a directory of its own, until the file is fetched."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from flask import Flask, Response, request, send_file

from services.dashboard import metrics
from services.dashboard.export import Order

MOST_WAITING: Final = 20
KEPT_S: Final = 3600.0
"""How long an export can be fetched once it is finished."""
_PREFIX: Final = "sensor-stream-export-"
_BROKEN: Final = "The export could not be made. The server's log says why."


@dataclass
class Export:
    """One export and how far it is; `process` while it runs."""

    number: str
    order: Order
    owner: str
    directory: Path
    state: str = "waiting"
    facts: dict[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    ended: threading.Event = field(default_factory=threading.Event)

    def words(self) -> dict[str, Any]:
        """What the page is told."""
        return {"id": self.number, "state": self.state, **self.facts}


class Exports:
    """Starts exports, `at_once` of them at a time, and forgets them with their files `kept_s` after their end.

    Their files are in `directory` (None: where temporary files go), which is made when one is wanted; what a killed
    process left there is removed.
    """

    def __init__(self, directory: Path | None = None, at_once: int = 1, kept_s: float = KEPT_S) -> None:
        self._directory = directory
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(at_once)
        self._exports: dict[str, Export] = {}
        for left in directory.glob(f"{_PREFIX}*") if directory else []:
            shutil.rmtree(left, ignore_errors=True)

    def start(self, order: Order, owner: str) -> Export | None:
        """A new export of `owner`; None when too many are waiting."""
        with self._lock:
            if sum(export.state in ("waiting", "running") for export in self._exports.values()) >= MOST_WAITING:
                return None
            if self._directory is not None:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory))
            export = Export(secrets.token_urlsafe(16), order, owner, directory)
            self._exports[export.number] = export
        threading.Thread(target=self._run, args=(export,), daemon=True).start()
        return export

    def find(self, number: str, owner: str) -> Export | None:
        """The export, if it is the owner's."""
        export = self._exports.get(number)
        return export if export is not None and export.owner == owner else None

    def end(self, export: Export) -> None:
        """Stop it if it runs, and remove its files."""
        with self._lock:
            self._exports.pop(export.number, None)
        export.ended.set()
        if export.process is not None:
            export.process.kill()
        shutil.rmtree(export.directory, ignore_errors=True)

    def _run(self, export: Export) -> None:
        with self._turns:
            if export.ended.is_set():
                return
            export.state = "running"
            command = [sys.executable, "-m", "services.dashboard.export", str(export.directory)]
            environment = {**os.environ, "TMPDIR": str(export.directory)}
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)  # noqa: S603
            export.process = process
            if export.ended.is_set():
                process.kill()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # it was ended, or could not begin: its status tells
                process.stdin.write(msgspec.json.encode(export.order) + b"\n")
                process.stdin.close()
            for line in process.stdout:
                export.facts |= json.loads(line)
            process.stdout.close()
            is_done = process.wait() == 0 and "name" in export.facts
        if not is_done:
            export.facts.setdefault("error", _BROKEN)
        export.state = "done" if is_done else "failed"
        metrics.record_export(export.order.what, export.state)
        if not export.ended.wait(self._kept_s):
            self.end(export)


def register(server: Flask, exports: Exports, who: Callable[[], str]) -> None:
    """Answer `/exports`: POST begins one, GET tells how far it is and gives its file, DELETE ends it.

    `who` names the person who asks: nobody else is told of an export.
    """

    @server.post("/exports")
    def begin() -> tuple[dict[str, Any], int]:
        try:
            order = msgspec.convert(request.get_json(silent=True), Order)
        except msgspec.ValidationError:
            return {"error": "This is no order for an export."}, 400
        try:
            export = exports.start(order, who())
        except OSError:
            return {"error": "The server has no room for exports. Tell whoever runs it."}, 507
        if export is None:
            return {"error": "Many exports are waiting. Try again in some minutes."}, 503
        return export.words(), 202

    @server.get("/exports/<number>")
    def tell(number: str) -> tuple[dict[str, Any], int]:
        export = exports.find(number, who())
        return (export.words(), 200) if export else _gone()

    @server.delete("/exports/<number>")
    def end(number: str) -> tuple[dict[str, Any], int]:
        export = exports.find(number, who())
        if export is None:
            return _gone()
        exports.end(export)
        return {"state": "ended"}, 200

    @server.get("/exports/<number>/file")
    def fetch(number: str) -> Response | tuple[dict[str, Any], int]:
        export = exports.find(number, who())
        if export is None or export.state != "done":
            return _gone()
        name = str(export.facts["name"])
        return send_file(export.directory / name, as_attachment=True, download_name=name)


def _gone() -> tuple[dict[str, Any], int]:
    return {"error": "This export is not here any more. Make it again."}, 404
