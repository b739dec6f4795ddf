"""
A request's body on its way to the upload service.

A short one comes through aiohttp: read into bytes, parsed, queued, copied. A long one is taken from the socket by the
thread that seals it, which spares three copies of each byte and a wake-up of the event loop for every few of them.
"""

import asyncio
import os
import select
import socket
import termios
from array import array
from contextlib import suppress
from fcntl import ioctl
from typing import Final

from aiohttp import StreamReader, web

from gateway.services.bodies import BodyCut

_LONG: Final = 512 * 1024
"""A body of which so much is still to come goes past aiohttp."""
_WORTH_A_TURN: Final = 256 * 1024
"""Bytes that gather in the kernel before a thread is sent for them, unless they are the last ones or late."""
_LOOK_EVERY_S: Final = 1.0
"""How often bytes that are fewer are fetched."""


class RequestBody:
    """
    The body of *request*; `leave_body` is to be called before the request is answered.
    """

    def __init__(self, request: web.Request) -> None:
        request[_BODY] = self
        self._request = request
        self._content: StreamReader = request.content
        self._is_held_back = request.headers.get("Expect", "").lower() == "100-continue"
        self._early: list[bytes] | None = None
        """What aiohttp had of a body whose rest is taken from the socket; None of any other."""
        self._source: SocketSource | None = None

    def at_once(self) -> bytes | None:
        """
        Return the bytes that have come, empty at the end; None where `read` is to be awaited for them.
        """
        content = self._content
        if self._early is not None or self._is_held_back or content.exception() is not None:
            return None
        if content.at_eof():
            return b""
        return content.read_nowait() or None

    async def read(self) -> bytes:
        """
        Return what has come, waiting for the first byte of it; empty at the end, or where the rest is the source's.

        Raises:
            BodyCut: the connection is gone, and everything that came before has been returned.
        """
        if self._early is not None:
            early, self._early = b"".join(self._early), []
            return early
        try:
            await self._invite()
            return await self._content.readany()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if left := self._take_left():
                return left
            raise BodyCut from error

    async def source(self) -> "SocketSource | None":
        """
        Return where the rest of a long body can be taken from without the event loop; None if not from anywhere.

        What had come before is still to be read.
        """
        try:
            await self._invite()
        except OSError as error:
            raise BodyCut from error
        request, content = self._request, self._content
        transport, length = request.transport, request.content_length
        if transport is None or length is None or content.exception() is not None:
            return None
        if length - content.total_bytes < _LONG or transport.get_extra_info("sslcontext"):
            return None
        try:
            # A descriptor of its own: the event loop watches the other one.
            own = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        except OSError:
            # There is none to spare, and without it goes as well.
            return None
        early = []
        # Not all at once: what the parser holds back comes when there is room.
        while piece := content.read_nowait():
            early.append(piece)
        self._early = early
        missing = length - content.total_bytes
        if missing == 0:
            own.close()
            return None
        transport.pause_reading()
        self._source = SocketSource(own, missing)
        return self._source

    def leave(self, response: web.StreamResponse) -> None:
        """
        Have the connection closed after *response*: aiohttp does not know what went past it, and could not go on.
        """
        source, transport = self._source, self._request.transport
        if source is None or transport is None or transport.is_closing():
            return
        if not response.prepared:
            response.force_close()
        if source.missing:
            # aiohttp reads on for a while, or the answer would get lost where the sender is still busy sending.
            transport.resume_reading()
        else:
            self._request.protocol.close()
            self._content.feed_eof()

    async def _invite(self) -> None:
        """
        Tell a sender who waits for that to go on.
        """
        if self._is_held_back:
            self._is_held_back = False
            writer = self._request.writer
            await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # Of the answer nothing has gone out yet.
            writer.output_size = 0

    def _take_left(self) -> bytes:
        """
        Return bytes that had come when the connection broke.

        aiohttp's reader refuses to give them once it holds an exception; they were received, so they are kept.
        """
        buffer = self._content._buffer  # noqa: SLF001 - there is no public way; a test watches it
        buffered = b"".join(buffer)
        buffer.clear()
        return buffered


_BODY: Final = web.RequestKey("body", RequestBody)


def leave_body(request: web.Request, response: web.StreamResponse) -> None:
    """
    Have *request*'s connection ready for *response*, if its body went past aiohttp.
    """
    if (body := request.get(_BODY)) is not None:
        body.leave(response)


class SocketSource:
    """
    The last *missing* bytes of a body, taken from a socket that nobody else reads from meanwhile; not one byte more.
    """

    def __init__(self, own: socket.socket, missing: int) -> None:
        """
        Args:
            own: is closed with the source.
        """
        self._socket = own
        self._socket.setblocking(False)
        self.missing = missing
        self._is_hurried = False
        self._least = 1
        self._ask_for(_WORTH_A_TURN)

    def close(self) -> None:
        """
        Leave the socket as it was.
        """
        self._ask_for(1)
        self._socket.close()

    def hurry(self) -> None:
        """
        From now on don't wait until bytes are worth a turn.
        """
        self._is_hurried = True
        self._ask_for(1)

    async def readable(self, *, idle_timeout_s: float) -> None:
        """
        Wait until there is something worth fetching, or nothing more will come.
        """
        loop = asyncio.get_running_loop()
        self._ask_for(1 if self._is_hurried else min(_WORTH_A_TURN, self.missing))
        if self._waiting() >= self._least:
            return
        came: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not came.done():
                came.set_result(None)

        loop.add_reader(self._socket, wake)
        try:
            while not came.done():
                await asyncio.wait([came], timeout=min(_LOOK_EVERY_S, idle_timeout_s / 4))
                if self._waiting():
                    return
        finally:
            loop.remove_reader(self._socket)

    def read_into(self, buffer: memoryview) -> int | None:
        """
        Read what is there; return how many bytes that was, 0 where there will be none any more, None where none are there yet.
        """
        try:
            size = self._socket.recv_into(buffer[: self.missing])
        except BlockingIOError:
            return None
        except OSError:
            return 0
        self.missing -= size
        return size

    def wait(self, seconds: float) -> bool:
        """
        Wait so long for more to read at once; tell whether it came. Blocks.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _waiting(self) -> int:
        waiting = array("i", [0])
        ioctl(self._socket, termios.FIONREAD, waiting)
        return waiting[0]

    def _ask_for(self, size: int) -> None:
        """
        Have the kernel wake us for so many bytes, or for the end; a kernel that can't wakes us for any.
        """
        if size != self._least:
            self._least = size
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
