"""
Another user's things look exactly like what does not exist.
"""

import json
from collections.abc import Mapping
from uuid import uuid4

import pytest

from tests.http.phone import MERGE_PATCH, RECORDINGS, UPLOADS, Answer, Phone, speech
from tests.http.wire import Intake, Wire, chunk
from tests.support.gateway import APPEND, TUS, Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

VARYING = {"Date"}
AT = {**APPEND, "Upload-Offset": "0"}

REQUESTS: dict[str, tuple[str, str, Mapping[str, str], bytes | None]] = {
    "head an upload": ("HEAD", UPLOADS + "/{}", TUS, None),
    "append": ("PATCH", UPLOADS + "/{}", AT, b"hello"),
    "append elsewhere": ("PATCH", UPLOADS + "/{}", {**AT, "Upload-Offset": "7"}, b"hello"),
    "append too much": ("PATCH", UPLOADS + "/{}", AT, speech(1000)),
    "append nothing": ("PATCH", UPLOADS + "/{}", AT, b""),
    "declare a length": ("PATCH", UPLOADS + "/{}", {**AT, "Upload-Length": "3"}, b"hello"),
    "append by POST": ("POST", UPLOADS + "/{}", {**AT, "X-HTTP-Method-Override": "PATCH"}, b"hello"),
    "terminate": ("DELETE", UPLOADS + "/{}", TUS, None),
    "hear an upload": ("GET", UPLOADS + "/{}", TUS, None),
    "look": ("GET", RECORDINGS + "/{}", {}, None),
    "edit": ("PATCH", RECORDINGS + "/{}", MERGE_PATCH, json.dumps({"note": "mine"}).encode()),
    "edit an old revision": ("PATCH", RECORDINGS + "/{}", {**MERGE_PATCH, "If-Match": '"7"'}, b"{}"),
    "hear": ("GET", RECORDINGS + "/{}/audio", {}, None),
    "hear nothing": ("GET", RECORDINGS + "/{}/audio", {"Range": "bytes=99999-"}, None),
    "ask for its size": ("HEAD", RECORDINGS + "/{}/audio", {}, None),
    "erase": ("DELETE", RECORDINGS + "/{}", {}, None),
    "ask for the receipt": ("GET", "/v1/receipts/{}", {}, None),
}


def seen(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """
    Return all that a stranger can compare.
    """
    return (
        answer.status,
        {name: value for name, value in answer.headers.items() if name not in VARYING},
        answer.body,
    )


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("state", ["unfinished", "finished", "erased", "terminated"])
async def test_a_stranger_learns_nothing(phone: Phone, stranger: Phone, name: str, state: str) -> None:
    if state in ("unfinished", "terminated"):
        target = await phone.begin(100)
        await phone.patch(target, 0, b"hello")
        if state == "terminated":
            await phone.terminate(target)
    else:
        target = await phone.record(b"hello")
        if state == "erased":
            await phone.erase(target)
    method, path, headers, body = REQUESTS[name]

    answer = await stranger.ask(method, path.format(target), headers, body)
    unknown = await stranger.ask(method, path.format(uuid4()), headers, body)

    assert 404 == answer.status
    assert seen(unknown) == seen(answer)
    if state == "unfinished":
        assert 5 == await phone.offset_of(target)
    elif state == "finished":
        assert (b"hello", None) == (
            (await phone.audio(target)).body,
            (await phone.details(target)).document["note"],
        )


async def test_lists_are_apart(phone: Phone, stranger: Phone) -> None:
    mine, his = await phone.record(b"mine"), await stranger.record(b"his")

    assert [mine] == await phone.listed()
    assert [his] == await stranger.listed()


async def test_a_stranger_s_cursor_shows_nothing_of_others(phone: Phone, stranger: Phone) -> None:
    for _ in range(3):
        await stranger.record(b"his")
    mine = [await phone.record(b"mine") for _ in range(2)]
    cursor = (await stranger.page(limit="1")).document["next"]

    assert set(await phone.listed(cursor=cursor)) <= set(mine)


async def test_a_stranger_does_not_interrupt_an_append(
    shared: Served, phone: Phone, stranger: Phone, intake: Intake
) -> None:
    """
    Knowing an upload's address is not enough to cut its owner's transfer.
    """
    upload = await phone.begin(10)
    async with Wire.to(shared) as wire:
        await wire.begin_patch(phone, upload, 0, None)
        await wire.send(chunk(b"hello"))
        await intake.reaches(5)
        assert 404 == (await stranger.head(upload)).status
        assert 404 == (await stranger.patch(upload, 0, b"x")).status
        assert 404 == (await stranger.terminate(upload)).status
        await wire.send(chunk(b"world") + chunk(b""))
        answer = await wire.answer()

    assert (204, "10") == (answer.status, answer.headers["upload-offset"])
