"""
Bodies of half a megabyte and more: a thread takes them from the socket, past aiohttp.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.http.phone import Phone, speech
from tests.http.wire import Wire, eventually, settled
from tests.support.gateway import APPEND, Served, serving

LONG = speech(3_000_017)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "data", with_workers=False, uploads={"idle_timeout_s": 1}) as served:
        yield served


@pytest.fixture
async def phone(gateway: Served) -> Phone:
    return await Phone.of_new_user(gateway)


@pytest.mark.parametrize("part", [1 << 20, 50_000])
async def test_one_that_comes_in_parts_is_whole(gateway: Served, phone: Phone, part: int) -> None:
    upload = await phone.begin(len(LONG))
    async with Wire.to(gateway) as wire:
        await wire.begin_patch(phone, upload, 0, len(LONG))
        for start in range(0, len(LONG), part):
            await wire.send(LONG[start : start + part])
        answer = await wire.answer()
        assert (204, str(len(LONG))) == (answer.status, answer.headers["upload-offset"])
        assert "close" == answer.headers["connection"].lower()
        assert b"" == await wire.rest()

    assert LONG == (await phone.audio(upload)).body


async def test_what_comes_behind_it_on_the_connection_is_not_taken_for_it(
    gateway: Served, phone: Phone
) -> None:
    upload = await phone.begin(len(LONG))
    async with Wire.to(gateway) as wire:
        await wire.begin_patch(phone, upload, 0, len(LONG))
        await wire.send(LONG)
        await wire.send(b"GET /v1/recordings HTTP/1.1\r\nHost: x\r\n\r\n")
        assert 204 == (await wire.answer()).status

    assert LONG == (await phone.audio(upload)).body


@pytest.mark.parametrize("sent", [600_000, 2_000_001])
@pytest.mark.parametrize("is_reset", [False, True])
async def test_of_one_that_is_cut_all_that_came_is_kept(
    gateway: Served, phone: Phone, sent: int, is_reset: bool
) -> None:
    upload = await phone.begin(len(LONG))
    async with Wire.to(gateway) as wire:
        await wire.begin_patch(phone, upload, 0, len(LONG))
        await wire.send(LONG[:sent])
        if is_reset:
            await wire.reset()
        else:
            await wire.cut()
    kept = (await settled(gateway, upload)).received

    # A reset may drop what the gateway had not fetched from the kernel yet.
    assert kept <= sent if is_reset else kept == sent
    assert 204 == (await phone.patch(upload, kept, LONG[kept:])).status
    assert LONG == (await phone.audio(upload)).body


@pytest.mark.parametrize("sent", [0, 100, 600_000])
async def test_one_that_stops_is_ended_and_what_came_is_kept(
    gateway: Served, phone: Phone, sent: int
) -> None:
    upload = await phone.begin(len(LONG))
    async with Wire.to(gateway) as wire:
        await wire.begin_patch(phone, upload, 0, len(LONG))
        await wire.send(LONG[:sent])
        assert 408 == (await wire.answer()).status

    assert sent == await phone.offset_of(upload)


async def test_a_newcomer_gets_the_upload_with_all_that_came(gateway: Served, phone: Phone) -> None:
    upload = await phone.begin(len(LONG))
    async with Wire.to(gateway) as wire:
        await wire.begin_patch(phone, upload, 0, len(LONG))
        await wire.send(LONG[:700_003])
        await settled_in_kernel()
        kept = await phone.offset_of(upload)
        assert 423 == (await wire.answer()).status

    assert 0 < kept <= 700_003
    assert 204 == (await phone.patch(upload, kept, LONG[kept:])).status
    assert LONG == (await phone.audio(upload)).body


async def settled_in_kernel() -> None:
    """
    Give the gateway, in this very loop, the turns in which it begins the request.
    """
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("is_right", [True, False])
async def test_its_checksum_is_checked(gateway: Served, phone: Phone, is_right: bool) -> None:
    upload = await phone.begin(len(LONG))
    digest = sha256(LONG if is_right else LONG[1:]).digest()
    answer = await phone.patch(upload, 0, LONG, {"Upload-Checksum": f"sha256 {b64encode(digest).decode()}"})

    assert (204 if is_right else 460) == answer.status
    assert (len(LONG) if is_right else 0) == await phone.offset_of(upload)


async def test_one_that_waits_to_be_invited_is(gateway: Served, phone: Phone) -> None:
    upload = await phone.begin(len(LONG))
    async with Wire.to(gateway) as wire:
        await wire.begin_patch(phone, upload, 0, len(LONG), {"Expect": "100-continue"})
        assert 100 == (await wire.answer()).status
        await wire.send(LONG)
        assert 204 == (await wire.answer()).status

    assert LONG == (await phone.audio(upload)).body


async def test_one_that_is_refused_on_the_way_gets_its_answer(tmp_path: Path) -> None:
    content = speech(8_000_000)
    async with serving(tmp_path / "data", with_workers=False, spool={"max_bytes": 2_000_000}) as gateway:
        phone = await Phone.of_new_user(gateway)
        upload = await phone.begin(len(content))
        async with Wire.to(gateway) as wire:
            await wire.begin_patch(phone, upload, 0, len(content))
            sending = asyncio.create_task(wire.send(content))
            assert 507 == (await wire.answer()).status
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert 0 <= await phone.offset_of(upload) < len(content)


async def test_a_whole_upload_in_its_creation(gateway: Served, phone: Phone) -> None:
    created = {**phone.auth, **APPEND, "Upload-Length": str(len(LONG)), "Content-Length": str(len(LONG))}
    async with Wire.to(gateway) as wire:
        await wire.send_head("POST", "/v1/uploads", created)
        await wire.send(LONG)
        answer = await wire.answer()
    assert 201 == answer.status
    assert LONG == (await phone.audio(answer.headers["location"].rpartition("/")[2])).body


async def test_a_whole_upload_that_is_cut_leaves_nothing(gateway: Served, phone: Phone) -> None:
    created = {**phone.auth, **APPEND, "Upload-Length": str(len(LONG)), "Content-Length": str(len(LONG))}
    async with Wire.to(gateway) as wire:
        await wire.send_head("POST", "/v1/uploads", created)
        await wire.send(LONG[:-1])
    spool = gateway.gateway.context.uploads._spool._directory
    await eventually(lambda: not any(spool.iterdir()))
