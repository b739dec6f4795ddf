"""
Taking a request's body into the spool, and making durable what came of it, whatever ended it.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from gateway.services.bodies import Append, Body, BodyCut, BodySource, RunningHash
from gateway.services.errors import ChecksumMismatch, OutOfRoom, Superseded, TooLong
from gateway.services.holders import BodyIdle, Holder, LetGo
from gateway.spool import PieceWriter, SettledPiece, Spool, SpoolFailed, SpoolFull


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How a body ended.

    Attributes:
        interruption: what is raised in the end; None if the body came to its own end and is as promised.
        keeps: whether what came may count.
    """

    interruption: BaseException | None = None
    keeps: bool = True


async def receive(
    holder: Holder, writer: PieceWriter, request: Append, *, received: int, limit: int, idle_timeout_s: float
) -> Ending:
    """
    Write the body, up to *limit* bytes with the *received* ones that came before it; never raises.
    """
    running = None if request.checksum is None else request.checksum.start()
    source = None
    try:
        source = await request.body.source()
        while data := await _next_bytes(holder, request.body, idle_timeout_s=idle_timeout_s):
            if received + writer.length + len(data) > limit:
                raise TooLong(f"with this body the upload would pass {limit} bytes", limit=limit)
            if running is not None:
                running.update(data)
            await writer.write(data)
        if source is not None:
            await _drain(holder, writer, source, running, idle_timeout_s=idle_timeout_s)
    except TooLong as error:
        return Ending(error, keeps=False)
    except LetGo:
        return _broken_off(request, Superseded("another request has taken this upload over"))
    except (SpoolFull, SpoolFailed) as error:
        return _broken_off(request, refusal_of(error))
    except (BodyCut, BodyIdle, asyncio.CancelledError) as error:
        return _broken_off(request, error)
    finally:
        if source is not None:
            source.close()
    if request.checksum is not None and running is not None and not request.checksum.matches(running):
        return Ending(ChecksumMismatch("the body does not have the promised checksum"), keeps=False)
    return Ending()


async def _next_bytes(holder: Holder, body: Body, *, idle_timeout_s: float) -> bytes:
    # A clock for bytes that are there is a good part of what a small body costs.
    if not holder.is_asked and (there := body.at_once()) is not None:
        return there
    return await holder.read(body.read(), idle_timeout_s=idle_timeout_s)


async def _drain(
    holder: Holder,
    writer: PieceWriter,
    source: BodySource,
    running: RunningHash | None,
    *,
    idle_timeout_s: float,
) -> None:
    """
    Have all of *source* taken, or what there is of it when somebody else wants the upload or nothing comes any more.

    How much it will be was checked before: it is as much as the request said.
    """

    async def take() -> None:
        if await writer.take(source, on_bytes=None if running is None else running.update) and source.missing:
            raise BodyCut

    holder.when_asked(source.hurry)
    while source.missing:
        try:
            await holder.read(source.readable(idle_timeout_s=idle_timeout_s), idle_timeout_s=idle_timeout_s)
        except (LetGo, BodyIdle, asyncio.CancelledError) as error:
            # What is in the socket was received, so it is kept.
            with suppress(BodyCut):
                await take()
            if source.missing or isinstance(error, asyncio.CancelledError):
                raise
        else:
            await take()


def _broken_off(request: Append, error: BaseException) -> Ending:
    # With a checksum the body counts wholly or not at all.
    return Ending(error, keeps=request.checksum is None)


async def settle(
    writer: PieceWriter, request: Append, ending: Ending
) -> tuple[SettledPiece | None, Exception | None]:
    """
    Make durable what *writer* took, and return what there is of it; besides, what failed in doing so.
    """
    is_atomic = request.checksum is not None
    if isinstance(ending.interruption, OutOfRoom | SpoolFailed):
        return (None if is_atomic else await writer.salvage()), None
    if not ending.keeps:
        return None, None
    try:
        return await writer.finish(), None
    except (SpoolFull, SpoolFailed) as error:
        return (None if is_atomic else await writer.salvage()), refusal_of(error)


def check_room(spool: Spool) -> None:
    """
    Refuse an upload that the spool has no room for.

    Raises:
        OutOfRoom: it has none.
    """
    try:
        spool.check_room()
    except SpoolFull as error:
        raise refusal_of(error) from None


def refusal_of(error: SpoolFull | SpoolFailed) -> Exception:
    """
    Return what the request is told: a full disk is a matter of room, a failing one is not.
    """
    if not isinstance(error, SpoolFull):
        return error
    refusal = OutOfRoom(str(error))
    refusal.__cause__ = error
    return refusal
