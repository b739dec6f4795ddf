"""
A mail server on loopback that keeps what it is sent, and refuses, stalls and hangs up when a test says so.

RFC 5321 with STARTTLS, AUTH, SIZE, 8BITMIME and SMTPUTF8, as strictly as a careful server takes it: nothing out of turn,
no bare line feeds, no lines that are too long, no message without the headers that RFC 5322 wants.

The operations, for faults, are ``connect``, ``hello``, ``starttls``, ``auth``, ``mail``, ``rcpt``, ``data`` (the command)
and ``content`` (what follows, up to the dot). With `Effect.THROTTLE` and `Effect.FAIL` the amount is the reply code,
451 and 554 without; with `Effect.CUT_IN_BODY` it is how many bytes of the content are read.
"""

import asyncio
import base64
import binascii
import email.policy
import re
import secrets
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Final, Self

from tests.emulators.faults import Effect, Fault, Faults
from tests.support.loop_thread import LoopThread

MOST_COMMAND: Final = 512
MOST_LINE: Final = 1000
"""Bytes of a line of the content, its end included."""

WAIT_S: Final = 30

_PATH: Final = re.compile(r"<(?P<address>[^<>\s\x00-\x1f\x7f]*)>(?P<parameters>(?: [^ ]+)*)", re.ASCII)
_ADDRESS: Final = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_BEGIN_TLS: Final = "220 2.0.0 Go ahead"
_BEGIN_CONTENT: Final = "354 End with a dot"
_ONCE: Final = ("From", "Date")
_ONCE_AT_MOST: Final = (
    "To",
    "Cc",
    "Subject",
    "Message-ID",
    "Reply-To",
    "Sender",
    "MIME-Version",
    "Content-Type",
)


@dataclass(frozen=True)
class Mail:
    """
    A mail that came in, and how.
    """

    sender: str
    """Of the envelope."""
    recipients: tuple[str, ...]
    """Of the envelope."""
    content: bytes
    """As it was sent, dots unstuffed."""
    is_encrypted: bool
    user: str | None
    """Who signed in to send it."""

    @property
    def message(self) -> EmailMessage:
        """
        The content, parsed.
        """
        return BytesParser(EmailMessage, policy=email.policy.default).parsebytes(self.content)


class _HangUp(Exception):
    """
    The connection ends now, without another word.
    """


