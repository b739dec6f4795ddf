"""
The way out of a long answer's bytes: from a thread straight into the socket.
"""

import asyncio
import os
import select
import socket

from aiohttp import web


class SocketOutlet:
    """
    The socket of *request*'s connection, for bytes of an answer whose head has been written.

    Nothing is written through aiohttp meanwhile. It counts none of these bytes, and need not: its parser reads requests, so
    the connection is good for the next one.
    """

    def __init__(self, request: web.Request, transport: asyncio.Transport) -> None:
        """
        Duplicate the socket of *transport*, which is the request's.

        Raises:
            OSError: there is no descriptor to spare.
        """
        self._request = request
        self._transport = transport
        # A descriptor of its own: the event loop watches the other one, and may close it.
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)

    @classmethod
    def of(cls, request: web.Request) -> "SocketOutlet | None":
        """
        Return the outlet of *request*, to be closed; None where bytes have to go through the event loop.
        """
        transport = request.transport
        if transport is None or transport.is_closing() or transport.get_extra_info("sslcontext"):
            return None
        try:
            return cls(request, transport)
        except OSError:
            return None

    def close(self) -> None:
        """
        Let go of the socket.
        """
        self._socket.close()

    async def ready(self) -> None:
        transport = self._transport
        if transport.is_closing():
            raise ConnectionResetError
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)
            try:
                await self._request.writer.drain()
            finally:
                transport.set_write_buffer_limits()
        loop = asyncio.get_running_loop()
        is_ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not is_ready.done():
                is_ready.set_result(None)

        loop.add_writer(self._socket, wake)
        try:
            await is_ready
        finally:
            loop.remove_writer(self._socket)
        if transport.is_closing():
            raise ConnectionResetError

    def send(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionAbortedError from error

    def wait(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
