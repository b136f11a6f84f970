"""gunicorn's part of a worker: its process, its signals and its sign of life. The work is done by the server."""

import os
import time
from collections.abc import Callable
from typing import Final

from gunicorn.workers.base import Worker

from services.ingest.server import Server

_SIGN_OF_LIFE_EVERY_S: Final = 1.0


class IngestWorker(Worker):  # type: ignore[misc]  # published without types
    """Runs the server until it is told to end, then lets it finish what has begun."""

    def run(self) -> None:
        """Called by gunicorn once the application is loaded."""
        server = Server(self.sockets, self.wsgi, self.PIPE[0])
        self._serve(server, lambda: not self.alive)
        server.stop()
        end = time.monotonic() + self.wsgi.settings.acknowledge_timeout_s + 1
        self._serve(server, lambda: server.empty or time.monotonic() > end)
        server.close()

    def _serve(self, server: Server, done: Callable[[], bool]) -> None:
        sign_of_life_at = 0.0
        while not done():
            server.turn()
            if server.now >= sign_of_life_at:
                sign_of_life_at = server.now + _SIGN_OF_LIFE_EVERY_S
                self.notify()
                if os.getppid() != self.ppid:
                    self.log.info("gunicorn's master is gone: ending")
                    self.alive = False
