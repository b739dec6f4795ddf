"""
A bad network on loopback: a proxy that cuts, hangs and loses answers when a test says so.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

_READ: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)


class TcpProxy:
    """
    Stands between clients and one server, and passes bytes on until it is told otherwise.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._allowed: int | None = None
        self._then_hangs = False
        self._loses_answers = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._moved = asyncio.Condition()
        self.url = ""
        self.sent = 0
        """Bytes passed on to the server so far."""
        self.cuts = 0
        """How often `cut_after` and `lose_answers` have cut."""

    def cut_after(self, count: int) -> None:
        """
        Pass *count* more bytes on to the server, then reset every connection, once.
        """
        self._allowed, self._then_hangs = count, False

    def hang_after(self, count: int) -> None:
        """
        Pass *count* more bytes on to the server, then hang, with every connection left open.
        """
        self._allowed, self._then_hangs = count, True

    def lose_answers(self) -> None:
        """
        Keep the server's next answer to itself and reset every connection instead, once.
        """
        self._loses_answers = True

    def hang(self) -> None:
        """
        Pass nothing on any more, in either direction, with every connection left open: a phone out of reach.
        """
        self._flowing.clear()

    def flow(self) -> None:
        """
        End a hang, also one that was still to come.
        """
        self._allowed = None
        self._flowing.set()

    async def has_hung(self) -> None:
        """
        Return once `hang_after` has come about.
        """
        async with self._moved:
            await self._moved.wait_for(lambda: not self._flowing.is_set())

    def reset_all(self) -> None:
        """
        Reset every connection, on both sides.
        """
        for writer in self._writers:
            reset(writer)

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """
        Carry one connection to its end.
        """
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._writers.add(to_client)
        to_server: asyncio.StreamWriter | None = None
        try:
            server, to_server = await asyncio.open_connection(*self._target)
            self._writers.add(to_server)
            # What `sent` counts has left this process: no reset takes it back.
            to_server.transport.set_write_buffer_limits(0)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._requests(client, to_server))
                directions.create_task(self._answers(server, to_client))
        except* OSError:
            # One side is gone: so is the other.
            reset(to_client)
        finally:
            for writer in filter(None, (to_client, to_server)):
                self._writers.discard(writer)
                writer.close()
            self._handlers.discard(task)

    async def stop(self) -> None:
        """
        Reset what is open and wait until every connection has come to its end.
        """
        self.flow()
        self.reset_all()
        await asyncio.gather(*self._handlers)

    async def _requests(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        while data := await client.read(_READ):
            await self._flowing.wait()
            if self._allowed is None or len(data) < self._allowed:
                if self._allowed is not None:
                    self._allowed -= len(data)
                await self._send(data, to_server)
                continue
            allowed, self._allowed = self._allowed, None
            await self._send(data[:allowed], to_server)
            if self._then_hangs:
                self.hang()
                async with self._moved:
                    self._moved.notify_all()
                await self._flowing.wait()
                await self._send(data[allowed:], to_server)
            else:
                self._cut()
        to_server.write_eof()

    async def _send(self, data: bytes, to_server: asyncio.StreamWriter) -> None:
        to_server.write(data)
        await to_server.drain()
        self.sent += len(data)

    async def _answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while data := await server.read(_READ):
            await self._flowing.wait()
            if self._loses_answers:
                self._loses_answers = False
                self._cut()
                return
            to_client.write(data)
            await to_client.drain()
        to_client.close()

    def _cut(self) -> None:
        self.cuts += 1
        self.reset_all()


def reset(writer: asyncio.StreamWriter) -> None:
    """
    End a connection with RST instead of FIN, without sending what is buffered.
    """
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxying(url: str) -> AsyncIterator[TcpProxy]:
    """
    Listen on loopback in front of the server at *url*.
    """
    target = urlsplit(url)
    assert target.hostname is not None
    assert target.port is not None
    proxy = TcpProxy(target.hostname, target.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    proxy.url = f"http://{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        await server.wait_closed()
