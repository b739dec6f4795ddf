"""
A TCP line that breaks, or falls silent, where a test wants it to.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

Direction = Literal["up", "down"]


class BadLine:
    """
    Passes bytes on between a client and a server, and breaks after so many of them.

    Each number of *breaks* counts from the break before; behind the last, everything passes.
    """

    def __init__(self, target: str, direction: Direction, breaks: Sequence[int], *, stalls: bool) -> None:
        url = urlsplit(target)
        assert url.hostname is not None
        self._host, self._port = url.hostname, url.port
        self._direction = direction
        self.breaks = list(breaks)
        """Those still to come."""
        self._stalls = stalls
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self.asked = bytearray()
        """Everything that clients sent."""
        self.broken = asyncio.Event()
        """Set at the first break."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Carry one connection to its end.
        """
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        pumps = [
            asyncio.create_task(self._pump("up", reader, far_writer)),
            asyncio.create_task(self._pump("down", far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(64 * 1024):
                is_last = direction == self._direction and bool(self.breaks) and len(data) >= self.breaks[0]
                if is_last:
                    data = data[: self.breaks.pop(0)]
                elif direction == self._direction and self.breaks:
                    self.breaks[0] -= len(data)
                writer.write(data)
                await writer.drain()
                self.passed[direction] += len(data)
                if direction == "up":
                    self.asked += data
                if is_last:
                    self.broken.set()
                    if self._stalls:
                        await asyncio.Event().wait()
                    return


@asynccontextmanager
async def bad_line(
    target: str, direction: Direction = "up", breaks: Sequence[int] = (), *, stalls: bool = False
) -> AsyncIterator[tuple[str, BadLine]]:
    """
    Lay a line to the server at *target*; gives the address of its near end, and the line.
    """
    line = BadLine(target, direction, breaks, stalls=stalls)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(line.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", line
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
