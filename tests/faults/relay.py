"""A relay that hands on every byte a while later, as a network does whose other end is far away."""

import asyncio
import contextlib
import socket
import threading

PIECE = 65_536
PIECES = 256  # under way at most, each way of a connection
MARK = 7
"""On the packets of the relay's own connections, so that a rule can tell them from those of everybody else."""


class Relay:
    """Listens on `listens_on` and hands on to `port`, both on loopback: each piece `delay_s` after it came.

    Used as a context: at its end all connections are closed. Has a thread of its own.
    """

    def __init__(self, port, delay_s):
        self.port, self.delay_s = port, delay_s
        self.listens_on = 0
        self.connected = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._connections = set()

    def __enter__(self):
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = server.result(10)
        self.listens_on = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self):
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader, writer):
        connection = asyncio.current_task()
        self._connections.add(connection)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _join(self, reader, writer):
        end = socket.socket()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        end.setblocking(False)  # its only parameter
        await self._loop.sock_connect(end, ("127.0.0.1", int(self.port)))
        self.connected += 1
        far_reader, far_writer = await asyncio.open_connection(sock=end)
        try:
            async with asyncio.TaskGroup() as ways:
                for way in ((reader, far_writer), (far_reader, writer)):
                    ways.create_task(self._hand_on(*way))
        except* OSError:
            pass  # one end has gone: so does the other
        finally:
            far_writer.close()

    async def _hand_on(self, reader, writer):
        """All that comes, in its order; then the end of it."""
        under_way = asyncio.Queue(PIECES)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(reader, under_way))
            while piece := await self._due(under_way):
                writer.write(piece)
                await writer.drain()
        writer.write_eof()

    async def _take(self, reader, under_way):
        piece = b"begun"
        while piece:
            piece = await reader.read(PIECE)
            await under_way.put((self._loop.time() + self.delay_s, piece))

    async def _due(self, under_way):
        due, piece = await under_way.get()
        await asyncio.sleep(due - self._loop.time())
        return piece
