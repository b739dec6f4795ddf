"""
Phones that know exactly what the gateway has promised them, and hold it to that across any number of crashes.

A phone sends random bytes, and after each interruption goes on with *other* bytes from where the gateway says it stands:
what the finished recording must hold is known byte by byte, and nothing but the promised bytes can make it up.
"""

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

import aiohttp

from gateway.keyring import verify_receipt
from gateway.spool.files import SLAB

TUS: Final = {"Tus-Resumable": "1.0.0"}
SIZES: Final = (0, 1, 700, 16_383, 16_384, 16_385, 50_000, SLAB, SLAB + 1, 300_000, 1_000_000, 2_500_000)
_BODY_PART: Final = 48 * 1024
_HOLD_S: Final = 0.5

State = Literal["open", "live", "erased", "terminated"]


class Moments:
    """
    Counts what happens, so that somebody can wait for the next time.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._moved = asyncio.Condition()

    async def now(self, what: str) -> None:
        """
        Say that *what* happens now.
        """
        async with self._moved:
            self._counts[what] += 1
            self._moved.notify_all()

    async def next(self, what: str, times: int = 1) -> None:
        """
        Return when *what* has happened *times* more.
        """
        async with self._moved:
            wanted = self._counts[what] + times
            await self._moved.wait_for(lambda: self._counts[what] >= wanted)

    def count(self, what: str) -> int:
        return self._counts[what]


class Network:
    """
    The way to a daemon that dies now and then; requests wait while it is down.
    """

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self.moments = Moments()
        self.url = ""

    def went_up(self, url: str) -> None:
        self.url = url
        self._down = asyncio.Event()
        self._up.set()

    def goes_down(self) -> None:
        """
        Say that the daemon is about to be killed, or was.
        """
        self._up.clear()
        self._down.set()

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: "bytes | Body | None" = None,
        moment: str = "",
    ) -> "Answer | None":
        """
        Return the answer, or None if the daemon died before it gave one, or *body* was cut on purpose.
        """
        await self._up.wait()
        down = self._down
        if moment:
            await self.moments.now(moment)
        data = body.parts(self.moments, down) if isinstance(body, Body) else body
        try:
            async with self._http.request(method, self.url + path, headers=headers, data=data) as response:
                answer = Answer(response.status, dict(response.headers), await response.read())
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            if not isinstance(body, Body) or body.cut_at is None:
                # Without a death a broken connection is a fault, and this times out.
                async with asyncio.timeout(10):
                    await down.wait()
            return None
        await self.moments.now("answer")
        return answer

    async def answered(self, method: str, path: str, headers: Mapping[str, str]) -> "Answer":
        """
        Ask until there is an answer; for requests that may be made any number of times.
        """
        while (answer := await self.request(method, path, headers)) is None:
            pass
        return answer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:300]!r}"


@dataclass
class Body:
    """
    A request's body, sent in parts.

    At *cut_at* bytes the connection is broken off; at *hold_at* the rest is held back until the daemon dies, or does not.
    """

    content: bytes
    cut_at: int | None = None
    hold_at: int | None = None

    async def parts(self, moments: Moments, down: asyncio.Event) -> AsyncIterator[bytes]:
        end = len(self.content) if self.cut_at is None else self.cut_at
        hold_at = end if self.hold_at is None else self.hold_at
        for start, stop in ((0, min(hold_at, end)), (min(hold_at, end), end)):
            for part in range(start, stop, _BODY_PART):
                yield self.content[part : min(part + _BODY_PART, stop)]
                await moments.now("part sent")
            if stop < end:
                await moments.now("body held back")
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HOLD_S):
                        await down.wait()
        if self.cut_at is not None:
            raise ConnectionResetError("cut on purpose")
        await moments.now("body sent")


@dataclass
class Call:
    """
    One recording, and everything that the gateway has said about it.

    *content* is what it must hold so far; *edited*, *erasing* say that a request to that end was never answered.
    *late* is what an append that the phone itself cut may still bring, behind the back of the HEAD that came after it;
    as a real phone would, it sends the same bytes next.
    """

    key: str
    length: int
    is_deferred: bool
    details: dict[str, Any]
    id: str = ""
    state: State = "open"
    content: bytearray = field(default_factory=bytearray)
    late: bytes = b""
    edited: dict[str, Any] | None = None
    erasing: bool = False
    receipt: dict[str, Any] | None = None


class Account:
    """
    A user's calls, as his phones know them together.
    """

    def __init__(self, auth: Mapping[str, str]) -> None:
        self.auth = dict(auth)
        self.calls: list[Call] = []

    def ids(self, state: State) -> set[str]:
        return {call.id for call in self.calls if call.state == state and not call.erasing}


class Phone:
    """
    Uploads, edits, lists, listens, erases; checks every answer against what was promised before.
    """

    def __init__(self, account: Account, network: Network, random: Random, *, name: str) -> None:
        self._account = account
        self._network = network
        self._random = random
        self._name = name
        self._calls: list[Call] = []
        self.is_over = False
        """Set from outside; the call in hand is brought to its end."""

    async def run(self) -> None:
        """
        Make calls, and do things with them, until it is over.
        """
        while not self.is_over:
            await self._make_call()
            for _ in range(self._random.randrange(4)):
                await self._do_something()

    async def _make_call(self) -> None:
        random = self._random
        length = random.choice(SIZES) + random.choice((0, 0, random.randrange(40_000)))
        first = min(length, random.choice(SIZES)) if random.random() < 0.4 else 0
        call = await self.begin(length, first=first, is_deferred=random.random() < 0.2)
        gives_up = random.random() < 0.08
        while call.state == "open":
            if gives_up and (len(call.content) > call.length // 2 or not call.length):
                await self.terminate(call)
                continue
            size = min(call.length - len(call.content), random.choice(SIZES[1:]))
            await self.append(
                call,
                size,
                declares=random.random() < 0.2,
                is_chunked=random.random() < 0.2,
                checksum=random.choice(("", "", "", "sha1", "sha256")),
                cut_at=random.randrange(size) if size and random.random() < 0.15 else None,
                hold_at=random.randrange(SLAB, size) if size > SLAB and random.random() < 0.7 else None,
            )
        await self._network.moments.now(f"call {call.state}")

    async def begin(self, length: int, *, first: int = 0, is_deferred: bool = False) -> Call:
        """
        Begin an upload, with its *first* bytes in the same request.
        """
        number = len(self._calls)
        call = Call(
            key=f"{self._name}-{number}",
            length=length,
            is_deferred=is_deferred,
            details={
                "filename": f"{self._name} {number} Gespräch.m4a",
                "filetype": "audio/mp4",
                "direction": self._random.choice(("in", "out")),
                "party_number": f"+44 20 7946 {self._random.randrange(10_000):04}",
                "labels": [self._name, str(number)],
                "note": None,
            },
        )
        self._calls.append(call)
        self._account.calls.append(call)
        headers = {
            **self._account.auth,
            **TUS,
            "Idempotency-Key": call.key,
            "Upload-Metadata": encode_metadata({**call.details, "labels": ",".join(call.details["labels"])}),
        }
        headers |= {"Upload-Defer-Length": "1"} if is_deferred else {"Upload-Length": str(length)}
        content = self._random.randbytes(first)
        body = Body(content) if content else None
        if content:
            headers |= {"Content-Type": "application/offset+octet-stream", "Content-Length": str(first)}
        while (answer := await self._network.request("POST", "/v1/uploads", headers, body=body)) is None:
            # Whether it was begun, and with how much, is for the same key to find out, without sending bytes again.
            body = None
            headers.pop("Content-Type", None)
            headers.pop("Content-Length", None)
        assert answer.status == 201, answer
        call.id = answer.headers["Location"].rpartition("/")[2]
        if content and body is None:
            await self._resume(call, content, is_atomic=False)
        elif content:
            assert str(first) == answer.headers["Upload-Offset"]
            call.content += content
        if len(call.content) == call.length and not call.is_deferred:
            call.state = "live"
        return call

    async def append(
        self,
        call: Call,
        size: int,
        *,
        declares: bool = False,
        is_chunked: bool = False,
        checksum: str = "",
        cut_at: int | None = None,
        hold_at: int | None = None,
    ) -> None:
        """
        Send *size* more bytes; if no answer comes, learn how many of them count.
        """
        start = len(call.content)
        late, call.late = call.late, b""
        body = (late + self._random.randbytes(size))[:size]
        headers = {
            **self._account.auth,
            **TUS,
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(start),
        }
        if not is_chunked:
            headers["Content-Length"] = str(size)
        declares = call.is_deferred and (declares or start + size == call.length)
        if declares:
            headers["Upload-Length"] = str(call.length)
        if checksum:
            digest = hashlib.new(checksum, body).digest()
            headers["Upload-Checksum"] = f"{checksum} {base64.b64encode(digest).decode()}"
        answer = await self._network.request(
            "PATCH", f"/v1/uploads/{call.id}", headers, body=Body(body, cut_at, hold_at), moment="append"
        )
        if answer is None or (answer.status == 409 and late):
            sent = max(late, body if cut_at is None else body[:cut_at], key=len)
            await self._resume(call, sent, is_atomic=bool(checksum and not late), whole=size)
            if cut_at is not None:
                call.late = sent[len(call.content) - start :]
            return
        assert answer.status == 204, answer
        assert str(start + size) == answer.headers["Upload-Offset"]
        call.content += body
        if declares:
            call.is_deferred = False
        if len(call.content) == call.length and not call.is_deferred:
            call.state = "live"

    async def _resume(self, call: Call, sent: bytes, *, is_atomic: bool, whole: int | None = None) -> None:
        """
        Learn how much of *sent* the gateway has kept, and forget the rest for ever.
        """
        answer = await self._network.answered("HEAD", f"/v1/uploads/{call.id}", {**self._account.auth, **TUS})
        assert answer.status == 200, answer
        start, offset = len(call.content), int(answer.headers["Upload-Offset"])
        assert start <= offset <= start + len(sent), f"{call.id}: {offset} is not in [{start}, +{len(sent)}]"
        if is_atomic:
            assert offset in (start, start + (len(sent) if whole is None else whole)), f"{call.id}: {offset}"
        if start < offset < start + len(sent):
            await self._network.moments.now("part kept")
        call.content += sent[: offset - start]
        call.is_deferred = "Upload-Defer-Length" in answer.headers
        if not call.is_deferred:
            assert str(call.length) == answer.headers["Upload-Length"]
            if offset == call.length:
                call.state = "live"

    async def terminate(self, call: Call) -> None:
        """
        End an unfinished upload; if no answer comes, learn whether it is.
        """
        headers = {**self._account.auth, **TUS}
        path = f"/v1/uploads/{call.id}"
        answer = await self._network.request("DELETE", path, headers, moment="terminate")
        if answer is None:
            answer = await self._network.answered("HEAD", path, headers)
            if answer.status == 200:
                return  # It goes on, and later perhaps to its end.
            assert answer.status == 404, answer
        else:
            assert answer.status == 204, answer
        call.state = "terminated"

    async def _do_something(self) -> None:
        live = [call for call in self._calls if call.state == "live"]
        act = self._random.choice(("edit", "erase", "erase", "list", "listen", "look back"))
        if act == "list":
            await check_list(self._account, self._network)
        elif act == "look back":
            gone = [call for call in self._calls if call.state in ("erased", "terminated")]
            if gone:
                await check_gone(self._random.choice(gone), self._account, self._network)
        elif live:
            call = self._random.choice(live)
            if act == "edit":
                await self.edit(call)
            elif act == "erase":
                await self.erase(call)
            else:
                await check_live(call, self._account, self._network)

    async def edit(self, call: Call) -> None:
        """
        Change what is said about a recording; if no answer comes, learn whether it is changed.
        """
        changes = {"note": f"edited {self._random.random()}", "party_name": "Grace"}
        call.edited = {**call.details, **changes}
        answer = await self._network.request(
            "PATCH",
            f"/v1/recordings/{call.id}",
            {**self._account.auth, "Content-Type": "application/json"},
            body=json.dumps(changes).encode(),
            moment="edit",
        )
        if answer is None:
            await check_live(call, self._account, self._network)
            return
        assert answer.status == 200, answer
        call.details, call.edited = call.edited, None

    async def erase(self, call: Call) -> None:
        """
        Erase a recording; if no answer comes, ask again, or learn whether it is erased.
        """
        call.erasing = True
        path = f"/v1/recordings/{call.id}"
        answer = await self._network.request("DELETE", path, self._account.auth, moment="erase")
        if answer is None:
            asks_again = self._random.random() < 0.5
            answer = await self._network.answered("DELETE" if asks_again else "GET", path, self._account.auth)
            if not asks_again:
                assert answer.status in (200, 404), answer
                call.state = "live" if answer.status == 200 else "erased"
                call.erasing = False
                return
        assert answer.status in (200, 202), answer
        call.state, call.erasing = "erased", False
        call.receipt = answer.json()["receipt"]
        assert (call.receipt is not None) == (answer.status == 200)


def encode_metadata(values: Mapping[str, Any]) -> str:
    """
    Write ``Upload-Metadata``; what is None is left out.
    """
    return ",".join(
        f"{key} {base64.b64encode(str(value).encode()).decode()}"
        for key, value in values.items()
        if value is not None
    )


async def check_live(call: Call, account: Account, network: Network) -> None:
    """
    Check that a finished recording is there and right, byte by byte; settle an edit that was never answered.
    """
    path = f"/v1/recordings/{call.id}"
    answer = await network.answered("GET", path, account.auth)
    assert answer.status == 200, f"{call.id}: {answer}"
    document = answer.json()
    known = [call.details] if call.edited is None else [call.details, call.edited]
    told = {name: document[name] for name in known[-1]}
    assert told in [{**dict.fromkeys(told), **details} for details in known], (told, known)
    call.details, call.edited = told, None
    assert document["readable"]
    assert call.length == document["size"]
    audio = await network.answered("GET", f"{path}/audio", account.auth)
    assert audio.status == 200, f"{call.id}: {audio}"
    assert call.content == audio.body, f"{call.id}: other bytes came back than were promised"


async def check_gone(call: Call, account: Account, network: Network) -> None:
    """
    Check that an erased or terminated one has not come back by any door, and that a receipt stays what it was.
    """
    upload = f"/v1/uploads/{call.id}"
    recording = f"/v1/recordings/{call.id}"
    for method, path in (
        ("HEAD", upload),
        ("GET", upload),
        ("GET", recording),
        ("GET", f"{recording}/audio"),
    ):
        answer = await network.answered(method, path, {**account.auth, **TUS})
        assert answer.status == 404, f"{call.state} {call.id}: {method} {path} gave {answer}"
    if call.receipt is not None:
        answer = await network.answered("GET", f"/v1/receipts/{call.id}", account.auth)
        assert call.receipt == answer.json()["receipt"]


async def check_receipts(call: Call, account: Account, network: Network) -> None:
    """
    Check that an erasure has come to its end, and that both of its receipts are signed by the gateway.
    """
    answer = await network.answered("GET", f"/v1/receipts/{call.id}", account.auth)
    document = answer.json()
    assert "purged" == document["state"], f"{call.id}: {answer}"
    told = (await network.answered("GET", "/v1/receipt-keys", {})).json()["keys"]
    keys = [base64.urlsafe_b64decode(f"{key}=") for key in told]
    for receipt in (document["receipt"], document["purge_receipt"]):
        verify_receipt(receipt, keys)


async def check_list(account: Account, network: Network) -> None:
    """
    Check that everything that was there all the while is listed, and nothing that was gone before.
    """
    there, gone = account.ids("live"), account.ids("erased") | account.ids("terminated")
    listed: list[str] = []
    cursor = ""
    while True:
        answer = await network.answered("GET", f"/v1/recordings?limit=40{cursor}", account.auth)
        assert answer.status == 200, answer
        page = answer.json()
        listed += [document["id"] for document in page["recordings"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(set(listed)) == len(listed)
    still_there = there & account.ids("live")
    assert still_there <= set(listed), f"missing from the list: {still_there - set(listed)}"
    assert not gone & set(listed), f"back in the list: {gone & set(listed)}"


async def jobs_done(network: Network) -> None:
    """
    Return once the daemon has done every job there is.
    """
    async with asyncio.timeout(30):
        while "gateway_jobs{" in (await network.answered("GET", "/metrics", {})).body.decode():
            pass


async def check_promises(accounts: Sequence[Account], network: Network) -> None:
    """
    Check everything that the gateway has promised, with nothing left under way; wait until its jobs are done.
    """
    for account in accounts:
        for call in account.calls:
            assert not call.erasing
            await (check_live if call.state == "live" else check_gone)(call, account, network)
        await check_list(account, network)
    await jobs_done(network)
    for account in accounts:
        for call in account.calls:
            if call.state == "erased":
                await check_receipts(call, account, network)