class Mailbox:
    """
    The server; enter it to start it.

    Attributes:
        host, port: where it listens.
        mails: what came in, oldest first.
        faults: what is to go wrong.
        users: by name, the passwords of those who may send; anybody may if there are none.
        unknown: addresses that get 550.
        most_bytes: the largest content.
    """

    host: Final = "127.0.0.1"

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, is_tls_from_the_start: bool = False, **users: str
    ) -> None:
        """
        With *tls* STARTTLS is offered, or TLS spoken from the first byte; AUTH is for encrypted connections then.
        """
        self.port = 0
        self.mails: list[Mail] = []
        self.faults = Faults()
        self.users = users
        self.unknown: set[str] = set()
        self.most_bytes = 10 << 20
        self.tls = tls
        self.is_tls_from_the_start = is_tls_from_the_start
        self._thread = LoopThread("mailbox")
        self._server: asyncio.Server | None = None
        self._came = threading.Condition()
        self._held = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.call(self._stop())
        self._thread.stop()

    def wait_for(self, count: int = 1) -> list[Mail]:
        """
        Wait until so many mails have come in since the start, and return all.
        """
        with self._came:
            assert self._came.wait_for(lambda: len(self.mails) >= count, WAIT_S), (
                f"{len(self.mails)} mails came"
            )
            return list(self.mails)

    async def arrived(self, count: int = 1) -> list[Mail]:
        """
        Do as `wait_for` does, without holding up the loop.
        """
        return await asyncio.to_thread(self.wait_for, count)

    def keep(self, mail: Mail) -> None:
        with self._came:
            self.mails.append(mail)
            self._came.notify_all()

    async def held(self) -> None:
        """
        Wait until faults are cleared.
        """
        await self._held.wait()

    async def _start(self) -> None:
        self.faults.on_clear = lambda: self._thread.loop.call_soon_threadsafe(self._let_held_go)
        context = self.tls if self.is_tls_from_the_start else None
        self._server = await asyncio.start_server(self._serve, self.host, 0, limit=1 << 16, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._let_held_go()
        assert self._server is not None
        self._server.close()

    def _let_held_go(self) -> None:
        self._held.set()
        self._held = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self, reader, writer)
        try:
            await session.run()
        except (_HangUp, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        else:
            writer.close()


@dataclass
class _Envelope:
    sender: str
    is_utf8: bool
    is_8bit: bool
    recipients: list[str] = field(default_factory=list)


class _Session:
    """
    One connection.
    """

    def __init__(self, mailbox: Mailbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._mailbox = mailbox
        self._reader = reader
        self._writer = writer
        self._has_greeted = False
        self._is_encrypted = mailbox.is_tls_from_the_start
        self._user: str | None = None
        self._envelope: _Envelope | None = None
        self._is_over = False

    async def run(self) -> None:
        await self._step("connect", self._welcome)
        commands: dict[str, tuple[str, Callable[[str], Awaitable[str]]]] = {
            "EHLO": ("hello", self._ehlo),
            "HELO": ("hello", self._helo),
            "STARTTLS": ("starttls", self._starttls),
            "AUTH": ("auth", self._auth),
            "MAIL": ("mail", self._mail),
            "RCPT": ("rcpt", self._rcpt),
            "DATA": ("data", self._data),
        }
        while not self._is_over:
            line = await self._line(MOST_COMMAND)
            if line is None:
                await self._say("500 5.5.2 Line too long or with a bare CR or LF")
                continue
            verb, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
            match verb.upper():
                case "QUIT":
                    await self._say("221 2.0.0 Bye")
                    return
                case "RSET":
                    self._envelope = None
                    await self._say("250 2.0.0 OK")
                case "NOOP":
                    await self._say("250 2.0.0 OK")
                case known if known in commands:
                    operation, handler = commands[known]
                    await self._step(operation, lambda handler=handler, rest=rest: handler(rest))  # type: ignore[misc]
                case _:
                    await self._say("500 5.5.1 Command not recognized")

    # Faults

    async def _step(self, operation: str, handler: Callable[[], Awaitable[str]]) -> None:
        fault = self._mailbox.faults.due(operation)
        refused = await self._before(fault)
        if refused is not None:
            await self._say(refused)
            if operation == "connect":
                self._is_over = True
            return
        await self._answer(fault, await handler())

    async def _answer(self, fault: Fault | None, answer: str) -> None:
        if fault is not None and fault.effect is Effect.LOSE_ANSWER:
            raise _HangUp
        if fault is not None and fault.effect is Effect.HOLD_ANSWER:
            await self._mailbox.held()
        await self._say(answer)
        if answer == _BEGIN_TLS:
            await self._encrypt()
        elif answer == _BEGIN_CONTENT:
            await self._content()

    async def _before(self, fault: Fault | None) -> str | None:
        """
        Do what a fault does before anything is done; return the reply if that is all.
        """
        match None if fault is None else fault.effect:
            case Effect.CUT_BEFORE:
                raise _HangUp
            case Effect.STALL:
                await self._mailbox.held()
                raise _HangUp
            case Effect.CUT_IN_BODY:
                assert fault is not None
                await self._reader.readexactly(fault.amount)
                raise _HangUp
            case Effect.THROTTLE:
                assert fault is not None
                return f"{fault.amount or 451} 4.3.0 Try again later"
            case Effect.FAIL:
                assert fault is not None
                return f"{fault.amount or 554} 5.3.0 Not taken"
            case _:
                return None

    # Commands

    async def _welcome(self) -> str:
        return "220 mailbox.test ESMTP"

    async def _helo(self, name: str) -> str:
        if not name:
            return "501 5.5.4 Say who you are"
        self._has_greeted, self._envelope = True, None
        return "250 mailbox.test"

    async def _ehlo(self, name: str) -> str:
        if not name:
            return "501 5.5.4 Say who you are"
        self._has_greeted, self._envelope = True, None
        offered = [f"SIZE {self._mailbox.most_bytes}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if self._mailbox.tls is not None and not self._is_encrypted:
            offered.append("STARTTLS")
        if self._may_authenticate:
            offered.append("AUTH PLAIN LOGIN")
        first, *others = ["mailbox.test", *offered][::-1]
        return "\r\n".join([*(f"250-{line}" for line in others[::-1]), f"250 {first}"])

    @property
    def _may_authenticate(self) -> bool:
        return bool(self._mailbox.users) and (self._is_encrypted or self._mailbox.tls is None)

    async def _starttls(self, rest: str) -> str:
        if rest:
            return "501 5.5.4 No parameters are allowed"
        if self._mailbox.tls is None or self._is_encrypted:
            return "503 5.5.1 Not here"
        if self._reader._buffer:  # type: ignore[attr-defined]
            # What was sent in clear must not be taken for what comes encrypted.
            raise _HangUp
        return _BEGIN_TLS

    async def _encrypt(self) -> None:
        assert self._mailbox.tls is not None
        try:
            await self._writer.start_tls(self._mailbox.tls)
        except ssl.SSLError as exc:
            raise _HangUp from exc
        self._is_encrypted, self._has_greeted, self._envelope, self._user = True, False, None, None

    async def _auth(self, rest: str) -> str:
        if not self._may_authenticate:
            return "503 5.5.1 Not here"
        if not self._has_greeted or self._user is not None or self._envelope is not None:
            return "503 5.5.1 Not now"
        mechanism, _, initial = rest.partition(" ")
        match mechanism.upper():
            case "PLAIN":
                answer = initial or await self._asked("")
                _, name, password = (_decoded(answer) + "\0\0").split("\0")[:3]
            case "LOGIN":
                name = _decoded(initial or await self._asked("Username:"))
                password = _decoded(await self._asked("Password:"))
            case _:
                return "504 5.5.4 Mechanism not known"
        expected = self._mailbox.users.get(name)
        if expected is None or not secrets.compare_digest(expected.encode(), password.encode()):
            return "535 5.7.8 Authentication credentials invalid"
        self._user = name
        return "235 2.7.0 Authentication succeeded"

    async def _asked(self, question: str) -> str:
        await self._say(f"334 {base64.b64encode(question.encode()).decode()}")
        return (await self._line(MOST_COMMAND) or b"*").decode()

    async def _mail(self, rest: str) -> str:
        if not self._has_greeted:
            return "503 5.5.1 Say who you are first"
        if self._envelope is not None:
            return "503 5.5.1 There is a sender already"
        if self._mailbox.users and self._user is None:
            return "530 5.7.0 Authentication required"
        found = _path("FROM:", rest)
        if found is None or (found[0] and not _ADDRESS.fullmatch(found[0])):
            return "501 5.1.7 Bad sender address syntax"
        sender, parameters = found
        if not parameters.keys() <= {"SIZE", "BODY", "SMTPUTF8"}:
            return "555 5.5.4 Parameter not known"
        if int(parameters.get("SIZE") or 0) > self._mailbox.most_bytes:
            return "552 5.3.4 Message too big"
        is_utf8 = "SMTPUTF8" in parameters
        if not sender.isascii() and not is_utf8:
            return "553 5.6.7 An address that is not ASCII needs SMTPUTF8"
        self._envelope = _Envelope(
            sender, is_utf8, parameters.get("BODY", "").upper() == "8BITMIME" or is_utf8
        )
        return "250 2.1.0 OK"

    async def _rcpt(self, rest: str) -> str:
        if self._envelope is None:
            return "503 5.5.1 Name the sender first"
        found = _path("TO:", rest)
        if found is None or found[1] or not _ADDRESS.fullmatch(found[0]):
            return "501 5.1.3 Bad recipient address syntax"
        if not found[0].isascii() and not self._envelope.is_utf8:
            return "553 5.6.7 An address that is not ASCII needs SMTPUTF8"
        if found[0] in self._mailbox.unknown:
            return "550 5.1.1 No such mailbox"
        self._envelope.recipients.append(found[0])
        return "250 2.1.5 OK"

    async def _data(self, rest: str) -> str:
        if self._envelope is None or not self._envelope.recipients:
            return "503 5.5.1 Name sender and recipients first"
        return "501 5.5.4 No parameters are allowed" if rest else _BEGIN_CONTENT

    async def _content(self) -> None:
        fault = self._mailbox.faults.due("content")
        if fault is not None and fault.effect in {Effect.CUT_BEFORE, Effect.CUT_IN_BODY}:
            await self._before(fault)
        envelope, self._envelope = self._envelope, None
        assert envelope is not None
        lines, size, is_whole = [], 0, True
        while (line := await self._line(MOST_LINE)) != b".":
            is_whole = is_whole and line is not None
            line = (line or b"").removeprefix(b".")
            size += len(line) + 2
            if size <= self._mailbox.most_bytes:
                lines.append(line + b"\r\n")
        refused = await self._before(fault)
        if refused is None and not is_whole:
            refused = "554 5.6.0 A line is too long, or has a bare CR or LF"
        if refused is None and size > self._mailbox.most_bytes:
            refused = "552 5.3.4 Message too big"
        await self._answer(fault, refused or self._kept(envelope, b"".join(lines)))

    def _kept(self, envelope: _Envelope, content: bytes) -> str:
        if not content.isascii() and not envelope.is_8bit:
            return "554 5.6.3 Bytes over 127 need BODY=8BITMIME"
        problem = _problem_with_headers(content)
        if problem is not None:
            return f"554 5.6.0 {problem}"
        self._mailbox.keep(
            Mail(envelope.sender, tuple(envelope.recipients), content, self._is_encrypted, self._user)
        )
        return "250 2.0.0 Kept"

    # Lines

    async def _line(self, most: int) -> bytes | None:
        """
        Return the next line without its end; None if it is none that SMTP allows.
        """
        try:
            line = await self._reader.readuntil(b"\r\n")
        except asyncio.LimitOverrunError:
            raise _HangUp from None
        bare = line[:-2]
        return None if len(line) > most or b"\r" in bare or b"\n" in bare else bare

    async def _say(self, reply: str) -> None:
        self._writer.write(reply.encode() + b"\r\n")
        await self._writer.drain()


def _path(keyword: str, rest: str) -> tuple[str, dict[str, str]] | None:
    """
    Return the address of ``FROM:<address> NAME=value …`` and its parameters.
    """
    found = _PATH.fullmatch(rest[len(keyword) :]) if rest.upper().startswith(keyword) else None
    if found is None:
        return None
    pairs = [parameter.partition("=") for parameter in found["parameters"].split()]
    return found["address"], {name.upper(): value for name, _, value in pairs}


def _decoded(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _problem_with_headers(content: bytes) -> str | None:
    message = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(content, headersonly=True)
    for name in (*_ONCE, *_ONCE_AT_MOST):
        count = len(message.get_all(name, []))
        if count > 1 or (count == 0 and name in _ONCE):
            return f"{name} is there {count} times"
    return None
